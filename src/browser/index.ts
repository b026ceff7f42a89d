/**
 * `sallyport/browser`: what a page of the app needs of Sallyport. It calls the documented endpoints and nothing else, so
 * that an app can do the same with plain `fetch`. Creating an instance does nothing: no request, no connection.
 */
import type { SessionView } from '../session-view.ts';
import { createApiFetch, type Hook } from './api-fetch.ts';
import { callEndpoint } from './endpoint.ts';
import { createLogin, type LoginOptions } from './login.ts';
import { createKnownSession } from './known-session.ts';
import { idOf } from './tabs.ts';

export type { SessionView, SignedOutReason } from '../session-view.ts';
export type { SallyportProblem } from './api-fetch.ts';
export type { LoginOptions } from './login.ts';
export type { SallyportError } from './endpoint.ts';

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
  /**
   * Who is signed in: one request for all who ask, and its answer as long as it holds, or no older than `maxAgeSeconds`;
   * 0 asks the server.
   */
  readonly session: (maxAgeSeconds?: number) => Promise<SessionView>;
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
}

/** An instance for one base path. */
export function createSallyport({
  basePath = '/bff',
  onLoginRequired,
  onStepUpRequired,
}: SallyportOptions = {}): Sallyport {
  const [known, end, look, leave, departure, lastPerson] = createKnownSession(basePath);

  async function logout({ returnTo }: { readonly returnTo?: string } = {}): Promise<void> {
    const query = returnTo ? `?returnTo=${encodeURIComponent(returnTo)}` : '';
    const logoutUrl = idOf(known.current());
    const { location: next } = await callEndpoint<{ location: string }>(`${basePath}/logout${query}`, 'POST');
    leave();
    // Before the page is left: the back-forward cache keeps it as it is then.
    end('logout', logoutUrl);
    location.assign(next);
  }

  return {
    ...known,
    login: createLogin(basePath, look, departure),
    logout,
    apiFetch: createApiFetch(lastPerson, look, onLoginRequired, onStepUpRequired),
  };
}

/** The functions of an instance with the base path `/bff`. */
export const { session, current, subscribe, secondsLeft, refresh, login, logout, apiFetch } =
  /* @__PURE__ */ createSallyport();
