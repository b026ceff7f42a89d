/**
 * An app below a path of its origin, `https://www.example.test/shop/`: the SPA, the endpoints and the APIs all live there,
 * and what is beside it belongs to other apps.
 */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { launchChromium } from '../support/chromium.ts';
import { freePort } from '../support/listener.ts';
import { startNginx } from '../support/nginx.ts';
import { startWorld, type World } from '../support/world.ts';

const spa = {
  'index.html': '<!doctype html><title>Shop</title><div id="app"></div><script src="/shop/assets/app.js"></script>',
  'assets/app.js': 'document.querySelector("#app").textContent = "ready";',
  'docs/index.html': '<!doctype html><title>Docs</title>',
};

/** An origin must be known before its world starts, because the provider has its addresses registered. */
async function startShop({
  origin = 'https://www.example.test',
  requireLogin = false,
}: { origin?: string; requireLogin?: boolean } = {}): Promise<World> {
  return startWorld({
    origin,
    spa,
    provider: { redirectUris: [`${origin}/shop/bff/callback`], postLogoutRedirectUris: [`${origin}/shop/`] },
    config: (base) => ({ ...base, path: '/shop', spa: { ...base.spa, requireLogin } }),
  });
}

async function signInToShop(browser: BrowserClient): Promise<string> {
  const { url } = await browser.navigate('/shop/bff/login?login_hint=alice');
  return url;
}

describe('below the path', () => {
  test('are sign-in, session, API calls and sign-out', async () => {
    const world = await startShop();
    const browser = world.client();
    expect(await signInToShop(browser)).toBe(`${world.origin}/shop/`);
    const session = await browser.fetch('/shop/bff/session');
    expect(session.json()).toMatchObject({ authenticated: true });
    const call = await browser.fetch('/shop/api/orders?page=2');
    expect(call.status).toBe(200);
    expect(world.api.last().url).toBe('/orders?page=2');
    const left = await browser.navigate(String(session.at('logoutUrl')));
    expect(left.url).toBe(`${world.origin}/shop/`);
    expect((await browser.fetch('/shop/bff/session')).json()).toEqual({
      authenticated: false,
      loginUrl: '/shop/bff/login',
    });
  });

  test('are the SPA, its files, its folders and its routes', async () => {
    const world = await startShop();
    const browser = world.client();
    expect((await browser.navigate('/shop/')).text).toContain('<title>Shop');
    expect((await browser.navigate('/shop/orders/42')).text).toContain('<title>Shop');
    expect((await browser.fetch('/shop/assets/app.js')).text).toContain('ready');
    expect((await browser.navigate('/shop/docs')).url).toBe(`${world.origin}/shop/docs/`);
  });

  test('is the first page, also without the slash at its end', async () => {
    const world = await startShop();
    const page = await world.client().navigate('/shop?x=1');
    expect(page.url).toBe(`${world.origin}/shop/?x=1`);
    expect(page.text).toContain('<title>Shop');
  });

  test('is where a login gate sends people back to', async () => {
    const world = await startShop({ requireLogin: true });
    const page = await world.client().navigate('/shop/orders?page=2', { stopBefore: isProvider(world) });
    expect(page.url).toBe(`${world.origin}/shop/bff/login?returnTo=%2Fshop%2Forders%3Fpage%3D2`);
  });
});

function isProvider({ provider }: World): (url: URL) => boolean {
  return (url) => url.origin === provider.issuer;
}

describe('beside the path', () => {
  test.each(['/', '/bff/login', '/bff/session', '/api/orders', '/shopping', '/Shop/', '/assets/app.js'])(
    '%s is not the app’s, and the answer says what a proxy must pass on',
    async (path) => {
      const world = await startShop();
      const answer = await world.client().fetch(path);
      expect(answer.status).toBe(404);
      expect(answer.json()).toMatchObject({ code: 'route_not_found', detail: expect.stringContaining('below /shop/') });
      const page = await world.client().navigate(path);
      expect(page.text).toContain('href="/shop/"');
      expect(world.api.requests).toEqual([]);
    },
  );

  test.each(['/', '/other/', '/shopping', '/shop/../other', '/shop/%2e%2e/other', '/shop/api/x', '/shop/bff/logout'])(
    'a login does not return to %s',
    async (returnTo) => {
      const world = await startShop();
      const answer = await world.client().navigate(`/shop/bff/login?returnTo=${encodeURIComponent(returnTo)}`);
      expect(answer.status).toBe(400);
      expect(answer.text).toContain('return_to_invalid');
    },
  );
});

describe('in Chromium, behind a real nginx', () => {
  let chromium: Browser;

  beforeAll(async () => {
    chromium = await launchChromium();
  });

  afterAll(async () => {
    await chromium?.close();
  });

  test('the app loads, signs in and calls its API where nginx passes the path on', async () => {
    const world = await startBehindNginx((port) => `http://127.0.0.1:${port}`);
    const page = await chromium.newPage();
    onTestFinished(() => page.close());
    await page.goto(`${world.origin}/shop/bff/login?login_hint=alice&returnTo=/shop/orders`);
    await page.waitForURL(`${world.origin}/shop/orders`);
    await expect.poll(() => page.textContent('#app')).toBe('ready');
    expect(await page.evaluate('fetch("/shop/api/orders").then((answer) => answer.status)')).toBe(200);
  });

  test('the page says so where nginx cuts the path off', async () => {
    const world = await startBehindNginx((port) => `http://127.0.0.1:${port}/`);
    const page = await chromium.newPage();
    onTestFinished(() => page.close());
    const answer = await page.goto(`${world.origin}/shop/`);
    expect(answer?.status()).toBe(404);
    expect(await page.textContent('main')).toContain('A proxy in front must pass that part of the path on');
  });
});

async function startBehindNginx(proxyPass: (port: number) => string): Promise<World> {
  const port = await freePort();
  const world = await startShop({ origin: `http://localhost:${port}` });
  await startNginx(
    port,
    `location /shop { proxy_pass ${proxyPass(world.server.port)}; proxy_set_header Host $http_host; }`,
  );
  return world;
}
