/** What this page knows of the session, and the one place where that changes. */
import type { SessionView, SignedOutReason } from '../session-view.ts';
import { now, secondsSince, type Moment } from './clock.ts';
import { callEndpoint, SallyportError } from './endpoint.ts';

export type Listener = (session: SessionView) => void;
export type KnownSession = ReturnType<typeof createKnownSession>;

/** How long an answer may be used that nothing keeps true. */
const unwatchedSeconds = 60;

/**
 * @param settled called after each answer, and each failure to get one
 * @param tell called with an answer that other tabs may not know
 */
export function createKnownSession(
  basePath: string,
  settled: (failed: boolean) => void,
  tell: (session: SessionView) => void,
) {
  const listeners = new Set<Listener>();
  let view: SessionView | undefined;
  let since = now();
  let left: number | undefined;
  /** Counts the sign-ins and ends that this page knows of: an answer asked for before one of them says nothing. */
  let changes = 0;
  let asking: Promise<SessionView> | undefined;

  /** @returns whether it is news */
  function learn(next: SessionView): boolean {
    const isNews = differs(view, next);
    if (sessionOf(view) !== sessionOf(next)) changes++;
    since = now();
    left = secondsIn(next);
    // What says the same stays the same object, for those who compare references.
    if (isNews) view = next;
    settled(false);
    if (isNews) for (const listener of listeners) inform(listener, next);
    return isNews;
  }

  async function ask(path: string, method?: string): Promise<SessionView> {
    const before = changes;
    const answer = await callEndpoint(basePath + path, method);
    if (!isView(answer)) throw new SallyportError('no_session_view');
    if (before !== changes) return ask('/session');
    if (learn(answer)) tell(answer);
    return view ?? answer;
  }

  /** One request for all who ask meanwhile. */
  function look(): Promise<SessionView> {
    asking ??= ask('/session')
      .catch((error: unknown) => {
        settled(true);
        throw error;
      })
      .finally(() => {
        asking = undefined;
      });
    return asking;
  }

  function secondsLeft(): number | undefined {
    return left === undefined ? undefined : Math.max(0, Math.ceil(left - secondsSince(since)));
  }

  /** Without a connection: what was known last. */
  function session(): Promise<SessionView> {
    const known = view;
    if (known === undefined) return look();
    const holds = listeners.size > 0 || (secondsSince(since) < unwatchedSeconds && secondsLeft() !== 0);
    return holds && asking === undefined ? Promise.resolve(known) : look().catch(() => view ?? known);
  }

  /** A look for nobody in particular. A failure is counted by `settled`, which looks again later. */
  function check(olderThanSeconds = 0): void {
    if (view === undefined || secondsSince(since) >= olderThanSeconds) look().catch(() => undefined);
  }

  /** What was learnt after this moment, or else a look. */
  function lookAfter(moment: Moment): Promise<SessionView> {
    return view !== undefined && secondsSince(since) < secondsSince(moment) ? Promise.resolve(view) : look();
  }

  /** What an event or another tab says. It may be late, so that it neither begins nor ends a session: a look does. */
  function hear(next: SessionView): void {
    if (sessionOf(view) !== sessionOf(next)) check();
    else if (next.authenticated) learn(next);
  }

  /** The session is over, as an answer of the server or another tab says. */
  function end(reason?: SignedOutReason, loginUrl = `${basePath}/login`): void {
    const ended = { authenticated: false, loginUrl, ...(reason && { reason }) } as const;
    // A reason came from elsewhere, where others have heard of it.
    if (learn(ended) && reason === undefined) tell(ended);
  }

  return {
    session,
    current: () => view,
    secondsLeft,
    refresh: () => ask('/refresh', 'POST'),
    look,
    lookAfter,
    check,
    hear,
    end,
    listeners,
    changes: () => changes,
    /** Another tab has signed in: answers under way say nothing of it. */
    outdate: () => {
      changes++;
    },
  };
}

export function isView(value: unknown): value is SessionView {
  const view = value as SessionView | null | undefined;
  return view?.authenticated
    ? view.session instanceof Object && view.logoutUrl !== undefined
    : view?.authenticated === false;
}

/** The address for signing out names the session. */
export function sessionOf(view: SessionView | undefined): string | undefined {
  return view && (view.authenticated ? view.logoutUrl : '');
}

function secondsIn(view: SessionView): number | undefined {
  if (!view.authenticated) return undefined;
  return Math.min(view.session.expiresInSeconds, view.session.idleExpiresInSeconds ?? Infinity);
}

/** The seconds that are left pass by themselves. A sign-out stays as it is known, unless a reason comes later. */
function differs(view: SessionView | undefined, next: SessionView): boolean {
  if (view?.authenticated === false && !next.authenticated)
    return view.reason === undefined && next.reason !== undefined;
  return lasting(view) !== lasting(next);
}

function lasting(view: SessionView | undefined): string | undefined {
  return JSON.stringify(view, (key, value: unknown) => (key.endsWith('InSeconds') ? undefined : value));
}

/** One listener that throws must not keep the news from the others: its error is reported as uncaught. */
function inform(listener: Listener, view: SessionView): void {
  try {
    listener(view);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
