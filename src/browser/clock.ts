/**
 * Time as a browser can tell it: only spans count, for a person may set the clock of their machine. The monotonic clock
 * may stand still while the machine sleeps, and the clock on the wall may be set back: the larger span is the safe one.
 * Too large a span leads to a look at the server too early, too small a one to none.
 */
export type Moment = readonly [wall: number, monotonic: number];

export function now(): Moment {
  return [Date.now(), performance.now()];
}

export function secondsSince([wall, monotonic]: Moment): number {
  return Math.max(Date.now() - wall, performance.now() - monotonic) / 1000;
}

/** How long to wait before the next attempt, in milliseconds: a random span, so that not all browsers come at once. */
export function backOff(attempt: number): number {
  return (0.5 + Math.random()) * 1000 * Math.min(60, 2 ** attempt);
}
