/**
 * A session ends while somebody types, in Chromium and Firefox: they sign in again in a popup, what they had typed is
 * still there, and the call that met the end is repeated.
 */
import { describe, expect, test, vi } from 'vitest';
import { app, provider, signInWith, useBothBrowsers } from '../support/both-browsers.ts';
import { logoutToken, sendLogoutToken } from '../support/logout-tokens.ts';
import { browserNames } from '../support/real-browsers.ts';
import { smallApp } from '../support/small-app.ts';
import { patient, type Person, type Tab } from '../support/tab.ts';

const browsers = useBothBrowsers();

/** The tab that opens beside these. */
function another(person: Person, known: readonly Tab[]): Promise<Tab> {
  return vi.waitFor(async () => {
    const pages = new Set(known.map(({ page }) => page));
    const found = (await person.tabs()).find(({ page }) => !pages.has(page));
    if (found === undefined) throw new Error('no popup');
    return found;
  }, patient);
}

async function asksToSignIn(tab: Tab): Promise<void> {
  await expect.poll(() => tab.run(`document.querySelector('dialog').open`), patient).toBe(true);
}

describe.each(browserNames)('in %s', (name) => {
  test.each(['form', 'auto'] as const)(
    'what was typed survives a sign-in in a popup (%s), and is saved',
    async (login) => {
      const { world, person } = await browsers.open(name, { spa: smallApp(), backchannelLogout: true });
      const tab = await person.newTab();
      await signInWith(tab);
      await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
      await tab.type('#draft', 'half a let');
      const openedAt = await tab.run('performance.timeOrigin');
      await sendLogoutToken(world.server.port, await logoutToken(world.provider, { sub: 'alice' }));
      await tab.type('#draft', 'ter');

      world.provider.settings.login = login;
      world.provider.revokeSession();
      await tab.click('#save');
      await asksToSignIn(tab);
      expect(await tab.text('#private')).toBe('');
      await tab.click('#again');
      if (login === 'form') {
        const popup = await another(person, [tab]);
        await popup.arrives(new RegExp(`^${provider}/interaction/`));
        await popup.click('button');
      }
      await expect.poll(() => tab.text('#saved'), patient).toBe('saved: 200');

      expect(await tab.run('[location.href, performance.timeOrigin, document.querySelector("#draft").value]')).toEqual([
        `${app}/`,
        openedAt,
        'half a letter',
      ]);
      const drafts = world.api.requests.filter(({ method }) => method === 'POST');
      expect(drafts.map(({ body, claims }) => [body.toString(), claims?.sub])).toEqual([['half a letter', 'alice']]);
      await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
      await expect.poll(async () => (await person.tabs()).length, patient).toBe(1);
    },
  );

  test('a sign-in that is given up leaves the form as it was, and another one saves it', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp(), backchannelLogout: true });
    const tab = await person.newTab();
    await signInWith(tab);
    await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
    await tab.type('#draft', 'a letter');
    await sendLogoutToken(world.server.port, await logoutToken(world.provider, { sub: 'alice' }));
    world.provider.settings.login = 'form';
    world.provider.revokeSession();
    await tab.click('#save');
    await asksToSignIn(tab);
    await tab.click('#again');
    const popup = await another(person, [tab]);
    await popup.arrives(new RegExp(`^${provider}/interaction/`));
    world.provider.refuseNext('access_denied');
    await popup.click('button');
    await expect.poll(() => tab.text('#saved'), patient).toBe('saved: 401');
    expect(await popup.text()).toContain('authorization_failed');
    await popup.close();

    await tab.click('#save');
    await asksToSignIn(tab);
    await tab.click('#again');
    await expect.poll(() => tab.text('#saved'), patient).toBe('saved: 200');
    expect(world.api.requests.filter(({ method }) => method === 'POST').map(({ body }) => body.toString())).toEqual([
      'a letter',
    ]);
  });
});
