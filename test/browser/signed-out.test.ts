/**
 * Signing out in Chromium, with the provider on another site: it withholds Strict cookies on the way back, and only there
 * is it seen what a person ends up with.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startWorld, type World, type WorldOptions } from '../support/world.ts';

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

/** A page of the app, signed in, and its link to sign out. */
async function openSignedIn(options: WorldOptions = {}): Promise<{ world: World; page: Page; logoutUrl: string }> {
  const world = await startWorld(options);
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  const session = (await page.evaluate("fetch('/bff/session').then((response) => response.json())")) as Session;
  return { world, page, logoutUrl: session.logoutUrl };
}

interface Session {
  readonly logoutUrl: string;
}

const requiresLogin: WorldOptions = { config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }) };

test('ends where the app says', async () => {
  const { world, page, logoutUrl } = await openSignedIn();
  await page.evaluate(`location.assign('${logoutUrl}&returnTo=%2Fbye%3Fx%3D1')`);
  await page.waitForURL(`${world.origin}/bye?x=1`);
  expect(await page.context().cookies(world.origin)).toEqual([]);
  expect(world.provider.calls.endSession).toBe(1);
});

test('ends at a page that needs no login, by a link, by a script and by a form', async () => {
  const { world, page, logoutUrl } = await openSignedIn(requiresLogin);
  const ways = [
    `location.assign('${logoutUrl}')`,
    "fetch('/bff/logout', { method: 'POST' }).then((response) => response.json()).then(({ location: to }) => location.assign(to))",
    "document.body.insertAdjacentHTML('beforeend', '<form method=post action=/bff/logout></form>'); document.forms[0].submit()",
  ];
  for (const way of ways) {
    await page.evaluate(`void setTimeout(() => { ${way} })`);
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
    expect(await page.context().cookies(world.origin)).toEqual([]);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.waitForURL(`${world.origin}/`);
    await expect.poll(() => page.textContent('#app')).toBe('ready');
  }
  expect(world.provider.calls.endSession).toBe(3);
});
