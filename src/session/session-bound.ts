/**
 * Calls, WebSockets and streams of session events in progress, which end with their session: by sign-out, a new login, a
 * rejected refresh, the session's lifetime or its idle timeout. Those that would never end by themselves end with the
 * server, too. Hides how the members of a session are found.
 */
import { nowSeconds } from '../clock.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { sessionExpired } from './session.ts';
import type { SessionEntry, Sessions } from './sessions.ts';

/** How soon a new second is noticed. Sessions time out at whole seconds, so there is one search for them a second. */
const tickMs = 100;
/** At most so many sessions are asked about at a time: those of 5,000 streams, when the store was away. */
const lookedUpAtOnce = 100;

/**
 * A member of the list. The links are its own fields, because a `Set` of all calls keeps finished calls alive in its old
 * backing tables (13 % of the time in GC).
 */
export abstract class SessionBound {
  /** @internal */
  next: SessionBound | undefined;
  /** @internal */
  previous: SessionBound | undefined;
  /** Undefined for a member without a session. */
  session: SessionEntry | undefined;

  constructor(session: SessionEntry | undefined) {
    this.session = session;
  }

  /** Whether the idle timeout ends it too: a call that waits for its response keeps the session from being idle. */
  abstract readonly endsWhenIdle: boolean;
  abstract endWithSession(): void;

  /** The server stops. What ends by itself goes on until then. */
  endWithServer(): void {}
}

/** Work before a call is sent to its API, such as reading the rest of a small upload. */
class Preparation extends SessionBound {
  readonly endsWhenIdle = false;
  readonly endWithSession: () => void;

  constructor(session: SessionEntry, end: () => void) {
    super(session);
    this.endWithSession = end;
  }
}

export type SessionBoundList = ReturnType<typeof createSessionBoundList>;

export function createSessionBoundList({ sessions, events }: { readonly sessions: Sessions; readonly events: Events }) {
  let first: SessionBound | undefined;
  let ticker: NodeJS.Timeout | undefined;
  let sweptSecond = 0;
  let isLooking = false;
  let isDraining = false;

  events.subscribe((event) => {
    if (event.type === 'session.ended') endAll(({ session }) => session?.sessionHash === event.session);
  });

  function add(bound: SessionBound): void {
    bound.next = first;
    if (first !== undefined) first.previous = bound;
    first = bound;
    ticker ??= setInterval(tick, tickMs).unref();
    if (isDraining) bound.endWithServer();
  }

  function remove(bound: SessionBound): void {
    const { next, previous } = bound;
    if (next !== undefined) next.previous = previous;
    if (previous !== undefined) previous.next = next;
    else if (first === bound) first = next;
    bound.next = undefined;
    bound.previous = undefined;
  }

  /** One timer for all: a session's end can move, and can be later than the longest timeout of Node. */
  function tick(): void {
    const second = nowSeconds();
    if (second === sweptSecond) return;
    sweptSecond = second;
    if (first === undefined) {
      clearInterval(ticker);
      ticker = undefined;
      return;
    }
    endAll((bound) => isOver(bound) && !mayHaveChanged(bound.session));
    const unsure = [...new Set(members().flatMap(({ session }) => (mayHaveChanged(session) ? [session] : [])))];
    if (unsure.length === 0 || isLooking) return;
    isLooking = true;
    detach(
      endAfterLooking(unsure).finally(() => (isLooking = false)),
      () => undefined,
    );
  }

  /** Asks about sessions of which no call may come here, so that nobody else asks. */
  async function endAfterLooking(unsure: readonly SessionEntry[]): Promise<void> {
    for (let at = 0; at < unsure.length; at += lookedUpAtOnce) {
      const some = new Set(unsure.slice(at, at + lookedUpAtOnce));
      await Promise.all(Array.from(some, (session) => sessions.bringUpToDate(session)));
      endAll((bound) => bound.session !== undefined && some.has(bound.session) && isOver(bound));
    }
  }

  function isOver({ session, endsWhenIdle }: SessionBound): boolean {
    return session !== undefined && sessions.isOver(session, endsWhenIdle);
  }

  function mayHaveChanged(session: SessionEntry | undefined): session is SessionEntry {
    return session !== undefined && sessions.mayHaveChanged(session);
  }

  function endAll(matches: (bound: SessionBound) => boolean): void {
    for (const bound of members(matches)) bound.endWithSession();
  }

  /** Collected first, because the list changes while its members end. */
  function members(matches: (bound: SessionBound) => boolean = () => true): SessionBound[] {
    const found: SessionBound[] = [];
    for (let bound = first; bound !== undefined; bound = bound.next) if (matches(bound)) found.push(bound);
    return found;
  }

  /** Ends what would outlast the server, also what is added later. */
  function drain(): void {
    isDraining = true;
    for (const bound of members()) bound.endWithServer();
  }

  /**
   * Waits for `work`, but no longer than the session lives.
   * @throws {BffError} `session_expired`
   */
  async function whileItLives<T>(session: SessionEntry, work: Promise<T>): Promise<T> {
    const end = Promise.withResolvers<never>();
    const preparation = new Preparation(session, () => end.reject(sessionExpired()));
    add(preparation);
    try {
      return await Promise.race([work, end.promise]);
    } finally {
      remove(preparation);
    }
  }

  return { add, remove, whileItLives, drain, isDraining: () => isDraining };
}
