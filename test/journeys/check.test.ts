/**
 * `sallyport check` and the start, against what a provider says of itself: what cannot work is named with its remedy,
 * what is probably not meant is a warning, and what is fine is said to be.
 */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { startProvider, type JsonMutation, type TestProvider } from '../support/provider.ts';
import { startRedis } from '../support/redis.ts';
import { startWorld } from '../support/world.ts';

const node = join(import.meta.dirname, '../../node_modules/.bin/node');
const cli = join(import.meta.dirname, '../../src/cli/main.ts');

interface Output {
  readonly code: number;
  readonly text: string;
}

function run(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Output> {
  const options = { env: { PATH: process.env['PATH'] ?? '', ...env }, cwd: tmpdir() };
  return new Promise((resolve) => {
    execFile(node, [cli, ...args], options, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), text: stdout + stderr });
    });
  });
}

async function startBareProvider(): Promise<TestProvider> {
  const provider = await startProvider({ redirectUris: ['http://localhost:3000/bff/callback'] });
  onTestFinished(() => provider.close());
  return provider;
}

function environmentFor({ issuer }: Pick<TestProvider, 'issuer'>): Record<string, string> {
  return {
    SALLYPORT_ORIGIN: 'http://localhost:3000',
    SALLYPORT_ISSUER: issuer,
    SALLYPORT_CLIENT_ID: 'sallyport',
    SALLYPORT_CLIENT_SECRET: 'the-clients-own-secret',
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
  };
}

/** The output of a check against a provider with other metadata. */
async function checkWith(mutation: JsonMutation, env: Readonly<Record<string, string>> = {}, ...args: string[]) {
  const provider = await startBareProvider();
  provider.mutateDiscovery(mutation);
  return run({ ...environmentFor(provider), ...env }, 'check', ...args);
}

/** Members of the metadata to replace; `undefined` leaves one out. */
type Members = Readonly<Record<string, unknown>>;

function replacing(members: Members): JsonMutation {
  return (json) =>
    Object.fromEntries(Object.entries({ ...json, ...members }).filter(([, value]) => value !== undefined));
}

describe('check', () => {
  test('says that all is well, which scopes are asked for, and what to register', async () => {
    const { code, text } = await checkWith((json) => json, {}, '--strict');
    expect(text).toContain('ok: the configuration is valid');
    expect(text).toMatch(/ok: the provider http:\/\/127\.0\.0\.1:\d+ answers, with 1 key\n/);
    expect(text).toMatch(/asks? for the scope "openid profile email offline_access" \(chosen by what it supports/);
    expect(text).toContain('redirect URI http://localhost:3000/bff/callback');
    expect(text).toContain('post-logout redirect URI http://localhost:3000/');
    expect(text).not.toMatch(/warning|fault/);
    expect(code).toBe(0);
  });

  test('says what several sealing secrets need, and nothing of it where there is one', async () => {
    const second = { SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u,kFq0V1hM8pXw3sJb7uYzRt5nLd2gAc9e' };
    const { code, text } = await checkWith((json) => json, second, '--strict');
    expect(text).toContain('of 2 sealing secrets the first seals: every instance must accept it before');
    expect(text).not.toMatch(/q8Zr2|kFq0V/);
    expect(code).toBe(0);
    expect((await checkWith((json) => json)).text).not.toContain('sealing secret');
  });

  test('writes to the store, and says what is wrong with one that cannot be used, without its password', async () => {
    const redis = await startRedis({ password: 'the-password' });
    onTestFinished(() => redis.close());
    const place = `127.0.0.1:${redis.port}`;
    const fine = await checkWith((json) => json, { SALLYPORT_REDIS_URL: redis.url }, '--strict');
    expect([fine.code, fine.text]).toEqual([0, expect.stringContaining(`${place} can be read and written`)]);
    expect(fine.text).not.toContain('run one instance only');
    const wrong = await checkWith((json) => json, { SALLYPORT_REDIS_URL: `redis://:wrong-password@${place}` });
    expect([wrong.code, wrong.text]).toEqual([1, expect.stringMatching(/fault: the store at \S+ cannot be used: \w+/)]);
    await redis.down();
    const gone = await checkWith((json) => json, { SALLYPORT_REDIS_URL: redis.url });
    expect([gone.code, gone.text]).toEqual([1, expect.stringContaining('ECONNREFUSED')]);
    for (const { text } of [fine, wrong, gone]) expect(text).not.toMatch(/the-password|wrong-password/);
  });

  test('says that one instance alone is safe where there is no store', async () => {
    const { code, text } = await checkWith((json) => json, {}, '--strict');
    expect(text).toContain('run one instance only');
    expect(code).toBe(0);
  });

  test('says what to register for back-channel logout, and whom it reaches', async () => {
    const offered = { backchannel_logout_supported: true, backchannel_logout_session_supported: true };
    const address = 'back-channel logout URI http://localhost:3000/bff/backchannel-logout';
    const alone = await checkWith(replacing(offered), {}, '--strict');
    expect(alone.text).toContain(`${address} (without SALLYPORT_REDIS_URL this reaches one process only)\n`);
    expect(alone.code).toBe(0);
    const shared = { SALLYPORT_REDIS_URL: 'redis://127.0.0.1:1', SALLYPORT_BASE_PATH: '/auth' };
    expect((await checkWith(replacing(offered), shared)).text).toMatch(/URI http:\S+\/auth\/backchannel-logout\n/);
    const persons = replacing({ backchannel_logout_supported: true });
    expect((await checkWith(persons, shared)).text).toContain('(it names no sessions: a sign-out there ends all of');
    const off = { SALLYPORT_LOGOUT_BACKCHANNEL: 'false' };
    expect((await checkWith(replacing(offered), off)).text).not.toContain('backchannel');
  });

  test('says so where the provider offers none, or only the front channel', async () => {
    const none = await checkWith((json) => json);
    expect(none.text).toContain('does not say that it offers back-channel logout: who signs out there stays signed in');
    const front = { frontchannel_logout_supported: true, frontchannel_logout_session_supported: true };
    const advised = await checkWith(replacing(front));
    expect(advised.text).toContain('SALLYPORT_LOGOUT_FRONTCHANNEL=true takes');
    const env = { SALLYPORT_LOGOUT_FRONTCHANNEL: 'true' };
    const taken = await checkWith(replacing(front), env, '--strict');
    expect(taken.text).toContain('front-channel logout URI http://localhost:3000/bff/frontchannel-logout');
    expect(taken.code).toBe(0);
    const bare = await checkWith(replacing({ frontchannel_logout_supported: true }), env);
    expect(bare.text).toMatch(/^warning: logout\.frontchannel is on.*without them it ends nothing/m);
  });

  test('refuses a set-up of several machines that share nothing', async () => {
    const { code, text } = await checkWith((json) => json, { SALLYPORT_LOGOUT_BACKCHANNEL: 'shared' });
    expect(text).toMatch(/logout\.backchannel\): is "shared", but there is no store that several machines share/);
    expect(code).toBe(1);
  });

  test('says which scopes are asked for where the provider knows fewer, or they are configured', async () => {
    const scopes = replacing({ scopes_supported: ['openid', 'offline_access', 'offline'] });
    expect((await checkWith(scopes)).text).toContain('the scope "openid offline_access" (chosen');
    const configured = await checkWith(scopes, { SALLYPORT_SCOPE: 'openid offline_access notes' });
    expect(configured.text).toContain('the scope "openid offline_access notes" (configured)');
  });

  test('calls it a fault, with its remedy, that a provider demands what cannot be done', async () => {
    const members = {
      token_endpoint_auth_methods_supported: ['client_secret_post'],
      response_types_supported: ['id_token'],
    };
    const { code, text } = await checkWith(replacing(members));
    expect(text.split('\n').filter((line) => line.startsWith('fault: '))).toEqual([
      expect.stringContaining('set SALLYPORT_CLIENT_AUTH_METHOD=client_secret_post'),
      expect.stringContaining('does not offer the code flow'),
    ]);
    expect(code).toBe(1);
  });

  test('warns of a provider that grants no refresh token', async () => {
    const { code, text } = await checkWith(replacing({ grant_types_supported: ['authorization_code'] }));
    expect(text).toMatch(/^warning: .*lists no refresh_token grant.*a session ends with its access token/m);
    expect([code, text.includes('fault')]).toEqual([0, false]);
  });

  test('with --strict ends with 3 after a warning, and with 1 after a fault', async () => {
    expect((await checkWith(replacing({ grant_types_supported: ['authorization_code'] }), {}, '--strict')).code).toBe(
      3,
    );
    const both = { grant_types_supported: ['implicit'], require_pushed_authorization_requests: true };
    expect((await checkWith(replacing(both), {}, '--strict')).code).toBe(1);
    expect((await checkWith((json) => json, { SALLYPORT_SESION: 'x' }, '--strict')).code).toBe(3);
  });

  test('finds no warning in Keycloak, which grants refresh tokens without offline_access', async () => {
    const provider = await startBareProvider();
    provider.mutateDiscovery((json) => ({
      ...json,
      token_endpoint: `${provider.issuer}/realms/main/protocol/openid-connect/token`,
    }));
    const { code, text } = await run(environmentFor(provider), 'check', '--strict');
    expect(text).toContain('the scope "openid profile email"');
    expect([code, text.includes('warning')]).toEqual([0, false]);
  });

  test('names both issuers where they differ, and does not advise to wait', async () => {
    const { code, text } = await checkWith(replacing({ issuer: 'https://login.example.test' }));
    expect(text).toMatch(
      /^fault: .*names the issuer "https:\/\/login\.example\.test", but the configured issuer is "http/m,
    );
    expect(text).not.toContain('Try again');
    expect(code).toBe(1);
  });

  test('names the address of a provider that does not listen', async () => {
    const port = await freePort();
    const { code, text } = await run(environmentFor({ issuer: `http://127.0.0.1:${port}` }), 'check');
    const address = `http://127.0.0.1:${port}/.well-known/openid-configuration`;
    expect(text).toContain(`GET ${address}: nothing listens there (ECONNREFUSED)`);
    expect(code).toBe(1);
  });

  test.each<[story: string, keys: unknown, status: number, fault: RegExp]>([
    ['cannot be had', {}, 404, /fault: .*\/jwks answers 404 without a key set/],
    ['are none', { keys: [] }, 200, /fault: The provider publishes no key for signatures/],
    ['are for encryption', { keys: [{ kty: 'RSA', use: 'enc' }] }, 200, /publishes no key for signatures/],
    ['are secrets', { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] }, 200, /publishes no key for signatures/],
  ])('calls it a fault that the keys %s', async (_story, keys, status, fault) => {
    const provider = await startBareProvider();
    provider.fail('jwks', { status, body: keys as Record<string, unknown> });
    const { code, text } = await run(environmentFor(provider), 'check');
    expect(text).toMatch(fault);
    expect(code).toBe(1);
  });

  test('prints what a provider says on one line, without control characters', async () => {
    const hostile = ['\u001b[2Jx', `a\nfault: invented`, 'y'.repeat(5000)];
    const { text } = await checkWith(replacing({ token_endpoint_auth_methods_supported: hostile }));
    expect(text).not.toContain('\u001b');
    expect(text.split('\n').filter((line) => line.startsWith('fault: '))).toHaveLength(1);
    expect(text.length).toBeLessThan(5000);
  });

  test('tells no secret', async () => {
    const { text } = await checkWith(replacing({ require_pushed_authorization_requests: true }));
    expect(text).not.toMatch(/the-clients-own-secret|q8Zr2mVx/);
  });

  test('alone takes --strict', async () => {
    const { code, text } = await run({}, 'keygen', '--strict');
    expect([code, text]).toEqual([2, expect.stringContaining('"sallyport keygen" takes no --strict')]);
  });
});

describe('the start', () => {
  test('warns in the log of each thing that cannot work, once', async () => {
    const members = { require_pushed_authorization_requests: true, code_challenge_methods_supported: ['plain'] };
    expect(await problemsAtStart(members)).toEqual([
      [40, expect.stringContaining('demands pushed authorization requests')],
      [40, expect.stringContaining('S256')],
    ]);
  });

  test('says nothing of what may be meant', async () => {
    expect(await problemsAtStart({ grant_types_supported: ['authorization_code'] })).toEqual([]);
    expect(await problemsAtStart({})).toEqual([]);
  });
});

async function problemsAtStart(members: Members): Promise<unknown[]> {
  const world = await startWorld({ providerUp: false });
  world.provider.mutateDiscovery(replacing(members));
  await world.provider.up();
  await world.client().navigate('/bff/login', { follow: false });
  return world.logs
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === 'provider.unsuitable')
    .map(({ level, problem }) => [level, problem]);
}
