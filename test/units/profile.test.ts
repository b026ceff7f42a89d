/** The FAPI 2.0 profiles: what one switch turns on, and what it refuses. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ConfigError, resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { makePrivateKey, pemOf, type KeyKind } from '../support/client-keys.ts';
import { makeCertificate } from '../support/tls.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function keyFileOf(kind: KeyKind): string {
  return fileOf(`${kind}.pem`, pemOf(makePrivateKey(kind)));
}

const keyFile = keyFileOf('P-256');

const base: ConfigInput = {
  origin: 'https://app.example.com',
  issuer: 'https://login.example.com',
  profile: 'fapi2',
  client: { id: 'app', keyFile },
  secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
};

function faultsOf(input: unknown): string[] {
  try {
    resolveConfig(input as ConfigInput);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map(({ path, reason }) => `${path}: ${reason}`);
  }
}

describe('turns on', () => {
  test('what the Security Profile demands', () => {
    const { client, login } = resolveConfig(base);
    expect(client).toMatchObject({ authMethod: 'private_key_jwt', dpop: 'ES256', responseMode: 'query' });
    expect(login).toMatchObject({ pushed: 'required', requestObject: false });
  });

  test('what Message Signing demands besides', () => {
    const { client, login } = resolveConfig({ ...base, profile: 'fapi2-message-signing' });
    expect(client).toMatchObject({ authMethod: 'private_key_jwt', dpop: 'ES256', responseMode: 'jwt' });
    expect(login).toMatchObject({ pushed: 'required', requestObject: true });
  });

  test('the certificate in place of key and DPoP, where there is one', async () => {
    const { cert, key } = await makeCertificate();
    const client = { id: 'app', certFile: fileOf('tls.crt', cert), tlsKeyFile: fileOf('tls.key', key) };
    expect(resolveConfig({ ...base, client }).client).toMatchObject({ authMethod: 'tls_client_auth', dpop: 'off' });
    const both = { ...client, keyFile };
    expect(resolveConfig({ ...base, client: both }).client).toMatchObject({
      authMethod: 'private_key_jwt',
      dpop: 'off',
    });
  });

  test('nothing of it without a profile, and nothing over what is set', () => {
    const client = { id: 'app', secret: 'a-secret-of-the-client' };
    const { profile: _profile, ...plain } = base;
    const without = resolveConfig({ ...plain, client });
    expect([without.login.pushed, without.client.dpop, without.client.authMethod]).toEqual([
      'auto',
      'off',
      'client_secret_basic',
    ]);
    const chosen = resolveConfig({
      ...base,
      profile: 'fapi2-message-signing',
      client: { id: 'app', keyFile, dpop: 'EdDSA', responseMode: 'form_post.jwt' },
    });
    expect(chosen.client).toMatchObject({ dpop: 'EdDSA', responseMode: 'form_post.jwt' });
  });
});

describe('refuses', () => {
  test.each<[story: string, change: object, fault: RegExp]>([
    [
      'a secret',
      { client: { id: 'app', secret: 's', authMethod: 'client_secret_basic' } },
      /^client\.authMethod: must be "private/,
    ],
    ['a workload token', { client: { id: 'app', keyFile, authMethod: 'federated_token' } }, /^client\.authMethod: /],
    [
      'bearer tokens',
      { client: { id: 'app', keyFile, dpop: 'off' } },
      /^client\.dpop: must be "ES256" or "EdDSA", unless/,
    ],
    [
      'a push where offered',
      { login: { pushed: 'auto' } },
      /^login\.pushed: must be "required" with the profile "fapi2"/,
    ],
    ['no push', { login: { pushed: 'off' } }, /^login\.pushed: must be "required"/],
    [
      'RS256',
      { client: { id: 'app', keyFile: keyFileOf('RSA'), signingAlgorithm: 'RS256' } },
      /^client\.signingAlgorithm: must be PS256/,
    ],
    [
      'a key for ES384',
      { client: { id: 'app', keyFile: keyFileOf('P-384') } },
      /^client\.keyFile: holds a first key that can do ES384/,
    ],
    ['no key', { client: { id: 'app' } }, /^client\.keyFile: is missing, and private_key_jwt needs it/],
    ['metadata over http', { discoveryUrl: 'http://login.internal' }, /^discoveryUrl: must be https/],
    ['another profile', { profile: 'fapi1' }, /^profile: must be "fapi2" or "fapi2-message-signing"/],
    [
      'unsigned introspection, with Message Signing',
      {
        profile: 'fapi2-message-signing',
        api: [{ path: '/api', target: 'http://api.internal', token: { introspect: true } }],
      },
      /^api\.0\.token: must be { phantom: true }/,
    ],
    [
      'unsigned requests, with Message Signing',
      { profile: 'fapi2-message-signing', login: { requestObject: false } },
      /^login\.requestObject: must be true with the profile "fapi2-message-signing"/,
    ],
    [
      'unsigned answers, with Message Signing',
      { profile: 'fapi2-message-signing', client: { id: 'app', keyFile, responseMode: 'form_post' } },
      /^client\.responseMode: must be "jwt" or "form_post\.jwt"/,
    ],
  ])('%s', (_story, change, fault) => {
    expect(faultsOf({ ...base, ...change })).toContainEqual(expect.stringMatching(fault));
  });

  test('each reason at once', () => {
    const client = {
      id: 'app',
      keyFile,
      authMethod: 'client_secret_post',
      secret: 's',
      dpop: 'off',
      responseMode: 'query',
    };
    const faults = faultsOf({
      ...base,
      profile: 'fapi2-message-signing',
      client,
      login: { pushed: 'auto', requestObject: false },
    });
    expect(new Set(faults.map((fault) => fault.split(':')[0]))).toEqual(
      new Set(['client.authMethod', 'client.dpop', 'client.responseMode', 'login.pushed', 'login.requestObject']),
    );
  });

  test('no key of RSA, which signs with PS256, and none for EdDSA', () => {
    expect(faultsOf({ ...base, client: { id: 'app', keyFile: keyFileOf('RSA') } })).toEqual([]);
    expect(faultsOf({ ...base, client: { id: 'app', keyFile: keyFileOf('Ed25519') } })).toEqual([]);
  });

  test('a client or a login that is none as ever', () => {
    expect(faultsOf({ ...base, client: 'app' })).toEqual([expect.stringContaining('client')]);
    expect(faultsOf({ ...base, login: [] })).toEqual([expect.stringContaining('login')]);
    expect(faultsOf({ ...base, client: undefined }).length).toBeGreaterThan(0);
  });
});
