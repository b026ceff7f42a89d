/**
 * A machine that loses its network, or sleeps, with the app open, in Chromium and Firefox: what happened meanwhile is
 * noticed when it is back, and nobody has to reload.
 */
import { describe, expect, test, vi } from 'vitest';
import { app, signInWith, useBothBrowsers, type BrowserVisit } from '../support/both-browsers.ts';
import { fakeDate } from '../support/clock.ts';
import { logoutToken, sendLogoutToken } from '../support/logout-tokens.ts';
import { browserNames, type BrowserName } from '../support/real-browsers.ts';
import { smallApp } from '../support/small-app.ts';
import { patient, type Tab } from '../support/tab.ts';
import type { WorldOptions } from '../support/world.ts';

const browsers = useBothBrowsers();
const host = new URL(app).host;

/** What a machine that slept shows a page: another time on the wall, and timers that have waited no longer for it. */
const clockThatJumps = `{
  let jumped = 0;
  const { Date: RealDate } = window;
  window.Date = class extends RealDate {
    constructor(...parameters) {
      if (parameters.length === 0) super(RealDate.now() + jumped);
      else super(...parameters);
    }
    static now() { return RealDate.now() + jumped; }
  };
  window.jump = (seconds) => { jumped += 1000 * seconds; };
}`;

async function open(name: BrowserName, options: WorldOptions = {}): Promise<BrowserVisit & { tab: Tab }> {
  const visit = await browsers.open(name, { spa: smallApp(), backchannelLogout: true, ...options });
  const tab = await visit.person.newTab();
  await tab.page.evaluateOnNewDocument(clockThatJumps);
  await signInWith(tab);
  await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
  // The page's stream is open: what comes next is not due to one that was still to open.
  await expect.poll(() => browsers.sites.heads(host, '/bff/events').length, patient).toBe(1);
  return { ...visit, tab };
}

/** The network goes: what is open breaks, and what is new fails. */
async function goOffline(tab: Tab): Promise<void> {
  await tab.page.setOfflineMode(true);
  browsers.sites.cut(host);
  expect(await tab.run(`fetch('/api/x').then(() => 'answered', (error) => error.name)`)).toBe('TypeError');
}

async function goOnline(tab: Tab): Promise<void> {
  browsers.sites.restore(host);
  await tab.page.setOfflineMode(false);
}

/** The person closes the lid, and opens it after so long. */
async function sleep(tab: Tab, seconds: number): Promise<void> {
  browsers.sites.cut(host);
  vi.advanceTimersByTime(1000 * seconds);
  await tab.run(`jump(${seconds})`);
  browsers.sites.restore(host);
  await tab.run(`window.dispatchEvent(new Event('focus'))`);
}

function who(tab: Tab): Promise<string> {
  return tab.text('#who');
}

describe.each(browserNames)('in %s', (name) => {
  test('a page that was offline for a while goes on, and signs nobody out', async () => {
    const { world, tab } = await open(name);
    await tab.type('#draft', 'a letter');
    await goOffline(tab);
    expect(await tab.run('navigator.onLine')).toBe(false);
    expect(await tab.run(`sallyport.apiFetch('/api/x').then(() => 'answered', (error) => error.name)`)).toBe(
      'TypeError',
    );
    expect(await tab.run(`sallyport.session().then(({ authenticated }) => authenticated)`)).toBe(true);
    expect(await who(tab)).toBe('Alice Adams');
    await goOnline(tab);
    await expect
      .poll(() => tab.run(`sallyport.apiFetch('/api/x').then(({ status }) => status, String)`), patient)
      .toBe(200);
    expect(await tab.run(`[told, document.querySelector('#draft').value]`)).toEqual([['Alice Adams'], 'a letter']);
    expect(world.provider.calls.authorization).toBe(1);
    // The stream is open again, and tells what happens next.
    await expect.poll(() => browsers.sites.heads(host, '/bff/events').length, patient).toBeGreaterThan(1);
    await sendLogoutToken(world.server.port, await logoutToken(world.provider, { sub: 'alice' }));
    await expect.poll(() => who(tab), patient).toMatch(/^signed out/);
    expect(await tab.text('#private')).toBe('');
  });

  test('a page whose session ended while it was offline empties itself when it is back', async () => {
    const { world, tab } = await open(name);
    await goOffline(tab);
    await sendLogoutToken(world.server.port, await logoutToken(world.provider, { sub: 'alice' }));
    expect(await who(tab)).toBe('Alice Adams');
    await goOnline(tab);
    await expect.poll(() => who(tab), patient).toMatch(/^signed out/);
    expect(await tab.text('#private')).toBe('');
  });

  test('a page that slept while its session went on is as it was, with a token renewed by its next call', async () => {
    fakeDate();
    const { world, tab } = await open(name);
    world.provider.resetCalls();
    await sleep(tab, 3600);
    await expect
      .poll(() => tab.run(`sallyport.apiFetch('/api/x').then(({ status }) => status, String)`), patient)
      .toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
    expect(await tab.run(`told.every((name) => name === 'Alice Adams')`)).toBe(true);
    const left = await tab.run<number>('sallyport.secondsLeft()');
    expect(left).toBeGreaterThan(25_000);
    expect(left).toBeLessThanOrEqual(28_800 - 3600);
  });

  test('a page that slept for a day empties itself when it wakes, and what was typed survives signing in again', async () => {
    fakeDate();
    const { world, person, tab } = await open(name);
    await tab.type('#draft', 'a letter');
    await sleep(tab, 86_400);
    await expect.poll(() => who(tab), patient).toMatch(/^signed out/);
    expect(await tab.text('#private')).toBe('');
    expect(await person.cookies(app)).toEqual({});

    await tab.click('#save');
    await expect.poll(() => tab.run(`document.querySelector('dialog').open`), patient).toBe(true);
    await tab.click('#again');
    await expect.poll(() => tab.text('#saved'), patient).toBe('saved: 200');
    expect(world.api.requests.find(({ method }) => method === 'POST')?.body.toString()).toBe('a letter');
    await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
  });

  test('a page whose idle time ran out while it slept says so', async () => {
    fakeDate();
    const { tab } = await open(name, { config: (base) => ({ ...base, session: { idleSeconds: 600 } }) });
    await sleep(tab, 700);
    await expect.poll(() => who(tab), patient).toMatch(/^signed out/);
    await tab.click('#sign-in');
    await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
  });
});
