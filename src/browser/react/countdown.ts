/** The warning before a session ends, and the way to stay. */
import { useCallback, useMemo, useSyncExternalStore } from 'react';
import { useClient, type SessionClient } from './client.ts';

export interface SessionCountdownOptions {
  /** How long before the session's end the warning begins. Default: 60. */
  readonly warnSeconds?: number;
}

/** What {@link useSessionCountdown} returns. */
export type SessionCountdown = {
  /**
   * Renews the session. Resolves to whether that moved its end: it moves the end of the idle time, and not the end of the
   * session's lifetime, before which only a new sign-in helps. Rejects when Sallyport can't be reached.
   */
  readonly stay: () => Promise<boolean>;
} & (
  | { readonly isEnding: true; readonly secondsLeft: number }
  | { readonly isEnding: false; readonly secondsLeft: undefined }
);

/**
 * Warns before the session ends, by idle time or lifetime, whichever is nearer. It renders each second while it warns, and
 * not at all before.
 *
 * @example
 * ```tsx
 * import { useSessionCountdown } from 'sallyport/react';
 *
 * export function EndWarning() {
 *   const { isEnding, secondsLeft, stay } = useSessionCountdown({ warnSeconds: 120 });
 *   if (!isEnding) return null;
 *   return (
 *     <div role="alert">
 *       You will be signed out in {secondsLeft} s. <button onClick={() => stay()}>Stay signed in</button>
 *     </div>
 *   );
 * }
 * ```
 */
export function useSessionCountdown({ warnSeconds = 60 }: SessionCountdownOptions = {}): SessionCountdown {
  const client = useClient();
  const countdown = useMemo(() => createCountdown(client, warnSeconds), [client, warnSeconds]);
  const secondsLeft = useSyncExternalStore(countdown.subscribe, countdown.current, notOnServers);
  const stay = useCallback(() => renew(client), [client]);
  return useMemo(
    () => (secondsLeft === undefined ? { stay, isEnding: false, secondsLeft } : { stay, isEnding: true, secondsLeft }),
    [stay, secondsLeft],
  );
}

function notOnServers(): undefined {
  return undefined;
}

async function renew(client: SessionClient): Promise<boolean> {
  const before = client.secondsLeft() ?? 0;
  await client.refresh();
  return (client.secondsLeft() ?? 0) > before;
}

/**
 * The longest time without a look at the clock. Timers stand still while a machine sleeps, so a timer for the moment of the
 * warning would come too late after it; and they overflow after 24.8 days.
 */
const longestWaitMs = 30_000;

/** The seconds of the warning, which change only when a timer or the client says so, as React demands of a store. */
function createCountdown(client: SessionClient, warnSeconds: number) {
  let secondsLeft: number | undefined;

  function subscribe(onChange: () => void): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;

    function look(): void {
      // A change that is under way is told once more after the subscription's end.
      if (isOver) return;
      clearTimeout(timer);
      const left = client.secondsLeft();
      const before = secondsLeft;
      secondsLeft = left !== undefined && left <= warnSeconds ? Math.max(0, Math.ceil(left)) : undefined;
      if (left !== undefined && left > 0) timer = setTimeout(look, waitMs(left));
      if (secondsLeft !== before) onChange();
    }

    const unsubscribe = client.subscribe(look);
    document.addEventListener('visibilitychange', look);
    look();
    return () => {
      isOver = true;
      clearTimeout(timer);
      unsubscribe();
      document.removeEventListener('visibilitychange', look);
    };
  }

  /** To the moment when the shown number changes. */
  function waitMs(left: number): number {
    const next = left > warnSeconds ? warnSeconds : Math.ceil(left) - 1;
    return Math.min(longestWaitMs, Math.max(50, (left - next) * 1000));
  }

  return { subscribe, current: () => secondsLeft };
}
