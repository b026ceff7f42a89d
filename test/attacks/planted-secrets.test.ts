/**
 * The attacker's story: "I read what nobody guards: the log that goes to a service of a third party, the error page in a
 * screenshot of a support ticket, the answer that a script of mine gets to see in the page. One token, one code, one
 * cookie in there is enough. It need not be there on a good day: I wait for the day when the provider answers nonsense,
 * the API breaks, or the operator mistypes the configuration, and everything is logged at 'debug'."
 *
 * Must hold: no secret stands in a log line, an error page or an answer.
 *
 * Each test does the whole main job with one thing broken, then looks for every secret in every place, in plain, URL
 * and base64 spelling. One exemption: the browser's redirect to the provider's end-session endpoint carries
 * `id_token_hint`, as OpenID Connect RP-Initiated Logout 1.0 wants it.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { cookieName } from '../support/cookie-names.ts';
import type { Endpoint, Failure, QuotableRequest } from '../support/provider-faults.ts';
import { startRawServer } from '../support/raw.ts';
import { secretsIn } from '../support/secrets.ts';
import { leadToCallback, startWorld, type World, type WorldOptions } from '../support/world.ts';

beforeEach(() => fakeDate());

/** Signs in, calls, lets the token expire, calls, refreshes, is refused by the API, signs out; whatever comes of it. */
async function doTheMainJob(world: World, browser: BrowserClient): Promise<void> {
  await browser.navigate('/bff/login?returnTo=/orders&login_hint=alice');
  await browser.fetch('/bff/session');
  await browser.fetch('/api/orders?access=query-canary');
  expireAccessToken();
  await browser.fetch('/api/orders', { method: 'POST', body: { n: 1 } });
  vi.advanceTimersByTime(20_000);
  await browser.fetch('/bff/refresh', { method: 'POST' });
  world.api.rejectTokens(1);
  await browser.fetch('/api/orders');
  await browser.fetch('/api/orders', { headers: { 'sec-fetch-site': 'cross-site' } });
  await browser.navigate('/api/orders', { initiator: 'https://evil.test', follow: false });
  const session = await browser.fetch('/bff/session');
  await browser.navigate('/bff/logout', { follow: false });
  const stopBefore = (url: URL) => url.origin !== world.origin;
  if (session.text.includes('logoutUrl')) await browser.navigate(String(session.at('logoutUrl')), { stopBefore });
  await browser.navigate('/bff/callback?code=query-canary&state=query-canary', { follow: false });
}

/** Every value that a cookie of ours ever had. */
function cookiesOf(browser: BrowserClient): string[] {
  const lines = browser.seen.flatMap(({ head }) => [...head.matchAll(/\nset-cookie\n[^=\n]+=([^;\n]{16,})/gi)]);
  return [...new Set(lines.map(([, value = '']) => value))];
}

/** The places where one of the texts stands: log lines, and what a script in the page could read. */
function placesOf(texts: readonly string[], world: World, browser: BrowserClient): string[] {
  const bodies = browser.seen
    .filter(({ url }) => new URL(url).origin === world.origin)
    .map(({ body }) => body.toString());
  return [...world.logs, ...bodies].filter((place) => texts.some((text) => place.includes(text)));
}

/** Fails when anything secret was told anywhere. */
async function search(world: World, browser: BrowserClient): Promise<void> {
  await world.stop();
  const sealing = String(world.config.secrets?.[0]);
  const told = placesOf([...cookiesOf(browser), 'cnry42'], world, browser);
  // The API's echo shows the app its own query; the log may not.
  told.push(...world.logs.filter((line) => line.includes('query-canary')));
  if (told.length > 0) throw new Error(`told:\n${told.join('\n')}`);
  if (world.logs.length < 5) throw new Error('there is no log to search');
  world.assertNoSecrets({ 'sealing secret': sealing });
}

/** The whole job with something broken, and the search. */
async function searchAfter(options: WorldOptions, breakIt: (world: World) => void | Promise<void>): Promise<World> {
  const world = await startWorld(options);
  await breakIt(world);
  const browser = world.client();
  await doTheMainJob(world, browser);
  await search(world, browser);
  return world;
}

const options: WorldOptions = { config: (base) => ({ ...base, logLevel: 'debug', login: { userInfo: true } }) };

test('the search finds what is there: it would fail', async () => {
  const world = await startWorld(options);
  const browser = world.client();
  await doTheMainJob(world, browser);
  const [token = ''] = world.provider.secrets.keys();
  for (const spelling of [token, encodeURIComponent(token), Buffer.from(token).toString('base64')]) {
    world.logs.push(`{"msg":"${spelling}"}`);
    expect(() => world.assertNoSecrets()).toThrow(/secrets found/);
    world.logs.pop();
  }
  expect(cookiesOf(browser).length).toBeGreaterThanOrEqual(4);
  const kinds = new Set(world.provider.secrets.values());
  expect(kinds).toEqual(new Set(['accessToken', 'refreshToken', 'idToken', 'code', 'codeVerifier', 'clientSecret']));
  world.assertNoSecrets();
});

describe('nothing secret is told when all goes well', () => {
  test.each<[string, WorldOptions]>([
    ['with JWT access tokens', options],
    ['with opaque access tokens', { ...options, provider: { settings: { accessTokens: 'opaque' } } }],
    ['with a session in several cookies', { ...options, provider: { settings: { accessTokenPadding: 6000 } } }],
    ['with client_secret_post', withConfig({ authMethod: 'client_secret_post' })],
  ])('%s', async (_story, given) => {
    const world = await searchAfter(given, () => undefined);
    expect(world.provider.calls.refresh).toBeGreaterThan(0);
  });

  test('with form_post: the code stands only on the page of ours that posts it once more', async () => {
    const world = await startWorld(withConfig({ responseMode: 'form_post' }));
    const browser = world.client();
    await doTheMainJob(world, browser);
    const found = placesOf([...world.provider.secrets.keys(), ...cookiesOf(browser)], world, browser);
    expect(found.map((place) => place.includes('<form method="post" action="/bff/callback">'))).toEqual([true]);
    expect(secretsIn(found.join(), world.provider)).toEqual(['code']);
  });
});

function withConfig(client: Record<string, string>): WorldOptions {
  return {
    ...(client['authMethod'] === undefined ? {} : { provider: { authMethod: 'client_secret_post' } }),
    config: (base) => ({ ...base, logLevel: 'debug', client: { ...base.client, ...client } }),
  };
}

const tokens =
  '"access_token":"cnry42-access-token","refresh_token":"cnry42-refresh-token","id_token":"cnry42-id-token"';

/** The words that an operator needs, and in them all that was sent. */
function quoting(error: string): (request: QuotableRequest) => Record<string, string> {
  return ({ form, headers: { authorization = '' } }) => ({
    error,
    error_description: `PRVD1234: cannot take ${JSON.stringify(form)} by ${authorization}`,
    error_uri: `https://provider.test/PRVD1234?${new URLSearchParams(form).toString()}`,
  });
}

function quotingChallenge({ form, headers: { authorization = '' } }: QuotableRequest): string {
  const quoted = `PRVD1234: ${authorization} ${Object.values(form).join(' ')}`;
  return `Bearer error="invalid_token", error_description="${quoted}"`;
}

/** What providers, and the proxies before them, answer when something is wrong: some quote what they were sent. */
const failures: ReadonlyArray<readonly [story: string, failure: Failure]> = [
  ['500', { status: 500 }],
  ['503 with Retry-After', { status: 503, headers: { 'retry-after': '1' } }],
  ['400 invalid_grant', { status: 400, body: quoting('invalid_grant') }],
  ['400 invalid_request', { status: 400, body: quoting('invalid_request') }],
  ['401 invalid_client', { status: 401, body: quoting('invalid_client') }],
  ['401 with a challenge that quotes', { status: 401, challenge: quotingChallenge, body: '' }],
  ['503 that quotes', { status: 503, body: quoting('server_error') }],
  ['401 with a challenge', { status: 401, headers: { 'www-authenticate': 'Basic realm="cnry42"' }, body: '' }],
  ['HTML that quotes the request', { status: 200, body: `<p>cnry42 {${tokens}}</p>` }],
  [
    'a form in place of JSON',
    { status: 200, body: 'access_token=cnry42-access-token', contentType: 'application/json' },
  ],
  ['JSON that breaks off', { status: 200, body: `{${tokens}`, contentType: 'application/json' }],
  ['JSON without quotes', { status: 200, body: '{"access_token":cnry42}', contentType: 'application/json' }],
  ['tokens that are none', { status: 200, body: `{${tokens},"token_type":"Bearer"}`, contentType: 'application/json' }],
  ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/?cnry42' }, body: '' }],
];

const endpoints: readonly Endpoint[] = ['discovery', 'jwks', 'code', 'refresh', 'userinfo', 'revocation'];

describe.each(endpoints)('nothing secret is told when the provider fails at %s', (endpoint) => {
  test.each(failures)('with %s', async (_story, failure) => {
    const world = await searchAfter({ ...options, providerUp: endpoint !== 'discovery' }, async ({ provider }) => {
      provider.fail(endpoint, failure);
      if (endpoint === 'discovery') await provider.up();
    });
    expect(world.provider.calls[endpoint]).toBeGreaterThan(0);
  });

  test.each(['reset', 'dropAfterCommit'] as const)('by %s', async (fault) => {
    const worldOptions = {
      ...options,
      providerUp: endpoint !== 'discovery',
      repeatsRefreshTokens: fault === 'dropAfterCommit',
    };
    const world = await searchAfter(worldOptions, async ({ provider }) => {
      provider[fault](endpoint, 3);
      if (endpoint === 'discovery') await provider.up();
    });
    expect(world.provider.calls[endpoint]).toBeGreaterThan(0);
  });
});

describe('nothing secret is told when', () => {
  test.each(['foreign', 'none', 'public-key-as-secret', 'broken'] as const)(
    'an ID token is signed %s',
    async (sign) => {
      const world = await searchAfter(options, ({ provider }) => {
        provider.mutateIdToken(() => ({ sign }));
      });
      expect(world.logs.some((line) => line.includes('login.failed'))).toBe(true);
    },
  );

  test('an ID token at refresh is another person’s', async () => {
    const world = await searchAfter(options, ({ provider }) => {
      provider.mutateIdToken((claims) => ({ claims: { ...claims, sub: 'mallory' } }), 'refresh');
    });
    expect(world.logs.some((line) => line.includes('refresh_id_token_invalid'))).toBe(true);
  });

  test('the provider refuses the sign-in, and quotes a token', async () => {
    const world = await searchAfter(options, async ({ provider }) => {
      const token = await provider.sign({ sub: 'cnry42' });
      provider.refuseNext('access_denied', `PRVD1234: not with ${token}`);
    });
    expect(world.provider.calls.code).toBe(0);
    expect(world.logs.filter((line) => line.includes('PRVD1234: not with [token]'))).not.toEqual([]);
  });

  test.each([
    ['is down', 'down'],
    ['answers 500 with what it was sent', 'echo'],
    ['sets cookies of ours', 'cookies'],
  ])('the API %s', async (_story, fault) => {
    const world = await searchAfter(options, async ({ api, origin }) => {
      if (fault === 'down') await api.down();
      // The app's own API may say what it likes to the app; Sallyport's log may not repeat it.
      if (fault === 'echo') api.answer(({ method }) => ({ status: 500, body: { error: `broken ${method}` } }));
      if (fault === 'cookies') api.answer({ headers: { 'set-cookie': `${cookieName('session', origin)}=cnry42` } });
    });
    expect(world.provider.calls.refresh).toBeGreaterThan(0);
  });

  test('the API speaks no HTTP', async () => {
    const hostile = await startRawServer((socket, bytes) => socket.end(bytes));
    const api = [{ path: '/api', target: hostile.url }];
    await searchAfter({ config: (base) => ({ ...base, logLevel: 'debug', api }) }, () => undefined);
    await hostile.close();
    expect(hostile.received.length).toBeGreaterThan(0);
  });

  test('a callback is repeated, in another browser, or in a wrong method', async () => {
    const world = await startWorld(options);
    const browser = world.client();
    const callback = await leadToCallback(browser);
    await world.client().navigate(callback.href, { follow: false });
    await browser.submitForm('/bff/callback', Object.fromEntries(callback.searchParams), { follow: false });
    await browser.fetch(callback.pathname + callback.search);
    await browser.navigate(callback.href);
    await browser.navigate(callback.href, { follow: false });
    await browser.fetch(callback.pathname + callback.search);
    // The page to which a browser may come back shows nothing of where it came from.
    await expect(search(world, browser)).resolves.toBeUndefined();
  });

  test('the cookies that come can’t be opened', async () => {
    const world = await startWorld(options);
    const browser = world.client();
    await browser.navigate('/bff/login');
    browser.cookies.replace(browser.own('session'), (value) => `${value}x`);
    for (const path of ['/bff/session', '/api/me', '/bff/logout']) await browser.fetch(path);
    await expect(search(world, browser)).resolves.toBeUndefined();
  });

  test('a session outgrows the cookies', async () => {
    const large: WorldOptions = { ...options, provider: { settings: { accessTokenPadding: 20_000 } } };
    const world = await searchAfter(large, () => undefined);
    expect(world.logs.some((line) => line.includes('session.oversized'))).toBe(true);
  });
});

describe('nothing secret is told of a configuration that is wrong', () => {
  const run = promisify(execFile);
  const node = join(import.meta.dirname, '../../node_modules/.bin/node');
  const cli = join(import.meta.dirname, '../../src/cli/main.ts');
  const secrets = {
    SALLYPORT_SECRET: 'secret-canary,short-canary',
    SALLYPORT_CLIENT_SECRET: 'client-canary',
    SALLYPORT_REDIS_URL: 'http://user:redis-canary@127.0.0.1',
    SALLYPORT_ISSUER: 'https://user:issuer-canary@login.example.test',
    SALLYPORT_API: '/api=http://user:api-canary@127.0.0.1',
    SALLYPORT_ORIGIN: 'https://user:origin-canary@app.example.test/',
  };

  async function outputOf(command: string, env: Record<string, string>, file?: string): Promise<string> {
    const args = [cli, command, ...(file === undefined ? [] : ['--config', file])];
    const environment = { PATH: process.env['PATH'] ?? '', ...env };
    const failed = await run(node, args, { env: environment, cwd: tmpdir() }).then(
      () => undefined,
      (error: unknown) => error as { stdout: string; stderr: string; code: number },
    );
    expect(failed?.code).toBe(1);
    return `${failed?.stdout}${failed?.stderr}`;
  }

  test('in variables', async () => {
    const output = await outputOf('start', secrets);
    expect(output).toContain('SALLYPORT_SECRET');
    expect(output).not.toContain('canary');
  });

  test.each([
    ['not JSON: a secret without quotes', '{"secrets":[canary]}'],
    ['not JSON: it breaks off', '{"client":{"secret":"client-canary'],
    ['of another shape', '{"secrets":"secret-canary-secret-canary-secret","client":{"secret":["client-canary"]}}'],
    ['a secret as a key', '{"client":{"id":"x","secret":{"value":"client-canary"}}}'],
  ])('in a file that is %s', async (_story, content) => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-config-'));
    await writeFile(join(folder, 'broken.json'), content);
    const output = await outputOf('check', {}, join(folder, 'broken.json'));
    await rm(folder, { recursive: true });
    expect(output.length).toBeGreaterThan(20);
    expect(output).not.toContain('canary');
  });
});
