/**
 * Signing in at a provider of another site, in Chromium and Firefox over https: which cookies a browser keeps, sends and
 * withholds on the way decides whether a person ends up signed in, and no client of ours proves it.
 */
import { describe, expect, test } from 'vitest';
import { app, elsewhere, provider, signInWith, useBothBrowsers, whoIsIn } from '../support/both-browsers.ts';
import { link } from '../support/linking-pages.ts';
import { browserNames } from '../support/real-browsers.ts';
import { patient, type Tab } from '../support/tab.ts';
import type { WorldOptions } from '../support/world.ts';

const browsers = useBothBrowsers();

const loginForm = new RegExp(`^${provider}/interaction/`);
const requiresLogin: WorldOptions = { config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }) };

/** What the app shows when its script has run. */
async function isReady(tab: Tab, address: string): Promise<void> {
  await expect.poll(() => tab.text('#app'), patient).toBe('ready');
  expect(await tab.address()).toBe(address);
}

describe.each(browserNames)('in %s', (name) => {
  test('a person signs in at the form of a provider on another site', async () => {
    const { world, person } = await browsers.open(name);
    world.provider.settings.login = 'form';
    const tab = await person.newTab();
    await tab.open(app);
    await tab.begin(`location.assign('/bff/login?returnTo=/orders%23tab')`);
    await tab.arrives(loginForm);
    await tab.click('button');
    await isReady(tab, `${app}/orders#tab`);
    expect(await whoIsIn(tab)).toBe('Alice Adams');
    expect(await tab.run(`fetch('/api/orders').then((answer) => answer.json())`)).toMatchObject({ sub: 'alice' });

    const cookies = await person.cookies(app);
    expect(Object.keys(cookies)).toEqual(['__Host-Http-session']);
    expect(cookies['__Host-Http-session']).toMatchObject({
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
      domain: 'app.example.test',
      path: '/',
    });
    expect(await tab.run('document.cookie')).toBe('');
    // The redirect came from another site: what was sent on it shows that this was one.
    const callback = browsers.sites.targets('app.example.test').find((target) => target.startsWith('/bff/callback?'));
    const [head] = browsers.sites.heads('app.example.test', callback ?? '');
    expect(head).toMatch(/^sec-fetch-site: cross-site$/im);
    expect(head).toMatch(/^cookie: __Host-Http-login-[^=;]+=[^=;]+$/im);
  });

  test('a link on another site opens the app where it leads, for a person who is signed in', async () => {
    const { world, person } = await browsers.open(name, requiresLogin);
    await browsers.sites.pages('elsewhere.test', { '/': link(`${app}/orders?page=2#tab`) });
    const tab = await person.newTab();
    await signInWith(tab);
    world.provider.resetCalls();

    await tab.open(elsewhere);
    await tab.click('a');
    await isReady(tab, `${app}/orders?page=2#tab`);
    expect(await whoIsIn(tab)).toBe('Alice Adams');
    expect(world.provider.calls.authorization).toBe(0);
    await tab.back();
    await tab.arrives(`${elsewhere}/`);
  });

  test('a link on another site leads a person who is not signed in through the provider to where it leads', async () => {
    const { world, person } = await browsers.open(name, requiresLogin);
    await browsers.sites.pages('elsewhere.test', { '/': link(`${app}/orders?page=2`) });
    world.provider.settings.login = 'form';
    const tab = await person.newTab();
    await tab.open(elsewhere);
    await tab.click('a');
    await tab.arrives(loginForm);
    await tab.click('button');
    await isReady(tab, `${app}/orders?page=2`);
    expect(await whoIsIn(tab)).toBe('Alice Adams');
    expect(world.provider.calls.code).toBe(1);
  });

  test('logins begun in three tabs end well, the last one first', async () => {
    const { world, person } = await browsers.open(name);
    world.provider.settings.login = 'form';
    const tabs: Array<{ tab: Tab; path: string }> = [];
    for (const path of ['/one', '/two', '/three']) {
      const tab = await person.newTab();
      await tab.open(app);
      await tab.begin(`location.assign('/bff/login?returnTo=${path}')`);
      await tab.arrives(loginForm);
      tabs.push({ tab, path });
    }
    expect(Object.keys(await person.cookies(app))).toHaveLength(3);

    for (const { tab, path } of tabs.toReversed()) {
      await tab.click('button');
      await tab.arrives(`${app}${path}`);
    }
    for (const { tab } of tabs) expect(await whoIsIn(tab)).toBe('Alice Adams');
    expect(Object.keys(await person.cookies(app))).toEqual(['__Host-Http-session']);
  });
});
