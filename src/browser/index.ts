/**
 * `sallyport/browser`: what a page of the app needs of Sallyport. It calls the documented endpoints and nothing else, so
 * that an app can do the same with plain `fetch`. Creating an instance does nothing: no request, no connection.
 */
import type { SessionView } from '../session-view.ts';
import { createApiFetch, type Hook } from './api-fetch.ts';
import { callEndpoint } from './endpoint.ts';
import { createKnownSession, isView, type Listener } from './known-session.ts';
import { createLogin, type LoginOptions } from './login.ts';
import { createReconnecting } from './reconnecting.ts';
import { createTabs, type Message } from './tabs.ts';
import { createWatch } from './watch.ts';

export type { SessionView, SignedOutReason } from '../session-view.ts';
export type { SallyportProblem } from './api-fetch.ts';
export type { LoginOptions } from './login.ts';
export { SallyportError } from './endpoint.ts';

/** What an instance may be given. */
export interface SallyportOptions {
  /** Where Sallyport's endpoints are; default `/bff`. */
  readonly basePath?: string;
  /**
   * Called when a call of `apiFetch` meets a session that is over. Resolve true when the person has signed in again: the
   * call is repeated once.
   */
  readonly onLoginRequired?: Hook;
  /** The same where the API asks for a stronger or fresher sign-in; `problem.loginUrl` is ready. */
  readonly onStepUpRequired?: Hook;
}

/** What {@link createSallyport} returns. Every function may be taken out and called alone. */
export interface Sallyport {
  /** Who is signed in: one request for all who ask, and its answer as long as it holds. */
  readonly session: () => Promise<SessionView>;
  /** What is known now, without asking. The same object until something changes. */
  readonly current: () => SessionView | undefined;
  /** Calls the listener at each change, and keeps what is known true meanwhile. Returns what ends it. */
  readonly subscribe: (listener: (session: SessionView) => void) => () => void;
  /** Seconds to the session's nearest end, by lifetime or idleness; undefined if signed out or unknown. */
  readonly secondsLeft: () => number | undefined;
  /** 'Stay signed in': renews the token, and counts as use of the session. */
  readonly refresh: () => Promise<SessionView>;
  /** Navigates to the sign-in, or opens it in a popup: then it resolves when signed in, and rejects when refused. */
  readonly login: (options?: LoginOptions) => Promise<SessionView>;
  /** Ends the session, tells the other tabs, and navigates to where the provider signs out. */
  readonly logout: (options?: { readonly returnTo?: string }) => Promise<void>;
  /** `fetch` for the app's API, which deals with Sallyport's own answers. */
  readonly apiFetch: typeof fetch;
  /** Keeps a stream or socket of the app open: opens it again after its end, or after the next sign-in. */
  readonly reconnecting: (open: () => EventSource | WebSocket) => () => void;
}

/** An instance for one base path. */
export function createSallyport(options: SallyportOptions = {}): Sallyport {
  const { basePath = '/bff', onLoginRequired, onStepUpRequired } = options;
  const tabs = createTabs(basePath, receive);
  const known = createKnownSession(
    basePath,
    (failed) => watch.settled(failed),
    (session) => tabs.tell({ type: 'session', session }),
  );
  const watch = createWatch(basePath, known, tabs, (message) => {
    tabs.tell(message);
    receive(message);
  });

  /** From this browser's connection, or from another tab. */
  function receive(message: Message): void {
    if (message.type === 'session') {
      if (isView(message.session)) known.hear(message.session);
    } else if (message.type === 'signed-in') {
      known.outdate();
      known.check();
    } else if (message.type === 'signed-out') {
      // Another session has taken this one's place, or it is over as well.
      if (message.reason === 'replaced') known.check();
      else known.end(message.reason);
    }
  }

  function subscribe(listener: Listener): () => void {
    const own: Listener = (session) => listener(session);
    known.listeners.add(own);
    if (known.listeners.size === 1) watch.start();
    return () => {
      if (known.listeners.delete(own) && known.listeners.size === 0) watch.stop();
    };
  }

  async function logout({ returnTo }: { readonly returnTo?: string } = {}): Promise<void> {
    const query = returnTo === undefined ? '' : `?${new URLSearchParams({ returnTo })}`;
    const { location: next } = (await callEndpoint(`${basePath}/logout${query}`, 'POST')) as { location: string };
    // Before the page is left: the back-forward cache keeps it as it is then.
    known.end('logout');
    tabs.tell({ type: 'signed-out', reason: 'logout' });
    location.assign(next);
  }

  return {
    session: known.session,
    current: known.current,
    subscribe,
    secondsLeft: known.secondsLeft,
    refresh: known.refresh,
    login: createLogin(basePath, tabs, known.look),
    logout,
    apiFetch: createApiFetch(known, onLoginRequired, onStepUpRequired),
    reconnecting: createReconnecting(known, subscribe),
  };
}

/** The functions of an instance with the base path `/bff`. */
export const { session, current, subscribe, secondsLeft, refresh, login, logout, apiFetch, reconnecting } =
  /* @__PURE__ */ createSallyport();
