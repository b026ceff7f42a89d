/** Logout tokens as a provider's server sends them: without cookies, an origin or fetch metadata. */
import { randomUUID } from 'node:crypto';
import { decodeJwt, type JWTPayload } from 'jose';
import type { TestProvider } from './provider.ts';

export const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';

/** The claims of a valid logout token that is issued now. It needs a `sub` or a `sid` yet. */
export function logoutClaims({ issuer, clientId }: TestProvider, claims: JWTPayload): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: issuer,
    aud: clientId,
    iat: now,
    exp: now + 120,
    jti: randomUUID(),
    events: { [logoutEvent]: {} },
    ...claims,
  };
}

/** A valid logout token. */
export function logoutToken(provider: TestProvider, claims: JWTPayload): Promise<string> {
  return provider.sign(logoutClaims(provider, claims), { typ: 'logout+jwt' });
}

export interface LogoutAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The members of a refusal. */
  readonly refusal: { readonly error?: string; readonly error_description?: string; readonly code?: string };
}

/** Posts a form with the token, or another body. */
export async function postLogout(
  port: number,
  body: string | URLSearchParams,
  headers: Record<string, string> = {},
): Promise<LogoutAnswer> {
  const response = await fetch(`http://127.0.0.1:${port}/bff/backchannel-logout`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body,
  });
  const text = await response.text();
  const refusal = text.startsWith('{') ? (JSON.parse(text) as LogoutAnswer['refusal']) : {};
  return { status: response.status, headers: response.headers, text, refusal };
}

/** Posts a logout token as a provider does. */
export function sendLogoutToken(port: number, token: string): Promise<LogoutAnswer> {
  return postLogout(port, new URLSearchParams({ logout_token: token }));
}

/** The claims of the ID tokens that logins have had from now on, in their order. */
export function watchIdTokens(provider: TestProvider): JWTPayload[] {
  const seen: JWTPayload[] = [];
  provider.mutate('code', (json) => {
    seen.push(decodeJwt(String(json['id_token'])));
    return json;
  });
  return seen;
}
