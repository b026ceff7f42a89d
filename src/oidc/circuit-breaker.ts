/**
 * Spares a provider that is down: after failures of some sessions in a row nobody asks it for a while, and calls fail at once. Then
 * one call tries whether it is back, and the others wait for that one's outcome.
 */
import { BffError } from '../http/errors.ts';

const failuresUntilOpen = 5;
const firstPauseMs = 1000;
const lastPauseMs = 30_000;

export interface CircuitBreaker {
  /**
   * Makes the call, unless the provider has just failed others.
   * @param subject whose call it is: one that fails again and again is no outage
   * @throws {PausedError} in place of a call; and whatever the call throws
   */
  run<T>(subject: string, call: () => Promise<T>): Promise<T>;
}

/** Thrown in place of a call: it says nothing new of the provider. */
export class PausedError extends BffError {}

/** @param pauseAskedFor what a failure asks for, in milliseconds (`Retry-After`); 0: nothing */
export function createCircuitBreaker(pauseAskedFor: (error: unknown) => number): CircuitBreaker {
  /** Whose calls failed since the last one that succeeded. */
  const failing = new Set<string>();
  let isOpen = false;
  let failedTrials = 0;
  let openUntil = 0;
  let trial: Promise<unknown> | undefined;

  function onFailure(subject: string, error: unknown, isTrial: boolean): void {
    failing.add(subject);
    // Calls that were under way when it opened say nothing new: only a failed trial prolongs the pause.
    if (isOpen ? !isTrial : failing.size < failuresUntilOpen) return;
    failedTrials = isOpen ? failedTrials + 1 : 0;
    isOpen = true;
    const pause = Math.min(lastPauseMs, firstPauseMs * 2 ** failedTrials);
    openUntil = Date.now() + Math.max(pause, pauseAskedFor(error));
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
      const waitMs = openUntil - Date.now();
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
    {
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    },
  );
}
