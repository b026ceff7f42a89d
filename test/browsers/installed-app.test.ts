/**
 * The installable app of docs/browser.md, with its Workbox worker, in Chromium and Firefox: it opens without a connection,
 * people sign in and out through it, and it stores nothing that is theirs.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { app, provider, signInWith, useBothBrowsers, whoIsIn } from '../support/both-browsers.ts';
import { buildInstalledApp } from '../support/installed-app.ts';
import { browserNames, type BrowserName } from '../support/real-browsers.ts';
import { patient, type Tab } from '../support/tab.ts';

const { host } = new URL(app);
const browsers = useBothBrowsers();
let spa: Record<string, string>;

beforeAll(async () => {
  spa = await buildInstalledApp();
});

async function visit(name: BrowserName, files = spa) {
  const opened = await browsers.open(name, { spa: files });
  const tab = await opened.person.newTab();
  await tab.open(`${app}/`);
  await tab.run('navigator.serviceWorker.ready.then(() => undefined)');
  // Workbox's worker takes over with the next page.
  await tab.reload();
  await expect.poll(() => tab.run('navigator.serviceWorker.controller !== null'), patient).toBe(true);
  return { ...opened, tab };
}

async function shows(tab: Tab, text: string): Promise<void> {
  await expect.poll(() => tab.text('#person'), patient).toBe(text);
}

/** The paths of all that the worker has stored. */
function stored(tab: Tab): Promise<string[]> {
  return tab.run(`(async () => {
    const paths = [];
    for (const name of await caches.keys()) {
      for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname);
    }
    return paths.sort();
  })()`);
}

describe.each(browserNames)('%s', { timeout: 60_000 }, (name) => {
  test('people sign in and out through the worker, and land where the app says', async () => {
    const { world, tab } = await visit(name);
    await shows(tab, 'nobody');
    const { login } = world.provider.settings;
    world.provider.settings.login = 'form';
    await tab.click('#sign-in');
    await tab.arrives(new RegExp(`^${provider}/`));
    await tab.click('button');
    await tab.arrives(`${app}/`);
    await shows(tab, 'Alice Adams');
    expect(await tab.run(`fetch('/api/orders').then((answer) => answer.status)`)).toBe(200);

    world.provider.settings.login = login;
    await tab.click('#sign-out');
    await tab.arrives(`${app}/bye`);
    await shows(tab, 'nobody');
    expect(await whoIsIn(tab)).toBe('nobody');
    expect(world.provider.calls.endSession).toBe(1);

    await signInWith(tab);
    const logoutUrl = await tab.run<string>(`fetch('/bff/session').then((r) => r.json()).then((s) => s.logoutUrl)`);
    await tab.begin(`location.assign('${logoutUrl}')`);
    await expect.poll(() => world.provider.calls.endSession, patient).toBe(2);
    await tab.arrives(`${app}/`);
    await shows(tab, 'nobody');
    const own = Object.keys(spa).filter((file) => file !== 'service-worker.js');
    expect(await stored(tab)).toEqual(own.map((file) => `/${file}`).toSorted());
  });

  test('without a connection it opens with who was last known, and comes back', async () => {
    const { tab } = await visit(name);
    await signInWith(tab);
    await shows(tab, 'Alice Adams');
    browsers.sites.cut(host);
    try {
      await tab.open(`${app}/orders`);
      await shows(tab, 'Alice Adams, offline');
      expect(await tab.run(`fetch('/api/orders').catch(({ name }) => name)`)).toBe('TypeError');
      expect(await tab.run(`fetch('/bff/session').catch(({ name }) => name)`)).toBe('TypeError');
    } finally {
      browsers.sites.restore(host);
    }
    await tab.run(`dispatchEvent(new Event('online'))`);
    await shows(tab, 'Alice Adams');
  });

  test('a session that has ended is remembered no longer', async () => {
    const { person, tab } = await visit(name);
    await signInWith(tab);
    await shows(tab, 'Alice Adams');
    const other = await person.newTab();
    await other.open(`${app}/`);
    await shows(other, 'Alice Adams');
    await other.click('#sign-out');
    await shows(tab, 'nobody');
    browsers.sites.cut(host);
    try {
      await tab.open(`${app}/`);
      await shows(tab, 'nobody, offline');
      expect(await tab.run('localStorage.length')).toBe(0);
    } finally {
      browsers.sites.restore(host);
    }
  });
});

test('without its list the worker answers the login with the app’s page', async () => {
  const bare = await buildInstalledApp((code) => code.replace(/denylist: .*,\n/, ''));
  const { world, tab } = await visit('Chromium', bare);
  await tab.open(`${app}/bff/login?login_hint=alice`);
  await shows(tab, 'nobody');
  expect(world.provider.calls.authorization).toBe(0);
});
