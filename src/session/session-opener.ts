/**
 * From a request's Cookie header to its session. A cookie that this process has opened before costs neither a promise
 * nor the store, as with nearly every call.
 */
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { SessionEnd } from '../events.ts';
import { ownCopy, type CachedCookie, type ClientConnection, type CookieCache } from './cookie-cache.ts';
import { cookieNames, readSessionCookie, sessionCandidates } from './cookies.ts';
import type { Generations } from './generations.ts';
import type { LiveSessions } from './live-sessions.ts';
import { isNewer, type SessionForm } from './session.ts';
import { createEntry, hasEnded, sessionKey, type SessionEntry } from './session-entry.ts';
import { namesOf } from './session-names.ts';
import type { SessionSealer } from './session-sealer.ts';
import type { SharedSessions } from './shared-sessions.ts';
import { formOfTickets, looksLikeTicket, type Ticket, type Tickets } from './tickets.ts';

/** What a request's cookies turned out to be. */
export type OpenedSession =
  | OpenSession
  | EndedSession
  /** No cookie, or none that opens. */
  | { readonly state: 'absent' };

/** A session that goes on, and the form of it that the request showed. */
export interface OpenSession {
  readonly state: 'active';
  readonly entry: SessionEntry;
  readonly shown: SessionForm;
}

/** A session that has ended, or a cookie that is too old for it. */
export interface EndedSession {
  readonly state: 'ended';
  /** Undefined where it ended by its time, and where only the cookie is too old. */
  readonly reason: SessionEnd | undefined;
  /** Undefined if nothing but its end is known any more. */
  readonly entry: SessionEntry | undefined;
}

/** How many of a request's cookies are opened at most, at 0.05 ms each. */
const maximumCandidates = 8;

interface OpenerDeps {
  readonly live: LiveSessions;
  readonly cache: CookieCache;
  readonly generations: Generations;
  readonly shared: SharedSessions;
  readonly sealer: SessionSealer;
  readonly tickets: Tickets;
}

export function createSessionOpener(config: Config, deps: OpenerDeps) {
  const { live, cache, generations, shared, sealer, tickets } = deps;
  const names = cookieNames(config);
  const lookups = new Map<string, Promise<OpenedSession>>();

  /**
   * Opens the session that the request carries. A store that is down holds no call up: what this process knows decides,
   * until the access token is due for a refresh.
   * @param connection the client's, which remembers its last cookie
   */
  function open(header: string | undefined, connection?: ClientConnection): OpenedSession | Promise<OpenedSession> {
    const only = readSessionCookie(header, names);
    if (only !== undefined) return openText(only, connection);
    const [first, ...others] = sessionCandidates(header, names);
    if (first === undefined) return { state: 'absent' };
    return others.length === 0 ? openText(first, connection) : openBest([first, ...others]);
  }

  /**
   * A cookie that an earlier session left behind, whole or in chunks, or that somebody planted, must not hide the session
   * that goes on, also while the store does not say what it is. What has not the form of a seal under one of our keys, or
   * of a ticket, doesn't count.
   */
  async function openBest(texts: readonly string[]): Promise<OpenedSession> {
    const sealed = new Set(texts.filter((text) => sealer.mayOpen(text) || looksLikeTicket(text)));
    const results = await Promise.allSettled(
      [...sealed].slice(0, maximumCandidates).map(async (text) => openText(text)),
    );
    const absent: OpenedSession = { state: 'absent' };
    const opened = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const best = opened.reduce((one, other) => (isBetter(other, one) ? other : one), absent);
    const failed = results.find((result) => result.status === 'rejected');
    // What the store does not tell now may be the session that goes on.
    if (best.state !== 'active' && failed !== undefined) throw failed.reason;
    return best;
  }

  function openText(text: string, connection?: ClientConnection): OpenedSession | Promise<OpenedSession> {
    const cookie = cache.find(text, connection) ?? openNew(text);
    if (cookie === undefined) return { state: 'absent' };
    if (cookie instanceof Promise) return cookie;
    return generations.knowsEnough(cookie.entry, cookie.shown) ? stateOf(cookie) : bringUpToDate(cookie);
  }

  async function bringUpToDate(cookie: CachedCookie): Promise<OpenedSession> {
    await generations.bringUpToDate(cookie.entry);
    return stateOf(cookie);
  }

  function openNew(text: string): CachedCookie | Promise<OpenedSession> | undefined {
    return unseal(text) ?? recognise(text);
  }

  function unseal(text: string): CachedCookie | undefined {
    const session = sealer.unseal(text);
    if (session === undefined) return undefined;
    const start = { cookieText: undefined, isStored: false, sealer, names: namesOf(session, config.issuer) };
    const entry = live.find(sessionKey(session.id)) ?? live.add(createEntry(session, start));
    // Another process may have refreshed, or counted calls, and written that into this cookie.
    if (isNewer(session, entry.session)) generations.takeForm(entry, session, undefined);
    return cache.add(text, entry, session);
  }

  /** Opens a ticket: with the session that this process has, or else with the store's. */
  function recognise(text: string): CachedCookie | Promise<OpenedSession> | undefined {
    const ticket = tickets.read(text);
    if (ticket === undefined) return undefined;
    const entry = live.find(sessionKey(ticket.id));
    // Whoever has a secret can sign a ticket for an id, but doesn't have the session's key.
    if (entry !== undefined) return entry.cookieText === text ? cache.add(text, entry, formOfTickets) : undefined;
    const running = lookups.get(text);
    if (running !== undefined) return running;
    const started = fetchSession(ownCopy(text), ticket).finally(() => lookups.delete(text));
    lookups.set(text, started);
    return started;
  }

  /** @throws {BffError} `store_unavailable` */
  async function fetchSession(text: string, ticket: Ticket): Promise<OpenedSession> {
    const { names: ticketNames, id } = ticket;
    const startedAt = monotonicMs();
    const found = await shared.look({ key: sessionKey(id), names: ticketNames });
    const { ended, content } = found.record;
    if (ended !== undefined) return { state: 'ended', reason: ended, entry: undefined };
    const ticketSealer = tickets.sealerOf(ticket);
    const session = content === undefined ? undefined : ticketSealer.unseal(content);
    if (session?.id !== id) return { state: 'absent' };
    const names = namesOf(session, config.issuer);
    const entry = live.add(createEntry(session, { cookieText: text, isStored: true, sealer: ticketSealer, names }));
    // A refreshed ID token may have another `sid` than the login's, which the ticket has.
    const isAsked = names.every((name) => ticketNames.includes(name));
    await generations.applyLook(entry, isAsked ? found : await shared.look(entry), startedAt);
    return stateOf(cache.add(text, entry, formOfTickets));
  }

  function stateOf({ entry, shown }: CachedCookie): OpenedSession | Promise<OpenedSession> {
    if (hasEnded(entry, config.session)) return { state: 'ended', reason: entry.ended, entry };
    if (shown.generation < entry.newestGeneration) return stateOfOlder(entry, shown);
    if (entry.confirmedAt === undefined) generations.confirm(entry);
    if (!entry.isStored && !isNewer(entry.session, shown)) entry.cookieText = undefined;
    return { state: 'active', entry, shown };
  }

  function stateOfOlder(entry: SessionEntry, shown: SessionForm): OpenedSession | Promise<OpenedSession> {
    if (generations.servesOlder(entry, shown)) return renew(entry, shown);
    return generations.servesKnown(entry, shown)
      ? { state: 'active', entry, shown }
      : { state: 'ended', reason: undefined, entry };
  }

  /** Also a browser that has shown the newest cookie may have lost it, with what it had not written to its disk. */
  async function renew(entry: SessionEntry, shown: SessionForm): Promise<OpenedSession> {
    if (entry.cookieText === undefined) await generations.sealForm(entry);
    return { state: 'active', entry, shown };
  }

  return open;
}

/** Whether another login has put a session in the place of this one: the browser has that one's cookie. */
export function isReplaced(opened: OpenedSession): boolean {
  if (opened.state === 'absent') return false;
  return (opened.entry?.ended ?? (opened.state === 'ended' ? opened.reason : undefined)) === 'new_login';
}

/**
 * Whether one of two sessions that a request shows comes before the other: the one that goes on, and of two that do, the
 * one that began last. So a new sign-in wins over whatever was planted.
 */
function isBetter(one: OpenedSession, other: OpenedSession): boolean {
  if (one.state !== 'active' || other.state !== 'active') return rank[one.state] > rank[other.state];
  if (one.entry.session.id === other.entry.session.id) return isNewer(one.shown, other.shown);
  const seconds = one.entry.session.createdAt - other.entry.session.createdAt;
  return seconds > 0 || (seconds === 0 && one.entry.ordinal > other.entry.ordinal);
}

const rank = { active: 2, ended: 1, absent: 0 } as const;
