/** Who is signed in, for components: `useSession()`, and two components that show their children or don't. */
import { useEffect, useMemo, useState, useSyncExternalStore, type ReactElement, type ReactNode } from 'react';
import type { SessionView, SignedOutReason } from '../index.ts';
import { ClientContext, useClient, type SessionClient } from './client.ts';

export type { SessionClient };

/**
 * The claims about the person (OpenID Connect Core 5.1). Declare those of your provider once, and every hook knows them.
 *
 * @example
 * ```tsx
 * declare module 'sallyport/react' {
 *   interface User {
 *     readonly roles: readonly string[];
 *   }
 * }
 * ```
 */
export interface User {
  readonly sub: string;
  readonly name?: string;
  readonly given_name?: string;
  readonly family_name?: string;
  readonly preferred_username?: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly picture?: string;
  readonly locale?: string;
  readonly [claim: string]: unknown;
}

type KnownSession = Extract<SessionView, { readonly authenticated: true }>;

/** What a component can do about the session. The functions are the same ones at every render. */
export type SessionActions = Pick<SessionClient, 'login' | 'logout' | 'refresh'>;

/** Nothing is known yet: while the first answer is awaited, on a server, and while a page of it is hydrated. */
export interface LoadingSession extends SessionActions {
  readonly status: 'loading';
  /** Why the first look at the session failed: the network or Sallyport is away. The browser module looks again. */
  readonly error: unknown;
  readonly user: undefined;
  readonly session: undefined;
  readonly accessToken: undefined;
  readonly reason: undefined;
}

/** Somebody is signed in. */
export interface SignedInSession extends SessionActions {
  readonly status: 'signed-in';
  readonly user: User;
  /** When the session ends; ISO 8601 and relative seconds. */
  readonly session: KnownSession['session'];
  /** When the access token ends, and whether it is renewed. The token itself never comes to the browser. */
  readonly accessToken: KnownSession['accessToken'];
  readonly error: undefined;
  readonly reason: undefined;
}

/** Nobody is signed in. */
export interface SignedOutSession extends SessionActions {
  readonly status: 'signed-out';
  /** Why the session ended, where that is known. */
  readonly reason: SignedOutReason | undefined;
  readonly error: undefined;
  readonly user: undefined;
  readonly session: undefined;
  readonly accessToken: undefined;
}

/** The result of {@link useSession}: `status` says which one it is. */
export type SessionState = LoadingSession | SignedInSession | SignedOutSession;

export interface SessionProviderProps {
  /** The instance to use, made by `createSallyport()` outside of components. Default: the one of `sallyport/browser`. */
  readonly client?: SessionClient;
  readonly children?: ReactNode;
}

/**
 * Gives the hooks below it an instance of the browser module, and keeps its connection for events while components come and
 * go. Without a provider they use the instance of `sallyport/browser`, so an app whose base path is `/bff` needs none.
 *
 * @example
 * ```tsx
 * import { createSallyport } from 'sallyport/browser';
 * import { SessionProvider, useSession } from 'sallyport/react';
 *
 * const client = createSallyport({ basePath: '/shop/bff' });
 *
 * export function Root() {
 *   return (
 *     <SessionProvider client={client}>
 *       <Greeting />
 *     </SessionProvider>
 *   );
 * }
 *
 * function Greeting() {
 *   const { user } = useSession();
 *   return <p>Hello {user?.name}</p>;
 * }
 * ```
 */
export function SessionProvider({ client, children }: SessionProviderProps): ReactElement {
  const outer = useClient();
  const given = client ?? outer;
  useEffect(() => given.subscribe(() => undefined), [given]);
  return <ClientContext.Provider value={given}>{children}</ClientContext.Provider>;
}

/**
 * The session, kept true while the component is mounted. All components share one request and one connection.
 *
 * @example
 * ```tsx
 * import { useSession } from 'sallyport/react';
 *
 * export function Account() {
 *   const session = useSession();
 *   if (session.status === 'loading') return <p>…</p>;
 *   if (session.status === 'signed-out') return <button onClick={() => session.login()}>Sign in</button>;
 *   return <button onClick={() => session.logout()}>Sign out {session.user.name}</button>;
 * }
 * ```
 */
export function useSession(): SessionState {
  const client = useClient();
  const view = useSyncExternalStore(client.subscribe, client.current, unknownOnServers);
  const error = useLoadError(client);
  return useMemo(() => stateOf(client, view, error), [client, view, error]);
}

/** A server knows no session, and the first render in the browser must be the same as the server's. */
function unknownOnServers(): undefined {
  return undefined;
}

/** Why the first look at the session failed. A subscription says nothing of failures, so this asks, and shares the request. */
function useLoadError(client: SessionClient): unknown {
  const [failure, setFailure] = useState<{ readonly client: SessionClient; readonly error: unknown }>();
  useEffect(() => {
    let isMounted = true;
    client.session().catch((error: unknown) => {
      if (isMounted) setFailure({ client, error });
    });
    return () => {
      isMounted = false;
    };
  }, [client]);
  return failure?.client === client ? failure.error : undefined;
}

function stateOf(
  { login, logout, refresh }: SessionClient,
  view: SessionView | undefined,
  error: unknown,
): SessionState {
  const nobody = { login, logout, refresh, user: undefined, session: undefined, accessToken: undefined };
  if (view === undefined) return { ...nobody, status: 'loading', error, reason: undefined };
  if (!view.authenticated) return { ...nobody, status: 'signed-out', error: undefined, reason: view.reason };
  const { session, accessToken } = view;
  // The claims are the operator's choice, and their type is what the app declares.
  const user = view.user as User;
  return { ...nobody, status: 'signed-in', user, session, accessToken, error: undefined, reason: undefined };
}

/** Shows its children while somebody is signed in; a function as child gets the session. */
export function SignedIn({ children }: ChildrenOf<SignedInSession>): ReactElement | null {
  const session = useSession();
  return session.status === 'signed-in' ? <>{rendered(children, session)}</> : null;
}

/** Shows its children while nobody is signed in, and nothing before that is known; a function as child gets the session. */
export function SignedOut({ children }: ChildrenOf<SignedOutSession>): ReactElement | null {
  const session = useSession();
  return session.status === 'signed-out' ? <>{rendered(children, session)}</> : null;
}

/** The children of {@link SignedIn} and {@link SignedOut}. */
export interface ChildrenOf<State extends SessionState> {
  readonly children?: ReactNode | ((session: State) => ReactNode);
}

function rendered<State extends SessionState>(children: ChildrenOf<State>['children'], session: State): ReactNode {
  return typeof children === 'function' ? children(session) : children;
}
