/**
 * The contract of what several processes must agree on about sessions: which have ended, which generation of a session
 * is the newest, who refreshes it, when it was last used. One process's memory, a file, the first of several workers,
 * and Redis or Valkey serve alike.
 *
 * Each operation is one atomic step and one round trip. None writes unconditionally: a generation only rises, an end is
 * for good, a confirmation counts once, and a claim belongs to its owner. So the order in which processes call them
 * cannot do harm, and an operation whose answer was lost may be repeated.
 *
 * What is stored cannot be read there: keys and names are hashes, contents are sealed. All of it expires.
 *
 * Ages are in milliseconds, by the store's own clock; what a process keeps of them it counts on its monotonic clock. So
 * clocks that differ between machines matter nowhere.
 */

import type { SessionEnd } from '../events.ts';

/** What the store has of one session. A session without a record is one that nothing has happened to. */
export interface SessionRecord {
  /** Undefined while the session goes on. */
  readonly ended: SessionEnd | undefined;
  /** The newest generation; 0 where none was written. */
  readonly generation: number;
  /** The newest generation, sealed; undefined where none was written, and when its time is over. */
  readonly content: string | undefined;
  /** How long ago a browser first showed the newest generation; undefined before. */
  readonly confirmedMsAgo: number | undefined;
  /**
   * Cookies of generations before this one have had their grace period, and are not served again, whatever comes after.
   * It is a generation whose confirmation was so long ago; 0 at first. Where generations follow each other within the
   * grace period, that of the first goes on and the others begin none, so that frequent refreshes cannot keep old
   * cookies alive.
   */
  readonly oldestServed: number;
  /** How long ago a call was last counted; undefined before. */
  readonly activeMsAgo: number | undefined;
}

/** All sessions of one name that began at the provider at or before a time have ended. */
export interface Revocation {
  /** Seconds since 1970 by the provider's clock, to compare with the `iat` of the login's ID token. */
  readonly before: number;
  readonly reason: SessionEnd;
}

/** What {@link Store.look} finds. */
export interface FoundSession {
  readonly record: SessionRecord;
  /** The revocations of the names that were asked for. */
  readonly revocations: readonly Revocation[];
}

/** What {@link Store.begin} writes. */
export interface SessionStart {
  /** Under which names the session is listed. */
  readonly names: readonly string[];
  /** What {@link Store.list} shows of it, sealed. */
  readonly details: string;
  /** Generation 0, sealed, where the store keeps the session itself. */
  readonly content?: string;
}

/** The right to refresh one generation of a session, for as long as the lease lasts. */
export interface Claim {
  /** The generation to be replaced. */
  readonly generation: number;
  /** A random text. */
  readonly owner: string;
}

export type ClaimResult =
  /**
   * The claim is granted. `interrupted`: an earlier owner asked the provider and was never heard of again, so that the
   * refresh token may be used up. A renewal repeats what the grant said.
   */
  | { readonly state: 'granted'; readonly interrupted: boolean }
  /** Another owner has it, for so long at most unless they renew it. */
  | { readonly state: 'held'; readonly leftMs: number }
  /** There is nothing to refresh: the session has ended, or has a newer generation. */
  | { readonly state: 'settled'; readonly record: SessionRecord };

/** A generation to write. */
export interface Advance {
  readonly generation: number;
  readonly content: string;
}

export type AdvanceResult =
  | { readonly advanced: true }
  /** The session has ended, or has a generation that is as new. */
  | { readonly advanced: false; readonly record: SessionRecord };

/** One of the sessions of a name. */
export interface ListedSession {
  readonly session: string;
  readonly details: string;
  readonly activeMsAgo: number | undefined;
}

/** What every process that uses the store is to know at once. */
export type StoreMessage =
  | { readonly type: 'ended'; readonly session: string; readonly reason: SessionEnd }
  | ({ readonly type: 'revoked'; readonly name: string } & Revocation)
  | { readonly type: 'advanced'; readonly session: string; readonly generation: number }
  /** A claim was given up without a new generation. */
  | { readonly type: 'released'; readonly session: string }
  /**
   * The store may have lost what was written in the last `lastMs`, as by a failover; undefined: it has lost everything.
   * Each process finds that by itself. What it has looked up before is no longer heard of (`heardSince`).
   */
  | { readonly type: 'lost'; readonly lastMs?: number };

/**
 * Where processes agree about sessions. `session` is a hash of a session's id, and a name is a hash too; both have the
 * characters of base64url, `:` and `-`. Operations reject while the store cannot be reached, within about a second.
 *
 * Each operation that writes takes for how many seconds the record is needed; it lives until the latest of these.
 *
 * @example
 * ```ts
 * import { createMemoryStore, type Store } from 'sallyport';
 *
 * export function counting(onEnd: () => void): Store {
 *   const store = createMemoryStore();
 *   return {
 *     ...store,
 *     async end(session, reason, ttlSeconds) {
 *       onEnd();
 *       return store.end(session, reason, ttlSeconds);
 *     },
 *   };
 * }
 * ```
 */
export interface Store {
  /** Whether other processes use it as well. */
  readonly shared: boolean;
  /** Whether what it holds outlives this process. */
  readonly durable: boolean;

  /**
   * Writes a new session, unless it has ended. Later operations on a session need none: those that take a time begin a
   * record where there is none.
   */
  begin(session: string, start: SessionStart, ttlSeconds: number): Promise<void>;

  /** Reads a session's record, and the revocations of its names. */
  look(session: string, names: readonly string[]): Promise<FoundSession>;

  /**
   * Claims the refresh of a generation for `leaseMs`, in writing, so that whoever comes after an owner who is gone knows
   * that the refresh token may be used up. The owner itself renews its claim with the same call. A generation that is newer
   * than the store knows becomes the newest, without a content.
   */
  claim(session: string, claim: Claim, leaseMs: number, ttlSeconds: number): Promise<ClaimResult>;

  /**
   * Gives a claim up without a new generation.
   * @param interrupted whether the refresh token may be used up all the same
   */
  release(session: string, claim: Claim, interrupted: boolean): Promise<void>;

  /**
   * Makes a generation the newest, unless the session has ended or has one that is as new; the same content again is no
   * other generation, but a repetition. Ends any claim. The content is kept until the record ends, or a confirmation's
   * grace period does.
   */
  advance(session: string, next: Advance, ttlSeconds: number): Promise<AdvanceResult>;

  /**
   * Notes that a browser has shown a generation, if it is the newest and was not noted before. Its content is kept for
   * `graceMs` from then on.
   */
  confirm(session: string, generation: number, graceMs: number): Promise<void>;

  /** Counts a call of a session that has not ended. */
  touch(session: string, ttlSeconds: number): Promise<void>;

  /** Ends a session for good. @returns whether it had not ended before */
  end(session: string, reason: SessionEnd, ttlSeconds: number): Promise<boolean>;

  /** Ends the sessions of a name that began before a time. An earlier time never replaces a later one. */
  revoke(name: string, revocation: Revocation, ttlSeconds: number): Promise<void>;

  /** The sessions of a name that were written by {@link begin} and have not ended: the newest, `limit` at most. */
  list(name: string, limit: number): Promise<readonly ListedSession[]>;

  /** Uses a name that can be used once. @returns false if it was used before */
  useOnce(name: string, ttlSeconds: number): Promise<boolean>;

  /**
   * Calls `listener` for each message of any process, this one included. What it throws is a warning of the process.
   * @returns a function that ends it
   */
  subscribe(listener: (message: StoreMessage) => void): () => void;

  /**
   * Since when no message can have been missed, in milliseconds of `process.hrtime()`; undefined while messages cannot
   * come. What was looked up before that time may have changed unheard.
   */
  heardSince(): number | undefined;

  /** Whether operations can be expected to succeed now. */
  reachable(): boolean;

  /** Ends the store's part in this process. Operations reject from then on, and no message comes. */
  close(): Promise<void>;
}
