/**
 * Two apps on one host, as on a developer's machine: cookies don't tell ports apart (RFC 6265 8.5), so both get all
 * cookies of both, and those of whatever else runs there. Each keeps to its own.
 */
import { describe, expect, test } from 'vitest';
import { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

/** One browser with a tab in each of two apps. */
async function startTwo(first: WorldOptions = {}, second: WorldOptions = {}) {
  const worlds: [World, World] = [await startWorld(first), await startWorld(second)];
  const one = worlds[0].client();
  const other = new BrowserClient({ origin: worlds[1].origin }, one.cookies);
  other.routeTo(worlds[1].server.port);
  return { one, other, worlds };
}

async function userOf(browser: BrowserClient): Promise<unknown> {
  return (await browser.fetch('/bff/session')).at('user.sub');
}

describe('two apps on localhost', () => {
  test('sign in, refresh and sign out beside each other', async () => {
    const { one, other } = await startTwo();
    await signIn(one, 'alice');
    await signIn(other, 'bob');
    expect([await userOf(one), await userOf(other)]).toEqual(['alice', 'bob']);
    for (const browser of [one, other]) {
      expect((await browser.fetch('/bff/refresh', { method: 'POST' })).at('authenticated')).toBe(true);
      expect((await browser.fetch('/api/me')).status).toBe(200);
    }
    await one.fetch('/bff/logout', { method: 'POST' });
    await one.navigate('/bff/logout', { initiator: one.origin });
    expect([await userOf(one), await userOf(other)]).toEqual([undefined, 'bob']);
    const names = one.cookies.for(one.origin).map(({ name }) => name);
    expect(names).toEqual([other.own('session')]);
  });

  test('take nothing of each other’s sign-ins', async () => {
    const { one, other } = await startTwo();
    for (let count = 0; count < 5; count += 1) await one.navigate('/bff/login', { follow: false });
    const begun = one.cookies.all().map(({ name }) => name);
    for (let count = 0; count < 6; count += 1) {
      const { setCookies } = await other.navigate('/bff/login', { follow: false });
      expect(setCookies.filter((line) => !line.startsWith(other.own('login-')))).toEqual([]);
    }
    expect(one.cookies.all().map(({ name }) => name)).toEqual(expect.arrayContaining(begun));
    await signIn(other, 'bob');
    await signIn(one, 'alice');
    expect([await userOf(one), await userOf(other)]).toEqual(['alice', 'bob']);
  });

  test('of which one’s API chooses the names of the other', async () => {
    const { one, other, worlds } = await startTwo();
    await signIn(one, 'alice');
    await signIn(other, 'bob');
    worlds[1].api.answer({ headers: { 'set-cookie': [`${one.own('x')}=1; Path=/`, 'session=theirs; Path=/'] } });
    expect((await other.fetch('/api/me')).setCookies).toHaveLength(2);
    expect([await userOf(one), await userOf(other)]).toEqual(['alice', 'bob']);
    await one.fetch('/bff/logout', { method: 'POST' });
    expect(one.cookies.get('session')?.value).toBe('theirs');
  });

  test('at names of their own below localhost, which browsers lead to this machine', async () => {
    const { port } = new URL((await startWorld()).origin);
    const origin = `http://shop.localhost:${port}`;
    const world = await startWorld({ origin });
    const browser = world.client();
    await signIn(browser);
    expect(browser.cookies.for(origin).map(({ name }) => name)).toEqual([`session-${port}`]);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });
});

function called(cookieName: string) {
  return { session: { cookieName } };
}

describe('a name of the operator’s choice', () => {
  test('keeps two apps apart that share a host over https', async () => {
    const { one, other } = await startTwo(
      { origin: 'https://app.example.test', config: called('shop') },
      { origin: 'https://app.example.test:8443', config: called('stock') },
    );
    await signIn(one, 'alice');
    await signIn(other, 'bob');
    expect([await userOf(one), await userOf(other)]).toEqual(['alice', 'bob']);
    const names = one.cookies.for(one.origin).map(({ name }) => name);
    expect(new Set(names)).toEqual(new Set(['__Host-Http-shop', '__Host-Http-stock']));
    await one.fetch('/bff/logout', { method: 'POST' });
    expect([await userOf(one), await userOf(other)]).toEqual([undefined, 'bob']);
  });

  test('stands in all of a long session’s cookies, and no API sets one', async () => {
    const world = await startWorld({
      config: called('shop'),
      provider: { settings: { accessTokenPadding: 6000 } },
    });
    const browser = world.client();
    await signIn(browser);
    const { port } = new URL(world.origin);
    const names = browser.cookies.for(world.origin).map(({ name }) => name);
    expect(names).toEqual([1, 2, 3].map((index) => `shop-${port}.${index}`));
    world.api.answer({
      headers: { 'set-cookie': [`shop-${port}.1=evil`, `Shop-${port}=evil`, `session-${port}=fine`] },
    });
    expect((await browser.fetch('/api/me')).setCookies).toEqual([`session-${port}=fine`]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });
});
