/** Header lines that carry a token, and the token that such lines carry. */

/** The lines of a bearer token (RFC 6750 2.1). */
export function bearer(token: string): readonly string[] {
  return ['authorization', `Bearer ${token}`];
}

/** The token in a policy's header lines, without its scheme; undefined if they carry none. */
export function tokenIn(lines: readonly string[]): string | undefined {
  return lines[1]?.replace(/^(?:Bearer|DPoP) /, '');
}
