/**
 * Signatures of JWTs (JWS, RFC 7515) by the provider's keys, and what such a JWT says before it is verified. The one
 * importer of jose.
 */
import { compactVerify, createLocalJWKSet } from 'jose';
import { maximumKeysTried, type Keys } from './signing-keys.ts';

/** A JWT's parts as JSON, unverified. */
export interface JwtParts {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** The parts of a JWS in its compact form (RFC 7515 7.1); undefined for whatever else a text is. */
export function partsOf(jwt: string): JwtParts | undefined {
  const [, encodedHeader = '', encodedClaims = ''] = /^([\w-]+)\.([\w-]+)\.[\w-]*$/.exec(jwt) ?? [];
  const header = jsonObject(encodedHeader);
  const claims = jsonObject(encodedClaims);
  return header === undefined || claims === undefined ? undefined : { header, claims };
}

function jsonObject(encoded: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64url'));
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    // The error itself may quote the token.
    return undefined;
  }
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Whether one of the keys verifies the signature. The `kid` of the token only says which to try first, as with ID tokens
 * (`client.ts`); what a key is for, and for which algorithm, is heeded (RFC 7517 4).
 */
export async function isSignedWith(
  { keys }: Keys,
  token: string,
  { kid }: JwtParts['header'],
  algorithms: string[],
): Promise<boolean> {
  const ordered = [...keys.filter((key) => key.kid === kid), ...keys.filter((key) => key.kid !== kid)];
  for (const key of ordered.slice(0, maximumKeysTried)) {
    const named = typeof kid === 'string' ? { ...key, kid } : key;
    try {
      await compactVerify(token, createLocalJWKSet({ keys: [named] }), { algorithms });
      return true;
    } catch {
      // The rest of the token is known to be right: what fails is this key, which may be of another kind.
    }
  }
  return false;
}
