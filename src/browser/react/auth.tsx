/**
 * `useAuth()` in the shape of `react-oidc-context`, so that an app which had its tokens in the browser changes an import
 * instead of its components. What makes sense only with tokens in the browser is missing from the types on purpose.
 */
import {
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
  type ComponentType,
  type ReactElement,
  type ReactNode,
} from 'react';
import type { LoginOptions, SessionView } from '../index.ts';
import { useClient, type SessionClient } from './client.ts';
import { useSession, type User } from './session.tsx';

/** The function of {@link Auth} that is under way. */
export type AuthNavigator = 'signinRedirect' | 'signinPopup' | 'signinSilent' | 'signoutRedirect';

/** Why signing in or out failed, and in which function; `unknown` where the session could not be read. */
export type AuthError = Error & { readonly source: AuthNavigator | 'unknown'; readonly innerError: unknown };

/**
 * The person. There is no `access_token`, `id_token` or `refresh_token`: the browser has none, Sallyport adds the access
 * token to the calls that pass through it. To read one is a type error, and throws an error that says the same.
 */
export interface UserWithoutTokens {
  readonly profile: User;
}

/** What may be asked of the provider at a sign-in. Addresses, scopes and secrets are the server's. */
export interface SigninArgs {
  /** The path to come back to. Default: the page that the person is on. */
  readonly returnTo?: string;
  readonly prompt?: string;
  readonly login_hint?: string;
  readonly max_age?: number;
  readonly acr_values?: string;
}

/** The result of {@link useAuth}. */
export interface Auth {
  readonly user: UserWithoutTokens | null | undefined;
  /** Somebody is signed in. It stays true while the server renews the tokens. */
  readonly isAuthenticated: boolean;
  /** The session isn't known yet, or a function below is under way. */
  readonly isLoading: boolean;
  readonly activeNavigator: AuthNavigator | undefined;
  readonly error: AuthError | undefined;
  readonly signinRedirect: (args?: SigninArgs) => Promise<void>;
  /** Resolves to null when it failed; `error` then says why. */
  readonly signinPopup: (args?: SigninArgs) => Promise<UserWithoutTokens | null>;
  /** Renews the session on the server; resolves to null when nobody is signed in. */
  readonly signinSilent: () => Promise<UserWithoutTokens | null>;
  /** Ends the session here and at the provider. */
  readonly signoutRedirect: (args?: { readonly returnTo?: string }) => Promise<void>;
  /** The same as `signoutRedirect`: there is nothing to remove in the browser alone. */
  readonly removeUser: () => Promise<void>;
}

/**
 * The session in the shape of `react-oidc-context`. New code is better off with {@link useSession}.
 *
 * @example
 * ```tsx
 * import { useAuth } from 'sallyport/react';
 *
 * export function App() {
 *   const auth = useAuth();
 *   if (auth.isLoading) return <p>Loading…</p>;
 *   if (auth.error) return <p>Oops… {auth.error.source} caused {auth.error.message}</p>;
 *   if (!auth.isAuthenticated) return <button onClick={() => void auth.signinRedirect()}>Sign in</button>;
 *   return <button onClick={() => void auth.signoutRedirect()}>Sign out {auth.user?.profile.name}</button>;
 * }
 * ```
 */
export function useAuth(): Auth {
  const client = useClient();
  const session = useSession();
  const activities = activitiesOf(client);
  const activity = useSyncExternalStore(activities.subscribe, activities.current, () => idle);
  const functions = useMemo(() => createFunctions(client, activities), [client, activities]);
  const { status, user, error: loadError } = session;
  return useMemo(() => {
    const error = activity.error ?? (loadError === undefined ? undefined : describe(loadError, 'unknown'));
    return {
      ...functions,
      user: status === 'signed-in' ? withoutTokens(user) : status === 'signed-out' ? null : undefined,
      isAuthenticated: status === 'signed-in',
      isLoading: activity.navigator !== undefined || (status === 'loading' && error === undefined),
      activeNavigator: activity.navigator,
      error,
    };
  }, [functions, activity, status, user, loadError]);
}

export interface AuthenticationRequiredOptions {
  /** What is shown until the person is signed in. Default: nothing. */
  readonly OnRedirecting?: () => ReactNode;
  readonly signinRedirectArgs?: SigninArgs;
}

/**
 * A component that shows the given one to people who are signed in, and sends others to sign in. It is no defence: the
 * component's code can be read by everybody. What protects data is that the API answers nobody without a token.
 *
 * @example
 * ```tsx
 * import { withAuthenticationRequired } from 'sallyport/react';
 *
 * export const Orders = withAuthenticationRequired(() => <h1>Orders</h1>, { OnRedirecting: () => <p>Signing in…</p> });
 * ```
 */
export function withAuthenticationRequired<Props extends object>(
  Component: ComponentType<Props>,
  { OnRedirecting, signinRedirectArgs }: AuthenticationRequiredOptions = {},
): (props: Props) => ReactElement {
  return function AuthenticationRequired(props) {
    const { isAuthenticated, isLoading, error, signinRedirect } = useAuth();
    const { reason } = useSession();
    const wasAuthenticated = useRef(false);
    // After a failure the person decides, or the app would ask the provider again and again.
    const mustSignIn = !isAuthenticated && !isLoading && error === undefined;
    useEffect(() => {
      if (isAuthenticated) wasAuthenticated.current = true;
      if (!mustSignIn) return undefined;
      const signIn = () => {
        signinRedirect(signinRedirectArgs).catch(reportError);
      };
      if (wasAuthenticated.current && reason === 'logout') return whenSeenAgain(signIn);
      // In strict mode effects run twice, and one sign-in is enough.
      const timer = setTimeout(signIn);
      return () => clearTimeout(timer);
    }, [isAuthenticated, mustSignIn, reason, signinRedirect]);
    return isAuthenticated ? <Component {...props} /> : <>{OnRedirecting?.()}</>;
  };
}

/**
 * For the time after a sign-out. At once, the tab that signs out would not go on to the provider, and the others would be
 * signed in again by the provider's session, which has not ended yet.
 */
function whenSeenAgain(act: () => void): () => void {
  const begin = () => {
    if (!document.hidden) act();
  };
  const events = ['visibilitychange', 'focus', 'pageshow'];
  for (const event of events) addEventListener(event, begin);
  return () => {
    for (const event of events) removeEventListener(event, begin);
  };
}

/** What is under way, and what failed last. Every component that uses one client sees the same. */
interface Activity {
  readonly navigator: AuthNavigator | undefined;
  readonly error: AuthError | undefined;
}

const idle: Activity = { navigator: undefined, error: undefined };

type Activities = ReturnType<typeof createActivities>;

const activitiesByClient = new WeakMap<SessionClient, Activities>();

function activitiesOf(client: SessionClient): Activities {
  const known = activitiesByClient.get(client);
  if (known !== undefined) return known;
  const created = createActivities();
  activitiesByClient.set(client, created);
  return created;
}

function createActivities() {
  const listeners = new Set<() => void>();
  let activity = idle;

  function set(next: Activity): void {
    activity = next;
    for (const listener of listeners) listener();
  }

  /** Runs a function that shows while it runs. A failure is shown as well, and resolves to null, as in `react-oidc-context`. */
  async function run<Result>(navigator: AuthNavigator, action: () => Promise<Result>): Promise<Result | null> {
    set({ navigator, error: undefined });
    // A page that comes back from the back-forward cache is as it was left: signing in, but nothing goes on any more.
    const settle = ({ persisted }: PageTransitionEvent) => {
      if (persisted) finish(idle);
    };
    const finish = (next: Activity) => {
      removeEventListener('pageshow', settle);
      set(next);
    };
    addEventListener('pageshow', settle);
    try {
      const result = await action();
      finish(idle);
      return result;
    } catch (error) {
      finish({ navigator: undefined, error: describe(error, navigator) });
      return null;
    }
  }

  function subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  return { run, subscribe, current: () => activity };
}

function createFunctions({ login, logout, refresh }: SessionClient, { run }: Activities) {
  async function signinRedirect(args: SigninArgs = {}): Promise<void> {
    await run('signinRedirect', () => login(loginOptions(args)));
  }

  function signinPopup(args: SigninArgs = {}): Promise<UserWithoutTokens | null> {
    return run('signinPopup', async () => personOf(await login({ ...loginOptions(args), popup: true })));
  }

  function signinSilent(): Promise<UserWithoutTokens | null> {
    return run('signinSilent', async () => personOf(await refresh()));
  }

  async function signoutRedirect(args: { readonly returnTo?: string } = {}): Promise<void> {
    await run('signoutRedirect', () => logout(args));
  }

  return { signinRedirect, signinPopup, signinSilent, signoutRedirect, removeUser: () => signoutRedirect() };
}

/** The provider's words, in those of the browser module. */
function loginOptions({ returnTo, prompt, login_hint: loginHint, max_age: maxAge, acr_values: acrValues }: SigninArgs) {
  const options = { returnTo, prompt, loginHint, maxAge, acrValues };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as LoginOptions;
}

function personOf(view: SessionView): UserWithoutTokens | null {
  return view.authenticated ? withoutTokens(view.user as User) : null;
}

/** Not enumerable, so that whoever copies, compares or logs a user reads no token by the way. */
const absentTokens = Object.fromEntries(
  ['access', 'id', 'refresh'].map((kind) => [`${kind}_token`, { get: () => explainAbsence(kind) }]),
);

function withoutTokens(profile: User): UserWithoutTokens {
  return Object.defineProperties({ profile }, absentTokens);
}

function explainAbsence(kind: string): never {
  throw new Error(
    `There is no ${kind} token in the browser: Sallyport keeps the tokens, and adds the access token to the calls of its ` +
      'routes. Delete the code that reads it, and call the API without an Authorization header.',
  );
}

function describe(reason: unknown, source: AuthError['source']): AuthError {
  const message = reason instanceof Error ? reason.message : String(reason);
  return Object.assign(new Error(message), { source, innerError: reason });
}
