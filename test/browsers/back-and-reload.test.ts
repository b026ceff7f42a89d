/**
 * Back, Forward and Reload at every step of signing in and out, in Chromium and Firefox over https: pages come back as
 * they were, and no step may leave a person in a dead end, in a loop, or with somebody's data in front of them.
 */
import { describe, expect, test } from 'vitest';
import { app, elsewhere, provider, signInWith, useBothBrowsers, whoIsIn } from '../support/both-browsers.ts';
import { link } from '../support/linking-pages.ts';
import { browserNames } from '../support/real-browsers.ts';
import { smallApp } from '../support/small-app.ts';
import { patient, type Tab } from '../support/tab.ts';
import { within, type WorldOptions } from '../support/world.ts';

const browsers = useBothBrowsers();
const loginForm = new RegExp(`^${provider}/interaction/`);
const logoutForm = new RegExp(`^${provider}/session/end`);

/** An app without the module: it draws what is private once, when it has loaded. */
const plainApp = {
  'index.html': '<!doctype html><title>App</title><p id="private"></p><script src="/app.js"></script>',
  'app.js': `
    window.shown = [];
    addEventListener('pageshow', ({ persisted }) => shown.push(persisted ? 'as it was' : 'anew'));
    fetch('/api/orders').then(async (answer) => {
      document.querySelector('#private').textContent = answer.ok ? 'orders of ' + (await answer.json()).sub : 'nothing';
    });`,
};

/** Notes what is there in the moment in which the page comes back. */
const noteReturn = `window.returned = [];
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) returned.push(document.querySelector('#private').textContent);
  });`;
const returned = `window.returned ?? 'anew'`;

function shows(tab: Tab, text: string): Promise<void> {
  return expect.poll(() => tab.text('#private'), patient).toBe(text);
}

/** Not by way of the provider, whose own page would be a step to go back to. */
async function signOut(tab: Tab): Promise<void> {
  await tab.run(`fetch('/bff/logout', { method: 'POST' }).then((answer) => answer.json())`);
  await tab.begin(`location.assign('/bye')`);
  await tab.arrives(`${app}/bye`);
}

function withHeaders(headers: Record<string, string>): WorldOptions {
  return { spa: plainApp, config: (base) => ({ ...base, spa: { ...base.spa, headers } }) };
}

describe.each(browserNames)('in %s, Back after a sign-out', (name) => {
  // Firefox keeps no page that had an event stream open: it decides before the page has closed it.
  const keepsStreams = name === 'Chromium';

  test('shows the page as it was, where an app does nothing about it', async () => {
    const { person } = await browsers.open(name, { spa: plainApp });
    const tab = await person.newTab();
    await signInWith(tab);
    await shows(tab, 'orders of alice');
    await signOut(tab);
    await tab.back();
    await expect.poll(() => tab.run('shown'), patient).toEqual(['anew', 'as it was']);
    expect(await tab.text('#private')).toBe('orders of alice');
    await tab.reload();
    await shows(tab, 'nothing');
  });

  test('shows nothing of a document that is not stored, here or in another tab', async () => {
    const { person } = await browsers.open(name, withHeaders({ 'cache-control': 'no-store' }));
    await browsers.sites.pages('elsewhere.test', { '/': link(app) });
    const tab = await person.newTab();
    await signInWith(tab);
    await shows(tab, 'orders of alice');
    const other = await person.newTab();
    await other.open(app);
    await shows(other, 'orders of alice');
    await other.open(elsewhere);
    await signOut(tab);
    for (const returned of [tab, other]) {
      await returned.back();
      await shows(returned, 'nothing');
      expect(await returned.run('shown')).toEqual(['anew']);
    }
  });

  test('shows nothing of an app with the module, in the very moment of the return', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp() });
    const tab = await person.newTab();
    await signInWith(tab);
    await shows(tab, 'orders of alice');
    await tab.run(noteReturn);
    world.provider.settings.login = 'form';
    await tab.click('#sign-out');
    await tab.arrives(logoutForm);
    await tab.back();
    await tab.arrives(`${app}/`);
    await expect.poll(() => tab.text('#who'), patient).toMatch(/^signed out/);
    expect(await tab.text('#private')).toBe('');
    expect(await tab.run(returned)).toEqual(keepsStreams ? [''] : 'anew');
    await tab.reload();
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
  });

  test('empties an app with the module that was away while another tab signed out', async () => {
    const { person } = await browsers.open(name, { spa: smallApp() });
    await browsers.sites.pages('elsewhere.test', { '/': link(app) });
    const away = await person.newTab();
    await signInWith(away);
    await shows(away, 'orders of alice');
    await away.run(noteReturn);
    await away.open(elsewhere);
    const tab = await person.newTab();
    await tab.open(app);
    await shows(tab, 'orders of alice');
    await tab.click('#sign-out');
    await expect.poll(() => person.cookies(app), patient).toEqual({});
    await away.back();
    await away.arrives(`${app}/`);
    await shows(away, '');
    // Nobody can tell a page that is away: until its look has been answered it is as it was.
    expect(await away.run(returned)).toEqual(keepsStreams ? ['orders of alice'] : 'anew');
    expect(await away.text('#who')).toBe('signed out');
  });
});

describe.each(browserNames)('in %s', (name) => {
  test('Back, Forward and Reload at each step of a sign-in lead on', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp() });
    world.provider.settings.login = 'form';
    const tab = await person.newTab();
    await tab.open(app);
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    await tab.reload();
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    await tab.click('#sign-in');
    await tab.arrives(loginForm);
    await tab.reload();
    await tab.arrives(loginForm);
    await tab.back();
    await tab.arrives(`${app}/`);
    // A page that is loaded anew has its buttons' listeners by then.
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    await tab.forward();
    await tab.arrives(loginForm);
    await tab.back();
    await tab.arrives(`${app}/`);
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    await tab.click('#sign-in');
    await tab.arrives(loginForm);
    await tab.click('button');
    await tab.arrives(`${app}/`);
    await shows(tab, 'orders of alice');
    await tab.reload();
    await shows(tab, 'orders of alice');
    await tab.back();
    await tab.arrives(loginForm);
    await tab.back();
    await tab.arrives(`${app}/`);
    await shows(tab, 'orders of alice');
    expect(Object.keys(await person.cookies(app)).filter((cookie) => cookie.includes('session'))).toHaveLength(1);
    expect(world.provider.calls.code).toBe(1);
  });

  test('a sign-in that is left by Back in its last moment can be begun again', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp() });
    world.provider.settings.login = 'form';
    const tab = await person.newTab();
    await tab.open(app);
    await tab.click('#sign-in');
    await tab.arrives(loginForm);
    const gate = world.provider.hold('code');
    await tab.begin(`document.querySelector('button').click()`);
    await within(15, gate.arrived, 'the callback did not come');
    await tab.back();
    await tab.arrives(`${app}/`);
    gate.release();
    world.provider.settings.login = 'auto';
    await tab.click('#sign-in');
    await shows(tab, 'orders of alice');
    expect(await tab.address()).toBe(`${app}/`);
  });

  test('an address of a sign-in that is done, opened again, leaves the session alone and leads on', async () => {
    const { person } = await browsers.open(name, { spa: smallApp() });
    const tab = await person.newTab();
    await signInWith(tab);
    await shows(tab, 'orders of alice');
    const callback = browsers.sites.targets('app.example.test').find((target) => target.startsWith('/bff/callback?'));
    await tab.open(`${app}${callback}`);
    expect(await tab.text()).toContain('login_transaction_invalid');
    await tab.reload();
    expect(await tab.text()).toContain('login_transaction_invalid');
    await tab.back();
    await shows(tab, 'orders of alice');
    await tab.forward();
    await tab.arrives(/callback/);
    await tab.click('a');
    await shows(tab, 'orders of alice');
    expect(await whoIsIn(tab)).toBe('Alice Adams');
  });

  test('Back, Forward and Reload at each step of a sign-out show nothing private', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp() });
    const tab = await person.newTab();
    await signInWith(tab);
    await shows(tab, 'orders of alice');
    world.provider.settings.login = 'form';
    await tab.click('#sign-out');
    await tab.arrives(logoutForm);
    await tab.reload();
    await tab.arrives(logoutForm);
    await tab.back();
    await tab.arrives(`${app}/`);
    await expect.poll(() => tab.text('#who'), patient).toMatch(/^signed out/);
    expect(await tab.text('#private')).toBe('');
    await tab.forward();
    await tab.arrives(logoutForm);
    await tab.click('button');
    await tab.arrives(new RegExp(`^${app}/(\\?state=.*)?$`));
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    // The provider's page comes back as it was, or sees that its session is over and leads here.
    for (const _step of ['one', 'two']) {
      await tab.back();
      await expect.poll(() => tab.run('document.readyState'), patient).toBe('complete');
      expect(await tab.text()).not.toMatch(/alice/i);
    }
    await tab.open(app);
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    expect(await person.cookies(app)).toEqual({});
  });
});
