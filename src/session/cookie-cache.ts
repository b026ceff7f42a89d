/**
 * The cookies that this process has opened, and the sessions that they lead to.
 *
 * A cookie is unsealed once and then found by its whole text, so that a warm call costs a map look-up and no two users
 * can meet. The cache is bounded by the memory that it takes.
 */
import { getHeapStatistics } from 'node:v8';
import { LRUCache } from 'lru-cache';
import { memoryBytes, type SessionForm } from './session.ts';
import type { SessionEntry } from './session-entry.ts';

/** What a session takes beside its texts: objects, and their places in maps. */
const entryBytes = 1400;
/** The garbage collector lets the heap grow by so much before it looks for what cookies that were dropped have left. */
const garbageShare = 0.25;
/** A cache that is as large as the heap would end the process. */
const maximumShareOfHeap = 0.5;

/** A cookie that was opened. */
export interface CachedCookie {
  /** The cookie's whole text. */
  readonly text: string;
  readonly entry: SessionEntry;
  /** The form of the session that is in the cookie; the entry may have a newer one. */
  readonly shown: SessionForm;
  /** False after it was evicted. */
  cached: boolean;
}

const lastCookie: unique symbol = Symbol('lastCookie');

/**
 * A client's connection, which remembers its last cookie, because the next call mostly brings the same. A field of the
 * connection and not a `WeakMap`, because each call would pay for the look-up.
 */
export interface ClientConnection {
  [lastCookie]?: CachedCookie;
}

export type CookieCache = ReturnType<typeof createCookieCache>;

/** @param megabytes what the cache may take, of 1024 * 1024 bytes; at most half of what Node lets the heap grow to */
export function createCookieCache(megabytes: number) {
  const cookies = new LRUCache<string, CachedCookie>({
    maxSize: Math.floor(Math.min(megabytes * 1024 * 1024, getHeapStatistics().heap_size_limit * maximumShareOfHeap)),
    sizeCalculation: ({ entry }, text) =>
      Math.ceil((text.length + memoryBytes(entry.session) + entryBytes) * (1 + garbageShare)),
    dispose: (cookie) => {
      cookie.cached = false;
    },
  });

  /** @param connection the client's; saves the look-up, for which 2 kB of cookie must be hashed: 4 us of a call's 60 */
  function find(text: string, connection?: ClientConnection): CachedCookie | undefined {
    const last = connection?.[lastCookie];
    const cookie = last?.cached === true && last.text === text ? last : cookies.get(text);
    if (connection !== undefined && cookie !== undefined) connection[lastCookie] = cookie;
    return cookie;
  }

  /** @param text of the cookie, and no part of a header: see {@link ownCopy} */
  function add(text: string, entry: SessionEntry, { generation, sealedActivityAt }: SessionForm): CachedCookie {
    const cookie = { text, entry, shown: { generation, sealedActivityAt }, cached: true };
    cookies.set(text, cookie);
    return cookie;
  }

  return { find, add };
}

/** A cookie's text as a text of its own: as a part of a header it would keep the whole header in memory. */
export function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
