/**
 * The attacker's story: "I have a stolen code, or a refresh token from a backup. To redeem it I must be the client. So I
 * read the keys that the app publishes, its log and its error pages; I use an assertion that I saw on the way once more;
 * I wait for the hour in which the operator replaces the key, when the file is empty or half of it is there; I connect
 * with a certificate of my own; and I write an address of mine into the provider's metadata."
 *
 * Must hold: what proves the client stays here, each proof is used once and is good for less than a minute, and whatever
 * happens to a file, nobody is signed out by it.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import {
  assertionsTo,
  credentialFile,
  jwkOf,
  makePrivateKey,
  pemOf,
  type CredentialFile,
} from '../support/client-keys.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { callsByCertificate, clientCertificate, startMutualTlsWorld } from '../support/mutual-tls.ts';
import type { ProviderOptions } from '../support/provider-configuration.ts';
import { startWorkloadPlatform } from '../support/workload-platform.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

type Client = Partial<ConfigInput['client']>;

function worldOf(client: Client, provider: Partial<ProviderOptions> = {}): Promise<World> {
  return startWorld({ config: (base) => ({ ...base, client: { id: base.client.id, ...client } }), provider });
}

function worldWithKey(file: CredentialFile, more: Client = {}): Promise<World> {
  return worldOf({ authMethod: 'private_key_jwt', keyFile: file.path, ...more }, { authMethod: 'private_key_jwt' });
}

/** A call that needs a new access token. */
async function callAfterExpiry(browser: BrowserClient): Promise<number> {
  expireAccessToken();
  return (await browser.fetch('/api/me')).status;
}

/** What the log says of credentials, as `event: words`. */
function wordsOfCredentials({ logs }: World): string[] {
  return logs.flatMap((line) => {
    const { msg, cause } = JSON.parse(line) as { msg: string; cause?: { message: string } };
    return msg.startsWith('credentials.') ? [cause === undefined ? msg : `${msg}: ${cause.message}`] : [];
  });
}

async function publishedKeys(world: World): Promise<readonly Record<string, unknown>[]> {
  return ((await world.client().fetch('/bff/jwks.json')).json() as { keys: Record<string, unknown>[] }).keys;
}

const publicMembers = new Set(['alg', 'crv', 'e', 'kid', 'kty', 'n', 'use', 'x', 'y']);

describe('the keys that are published', () => {
  test('are public, whatever the file says of the private ones', async () => {
    const rsa = makePrivateKey('RSA');
    const set = [
      jwkOf(rsa, { kid: 'one', alg: 'PS256', x5u: 'https://inner.test', note: 'canary' }),
      jwkOf(makePrivateKey('P-384')),
      jwkOf(makePrivateKey('Ed25519'), { kid: 'three' }),
      jwkOf(makePrivateKey('P-256'), { kid: 'for decryption', use: 'enc' }),
    ];
    const file = await credentialFile(JSON.stringify({ keys: set }));
    const world = await worldWithKey(file);
    const keys = await publishedKeys(world);
    expect(keys.map(({ kid, alg }) => [kid, alg])).toEqual([
      ['one', 'PS256'],
      [expect.stringMatching(/^[\w-]{43}$/), 'ES384'],
      ['three', 'EdDSA'],
    ]);
    for (const key of keys) expect(Object.keys(key).filter((name) => !publicMembers.has(name))).toEqual([]);
    await signIn(world.client());
    world.assertNoSecrets(Object.fromEntries(set.map((jwk, at) => [`private key ${at}`, String(jwk['d'])])));
  });

  test('are for anyone who asks, and for caches a minute; nothing else is', async () => {
    const world = await worldWithKey(await credentialFile(pemOf(makePrivateKey('P-256'))));
    const { headers, status } = await world.client().fetch('/bff/jwks.json', { headers: { 'sec-fetch-site': null } });
    expect([status, headers['cache-control']]).toEqual([200, 'public, max-age=60']);
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(headers).not.toHaveProperty('set-cookie');
    expect((await world.client().fetch('/bff/jwks.json', { method: 'POST' })).status).toBe(405);
    expect((await world.client().fetch('/bff/session')).headers['cache-control']).toBe('no-store');
  });
});

describe('an assertion', () => {
  test('that is repeated, after a failure and after a refused scope, is another one', async () => {
    const world = await worldWithKey(await credentialFile(pemOf(makePrivateKey('P-256'))));
    const browser = world.client();
    await signIn(browser);
    world.provider.fail('refresh', { status: 503, times: 1 });
    expect(await callAfterExpiry(browser)).toBe(503);
    vi.advanceTimersByTime(10_000);
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_scope' }, times: 1 });
    expect((await browser.fetch('/api/me')).status).toBe(200);
    const ids = assertionsTo(world.provider).map(({ claims }) => claims.jti);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(4);
  });

  test('that was copied is refused, used again and when a minute is over', async () => {
    const world = await worldWithKey(await credentialFile(pemOf(makePrivateKey('P-256'))));
    const { provider } = world;
    await signIn(world.client());
    const [used] = assertionsTo(provider);
    const show = async () =>
      (
        await fetch(`${provider.issuer}/token/introspection`, {
          method: 'POST',
          body: new URLSearchParams({ ...used?.request.form, token: 'stolen' }),
        })
      ).json();
    expect(await show()).toMatchObject({ error: 'invalid_client' });
    provider.fail('code', { status: 503, times: 1 });
    await world.client().navigate('/bff/login?login_hint=alice');
    const fresh = assertionsTo(provider).find(({ request }) => request !== used?.request && request.form['code']);
    expect(fresh?.claims.exp).toBeLessThan(Date.now() / 1000 + 60);
    vi.advanceTimersByTime(60_000);
    const late = { ...fresh?.request.form, token: 'stolen' };
    const body = new URLSearchParams(late);
    const answer = await fetch(`${provider.issuer}/token/introspection`, { method: 'POST', body });
    expect(await answer.json()).toMatchObject({ error: 'invalid_client' });
  });

  test('stands in no log and on no page, also where the provider quotes it', async () => {
    const key = makePrivateKey('P-256');
    const world = await worldWithKey(await credentialFile(pemOf(key)));
    world.provider.fail('code', {
      status: 401,
      body: ({ form }) => ({ error: 'invalid_client', error_description: `bad assertion ${form['client_assertion']}` }),
    });
    const browser = world.client();
    const page = await browser.navigate('/bff/login?login_hint=alice');
    expect(page.status).toBe(503);
    expect(world.logs.join('')).toContain('bad assertion [cut]');
    world.assertNoSecrets({ 'private key': String(jwkOf(key)['d']) });
  });
});

describe('while the key is replaced', () => {
  const broken: ReadonlyArray<readonly [story: string, content: string, words: RegExp]> = [
    ['is emptied', '', /is empty/],
    ['is half written', pemOf(makePrivateKey('P-256')).slice(0, 100), /holds no private key in PEM form/],
    ['holds half a JWK', '{"kty":"EC","crv":"P-256","x":"canary', /is neither PEM nor JSON/],
    ['holds a public key', JSON.stringify({ ...jwkOf(makePrivateKey('P-256')), d: undefined }), /holds a public key/],
    ['holds a key for other signatures', pemOf(makePrivateKey('Ed25519')), /cannot do ES256, only EdDSA/],
  ];

  test('a file that is emptied, torn or wrong leaves the old key in use, and each is told once', async () => {
    const file = await credentialFile(pemOf(makePrivateKey('P-256')));
    const world = await worldWithKey(file, { signingAlgorithm: 'ES256' });
    const browser = world.client();
    await signIn(browser);
    const before = await publishedKeys(world);
    for (const [, content] of broken) {
      await file.overwrite(content);
      expect([await callAfterExpiry(browser), await callAfterExpiry(browser)]).toEqual([200, 200]);
    }
    await file.remove();
    expect(await callAfterExpiry(browser)).toBe(200);
    expect(await publishedKeys(world)).toEqual(before);
    const words = broken.map(([, , each]) => expect.stringMatching(each) as string);
    expect(wordsOfCredentials(world)).toEqual([...words, expect.stringMatching(/cannot be read \(ENOENT\)/)]);
    expect(world.logs.join('')).not.toContain('canary');
  });

  test('the new one signs without a restart, and the provider finds it', async () => {
    const [first, second] = [makePrivateKey('P-256'), makePrivateKey('Ed25519')];
    const file = await credentialFile(pemOf(first));
    const world = await worldWithKey(file);
    const browser = world.client();
    await signIn(browser);
    await file.replace(pemOf(first) + pemOf(second));
    expect(await callAfterExpiry(browser)).toBe(200);
    const [, added] = await publishedKeys(world);
    await file.replace(pemOf(second) + pemOf(first));
    expect(await callAfterExpiry(browser)).toBe(200);
    await file.replace(pemOf(second));
    expect(await callAfterExpiry(browser)).toBe(200);
    const used = assertionsTo(world.provider).map(({ header }) => header['alg']);
    expect(used).toEqual(['ES256', 'ES256', 'EdDSA', 'EdDSA']);
    expect(await publishedKeys(world)).toEqual([added]);
    expect(wordsOfCredentials(world)).toEqual(Array.from({ length: 3 }, () => 'credentials.renewed'));
  });

  test('one that the provider doesn’t know yet costs no session', async () => {
    const [known, unknown] = [makePrivateKey('P-256'), makePrivateKey('P-256')];
    const file = await credentialFile(pemOf(known));
    const world = await worldWithKey(file);
    const browser = world.client();
    await signIn(browser);
    world.provider.settings.lifetimes.accessToken = 10;
    await browser.fetch('/bff/refresh', { method: 'POST' });
    await file.replace(pemOf(unknown));
    vi.advanceTimersByTime(15_000);
    expect((await browser.fetch('/api/me')).status).toBe(503);
    await file.replace(pemOf(known));
    vi.advanceTimersByTime(15_000);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });
});

async function worldOfCertificates() {
  const own = await clientCertificate();
  const other = await clientCertificate('another-client.example.test');
  const [certFile, tlsKeyFile] = [await credentialFile(own.cert), await credentialFile(own.key)];
  const next = await clientCertificate();
  const world = await startMutualTlsWorld({
    authorities: [own.cert, other.cert, next.cert],
    provider: { authMethod: 'tls_client_auth' },
    client: { authMethod: 'tls_client_auth', certFile: certFile.path, tlsKeyFile: tlsKeyFile.path },
  });
  const put = async ({ cert, key }: { cert: string; key: string }) => {
    await certFile.replace(cert);
    await tlsKeyFile.replace(key);
    // It is looked for once a second.
    vi.advanceTimersByTime(1000);
  };
  return { world, own, other, next, put, certFile };
}

/** The aliases of some metadata. */
function aliasesOf(metadata: Record<string, unknown>): object {
  return metadata['mtls_endpoint_aliases'] as object;
}

describe('a certificate', () => {
  test('of another client, and one of an unknown authority, signs nobody in', async () => {
    const { world, other, own, put } = await worldOfCertificates();
    for (const wrong of [other, await clientCertificate()]) {
      await put(wrong);
      const page = await world.client().navigate('/bff/login?login_hint=alice');
      expect([page.status, page.text]).toEqual([503, expect.stringContaining('provider_unavailable')]);
    }
    await put(own);
    await signIn(world.client());
    world.assertNoSecrets({ 'key of the certificate': own.key.split('\n')[1] ?? '' });
  });

  test('that is renewed is shown from the next call on; one without its key isn’t', async () => {
    const { world, own, next, put, certFile } = await worldOfCertificates();
    const browser = world.client();
    await signIn(browser);
    await certFile.replace(next.cert);
    expect(await callAfterExpiry(browser)).toBe(200);
    await put(next);
    expect(await callAfterExpiry(browser)).toBe(200);
    const shown = world.provider.requests.flatMap(({ path, headers }) =>
      path === '/token' ? [decodeURIComponent(String(headers['x-client-certificate']))] : [],
    );
    expect(shown).toEqual([own.cert, own.cert, next.cert]);
    expect(wordsOfCredentials(world)).toEqual([expect.stringMatching(/is for another key/), 'credentials.renewed']);
  });

  test('is asked for at https addresses only, and browsers are sent to none of those', async () => {
    const { world } = await worldOfCertificates();
    const browser = world.client();
    world.provider.mutateDiscovery((metadata) => ({
      ...metadata,
      mtls_endpoint_aliases: { ...aliasesOf(metadata), authorization_endpoint: `${world.aliasOrigin}/evil` },
    }));
    const undo = world.provider.mutateDiscovery((metadata) => ({
      ...metadata,
      mtls_endpoint_aliases: { ...aliasesOf(metadata), revocation_endpoint: 'http://127.0.0.1:1/revoke' },
    }));
    await world.restart();
    expect((await browser.navigate('/bff/login')).status).toBe(503);
    expect(world.logs.join('')).toContain('addresses that are not https: revocation_endpoint');
    undo();
    await world.restart();
    await signIn(browser);
    expect(callsByCertificate(world.provider).with).toEqual(['/me', '/token']);
  });
});

test('addresses for certificates are not taken where the client has none', async () => {
  const world = await startWorld();
  world.provider.mutateDiscovery((metadata) => ({
    ...metadata,
    mtls_endpoint_aliases: { token_endpoint: 'http://127.0.0.1:1/token' },
  }));
  await world.restart();
  await signIn(world.client());
  expect(world.provider.calls.token).toBe(1);
});

async function worldOfWorkload() {
  const platform = await startWorkloadPlatform();
  const file = await credentialFile(`${await platform.issue()}\n`);
  const world = await worldOf(
    { authMethod: 'federated_token', tokenFile: file.path },
    { authMethod: 'client_secret_post', workloads: platform },
  );
  const browser = world.client();
  return { platform, file, world, browser };
}

describe("a workload's token", () => {
  test('is read anew when the platform renews it; that of another workload is refused', async () => {
    const { platform, file, world, browser } = await worldOfWorkload();
    await signIn(browser);
    const renewed = await platform.issue();
    await file.replace(renewed);
    expect(await callAfterExpiry(browser)).toBe(200);
    expect(assertionsTo(world.provider).at(-1)?.request.form).toMatchObject({
      client_assertion: renewed,
      client_id: 'sallyport',
    });
    await file.replace(await platform.issue({ sub: 'system:serviceaccount:shop:other' }));
    expect(await callAfterExpiry(browser)).toBe(503);
    world.assertNoSecrets();
  });

  test('that is missing or empty for a while uses nothing up and ends nothing', async () => {
    const { platform, file, world, browser } = await worldOfWorkload();
    await signIn(browser);
    const { length } = world.provider.requests;
    for (const spoil of [() => file.overwrite(''), () => file.remove(), () => file.replace('no token: canary')]) {
      await spoil();
      expect(await callAfterExpiry(browser)).toBe(503);
      expect((await browser.fetch('/api/me')).status).toBe(503);
    }
    expect((await world.client().navigate('/bff/login?login_hint=bob')).status).toBe(503);
    const asked = world.provider.requests.slice(length).filter(({ endpoints }) => endpoints.includes('token'));
    expect(asked).toEqual([]);
    expect(wordsOfCredentials(world)).toEqual([
      expect.stringMatching(/is empty/),
      expect.stringMatching(/cannot be read \(ENOENT\)/),
      expect.stringMatching(/holds no signed JWT/),
    ]);
    await file.replace(await platform.issue());
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(wordsOfCredentials(world).at(-1)).toBe('credentials.renewed');
    expect(world.logs.join('')).not.toContain('canary');
    world.assertNoSecrets();
  });
});
