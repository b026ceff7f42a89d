/**
 * Token responses (RFC 6749 5.1; OpenID Connect Core 3.1.3.3, 12.2): what counts as one, what a verified one becomes,
 * and a fetch that answers with the same response again. A code or refresh token is used up with the first response, so
 * a second validation must not ask the provider twice.
 */
import type * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { Claims, DpopKey, TokenSet } from '../token-set.ts';
import { checkIdTokenClaims, type IdTokenExpectations } from './id-token.ts';
import { InvalidTokenResponse } from './provider-errors.ts';

export type OidcFetch = (url: string, options: client.CustomFetchOptions) => Promise<Response>;
export type TokenResponse = Awaited<ReturnType<typeof client.refreshTokenGrant>>;

export interface Grant {
  readonly tokens: TokenSet;
  readonly userInfo: Claims | undefined;
  readonly subject: string;
}

/** What a refresh starts from. */
export type PreviousGrant = Pick<Grant, 'tokens' | 'userInfo'>;

/** A fetch that remembers the token response and answers with it from then on. */
export interface ReplayableFetch {
  readonly fetch: OidcFetch;
  /** The token response, if one has arrived. */
  response(): Response | undefined;
  /** The next attempt asks the provider again. */
  forget(): void;
}

/** @param earlier the response of an earlier attempt, answered at once */
export function replayableTokenFetch(fetch: OidcFetch, earlier?: Response): ReplayableFetch {
  let recorded = earlier;
  /** Each reader gets a response of its own, because one can be read once, and clones of a stream are expensive. */
  let copy = earlier === undefined ? undefined : () => earlier.clone();
  return {
    response: () => (recorded ??= copy?.()),
    forget() {
      recorded = undefined;
      copy = undefined;
    },
    fetch: async (url, options) => {
      if (options.method !== 'POST') return fetch(url, options);
      copy ??= await copierOf(await fetch(url, options));
      return copy();
    },
  };
}

/** Reads a response, and makes copies of it without its odd members. */
async function copierOf(response: Response): Promise<() => Response> {
  const { ok, status, headers } = response;
  const text = await response.text();
  const body = ok ? withoutOddMembers(text) : text;
  const isEmpty = text === '' || status === 204 || status === 304;
  return () => new Response(isEmpty ? null : body, { status, headers });
}

/** Optional members, and what each must be to count (RFC 6749 5.1; OpenID Connect Core 3.1.3.3). */
const optionalMembers: Readonly<Record<string, (value: unknown) => boolean>> = {
  refresh_token: isText,
  id_token: isText,
  scope: isText,
  // Some providers write the number as a text.
  expires_in: (value) => typeof value === 'number' || (isText(value) && !Number.isNaN(Number(value))),
};

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** An optional member that is null, empty or of an odd type is an absent one; openid-client would reject the response. */
function withoutOddMembers(text: string): string {
  const body = membersOf(text);
  const odd = Object.entries(body).filter(([name, value]) => optionalMembers[name]?.(value) === false);
  if (odd.length === 0) return text;
  return JSON.stringify(
    Object.fromEntries(Object.entries(body).filter(([name]) => !odd.some(([other]) => other === name))),
  );
}

/** The members of a response's JSON object; none for whatever else the body is. The response can still be read. */
async function bodyOf(response: Response): Promise<Record<string, unknown>> {
  return membersOf(await response.clone().text());
}

function membersOf(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    return body instanceof Object && !Array.isArray(body) ? Object.fromEntries(Object.entries(body)) : {};
  } catch {
    return {};
  }
}

/** The header of the response's ID token (RFC 7515 4), unverified; empty if there is none that can be read. */
export async function idTokenHeader(response: Response | undefined): Promise<{ readonly kid?: unknown }> {
  const { id_token: idToken } = response === undefined ? {} : await bodyOf(response);
  try {
    const header: unknown = JSON.parse(Buffer.from(String(idToken).split('.')[0] ?? '', 'base64url').toString());
    return header instanceof Object ? header : {};
  } catch {
    return {};
  }
}

/**
 * Whether the body has the members that every token response must have (RFC 6749 5.1). A 200 without them says nothing
 * about the grant.
 */
export async function isTokenResponse(response: Response | undefined): Promise<boolean> {
  if (response?.ok !== true) return false;
  const { access_token: accessToken, token_type: tokenType } = await bodyOf(response);
  return typeof accessToken === 'string' && typeof tokenType === 'string';
}

/** Error codes about the client or the moment; with them the code or refresh token is as good as before. */
const errorsThatMayPass = new Set([
  'invalid_client',
  'unauthorized_client',
  'temporarily_unavailable',
  'server_error',
  'slow_down',
  // The clocks differ, or the provider changes its nonce at each call (RFC 9449 5, 8).
  'invalid_dpop_proof',
  'use_dpop_nonce',
]);
const statusesThatMayPass = new Set([408, 425, 429]);

/**
 * Whether the provider rejected the code or the refresh token for good: by an OAuth error code in the body (RFC 6749
 * 5.2), whatever headers come with it. Dex rejects a used token with `invalid_request`, and Doorkeeper sends a
 * `WWW-Authenticate` beside `invalid_grant`. A gateway's own JSON, such as `{"error":"Not Found"}`, is no such code.
 */
export async function isGrantRejected(response: Response | undefined): Promise<boolean> {
  if (response === undefined) return false;
  const { error } = await bodyOf(response);
  return isFinalRefusal(response.status, error);
}

/** @param error of an error response to any request at the provider */
export function isFinalRefusal(status: number, error: unknown): boolean {
  if (status < 400 || status >= 500 || statusesThatMayPass.has(status)) return false;
  if (error === 'invalid_grant') return true;
  const isGatewaysOwn = ![400, 401, 403].includes(status);
  return (
    !isGatewaysOwn && typeof error === 'string' && /^[a-z][a-z0-9_]*$/.test(error) && !errorsThatMayPass.has(error)
  );
}

/** Whether the provider refused the scopes of a request, and not the grant itself (RFC 6749 5.2). */
export async function isScopeRejected(response: Response | undefined): Promise<boolean> {
  return isErrorOf(response, ({ error }) => error === 'invalid_scope');
}

/** Whether a response is an error whose members are such. */
export async function isErrorOf(
  response: Response | undefined,
  matches: (members: Readonly<Record<string, unknown>>) => boolean,
): Promise<boolean> {
  return response !== undefined && !response.ok && matches(await bodyOf(response));
}

export interface TokenExpectations extends IdTokenExpectations {
  /** The key of the proof that was sent; undefined where none was. */
  readonly dpopKey: DpopKey | undefined;
}

/**
 * The tokens of a response that openid-client has verified.
 * @param expectations with the tokens that a refresh started from: a response may leave out the refresh and the ID token
 * @throws {InvalidTokenResponse}
 */
export function tokensOf(response: TokenResponse, expectations: TokenExpectations): TokenSet {
  const { previous, dpopKey } = expectations;
  checkTokenType(response.token_type, dpopKey);
  if (!/^[\x20-\x7e]+$/.test(response.access_token)) {
    throw new InvalidTokenResponse('The access token holds characters that no header can carry (RFC 6749 A.12).');
  }
  const claims = response.claims();
  if (claims !== undefined) checkIdTokenClaims(claims, expectations);
  const idToken = response.id_token ?? previous?.idToken;
  if (idToken === undefined) throw new InvalidTokenResponse('The token response has no ID token.');
  return {
    accessToken: response.access_token,
    accessTokenExpiresAt: expiryOf(response.expires_in),
    refreshToken: response.refresh_token ?? previous?.refreshToken,
    idToken,
    scope: response.scope ?? previous?.scope,
    refreshTokenExpiresAt: refreshTokenExpiryOf(response, previous),
    authorizationEndsAt: authorizationEndOf(response, claims) ?? previous?.authorizationEndsAt,
    dpopKey,
  };
}

/** A bearer token in place of a bound one would undo the protection unseen, so it is refused (RFC 9449 5). */
function checkTokenType(tokenType: string, dpopKey: DpopKey | undefined): void {
  const [expected, remedy] =
    dpopKey === undefined
      ? ['Bearer', '']
      : ['DPoP', ' Let the provider bind the tokens of this client, or set SALLYPORT_CLIENT_DPOP to off.'];
  if (tokenType.toLowerCase() === expected.toLowerCase()) return;
  throw new InvalidTokenResponse(`The token type is ${JSON.stringify(tokenType)}, not ${expected}.${remedy}`);
}

/**
 * `refresh_token_timeout` (OAuth 2.0 Refresh Token and Authorization Expiration), or `refresh_expires_in` of Keycloak,
 * where 0 means no limit. A refresh token that stays the same keeps what was said of it.
 */
function refreshTokenExpiryOf(response: TokenResponse, previous: TokenSet | undefined): number | undefined {
  const { refresh_token_timeout: timeout, refresh_expires_in: keycloaks } = response;
  const said = expiryOf(numberOf(timeout)) ?? expiryOf(numberOf(keycloaks));
  return said ?? (response.refresh_token === undefined ? previous?.refreshTokenExpiresAt : undefined);
}

/** `authorization_expires_in` of the same specification, or `session_expiry` of an ID token (IPSIE SL1); the earlier. */
function authorizationEndOf(response: TokenResponse, claims: Claims | undefined): number | undefined {
  const { authorization_expires_in: seconds } = response;
  const sessionExpiry = numberOf(claims?.['session_expiry']);
  const isTime =
    sessionExpiry !== undefined && sessionExpiry >= 1 && sessionExpiry <= nowSeconds() + maximumLifetimeSeconds;
  const ends = [expiryOf(numberOf(seconds)), isTime ? Math.floor(sessionExpiry) : undefined].filter(
    (end) => end !== undefined,
  );
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Some providers write numbers as texts. Undefined for what is none. */
function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'number' ? value : isText(value) ? Number(value) : NaN;
  return Number.isFinite(number) ? number : undefined;
}

/** A longer lifetime is cut to this, because not every time can be written as a date. */
const maximumLifetimeSeconds = 10 * 365 * 24 * 3600;

/** When a token expires, in seconds since 1970; undefined if the provider names no usable lifetime. */
function expiryOf(lifetimeSeconds: number | undefined): number | undefined {
  if (lifetimeSeconds === undefined || !(lifetimeSeconds >= 1)) return undefined;
  return nowSeconds() + Math.floor(Math.min(lifetimeSeconds, maximumLifetimeSeconds));
}
