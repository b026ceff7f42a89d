/**
 * Proofs of possession (DPoP, RFC 9449): the key of a session, made from a few bytes that are sealed with it, and the
 * proofs that it signs for the provider and for APIs. Hides how keys are derived and JWTs put together: by hand and
 * synchronously, because a call to an API waits for one (26 us of CPU with P-256; WebCrypto takes three times as long).
 */
import { createPrivateKey, createPublicKey, hash, hkdfSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import type { Claims, DpopKey } from '../token-set.ts';

/** What a proof is for (RFC 9449 4.2). */
export interface ProofTarget {
  readonly method: string;
  /** The address without query and fragment, as the server sees it. */
  readonly url: string;
  /** The server's newest nonce; undefined where it gave none. */
  readonly nonce: string | undefined;
  /** {@link accessTokenHash} of the token beside the proof; undefined where there is none. */
  readonly tokenHash?: string | undefined;
}

export interface Prover {
  /** The value of a `DPoP` header, for one request. */
  prove(target: ProofTarget): string;
  /** The key's thumbprint (RFC 7638), by which authorization requests name it (`dpop_jkt`, RFC 9449 10). */
  readonly thumbprint: string;
}

/** Deriving and importing a key takes 100 us. The object of a key lives as long as its session does in memory. */
const provers = new WeakMap<DpopKey, Prover>();

/** The one that signs with a session's key. */
export function proverOf(key: DpopKey): Prover {
  const known = provers.get(key);
  if (known !== undefined) return known;
  const prover = createProver(key);
  provers.set(key, prover);
  return prover;
}

/** `ath` (RFC 9449 4.2): binds a proof to the token beside it. */
export function accessTokenHash(accessToken: string): string {
  return hash('sha256', accessToken, 'base64url');
}

/** What is text in a nonce (RFC 9449 8.1); the length is a limit of ours, because each call carries it back. */
const usableNonce = /^[\x21\x23-\x5b\x5d-\x7e]{1,1024}$/;

/** A nonce of a `DPoP-Nonce` header; undefined for one that is no nonce, or that stands more than once. */
export function nonceOf(header: unknown): string | undefined {
  return typeof header === 'string' && usableNonce.test(header) ? header : undefined;
}

/** Whether a challenge asks for a proof with the nonce beside it (RFC 9449 9). */
export function asksForNonce(challenge: string): boolean {
  // Not in one expression, which would search the rest anew for each `dpop`: half a second in 32 kB of them.
  const scheme = challenge.search(/\bdpop\b/i);
  return scheme !== -1 && /\berror\s*=\s*"?use_dpop_nonce\b/i.test(challenge.slice(scheme));
}

/** Whether what is known of a token says that it is bound to this key (`cnf`, RFC 9449 6). */
export function isBoundTo({ cnf }: Claims, key: DpopKey | undefined): boolean {
  return key !== undefined && cnf instanceof Object && 'jkt' in cnf && cnf.jkt === proverOf(key).thumbprint;
}

function createProver(key: DpopKey): Prover {
  const privateKey = privateKeyOf(key);
  const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
  // The members of a thumbprint are in this order and no others (RFC 7638 3.2).
  const publicKey = key.algorithm === 'ES256' ? { crv, kty, x, y } : { crv, kty, x };
  const header = encoded(JSON.stringify({ typ: 'dpop+jwt', alg: key.algorithm, jwk: publicKey }));
  return {
    thumbprint: hash('sha256', JSON.stringify(publicKey), 'base64url'),
    prove({ method, url, nonce, tokenHash }) {
      const claims = { jti: randomUUID(), htm: method, htu: url, iat: nowSeconds(), ath: tokenHash, nonce };
      const signed = `${header}.${encoded(JSON.stringify(claims))}`;
      return `${signed}.${signature(key.algorithm, privateKey, signed)}`;
    },
  };
}

function encoded(text: string): string {
  return Buffer.from(text).toString('base64url');
}

/** Of the two algorithms (RFC 7518 3.4, RFC 8037 3.1). */
function signature(algorithm: DpopKey['algorithm'], privateKey: KeyObject, text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  if (algorithm === 'EdDSA') return sign(null, bytes, privateKey).toString('base64url');
  // Not with Node's `ieee-p1363`, which takes 52 us where this takes 27.
  return concatenated(sign('sha256', bytes, privateKey)).toString('base64url');
}

const coordinateBytes = 32;

/** An ECDSA signature in ASN.1, which is two signed integers, as two unsigned ones of fixed length (RFC 7518 3.4). */
function concatenated(der: Buffer): Buffer {
  const result = Buffer.alloc(2 * coordinateBytes);
  let at = 2;
  for (let index = 1; index <= 2; index++) {
    const start = at + 2;
    const end = start + der.readUInt8(at + 1);
    // Without the zero that keeps a number positive; a shorter number stands at the end of its place.
    const number = der.subarray(Math.max(start, end - coordinateBytes), end);
    number.copy(result, index * coordinateBytes - number.length);
    at = end;
  }
  return result;
}

/** The order of P-256 (SP 800-186 3.2.1.3): private keys are below it. */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** What stands before the 32 bytes of a private key in PKCS #8 (RFC 5958; RFC 5480, RFC 8410). */
const envelopes = {
  ES256: Buffer.from('3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420', 'hex'),
  EdDSA: Buffer.from('302e020100300506032b657004220420', 'hex'),
};

function privateKeyOf({ algorithm, seed }: DpopKey): KeyObject {
  const secret = algorithm === 'ES256' ? scalarOf(seed) : expanded(seed, 'EdDSA', 32);
  return createPrivateKey({ key: Buffer.concat([envelopes[algorithm], secret]), format: 'der', type: 'pkcs8' });
}

/** With 64 bits more than the order has, so that no private key is likelier than another (FIPS 186-5 A.2.1). */
function scalarOf(seed: string): Buffer {
  const number = BigInt(`0x${expanded(seed, 'ES256', 40).toString('hex')}`);
  return Buffer.from(((number % (order - 1n)) + 1n).toString(16).padStart(64, '0'), 'hex');
}

/** By HKDF (RFC 5869). */
function expanded(seed: string, algorithm: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', Buffer.from(seed, 'base64url'), '', `dpop ${algorithm}`, bytes));
}
