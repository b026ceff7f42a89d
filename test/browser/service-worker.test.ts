/**
 * A real service worker that passes on whatever the page asks for, as those of many installable apps do (Workbox
 * `NetworkFirst`). Its requests look unlike a page's: a navigation that it passes on has no destination, and the address
 * that a person typed, or that a sibling subdomain had loaded ahead, is said to come from the app itself.
 */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startHttpsSites, type HttpsSites } from '../support/https-sites.ts';
import { aheadOf, link } from '../support/linking-pages.ts';
import { startWorld, type World } from '../support/world.ts';

const app = 'https://app.example.test';
const gated = 'https://gated.example.test';
const sibling = 'https://evil.example.test';
const foreigner = 'https://elsewhere.test';

const worker = `
  self.addEventListener('install', () => self.skipWaiting());
  self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));
  self.addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));`;
const spa = {
  'index.html':
    '<!doctype html><title>App</title><link rel="manifest" href="/app.webmanifest"><div id="app"></div><script src="/app.js"></script>',
  'app.js': `document.querySelector('#app').textContent = 'ready'; navigator.serviceWorker.register('/worker.js');`,
  'worker.js': worker,
  'app.webmanifest': '{"name":"App","start_url":"/","icons":[{"src":"/icon.svg","sizes":"any"}]}',
  'icon.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
};

let sites: HttpsSites;
let browser: Browser;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  sites = await startHttpsSites();
  await sites.pages('evil.example.test', {
    '/prefetch': aheadOf('prefetch', `${app}/api/transfer/prefetch`),
    '/prerender': aheadOf('prerender', `${app}/api/transfer/prerender`),
    '/': link(`${app}/api/transfer/linked`),
  });
  await sites.pages('elsewhere.test', { '/': link(`${app}/orders#tab`), '/gated': link(`${gated}/orders#tab`) });
  browser = await launchChromium(sites.chromiumArguments);
});

afterAll(async () => {
  await browser?.close();
  await sites?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  page = await context.newPage();
});

/** The app with Alice's page in it, under the control of its worker. */
async function openApp(origin: string, requireLogin: boolean): Promise<World> {
  onTestFinished(() => context.close());
  const world = await startWorld({
    origin,
    spa,
    config: (base) => ({ ...base, spa: { ...base.spa, requireLogin } }),
  });
  sites.route(new URL(origin).host, world.server.port);
  await page.goto(`${origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${origin}/`);
  await page.evaluate('navigator.serviceWorker.ready');
  await page.waitForFunction('navigator.serviceWorker.controller !== null');
  return world;
}

/** That the worker was at work: else the test would prove nothing. */
function expectPassedOn(origin: string, target: string): void {
  const head = sites.heads(new URL(origin).host, target).at(-1) ?? '';
  expect(head).toMatch(/^Sec-Fetch-Mode: navigate\r$/im);
  expect(head).toMatch(/^Sec-Fetch-Dest: empty\r$/im);
}

function statusesOf(world: World, path: string): Promise<number[]> {
  return vi.waitFor(
    () => {
      const lines = world.logs.filter((line) => line.includes(`"path":"${path}"`) && line.includes('"msg":"request"'));
      if (lines.length === 0) throw new Error(`no request for ${path} came`);
      return lines.map((line) => Number(/"status":(\d+)/.exec(line)?.[1]));
    },
    { timeout: 5000 },
  );
}

describe('through a service worker', () => {
  test('a person signs in and out again', async () => {
    const world = await openApp(app, false);
    const logoutUrl = await page.evaluate(`fetch('/bff/session').then((r) => r.json()).then((s) => s.logoutUrl)`);
    await page.goto(`${app}${String(logoutUrl)}`);
    await page.waitForURL(`${app}/`);
    expectPassedOn(app, String(logoutUrl));
    expect(await page.evaluate(`fetch('/bff/session').then((r) => r.json())`)).toMatchObject({ authenticated: false });

    world.provider.resetCalls();
    await page.evaluate(`location.assign('/bff/login?login_hint=bob&returnTo=/orders')`);
    await page.waitForURL(`${app}/orders`);
    expectPassedOn(app, '/bff/login?login_hint=bob&returnTo=/orders');
    expect(world.provider.calls.code).toBe(1);
    expect(await page.evaluate(`fetch('/bff/session').then((r) => r.json())`)).toMatchObject({ user: { sub: 'bob' } });
  });

  test('a person who meets an error sees a page', async () => {
    await openApp(app, false);
    const answer = await page.goto(`${app}/bff/callback?state=unknown`);
    expect(answer?.status()).toBe(400);
    expect(await page.textContent('h1')).toBe('This sign-in cannot be completed');
  });

  test('an app that requires a login is closed, and its manifest, worker and icon are open', async () => {
    const world = await openApp(gated, true);
    await context.clearCookies();
    world.provider.settings.login = 'form';
    world.provider.revokeSession();
    await page.goto(`${gated}/orders`);
    await page.waitForURL(`${world.provider.issuer}/**`);
    for (const [target, init] of [
      ['/worker.js', { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'serviceworker' }],
      ['/app.webmanifest', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'manifest' }],
      ['/icon.svg', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
    ] as const) {
      expect((await world.client().fetch(target, { headers: init })).status).toBe(200);
    }
  });

  test('a link on another site opens the app for a person who is signed in, with its fragment', async () => {
    const world = await openApp(gated, true);
    world.provider.resetCalls();
    await page.goto(`${foreigner}/gated`);
    await page.getByText('Look at this').click();
    await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('ready');
    expect(page.url()).toBe(`${gated}/orders#tab`);
    expectPassedOn(gated, '/orders');
    expect(world.provider.calls.authorization).toBe(0);
  });
});

describe('an API behind a service worker', () => {
  test.each(['prefetch', 'prerender'])('gets no %s that a sibling’s page asks for', async (action) => {
    const world = await openApp(app, false);
    await page.goto(`${sibling}/${action}`);
    const target = `/api/transfer/${action}`;
    expect(await statusesOf(world, target)).toEqual([403]);
    const head = sites.heads('app.example.test', target).at(-1);
    expect(head).toMatch(/^Sec-Fetch-Site: same-origin\r$/im);
    expect(head).toMatch(/^Cookie: .*__Host-Http-session=/im);
    expectPassedOn(app, target);
    expect(world.api.requests).toEqual([]);
  });

  test('gets no address that a person typed or that a sibling links to', async () => {
    const world = await openApp(app, false);
    expect((await page.goto(`${app}/api/transfer/typed`))?.status()).toBe(403);
    expectPassedOn(app, '/api/transfer/typed');
    await page.goto(sibling);
    await page.getByText('Look at this').click();
    expect(await statusesOf(world, '/api/transfer/linked')).toEqual([403]);
    expect(world.api.requests).toEqual([]);
  });

  test('gets what a link or a form in the app leads to', async () => {
    const world = await openApp(app, false);
    await page.evaluate(`location.assign('/api/invoice')`);
    await page.waitForURL(`${app}/api/invoice`);
    expectPassedOn(app, '/api/invoice');
    await page.goto(app);
    await page.evaluate(`{
      const form = Object.assign(document.createElement('form'), { method: 'post', action: '/api/orders' });
      document.body.append(form);
      form.submit();
    }`);
    await page.waitForURL(`${app}/api/orders`);
    expect(world.api.requests.map(({ method, url, claims }) => [method, url, claims?.sub])).toEqual([
      ['GET', '/invoice', 'alice'],
      ['POST', '/orders', 'alice'],
    ]);
  });
});
