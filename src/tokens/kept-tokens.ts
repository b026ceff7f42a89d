/**
 * What was obtained for calls, kept until shortly before it expires: tokens of the provider, and what it says of tokens.
 * One request is made at a time for each key, which no client's leaving ends; while the provider fails, what is still valid
 * is used, and not each call asks again. Bounded by the memory that it takes.
 *
 * A key stands for one credential and everything that was asked with it: two people, or two routes that ask for different
 * tokens, never have the same.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { monotonicMs, nowSeconds } from '../clock.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import { UnaskedError } from '../oidc/circuit-breaker.ts';
import { withTimeout } from '../timeout.ts';
import { renewalDueAt, type Claims } from '../token-set.ts';
import { pauseMsAfter } from './failure-pause.ts';

/** What is kept. Mutable: one that was dropped is used up wherever else it is remembered. */
export interface Kept {
  /** When a new one is to be obtained, while this one can still be used. Seconds since 1970. */
  dueAt: number;
  /** From when on it can't be used. Seconds since 1970. */
  expiresAt: number;
}

/** What was obtained for a session, and how it is sent. */
export interface ObtainedToken extends Kept {
  readonly lines: readonly string[];
  /** The session's access token for which it was obtained. */
  readonly subject: string;
  /** What the provider says of that one; undefined where it was not asked. */
  readonly claims: Claims | undefined;
}

/** How long a call waits for a new one where the one at hand is still valid. */
const shortWaitMs = 1000;
/** What an entry takes beside its texts. */
const entryBytes = 600;
/** For so long a token is used whose lifetime the provider doesn't say. */
export const unknownLifetimeSeconds = 60;
const maximumFailures = 10_000;

interface Failure {
  readonly count: number;
  /** In milliseconds of the monotonic clock; no other try before. */
  readonly retryAt: number;
  readonly error: unknown;
}

export type KeptTokens<T extends Kept> = ReturnType<typeof createKeptTokens<T>>;

/**
 * @param maximumBytes what all that is kept may take
 * @param bytesOf the length of the texts that one holds
 */
export function createKeptTokens<T extends Kept>(maximumBytes: number, bytesOf: (kept: T) => number) {
  const all = new LRUCache<string, T>({
    maxSize: maximumBytes,
    sizeCalculation: (kept) => bytesOf(kept) + entryBytes,
  });
  const failures = new LRUCache<string, Failure>({ max: maximumFailures });
  const inFlight = new Map<string, Promise<T>>();

  /**
   * @param make asks for a new one; its errors go to all who wait for it
   * @throws what `make` throws, also in the pause after it threw that
   */
  function find(key: string, make: () => Promise<T>): T | Promise<T> {
    const kept = all.get(key);
    const now = nowSeconds();
    if (kept !== undefined && now < kept.dueAt) return kept;
    if (kept !== undefined && now < kept.expiresAt) return renewAhead(key, kept, make);
    return joinOrStart(key, make);
  }

  async function renewAhead(key: string, kept: T, make: () => Promise<T>): Promise<T> {
    try {
      return await withTimeout<T>(joinOrStart(key, make), shortWaitMs, () => kept);
    } catch {
      // Told by whoever made the request.
      return kept;
    }
  }

  function joinOrStart(key: string, make: () => Promise<T>): Promise<T> {
    const joined = inFlight.get(key);
    if (joined !== undefined) return joined;
    const failure = failures.get(key);
    if (failure !== undefined && monotonicMs() < failure.retryAt) return Promise.reject(duringPause(failure));
    const started = run(key, make).finally(() => inFlight.delete(key));
    inFlight.set(key, started);
    return started;
  }

  async function run(key: string, make: () => Promise<T>): Promise<T> {
    try {
      const made = await make();
      failures.delete(key);
      if (nowSeconds() < made.expiresAt) all.set(key, made);
      return made;
    } catch (error) {
      // The provider was not asked: nothing new happened.
      if (error instanceof UnaskedError) throw error;
      const count = (failures.get(key)?.count ?? 0) + 1;
      failures.set(key, { count, retryAt: monotonicMs() + pauseMsAfter(count, error), error });
      throw error;
    }
  }

  /** What an API has rejected is not used again, by whomever. */
  function drop(key: string, rejected: T): void {
    rejected.dueAt = 0;
    rejected.expiresAt = 0;
    if (all.get(key) === rejected) all.delete(key);
  }

  return {
    find,
    drop,
    /** One that is not due for renewal. */
    usable(key: string): T | undefined {
      const one = all.get(key);
      return one !== undefined && nowSeconds() < one.dueAt ? one : undefined;
    },
    /** What is kept, whether or not it is still valid. */
    peek: (key: string): T | undefined => all.peek(key),
  };
}

function duringPause({ error, retryAt }: Failure): unknown {
  if (!(error instanceof BffError)) return error;
  const { code, message, cause, pageWording } = error;
  const headers = retryAfter(Math.max(1, Math.ceil((retryAt - monotonicMs()) / 1000)));
  return new BffError(code, message, { cause, pageWording, headers });
}

/** The key of what is asked with a credential: neither the credential nor the rest can be read from it. */
export function keyOf(...parts: readonly unknown[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url');
}

/** When to renew one that was obtained just now. Seconds since 1970. */
export function dueAhead(expiresAt: number, beforeSeconds: number): number {
  return renewalDueAt(nowSeconds(), expiresAt, beforeSeconds);
}
