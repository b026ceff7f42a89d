/**
 * All that an app behind Sallyport needs to know about signing in: ask who is there, and navigate to sign in or out.
 * No token passes through here, or through any other line of this app.
 */
import { call } from './problem.ts';

/** What the provider said about the person; which claims there are depends on its scopes. */
export interface User {
  sub: string;
  name?: string;
  email?: string;
  [claim: string]: unknown;
}

export interface SignedOut {
  authenticated: false;
  loginUrl: string;
}

export interface SignedIn {
  authenticated: true;
  user: User;
  /** Times are ISO 8601; `null` means that there is no such limit. */
  session: {
    createdAt: string;
    expiresAt: string | null;
    expiresInSeconds: number | null;
    idleExpiresAt: string | null;
    idleExpiresInSeconds: number | null;
  };
  accessToken: { expiresAt: string | null; expiresInSeconds: number | null; refreshable: boolean };
  logoutUrl: string;
}

export type Session = SignedOut | SignedIn;

/** Asks Sallyport who is signed in. This never prolongs the session. */
export async function readSession(): Promise<Session> {
  const response = await call('/bff/session');
  const session: Session = await response.json();
  return session;
}

/** The address that signs in and comes back to the page the person is on. A navigation, never a fetch. */
export function loginAddress(loginUrl: string, params: Record<string, string> = {}): string {
  const returnTo = window.location.pathname + window.location.search;
  return `${loginUrl}?${new URLSearchParams({ ...params, returnTo }).toString()}`;
}

/** Takes the note `?login=required` off the address: Sallyport leaves it when `prompt=none` found nobody signed in. */
export function takeLoginRequired(): boolean {
  const address = new URL(window.location.href);
  if (address.searchParams.get('login') !== 'required') return false;
  address.searchParams.delete('login');
  window.history.replaceState(null, '', address);
  return true;
}
