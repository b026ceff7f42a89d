/**
 * The provider's signing keys, and the ways in which an ID token can be forged. RSA keys are slow to make, so the
 * providers of one test file share a small ring; `rotateKeys()` moves a provider on to the next key of the ring.
 */
import { createPublicKey } from 'node:crypto';
import {
  CompactSign,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
} from 'jose';

export interface SigningKey {
  readonly kid: string;
  /** The private key, as the provider takes it. */
  readonly jwk: JWK;
}

export type JwtHeader = Record<string, unknown>;

/**
 * How a changed ID token is signed: by the provider's key (`own`), by a key it never published (`foreign`, under the
 * own key's id), not at all (`none`), with the public key as an HMAC secret (`public-key-as-secret`), or by the own
 * key with the signature spoilt (`broken`).
 */
export type Signing = 'own' | 'foreign' | 'none' | 'public-key-as-secret' | 'broken';

export interface IdTokenChange {
  claims?: JWTPayload;
  header?: JwtHeader;
  sign?: Signing;
}

export type IdTokenMutation = (claims: JWTPayload, header: JwtHeader) => IdTokenChange;

const signers: Readonly<Record<Signing, typeof signJwt>> = {
  own: signJwt,
  foreign: async (claims, header, key) => signJwt(claims, header, await makeKey(key.kid)),
  none: async (claims, header) => `${encodeJson({ ...header, alg: 'none' })}.${encodeJson(claims)}.`,
  'public-key-as-secret': signWithPublicKey,
  broken: async (claims, header, key) => spoil(await signJwt(claims, header, key)),
};

const keyRing: Promise<SigningKey>[] = [];

/** The key with the number `index` of this test file's ring. */
export function signingKey(index: number): Promise<SigningKey> {
  const existing = keyRing[index];
  if (existing) return existing;
  const made = makeKey(`key-${index}`);
  keyRing[index] = made;
  return made;
}

/** Applies the mutation to an ID token and signs it again. */
export async function mutateIdToken(idToken: string, mutate: IdTokenMutation, key: SigningKey): Promise<string> {
  const before = { claims: decodeJwt(idToken), header: decodeProtectedHeader(idToken) as JwtHeader };
  const change = mutate(structuredClone(before.claims), structuredClone(before.header));
  const claims = change.claims ?? before.claims;
  const header = change.header ?? before.header;
  return signAs(change.sign ?? 'own', claims, header, key);
}

/** Signs a JWT, or forges one. */
export function signAs(signing: Signing, claims: JWTPayload, header: JwtHeader, key: SigningKey): Promise<string> {
  return signers[signing](claims, header, key);
}

/** Signs claims as the provider would. */
async function signJwt(claims: JWTPayload, header: JwtHeader, key: SigningKey): Promise<string> {
  const payload = Buffer.from(JSON.stringify(claims));
  const crit = Object.fromEntries(Array.isArray(header['crit']) ? header['crit'].map((name) => [name, true]) : []);
  const alg = header['alg'] === 'PS256' ? 'PS256' : 'RS256';
  return new CompactSign(payload).setProtectedHeader({ ...header, alg }).sign({ ...key.jwk, alg }, { crit });
}

async function makeKey(kid: string): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { kid, jwk: { ...(await exportJWK(privateKey)), kid, alg: 'RS256', use: 'sig' } };
}

function signWithPublicKey(claims: JWTPayload, header: JwtHeader, key: SigningKey): Promise<string> {
  const publicKey = createPublicKey({ key: key.jwk as Record<string, unknown>, format: 'jwk' });
  const secret = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }));
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ ...header, alg: 'HS256' })
    .sign(secret);
}

/** Flips a character in the middle of the signature (the last one carries bits that don't count). */
function spoil(jwt: string): string {
  const at = jwt.length - 20;
  return `${jwt.slice(0, at)}${jwt[at] === 'A' ? 'B' : 'A'}${jwt.slice(at + 1)}`;
}

function encodeJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
