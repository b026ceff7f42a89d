/** When the page may be in front again: shown, chosen, back from the back-forward cache, or online. */
export function whenSeen(act: (event: Event) => void): void {
  for (const type of ['pageshow', 'visibilitychange', 'focus', 'online']) addEventListener(type, act);
}

/**
 * After a sign-out: until the page is seen again, or for ten seconds while it stays in front. A sign-in that began before
 * would overtake the sign-out at the provider, whose session would let the person in again.
 */
export function untilSeenAgain(): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => document.hidden || resolve();
    whenSeen(wake);
    setTimeout(wake, 10_000);
  });
}
