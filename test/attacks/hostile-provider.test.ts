/**
 * The attacker's story: "I can't get at the app, so I get at what it believes: I answer in the provider's place, by DNS, by
 * a hole in the provider, or by being one of several providers. I write scripts into its error messages, send the client
 * secret on to my host by a redirect, hand out another provider's code, answer without end, or hang until nothing works
 * any more. And what a user's browser carries back from the provider's address is mine to write anyway."
 *
 * Must hold: a false answer makes no session, quotes nothing onto a page, sends the client secret nowhere else, and costs
 * a 503 at most.
 */
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Navigation } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { startListener, type Listener } from '../support/listener.ts';
import type { Endpoint } from '../support/provider-faults.ts';
import { leadToCallback, signIn, startSignedIn, startWorld, within, type World } from '../support/world.ts';

/** Marks in what the provider says; none may come back as markup. */
const hostileTexts = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "'-alert(1)-'",
  '</title><svg onload=alert(1)>',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  'javascript:alert(1)',
  'access_denied<script>',
  'access_denied\r\nSet-Cookie: session=evil',
  '\u202eaccess_denied',
  `a${'b'.repeat(5000)}`,
  '${7*7}{{7*7}}',
  '',
];

let canary: Listener;
/** What came to a host that isn't the provider's. */
const stolen: string[] = [];

beforeAll(async () => {
  canary = await startListener((request, response) => {
    stolen.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
    response.end('{}');
  });
});

afterEach(() => {
  stolen.length = 0;
});

afterAll(() => canary.close());

function startedSessions(page: Navigation): string[] {
  return page.chain.flatMap((hop) => hop.setCookies).filter((line) => /^session(?:\.\d)?=[^;]/.test(line));
}

/** One JSON line, without a character that a terminal would obey. */
function isOneEntry(line: string): boolean {
  return JSON.parse(line) instanceof Object && /^[^\p{C}\p{Zl}\p{Zp}]+\n$/u.test(line);
}

function withoutCause(line: string): string {
  return JSON.stringify({ ...JSON.parse(line), cause: undefined });
}

describe('what the browser brings back from the provider', () => {
  test.each(['error', 'error_description', 'error_uri', 'state', 'iss', 'code'])(
    'in %s never becomes markup, a header or a log line of its own',
    async (name) => {
      const { client, provider, logs } = await startWorld();
      for (const text of hostileTexts) {
        const browser = client();
        provider.heal();
        const undo = provider.mutateCallback((parameters) => {
          if (name.startsWith('error')) {
            parameters.delete('code');
            parameters.set('error', 'access_denied');
          }
          parameters.set(name, text);
          return parameters;
        });
        const page = await browser.navigate('/bff/login');
        undo();
        const shown = page.text.replace(/<style>.*<\/style>/s, '');
        expect(shown).not.toMatch(/<script|<img|<svg|onerror|onload|alert\(1\)|\{\{7|49|bbbbbb|\u202e/);
        expect(page.headers['content-security-policy'] ?? '').toContain("default-src 'none'");
        expect(page.chain.at(-1)?.rawHeaders.join('\n')).not.toMatch(/evil|alert/);
        expect(name.startsWith('error_') || startedSessions(page).length === 0).toBe(true);
      }
      expect(logs.filter((line) => !isOneEntry(line))).toEqual([]);
      // What the provider says stands in the cause alone, where the operator looks for it.
      expect(logs.filter((line) => /<script|alert\(1\)|Set-Cookie/.test(withoutCause(line)))).toEqual([]);
    },
  );

  test('is told to a program as a problem that quotes none of it', async () => {
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    callback.searchParams.delete('code');
    callback.searchParams.set('error', '<script>alert(1)</script>');
    const answer = await browser.navigate(callback.href, {
      follow: false,
      headers: { 'sec-fetch-mode': null, 'sec-fetch-dest': null, accept: 'application/json' },
    });
    expect([answer.status, answer.headers['content-type']]).toEqual([403, 'application/problem+json']);
    expect(answer.text).not.toContain('alert');
  });

  test('does not decide where a silent sign-in goes on to', async () => {
    const { client, provider, origin } = await startWorld();
    provider.refuseNext('login_required', '<script>alert(1)</script>');
    const page = await client().navigate('/bff/login?prompt=none&returnTo=/orders%3Fx=1%23y');
    expect(page.url).toBe(`${origin}/orders?x=1&login=required#y`);
  });
});

describe('a mix-up of providers (RFC 9207)', () => {
  test.each([
    ['another issuer', 'https://other-provider.test'],
    ['the own one with a slash', 'ISSUER/'],
    ['the own one in capitals', 'HTTP://127.0.0.1'],
    ['an empty one', ''],
    ['two of them', 'TWICE'],
    ['none, though the provider says that it always names itself', undefined],
  ])('%s: no code is redeemed', async (_story, iss) => {
    const { client, provider } = await startWorld();
    provider.mutateCallback((parameters) => {
      const own = parameters.get('iss') ?? '';
      parameters.delete('iss');
      if (iss === 'TWICE') for (const value of [own, 'https://other-provider.test']) parameters.append('iss', value);
      else if (iss !== undefined) parameters.set('iss', iss.replace('ISSUER', own));
      return parameters;
    });
    const page = await client().navigate('/bff/login');
    expect([page.status, startedSessions(page), provider.calls.token]).toEqual([400, [], 0]);
    expect(page.text).toContain('login_transaction_invalid');
  });

  test('metadata that names another issuer, or endpoints for another issuer’s code, is not used', async () => {
    const { client, provider } = await startWorld({ providerUp: false });
    provider.mutateDiscovery((metadata) => ({ ...metadata, issuer: `http://127.0.0.1:${canary.port}` }));
    await provider.up();
    const page = await client().navigate('/bff/login');
    expect(page.status).toBe(503);
    expect(page.chain).toHaveLength(1);
    expect(stolen).toEqual([]);
  });
});

describe('a redirect in place of an answer is not followed, with the secret or without', () => {
  const endpoints: readonly Endpoint[] = ['discovery', 'jwks', 'code', 'refresh', 'revocation', 'userinfo'];

  test.each(endpoints.flatMap((endpoint) => [302, 307, 308].map((status) => [endpoint, status] as const)))(
    '%s, %i',
    async (endpoint, status) => {
      fakeDate();
      const { client, provider } = await startWorld({
        providerUp: false,
        config: (base) => ({ ...base, login: { userInfo: true } }),
      });
      const location = `http://127.0.0.1:${canary.port}/steal`;
      provider.fail(endpoint, { status, headers: { location }, body: '' });
      await provider.up();
      const browser = client();
      await browser.navigate('/bff/login');
      expireAccessToken();
      await browser.fetch('/api/me');
      await browser.fetch('/bff/logout', { method: 'POST' });
      expect(provider.calls[endpoint]).toBeGreaterThan(0);
      expect(stolen).toEqual([]);
    },
  );
});

const huge = `{"x":"${'x'.repeat(2 * 1024 * 1024)}"`;
/** 64 MB of spaces in 64 kB. */
const bomb = gzipSync(Buffer.concat([Buffer.from('{"x":"'), Buffer.alloc(64 * 1024 * 1024, ' '), Buffer.from('"}')]));

const badAnswers: ReadonlyArray<readonly [story: string, body: string, contentType: string]> = [
  ['an HTML page', '<!doctype html><script>alert(1)</script>', 'text/html'],
  ['HTML that says it is JSON', '<!doctype html><script>alert(1)</script>', 'application/json'],
  ['an empty body', '', 'application/json'],
  ['null', 'null', 'application/json'],
  ['a list', '[]', 'application/json'],
  ['a text', '"ok"', 'application/json'],
  ['an object with a poisoned prototype', '{"__proto__":{"issuer":"x","access_token":"x"}}', 'application/json'],
  ['half an object', '{"access_token":"half', 'application/json'],
  ['JSON a hundred thousand levels deep', '['.repeat(100_000) + ']'.repeat(100_000), 'application/json'],
  ['two megabytes', `${huge}}`, 'application/json'],
  ['two megabytes without an end', huge, 'application/json'],
  ['bytes that are no UTF-8', '{"access_token":"\ufffd\ud800"}', 'application/json'],
];

describe.each(badAnswers)('%s in place of', (_story, body, contentType) => {
  test('the metadata: 503, and sign-in works when the provider is itself again', async () => {
    const { client, provider, assertNoSecrets } = await startWorld({ providerUp: false });
    const undo = provider.fail('discovery', { status: 200, body, contentType });
    await provider.up();
    const browser = client();
    const page = await browser.navigate('/bff/login');
    expect([page.status, page.text.includes('provider_unavailable')]).toEqual([503, true]);
    undo();
    await signIn(browser);
    assertNoSecrets();
  });

  test('the answer to a code: no session, no error 500', async () => {
    const { client, provider, assertNoSecrets } = await startWorld();
    const undo = provider.fail('code', { status: 200, body, contentType });
    const browser = client();
    const page = await browser.navigate('/bff/login');
    expect([403, 503]).toContain(page.status);
    expect(startedSessions(page)).toEqual([]);
    undo();
    await signIn(browser);
    assertNoSecrets();
  });

  test('the keys: no session, no error 500', async () => {
    const { client, provider } = await startWorld();
    const undo = provider.fail('jwks', { status: 200, body, contentType });
    const browser = client();
    const page = await browser.navigate('/bff/login');
    expect([403, 503]).toContain(page.status);
    expect(startedSessions(page)).toEqual([]);
    undo();
    await signIn(browser);
  });

  test('the answer to a refresh: 503, and the session lives on', async () => {
    fakeDate();
    const { browser, provider, assertNoSecrets } = await startSignedIn();
    expireAccessToken();
    const undo = provider.fail('refresh', { status: 200, body, contentType });
    const answer = await browser.fetch('/api/me');
    expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    undo();
    vi.advanceTimersByTime(6_000);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    assertNoSecrets();
  });
});

describe('a compressed bomb', () => {
  test.each<Endpoint>(['discovery', 'code', 'jwks'])(
    'in place of the answer of %s takes no memory',
    async (endpoint) => {
      const server = await startListener((request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb);
        request.resume();
      });
      const { client, provider } = await startWorld({ providerUp: false });
      if (endpoint === 'discovery') {
        await provider.down();
      } else {
        const key = endpoint === 'code' ? 'token_endpoint' : 'jwks_uri';
        provider.mutateDiscovery((metadata) => ({ ...metadata, [key]: `http://127.0.0.1:${server.port}/` }));
      }
      await (endpoint === 'discovery' ? hijack(provider.port) : provider.up());
      const peak = watchMemory();
      const page = await client().navigate('/bff/login');
      const grown = peak();
      await server.close();
      expect([403, 503]).toContain(page.status);
      expect(startedSessions(page)).toEqual([]);
      expect(grown).toBeLessThan(40 * 1024 * 1024);
    },
  );
});

/** Answers on the provider's port in its place. */
async function hijack(port: number): Promise<void> {
  const impostor = await startListener((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb);
  }, port);
  afterThis.push(() => impostor.close());
}

const afterThis: Array<() => Promise<void>> = [];

afterEach(async () => {
  for (const close of afterThis.splice(0)) await close();
});

/** How much the process has grown at its largest since the call. */
function watchMemory(): () => number {
  const before = process.memoryUsage().rss;
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 2);
  return () => {
    clearInterval(timer);
    return Math.max(peak, process.memoryUsage().rss) - before;
  };
}

describe('a provider that hangs', () => {
  let world: World;
  let browser: BrowserClient;

  beforeAll(async () => {
    world = await startWorld({}, { scope: 'manual' });
    browser = world.client();
    await signIn(browser);
  });

  afterAll(() => world.stop());

  test('at sign-in costs nobody else anything, and the one who signs in an error page in time', async () => {
    world.provider.hang('code');
    const stuck = world.client().navigate('/bff/login');
    expect((await within(2, browser.fetch('/api/me'), 'the API call')).status).toBe(200);
    expect((await within(2, browser.fetch('/bff/session'), 'the session')).at('authenticated')).toBe(true);
    const page = await within(15, stuck, 'the error page');
    expect([page.status, startedSessions(page)]).toEqual([503, []]);
    world.provider.heal();
  });

  test('at sign-out doesn’t keep anybody from leaving', async () => {
    world.provider.hang('revocation');
    const answer = await within(5, browser.fetch('/bff/logout', { method: 'POST' }), 'the sign-out');
    expect(answer.status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    world.provider.heal();
  });
});
