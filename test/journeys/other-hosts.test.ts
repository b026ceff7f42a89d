/**
 * The app opened by another name of its server: the address with `www.`, or 127.0.0.1 in place of localhost. A sign-in that
 * began there would come back to the origin, where its cookie isn't. So the browser goes to the origin first, and never in
 * a circle: behind a proxy that writes a name of its own into `Host`, the browser is at the origin already.
 */
import { describe, expect, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { BrowserClient } from '../support/browser-client.ts';
import { rawRequest } from '../support/raw.ts';
import { signIn, startSignedIn, startWorld, type WorldOptions } from '../support/world.ts';

const origin = 'https://app.example.test';
const overHttps: WorldOptions = {
  origin,
  config: (base) => ({ ...base, listen: { ...base.listen, host: '127.0.0.1' } }),
};

/** The address that a navigation of `path` is sent to, where this `Host` arrives; undefined where it is answered. */
async function sentTo(client: BrowserClient, path: string, host: string, headers: Record<string, string | null> = {}) {
  const page = await client.navigate(path, { headers: { host, ...headers }, follow: false });
  return page.headers.location;
}

describe('at localhost', () => {
  test.each(['127.0.0.1', '[::1]', 'app.localhost', 'LOCALHOST'])('a person who opened %s signs in', async (name) => {
    const world = await startWorld();
    const { port } = new URL(world.origin);
    const browser = new BrowserClient({ origin: world.origin });
    browser.routeTo(Number(port), `http://${name}:${port}`);
    const page = await browser.navigate(`http://${name}:${port}/bff/login?returnTo=/orders%3Fpage=2&login_hint=alice`);
    expect([page.status, page.url]).toEqual([200, `${world.origin}/orders?page=2`]);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
    const document = await browser.navigate(`http://${name}:${port}/orders?page=2&q=%7E`);
    expect(document.url).toBe(`${world.origin}/orders?page=2&q=%7E`);
  });

  test('the redirect is plain, and kept by nobody', async () => {
    const world = await startWorld();
    const { port } = new URL(world.origin);
    const page = await world
      .client()
      .navigate('/a/b?c=%2F&d', { headers: { host: `127.0.0.1:${port}` }, follow: false });
    expect([page.status, page.headers.location]).toEqual([302, `${world.origin}/a/b?c=%2F&d`]);
    expect([page.headers['cache-control'], page.setCookies]).toEqual(['no-store', []]);
  });

  test('an app that requires a login, and a dev server, are opened so as well', async () => {
    const devServer = await startApi();
    for (const spa of [{ devServer: devServer.url }, undefined]) {
      const world = await startWorld({
        config: (base) => ({ ...base, spa: spa ?? { ...base.spa, requireLogin: true } }),
      });
      const { port } = new URL(world.origin);
      expect(await sentTo(world.client(), '/orders', `127.0.0.1:${port}`)).toBe(`${world.origin}/orders`);
    }
    await devServer.close();
  });

  test.each([
    ['another machine’s name', (port: string) => `workstation:${port}`],
    ['an address of the network', (port: string) => `192.168.1.2:${port}`],
    ['a foreign name that leads here', (port: string) => `evil.test:${port}`],
    ['another port, as behind a tunnel or a proxy', () => '127.0.0.1:1'],
    ['no port', () => '127.0.0.1'],
    ['the own name', (port: string) => `localhost:${port}`],
  ])('%s is no other name of this machine’s browser', async (_what, hostOf) => {
    const world = await startWorld();
    const host = hostOf(new URL(world.origin).port);
    expect(await sentTo(world.client(), '/orders', host)).toBeUndefined();
    expect(await sentTo(world.client(), '/bff/login', host)).toContain(world.provider.issuer);
  });

  test('only documents and the sign-in move, and only when a person navigates', async () => {
    const { browser, origin: own, api } = await startSignedIn();
    const host = `127.0.0.1:${new URL(own).port}`;
    expect((await browser.fetch('/api/me', { headers: { host } })).status).toBe(200);
    expect((await browser.fetch('/bff/session', { headers: { host } })).at('authenticated')).toBe(true);
    expect((await browser.fetch('/assets/app.js', { headers: { host } })).status).toBe(200);
    expect((await browser.fetch('/', { headers: { host } })).headers.location).toBeUndefined();
    expect((await browser.submitForm('/api/form', { a: '1' }, { headers: { host } })).status).toBe(200);
    expect(await sentTo(browser, '/bff/callback?state=x', host)).toBeUndefined();
    expect(await sentTo(browser, '/', host, { 'sec-fetch-dest': 'iframe' })).toBeUndefined();
    expect(await sentTo(browser, '/', host, { 'sec-purpose': 'prefetch' })).toBeUndefined();
    expect(await sentTo(browser, '/bff/login', host, { 'sec-fetch-mode': 'cors' })).toBeUndefined();
    expect(api.requests).toHaveLength(2);
  });

  test('an error there names the origin', async () => {
    const { browser, origin: own } = await startSignedIn();
    const { port } = new URL(own);
    const headers = { host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` };
    const call = await browser.fetch('/api/me', { method: 'POST', headers });
    expect([call.status, call.at('detail')]).toEqual([403, expect.stringContaining(own)]);
    const callback = await browser.navigate('/bff/callback?code=x&state=y', { headers: { host: headers.host } });
    expect([callback.status, callback.text.includes(own)]).toEqual([400, true]);
  });
});

describe('at a public origin', () => {
  test.each(['www.app.example.test', 'WWW.app.example.test', 'www.app.example.test:443'])(
    'a person who opened %s gets to the origin',
    async (host) => {
      const world = await startWorld(overHttps);
      expect(await sentTo(world.client(), '/orders?page=2', host)).toBe(`${origin}/orders?page=2`);
      expect(await sentTo(world.client(), '/bff/login?returnTo=/x', host)).toBe(`${origin}/bff/login?returnTo=/x`);
    },
  );

  test('and from www. to the name without it, and in reverse', async () => {
    const world = await startWorld({ ...overHttps, origin: 'https://www.example.test' });
    expect(await sentTo(world.client(), '/', 'example.test')).toBe('https://www.example.test/');
  });

  test.each(['/', '/orders?page=2&q=%7E', '/bff/login?returnTo=/x'])(
    'from any other name, too, with a mark that is gone again: %s',
    async (path) => {
      const world = await startWorld(overHttps);
      const client = world.client();
      const address = (await sentTo(client, path, 'old.example.test')) ?? '';
      expect(new URL(address).origin).toBe(origin);
      expect(address).not.toBe(origin + path);
      expect(await sentTo(client, address, 'app.example.test')).toBe(origin + path);
      expect(await sentTo(client, path, 'app.example.test.')).toContain(origin);
    },
  );

  /** What proxies write in place of the browser's `Host`. */
  test.each([
    '127.0.0.1:3000',
    'localhost',
    'sallyport',
    'sallyport:3000',
    '10.0.0.5',
    '[fd00::1]',
    'backend_1',
    'a.b:3000',
  ])('not where a proxy wrote %s', async (host) => {
    const world = await startWorld(overHttps);
    expect(await sentTo(world.client(), '/orders', host)).toBeUndefined();
    expect(await sentTo(world.client(), '/bff/login', host)).toContain(world.provider.issuer);
  });

  test('not where a proxy tells the name that it replaced', async () => {
    const world = await startWorld(overHttps);
    for (const headers of [
      { 'x-forwarded-host': 'app.example.test' },
      { 'x-original-host': 'app.example.test' },
      { forwarded: 'for=192.0.2.1;host="app.example.test";proto=https' },
    ]) {
      expect(await sentTo(world.client(), '/orders', 'myapp.hosting.test', headers)).toBeUndefined();
    }
    const forged = { 'x-forwarded-host': 'evil.test' };
    expect(await sentTo(world.client(), '/', 'www.app.example.test', forged)).toBe(`${origin}/`);
  });

  test('at most once, where a proxy writes a public name: the app loads, and people sign in', async () => {
    const world = await startWorld({
      ...overHttps,
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
    });
    const headers = { host: 'myapp.hosting.test' };
    const stopBefore = (url: URL) => url.origin === world.provider.issuer;
    for (const fetchMetadata of [true, false]) {
      const stranger = world.client({ fetchMetadata });
      const login = await stranger.navigate('/orders?page=2', { headers, stopBefore, maxHops: 6 });
      expect(login.headers.location).toContain(world.provider.issuer);
    }
    const client = world.client();
    await signIn(client);
    const page = await client.navigate('/orders?page=2', { headers, maxHops: 8 });
    expect([page.status, page.text.includes('id="app"')]).toEqual([200, true]);
    expect(page.chain.filter(({ status }) => status === 302).length).toBeLessThanOrEqual(3);
    expect(page.chain.map(({ url }) => new URL(url).origin)).toEqual(page.chain.map(() => origin));
  });

  test('without following a name that is none, and never anywhere else', async () => {
    const world = await startWorld(overHttps);
    for (const host of [
      '',
      ' ',
      'a b',
      'evil.test/x',
      'user@evil.test',
      'evil.test:99999',
      '[',
      '.',
      'a..b',
      '%61.test',
    ]) {
      for (const target of ['/', '//evil.test', '/\\evil.test', '/.//evil.test?sallyport_moved', '/?sallyport_moved']) {
        const lines = [`GET ${target} HTTP/1.1`, `Host: ${host}`, 'Accept: text/html', 'Connection: close', '', ''];
        const answer = (await rawRequest(world.server.port, lines.join('\r\n'))).toString('latin1');
        const location = /^location: (.*)\r$/im.exec(answer)?.[1];
        expect([host, target, new URL(location ?? '', origin).origin]).toEqual([host, target, origin]);
      }
    }
  });
});
