/** An instance of the browser module that does what a test says, when it says so. */
import type { SessionClient } from 'sallyport/react';
import type { SessionView } from 'sallyport/browser';

type Call = readonly [name: string, ...args: unknown[]];

export interface FakeClient extends SessionClient {
  /** What was called, in order; looks at the session are counted apart. */
  readonly calls: Call[];
  readonly looks: () => number;
  readonly listeners: () => number;
  /** Signed in as this person, signed out for this reason, or unknown again. */
  readonly signIn: (name: string) => void;
  readonly signOut: (reason?: 'idle' | 'operator' | 'logout') => void;
  /** The first look at the session fails. */
  readonly fail: (message: string) => void;
  /** When the session ends, on the page's clock; undefined for 'unknown'. */
  endsAt: number | undefined;
  /** What the next calls of `login`, `logout` and `refresh` do. Default: they stay under way for ever. */
  answer: (() => Promise<SessionView>) | undefined;
}

export function createFakeClient(): FakeClient {
  const listeners = new Set<(view: SessionView) => void>();
  const calls: Call[] = [];
  const first = Promise.withResolvers<SessionView>();
  // A test may let it fail before a component asks.
  first.promise.catch(() => {});
  let view: SessionView | undefined;
  let looks = 0;

  function show(next: SessionView): void {
    view = next;
    first.resolve(next);
    // As the browser module does it: a listener may be called just after it has unsubscribed.
    for (const listener of listeners) queueMicrotask(() => listener(next));
  }

  function act(name: string, ...args: unknown[]): Promise<never> {
    calls.push([name, ...args]);
    return (fake.answer?.() ?? new Promise(() => {})) as Promise<never>;
  }

  const fake: FakeClient = {
    calls,
    looks: () => looks,
    listeners: () => listeners.size,
    signIn: (name) => show(signedIn(name)),
    signOut: (reason) => show({ authenticated: false, loginUrl: '/bff/login', ...(reason && { reason }) }),
    fail: (message) => first.reject(new Error(message)),
    endsAt: undefined,
    answer: undefined,
    session() {
      looks += 1;
      return first.promise;
    },
    current: () => view,
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    secondsLeft: () => (fake.endsAt === undefined ? undefined : (fake.endsAt - Date.now()) / 1000),
    login: (options) => act('login', options),
    logout: (options) => act('logout', options),
    refresh: () => act('refresh'),
  };
  return fake;
}

export function signedIn(name: string): SessionView {
  const at = '2026-01-01T00:00:00Z';
  return {
    authenticated: true,
    user: { sub: name, name },
    session: {
      createdAt: at,
      expiresAt: at,
      expiresInSeconds: 3600,
      idleExpiresAt: null,
      idleExpiresInSeconds: null,
    },
    accessToken: { expiresAt: at, expiresInSeconds: 300, refreshable: true },
    logoutUrl: '/bff/logout?sid=1',
  };
}
