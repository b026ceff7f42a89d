/**
 * Token responses (RFC 6749 5.1; OpenID Connect Core 3.1.3.3, 12.2): what counts as one, what a verified one becomes,
 * and a fetch that answers with the same response again. A code or refresh token is used up with the first response, so
 * a second validation must not ask the provider twice.
 */
import type * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { TokenSet } from '../token-set.ts';
import { checkIdTokenClaims } from './id-token.ts';
import { InvalidTokenResponse } from './provider-errors.ts';

export type OidcFetch = (url: string, options: client.CustomFetchOptions) => Promise<Response>;
export type TokenResponse = Awaited<ReturnType<typeof client.refreshTokenGrant>>;

/** A fetch that remembers the token response and answers with it from then on. */
export interface ReplayableFetch {
  readonly fetch: OidcFetch;
  /** The token response, if one has arrived. */
  response(): Response | undefined;
}

/** @param recorded the response of an earlier attempt, answered at once */
export function replayableTokenFetch(fetch: OidcFetch, recorded?: Response): ReplayableFetch {
  return {
    response: () => recorded,
    fetch: async (url, options) => {
      if (options.method !== 'POST') return fetch(url, options);
      recorded ??= await fetch(url, options);
      return recorded.clone();
    },
  };
}

/**
 * Whether the body has the members that every token response must have (RFC 6749 5.1). A 200 without them says nothing
 * about the grant.
 */
export async function isTokenResponse(response: Response | undefined): Promise<boolean> {
  if (response?.ok !== true) return false;
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  const members = new Map(Object.entries(body instanceof Object ? body : {}));
  return typeof members.get('access_token') === 'string' && typeof members.get('token_type') === 'string';
}

/**
 * The tokens of a response that openid-client has verified.
 * @param previous the tokens that a refresh started from: a response may leave out the refresh and the ID token
 * @throws {InvalidTokenResponse}
 */
export function tokensOf(response: TokenResponse, previous: TokenSet | undefined): TokenSet {
  if (response.token_type.toLowerCase() !== 'bearer') {
    throw new InvalidTokenResponse(`The token type is ${JSON.stringify(response.token_type)}, not Bearer.`);
  }
  if (!/^[\x20-\x7e]+$/.test(response.access_token)) {
    throw new InvalidTokenResponse('The access token holds characters that no header can carry (RFC 6749 A.12).');
  }
  const claims = response.claims();
  if (claims !== undefined) checkIdTokenClaims(claims, previous);
  const idToken = response.id_token ?? previous?.idToken;
  if (idToken === undefined) throw new InvalidTokenResponse('The token response has no ID token.');
  return {
    accessToken: response.access_token,
    accessTokenExpiresAt: expiryOf(response.expires_in),
    refreshToken: response.refresh_token ?? previous?.refreshToken,
    idToken,
  };
}

/** A longer lifetime is cut to this, because not every time can be written as a date. */
const maximumLifetimeSeconds = 10 * 365 * 24 * 3600;

/** When a token expires, in seconds since 1970; undefined if the provider names no usable lifetime. */
function expiryOf(lifetimeSeconds: number | undefined): number | undefined {
  if (lifetimeSeconds === undefined || !(lifetimeSeconds >= 1)) return undefined;
  return nowSeconds() + Math.floor(Math.min(lifetimeSeconds, maximumLifetimeSeconds));
}
