/**
 * Sallyport's own pages in Chromium, in light and in dark: what axe-core can find of accessibility, whether they fit a small
 * telephone, whether the keyboard gets everywhere, and whether they load or run anything but their own.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AxeResults } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { launchChromium } from '../support/chromium.ts';
import { startWorld, type World } from '../support/world.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser: Browser;
let world: World;
let folder: string;

beforeAll(async () => {
  browser = await launchChromium();
  folder = await mkdtemp(join(tmpdir(), 'sallyport-logo-'));
  const logo =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40" width="40" height="40"><circle r="20"/></svg>';
  await writeFile(join(folder, 'logo.svg'), logo);
  world = await startWorld({ config: (base) => ({ ...base, pages: themed() }) }, { scope: 'manual' });
});

afterAll(async () => {
  await browser?.close();
  await world?.stop();
  await rm(folder, { recursive: true, force: true });
});

function themed(accentColor = '#0b7a4b'): NonNullable<ConfigInput['pages']> {
  const texts = { he: { signIn: 'כניסה', errors: { login_transaction_invalid: { title: 'הכניסה נכשלה' } } } };
  return { appName: 'Orders & Returns', accentColor, logoFile: join(folder, 'logo.svg'), texts };
}

async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 320, height: 640 }, ...options });
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  return context.newPage();
}

const expired = '/bff/callback?state=x&code=y';

/** A way to each page that a person reads, under the headers that it was sent with. */
const ways: ReadonlyArray<readonly [name: string, go: (page: Page) => Promise<unknown>]> = [
  ['an error', (page) => page.goto(world.origin + expired)],
  ['an error of any other code', (page) => page.goto(`${world.origin}/bff/nowhere`)],
  [
    'a failed login in a popup',
    (page) => {
      world.provider.refuseNext('access_denied');
      return page.goto(`${world.origin}/bff/login?display=popup`);
    },
  ],
  [
    'a login in a popup',
    async (page) => {
      // A window that no script may close, so that the page stays.
      await page.goto(`${world.origin}/`);
      await page.goto(`${world.origin}/bff/login?display=popup&login_hint=alice`);
      await page.getByRole('heading', { name: 'You are signed in' }).waitFor();
    },
  ],
  ['the reference of errors', (page) => page.goto(`${world.origin}/bff/errors#internal_error`)],
];

async function violationsOn(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate<AxeResults>(
    `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
  );
  expect(passes.map(({ id }) => id)).toEqual(expect.arrayContaining(['color-contrast', 'document-title', 'region']));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

describe.each(['light', 'dark'] as const)('in %s', (colorScheme) => {
  test.each(ways)('%s has nothing that axe finds, fits 320 pixels, and loads nothing', async (name, go) => {
    const page = await openPage({ colorScheme });
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    await go(page);
    expect(await violationsOn(page)).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320);
    const loaded: string[] = await page.evaluate(`performance.getEntriesByType('resource').map(({ name }) => name)`);
    expect(loaded.filter((name) => !name.startsWith('data:') && !name.endsWith('/favicon.ico'))).toEqual([]);
    expect(complaints.filter((text) => /Content Security Policy|Uncaught/.test(text))).toEqual([]);
    expect(await page.evaluate(`document.querySelector('header img').naturalWidth`)).toBe(40);
    await saveShot(page, `${colorScheme}-${name.replaceAll(' ', '-')}`);
  });
});

test('every accent leaves the buttons readable', async () => {
  const page = await openPage();
  for (const accent of ['#ffffff', '#777777', '#ffd400', '#d0021b']) {
    await world.restart((base) => ({ ...base, pages: themed(accent) }));
    await page.goto(world.origin + expired);
    expect(await violationsOn(page)).toEqual([]);
  }
});

test('the pages between are as accessible, for those who see them', async () => {
  const page = await openPage();
  await page.route('**/bff/login*', async (route) => {
    const response = await route.fetch({ headers: { ...route.request().headers(), 'sec-fetch-site': 'cross-site' } });
    const body = (await response.text()).replace(/<meta http-equiv="refresh"[^>]*>/, '');
    await route.fulfill({ response, body });
  });
  await page.goto(`${world.origin}/bff/login`);
  expect(await page.getByRole('heading').textContent()).toBe('Signing in');
  expect(await page.locator('header').count()).toBe(0);
  expect(await violationsOn(page)).toEqual([]);
});

test('the keyboard reaches every link and button, and shows where it is', async () => {
  const page = await openPage();
  world.provider.refuseNext('access_denied');
  await page.goto(`${world.origin}/bff/login?display=popup`);
  const reached: unknown[] = [];
  for (let index = 0; index < 3; index++) {
    await page.keyboard.press('Tab');
    reached.push(
      await page.evaluate(`(() => {
        const { textContent } = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return [textContent, outlineStyle, outlineWidth];
      })()`),
    );
  }
  const names = ['Sign in', 'Close this window', 'What does this mean?'];
  expect(reached).toEqual(names.map((name) => [name, 'solid', '3px']));
});

test('a page in a language that runs from right to left does', async () => {
  const page = await openPage({ locale: 'he' });
  await page.goto(world.origin + expired);
  expect(await page.evaluate('[document.documentElement.lang, document.dir]')).toEqual(['he', 'rtl']);
  expect(await page.getByRole('heading').textContent()).toBe('הכניסה נכשלה');
  expect(await violationsOn(page)).toEqual([]);
  await saveShot(page, 'rtl');
});

test.each(['de', 'fr', 'ja'])('fits 320 pixels in "%s"', async (locale) => {
  const page = await openPage({ locale });
  await page.goto(world.origin + expired);
  expect(await page.evaluate('[document.documentElement.lang, document.documentElement.scrollWidth]')).toEqual([
    locale,
    320,
  ]);
  await saveShot(page, locale);
});

/** `SHOTS=/tmp/shots npm test -- browser/pages` keeps a picture of each page, to be looked at. */
async function saveShot(page: Page, name: string): Promise<void> {
  const shots = process.env['SHOTS'];
  if (shots !== undefined) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}
