/**
 * The rules for ID-token claims that OpenID Connect states and openid-client doesn't check: a subject, no issue time in
 * the future (OpenID Connect Core 2), and the same identity after a refresh (12.2).
 */
import { nowSeconds } from '../clock.ts';
import { idTokenClaims, type Claims, type TokenSet } from '../token-set.ts';
import { InvalidTokenResponse } from './provider-errors.ts';

/** The claims that a refresh must not change. */
const identityClaims = ['iss', 'sub', 'aud', 'azp'] as const;

/** What the claims of an ID token are checked against. */
export interface IdTokenExpectations {
  /** How far the provider's clock may differ from this machine's. */
  readonly clockToleranceSeconds: number;
  /** The tokens that a refresh started from; undefined at login. */
  readonly previous: TokenSet | undefined;
}

/** @throws {InvalidTokenResponse} */
export function checkIdTokenClaims(claims: Claims, { clockToleranceSeconds, previous }: IdTokenExpectations): void {
  if (typeof claims['sub'] !== 'string' || claims['sub'] === '')
    throw new InvalidTokenResponse('The ID token has no subject.');
  if (typeof claims['iat'] === 'number' && claims['iat'] > nowSeconds() + clockToleranceSeconds) {
    throw new InvalidTokenResponse('The ID token was issued in the future; check the clocks.');
  }
  if (previous !== undefined) requireSameIdentity(claims, idTokenClaims(previous.idToken) ?? {});
}

/** A refreshed ID token must be about the same person and client (OpenID Connect Core 12.2). */
function requireSameIdentity(claims: Claims, before: Claims): void {
  for (const name of identityClaims) {
    if (comparable(claims[name]) !== comparable(before[name])) {
      throw new InvalidTokenResponse(`The refreshed ID token has another "${name}".`);
    }
  }
  if (claims['nonce'] !== undefined && before['nonce'] !== undefined && claims['nonce'] !== before['nonce']) {
    throw new InvalidTokenResponse('The refreshed ID token has another "nonce".');
  }
}

/** A claim as text to compare; an audience may be one string or a list in any order. */
function comparable(value: unknown): string {
  return JSON.stringify(Array.isArray(value) ? value.map(String).toSorted() : value === undefined ? [] : [value]);
}
