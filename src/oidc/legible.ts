/** Text of a provider as a log can hold it: one line, of bounded length, without tokens. */

/** Entra ID's descriptions take some 700 characters. */
const maximumLength = 1000;

/** A JWT, a JWE, or the beginning of one (RFC 7515 3.1, RFC 7516 3.1): base64url of `{"`. */
const jwt = /\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}/g;

/** @returns undefined for whatever is no text, and for text that says nothing */
export function legible(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  // Cut first: a hostile provider's megabyte costs nothing then.
  const text = value.slice(0, maximumLength * 2).replace(jwt, '[token]');
  const line = text.replace(/[\p{C}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  if (line === '') return undefined;
  return line.length > maximumLength ? `${line.slice(0, maximumLength)}…` : line;
}
