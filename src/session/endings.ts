/**
 * Which sessions have ended, as far as this process has heard. A session that is opened while the message of its end
 * arrives, and one whose end the store has lost, are found here.
 */
import { LRUCache } from 'lru-cache';
import type { SessionEnd } from '../events.ts';
import type { Revocation } from '../store/store.ts';
import { loginIssuedAt } from './session.ts';
import type { SessionEntry } from './session-entry.ts';

/** Some 15 MB; the oldest are forgotten first. The store has them all. */
const maximumEndings = 50_000;

export type Endings = ReturnType<typeof createEndings>;

interface Ending<T> {
  readonly key: string;
  readonly value: T;
  readonly leftSeconds: number;
}

/** @param lifetimeSeconds how long a cookie can come back at most */
export function createEndings(lifetimeSeconds: number) {
  const options = { max: maximumEndings, ttl: Math.ceil(lifetimeSeconds * 1000) };
  const sessions = new LRUCache<string, SessionEnd>(options);
  const names = new LRUCache<string, Revocation>(options);

  /** What was heard of in the last `ms`, and for how many seconds more a cookie of it can come back. */
  function recent<T extends object | string>(entries: LRUCache<string, T>, ms: number): ReadonlyArray<Ending<T>> {
    return [...entries.entries()].flatMap(([key, value]) => {
      const leftMs = entries.getRemainingTTL(key);
      return options.ttl - leftMs > ms ? [] : [{ key, value, leftSeconds: Math.ceil(leftMs / 1000) }];
    });
  }

  return {
    addSession(key: string, reason: SessionEnd): void {
      if (!sessions.has(key)) sessions.set(key, reason);
    },

    addName(name: string, revocation: Revocation): void {
      const earlier = names.get(name);
      if (earlier === undefined || revocation.before > earlier.before) names.set(name, revocation);
    },

    /** What was heard of in the last `ms`. */
    heardWithin: (ms: number) => ({ sessions: recent(sessions, ms), names: recent(names, ms) }),

    /** Whether a sign-out at this very second has been heard of one of the names. */
    isRevokedAt: (ofSession: readonly string[], second: number) =>
      ofSession.some((name) => names.get(name)?.before === second),

    /** Why a session has ended; undefined if nothing was heard of it. */
    reasonFor({ key, names: ofSession, session }: SessionEntry): SessionEnd | undefined {
      const revocation = ofSession
        .map((name) => names.get(name))
        .find((each) => each !== undefined && loginIssuedAt(session) <= each.before);
      return sessions.get(key) ?? revocation?.reason;
    },
  };
}
