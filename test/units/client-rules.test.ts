/** What each way of authentication needs and must not have: refused at the start, with the remedy. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigError, resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/sources.ts';
import { makePrivateKey, pemOf } from '../support/client-keys.ts';
import { fakeDate } from '../support/clock.ts';
import { createCertificate } from '../support/tls.ts';

type Client = Partial<ConfigInput['client']>;

let folder: string;
const at = (name: string) => join(folder, name);
const secret = 'a client secret of 32 characters';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-client-'));
  const certificate = await createCertificate(['client.example.test']);
  const files: Record<string, string> = {
    'rsa.pem': pemOf(makePrivateKey('RSA')),
    'tls.crt': certificate.cert,
    'tls.key': certificate.key,
    'torn.crt': certificate.cert.replace('MII', '!!!'),
    empty: '',
  };
  for (const [name, content] of Object.entries(files)) await writeFile(at(name), content);
});

afterAll(() => rm(folder, { recursive: true }));

function faultsOf(client: Client, issuer = 'https://login.example.com'): string[] {
  try {
    resolveConfig({
      origin: 'https://app.example.com',
      issuer,
      client: { id: 'app', ...client },
      secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map(({ path, reason }) => `${path}: ${reason}`);
  }
  return [];
}

const pair = () => ({ certFile: at('tls.crt'), tlsKeyFile: at('tls.key') });

test.each<[story: string, client: () => Client]>([
  ['a secret', () => ({ secret })],
  ['a secret that signs', () => ({ authMethod: 'client_secret_jwt', secret, signingAlgorithm: 'HS384' })],
  ['a key', () => ({ authMethod: 'private_key_jwt', keyFile: at('rsa.pem'), signingAlgorithm: 'RS512' })],
  ['a certificate', () => ({ authMethod: 'tls_client_auth', ...pair() })],
  ['one key for both', () => ({ authMethod: 'self_signed_tls_client_auth', ...pair(), keyFile: at('tls.key') })],
  ['key and certificate', () => ({ authMethod: 'private_key_jwt', keyFile: at('rsa.pem'), ...pair() })],
  ["a token's file that is not there yet", () => ({ authMethod: 'federated_token', tokenFile: at('nothing') })],
  ['a secret, and a key for signed requests', () => ({ secret, keyFile: at('rsa.pem') })],
])('%s is enough', (_story, client) => {
  expect(faultsOf(client())).toEqual([]);
});

test.each<[story: string, client: () => Client, fault: RegExp]>([
  ['no secret', () => ({}), /^client\.secret: is missing: set SALLYPORT_CLIENT_SECRET/],
  ['no key', () => ({ authMethod: 'private_key_jwt' }), /^client\.keyFile: is missing, and private_key_jwt needs it/],
  ['no certificate', () => ({ authMethod: 'tls_client_auth' }), /^client\.certFile: is missing, .*_CLIENT_CERT_FILE/],
  [
    'no key for its certificate',
    () => ({ authMethod: 'tls_client_auth', certFile: at('tls.crt') }),
    /^client\.tlsKeyFile: is missing, and certFile needs it/,
  ],
  ['no token', () => ({ authMethod: 'federated_token' }), /^client\.tokenFile: is missing, .*_CLIENT_TOKEN_FILE/],
  [
    'a secret that nobody needs',
    () => ({ authMethod: 'private_key_jwt', keyFile: at('rsa.pem'), secret }),
    /^client\.secret: is not used with private_key_jwt; remove it/,
  ],
  ['a token that nobody needs', () => ({ secret, tokenFile: at('empty') }), /^client\.tokenFile: is not used with/],
  [
    'a TLS key alone',
    () => ({ secret, tlsKeyFile: at('tls.key') }),
    /^client\.tlsKeyFile: is the key of a certificate/,
  ],
  [
    'a key that is not there',
    () => ({ authMethod: 'private_key_jwt', keyFile: at('nothing') }),
    /^client\.keyFile: the file ".*nothing" cannot be read \(ENOENT\)/,
  ],
  ['an empty key', () => ({ authMethod: 'private_key_jwt', keyFile: at('empty') }), /^client\.keyFile: .* is empty/],
  [
    'a torn certificate',
    () => ({ authMethod: 'tls_client_auth', ...pair(), certFile: at('torn.crt') }),
    /^client\.certFile: the file ".*torn.crt" holds a certificate that cannot be read/,
  ],
  [
    'a key in place of the certificate',
    () => ({ authMethod: 'tls_client_auth', ...pair(), certFile: at('tls.key') }),
    /^client\.certFile: .* holds no certificate in PEM form/,
  ],
  [
    'a certificate in place of its key',
    () => ({ authMethod: 'tls_client_auth', ...pair(), tlsKeyFile: at('tls.crt') }),
    /^client\.tlsKeyFile: .* holds no private key in PEM form/,
  ],
  [
    "another key than the certificate's",
    () => ({ authMethod: 'tls_client_auth', ...pair(), tlsKeyFile: at('rsa.pem') }),
    /^client\.certFile: .* is for another key/,
  ],
  [
    'an algorithm that the key cannot do',
    () => ({ authMethod: 'private_key_jwt', keyFile: at('rsa.pem'), signingAlgorithm: 'ES256' }),
    /^client\.signingAlgorithm: is not for the first key of keyFile, which can do PS256, RS256/,
  ],
  [
    'an algorithm without a key',
    () => ({ secret, signingAlgorithm: 'ES256' }),
    /^client\.signingAlgorithm: has no key/,
  ],
  [
    'a public algorithm for a secret',
    () => ({ authMethod: 'client_secret_jwt', secret, signingAlgorithm: 'ES256' }),
    /^client\.signingAlgorithm: must be HS256, HS384 or HS512/,
  ],
  [
    'a secret that can be guessed from an assertion',
    () => ({ authMethod: 'client_secret_jwt', secret: secret.slice(1) }),
    /^client\.secret: is too short for client_secret_jwt: at least 32 bytes/,
  ],
])('%s is refused', (_story, client, fault) => {
  expect(faultsOf(client())).toEqual([expect.stringMatching(fault)]);
});

test('a certificate is refused where the provider is not reached over TLS', () => {
  const client: Client = { authMethod: 'tls_client_auth', ...pair() };
  expect(faultsOf(client, 'http://localhost:9000')).toEqual([
    expect.stringMatching(/^client\.certFile: is for an https: issuer/),
  ]);
});

test('a token that is still to come, and a certificate that has expired, are warned of', async () => {
  const common = {
    SALLYPORT_ORIGIN: 'https://app.example.com',
    SALLYPORT_ISSUER: 'https://login.example.com',
    SALLYPORT_CLIENT_ID: 'app',
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
  };
  const federated = { SALLYPORT_CLIENT_AUTH_METHOD: 'federated_token', SALLYPORT_CLIENT_TOKEN_FILE: at('empty') };
  expect((await loadConfig(undefined, { ...common, ...federated })).warnings).toEqual([
    expect.stringMatching(/empty" \(client\.tokenFile\) is empty; .* nobody can sign in/),
  ]);
  const certified = {
    SALLYPORT_CLIENT_AUTH_METHOD: 'tls_client_auth',
    SALLYPORT_CLIENT_CERT_FILE: at('tls.crt'),
    SALLYPORT_CLIENT_TLS_KEY_FILE: at('tls.key'),
  };
  expect((await loadConfig(undefined, { ...common, ...certified })).warnings).toEqual([]);
  fakeDate(new Date(Date.now() + 30 * 86_400_000));
  expect((await loadConfig(undefined, { ...common, ...certified })).warnings).toEqual([
    expect.stringMatching(/tls.crt" \(client\.certFile\) has expired: .* Renew it/),
  ]);
});

test('each key has its variable', async () => {
  const { config } = await loadConfig(undefined, {
    SALLYPORT_ORIGIN: 'https://app.example.com',
    SALLYPORT_ISSUER: 'https://login.example.com',
    SALLYPORT_CLIENT_ID: 'app',
    SALLYPORT_CLIENT_AUTH_METHOD: 'private_key_jwt',
    SALLYPORT_CLIENT_KEY_FILE: at('rsa.pem'),
    SALLYPORT_CLIENT_SIGNING_ALGORITHM: 'PS512',
    SALLYPORT_CLIENT_CERT_FILE: at('tls.crt'),
    SALLYPORT_CLIENT_TLS_KEY_FILE: at('tls.key'),
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
  });
  expect(config.client).toMatchObject({
    authMethod: 'private_key_jwt',
    keyFile: at('rsa.pem'),
    signingAlgorithm: 'PS512',
    ...pair(),
  });
});
