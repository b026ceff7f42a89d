/**
 * The cookies that this process has opened, and the sessions that they lead to.
 *
 * A cookie is unsealed once and then found by the SHA-256 of its text: no two users can meet, and to find it costs half of
 * what a map takes to hash a text of 2 kB, and saves the text's memory. The cache is bounded by the memory that it takes.
 */
import { hash } from 'node:crypto';
import { getHeapStatistics } from 'node:v8';
import { LRUCache } from 'lru-cache';
import { memoryBytes, type SessionForm } from './session.ts';
import type { SessionEntry } from './session-entry.ts';

/** What a session takes beside its texts: objects, and their places in maps. */
const entryBytes = 1700;
/** The garbage collector lets the heap grow by so much before it looks for what cookies that were dropped have left. */
const garbageShare = 0.25;
/** A cache that is as large as the heap would end the process. */
const maximumShareOfHeap = 0.5;

/** A cookie that was opened. */
export interface CachedCookie {
  readonly entry: SessionEntry;
  /** The form of the session that is in the cookie; the entry may have a newer one. */
  readonly shown: SessionForm;
  /** False after it was evicted. */
  cached: boolean;
}

const lastCookie: unique symbol = Symbol('lastCookie');

interface ShownCookie {
  readonly text: string;
  readonly cookie: CachedCookie;
}

/**
 * A client's connection, which remembers its last cookie, because the next call mostly brings the same. A field of the
 * connection and not a `WeakMap`, because each call would pay for the look-up.
 */
export interface ClientConnection {
  [lastCookie]?: ShownCookie;
}

export type CookieCache = ReturnType<typeof createCookieCache>;

/** @param megabytes what the cache may take, of 1024 * 1024 bytes; at most half of what Node lets the heap grow to */
export function createCookieCache(megabytes: number) {
  const cookies = new LRUCache<string, CachedCookie>({
    maxSize: Math.floor(Math.min(megabytes * 1024 * 1024, getHeapStatistics().heap_size_limit * maximumShareOfHeap)),
    sizeCalculation: ({ entry: { session, cookieText = '' } }) =>
      Math.ceil((cookieText.length + memoryBytes(session) + entryBytes) * (1 + garbageShare)),
    dispose: (cookie) => {
      cookie.cached = false;
    },
  });

  /** @param connection the client's; saves the look-up, for which 2 kB of cookie must be hashed: 2 us of a call's 60 */
  function find(text: string, connection?: ClientConnection): CachedCookie | undefined {
    const last = connection?.[lastCookie];
    if (last?.cookie.cached === true && last.text === text) return last.cookie;
    const cookie = cookies.get(digestOf(text));
    if (connection !== undefined && cookie !== undefined) connection[lastCookie] = { text, cookie };
    return cookie;
  }

  function add(text: string, entry: SessionEntry, { generation, sealedActivityAt }: SessionForm): CachedCookie {
    const cookie = { entry, shown: { generation, sealedActivityAt }, cached: true };
    cookies.set(digestOf(text), cookie);
    return cookie;
  }

  return { find, add };
}

/** One byte a character: 32 bytes. */
function digestOf(text: string): string {
  return hash('sha256', text, 'binary');
}

/** A cookie's text as a text of its own: as a part of a header it would keep the whole header in memory. */
export function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
