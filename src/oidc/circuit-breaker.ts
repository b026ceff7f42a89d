/**
 * Spares a provider that is down: after some failures in a row nobody asks it for a while, and calls fail at once. Then
 * one call tries whether it is back, and the others wait for that one's outcome.
 */
import { BffError } from '../http/errors.ts';

const failuresUntilOpen = 5;
const firstPauseMs = 1000;
const lastPauseMs = 30_000;

export interface CircuitBreaker {
  /**
   * Makes the call, unless the provider has just failed others.
   * @throws {BffError} `provider_unavailable` in place of a call, and whatever the call throws
   */
  run<T>(call: () => Promise<T>): Promise<T>;
}

/** @param pauseAskedFor what a failure asks for, in milliseconds (`Retry-After`); 0: nothing */
export function createCircuitBreaker(pauseAskedFor: (error: unknown) => number): CircuitBreaker {
  let failures = 0;
  let openUntil = 0;
  let trial: Promise<unknown> | undefined;

  function onFailure(error: unknown): void {
    failures++;
    if (failures < failuresUntilOpen) return;
    const pause = Math.min(lastPauseMs, firstPauseMs * 2 ** (failures - failuresUntilOpen));
    openUntil = Date.now() + Math.max(pause, pauseAskedFor(error));
  }

  async function attempt<T>(call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      failures = 0;
      return result;
    } catch (error) {
      onFailure(error);
      throw error;
    }
  }

  async function run<T>(call: () => Promise<T>): Promise<T> {
    while (failures >= failuresUntilOpen) {
      const waitMs = openUntil - Date.now();
      if (waitMs > 0) throw paused(waitMs);
      if (trial === undefined) {
        const mine = attempt(call);
        trial = mine.catch(() => undefined).finally(() => (trial = undefined));
        return mine;
      }
      await trial;
    }
    return attempt(call);
  }

  return { run };
}

function paused(waitMs: number): BffError {
  return new BffError(
    'provider_unavailable',
    'The identity provider has failed several times. Try again in a moment.',
    {
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    },
  );
}
