/**
 * A circuit breaker for a provider that is down. After failures of several sessions in a row it opens: for a while calls
 * fail at once. Then one call, the trial, asks the provider, and the others wait for its outcome.
 *
 * When the provider is back, everybody's token has expired. So after an outage calls run a few at a time, and each answer
 * admits one more than before, so that they come as fast as the provider proves to answer them, and not at once.
 */
import { monotonicMs } from '../clock.ts';
import { BffError, retryAfter } from '../http/errors.ts';

const failuresUntilOpen = 5;
const firstPauseMs = 1000;
const lastPauseMs = 30_000;
/**
 * By so much of itself a pause may be shorter, so that instances that lost the provider together do not try it together,
 * and clients are told to wait longer, so that they do not come back together.
 */
const pauseJitter = 0.25;
/** How many calls run at a time after an outage, and from how many on all may. */
const firstConcurrency = 4;
const fullConcurrency = 256;

export interface CircuitBreaker {
  /**
   * Makes the call, unless the breaker is open.
   * @param subject the session that the call is for: one session that fails again and again is no outage
   * @throws {PausedError} in place of a call; and whatever the call throws
   */
  run<T>(subject: string, call: () => Promise<T>): Promise<T>;
  /** Whether a call would have to wait for its turn. */
  isFull(): boolean;
  /** Waits for a turn. @throws {PausedError} in place of one */
  take(subject: string): Promise<Turn>;
}

/** The right to make one call. Whoever has one lets others wait, until it has made the call or passes. */
export interface Turn {
  /** Makes the call; after a pass, when there is another turn. */
  run<T>(call: () => Promise<T>): Promise<T>;
  /** Makes no call. */
  pass(): void;
}

/** Thrown in place of a call: it is no news about the provider, and has used up nothing. */
export class UnaskedError extends BffError {}

/** Thrown while the breaker is open. */
export class PausedError extends UnaskedError {}

/** @param retryAfterMs the pause that an error asks for (`Retry-After`), in milliseconds; 0 if none */
export function createCircuitBreaker(retryAfterMs: (error: unknown) => number): CircuitBreaker {
  /** The subjects whose calls failed since the last success. */
  const failing = new Set<string>();
  let isOpen = false;
  let failedTrials = 0;
  let openUntil = 0;
  let trial: Promise<void> | undefined;
  let concurrency = Infinity;
  let running = 0;
  const waiting: (() => void)[] = [];

  function onSuccess(): void {
    if (isOpen) concurrency = firstConcurrency;
    else concurrency = concurrency < fullConcurrency ? concurrency + 1 : Infinity;
    isOpen = false;
    failing.clear();
  }

  function onFailure(subject: string, error: unknown, isTrial: boolean): void {
    failing.add(subject);
    if (concurrency < Infinity) concurrency = firstConcurrency;
    // Calls that were in flight when the breaker opened are no news: only a failed trial prolongs the pause.
    if (isOpen ? !isTrial : failing.size < failuresUntilOpen) return;
    failedTrials = isOpen ? failedTrials + 1 : 0;
    isOpen = true;
    const pause = Math.min(lastPauseMs, firstPauseMs * 2 ** failedTrials) * (1 - pauseJitter * Math.random());
    openUntil = monotonicMs() + Math.max(pause, retryAfterMs(error));
  }

  /** Those who wait look again: there is room, or the breaker has opened. */
  function wakeWaiting(): void {
    for (const wake of waiting.splice(0, isOpen ? waiting.length : Math.max(0, concurrency - running))) wake();
  }

  function begin(subject: string, isTrial: boolean): Turn {
    const over = Promise.withResolvers<void>();
    let hasEnded = false;
    running += 1;
    if (isTrial) trial = over.promise;

    function end(): void {
      if (hasEnded) return;
      hasEnded = true;
      running -= 1;
      if (isTrial) trial = undefined;
      over.resolve();
      wakeWaiting();
    }

    async function makeCall<T>(call: () => Promise<T>): Promise<T> {
      try {
        const result = await call();
        onSuccess();
        return result;
      } catch (error) {
        onFailure(subject, error, isTrial);
        throw error;
      } finally {
        end();
      }
    }

    return { run: (call) => (hasEnded ? run(subject, call) : makeCall(call)), pass: end };
  }

  async function take(subject: string): Promise<Turn> {
    for (;;) {
      if (!isOpen) {
        if (running < concurrency) return begin(subject, false);
        await new Promise<void>((resolve) => waiting.push(resolve));
        continue;
      }
      const waitMs = openUntil - monotonicMs();
      if (waitMs > 0) throw paused(waitMs);
      if (trial === undefined) return begin(subject, true);
      await trial;
    }
  }

  async function run<T>(subject: string, call: () => Promise<T>): Promise<T> {
    const turn = await take(subject);
    return turn.run(call);
  }

  function isFull(): boolean {
    if (!isOpen) return running >= concurrency;
    return trial !== undefined && monotonicMs() >= openUntil;
  }

  return { run, isFull, take };
}

function paused(waitMs: number): PausedError {
  return new PausedError(
    'provider_unavailable',
    'The identity provider has failed several times. Try again in a moment.',
    // Those who come later than the first find out from it, and not all in the same second.
    { headers: retryAfter(Math.ceil((waitMs * (1 + pauseJitter * Math.random())) / 1000)) },
  );
}
