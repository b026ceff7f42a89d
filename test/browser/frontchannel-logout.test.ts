/**
 * A front-channel logout in Chromium: the provider's page frames ours, which is another site to it, so that no cookie of
 * ours comes along. Only a browser shows who may frame a page.
 */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { watchIdTokens } from '../support/logout-tokens.ts';
import { startWorld, type World } from '../support/world.ts';

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

/** A page of the app, signed in, and the address that the provider frames. */
async function openSignedIn(): Promise<{ world: World; page: Page; address: string }> {
  const world = await startWorld({ backchannelLogout: true, config: { logout: { frontchannel: true } } });
  const idTokens = watchIdTokens(world.provider);
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  const query = new URLSearchParams({ iss: world.provider.issuer, sid: String(idTokens[0]?.['sid']) });
  return { world, page, address: `${world.origin}/bff/frontchannel-logout?${query.toString()}` };
}

interface Framing {
  readonly page: Page;
  /** Why frames were not loaded. */
  readonly failures: string[];
}

/** A page at `url` that frames the address. */
async function openFraming(context: BrowserContext, url: string, address: string): Promise<Framing> {
  const page = await context.newPage();
  const failures: string[] = [];
  page.on('requestfailed', (request) => failures.push(request.failure()?.errorText ?? ''));
  // A page that no server sent counts as one of the internet, from which Chromium frames nothing on loopback.
  await context.grantPermissions(['local-network-access'], { origin: new URL(url).origin });
  const html = `<!doctype html><title>Signing out</title><iframe src="${address.replaceAll('&', '&amp;')}"></iframe>`;
  await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: html }));
  await page.goto(url, { waitUntil: 'load' });
  return { page, failures };
}

test('shows in the provider’s page, and ends the session of the app', async () => {
  const { world, page, address } = await openSignedIn();
  const framing = await openFraming(page.context(), `${world.provider.issuer}/signed-out`, address);

  await framing.page.frameLocator('iframe').getByRole('heading', { name: 'Signed out' }).waitFor();

  expect(await page.evaluate("fetch('/api/me').then(({ status }) => status)")).toBe(401);
  expect(await page.evaluate("fetch('/bff/session').then((response) => response.json())")).toMatchObject({
    authenticated: false,
  });
  expect(await page.context().cookies(world.origin)).toEqual([]);
});

test('shows in no other page', async () => {
  const { page, address } = await openSignedIn();
  const framing = await openFraming(page.context(), 'http://evil.localhost:9/page', address);

  await expect.poll(() => framing.failures).toEqual(['net::ERR_BLOCKED_BY_RESPONSE']);
  expect(await framing.page.frameLocator('iframe').getByRole('heading', { name: 'Signed out' }).count()).toBe(0);
});
