/**
 * Whether a JWS (RFC 7515 5.2) was signed with a key of the provider's: the algorithms of RFC 7518 3.3 to 3.5, Ed25519
 * (RFC 8037) and ML-DSA. Never one with a shared secret, and none that the key is not for (RFC 7517 4).
 *
 * With `node:crypto`, because WebCrypto, which openid-client uses, imports the keys for each configuration and waits for
 * another thread: 200 us of CPU for an ID token, where this takes 30.
 */
import { constants, createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto';
import { maximumKeysTried, type Keys } from './signing-keys.ts';

type Jwk = Keys['keys'][number];

interface Algorithm {
  /** The type of its keys, and their curve. */
  readonly kty: string;
  readonly crv?: string;
  readonly hash?: string;
  readonly parameters?: object;
}

/** Shorter keys can be broken (RFC 7518 3.3). */
const minimumRsaBits = 2048;

const ed25519 = { kty: 'OKP', crv: 'Ed25519' };
const mlDsa = { kty: 'AKP' };

const algorithms = new Map<unknown, Algorithm>([
  ...[256, 384, 512].flatMap((bits): Array<[string, Algorithm]> => {
    const hash = `sha${bits}`;
    const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
    return [
      [`RS${bits}`, { kty: 'RSA', hash, parameters: { padding: constants.RSA_PKCS1_PADDING } }],
      [`PS${bits}`, { kty: 'RSA', hash, parameters: pss }],
      [
        `ES${bits}`,
        { kty: 'EC', crv: `P-${bits === 512 ? 521 : bits}`, hash, parameters: { dsaEncoding: 'ieee-p1363' } },
      ],
    ];
  }),
  ['EdDSA', ed25519],
  ['Ed25519', ed25519],
  ['ML-DSA-44', mlDsa],
  ['ML-DSA-65', mlDsa],
  ['ML-DSA-87', mlDsa],
]);

export type SignatureVerifier = ReturnType<typeof createSignatureVerifier>;

export function createSignatureVerifier() {
  /** Undefined for a key that cannot be read. */
  const imported = new WeakMap<Jwk, KeyObject | undefined>();

  function keyOf(jwk: Jwk): KeyObject | undefined {
    if (!imported.has(jwk)) imported.set(jwk, importKey(jwk));
    return imported.get(jwk);
  }

  /**
   * Whether one of the keys verifies the signature. The `kid` of a token is a hint (RFC 7515 4.1.4) that says which to try
   * first: some providers write an old one over a new key's signature, for as long as a session lasts.
   */
  return function isSignedWith({ keys }: Keys, jws: string): boolean {
    const { input, header, signature } = partsOf(jws);
    const algorithm = algorithms.get(header['alg']);
    if (algorithm === undefined || header['crit'] !== undefined) return false;
    const named = keys.filter(({ kid }) => kid === header['kid']);
    const others = keys.filter(({ kid }) => kid !== header['kid']);
    return [...named, ...others].slice(0, maximumKeysTried).some((jwk) => {
      const key = isFor(jwk, header['alg'], algorithm) ? keyOf(jwk) : undefined;
      return key !== undefined && verify(algorithm.hash, input, { key, ...algorithm.parameters }, signature);
    });
  };
}

interface Parts {
  readonly input: Buffer;
  readonly header: Readonly<Record<string, unknown>>;
  readonly signature: Buffer;
}

/** The compact form (RFC 7515 7.1); without a header for whatever is none. */
function partsOf(jws: string): Parts {
  const [, input = '', encodedHeader = '', signature = ''] = /^(([\w-]+)\.[\w-]+)\.([\w-]+)$/.exec(jws) ?? [];
  return {
    input: Buffer.from(input, 'latin1'),
    header: headerOf(encodedHeader),
    signature: Buffer.from(signature, 'base64url'),
  };
}

function headerOf(encoded: string): Parts['header'] {
  try {
    const header: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString());
    return header instanceof Object ? Object.fromEntries(Object.entries(header)) : {};
  } catch {
    return {};
  }
}

/** What a key says that it is for. A key for one algorithm must not verify another's signatures. */
function isFor(jwk: Jwk, alg: unknown, { kty, crv }: Algorithm): boolean {
  const isOfType = jwk.kty === kty && (crv === undefined || jwk.crv === crv);
  const isOfAlgorithm = jwk.alg === undefined || jwk.alg === alg;
  const { use, key_ops: operations } = jwk;
  return isOfType && isOfAlgorithm && (use === undefined || use === 'sig') && operationsAllow(operations);
}

function operationsAllow(operations: unknown): boolean {
  return operations === undefined || (Array.isArray(operations) && operations.includes('verify'));
}

/** A set may hold keys that nobody here can read, beside others. */
function importKey(jwk: Jwk): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
    const { modulusLength = minimumRsaBits } = key.asymmetricKeyDetails ?? {};
    return modulusLength < minimumRsaBits ? undefined : key;
  } catch {
    return undefined;
  }
}
