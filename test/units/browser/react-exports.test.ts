/** What `sallyport/react` exports, frozen: apps depend on it. */
import { expect, expectTypeOf, test } from 'vitest';
import * as react from '../../../src/browser/react.tsx';
import type { SignedOutReason } from '../../../src/browser/index.ts';
import type { Auth, SessionClient, SessionCountdown, SessionState, User } from '../../../src/browser/react.tsx';

test('the exported values', () => {
  expect(Object.keys(react).toSorted()).toEqual([
    'SessionProvider',
    'SignedIn',
    'SignedOut',
    'useAuth',
    'useSession',
    'useSessionCountdown',
    'withAuthenticationRequired',
  ]);
});

test('the members of the exported types', () => {
  expectTypeOf<keyof SessionClient>().toEqualTypeOf<
    'current' | 'login' | 'logout' | 'refresh' | 'secondsLeft' | 'session' | 'subscribe'
  >();
  expectTypeOf<keyof SessionState>().toEqualTypeOf<
    'accessToken' | 'error' | 'login' | 'logout' | 'reason' | 'refresh' | 'session' | 'status' | 'user'
  >();
  expectTypeOf<keyof SessionCountdown>().toEqualTypeOf<'isEnding' | 'secondsLeft' | 'stay'>();
  expectTypeOf<keyof Auth>().toEqualTypeOf<
    | ('activeNavigator' | 'error' | 'isAuthenticated' | 'isLoading' | 'user')
    | ('removeUser' | 'signinPopup' | 'signinRedirect' | 'signinSilent' | 'signoutRedirect')
  >();
});

test('the status says what there is', () => {
  expectTypeOf(statusTells).toBeFunction();
});

function statusTells(state: SessionState): void {
  const { status, user, reason } = state;
  if (status === 'signed-in') expectTypeOf(user).toEqualTypeOf<User>();
  else expectTypeOf(user).toEqualTypeOf<undefined>();
  if (status === 'signed-out') expectTypeOf(reason).toEqualTypeOf<SignedOutReason | undefined>();
  expectTypeOf(state.user?.name).toEqualTypeOf<string | undefined>();
  expectTypeOf(state.user?.['anything']).toEqualTypeOf<unknown>();
}

test('a person in the shape of react-oidc-context has no tokens, and a sign-in no addresses', () => {
  expectTypeOf(migrate).toBeFunction();
});

function migrate({ user, signinRedirect }: Auth): unknown {
  expectTypeOf(user?.profile.sub).toEqualTypeOf<string | undefined>();
  // @ts-expect-error The name of the type, UserWithoutTokens, is part of the compiler's message.
  const token: unknown = user?.access_token;
  // @ts-expect-error The redirect URI is the server's.
  return [token, signinRedirect({ redirect_uri: '/' })];
}
