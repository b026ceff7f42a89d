/**
 * The life of sessions: begin, open, count calls against the idle timeout, end. The table in `session.ts` lists all the
 * ways in which one ends.
 *
 * This is what other folders see of sessions. It puts together what has its own file: opening a cookie, the cache of
 * opened cookies, the sessions in memory, their generations, what the processes share, and the cookies of a response.
 */
import { randomBytes } from 'node:crypto';
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Events, SessionEnd } from '../events.ts';
import type { Store } from '../store/store.ts';
import type { Claims, TokenSet } from '../token-set.ts';
import { createCookieCache } from './cookie-cache.ts';
import { createEndings } from './endings.ts';
import { createEnvelopes } from './envelope.ts';
import { createGenerations } from './generations.ts';
import { createLiveSessions } from './live-sessions.ts';
import { restoreLostEnds } from './lost-ends.ts';
import { createResponseCookies, sessionTooLarge } from './response-cookies.ts';
import { createSessionRegistry, registryStepSeconds } from './registry.ts';
import { endsAt, endsAtLatest, loginIssuedAt, loginClaims, memoryBytes, type Session } from './session.ts';
import {
  createEntry,
  hasEnded,
  hashOfKey,
  idleEndsAt,
  sessionHash,
  sessionKey,
  type EntryStart,
  type SessionEntry,
} from './session-entry.ts';
import { namesOf, personName, providerSessionName } from './session-names.ts';
import { createSessionOpener } from './session-opener.ts';
import { createSessionSealer, type SessionSealer } from './session-sealer.ts';
import { createSharedSessions, storeUnavailable } from './shared-sessions.ts';
import { createTickets, formOfTickets } from './tickets.ts';

export type { ClientConnection } from './cookie-cache.ts';
export type { SessionEntry } from './session-entry.ts';
export { isReplaced, type OpenedSession, type OpenSession } from './session-opener.ts';

/** A cookie is sealed anew for the idle timeout at most this often. */
const maximumTouchIntervalSeconds = 60;

/** A session that a login replaces: its cookie may not be at hand any more. */
export interface ReplacedSession {
  readonly id: string;
  readonly expiresAt: number;
}

export type Sessions = ReturnType<typeof createSessions>;

/** Which sessions a provider's sign-out ends, or an operator. */
export interface ProviderSignOut {
  /** The provider's session; with it, `sub` only says whose it is. */
  readonly sid?: string | undefined;
  readonly sub?: string | undefined;
  /** Sessions whose login's ID token was issued later go on. Seconds since 1970, by the provider's clock. */
  readonly issuedBefore: number;
  readonly reason: 'backchannel' | 'operator';
}

export function createSessions(config: Config, { store, events }: { readonly store: Store; readonly events: Events }) {
  const limits = config.session;
  const touchIntervalSeconds = Math.min(maximumTouchIntervalSeconds, limits.idleSeconds / 20);
  const countIntervalSeconds = Math.min(
    limits.idleSeconds === 0 ? Infinity : touchIntervalSeconds,
    limits.registry ? registryStepSeconds : Infinity,
  );
  const sealer = createSessionSealer(config.secrets);
  const tickets = createTickets(config.secrets);
  const cache = createCookieCache(config.session.cacheMegabytes);
  const endings = createEndings(limits.lifetimeSeconds);
  const live = createLiveSessions({ store, events, endings });
  const shared = createSharedSessions(config, { store, events });
  const stopRestoring = restoreLostEnds({ store, events, endings, shared });
  const generations = createGenerations(config, { shared, live, cache, envelopes: createEnvelopes(config.secrets) });
  let begun = 0;

  /** A new session after a login: new id, generation 0. @throws {BffError} when it is too large for any cookie */
  async function begin(tokens: TokenSet, userInfo: Claims | undefined): Promise<SessionEntry> {
    const now = nowSeconds();
    const id = randomBytes(16).toString('base64url');
    const times = { createdAt: now, sealedActivityAt: now, tokensIssuedAt: now };
    const session = afterSignOuts({ id, generation: 0, ...times, tokens, userInfo, ...loginClaims(tokens.idToken) });
    const start = config.session.mode === 'store' ? await beginInStore(session) : await beginInCookie(session);
    const entry = live.add(createEntry(session, { ...start, ordinal: ++begun, knownAsOf: monotonicMs() }));
    cache.add(start.cookieText, entry, entry.isStored ? formOfTickets : session);
    // For instances whose clocks differ from this one's: to them, the time in the cookie may be long ago.
    if (limits.idleSeconds !== 0) shared.touch(entry);
    return entry;
  }

  /**
   * A sign-out that was heard of before the login came before it, also where the provider's clock, which counts seconds,
   * says the same of both: such a login counts as one of the next second.
   */
  function afterSignOuts(session: Session): Session {
    const second = loginIssuedAt(session);
    const isTold = endings.isRevokedAt(namesOf(session, config.issuer), second);
    return isTold ? { ...session, loginIssuedAt: second + 1 } : session;
  }

  async function beginInCookie(session: Session): Promise<EntryStart & { readonly cookieText: string }> {
    const cookieText = await sealNew(session, sealer);
    return { cookieText, isStored: false, sealer, names: namesOf(session, config.issuer) };
  }

  /** @throws {BffError} `store_unavailable` */
  async function beginInStore(session: Session): Promise<EntryStart & { readonly cookieText: string }> {
    const ticket = { id: session.id, key: tickets.createKey(), names: namesOf(session, config.issuer) };
    const ticketSealer = tickets.sealerOf(ticket);
    await shared.begin(sessionKey(session.id), await sealNew(session, ticketSealer), endsAtLatest(session, limits));
    return { cookieText: tickets.write(ticket), isStored: true, sealer: ticketSealer, names: ticket.names };
  }

  /**
   * Ends the session for good, in all processes. It takes effect here before the store has answered, and no sign-out
   * waits for a store that is down.
   */
  async function end(entry: SessionEntry, reason: SessionEnd): Promise<void> {
    if (entry.ended !== undefined) return;
    entry.ended = reason;
    endings.addSession(entry.key, reason);
    const written = shared.end(entry.key, reason, endsAtLatest(entry.session, limits));
    events.emit({ type: 'session.ended', session: entry.sessionHash, reason, remote: false });
    await written;
  }

  /** Ends the session that a login puts another one in place of. */
  async function replace({ id, expiresAt }: ReplacedSession): Promise<void> {
    const entry = live.find(sessionKey(id));
    if (entry?.ended === undefined && entry !== undefined) return end(entry, 'new_login');
    if (entry !== undefined) return void (entry.ended = 'new_login');
    endings.addSession(sessionKey(id), 'new_login');
    const written = shared.end(sessionKey(id), 'new_login', expiresAt);
    events.emit({ type: 'session.ended', session: sessionHash(id), reason: 'new_login', remote: false });
    await written;
  }

  /**
   * Ends a session that this process may never have seen.
   * @throws {BffError} `store_unavailable`: then it has ended here, and the others are told later
   */
  async function endByKey(key: string, reason: SessionEnd): Promise<void> {
    const entry = live.find(key);
    const isActiveHere = entry !== undefined && entry.ended === undefined;
    const event = { type: 'session.ended', session: hashOfKey(key), reason, remote: false } as const;
    if (isActiveHere) entry.ended = reason;
    endings.addSession(key, reason);
    // When it ends by itself is not known here, but not after this.
    const written = shared.end(key, reason, nowSeconds() + limits.lifetimeSeconds);
    if (isActiveHere) events.emit(event);
    const isNew = await written;
    if (!isActiveHere && isNew !== false) events.emit(event);
    if (isNew === undefined) throw storeUnavailable();
  }

  /**
   * Ends the sessions that a sign-out at the provider is about, in all processes.
   * @throws {BffError} `store_unavailable`: then nothing is sure to have ended
   */
  async function revoke({ sid, sub, issuedBefore, reason }: ProviderSignOut): Promise<void> {
    const name = sid === undefined ? personName(config.issuer, sub ?? '') : providerSessionName(config.issuer, sid);
    await live.revokeHere(name, async () => {
      await shared.revoke(name, { before: issuedBefore, reason });
      // The store's message may come later, or not at all.
      live.endRevoked(name, { before: issuedBefore, reason });
    });
  }

  /**
   * Counts a call, against the idle timeout and for the registry. Now and then the store is told, and a new cookie takes
   * the time along, which outlives this process.
   */
  function touch(entry: SessionEntry): undefined | Promise<void> {
    const now = nowSeconds();
    // A time in the future is by another instance's clock.
    if (Math.abs(now - entry.countedAt) >= countIntervalSeconds) {
      entry.countedAt = now;
      shared.touch(entry);
    }
    if (limits.idleSeconds === 0) return undefined;
    entry.lastActivityAt = now;
    if (now - entry.session.sealedActivityAt < touchIntervalSeconds) return undefined;
    entry.session = { ...entry.session, sealedActivityAt: now };
    return entry.isStored ? undefined : generations.sealForm(entry);
  }

  /** Puts a refresh's result in place. @returns false if it must be thrown away */
  async function commitRefresh(entry: SessionEntry, next: Session): Promise<boolean> {
    const { names } = entry;
    const isCommitted = await generations.commitRefresh(entry, next);
    if (isCommitted && entry.names.join() !== names.join()) registry.rename(entry, names);
    return isCommitted;
  }

  /** Whether the session is over, by its end or, if asked, its idle time, as far as this process knows. */
  function isOver(entry: SessionEntry, whenIdle: boolean): boolean {
    return whenIdle
      ? hasEnded(entry, limits)
      : entry.ended !== undefined || nowSeconds() >= endsAt(entry.session, limits);
  }

  /** Whether other processes may have ended the session, or counted calls of it, unheard. */
  function mayHaveChanged(entry: SessionEntry): boolean {
    return !generations.knowsEnough(entry, entry.session);
  }

  const registry = createSessionRegistry(config, { shared, live, endByKey });
  return {
    open: createSessionOpener(config, { live, cache, generations, shared, sealer, tickets }),
    begin,
    /** How many sessions have begun in this process. */
    begun: () => begun,
    touch,
    end,
    replace,
    revoke,
    endByKey,
    registry,
    ...createResponseCookies(config, { shared, events }),
    hasNewerGeneration: generations.hasNewerGeneration,
    commitRefresh,
    applyRecord: generations.applyRecord,
    claimRefresh: shared.claim,
    releaseRefresh: shared.release,
    expectMessage: live.expectMessage,
    /** Calls a listener for each session of this process that another process may have refreshed. */
    onAdvance: live.onAdvance,
    /** Whether messages of other processes can come. */
    hears: shared.hears,
    storeWasAway: shared.wasAway,
    storeMayHaveLostClaims: shared.mayHaveLostClaims,
    isOver,
    mayHaveChanged,
    /** Learns what other processes have done to the session. */
    bringUpToDate: generations.bringUpToDate,
    hasEnded: (entry: SessionEntry) => hasEnded(entry, limits),
    /** When the session ends whatever is refreshed, in seconds since 1970. */
    endsAtLatest: (entry: SessionEntry) => endsAtLatest(entry.session, limits),
    /** When the session ends if its tokens are not refreshed any more, in seconds since 1970. */
    endsAt: (entry: SessionEntry) => endsAt(entry.session, limits),
    /** When the session ends for lack of calls; undefined where the idle timeout is off. */
    idleEndsAt: (entry: SessionEntry) => idleEndsAt(entry, limits),
    /** Tells the store what it has not been told yet. */
    async close() {
      stopRestoring();
      await shared.close();
      live.close();
    },
  };
}

async function sealNew(session: Session, sealer: SessionSealer): Promise<string> {
  try {
    return await sealer.seal(session);
  } catch (cause) {
    if (cause instanceof RangeError) throw sessionTooLarge(memoryBytes(session), cause);
    throw cause;
  }
}
