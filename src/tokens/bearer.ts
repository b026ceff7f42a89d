/** Header lines that carry a token, and the token that such lines carry. */
import type { TokenSet } from '../token-set.ts';

/** The lines of a bearer token (RFC 6750 2.1). */
export function bearer(token: string): readonly string[] {
  return ['authorization', `Bearer ${token}`];
}

/**
 * The lines of an access token that the session's grant has brought. One that is bound to the session's key has a scheme of
 * its own (RFC 9449 7.1), and gets its proof beside it (`dpop-tokens.ts`).
 */
export function ownToken({ accessToken, dpopKey }: Pick<TokenSet, 'accessToken' | 'dpopKey'>): readonly string[] {
  return dpopKey === undefined ? bearer(accessToken) : ['authorization', `${boundScheme}${accessToken}`];
}

const boundScheme = 'DPoP ';

/** Whether a policy's header lines carry a token that is bound to the session's key. */
export function isBound(lines: readonly string[]): boolean {
  return lines[1]?.startsWith(boundScheme) === true;
}

/** Whether header lines carry a proof beside their token. */
export function isProven(lines: readonly string[]): boolean {
  return lines.length > 2 && isBound(lines);
}

/** The token in a policy's header lines, without its scheme; undefined if they carry none. */
export function tokenIn(lines: readonly string[]): string | undefined {
  return lines[1]?.replace(/^(?:Bearer|DPoP) /, '');
}
