/**
 * JWTs in the name of the client (RFC 7519, RFC 7515): assertions with which it authenticates (RFC 7523 3, OpenID Connect
 * Core 9) and request objects (RFC 9101 4). Each is for the provider alone, and for this minute.
 */
import { constants, createHmac, randomBytes, sign, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { nowSeconds } from '../clock.ts';
import type { Claims } from '../token-set.ts';

/** Whoever copies one on the way can use it for so long at most. FAPI 2.0 allows a minute. */
const lifetimeSeconds = 50;

export interface JwtKey {
  /** A private key, or the text of a client secret. */
  readonly key: KeyObject | string;
  readonly kid?: string | undefined;
  readonly algorithm: string;
}

export interface JwtParties {
  readonly clientId: string;
  /**
   * The provider's issuer. As one text, because an assertion for several audiences could be used at another of them
   * (FAPI 2.0 Security Profile 5.3.3).
   */
  readonly issuer: string;
}

/**
 * Signs claims, with those that say who speaks, to whom, and until when. Each call makes another `jti`.
 * @param typ the kind of JWT (RFC 8725 3.11)
 */
export async function signJwtOfClient(
  claims: Claims,
  { clientId, issuer }: JwtParties,
  { key, kid, algorithm }: JwtKey,
  typ?: string,
): Promise<string> {
  const now = nowSeconds();
  const times = { iat: now, nbf: now, exp: now + lifetimeSeconds };
  const payload = { ...claims, iss: clientId, aud: issuer, jti: randomBytes(32).toString('base64url'), ...times };
  // JSON leaves out what is undefined.
  const input = `${encoded({ alg: algorithm, typ, kid })}.${encoded(payload)}`;
  return `${input}.${(await signatureOf(input, key, algorithm)).toString('base64url')}`;
}

function encoded(part: Readonly<Record<string, unknown>>): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

/** In a thread of its own: RSA takes half a millisecond. */
const signInBackground = promisify(sign);

async function signatureOf(input: string, key: KeyObject | string, algorithm: string): Promise<Buffer> {
  const hash = `sha${algorithm.slice(2)}`;
  if (typeof key === 'string') return createHmac(hash, key).update(input).digest();
  const isEd25519 = key.asymmetricKeyType === 'ed25519';
  return signInBackground(isEd25519 ? undefined : hash, Buffer.from(input), { key, ...formOf(algorithm) });
}

/** How JOSE writes a signature (RFC 7518 3.4, 3.5). */
function formOf(algorithm: string) {
  if (algorithm.startsWith('ES')) return { dsaEncoding: 'ieee-p1363' as const };
  if (!algorithm.startsWith('PS')) return {};
  return { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}
