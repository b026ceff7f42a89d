/** One person, several tabs, in Chromium and Firefox: what one tab does, and what happens to the session, all of them know. */
import { describe, expect, test } from 'vitest';
import { app, signInWith, useBothBrowsers, whoIsIn, type BrowserVisit } from '../support/both-browsers.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { logoutToken, sendLogoutToken } from '../support/logout-tokens.ts';
import { browserNames, type BrowserName } from '../support/real-browsers.ts';
import { smallApp } from '../support/small-app.ts';
import { patient, type Tab } from '../support/tab.ts';
import { within, type WorldOptions } from '../support/world.ts';

const browsers = useBothBrowsers();

interface Tabs extends BrowserVisit {
  readonly first: Tab;
  readonly second: Tab;
}

/** Alice, signed in, with two tabs of the app. The second one is in front. */
async function openTwo(name: BrowserName, options: WorldOptions = {}): Promise<Tabs> {
  const visit = await browsers.open(name, { spa: smallApp(), ...options });
  const first = await visit.person.newTab();
  await signInWith(first);
  await isSignedIn(first);
  const second = await visit.person.newTab();
  await second.open(app);
  await isSignedIn(second);
  return { ...visit, first, second };
}

async function isSignedIn(tab: Tab): Promise<void> {
  await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
}

/** The last thing that the tab was told, and what it shows. */
function shown(tab: Tab): Promise<string[]> {
  return tab.run(`[told.at(-1), document.querySelector('#private').textContent]`);
}

describe.each(browserNames)('in %s', (name) => {
  test('two tabs whose token has expired redeem the refresh token once', async () => {
    fakeDate();
    const { world, person, first, second } = await openTwo(name);
    expireAccessToken();
    world.provider.resetCalls();
    const gate = world.provider.hold('refresh');
    const calls = [first, second].map((tab, index) =>
      tab.run(`fetch('/api/orders?tab=${index}').then(async (answer) => [answer.status, (await answer.json()).jti])`),
    );
    await within(15, gate.arrived, 'no refresh began');
    for (const index of [0, 1]) {
      await expect
        .poll(() => browsers.sites.heads('app.example.test', `/api/orders?tab=${index}`).length, patient)
        .toBe(1);
    }
    gate.release();
    const [one, other] = await Promise.all(calls);
    expect(one).toEqual([200, expect.any(String)]);
    expect(other).toEqual(one);
    expect(world.provider.calls.refresh).toBe(1);

    // Both tabs share the jar: what it holds now is the new session, for both.
    expect(Object.keys(await person.cookies(app))).toEqual(['__Host-Http-session']);
    expect([await whoIsIn(first), await whoIsIn(second)]).toEqual(['Alice Adams', 'Alice Adams']);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('two tabs that ask to stay signed in at once cost one refresh', async () => {
    const { world, first, second } = await openTwo(name);
    world.provider.resetCalls();
    const gate = world.provider.hold('refresh');
    const asked = [first, second].map((tab) =>
      tab.run('sallyport.refresh().then(({ authenticated }) => authenticated)'),
    );
    await within(15, gate.arrived, 'no refresh began');
    await expect.poll(() => browsers.sites.heads('app.example.test', '/bff/refresh').length, patient).toBe(2);
    gate.release();
    expect(await Promise.all(asked)).toEqual([true, true]);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('a sign-out in one tab empties the others', async () => {
    const { world, person, first, second } = await openTwo(name);
    const third = await person.newTab();
    await third.open(app);
    await isSignedIn(third);
    await third.click('#sign-out');
    for (const tab of [first, second]) await expect.poll(() => shown(tab), patient).toEqual(['signed out: logout', '']);
    await third.arrives(`${app}/`);
    await expect.poll(() => shown(third), patient).toEqual(['signed out', '']);
    expect(await person.cookies(app)).toEqual({});
    expect(world.provider.calls.endSession).toBeGreaterThan(0);
  });

  test('a sign-in in one tab reaches the others', async () => {
    const { person, first, second } = await openTwo(name);
    await second.click('#sign-out');
    await expect.poll(() => shown(first), patient).toEqual(['signed out: logout', '']);
    await second.arrives(`${app}/`);
    // The page at its end closes the tab.
    const popup = await person.newTab();
    await popup.begin(`location.assign('${app}/bff/login?display=popup&login_hint=bob')`);
    await expect.poll(() => shown(first), patient).toEqual(['Bob Brown', 'orders of bob']);
  });

  test('idle tabs empty themselves when the provider signs the person out', async () => {
    const { world, first, second } = await openTwo(name, { backchannelLogout: true });
    await sendLogoutToken(world.server.port, await logoutToken(world.provider, { sub: 'alice' }));
    for (const tab of [first, second]) {
      await expect.poll(() => shown(tab), patient).toEqual(['signed out: backchannel', '']);
    }
  });

  test('an idle tab empties itself when the plain link of another tab signs out', async () => {
    const { first, second } = await openTwo(name);
    await second.begin(`location.assign(sallyport.current().logoutUrl)`);
    await expect.poll(() => shown(first), patient).toEqual(['signed out: logout', '']);
  });
});
