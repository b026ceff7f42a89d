/** The client's own rules, for tests believe what it says: each case is a line of what browsers were seen to do. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { BlockedByBrowser, BrowserClient } from './browser-client.ts';
import { fakeDate } from './clock.ts';
import { CookieJar, type BrowserProfile } from './cookie-jar.ts';
import { startListener, type Listener } from './listener.ts';

const httpsUrl = 'https://app.example.test/';
const profiles: BrowserProfile[] = ['chromium', 'firefox', 'safari'];

describe('the jar stores', () => {
  test.each([
    ['a plain cookie', 'a=1', httpsUrl, true],
    ['exactly 4096 bytes of name and value', `a=${'x'.repeat(4095)}`, httpsUrl, true],
    ['not 4097 bytes', `a=${'x'.repeat(4096)}`, httpsUrl, false],
    ['a Secure cookie on https', 'a=1; Secure', httpsUrl, true],
    ['no Secure cookie on plain http', 'a=1; Secure', 'http://app.example.test/', false],
    ['a Secure cookie on http://localhost', 'a=1; Secure', 'http://localhost:1/', true],
    ['SameSite=None only with Secure', 'a=1; SameSite=None', httpsUrl, false],
    ['__Host- with all that it takes', '__Host-a=1; Secure; Path=/', httpsUrl, true],
    ['no __Host- without Path=/', '__Host-a=1; Secure; Path=/bff', httpsUrl, false],
    ['no __Host- with a Domain', '__Host-a=1; Secure; Path=/; Domain=example.test', httpsUrl, false],
    ['no __Host- without Secure', '__Host-a=1; Path=/', httpsUrl, false],
    ['no __host- in another case either', '__host-a=1; Path=/', httpsUrl, false],
    ['no __Secure- without Secure', '__Secure-a=1', httpsUrl, false],
    ['__Host-Http- with all that it takes', '__Host-Http-a=1; Secure; HttpOnly; Path=/', httpsUrl, true],
    ['no __Host-Http- without HttpOnly', '__Host-Http-a=1; Secure; Path=/', httpsUrl, false],
    ['a cookie for the parent domain', 'a=1; Domain=example.test', httpsUrl, true],
    ['no cookie for a foreign domain', 'a=1; Domain=evil.test', httpsUrl, false],
    ['no cookie for a top-level domain', 'a=1; Domain=test', httpsUrl, false],
    ['no nameless __Host- cookie', '=__Host-a=1', httpsUrl, false],
    ['no cookie with a control character', 'a=1\u0001', httpsUrl, false],
  ])('%s', (_title, setCookie, url, stored) => {
    const jar = new CookieJar('chromium');
    expect(jar.store(setCookie, url)).toBe(stored);
    expect(jar.all()).toHaveLength(stored ? 1 : 0);
  });

  test('no Secure cookie on http://localhost in Safari', () => {
    expect(new CookieJar('safari').store('a=1; Secure', 'http://localhost:1/')).toBe(false);
  });

  test('no plain-http cookie over a Secure one of the same name', () => {
    const jar = new CookieJar('chromium');
    jar.store('a=1; Secure; Path=/', httpsUrl);
    expect(jar.store('a=2; Path=/', 'http://app.example.test/')).toBe(false);
    expect(jar.get('a')?.value).toBe('1');
  });

  test('nothing over an HttpOnly cookie from a script', () => {
    const jar = new CookieJar('chromium');
    jar.store('a=1; HttpOnly; Path=/', httpsUrl);
    expect(jar.store('a=2; Path=/', httpsUrl, 'same-site', true)).toBe(false);
    expect(jar.store('a=2; Path=/bff', httpsUrl, 'same-site', true)).toBe(true);
    expect(jar.store('__Host-Http-b=1; Secure; Path=/', httpsUrl, 'same-site', true)).toBe(false);
  });

  test('Lax and Strict cookies of a cross-site subresource not at all', () => {
    const jar = new CookieJar('chromium');
    expect(jar.store('a=1; SameSite=Strict; Secure', httpsUrl, 'cross-site-subresource')).toBe(false);
    expect(jar.store('a=1; Secure', httpsUrl, 'cross-site-subresource')).toBe(false);
  });
});

describe('the jar sends', () => {
  test('by path and host, longer paths first', () => {
    const jar = new CookieJar('chromium');
    jar.store('root=1; Path=/', httpsUrl);
    jar.store('deep=2; Path=/a/b', httpsUrl);
    jar.store('parent=3; Path=/; Domain=example.test', httpsUrl);
    expect(jar.header('https://app.example.test/a/b/c')).toBe('deep=2; root=1; parent=3');
    expect(jar.header('https://app.example.test/a/bc')).toBe('root=1; parent=3');
    expect(jar.header('https://other.example.test/')).toBe('parent=3');
  });

  test.each([
    ['same-site', 'strict lax none unset', 'strict lax none unset'],
    ['cross-site-safe-navigation', 'lax none unset', 'lax none unset'],
    ['cross-site-unsafe-navigation', 'none unset', 'none unset'],
    ['cross-site-subresource', 'none', 'none unset'],
  ] as const)('SameSite values on %s', (context, chromium, others) => {
    for (const profile of profiles) {
      const jar = new CookieJar(profile);
      for (const value of ['strict', 'lax', 'none']) jar.store(`${value}=1; SameSite=${value}; Secure`, httpsUrl);
      jar.store('unset=1', httpsUrl);
      const sent = jar.header(httpsUrl, context)?.replaceAll('=1', '').replaceAll(';', '');
      expect(sent).toBe(profile === 'chromium' ? chromium : others);
    }
  });

  test('an unset SameSite with a cross-site POST for two minutes only (Chromium)', () => {
    fakeDate();
    const jar = new CookieJar('chromium');
    jar.store('a=1', httpsUrl);
    vi.advanceTimersByTime(119_000);
    expect(jar.header(httpsUrl, 'cross-site-unsafe-navigation')).toBe('a=1');
    vi.advanceTimersByTime(2000);
    expect(jar.header(httpsUrl, 'cross-site-unsafe-navigation')).toBeUndefined();
  });

  test('nothing that has expired, Max-Age before Expires', () => {
    fakeDate();
    const jar = new CookieJar('chromium');
    jar.store('a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60', httpsUrl);
    expect(jar.header(httpsUrl)).toBe('a=1');
    vi.advanceTimersByTime(60_000);
    expect(jar.header(httpsUrl)).toBeUndefined();
    jar.store('b=1', httpsUrl);
    jar.store('b=; Max-Age=0', httpsUrl);
    expect(jar.all()).toEqual([]);
  });

  test('the old cookie still, where the deletion has another path', () => {
    const jar = new CookieJar('chromium');
    jar.store('a=1; Path=/', httpsUrl);
    jar.store('a=; Path=/bff; Max-Age=0', httpsUrl);
    expect(jar.header(httpsUrl)).toBe('a=1');
  });
});

/**
 * One server that is two sites: the app under `localhost`, the provider under `127.0.0.1`. `/login` sends the browser
 * to the provider, which sends it back at once (`/silent`) or by a page that it shows (`/interactive`).
 */
describe('the client', () => {
  let listener: Listener;
  let app: string;
  let provider: string;

  beforeAll(async () => {
    listener = await startListener(answer);
    app = `http://localhost:${listener.port}`;
    provider = `http://127.0.0.1:${listener.port}`;
  });
  afterAll(() => listener.close());

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', app);
    const redirects: Record<string, string> = {
      '/login': `${provider}/${url.searchParams.get('way') ?? 'silent'}`,
      '/silent': `${app}/callback`,
      '/posted': `${app}/callback`,
      '/to-other-origin': `${provider}/`,
      '/to-same-origin': '/landed',
    };
    const pages: Record<string, string> = {
      '/interactive': `<form method="post" action="/posted"><input name="a" value="1&amp;2"></form><script>document.forms[0].submit()</script>`,
      '/form-post': `<form method="post" action="${app}/callback"><input name="code" value="c"></form><script>document.forms[0].submit()</script>`,
      '/replace': '<script>location.replace("\\/landed?x=\\u0026")</script>',
      '/refresh': '<meta http-equiv="refresh" content="0;url=/landed?a=1&amp;b=2">',
    };
    const location = redirects[url.pathname];
    if (location) {
      response.writeHead(request.method === 'POST' ? 303 : 302, { location });
      response.end();
      return;
    }
    const page = pages[url.pathname];
    response.setHeader('content-type', page ? 'text/html' : 'application/json');
    if (url.pathname === '/plant') {
      const names = ['strict', 'lax', 'none'];
      response.setHeader('set-cookie', [...names.map((name) => `${name}=1; SameSite=${name}; Secure`), 'unset=1']);
    }
    response.end(page ?? JSON.stringify({ method: request.method, url: request.url, headers: request.headers }));
  }

  async function planted(profile: BrowserProfile): Promise<BrowserClient> {
    const client = new BrowserClient({ origin: app, profile });
    // Safari would drop the Secure cookies here; planting them shows what it would send.
    for (const sameSite of ['strict', 'lax', 'none', 'unset'] as const) {
      client.cookies.put({ name: sameSite, value: '1', domain: 'localhost', sameSite });
    }
    return client;
  }

  test.each([
    ['silent, started by the app', { way: 'silent', initiator: 'app' }, 'strict lax none unset', 'lax none unset'],
    ['silent, typed', { way: 'silent', initiator: 'none' }, 'strict lax none unset', 'lax none unset'],
    ['silent, started by the provider', { way: 'silent', initiator: 'provider' }, 'lax none unset', 'lax none unset'],
    ['after a page of the provider', { way: 'interactive', initiator: 'app' }, 'lax none unset', 'lax none unset'],
    ['by form_post', { way: 'form-post', initiator: 'app' }, 'none unset', 'none unset'],
  ])('sends to the callback, %s', async (_title, { way, initiator }, chromium, others) => {
    const origins: Record<string, string> = { app, provider, none: 'none' };
    for (const profile of profiles) {
      const client = await planted(profile);
      const callback = await client.navigate(`/login?way=${way}`, { initiator: origins[initiator] ?? '' });
      expect(callback.url).toBe(`${app}/callback`);
      expect(cookiesSent(callback)).toBe(profile === 'chromium' ? chromium : others);
      client.close();
    }
  });

  test('tells where a chain of redirects has been', async () => {
    const client = new BrowserClient({ origin: app });
    const typed = await client.navigate('/login', { initiator: 'none' });
    expect(typed.chain.map((hop) => hop.requestHeaders['sec-fetch-site'])).toEqual(['none', 'none', 'none']);
    const clicked = await client.navigate('/login', { initiator: app });
    expect(clicked.chain.map((hop) => hop.requestHeaders['sec-fetch-site'])).toEqual([
      'same-origin',
      'cross-site',
      'cross-site',
    ]);
    expect(clicked.requestHeaders).toMatchObject({ 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' });
    client.close();
  });

  test.each(['/replace', '/refresh'])('moves on from %s as a fresh same-site navigation', async (path) => {
    const client = await planted('firefox');
    const landed = await client.navigate(path, { initiator: provider });
    expect(landed.url).toMatch(/\/landed\?/);
    expect(cookiesSent(landed.chain[0] ?? landed)).toBe('lax none unset');
    expect(cookiesSent(landed)).toBe('strict lax none unset');
    expect(landed.requestHeaders['sec-fetch-site']).toBe('same-origin');
    client.close();
  });

  test('submits a form with its Origin, and with null under no-referrer', async () => {
    const client = new BrowserClient({ origin: app });
    const posted = await client.submitForm('/post', { a: '1' });
    expect(posted.requestHeaders).toMatchObject({ origin: app, 'sec-fetch-site': 'same-origin' });
    const strict = await client.submitForm('/post', { a: '1' }, { referrerPolicy: 'no-referrer' });
    expect(strict.requestHeaders).toMatchObject({ origin: 'null', 'sec-fetch-site': 'same-origin' });
    client.close();
  });

  test('fetches as a script of its page, with or without credentials', async () => {
    const client = await planted('chromium');
    const own = await client.fetch('/x');
    expect(own.requestHeaders).toMatchObject({ 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' });
    expect(own.requestHeaders).not.toHaveProperty('origin');
    expect(cookiesSent(own)).toBe('strict lax none unset');
    const post = await client.fetch('/x', { method: 'POST', body: { a: 1 } });
    expect(post.requestHeaders).toMatchObject({ origin: app, 'content-type': 'application/json' });

    const sibling = 'http://localhost:1';
    const plain = await client.fetch('/x', {}, { from: sibling });
    expect(plain.requestHeaders).toMatchObject({ 'sec-fetch-site': 'same-site', origin: sibling });
    expect(cookiesSent(plain)).toBe('');
    const included = await client.fetch('/x', { mode: 'no-cors', credentials: 'include' }, { from: sibling });
    expect(cookiesSent(included)).toBe('strict lax none unset');
    const foreign = await client.fetch('/x', { mode: 'no-cors', credentials: 'include' }, { from: provider });
    expect(foreign.requestHeaders['sec-fetch-site']).toBe('cross-site');
    expect(cookiesSent(foreign)).toBe('none');
    client.close();
  });

  test('asks before a cross-origin request that is not simple, and stops at a refusal', async () => {
    const client = await planted('chromium');
    const withHeader = client.fetch('/x', { headers: { 'x-csrf': '1' }, credentials: 'include' }, { from: provider });
    await expect(withHeader).rejects.toThrow(BlockedByBrowser);
    const preflight = client.seen.at(-1);
    expect(preflight?.body.toString()).toContain('"method":"OPTIONS"');
    expect(preflight?.body.toString()).not.toContain('"cookie"');
    client.close();
  });

  test('follows a fetch to its own origin only', async () => {
    const client = new BrowserClient({ origin: app });
    expect((await client.fetch('/to-same-origin')).url).toBe(`${app}/landed`);
    expect((await client.fetch('/to-other-origin')).status).toBe(302);
    client.close();
  });

  test('keeps a copied jar as it was', async () => {
    const client = new BrowserClient({ origin: app });
    const before = client.clone();
    await client.navigate('/plant');
    expect(client.cookies.all().map((cookie) => cookie.name)).toEqual(['strict', 'lax', 'none', 'unset']);
    expect(before.cookies.all()).toEqual([]);
    expect(client.seen).toHaveLength(1);
    client.close();
    before.close();
  });

  test('without fetch metadata sends none', async () => {
    const client = new BrowserClient({ origin: app, fetchMetadata: false });
    const { requestHeaders } = await client.fetch('/x');
    expect(Object.keys(requestHeaders).filter((name) => name.startsWith('sec-'))).toEqual([]);
    client.close();
  });
});

function cookiesSent(exchange: { requestHeaders: Record<string, string> }): string {
  return (exchange.requestHeaders['cookie'] ?? '').replaceAll('=1', '').replaceAll(';', '');
}
