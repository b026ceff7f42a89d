/**
 * The cookies that this process has opened, and the sessions that they lead to.
 *
 * A cookie is unsealed once and then found by its whole text, so that a warm call costs a map look-up and no two users
 * can meet. An entry lives as long as a cookie in the cache leads to it. The cache is bounded by bytes.
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
  /** False after it was evicted: then the entry may no longer be the session's only one. */
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
  const entriesById = new Map<string, SessionEntry>();
  const pendingUnseals = new Map<string, Promise<CachedCookie | undefined>>();
  const cookies = new LRUCache<string, CachedCookie>({
    maxSize: maximumBytes,
    sizeCalculation: ({ entry }, text) => 2 * text.length + memoryBytes(entry.session) + entryBytes,
    dispose: (cookie) => {
      cookie.cached = false;
      if (--cookie.entry.references === 0) forget(cookie.entry);
    },
  });

  /** @param connection the client's; saves the look-up, for which 2 kB of cookie must be hashed: 4 us of a call's 60 */
  function find(text: string, connection?: ClientConnection): CachedCookie | undefined {
    const last = connection?.[lastCookie];
    const cookie = last?.cached === true && last.text === text ? last : cookies.get(text);
    if (connection !== undefined && cookie !== undefined) connection[lastCookie] = cookie;
    return cookie;
  }

  /** Opens a cookie that is not in the cache. Parallel calls with the same cookie share one `unseal`. */
  function unsealShared(
    text: string,
    unseal: (text: string) => Promise<CachedCookie | undefined>,
  ): Promise<CachedCookie | undefined> {
    const pending = pendingUnseals.get(text);
    if (pending !== undefined) return pending;
    const copy = ownCopy(text);
    const started = unseal(copy).finally(() => pendingUnseals.delete(copy));
    pendingUnseals.set(copy, started);
    return started;
  }

  function add(text: string, entry: SessionEntry, { generation, sealedActivityAt }: SessionForm): CachedCookie {
    const cookie = { text, entry, shown: { generation, sealedActivityAt }, cached: true };
    entry.references++;
    if (entry.status === 'active') entriesById.set(entry.session.id, entry);
    cookies.set(text, cookie);
    return cookie;
  }

  /** Calls of the session meet another entry from now on. */
  function forget(entry: SessionEntry): void {
    if (entriesById.get(entry.session.id) === entry) entriesById.delete(entry.session.id);
  }

  return {
    find,
    unsealShared,
    add,
    /** The entry that calls of a session meet now. */
    entryOf: (id: string) => entriesById.get(id),
    forget,
  };
}

/** A part of a header would keep the whole header in memory. */
function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
