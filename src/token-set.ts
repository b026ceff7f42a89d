/** What a grant yields, in the field's words; wire names such as `access_token` exist only inside `oidc/`. */

/** The tokens of one grant. Times are seconds since 1970. */
export interface TokenSet {
  readonly accessToken: string;
  /** Undefined where the provider names no lifetime. */
  readonly accessTokenExpiresAt: number | undefined;
  readonly refreshToken: string | undefined;
  readonly idToken: string;
}

/** Claims about the person, as the provider spells them (OpenID Connect Core 5.1). */
export type Claims = Readonly<Record<string, unknown>>;

/** The claims of an ID token that was verified when it came; undefined for what is none. */
export function idTokenClaims(idToken: string): Claims | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString());
    return claims instanceof Object && !Array.isArray(claims) ? (claims as Claims) : undefined;
  } catch {
    return undefined;
  }
}
