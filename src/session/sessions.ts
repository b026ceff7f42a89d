/**
 * The life of sessions: opening the browser's cookie, handing out its newest form, ending it.
 *
 * A cookie is unsealed once and then found by its whole text, so that a warm call costs a map look-up and no two users
 * can meet. All cookies of one session, of whatever generation, lead to one {@link SessionEntry}, which holds the newest
 * tokens: so a call that still carries an older cookie is served, and gets the newest one, until the browser has shown
 * the newest and a grace period after that. What must outlive this process's memory stands in the store: `latest:<id>`
 * (a generation, or `ended`) and `successor:<id>` (the sealed session that an older cookie leads to).
 */
import { createHash, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import type { Events, SessionEnd } from '../events.ts';
import type { Store } from '../store/store.ts';
import type { Claims, TokenSet } from '../token-set.ts';
import { nowSeconds } from '../clock.ts';
import {
  clearSessionCookie,
  cookieNames,
  hasBothForms,
  joinChunks,
  readSessionCookie,
  cookiesUnknown,
  writeSessionCookie,
} from './cookies.ts';
import { createSealer } from './seal.ts';
import { endsAt, isNewer, isServable, readSession, writeSession, type Session, type SessionForm } from './session.ts';

/** Bound of the cache of opened cookies. */
const cacheBytes = 64 * 1024 * 1024;
/** What an entry takes beside its texts. */
const entryBytes = 1024;

/** Idle sessions' cookies are written anew at most this often. */
const maximumTouchIntervalSeconds = 60;

/** A session in this process, newest generation. Mutable: it is where the answers of concurrent calls meet. */
export interface SessionEntry {
  session: Session;
  /** `session`, sealed. */
  sealed: string;
  /** Short hash of the id, for logs. */
  readonly label: string;
  /** Ended for good: nothing revives it. */
  ended: boolean;
  /** A login has put another session in its place: its browser has a newer cookie. */
  replaced: boolean;
  /** When the browser first showed the newest generation, in seconds; undefined before. */
  acknowledgedAt: number | undefined;
  /** The last call that counts against the idle timeout. */
  lastActivityAt: number;
  /** Cookies in the cache that lead here. */
  references: number;
}

/** What a request's cookies turned out to be. */
export type OpenedSession =
  | OpenSession
  /** There was a session and it is over. */
  | { readonly state: 'ended'; readonly entry: SessionEntry }
  /** No cookie, or nothing that opens. */
  | { readonly state: 'absent' };

/** A session that goes on, and the form of it that the request showed. */
export interface OpenSession {
  readonly state: 'active';
  readonly entry: SessionEntry;
  readonly shown: SessionForm;
}

/** A session that a login replaces: its cookie may not be at hand any more. */
export interface ReplacedSession {
  readonly id: string;
  readonly expiresAt: number;
}

interface CachedCookie {
  /** The cookie's whole text. */
  readonly text: string;
  readonly entry: SessionEntry;
  readonly shown: SessionForm;
  /** Still in the cache: what was dropped from it may not be the session's only form any more. */
  cached: boolean;
}

const lastCookie: unique symbol = Symbol('lastCookie');

/** A client's connection, which remembers the cookie that came last: mostly the next call brings the same. */
export interface ClientConnection {
  [lastCookie]?: CachedCookie;
}

export type Sessions = ReturnType<typeof createSessions>;

export function createSessions(config: Config, deps: { readonly store: Store; readonly events: Events }) {
  const { store, events } = deps;
  const limits = config.session;
  const names = cookieNames(config.secure);
  const sealer = createSealer(config.secrets, 'session');
  const touchIntervalSeconds = Math.min(maximumTouchIntervalSeconds, limits.idleSeconds / 20);
  const entriesById = new Map<string, SessionEntry>();
  let begun = 0;
  const opening = new Map<string, Promise<CachedCookie | undefined>>();
  /** Sessions that ended while the store was down, and when they would have ended anyway. */
  const pendingRevocations = new Map<string, number>();
  const cookies = new LRUCache<string, CachedCookie>({
    maxSize: cacheBytes,
    sizeCalculation: ({ entry }, text) => 2 * text.length + sizeOf(entry.session) + entryBytes,
    dispose: (cookie) => {
      const { entry } = cookie;
      cookie.cached = false;
      if (--entry.references === 0 && entriesById.get(entry.session.id) === entry) entriesById.delete(entry.session.id);
    },
  });

  /**
   * Opens what the request carries; at once where nothing has to be unsealed or asked, as with nearly every call.
   * A store that is down holds no call up: what is known here decides until the access token has to be renewed.
   * @param connection the client's; saves the look-up, for which 2 kB of cookie must be hashed: 4 us of a call's 60
   */
  function open(header: string | undefined, connection?: ClientConnection): OpenedSession | Promise<OpenedSession> {
    const text = readSessionCookie(header, names);
    if (text === undefined) return { state: 'absent' };
    const opened = openText(text, connection);
    if (opened instanceof Promise) return openOther(header, opened);
    return opened.state === 'active' || !hasBothForms(header, names) ? opened : openOther(header, opened);
  }

  /** One that an earlier session left behind, in one cookie or in several, must not hide the one that goes on. */
  async function openOther(
    header: string | undefined,
    opening: OpenedSession | Promise<OpenedSession>,
  ): Promise<OpenedSession> {
    const first = await opening;
    const chunks = first.state === 'active' || !hasBothForms(header, names) ? undefined : joinChunks(header, names);
    if (chunks === undefined) return first;
    const second = await openText(chunks);
    return second.state === 'active' ? second : first;
  }

  function openText(text: string, connection?: ClientConnection): OpenedSession | Promise<OpenedSession> {
    const last = connection?.[lastCookie];
    const cookie = last?.cached === true && last.text === text ? last : cookies.get(text);
    if (connection !== undefined && cookie !== undefined) connection[lastCookie] = cookie;
    return cookie !== undefined && !store.shared ? stateOf(cookie) : openAsync(text, cookie);
  }

  async function openAsync(text: string, known: CachedCookie | undefined): Promise<OpenedSession> {
    const cookie = known ?? (await unsealShared(text));
    if (cookie === undefined) return { state: 'absent' };
    if (store.shared) await reconcileIfAvailable(cookie.entry);
    return stateOf(cookie);
  }

  /** Parallel calls with the same new cookie unseal it once. */
  function unsealShared(text: string): Promise<CachedCookie | undefined> {
    const running = opening.get(text);
    if (running !== undefined) return running;
    // A part of a header would keep the whole header in memory.
    const copy = ownCopy(text);
    const started = unseal(copy).finally(() => opening.delete(copy));
    opening.set(copy, started);
    return started;
  }

  async function unseal(text: string): Promise<CachedCookie | undefined> {
    const session = await openSeal(text);
    if (session === undefined) return undefined;
    let entry = entriesById.get(session.id);
    if (entry === undefined) {
      entry = createEntry(session, text);
      if (!store.shared) await reconcile(entry);
      // Another call may have brought the same session in the meantime.
      entry = entriesById.get(session.id) ?? entry;
    }
    // Another process may have refreshed, or counted calls, and written that into this cookie.
    if (isNewer(session, entry.session)) applyGeneration(entry, session, text);
    return remember(text, entry, session);
  }

  /** The session in a seal; undefined for whatever is none that can be served. */
  async function openSeal(text: string): Promise<Session | undefined> {
    const opened = await sealer.unseal(text);
    const session = opened === undefined ? undefined : readSession(opened);
    return session !== undefined && isServable(session) ? session : undefined;
  }

  function remember(text: string, entry: SessionEntry, { generation, sealedActivityAt }: SessionForm): CachedCookie {
    const cookie = { text, entry, shown: { generation, sealedActivityAt }, cached: true };
    entry.references++;
    if (!entry.ended) entriesById.set(entry.session.id, entry);
    cookies.set(text, cookie);
    return cookie;
  }

  async function reconcileIfAvailable(entry: SessionEntry): Promise<void> {
    try {
      await reconcile(entry);
    } catch (error) {
      if (!(error instanceof BffError) || error.code !== 'store_unavailable') throw error;
    }
  }

  /** Takes over what other processes, or this one before it forgot, know of the session; tells them what they do not. */
  async function reconcile(entry: SessionEntry): Promise<void> {
    const { id, generation } = entry.session;
    const [latest, successor] = await ask(() => Promise.all([store.get(`latest:${id}`), store.get(`successor:${id}`)]));
    if (latest === 'ended') entry.ended = true;
    if (entry.ended) return;
    const known = Number(latest ?? 0);
    // The store was down, or has lost what it had: whoever comes with an older cookie would redeem a used token.
    if (known < generation && store.shared)
      await ask(() => publish(entry.session, entry.sealed, successorSeconds(entry)));
    if (known <= generation) return;
    const session = successor === undefined ? undefined : await openSeal(successor);
    if (session?.id !== id || successor === undefined) return evictSuperseded(entry);
    // A refresh may have overtaken the answer.
    if (session.generation > entry.session.generation) applyGeneration(entry, session, successor);
  }

  /**
   * Superseded longer ago than the grace period: what these cookies hold is a used refresh token. The session itself is
   * not over: its newest cookie starts afresh.
   */
  function evictSuperseded(entry: SessionEntry): void {
    entry.ended = true;
    if (entriesById.get(entry.session.id) === entry) entriesById.delete(entry.session.id);
  }

  function successorSeconds(entry: SessionEntry): number {
    return entry.acknowledgedAt === undefined ? remaining(entry.session) : Math.max(1, config.refresh.graceSeconds);
  }

  /** @returns false if the session has ended or a newer generation exists */
  async function publish(session: Session, sealed: string, successorTtlSeconds: number): Promise<boolean> {
    await store.set(`successor:${session.id}`, sealed, successorTtlSeconds);
    return claimGeneration(session, remaining(session));
  }

  function stateOf({ entry, shown }: CachedCookie): OpenedSession {
    const now = nowSeconds();
    if (isOver(entry)) return { state: 'ended', entry };
    if (shown.generation === entry.session.generation) {
      if (entry.acknowledgedAt === undefined) confirm(entry, now);
    } else if (entry.acknowledgedAt !== undefined && now > entry.acknowledgedAt + config.refresh.graceSeconds) {
      return { state: 'ended', entry };
    }
    return { state: 'active', entry, shown };
  }

  /** Whether the session has ended, by a decision, by its lifetime or by its idle timeout. */
  function isOver(entry: SessionEntry): boolean {
    const now = nowSeconds();
    return (
      entry.ended ||
      now >= endsAt(entry.session, limits) ||
      (limits.idleSeconds > 0 && now >= entry.lastActivityAt + limits.idleSeconds)
    );
  }

  /** The browser has the newest cookie: from now on older ones are good for the grace period only. */
  function confirm(entry: SessionEntry, now: number): void {
    entry.acknowledgedAt = now;
    if (entry.session.generation === 0) return;
    detach(store.set(`successor:${entry.session.id}`, entry.sealed, successorSeconds(entry)), onStoreError);
  }

  function applyGeneration(entry: SessionEntry, session: Session, sealed: string): void {
    if (session.generation > entry.session.generation) entry.acknowledgedAt = undefined;
    entry.session = session;
    entry.sealed = sealed;
    entry.lastActivityAt = Math.max(entry.lastActivityAt, session.sealedActivityAt);
  }

  /** A new session after a login: new id, generation 0. @throws {BffError} when it is too large for any cookie */
  async function begin(tokens: TokenSet, userInfo: Claims | undefined): Promise<SessionEntry> {
    const now = nowSeconds();
    const id = randomBytes(16).toString('base64url');
    const session = { id, generation: 0, createdAt: now, sealedActivityAt: now, tokensIssuedAt: now, tokens, userInfo };
    const entry = createEntry(session, await sealer.seal(writeOrRefuse(session)));
    begun++;
    remember(entry.sealed, entry, session);
    return entry;
  }

  /**
   * Puts a refresh's result in place of the session that it was made from.
   * @returns false if the session was ended, or superseded, in the meantime: the result must be thrown away
   */
  async function commitRefresh(entry: SessionEntry, next: Session): Promise<boolean> {
    const sealed = await sealer.seal(writeSession(next));
    try {
      if (!(await publish(next, sealed, remaining(next)))) return false;
    } catch (cause) {
      // The old refresh token is spent: the new one must reach the browser whether the store hears of it or not.
      events.emit({ type: 'store.failed', cause });
    }
    if (entry.ended) return false;
    applyGeneration(entry, next, sealed);
    // The cache may have dropped this one meanwhile, and calls have made another of the same session.
    const twin = entriesById.get(next.id) ?? entry;
    if (twin !== entry) applyGeneration(twin, next, sealed);
    remember(sealed, twin, next);
    return true;
  }

  /** @returns false if the session has ended or a newer generation exists; a store that forgot it knows neither */
  async function claimGeneration({ id, generation }: Session, ttlSeconds: number): Promise<boolean> {
    for (;;) {
      const latest = await store.get(`latest:${id}`);
      if (latest === 'ended' || Number(latest ?? -1) >= generation) return false;
      if (await store.compareAndSet(`latest:${id}`, latest, String(generation), ttlSeconds)) return true;
    }
  }

  /**
   * Ends the session for good, everywhere. Takes effect here before the store has answered; a store that is down holds
   * nobody's sign-out up, and hears of it when it answers again.
   */
  async function end(entry: SessionEntry, reason: SessionEnd): Promise<void> {
    entry.ended = true;
    await endSessionById(entry.session.id, endsAt(entry.session, limits), reason);
  }

  /** Ends a session of which only the id is known, e.g. the one before a new login. */
  async function endSessionById(id: string, expiresAt: number, reason: SessionEnd): Promise<void> {
    const entry = entriesById.get(id);
    if (entry !== undefined) entry.ended = true;
    const told = writeRevocation(id, expiresAt);
    events.emit({ type: 'session.ended', session: label(id), reason });
    await told;
  }

  function onStoreError(cause: unknown): void {
    events.emit({ type: 'store.failed', cause });
  }

  /** Ends the session that a login puts another one in place of. */
  async function replace({ id, expiresAt }: ReplacedSession): Promise<void> {
    const entry = entriesById.get(id);
    if (entry !== undefined) entry.replaced = true;
    if (entry?.ended !== true) await endSessionById(id, expiresAt, 'new_login');
  }

  async function writeRevocation(id: string, expiresAt: number): Promise<void> {
    pendingRevocations.delete(id);
    try {
      await store.set(`latest:${id}`, 'ended', Math.max(1, expiresAt - nowSeconds()));
    } catch (cause) {
      pendingRevocations.set(id, expiresAt);
      events.emit({ type: 'store.failed', cause });
    }
  }

  /** Looks for a newer generation than `generation` that somebody else obtained. @returns whether there is one */
  async function hasNewerGeneration(entry: SessionEntry, generation: number): Promise<boolean> {
    await reconcile(entry);
    return entry.session.generation > generation;
  }

  /** Counts a call against the idle timeout. Now and then the cookie takes it along: it outlives this process's memory. */
  function touch(entry: SessionEntry): undefined | Promise<void> {
    if (limits.idleSeconds === 0) return undefined;
    const now = nowSeconds();
    entry.lastActivityAt = now;
    return now - entry.session.sealedActivityAt < touchIntervalSeconds ? undefined : sealTouched(entry, now);
  }

  async function sealTouched(entry: SessionEntry, now: number): Promise<void> {
    const touched = { ...entry.session, sealedActivityAt: now };
    entry.session = touched;
    const sealed = await sealer.seal(writeSession(touched));
    // A refresh that ended in the meantime has written a newer one.
    if (entry.session !== touched) return;
    entry.sealed = sealed;
    remember(sealed, entry, touched);
  }

  /**
   * The `Set-Cookie` lines for an answer to a request that showed this session: the one place that decides whether an
   * answer writes it. To be asked when the answer's head is written, for an answer may take long: by then the browser
   * may have a newer form, or the session may have ended, and the cookie of the next one must not be overwritten.
   * @param header the request's Cookie header
   */
  function newCookies({ entry, shown }: OpenSession, header: string | undefined): string[] {
    return !isNewer(entry.session, shown) || isOver(entry) ? [] : setCookies(entry, header);
  }

  /**
   * The `Set-Cookie` lines that give the browser the newest form of the session. A session that has outgrown the cookies
   * stays in this process's memory and is served from there, which the event tells the operator.
   */
  function setCookies(entry: SessionEntry, header: string | undefined | typeof cookiesUnknown): string[] {
    const lines = writeSessionCookie(entry.sealed, remaining(entry.session), header, names);
    if (lines === undefined) {
      events.emit({ type: 'session.oversized', session: entry.label, bytes: entry.sealed.length });
    }
    return lines ?? [];
  }

  /** The `Set-Cookie` lines of a new session. @throws {BffError} when four cookies can't hold it */
  function loginCookies(entry: SessionEntry): string[] {
    const lines = setCookies(entry, cookiesUnknown);
    if (lines.length > 0) return lines;
    throw tooLarge(entry.sealed.length);
  }

  function remaining(session: Session): number {
    return Math.max(1, endsAt(session, limits) - nowSeconds());
  }

  /** Asks the store. @throws {BffError} `store_unavailable` */
  async function ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      const answer = await question();
      for (const [id, expiresAt] of pendingRevocations) detach(writeRevocation(id, expiresAt), onStoreError);
      return answer;
    } catch (cause) {
      events.emit({ type: 'store.failed', cause });
      throw new BffError('store_unavailable', 'The session store does not answer. Try again in a moment.', {
        cause,
        headers: { 'retry-after': '2' },
      });
    }
  }

  return {
    open,
    /** What calls of the session meet now: the cache may have dropped `live` and opened the session anew. */
    newest: (entry: SessionEntry) => entriesById.get(entry.session.id) ?? entry,
    begin,
    /** How many sessions have begun in this process. */
    begun: () => begun,
    commitRefresh,
    end,
    replace,
    isOver,
    hasNewerGeneration,
    reconcile,
    ask,
    touch,
    newCookies,
    loginCookies,
    /** The `Set-Cookie` lines that remove the session cookies that a request showed. */
    clearCookies: (header: string | undefined) => clearSessionCookie(header, names),
    /** When the session ends at the latest, in seconds since 1970. */
    endsAt: (entry: SessionEntry) => endsAt(entry.session, limits),
    /** When the session ends for want of calls; undefined where the idle timeout is off. */
    idleEndsAt: (entry: SessionEntry) =>
      limits.idleSeconds === 0 ? undefined : entry.lastActivityAt + limits.idleSeconds,
  };
}

function createEntry(session: Session, sealed: string): SessionEntry {
  return {
    session,
    sealed,
    label: label(session.id),
    ended: false,
    replaced: false,
    acknowledgedAt: undefined,
    lastActivityAt: session.sealedActivityAt,
    references: 0,
  };
}

/** @throws {BffError} when no cookies could hold the session */
function writeOrRefuse(session: Session): string {
  try {
    return writeSession(session);
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(sizeOf(session), cause);
    throw cause;
  }
}

function tooLarge(bytes: number, cause?: unknown): BffError {
  return new BffError(
    'internal_error',
    `The session takes ${bytes} bytes, more than four cookies can hold. ` +
      'The operator must shorten the tokens (fewer roles and groups): sessions without that limit, ' +
      'SALLYPORT_SESSION=store, are not available yet.',
    { cause },
  );
}

/** About what a session takes in memory, in bytes; tokens that compress well take far more than their cookie. */
function sizeOf({ tokens, userInfo }: Session): number {
  const { accessToken, idToken, refreshToken = '' } = tokens;
  const claims = userInfo === undefined ? 0 : JSON.stringify(userInfo).length;
  return accessToken.length + idToken.length + refreshToken.length + claims;
}

function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function label(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, 12);
}
