/**
 * The cookies that this process has opened, and the sessions that they lead to.
 *
 * A cookie is unsealed once and then found by its whole text, so that a warm call costs a map look-up and no two users
 * can meet. The cache is bounded by bytes.
 */
import { LRUCache } from 'lru-cache';
import { memoryBytes, type SessionForm } from './session.ts';
import type { SessionEntry } from './session-entry.ts';

const maximumBytes = 64 * 1024 * 1024;
/** What an entry takes beside its texts. */
const entryBytes = 1024;

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

export function createCookieCache() {
  const cookies = new LRUCache<string, CachedCookie>({
    maxSize: maximumBytes,
    sizeCalculation: ({ entry }, text) => 2 * text.length + memoryBytes(entry.session) + entryBytes,
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

  function add(text: string, entry: SessionEntry, { generation, sealedActivityAt }: SessionForm): CachedCookie {
    const copy = ownCopy(text);
    const cookie = { text: copy, entry, shown: { generation, sealedActivityAt }, cached: true };
    cookies.set(copy, cookie);
    return cookie;
  }

  return { find, add };
}

/** A part of a header would keep the whole header in memory. */
function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
