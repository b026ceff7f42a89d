/** Keys of sessions and the proofs that they sign, against another implementation of JOSE: for every key, not for most. */
import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import { expect, test } from 'vitest';
import { accessTokenHash, asksForNonce, nonceOf, proverOf } from '../../src/oidc/dpop.ts';
import type { DpopKey } from '../../src/token-set.ts';
import { proofIn } from '../support/proofs.ts';

function keyOf(algorithm: DpopKey['algorithm'], seed = randomBytes(16)): DpopKey {
  return { algorithm, seed: seed.toString('base64url') };
}

const target = { method: 'GET', url: 'http://api.test/ä?"\\', nonce: 'n', tokenHash: accessTokenHash('token') };

// In one of 128 signatures a number of ECDSA is shorter than others, and in every second one it is longer.
test.each(['ES256', 'EdDSA'] as const)('each proof by %s verifies, and says what it is for', async (algorithm) => {
  const prover = proverOf(keyOf(algorithm));
  const { jwk, alg } = proofIn({ dpop: prover.prove(target) });
  if (jwk === undefined) throw new Error('a proof names its key');
  const publicKey = await importJWK(jwk, algorithm);
  expect([alg, await calculateJwkThumbprint(jwk)]).toEqual([algorithm, prover.thumbprint]);
  for (let count = 0; count < 500; count += 1) {
    const { payload, protectedHeader } = await compactVerify(prover.prove(target), publicKey);
    expect(protectedHeader).toEqual({ typ: 'dpop+jwt', alg: algorithm, jwk });
    expect(JSON.parse(new TextDecoder().decode(payload))).toMatchObject({
      htm: 'GET',
      htu: target.url,
      nonce: 'n',
      ath: target.tokenHash,
    });
  }
});

test('a seed makes one key for each algorithm, the same in every process and every version', () => {
  const seed = Buffer.alloc(16, 7);
  expect(proverOf(keyOf('ES256', seed)).thumbprint).toBe('w7OvnX_bEFgEbYEN6nESz9Gx71x93YJYtgnuiD0kx0E');
  expect(proverOf(keyOf('EdDSA', seed)).thumbprint).toBe('Lt7qE3bOy-o1htmiiDZGFiXiqyOeYLCAQZejHcnziLI');
});

test('a key is imported once for all that is signed with it', () => {
  const key = keyOf('ES256');
  expect(proverOf(key)).toBe(proverOf(key));
});

test.each([
  'DPoP error="use_dpop_nonce"',
  'DPoP algs="ES256", error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"',
  'Bearer realm="x", DPoP error=use_dpop_nonce',
  'dpop ERROR = "use_dpop_nonce"',
])('%s asks for a nonce', (challenge) => {
  expect(asksForNonce(challenge)).toBe(true);
});

test.each([
  '',
  'DPoP',
  'DPoP error="invalid_token"',
  'Bearer error="use_dpop_nonce"',
  'DPoP error="no_use_dpop_nonce"',
])('%s does not', (challenge) => {
  expect(asksForNonce(challenge)).toBe(false);
});

test.each(['dpop ', 'dpop error = ', 'dpop error'])('a challenge of many %j costs no time', (word) => {
  const before = process.cpuUsage();
  expect(asksForNonce(word.repeat(100_000 / word.length))).toBe(false);
  expect(process.cpuUsage(before).user).toBeLessThan(500_000);
});

test.each<[header: unknown, nonce: string | undefined]>([
  ['eyJ7S_zG.eyJH0-Z.HX4w-7v', 'eyJ7S_zG.eyJH0-Z.HX4w-7v'],
  ['n'.repeat(1024), 'n'.repeat(1024)],
  ['n'.repeat(1025), undefined],
  ['', undefined],
  ['a b', undefined],
  ['a"b', undefined],
  ['a\\b', undefined],
  ['a\r\nx: y', undefined],
  ['é', undefined],
  [['a', 'b'], undefined],
  [undefined, undefined],
])('of the header %j the nonce is %j', (header, nonce) => {
  expect(nonceOf(header)).toBe(nonce);
});
