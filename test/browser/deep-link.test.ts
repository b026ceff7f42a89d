/** A link on another site to a page that requires a login, in Chromium: only there is it seen which navigations happen. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startListener, type Listener } from '../support/listener.ts';
import { startWorld, type World } from '../support/world.ts';

const paths = ['/orders', '/orders?page=2', '/orders#tab', '/orders?page=2#tab', '/#/orders/42'];

let browser: Browser;
let world: World;
/** `127.0.0.1` is another site than `localhost`. */
let elsewhere: Listener;

beforeAll(async () => {
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        spa: { ...base.spa, requireLogin: true },
        login: { ...base.login, params: { login_hint: 'alice' } },
      }),
    },
    { scope: 'manual' },
  );
  elsewhere = await startListener((_request, response) => {
    const links = paths.map((path) => `<a href="${world.origin}${path}">${path}</a>`);
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>Elsewhere</title>${links.join(' ')}`);
  });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await elsewhere?.close();
  await world?.stop();
});

test('the app opened at 127.0.0.1 opens at its origin, with the fragment', async () => {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  await page.goto(`http://127.0.0.1:${new URL(world.origin).port}/orders?page=2#tab`);
  await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('ready');
  expect(page.url()).toBe(`${world.origin}/orders?page=2#tab`);
});

test.each(paths)('%s opens the app for a person who is signed in, and Back leads back', async (path) => {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  world.provider.resetCalls();

  await page.goto(`http://127.0.0.1:${elsewhere.port}/`);
  await page.getByText(path, { exact: true }).click();
  await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('ready');
  expect(page.url()).toBe(`${world.origin}${path}`);
  expect(world.provider.calls.authorization).toBe(0);
  await page.goBack();
  expect(await page.title()).toBe('Elsewhere');
});

describe('for a person who is not signed in, the sign-in comes back to the fragment as well', () => {
  test('by a link on another site', async () => {
    const page = await newPage();
    await page.goto(`http://127.0.0.1:${elsewhere.port}/`);
    await page.getByText('/orders?page=2#tab', { exact: true }).click();
    await page.waitForURL(`${world.origin}/orders?page=2#tab`);
    await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('ready');
    expect(world.provider.calls.authorization).toBe(1);
  });

  test('at an address that is loaded again when the session is over', async () => {
    const page = await newPage();
    for (const load of [() => page.goto(`${world.origin}/#/orders/42`), () => page.evaluate('location.reload()')]) {
      world.provider.resetCalls();
      await page.context().clearCookies();
      await load();
      await expect.poll(() => world.provider.calls.code, { timeout: 10_000 }).toBe(1);
      await page.waitForURL(`${world.origin}/#/orders/42`);
      await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('ready');
    }
  });
});

async function newPage(): Promise<Page> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  world.provider.resetCalls();
  return context.newPage();
}
