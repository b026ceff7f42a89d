/**
 * A circuit breaker for a provider that is down. After failures of several sessions in a row it opens: for a while calls
 * fail at once. Then one call, the trial, asks the provider, and the others wait for its outcome.
 */
import { monotonicMs } from '../clock.ts';
import { BffError, retryAfter } from '../http/errors.ts';

const failuresUntilOpen = 5;
const firstPauseMs = 1000;
const lastPauseMs = 30_000;

export interface CircuitBreaker {
  /**
   * Makes the call, unless the breaker is open.
   * @param subject the session that the call is for: one session that fails again and again is no outage
   * @throws {PausedError} in place of a call; and whatever the call throws
   */
  run<T>(subject: string, call: () => Promise<T>): Promise<T>;
}

/** Thrown in place of a call: it is no news about the provider. */
export class PausedError extends BffError {}

/** @param retryAfterMs the pause that an error asks for (`Retry-After`), in milliseconds; 0 if none */
export function createCircuitBreaker(retryAfterMs: (error: unknown) => number): CircuitBreaker {
  /** The subjects whose calls failed since the last success. */
  const failing = new Set<string>();
  let isOpen = false;
  let failedTrials = 0;
  let openUntil = 0;
  let trial: Promise<unknown> | undefined;

  function onFailure(subject: string, error: unknown, isTrial: boolean): void {
    failing.add(subject);
    // Calls that were in flight when the breaker opened are no news: only a failed trial prolongs the pause.
    if (isOpen ? !isTrial : failing.size < failuresUntilOpen) return;
    failedTrials = isOpen ? failedTrials + 1 : 0;
    isOpen = true;
    const pause = Math.min(lastPauseMs, firstPauseMs * 2 ** failedTrials);
    openUntil = monotonicMs() + Math.max(pause, retryAfterMs(error));
  }

  async function attempt<T>(subject: string, call: () => Promise<T>, isTrial: boolean): Promise<T> {
    try {
      const result = await call();
      isOpen = false;
      failing.clear();
      return result;
    } catch (error) {
      onFailure(subject, error, isTrial);
      throw error;
    }
  }

  async function run<T>(subject: string, call: () => Promise<T>): Promise<T> {
    while (isOpen) {
      const waitMs = openUntil - monotonicMs();
      if (waitMs > 0) throw paused(waitMs);
      if (trial === undefined) {
        const mine = attempt(subject, call, true);
        trial = mine.catch(() => undefined).finally(() => (trial = undefined));
        return mine;
      }
      await trial;
    }
    return attempt(subject, call, false);
  }

  return { run };
}

function paused(waitMs: number): PausedError {
  return new PausedError(
    'provider_unavailable',
    'The identity provider has failed several times. Try again in a moment.',
    { headers: retryAfter(Math.ceil(waitMs / 1000)) },
  );
}
