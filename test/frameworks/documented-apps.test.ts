/**
 * What docs/frameworks.md shows, run: each framework's own tools build an app around its files and the package as npm
 * installs it, Sallyport serves it, and a person signs in and out in Chromium. test/browser has the examples in React alone.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../keycloak/processes.ts';
import { launchChromium } from '../support/chromium.ts';
import { documentedFiles, writeDocumentedFiles } from '../support/documented-app.ts';
import { installPackage } from '../support/installed-package.ts';
import { startWorld, type World } from '../support/world.ts';
import { appsAround, type AppAround } from './apps-around.ts';
import { openWatchedPage } from './watched-page.ts';

let folder: string;
let browser: Browser;

beforeAll(async () => {
  // Inside this folder, so that the frameworks resolve.
  folder = mkdtempSync(join(import.meta.dirname, '.docs-code-'));
  const installed = installPackage();
  const place = 'node_modules/sallyport';
  // Copied, not linked: its React is then the app's.
  cpSync(join(installed.folder, place), join(folder, place), { recursive: true });
  installed.remove();
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

/** @returns the folder that Sallyport is to serve */
async function build({ sections, files, tool, output }: AppAround): Promise<string> {
  const [first = ''] = sections;
  const shown = documentedFiles().filter(({ path }) => sections.some((section) => path.startsWith(`${section}/`)));
  const around = Object.entries(files).map(([path, code]) => ({ path: join(first, path), code }));
  writeDocumentedFiles(folder, [...shown, ...around]);
  const app = join(folder, first);
  await run(process.execPath, tool, { cwd: app, env: { NG_CLI_ANALYTICS: 'false' } });
  return join(app, output);
}

interface Tabs {
  readonly world: World;
  readonly tab: Page;
  readonly other: Page;
  readonly complaints: readonly string[];
}

/** A framework builds. */
const patient = { timeout: 120_000 };
const alice = 'Sign out Alice Adams';

function button(tab: Page, name: string): Locator {
  return tab.getByRole('button', { name, exact: true });
}

/** Until the provider has led back. */
async function signOut(tab: Page): Promise<void> {
  const { origin } = new URL(tab.url());
  const isBack = tab.waitForResponse(
    (response) => response.request().isNavigationRequest() && response.url().startsWith(origin) && response.ok(),
  );
  await button(tab, alice).click();
  await isBack;
  await button(tab, 'Sign in').waitFor();
}

/** A person signs in and out in two tabs of one app. */
async function play(app: AppAround): Promise<Tabs> {
  const spa = { folder: await build(app), csp: app.csp };
  const world = await startWorld({ config: (base) => ({ ...base, spa }) });
  world.api.answer({ headers: { 'content-type': 'application/json' }, body: '[{ "id": "order-1" }]' });
  const { page: tab, complaints } = await openWatchedPage(browser);

  await tab.goto(world.origin);
  await button(tab, 'Sign in').click();
  await button(tab, alice).waitFor();
  const other = await tab.context().newPage();
  await other.goto(world.origin);
  await tab.evaluate('window.hasStayed = true');
  await signOut(other);
  expect(world.provider.calls.endSession).toBe(1);
  await button(tab, 'Sign in').waitFor();
  expect(await tab.evaluate('window.hasStayed')).toBe(true);

  // The person comes back to this tab, for which its sign-in waits. The tests' browser has every tab focused at all times.
  await tab.evaluate(`window.dispatchEvent(new Event('focus'))`);
  // The guard signs in, and leads back to where it stood.
  await tab.getByRole('link', { name: 'Orders' }).click();
  await tab.getByRole('heading', { name: /^Orders/ }).waitFor();
  expect(tab.url()).toBe(`${world.origin}/orders`);
  await button(tab, alice).waitFor();
  await button(other, alice).waitFor();
  return { world, tab, other, complaints };
}

test('Vue', patient, async () => {
  const { complaints } = await play(appsAround.vue);
  expect(complaints).toEqual([]);
});

test('Svelte, with SvelteKit: the layout has the person', patient, async () => {
  const { tab, complaints } = await play(appsAround.svelte);
  await tab.getByRole('heading', { name: 'Orders of Alice Adams' }).waitFor();
  expect(complaints).toEqual([]);
});

test('Angular: a call that meets the end of the session signs in again, and is repeated', patient, async () => {
  const { tab, other, world, complaints } = await play(appsAround.angular);
  await signOut(other);
  await button(tab, 'Sign in').waitFor();
  await button(tab, 'Load').click();
  await tab.getByText('loaded').waitFor();
  expect(world.api.last().claims?.sub).toBe('alice');
  await button(tab, alice).waitFor();
  expect(complaints).toEqual([]);
});

test('TanStack Router and Query: what one person saw is forgotten', patient, async () => {
  const { tab, other, complaints } = await play(appsAround.tanstack);
  await tab.getByRole('heading', { name: 'Orders of Alice Adams' }).waitFor();
  await tab.getByText('order-1').waitFor();
  expect(await tab.evaluate('window.kept()')).toBe(1);
  await signOut(other);
  await button(tab, 'Sign in').waitFor();
  await expect.poll(() => tab.evaluate('window.kept()')).toBe(0);
  expect(complaints).toEqual([]);
});
