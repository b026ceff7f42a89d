/**
 * JWTs that the provider signed and that reach Sallyport by way of others, so that anyone can have made them: reading them
 * (RFC 7515 7.1), and verifying their signatures with the provider's keys. The one importer of jose.
 */
import { compactVerify, createLocalJWKSet } from 'jose';
import type { Claims } from '../token-set.ts';
import { maximumKeysTried, type Keys, type SigningKeys } from './signing-keys.ts';

export type JwtHeader = Readonly<Record<string, unknown>>;

/** A JWS in its compact form, not verified. Undefined for whatever is none, or holds no JSON objects. */
export function readJwt(token: string): { readonly header: JwtHeader; readonly claims: Claims } | undefined {
  const [, encodedHeader = '', encodedClaims = ''] = /^([\w-]+)\.([\w-]+)\.[\w-]*$/.exec(token) ?? [];
  const header = jsonObject(encodedHeader);
  const claims = jsonObject(encodedClaims);
  return header === undefined || claims === undefined ? undefined : { header, claims };
}

/** A JWE has five parts (RFC 7516 7.1). */
export function isEncrypted(token: string): boolean {
  return token.split('.').length === 5;
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

/** Where the provider's keys come from. */
interface KeySource {
  readonly known: () => Promise<Keys>;
  /** Fetched because none of the known ones verifies a token. */
  readonly newer: (known: Keys) => Promise<Keys>;
}

/** Keys for tokens that anyone may have sent: their number must not decide how often the provider is asked. */
export function sparingly(signingKeys: Pick<SigningKeys, 'requireUsableSparingly' | 'refreshSparingly'>): KeySource {
  return { known: signingKeys.requireUsableSparingly, newer: signingKeys.refreshSparingly };
}

export function createSignatureCheck({ known: knownKeys, newer }: KeySource) {
  /**
   * Whether a key of the provider's verifies the signature; one may be newer than those that are known.
   * @throws {BffError} `provider_unavailable` while it can't be told
   */
  return async function isSignedByProvider(
    token: string,
    header: JwtHeader,
    algorithms: readonly string[],
  ): Promise<boolean> {
    const known = await knownKeys();
    if (await isSignedWith(known, token, header, algorithms)) return true;
    const current = await newer(known);
    return current !== known && isSignedWith(current, token, header, algorithms);
  };
}

/**
 * Whether one of the keys verifies the signature. The `kid` of the token only says which to try first, as with ID tokens
 * (`client.ts`); what a key is for, and for which algorithm, is heeded (RFC 7517 4).
 */
async function isSignedWith(
  { keys }: Keys,
  token: string,
  { kid }: JwtHeader,
  algorithms: readonly string[],
): Promise<boolean> {
  const ordered = [...keys.filter((key) => key.kid === kid), ...keys.filter((key) => key.kid !== kid)];
  for (const key of ordered.slice(0, maximumKeysTried)) {
    const named = typeof kid === 'string' ? { ...key, kid } : key;
    try {
      await compactVerify(token, createLocalJWKSet({ keys: [named] }), { algorithms: [...algorithms] });
      return true;
    } catch {
      // The rest of the token is known to be right: what fails is this key, which may be of another kind.
    }
  }
  return false;
}
