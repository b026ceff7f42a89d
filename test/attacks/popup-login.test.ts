/**
 * A stranger's page opens the app's popup login, or leads a browser to the end of one: to sign somebody in as somebody
 * else, to learn how the login went, to make the app believe in a sign-in that wasn't, or to have a tokens' worth of news
 * broadcast. What a browser must show is in `test/browser/popup-login.test.ts`.
 */
import { describe, expect, test } from 'vitest';
import { leadToCallback, startWorld } from '../support/world.ts';

const popup = '/bff/login?display=popup&login_hint=alice';
const evil = 'https://evil.test';
const success = '"type":"signed-in"';

describe('the page of a successful login comes for a login that this browser has just made:', () => {
  test('not for a callback that is loaded again, and the session stays', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, popup);
    const before = browser.clone();
    expect((await browser.navigate(callback.href)).text).toContain(success);
    for (const replay of [browser, before]) {
      const page = await replay.navigate(callback.href, { initiator: evil });
      expect([page.status, page.text.includes(success)]).toEqual([400, false]);
    }
    expect(provider.calls.code).toBe(1);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('not for the attacker’s login (login CSRF)', async () => {
    const { client } = await startWorld();
    const attackers = await leadToCallback(client(), '/bff/login?display=popup&login_hint=bob');
    const victim = client();
    const page = await victim.navigate(attackers.href, { initiator: evil });
    expect([page.status, page.text.includes(success)]).toEqual([400, false]);
    expect((await victim.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test.each([
    ['in the callback', (callback: URL) => callback.searchParams.set('display', 'popup')],
    ['in the state', (callback: URL) => callback.searchParams.set('state', `${stateOf(callback)}.popup`)],
  ])('not for a display that is written %s, because it is sealed', async (_where, spoil) => {
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, '/bff/login?login_hint=alice');
    spoil(callback);
    const page = await browser.navigate(callback.href);
    expect(page.text).not.toContain('BroadcastChannel');
  });

  test('nor is a popup’s login turned into another by the callback', async () => {
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, popup);
    callback.searchParams.set('display', 'page');
    expect((await browser.navigate(callback.href)).text).toContain(success);
  });

  test('not for the state of a popup in the transaction of another login', async () => {
    const { client } = await startWorld();
    const browser = client();
    const plain = await leadToCallback(browser, '/bff/login?login_hint=alice');
    const inPopup = await leadToCallback(browser, popup);
    const [id] = stateOf(plain).split('.', 1);
    const sealed = stateOf(inPopup).slice(stateOf(inPopup).indexOf('.'));
    plain.searchParams.set('state', `${id}${sealed}`);
    const page = await browser.navigate(plain.href);
    expect([page.status, page.text.includes('BroadcastChannel')]).toEqual([400, false]);
  });
});

test('no page on the way leaves its opener a handle, from the first redirect on', async () => {
  const { client, origin, provider } = await startWorld();
  for (const profile of ['chromium', 'firefox'] as const) {
    const browser = client({ profile });
    provider.refuseNext('access_denied');
    for (const address of [popup, popup, '/bff/login']) {
      const page = await browser.navigate(address, { initiator: evil });
      const own = page.chain.filter(({ url }) => url.startsWith(`${origin}/`));
      expect(own.length).toBeGreaterThan(1);
      const open = own.filter(({ headers }) => headers['cross-origin-opener-policy'] !== 'same-origin');
      expect(open.map(({ url }) => url)).toEqual([]);
    }
  }
});

test('a frame, a fetch and a prefetch begin no login in a popup', async () => {
  const { client, provider } = await startWorld();
  const browser = client();
  const attempts = [
    await browser.navigate(popup, { initiator: evil, destination: 'iframe' }),
    await browser.navigate(popup, { initiator: evil, prefetch: true }),
    await browser.fetch(popup, { mode: 'no-cors', credentials: 'include' }, { from: evil }),
  ];
  for (const { status, setCookies, text } of attempts) {
    expect([status, setCookies, text.includes('BroadcastChannel')]).toEqual([401, [], false]);
  }
  expect(provider.calls.code).toBe(0);
});

test('what is written into the address of the popup reaches no script', async () => {
  const { client } = await startWorld();
  const hostile = `</script><script>alert(1)</script>`;
  const query = new URLSearchParams({
    display: 'popup',
    returnTo: `/x?${hostile}`,
    login_hint: hostile,
    state: hostile,
  });
  const page = await client().navigate(`/bff/login?${query.toString()}`);
  expect(page.text).not.toContain('alert(1)</script>');
  expect([...page.text.matchAll(/<script>/g)].length).toBeLessThanOrEqual(1);
});

function stateOf(callback: URL): string {
  return callback.searchParams.get('state') ?? '';
}
