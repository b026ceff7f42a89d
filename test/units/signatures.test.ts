/** Signatures of ID tokens: what a key of the provider's verifies, as jose says, and what none does. */
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import {
  CompactSign,
  compactVerify,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  type CryptoKey,
  type JWK,
} from 'jose';
import { describe, expect, test } from 'vitest';
import { createSignatureVerifier } from '../../src/oidc/signatures.ts';
import type { Keys } from '../../src/oidc/signing-keys.ts';

const claims = '{"sub":"alice"}';
const algorithms = ['RS', 'PS', 'ES'].flatMap((family) => ['256', '384', '512'].map((bits) => family + bits));

function isSigned(keys: readonly JWK[], jws: string): boolean {
  return createSignatureVerifier()({ keys } as unknown as Keys, jws);
}

async function joseAccepts(key: JWK, jws: string): Promise<boolean> {
  return compactVerify(jws, createLocalJWKSet({ keys: [key] })).then(
    () => true,
    () => false,
  );
}

async function makeKey(alg: string): Promise<{ readonly jwk: JWK; readonly privateKey: CryptoKey }> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { jwk: { ...(await exportJWK(publicKey)), kid: 'one', alg }, privateKey };
}

function signed(privateKey: CryptoKey, header: { readonly alg: string; readonly kid?: string }): Promise<string> {
  return new CompactSign(Buffer.from(claims)).setProtectedHeader(header).sign(privateKey);
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** With another payload, the signature unchanged. */
function forged(jws: string): string {
  const [header, , signature] = jws.split('.');
  return `${header}.${base64url({ sub: 'mallory' })}.${signature}`;
}

/** As node signs, whatever the header says. */
function madeByHand(header: object, hash: string | null, key: Parameters<typeof sign>[2]): string {
  const input = `${base64url(header)}.${Buffer.from(claims).toString('base64url')}`;
  return `${input}.${sign(hash, Buffer.from(input), key).toString('base64url')}`;
}

describe.each([...algorithms, 'EdDSA', 'Ed25519'])('%s', (alg) => {
  test('is verified by the key that signed, and by no other', async () => {
    const [own, other] = await Promise.all([makeKey(alg), makeKey(alg)]);
    const jws = await signed(own.privateKey, { alg, kid: 'one' });
    expect(isSigned([own.jwk], jws)).toBe(true);
    expect(isSigned([other.jwk], jws)).toBe(false);
    expect(isSigned([other.jwk, { ...own.jwk, kid: 'two' }], jws)).toBe(true);
    expect(isSigned([own.jwk], forged(jws))).toBe(false);
    expect(isSigned([own.jwk], jws.slice(0, jws.lastIndexOf('.') + 1))).toBe(false);
    expect(isSigned([], jws)).toBe(false);
  });

  test('is verified by a key for nothing else, as by jose', async () => {
    const { jwk, privateKey } = await makeKey(alg);
    const { alg: _alg, ...bare } = jwk;
    const jws = await signed(privateKey, { alg, kid: 'one' });
    const variants: JWK[] = [
      jwk,
      bare,
      { ...jwk, use: 'sig' },
      { ...jwk, use: 'enc' },
      { ...jwk, key_ops: ['verify'] },
      { ...jwk, key_ops: ['sign'] },
      { ...jwk, alg: alg === 'RS256' ? 'PS256' : 'RS256' },
      { ...jwk, kty: 'oct' },
      { ...bare, crv: 'P-999' },
    ];
    const answers = variants.map((variant) => isSigned([variant], jws));
    // For RSA, a curve says nothing.
    const isRsa = jwk.kty === 'RSA';
    expect(answers).toEqual([true, true, true, false, true, false, false, false, isRsa]);
    expect(answers).toEqual(await Promise.all(variants.map((variant) => joseAccepts(variant, jws))));
  });
});

test.each(['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'])('%s is verified by a key that names it', async (alg) => {
  const { jwk, privateKey } = await makeKey(alg);
  const { alg: _alg, ...bare } = jwk;
  const jws = await signed(privateKey, { alg });
  expect([isSigned([jwk], jws), isSigned([jwk], forged(jws))]).toEqual([true, false]);
  expect([isSigned([{ ...jwk, alg: 'RS256' }], jws), isSigned([bare as JWK], jws)]).toEqual([false, false]);
});

function rsa(bits: number): { readonly jwk: JWK; readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  const pair = generateKeyPairSync('rsa', { modulusLength: bits });
  return { ...pair, jwk: { ...(pair.publicKey.export({ format: 'jwk' }) as JWK), kid: 'one' } };
}

describe('is not verified:', () => {
  test('a token without a signature, or with one of a shared secret that is the public key', () => {
    const { jwk, publicKey } = rsa(2048);
    const input = `${base64url({ alg: 'HS256', kid: 'one' })}.${base64url({ sub: 'alice' })}`;
    for (const secret of [publicKey.export({ format: 'pem', type: 'spki' }), String(jwk.n)]) {
      const mac = createHmac('sha256', secret).update(input).digest('base64url');
      expect(isSigned([jwk, { kty: 'oct', k: 'AAAA' }], `${input}.${mac}`)).toBe(false);
    }
    for (const alg of ['none', 'None', '', null, 1, ['RS256'], undefined, '__proto__']) {
      expect(isSigned([jwk], `${base64url({ alg })}.${base64url({ sub: 'alice' })}.`)).toBe(false);
      expect(isSigned([jwk], `${base64url({ alg })}.${base64url({ sub: 'alice' })}.AAAA`)).toBe(false);
    }
  });

  test('a signature of a short key', () => {
    const [short, long] = [rsa(1024), rsa(2048)];
    const header = { alg: 'RS256', kid: 'one' };
    expect(isSigned([short.jwk], madeByHand(header, 'sha256', short.privateKey))).toBe(false);
    expect(isSigned([long.jwk], madeByHand(header, 'sha256', long.privateKey))).toBe(true);
  });

  test('a signature made with another algorithm than the header says', () => {
    const { jwk, privateKey } = rsa(2048);
    expect(isSigned([jwk], madeByHand({ alg: 'RS512' }, 'sha256', privateKey))).toBe(false);
    expect(isSigned([jwk], madeByHand({ alg: 'PS256' }, 'sha256', privateKey))).toBe(false);
  });

  test('a signature made on another curve than the algorithm is for', () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jose = { key: ec.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    expect(
      isSigned([ec.publicKey.export({ format: 'jwk' }) as JWK], madeByHand({ alg: 'ES384' }, 'sha384', jose)),
    ).toBe(false);
    const ed = generateKeyPairSync('ed448');
    expect(
      isSigned([ed.publicKey.export({ format: 'jwk' }) as JWK], madeByHand({ alg: 'EdDSA' }, null, ed.privateKey)),
    ).toBe(false);
  });

  test('an elliptic signature that is written as in certificates', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = publicKey.export({ format: 'jwk' }) as JWK;
    const jose = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const;
    expect(isSigned([jwk], madeByHand({ alg: 'ES256' }, 'sha256', jose))).toBe(true);
    expect(isSigned([jwk], madeByHand({ alg: 'ES256' }, 'sha256', privateKey))).toBe(false);
  });

  test('a token that demands an extension', () => {
    const { jwk, privateKey } = rsa(2048);
    const header = { alg: 'RS256', crit: ['b64'], b64: true };
    expect(isSigned([jwk], madeByHand(header, 'sha256', privateKey))).toBe(false);
  });

  test.each(['', '.', '..', 'a.b', 'a.b.c.d', 'e30.e30.e30', 'bnVsbA.e30.AA', 'W10.e30.AA', 'e30=.e30.AA'])(
    'what is no signed token: %j',
    (jws) => {
      expect(isSigned([rsa(2048).jwk], jws)).toBe(false);
    },
  );
});

test('keys that cannot be read stand in nobody’s way', async () => {
  const { jwk, privateKey } = await makeKey('RS256');
  const jws = await signed(privateKey, { alg: 'RS256', kid: 'one' });
  const broken: JWK[] = [{ kty: 'RSA', kid: 'one' }, { kty: 'RSA', kid: 'one', n: 'x', e: '' }, { kty: 'EC' }, {}];
  expect(isSigned([...broken, jwk], jws)).toBe(true);
  expect(isSigned(broken, jws)).toBe(false);
  expect(isSigned([...Array.from({ length: 20 }, () => ({ ...jwk, n: 'AQAB' })), jwk], jws)).toBe(false);
});
