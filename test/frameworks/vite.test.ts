/** A real Vite app, built for production and served by Sallyport, with a style library that inserts its rules at run time. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from 'vite';
import type { ConfigInput } from '../../src/config/config.ts';
import { launchChromium } from '../support/chromium.ts';
import { startWorld } from '../support/world.ts';
import { openWatchedPage, type WatchedPage } from './watched-page.ts';

type Spa = NonNullable<ConfigInput['spa']>;

let output: string;
let browser: Browser;

beforeAll(async () => {
  output = await mkdtemp(join(tmpdir(), 'sallyport-vite-'));
  for (const [name, html] of [
    ['as-it-comes', {}],
    ['with-nonce', { cspNonce: '{{csp_nonce}}' }],
  ] as const) {
    await build({
      root: join(import.meta.dirname, 'vite'),
      configFile: false,
      logLevel: 'error',
      html,
      build: { outDir: join(output, name), emptyOutDir: false },
    });
  }
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await rm(output, { recursive: true, force: true });
});

/** Somebody who has signed in looks at the app. */
async function look(folder: string, spa: Partial<Spa>): Promise<WatchedPage> {
  const world = await startWorld({ config: (base) => ({ ...base, spa: { folder: join(output, folder), ...spa } }) });
  const watched = await openWatchedPage(browser);
  await watched.page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await watched.page.waitForURL(`${world.origin}/`);
  await watched.page.getByText('alice').waitFor();
  return watched;
}

/** The styles of the build, of the part that is loaded late, and the pictures: what needs nothing from the operator. */
async function expectRest({ page, styleOf }: WatchedPage): Promise<void> {
  expect(await styleOf('body', 'margin')).toBe('7px');
  expect(await styleOf('.title', 'padding')).toBe('11px');
  expect(await styleOf('#greeting', 'margin')).toBe('13px');
  await expect
    .poll(() => page.evaluate(`['drawn', 'small'].map((id) => document.getElementById(id).naturalWidth)`))
    .toEqual([31, 17]);
}

test('the build is what this is about: the placeholder in scripts, styles and links', async () => {
  const html = await readFile(join(output, 'with-nonce/index.html'), 'utf8');
  for (const tag of ['script', 'style', 'link', 'meta property="csp-nonce"']) {
    expect(html).toMatch(new RegExp(`<${tag}[^>]* nonce="\\{\\{csp_nonce\\}\\}"`));
  }
});

test('with a nonce all styles apply and nothing is blocked', async () => {
  const watched = await look('with-nonce', { nonce: '{{csp_nonce}}' });
  await expectRest(watched);
  expect(await watched.styleOf('#greeting', 'color')).toBe('rgb(1, 2, 3)');
  expect(watched.complaints).toEqual([]);
});

test('as it comes, with ’unsafe-inline’ added for styles, all styles apply and nothing is blocked', async () => {
  const watched = await look('as-it-comes', { csp: { 'style-src': ["'unsafe-inline'"] } });
  await expectRest(watched);
  expect(await watched.styleOf('#greeting', 'color')).toBe('rgb(1, 2, 3)');
  expect(watched.complaints).toEqual([]);
});

test('as it comes, under the policy as it comes, only the rules of the style library are blocked', async () => {
  const watched = await look('as-it-comes', {});
  await expectRest(watched);
  expect(await watched.styleOf('#greeting', 'color')).toBe('rgb(0, 0, 0)');
  expect(watched.complaints.join('\n')).toMatch(/inline style/);
});
