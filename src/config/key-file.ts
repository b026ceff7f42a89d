/**
 * A file with private keys: PEM (RFC 7468), a JWK or a JWK Set (RFC 7517). The first key signs, and of all of them the
 * public part is published, so that one key can follow another. What is wrong with a file is told without a part of it.
 */
import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

/** A key that signs in the name of the client. */
export interface ClientKey {
  /** As the file names it, or else the key's thumbprint (RFC 7638). */
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** With which algorithms it can sign (RFC 7518 3.1, RFC 8037, RFC 9864), the one to be preferred first. */
  readonly algorithms: readonly [string, ...string[]];
  /** What may be published: no private member. */
  readonly publicJwk: PublicJwk;
}

export type PublicJwk = JsonWebKey & { readonly kid: string };

/** What is wrong with a file of credentials, with the remedy. Holds nothing of its content. */
export class UnusableFile extends Error {
  override readonly name = 'UnusableFile';
}

/** All algorithms with which some key can sign. */
export const keyAlgorithms = [
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
  'RS256',
  'RS384',
  'RS512',
] as const;

const algorithmsOfRsa = ['PS256', 'RS256', 'PS384', 'PS512', 'RS384', 'RS512'] as const;
/** EdDSA is the older name, which more providers know. */
const algorithmsOfEd25519 = ['EdDSA', 'Ed25519'] as const;
const algorithmsOfCurves: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

const minimumRsaBits = 2048;

/**
 * @returns the keys for signatures, in the file's order
 * @throws {UnusableFile}
 */
export function parseKeyFile(content: string): readonly [ClientKey, ...ClientKey[]] {
  if (content.trim() === '') throw new UnusableFile('is empty; write the private key into it, as PEM or as a JWK');
  const [first, ...others] = content.includes('-----BEGIN ') ? keysOfPem(content) : keysOfJwks(content);
  if (first === undefined) throw new UnusableFile('holds no private key for signatures');
  const keys = [first, ...others] as const;
  const twin = keys.find(({ kid }, index) => keys.findIndex((key) => key.kid === kid) !== index);
  if (twin !== undefined) throw new UnusableFile('holds two keys with one kid; give each its own');
  return keys;
}

function keysOfPem(content: string): ClientKey[] {
  if (/-----BEGIN ENCRYPTED |^Proc-Type: .*ENCRYPTED/m.test(content)) {
    throw new UnusableFile('holds an encrypted key; decrypt it (`openssl pkey`), and keep the file in a secret store');
  }
  const blocks = content.match(/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[^]*?-----END (?:[A-Z]+ )?PRIVATE KEY-----/g);
  if (blocks === null) throw new UnusableFile('holds no private key in PEM form');
  return blocks.map((block) => clientKey(privateKeyOf(block), {}));
}

function keysOfJwks(content: string): ClientKey[] {
  const document = jsonOf(content);
  const keys = document instanceof Object && 'keys' in document ? document.keys : [document];
  if (!Array.isArray(keys)) throw new UnusableFile('is no JWK Set: its "keys" is no list');
  return keys.filter(isJwk).flatMap((jwk) => (jwk['use'] === 'enc' ? [] : [keyOfJwk(jwk)]));
}

function jsonOf(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    // Its message quotes what could not be read.
    throw new UnusableFile('is neither PEM nor JSON; write the private key into it, as PEM or as a JWK');
  }
}

type Jwk = Readonly<Record<string, unknown>>;

function isJwk(value: unknown): value is Jwk {
  return value instanceof Object && !Array.isArray(value);
}

function keyOfJwk(jwk: Jwk): ClientKey {
  const { kid, alg } = jwk;
  if (jwk['kty'] === 'oct') throw new UnusableFile('holds a symmetric key; a private key is needed');
  if (typeof jwk['d'] !== 'string') throw new UnusableFile('holds a public key; the private key is needed');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) throw new UnusableFile('has a kid that is no text');
  return clientKey(privateKeyOf({ key: jwk as JsonWebKey, format: 'jwk' }), { kid, alg });
}

function privateKeyOf(key: Parameters<typeof createPrivateKey>[0]): KeyObject {
  try {
    return createPrivateKey(key);
  } catch {
    throw new UnusableFile('holds a private key that cannot be read; make it anew (docs/client-security.md)');
  }
}

/** @param named what the file says of the key */
function clientKey(
  privateKey: KeyObject,
  named: { readonly kid?: string | undefined; readonly alg?: unknown },
): ClientKey {
  const possible = algorithmsOf(privateKey);
  const { alg } = named;
  if (alg !== undefined && !possible.some((algorithm) => algorithm === alg)) {
    throw new UnusableFile(`has an alg that its key cannot do; it can do ${possible.join(', ')}`);
  }
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  const kid = named.kid ?? thumbprintOf(jwk);
  const [preferred] = possible;
  const algorithm = typeof alg === 'string' ? alg : undefined;
  // An RSA key without one may sign with several.
  const published = algorithm ?? (privateKey.asymmetricKeyType === 'rsa' ? undefined : preferred);
  return {
    kid,
    privateKey,
    algorithms: algorithm === undefined ? possible : [algorithm],
    publicJwk: { ...jwk, kid, use: 'sig', ...(published === undefined ? {} : { alg: published }) },
  };
}

function algorithmsOf({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): readonly [string, ...string[]] {
  if (asymmetricKeyType === 'ed25519') return algorithmsOfEd25519;
  if (asymmetricKeyType === 'rsa') {
    const { modulusLength = 0 } = asymmetricKeyDetails;
    if (modulusLength >= minimumRsaBits) return algorithmsOfRsa;
    throw new UnusableFile(`holds an RSA key of ${modulusLength} bits; it must have ${minimumRsaBits} or more`);
  }
  const algorithm = algorithmsOfCurves[asymmetricKeyDetails.namedCurve ?? ''];
  if (algorithm !== undefined) return [algorithm];
  throw new UnusableFile('holds a key of another kind than RSA, EC (P-256, P-384, P-521) or Ed25519');
}

/** The members that count, in their order (RFC 7638 3.2, RFC 8037 2). */
const thumbprintMembers = ['crv', 'e', 'kty', 'n', 'x', 'y'] as const;

/** A key's thumbprint (RFC 7638), base64url of SHA-256. */
export function thumbprintOf(jwk: JsonWebKey): string {
  const members = thumbprintMembers.flatMap((name) => (jwk[name] === undefined ? [] : [[name, jwk[name]]]));
  return createHash('sha256')
    .update(JSON.stringify(Object.fromEntries(members)))
    .digest('base64url');
}
