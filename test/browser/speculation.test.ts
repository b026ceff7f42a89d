/**
 * The attacker's story: "I have a page on a sibling subdomain, so that the browser sends even Strict cookies with what my
 * page asks for. My page tells Chromium to load an API's address ahead, which it does without a click, as if the person
 * had typed it: `Sec-Fetch-Site: none`. Or the person types the address of a page of mine, and I redirect."
 *
 * Must hold: none of it reaches the API; where a route is for documents that people open by their address, a typed
 * address does, and what a page loads ahead still doesn't.
 */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startHttpsSites, type HttpsSites } from '../support/https-sites.ts';
import { aheadOf, link } from '../support/linking-pages.ts';
import { startWorld, type ConfigOverrides, type World } from '../support/world.ts';

const app = 'https://app.example.test';
const documents = 'https://documents.example.test';
const sibling = 'https://evil.example.test';
const foreigner = 'https://elsewhere.test';

let sites: HttpsSites;
let browser: Browser;

beforeAll(async () => {
  sites = await startHttpsSites();
  await sites.pages('evil.example.test', {
    '/prefetch': aheadOf('prefetch', `${app}/api/transfer/prefetch`),
    '/prerender': aheadOf('prerender', `${app}/api/transfer/prerender`),
    '/detour': aheadOf('prefetch', `${sibling}/to-transfer`),
    '/to-transfer': `${app}/api/transfer/detour`,
    '/typed': `${app}/api/transfer/typed-sibling`,
    '/session': aheadOf('prefetch', `${app}/bff/session`),
    '/prefetch-report': aheadOf('prefetch', `${documents}/reports/prefetch`),
    '/prerender-report': aheadOf('prerender', `${documents}/reports/prerender`),
    '/prefetch-api': aheadOf('prefetch', `${documents}/api/prefetch`),
    '/link': link(`${documents}/reports/linked`),
  });
  await sites.pages('elsewhere.test', {
    '/': `${app}/api/transfer/typed-elsewhere`,
    '/link': link(`${documents}/reports/linked-elsewhere`),
  });
  browser = await launchChromium(sites.chromiumArguments);
});

afterAll(async () => {
  await browser?.close();
  await sites?.close();
});

/** The app at `origin`, with Alice signed in to it. */
async function openSignedIn(origin: string, api: ConfigOverrides) {
  const world = await startWorld({ origin, config: api }, { scope: 'manual' });
  const { host } = new URL(origin);
  sites.route(host, world.server.port);
  const context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${origin}/`);
  return { world, context };
}

/** What each request for the path was answered with, once there was one. */
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

/** That the browser took it for typed and showed the session: else the refusal would prove nothing. */
function expectTypedWithSession(host: string, path: string): void {
  const [head, ...more] = sites.heads(host, path);
  expect(head).toMatch(/^Sec-Fetch-Site: none\r$/im);
  expect(head).toMatch(/^Cookie: .*__Host-Http-session=/im);
  expect(more).toEqual([]);
}

describe('an API', () => {
  let world: World;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    ({ world, context } = await openSignedIn(app, (base) => base));
  });

  afterAll(async () => {
    await context?.close();
    await world?.stop();
  });

  beforeEach(async () => {
    world.api.requests.length = 0;
    page = await context.newPage();
    onTestFinished(() => page.close());
  });

  test.each(['prefetch', 'prerender'])('gets no %s that a sibling’s page asks for', async (action) => {
    await page.goto(`${sibling}/${action}`);
    expect(await statusesOf(world, `/api/transfer/${action}`)).toEqual([403]);
    expectTypedWithSession('app.example.test', `/api/transfer/${action}`);
    expect(world.api.requests).toEqual([]);
  });

  test('gets no prefetch of a sibling’s own address that redirects there', async () => {
    await page.goto(`${sibling}/detour`);
    expect(await statusesOf(world, '/api/transfer/detour')).toEqual([403]);
    expectTypedWithSession('app.example.test', '/api/transfer/detour');
    expect(world.api.requests).toEqual([]);
  });

  test.each([
    ['sibling’s', `${sibling}/typed`, '/api/transfer/typed-sibling'],
    ['foreign', `${foreigner}/`, '/api/transfer/typed-elsewhere'],
  ])('gets no typed address of a %s page that redirects there', async (_whose, typed, path) => {
    const answer = await page.goto(typed);
    expect(answer?.url()).toBe(`${app}${path}`);
    expect(answer?.status()).toBe(403);
    expectTypedWithSession('app.example.test', path);
    expect(world.api.requests).toEqual([]);
  });

  test('gets no address that a person typed', async () => {
    const answer = await page.goto(`${app}/api/transfer/typed`);
    expect(answer?.status()).toBe(403);
    expectTypedWithSession('app.example.test', '/api/transfer/typed');
    expect(world.api.requests).toEqual([]);
  });

  test('gets what a script of the app fetches, and what a link in the app leads to', async () => {
    await page.goto(app);
    expect(await page.evaluate(`fetch('/api/orders').then(({ status }) => status)`)).toBe(200);
    await page.evaluate(`location.assign('/api/invoice')`);
    await page.waitForURL(`${app}/api/invoice`);
    expect(world.api.requests.map(({ url, claims }) => [url, claims?.sub])).toEqual([
      ['/orders', 'alice'],
      ['/invoice', 'alice'],
    ]);
  });

  test('aside, the session is told to nobody who loads it ahead, but to who typed its address', async () => {
    await page.goto(`${sibling}/session`);
    expect(await statusesOf(world, '/bff/session')).toEqual([403]);
    expectTypedWithSession('app.example.test', '/bff/session');
    const typed = await page.goto(`${app}/bff/session`);
    expect(await typed?.json()).toMatchObject({ authenticated: true });
  });
});

describe('a route with `navigations: true`', () => {
  let world: World;
  let context: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    ({ world, context } = await openSignedIn(documents, (base) => ({
      ...base,
      api: (base.api ?? []).flatMap((route) => [route, { ...route, path: '/reports', navigations: true }]),
    })));
  });

  afterAll(async () => {
    await context?.close();
    await world?.stop();
  });

  beforeEach(async () => {
    world.api.requests.length = 0;
    page = await context.newPage();
    onTestFinished(() => page.close());
  });

  test('gets the address that a person typed, with the token', async () => {
    const answer = await page.goto(`${documents}/reports/typed`);
    expect(answer?.status()).toBe(200);
    expectTypedWithSession('documents.example.test', '/reports/typed');
    expect(world.api.last().claims?.sub).toBe('alice');
  });

  test.each(['prefetch', 'prerender'])('gets no %s that a sibling’s page asks for', async (action) => {
    await page.goto(`${sibling}/${action}-report`);
    expect(await statusesOf(world, `/reports/${action}`)).toEqual([403]);
    expectTypedWithSession('documents.example.test', `/reports/${action}`);
    expect(world.api.requests).toEqual([]);
  });

  test.each([
    ['a sibling', sibling, '/reports/linked', 'same-site'],
    ['another site', foreigner, '/reports/linked-elsewhere', 'cross-site'],
  ])('is not reached by a link on %s', async (_where, from, path, site) => {
    await page.goto(`${from}/link`);
    await page.getByText('Look at this').click();
    await page.waitForURL(`${documents}${path}`);
    expect(await statusesOf(world, path)).toEqual([403]);
    expect(sites.heads('documents.example.test', path)[0]).toMatch(new RegExp(`^Sec-Fetch-Site: ${site}\\r$`, 'im'));
    expect(world.api.requests).toEqual([]);
  });

  test('opens no other route', async () => {
    expect((await page.goto(`${documents}/api/typed`))?.status()).toBe(403);
    await page.goto(`${sibling}/prefetch-api`);
    expect(await statusesOf(world, '/api/prefetch')).toEqual([403]);
    expect(world.api.requests).toEqual([]);
  });
});
