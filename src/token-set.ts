/** What a grant yields: tokens and claims. Wire names such as `access_token` exist only inside `oidc/`. */

/** The tokens of one grant. Times are seconds since 1970. */
export interface TokenSet {
  readonly accessToken: string;
  /** Undefined if the provider names no lifetime. */
  readonly accessTokenExpiresAt: number | undefined;
  readonly refreshToken: string | undefined;
  readonly idToken: string;
  /** The granted scopes, separated by spaces; undefined if the provider names none: those that were requested. */
  readonly scope?: string | undefined;
  /** When the refresh token expires, unless it is used before; undefined if the provider doesn't say. */
  readonly refreshTokenExpiresAt?: number | undefined;
  /** When the provider ends what it has granted, whatever is refreshed; undefined if it doesn't say. */
  readonly authorizationEndsAt?: number | undefined;
  /** The key that the tokens are bound to (RFC 9449); undefined for bearer tokens. The same object after each refresh. */
  readonly dpopKey?: DpopKey | undefined;
}

/** A session's key for proofs of possession: what it is derived from. Whoever has it can use the session's tokens. */
export interface DpopKey {
  readonly algorithm: 'ES256' | 'EdDSA';
  /** 128 random bits, base64url. */
  readonly seed: string;
}

/** An access token for one resource (RFC 8707), which the session's refresh token brought. Times as in {@link TokenSet}. */
export interface ResourceToken {
  readonly accessToken: string;
  readonly issuedAt: number;
  /** Undefined if the provider names no lifetime. */
  readonly expiresAt: number | undefined;
  /** The granted scopes, separated by spaces, maybe fewer than requested; undefined where none were requested or said. */
  readonly scope?: string | undefined;
}

/**
 * When a token is due for renewal: ahead of its expiry, but never in the first half of its lifetime. All in seconds, times
 * since 1970.
 */
export function renewalDueAt(issuedAt: number, expiresAt: number, beforeSeconds: number): number {
  return expiresAt - Math.min(beforeSeconds, (expiresAt - issuedAt) / 2);
}

/**
 * Claims about the person, as the provider spells them (OpenID Connect Core 5.1).
 *
 * @example
 * ```ts
 * import type { Claims } from 'sallyport';
 *
 * export function displayName(claims: Claims): string {
 *   return typeof claims['name'] === 'string' ? claims['name'] : String(claims['sub']);
 * }
 * ```
 */
export type Claims = Readonly<Record<string, unknown>>;

/**
 * Whether a claim's name says that it holds tokens: `_claim_names` and `_claim_sources` (OpenID Connect Core 5.6.2), and
 * whatever is called a token or a JWT, in any spelling. No script may see those.
 */
export function namesToken(name: string): boolean {
  return /(?:tokens?|jwts?|claimnames|claimsources)$/.test(name.toLowerCase().replace(/[^a-z]/g, ''));
}

/** The claims of an ID token that was verified when it was received; undefined if the text is no ID token. */
export function idTokenClaims(idToken: string): Claims | undefined {
  return objectIn(idToken.split('.')[1]);
}

/** The claims of a token that is a signed JWT (RFC 7515 3.1); undefined for any other. The signature is not looked at. */
export function jwtClaims(token: string): Claims | undefined {
  const [header, payload, signature, ...more] = token.split('.');
  const isSigned = signature !== undefined && more.length === 0 && typeof objectIn(header)?.['alg'] === 'string';
  return isSigned ? objectIn(payload) : undefined;
}

function objectIn(part: string | undefined): Claims | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part ?? '', 'base64url').toString());
    return value instanceof Object && !Array.isArray(value) ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}

/** Who the person is to the provider: `sub` of an ID token that was verified when it was received. */
export function subjectOf(idToken: string): string {
  return String(idTokenClaims(idToken)?.['sub']);
}
