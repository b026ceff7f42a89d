/**
 * What is under way for a session and lives no longer than it does: calls and WebSockets. When the session ends, by
 * sign-out, a new login, a refused refresh, its lifetime or its idle timeout, they end as well.
 */
import { BffError } from '../http/errors.ts';
import type { Events } from '../events.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import { nowSeconds } from '../clock.ts';

/** How soon the end of a session's time reaches what is under way. */
const sweepMs = 1000;

/**
 * A member of the list. The links are its own fields: a `Set` of all calls would keep those of the last seconds alive in
 * its outgrown tables (13 % of the time in GC).
 */
export abstract class SessionBound {
  /** @internal */
  next: SessionBound | undefined;
  /** @internal */
  previous: SessionBound | undefined;
  /** Undefined for what asks for no session. */
  session: SessionEntry | undefined;

  constructor(session: SessionEntry | undefined) {
    this.session = session;
  }

  /** Whether it ends with the idle timeout, too: a call that waits for its answer is what keeps a session from idling. */
  abstract readonly endsWhenIdle: boolean;
  abstract endWithSession(): void;
}

export function sessionExpired(): BffError {
  return new BffError('session_expired', 'The session has ended. Sign in again.');
}

/** Something that is waited for before a call goes to its API, such as the rest of a small upload. */
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
  let sweeper: NodeJS.Timeout | undefined;

  events.subscribe((event) => {
    if (event.type === 'session.ended') endAll(({ session }) => session?.label === event.session);
  });

  function add(bound: SessionBound): void {
    bound.next = first;
    if (first !== undefined) first.previous = bound;
    first = bound;
    sweeper ??= setInterval(sweep, sweepMs).unref();
  }

  function remove(bound: SessionBound): void {
    const { next, previous } = bound;
    if (next !== undefined) next.previous = previous;
    if (previous !== undefined) previous.next = next;
    else if (first === bound) first = next;
    bound.next = undefined;
    bound.previous = undefined;
  }

  /** One timer for all; a session's end may be further away than a timer can be set, and may move. */
  function sweep(): void {
    if (first === undefined) {
      clearInterval(sweeper);
      sweeper = undefined;
      return;
    }
    const now = nowSeconds();
    endAll((bound) => {
      if (bound.session === undefined) return false;
      // The cache may have dropped the session and opened it anew for a later call.
      bound.session = sessions.newest(bound.session);
      return isOver(bound.session, now, bound.endsWhenIdle);
    });
  }

  function isOver(session: SessionEntry, now: number, whenIdle: boolean): boolean {
    const end = sessions.endsAt(session);
    return session.ended || now >= (whenIdle ? Math.min(end, sessions.idleEndsAt(session) ?? Infinity) : end);
  }

  /** The list changes while its members end. */
  function endAll(isMeant: (bound: SessionBound) => boolean): void {
    const ending: SessionBound[] = [];
    for (let bound = first; bound !== undefined; bound = bound.next) if (isMeant(bound)) ending.push(bound);
    for (const bound of ending) bound.endWithSession();
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

  return { add, remove, whileItLives };
}
