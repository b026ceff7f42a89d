/** The components of the tests: they show what the hooks say, as text, and count their renders. */
import { useEffect, useRef, useState, type ReactElement, type ReactNode } from 'react';
import {
  SessionProvider,
  SignedIn,
  SignedOut,
  useAuth,
  useSession,
  useSessionCountdown,
  withAuthenticationRequired,
  type SessionClient,
} from 'sallyport/react';

/** Everything that was rendered, one line a render. */
export const renders: string[] = [];

export function Status(): ReactElement {
  const session = useSession();
  const text = [
    session.status,
    session.user?.name,
    session.reason,
    session.error instanceof Error && session.error.message,
  ]
    .filter(Boolean)
    .join(' ');
  renders.push(text);
  return <p id="status">{text}</p>;
}

export function Gates(): ReactElement {
  return (
    <ul>
      <SignedIn>
        <li>in</li>
      </SignedIn>
      <SignedIn>{({ user }) => <li>in as {user.name}</li>}</SignedIn>
      <SignedOut>
        <li>out</li>
      </SignedOut>
      <SignedOut>{({ reason }) => <li>out for {reason}</li>}</SignedOut>
    </ul>
  );
}

/** Renders anew at a click, and shows how often the session's object and functions were others than before. */
export function Identity(): ReactElement {
  const session = useSession();
  const auth = useAuth();
  const [clicks, setClicks] = useState(0);
  const [changes, setChanges] = useState(0);
  const seen = [session, session.login, session.logout, auth, auth.signinRedirect, auth.user];
  const before = useRef(seen);
  useEffect(() => {
    if (before.current.some((value, index) => value !== seen[index])) setChanges((count) => count + 1);
    before.current = seen;
  });
  return (
    <button onClick={() => setClicks(clicks + 1)}>
      {clicks} clicks, {changes} changes
    </button>
  );
}

export function Countdown({ warnSeconds }: { readonly warnSeconds?: number }): ReactElement {
  const countdown = useSessionCountdown(warnSeconds === undefined ? {} : { warnSeconds });
  const [result, setResult] = useState('');
  renders.push(countdown.isEnding ? `${countdown.secondsLeft}` : '-');
  return (
    <div>
      <p id="countdown">{countdown.isEnding ? `${countdown.secondsLeft} s` : 'quiet'}</p>
      <button onClick={() => void countdown.stay().then((moved) => setResult(moved ? 'moved' : 'not moved'))}>
        Stay
      </button>
      <p id="result">{result}</p>
    </div>
  );
}

/** Two components that share what is under way, and buttons for each function. */
export function AuthPanel(): ReactElement {
  const auth = useAuth();
  const [result, setResult] = useState('');
  const show = (promise: Promise<unknown>) => void promise.then((value) => setResult(JSON.stringify(value) ?? 'void'));
  const token = () => (auth.user as unknown as { readonly access_token: string }).access_token;
  return (
    <div>
      <AuthState />
      <p id="result">{result}</p>
      <button
        onClick={() =>
          show(
            auth.signinRedirect({ returnTo: '/a', prompt: 'login', login_hint: 'alice', max_age: 0, acr_values: 'x' }),
          )
        }
      >
        redirect
      </button>
      <button onClick={() => show(auth.signinPopup())}>popup</button>
      <button onClick={() => show(auth.signinSilent())}>silent</button>
      <button onClick={() => show(auth.signoutRedirect({ returnTo: '/bye' }))}>sign out</button>
      <button onClick={() => show(auth.removeUser())}>remove</button>
      <button onClick={() => setResult(messageOf(token))}>read token</button>
      <button onClick={() => setResult(JSON.stringify({ ...auth.user }))}>copy user</button>
    </div>
  );
}

function messageOf(action: () => unknown): string {
  try {
    return `read ${String(action())}`;
  } catch (error) {
    return String(error);
  }
}

function AuthState(): ReactElement {
  const { user, isAuthenticated, isLoading, activeNavigator, error } = useAuth();
  const state = {
    user: user === undefined ? 'unknown' : user && user.profile.name,
    is: [isAuthenticated && 'authenticated', isLoading && 'loading'].filter(Boolean).join(),
    ...(activeNavigator && { activeNavigator }),
    ...(error && { error: `${error.source}: ${error.message}`, inner: String(error.innerError) }),
  };
  return <pre id="auth">{JSON.stringify(state)}</pre>;
}

export const Guarded = withAuthenticationRequired(({ of }: { readonly of: string }) => <p>secret of {of}</p>, {
  OnRedirecting: () => <p>on the way</p>,
  signinRedirectArgs: { returnTo: '/deep' },
});

export function Within({ client, children }: { readonly client?: SessionClient; readonly children: ReactNode }) {
  return <SessionProvider {...(client && { client })}>{children}</SessionProvider>;
}
