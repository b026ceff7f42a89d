/**
 * A real Angular app, built for production and served by Sallyport. Its build writes critical styles into the document and
 * loads the rest late, by a script in the document; its components insert their styles when they are first shown.
 * (Builds of older versions load the rest by an event handler: test/browser/content-security-policy.test.ts.)
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { run } from '../keycloak/processes.ts';
import { launchChromium } from '../support/chromium.ts';
import { startWorld } from '../support/world.ts';
import { openWatchedPage, type WatchedPage } from './watched-page.ts';

type Spa = NonNullable<ConfigInput['spa']>;

const folder = join(import.meta.dirname, 'angular');
const cli = join(import.meta.dirname, 'node_modules/@angular/cli/bin/ng.js');
const configurations = ['as-it-comes', 'with-nonce'] as const;

let output: string;
let browser: Browser;

beforeAll(async () => {
  output = await mkdtemp(join(tmpdir(), 'sallyport-angular-'));
  for (const configuration of configurations) {
    const options = ['build', '--configuration', configuration, '--output-path', join(output, configuration)];
    await run(process.execPath, [cli, ...options], { cwd: folder, env: { NG_CLI_ANALYTICS: 'false' } });
  }
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await rm(output, { recursive: true, force: true });
});

/** Somebody who has signed in looks at the app. */
async function look(configuration: (typeof configurations)[number], spa: Partial<Spa>): Promise<WatchedPage> {
  const world = await startWorld({
    config: (base) => ({ ...base, spa: { folder: join(output, configuration, 'browser'), ...spa } }),
  });
  const watched = await openWatchedPage(browser);
  await watched.page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await watched.page.waitForURL(`${world.origin}/`);
  await watched.page.getByText('alice').waitFor();
  return watched;
}

async function expectStyles({ styleOf }: WatchedPage): Promise<void> {
  await expect.poll(() => styleOf('.title', 'padding')).toBe('11px');
  expect(await styleOf('body', 'margin')).toBe('7px');
  expect(await styleOf('.greeting', 'color')).toBe('rgb(1, 2, 3)');
}

test('the builds are what this is about: styles in the document, and late ones', async () => {
  const [plain = '', withNonce = ''] = await Promise.all(
    configurations.map((name) => readFile(join(output, name, 'browser/index.html'), 'utf8')),
  );
  expect(plain).toMatch(
    /<style>body\{[^]*<link rel="stylesheet"[^>]* media="print"[^]*<script>document\.querySelector/,
  );
  expect(withNonce).toMatch(/<style nonce="\{\{csp_nonce\}\}">[^]*<script nonce="\{\{csp_nonce\}\}">/);
});

test('with a nonce all styles apply and nothing is blocked, with another nonce each time', async () => {
  const watched = await look('with-nonce', { nonce: '{{csp_nonce}}' });
  await expectStyles(watched);
  const nonce = await watched.page.evaluate(`document.querySelector('style').nonce`);
  await watched.page.reload();
  await expectStyles(watched);
  expect(await watched.page.evaluate(`document.querySelector('style').nonce`)).not.toBe(nonce);
  expect(watched.complaints).toEqual([]);
});

test('as it comes, with ’unsafe-inline’ added for styles, all styles apply and nothing is blocked', async () => {
  const watched = await look('as-it-comes', { csp: { 'style-src': ["'unsafe-inline'"] } });
  await expectStyles(watched);
  expect(watched.complaints).toEqual([]);
});

test('as it comes, under the policy as it comes, the styles of the build apply and those of components don’t', async () => {
  const { styleOf, complaints } = await look('as-it-comes', {});
  await expect.poll(() => styleOf('.title', 'padding')).toBe('11px');
  expect(await styleOf('body', 'margin')).toBe('7px');
  expect(await styleOf('.greeting', 'color')).toBe('rgb(0, 0, 0)');
  expect(complaints).toHaveLength(1);
  expect(complaints[0]).toMatch(/inline style/);
});

test('an injected script runs under none of these policies', async () => {
  const policies: Record<(typeof configurations)[number], Partial<Spa>> = {
    'with-nonce': { nonce: '{{csp_nonce}}' },
    'as-it-comes': { csp: { 'style-src': ["'unsafe-inline'"] } },
  };
  for (const configuration of configurations) {
    const { page } = await look(configuration, policies[configuration]);
    const ran = await page.evaluate(`new Promise((resolve) => {
      document.addEventListener('securitypolicyviolation', () => resolve(window.injected ?? 'blocked'), { once: true });
      const script = document.createElement('script');
      script.nonce = '{{csp_nonce}}';
      script.textContent = 'window.injected = "ran"';
      document.body.append(script);
      if (window.injected) resolve(window.injected);
    })`);
    expect([configuration, ran]).toEqual([configuration, 'blocked']);
  }
});
