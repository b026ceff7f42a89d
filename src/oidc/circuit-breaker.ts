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
  /**
   * As `run`, where a call needs something that nobody is to hold while it waits in the line. The task begins when its turn
   * has come. During a pause it begins at once, because it may find out that it needs no call. Its turn ends with it.
   * @throws {PausedError} if the breaker opens while the task waits; and whatever the task throws
   */
  inTurn<T>(subject: string, task: (turn: Turn) => Promise<T>): Promise<T>;
}

/** The right to make one call. Others wait as long as a task has it. */
export interface Turn {
  /**
   * Makes the call, and ends the turn. A task that has none waits for one.
   * @throws {PausedError} in place of a call; and whatever the call throws
   */
  run<T>(call: () => Promise<T>): Promise<T>;
  /** Lets others go first, for as long as the task waits for something else than the provider. */
  pass(): void;
}

/** One of the calls that may run at a time. It must be given back, once. */
interface Place {
  readonly isTrial: boolean;
  giveBack(): void;
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

  function takePlace(isTrial: boolean): Place {
    const over = Promise.withResolvers<void>();
    running += 1;
    if (isTrial) trial = over.promise;

    function giveBack(): void {
      running -= 1;
      if (isTrial) trial = undefined;
      over.resolve();
      wakeWaiting();
    }

    return { isTrial, giveBack };
  }

  /** @throws {PausedError} */
  async function nextPlace(): Promise<Place> {
    for (;;) {
      if (!isOpen) {
        if (running < concurrency) return takePlace(false);
        await new Promise<void>((resolve) => waiting.push(resolve));
        continue;
      }
      const waitMs = openUntil - monotonicMs();
      if (waitMs > 0) throw paused(waitMs);
      if (trial === undefined) return takePlace(true);
      await trial;
    }
  }

  async function attempt<T>(subject: string, call: () => Promise<T>, { isTrial }: Place): Promise<T> {
    try {
      const result = await call();
      onSuccess();
      return result;
    } catch (error) {
      if (!(error instanceof UnaskedError)) onFailure(subject, error, isTrial);
      throw error;
    }
  }

  async function inTurn<T>(subject: string, task: (turn: Turn) => Promise<T>): Promise<T> {
    const isPaused = isOpen && monotonicMs() < openUntil;
    let place = isPaused ? undefined : await nextPlace();

    function pass(): void {
      place?.giveBack();
      place = undefined;
    }

    async function runInPlace<R>(call: () => Promise<R>): Promise<R> {
      place ??= await nextPlace();
      try {
        return await attempt(subject, call, place);
      } finally {
        pass();
      }
    }

    try {
      return await task({ run: runInPlace, pass });
    } finally {
      pass();
    }
  }

  return { inTurn, run: (subject, call) => inTurn(subject, (turn) => turn.run(call)) };
}

function paused(waitMs: number): PausedError {
  return new PausedError(
    'provider_unavailable',
    'The identity provider has failed several times. Try again in a moment.',
    // Those who come later than the first find out from it, and not all in the same second.
    { headers: retryAfter(Math.ceil((waitMs * (1 + pauseJitter * Math.random())) / 1000)) },
  );
}
