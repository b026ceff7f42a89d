/** Files with private keys: what can be read of them, what is published, and that nothing of them is in a message. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { expect, test } from 'vitest';
import { parseKeyFile, UnusableFile } from '../../src/config/key-file.ts';
import { jwkOf, makePrivateKey, pemOf } from '../support/client-keys.ts';

const [rsa, p256, p521, ed25519] = [
  makePrivateKey('RSA'),
  makePrivateKey('P-256'),
  makePrivateKey('P-521'),
  makePrivateKey('Ed25519'),
];

function messageOf(content: string): string {
  try {
    parseKeyFile(content);
  } catch (error) {
    if (error instanceof UnusableFile) return error.message;
    throw error;
  }
  throw new Error('it can be read');
}

test('PEM of several keys, with words around them, in their order and by their thumbprints', async () => {
  const keys = parseKeyFile(`the first signs\n${pemOf(p256)}\n# the old one\n${pemOf(rsa)}`);
  const thumbprints = [p256, rsa].map((key) =>
    calculateJwkThumbprint(createPublicKey(key).export({ format: 'jwk' }) as Record<string, unknown>),
  );
  expect(keys.map(({ kid }) => kid)).toEqual(await Promise.all(thumbprints));
  expect(keys.map(({ algorithms }) => algorithms[0])).toEqual(['ES256', 'PS256']);
});

test.each([
  ['PKCS#1', rsa.export({ type: 'pkcs1', format: 'pem' }).toString()],
  ['SEC1', p256.export({ type: 'sec1', format: 'pem' }).toString()],
  ['one JWK', JSON.stringify(jwkOf(p521))],
  ['a set', JSON.stringify({ keys: [jwkOf(ed25519)] })],
])('%s is read', (_form, content) => {
  expect(parseKeyFile(content)).toHaveLength(1);
});

test('a JWK says by which id and with which algorithm', () => {
  const [key] = parseKeyFile(JSON.stringify(jwkOf(rsa, { kid: 'mine', alg: 'RS512', ext: true })));
  expect([key.kid, key.algorithms]).toEqual(['mine', ['RS512']]);
  expect(Object.keys(key.publicJwk).toSorted()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
});

test.each<[story: string, content: string, message: RegExp]>([
  ['nothing', ' \n', /is empty/],
  ['half of a key', pemOf(p256).slice(0, -30), /no private key in PEM form/],
  ['a certificate', '-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----', /no private key in PEM form/],
  ['nonsense as PEM', '-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----', /cannot be read/],
  [
    'an encrypted key',
    p256.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'canary' }).toString(),
    /encrypted key; decrypt it/,
  ],
  ['neither', 'canary', /neither PEM nor JSON/],
  ['no object', '"canary"', /no private key for signatures/],
  ['an empty set', '{"keys":[]}', /no private key for signatures/],
  ['a set that is none', '{"keys":"canary"}', /its "keys" is no list/],
  ['a secret', JSON.stringify({ kty: 'oct', k: 'canary' }), /symmetric key/],
  ['a public key', JSON.stringify({ ...jwkOf(p256), d: undefined, kid: 'canary' }), /public key; the private/],
  ['a torn key', JSON.stringify({ ...jwkOf(p256), x: 'canary' }), /cannot be read/],
  ['an id that is none', JSON.stringify(jwkOf(p256, { kid: 5 })), /kid that is no text/],
  ['another algorithm', JSON.stringify(jwkOf(p256, { alg: 'ES512' })), /alg that its key cannot do; it can do ES256/],
  ['keys for other uses', JSON.stringify({ keys: [jwkOf(p256, { use: 'enc' })] }), /no private key for signatures/],
  ['one key twice', pemOf(p256) + pemOf(p256), /two keys with one kid/],
  [
    'a short RSA key',
    pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
    /1024 bits; it must have 2048/,
  ],
  ['a curve of Bitcoin', pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey), /another kind/],
  ['a key for agreement', pemOf(generateKeyPairSync('x25519').privateKey), /another kind/],
])('%s is refused, without a word of it', (_story, content, message) => {
  const said = messageOf(content);
  expect(said).toMatch(message);
  expect(said).not.toMatch(/canary|SyntaxError/);
});
