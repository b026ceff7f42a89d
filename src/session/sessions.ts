/**
 * The life of sessions: begin, open, count calls against the idle timeout, end. The table in `session.ts` lists all the
 * ways in which one ends.
 *
 * This is what other folders see of sessions. It puts together what has its own file: opening a cookie, the cache of
 * opened cookies, generations, the record that processes share, and the cookies of a response.
 */
import { randomBytes } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Events, SessionEnd } from '../events.ts';
import type { Store } from '../store/store.ts';
import type { Claims, TokenSet } from '../token-set.ts';
import { createCookieCache } from './cookie-cache.ts';
import { createGenerations } from './generations.ts';
import { createResponseCookies, sessionTooLarge } from './response-cookies.ts';
import { endsAt, loginClaims, memoryBytes, type Session } from './session.ts';
import { createEntry, hasEnded, idleEndsAt, sessionHash, type SessionEntry } from './session-entry.ts';
import { createSessionOpener } from './session-opener.ts';
import { createSessionSealer } from './session-sealer.ts';
import { createSharedRecords } from './shared-record.ts';

export type { ClientConnection } from './cookie-cache.ts';
export type { SessionEntry } from './session-entry.ts';
export type { OpenedSession, OpenSession } from './session-opener.ts';

/** A cookie is sealed anew for the idle timeout at most this often. */
const maximumTouchIntervalSeconds = 60;

/** A session that a login replaces: its cookie may not be at hand any more. */
export interface ReplacedSession {
  readonly id: string;
  readonly expiresAt: number;
}

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions(config: Config, { store, events }: { readonly store: Store; readonly events: Events }) {
  const limits = config.session;
  const touchIntervalSeconds = Math.min(maximumTouchIntervalSeconds, limits.idleSeconds / 20);
  const sealer = createSessionSealer(config.secrets);
  const cache = createCookieCache();
  const records = createSharedRecords(config, { store, events });
  const generations = createGenerations(config, { records, cache, sealer });
  let begun = 0;

  /** A new session after a login: new id, generation 0. @throws {BffError} when it is too large for any cookie */
  async function begin(tokens: TokenSet, userInfo: Claims | undefined): Promise<SessionEntry> {
    const now = nowSeconds();
    const id = randomBytes(16).toString('base64url');
    const times = { createdAt: now, sealedActivityAt: now, tokensIssuedAt: now };
    const session = { id, generation: 0, ...times, tokens, userInfo, ...loginClaims(tokens.idToken) };
    const entry = createEntry(session, await sealNew(session), ++begun);
    cache.add(entry.sealed, entry, session);
    return entry;
  }

  async function sealNew(session: Session): Promise<string> {
    try {
      return await sealer.seal(session);
    } catch (cause) {
      if (cause instanceof RangeError) throw sessionTooLarge(memoryBytes(session), cause);
      throw cause;
    }
  }

  /**
   * Ends the session for good, in all processes. It takes effect here before the store has answered, and no sign-out
   * waits for a store that is down.
   */
  async function end(entry: SessionEntry, reason: SessionEnd): Promise<void> {
    entry.status = 'ended';
    await endById(entry.session.id, endsAt(entry.session, limits), reason);
  }

  /** Ends a session of which only the id is known, such as the one before a new login. */
  async function endById(id: string, expiresAt: number, reason: SessionEnd): Promise<void> {
    const entry = cache.entryOf(id);
    if (entry !== undefined) entry.status = 'ended';
    const written = records.end(id, expiresAt);
    events.emit({ type: 'session.ended', session: sessionHash(id), reason });
    await written;
  }

  /** Ends the session that a login puts another one in place of. */
  async function replace({ id, expiresAt }: ReplacedSession): Promise<void> {
    const entry = cache.entryOf(id);
    if (entry !== undefined) entry.replaced = true;
    if (entry?.status !== 'ended') await endById(id, expiresAt, 'new_login');
  }

  /**
   * Counts a call against the idle timeout. Now and then a new cookie takes the time along, which outlives this
   * process.
   */
  function touch(entry: SessionEntry): undefined | Promise<void> {
    if (limits.idleSeconds === 0) return undefined;
    const now = nowSeconds();
    entry.lastActivityAt = now;
    return now - entry.session.sealedActivityAt < touchIntervalSeconds ? undefined : sealTouched(entry, now);
  }

  async function sealTouched(entry: SessionEntry, now: number): Promise<void> {
    const touched = { ...entry.session, sealedActivityAt: now };
    entry.session = touched;
    const sealed = await sealer.seal(touched);
    // A refresh that ended in the meantime has written a newer one.
    if (entry.session !== touched) return;
    entry.sealed = sealed;
    cache.add(sealed, entry, touched);
  }

  return {
    open: createSessionOpener(config, { records, cache, generations, sealer }),
    begin,
    /** How many sessions have begun in this process. */
    begun: () => begun,
    touch,
    end,
    replace,
    ...createResponseCookies(config, events),
    hasNewerGeneration: generations.hasNewerGeneration,
    commitRefresh: generations.commitRefresh,
    acquireRefreshLock: records.acquireRefreshLock,
    releaseRefreshLock: generations.releaseRefreshLock,
    /**
     * The entry that calls of the session meet now: the cache may have dropped this one and opened the session anew.
     */
    newest: (entry: SessionEntry) => cache.entryOf(entry.session.id) ?? entry,
    hasEnded: (entry: SessionEntry) => hasEnded(entry, limits),
    /** When the session ends at the latest, in seconds since 1970. */
    endsAt: (entry: SessionEntry) => endsAt(entry.session, limits),
    /** When the session ends for lack of calls; undefined where the idle timeout is off. */
    idleEndsAt: (entry: SessionEntry) => idleEndsAt(entry, limits),
  };
}
