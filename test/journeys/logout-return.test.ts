/**
 * Where a person lands after signing out: where the app said, by way of the provider, which knows one address alone; and
 * at a page that needs no login where the whole app needs one.
 */
import { describe, expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient, Navigation } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { ambiguous, leadsAway } from '../support/hostile-return-to.ts';
import {
  signIn,
  startSignedIn,
  startWorld,
  type SignedInOptions,
  type SignedInWorld,
  type World,
} from '../support/world.ts';

async function logoutUrl(browser: BrowserClient, returnTo?: string): Promise<string> {
  const url = String((await browser.fetch('/bff/session')).at('logoutUrl'));
  return returnTo === undefined ? url : `${url}&${new URLSearchParams({ returnTo }).toString()}`;
}

function endSessionQuery(world: World): Record<string, string> | undefined {
  return world.provider.requests.find(({ endpoints }) => endpoints.includes('endSession'))?.query;
}

/** Signs out by the app's link, and stops before the browser comes back from the provider. */
async function leadBack(world: World, browser: BrowserClient, returnTo?: string): Promise<URL> {
  let comesBack: URL | undefined;
  await browser.navigate(await logoutUrl(browser, returnTo), {
    initiator: browser.origin,
    stopBefore: (url) => {
      if (url.origin !== world.origin) return false;
      comesBack = url;
      return true;
    },
  });
  if (comesBack === undefined) throw new Error('the provider did not send the browser back');
  return comesBack;
}

function returnCookies(browser: BrowserClient): string[] {
  return browser.cookies.for(browser.origin).flatMap(({ name }) => (name.includes('-return-') ? [name] : []));
}

/** A world whose provider has no end-session endpoint, and somebody who has signed in. */
async function startWithoutEndSession(options: SignedInOptions = {}): Promise<SignedInWorld> {
  const world = await startWorld({ ...options, providerUp: false });
  world.provider.mutateDiscovery((json) => ({ ...json, end_session_endpoint: undefined }));
  await world.provider.up();
  const browser = world.client();
  await vi.waitFor(() => signIn(browser), { timeout: 15_000, interval: 250 });
  return Object.assign(world, { browser });
}

describe('a returnTo of the person’s', () => {
  const ways: ReadonlyArray<readonly [way: string, signOut: (browser: BrowserClient) => Promise<Navigation>]> = [
    [
      'by the link',
      async (browser) => browser.navigate(await logoutUrl(browser, '/bye?x=1#top'), { initiator: browser.origin }),
    ],
    [
      'by a script',
      async (browser) => {
        const answer = await browser.fetch('/bff/logout?returnTo=%2Fbye%3Fx%3D1%23top', { method: 'POST' });
        return browser.navigate(String(answer.at('location')), { initiator: browser.origin });
      },
    ],
    ['by a field of a form', (browser) => browser.submitForm('/bff/logout', { returnTo: '/bye?x=1#top' })],
    [
      'by the address of a form',
      (browser) => browser.submitForm('/bff/logout?returnTo=%2Fbye%3Fx%3D1%23top', { other: 'x' }),
    ],
  ];

  test.each(ways)('%s leads there, by way of the one address that the provider knows', async (_way, signOut) => {
    const world = await startSignedIn();
    const { browser } = world;
    const page = await signOut(browser);
    expect([page.status, page.url]).toEqual([200, `${browser.origin}/bye?x=1#top`]);
    expect(endSessionQuery(world)).toMatchObject({
      post_logout_redirect_uri: `${browser.origin}/`,
      state: expect.stringMatching(/^.{40,200}$/),
    });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test.each(ways)('%s leads there at once where the provider has no end-session endpoint', async (_way, signOut) => {
    const { browser, provider } = await startWithoutEndSession();
    const page = await signOut(browser);
    expect(page.url).toBe(`${browser.origin}/bye?x=1#top`);
    expect(provider.calls).toMatchObject({ revocation: 1, endSession: 0 });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('leads there also when there is no session any more', async () => {
    const { client } = await startWorld();
    const browser = client();
    expect((await browser.navigate('/bff/logout?returnTo=/bye')).url).toBe(`${browser.origin}/bye`);
    const answer = await browser.fetch('/bff/logout?returnTo=/bye', { method: 'POST' });
    expect(answer.json()).toEqual({ location: '/bye' });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  const refused = [...leadsAway, ...ambiguous, '/api/orders', '/bff/login', '/bff/logout?sid=x', 'orders', ''];
  test('that is no page of the app is refused, and the session kept', async () => {
    const { browser, provider } = await startSignedIn();
    const link = await logoutUrl(browser);
    for (const returnTo of refused) {
      const query = new URLSearchParams({ returnTo }).toString();
      const linked = await browser.navigate(`${link}&${query}`, { initiator: browser.origin, follow: false });
      expect([returnTo, linked.status, linked.text.includes('return_to_invalid')]).toEqual([returnTo, 400, true]);
      const posted = await browser.fetch(`/bff/logout?${query}`, { method: 'POST' });
      expect([returnTo, posted.status, posted.json()['code']]).toEqual([returnTo, 400, 'return_to_invalid']);
    }
    const twice = await browser.submitForm('/bff/logout?returnTo=/a', { returnTo: '/b' });
    expect([twice.status, twice.text.includes('return_to_invalid')]).toEqual([400, true]);
    const paused = await browser.navigate('/bff/logout?pause&returnTo=//evil.test', { follow: false });
    expect(paused.status).toBe(400);
    expect(provider.calls).toMatchObject({ revocation: 0, endSession: 0 });
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('of the greatest length fits into its cookie, of which there is one', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const longest = `/${Array.from({ length: 2047 }, (_, index) => ((index * index * 7919) % 36).toString(36)).join('')}`;
    await leadBack(world, browser, '/first');
    await signIn(browser);
    await leadBack(world, browser, '/second');
    await signIn(browser);
    const comesBack = await leadBack(world, browser, longest);
    expect(returnCookies(browser)).toHaveLength(1);
    expect(browser.cookieHeader()?.length).toBeLessThan(4096);
    const page = await browser.navigate(comesBack.href, { initiator: world.provider.issuer });
    expect(page.url).toBe(`${browser.origin}${longest}`);
    expect(returnCookies(browser)).toEqual([]);
  });

  test('waits in a cookie that scripts cannot read, for ten minutes', async () => {
    fakeDate();
    const world = await startSignedIn({ origin: 'https://app.example.test' });
    const { browser } = world;
    const leave = await browser.navigate(await logoutUrl(browser, '/bye'), {
      initiator: browser.origin,
      follow: false,
    });
    const line = leave.setCookies.find((cookie) => cookie.startsWith('__Host-Http-logout-return-'));
    expect(line).toMatch(/; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
    const kept = browser.cookies.all();
    const state = new URL(leave.headers.location ?? '').searchParams.get('state') ?? '';
    vi.advanceTimersByTime(601_000);
    for (const cookie of kept) browser.cookies.put({ ...cookie, expiresAt: Infinity });
    const late = await browser.navigate(`/?${new URLSearchParams({ state }).toString()}`, { follow: false });
    expect([late.status, late.text.includes('id="app"')]).toEqual([200, true]);
  });

  test('that a deployment has made an API route meanwhile leads to the app', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const comesBack = await leadBack(world, browser, '/orders/7');
    await world.restart((base) => ({ ...base, api: [{ path: '/orders', target: world.api.url }] }));
    const page = await browser.navigate(comesBack.href, { initiator: world.provider.issuer });
    expect([page.status, page.url]).toEqual([200, `${browser.origin}/`]);
    expect(world.api.requests).toEqual([]);
  });

  test('leads there behind a logout.returnTo with a query, and below a path', async () => {
    const origin = 'https://www.example.test';
    const world = await startWorld({
      origin,
      provider: { redirectUris: [`${origin}/shop/bff/callback`], postLogoutRedirectUris: [`${origin}/shop/out?x=1`] },
      config: { path: '/shop', logout: { returnTo: '/out?x=1' } },
    });
    const browser = world.client();
    await browser.navigate('/shop/bff/login');
    const link = String((await browser.fetch('/shop/bff/session')).at('logoutUrl'));
    const beside = await browser.navigate(`${link}&returnTo=/bye`, { initiator: origin, follow: false });
    expect(beside.status).toBe(400);
    const page = await browser.navigate(`${link}&returnTo=/shop/bye`, { initiator: origin });
    expect([page.status, page.url]).toEqual([200, `${origin}/shop/bye`]);
  });
});

describe('a sign-out without one', () => {
  test('leaves neither its state in the app’s address nor a cookie', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const leave = await browser.navigate(await logoutUrl(browser), { initiator: browser.origin, follow: false });
    expect(new URL(leave.headers.location ?? '').searchParams.get('state')).toMatch(/^.{40,200}$/);
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    const page = await browser.navigate(leave.headers.location ?? '', { initiator: browser.origin });
    expect([page.status, page.url]).toEqual([200, `${browser.origin}/`]);
  });

  test('sends no state where another server has the app: nothing would take it out of the address', async () => {
    const world = await startSignedIn({ config: (base) => ({ ...base, spa: undefined }) });
    await world.browser.navigate(await logoutUrl(world.browser), {
      initiator: world.origin,
      stopBefore: (url) => url.origin === world.origin,
    });
    expect(endSessionQuery(world)).toMatchObject({ post_logout_redirect_uri: `${world.origin}/` });
    expect(endSessionQuery(world)).not.toHaveProperty('state');
  });
});

describe('an address with a state', () => {
  test.each([
    ['that is none of ours', 'af0ifjsldkj'],
    ['that is empty', ''],
    ['that only looks like one', `1.0a1b2c3d.${'A'.repeat(22)}.${'A'.repeat(22)}.${'A'.repeat(43)}`],
  ])('%s is the app’s, and goes to it as it is', async (_title, state) => {
    const world = await startSignedIn();
    const { browser } = world;
    await leadBack(world, browser, '/bye');
    const page = await browser.navigate(`/?${new URLSearchParams({ state }).toString()}`, {
      initiator: world.provider.issuer,
    });
    expect([page.status, page.chain.length, page.setCookies]).toEqual([200, 1, []]);
    expect(returnCookies(browser)).toHaveLength(1);
  });

  test('of another browser’s sign-out leads nowhere but to the app', async () => {
    const world = await startSignedIn();
    const comesBack = await leadBack(world, world.browser, '/bye');
    const page = await world.client().navigate(comesBack.href, { initiator: 'https://evil.test' });
    expect(page.url).toBe(`${world.origin}/`);
  });

  test('twice, at another path, or fetched, is left alone', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const { search } = await leadBack(world, browser, '/bye');
    for (const target of [`/${search}&state=x`, `/other${search}`, `//${search}`]) {
      const page = await browser.navigate(`${browser.origin}${target}`, {
        initiator: world.provider.issuer,
        follow: false,
      });
      expect([target, page.headers.location, page.setCookies]).toEqual([target, undefined, []]);
    }
    const fetched = await browser.fetch(`/${search}`);
    expect([fetched.status, fetched.setCookies]).toEqual([200, []]);
    expect(returnCookies(browser)).toHaveLength(1);
  });

  test('finds no planted cookie', async () => {
    const world = await startSignedIn();
    const comesBack = await leadBack(world, world.browser, '/bye');
    const [name = ''] = returnCookies(world.browser);
    const victim = world.client();
    victim.cookies.put({ name, value: 'x'.repeat(100), domain: 'localhost' });
    expect((await victim.navigate(comesBack.href)).url).toBe(`${world.origin}/`);
    // A whole one, copied: the attacker's own sign-out, which ends on a page of this app at worst.
    const own = world.browser.cookies.all().find((cookie) => cookie.name === name);
    victim.cookies.put({ name, value: own?.value ?? '', domain: 'localhost' });
    expect((await victim.navigate(comesBack.href)).url).toBe(`${world.origin}/bye`);
  });
});

function gated(base: ConfigInput): ConfigInput {
  return { ...base, spa: { ...base.spa, requireLogin: true } };
}

/** Whether a page is ours for those who have signed out. */
function saysSignedOut(page: Navigation): boolean {
  return page.status === 200 && page.text.includes('<h1>You are signed out</h1>');
}

function signInLink(page: Navigation): string {
  return (/<a class="button" href="([^"]*)">Sign in<\/a>/.exec(page.text)?.[1] ?? '').replace(/&#38;/g, '&');
}

describe('an app that nobody sees without a login (requireLogin)', () => {
  const worlds = [
    ['by way of the provider', () => startSignedIn({ config: gated })],
    ['without an end-session endpoint', () => startWithoutEndSession({ config: gated })],
  ] as const;

  describe.each(worlds)('%s', (_way, start) => {
    test('says that the person is signed out, and is gated as before after that', async () => {
      const { browser } = await start();
      const page = await browser.navigate(await logoutUrl(browser), { initiator: browser.origin });
      expect(saysSignedOut(page)).toBe(true);
      expect(page.headers['cache-control']).toBe('no-store');
      expect(browser.cookies.for(browser.origin)).toEqual([]);
      expect(signInLink(page)).toBe('/bff/login');

      const reloaded = await browser.navigate(page.url, {
        initiator: browser.origin,
        stopBefore: ({ pathname }) => pathname === '/bff/login',
      });
      expect(saysSignedOut(reloaded)).toBe(false);
      expect(new URL(reloaded.headers.location ?? '', page.url).searchParams.get('returnTo')).toBe('/');
      const again = await browser.navigate(signInLink(page), { initiator: browser.origin });
      expect([again.url, again.text.includes('id="app"')]).toEqual([`${browser.origin}/`, true]);
    });

    test('leads by its link to where the person wanted to land', async () => {
      const { browser } = await start();
      const page = await browser.navigate(await logoutUrl(browser, '/orders?page=2'), { initiator: browser.origin });
      expect(saysSignedOut(page)).toBe(true);
      const again = await browser.navigate(signInLink(page).replace('&#63;', '?'), { initiator: browser.origin });
      expect(again.url).toBe(`${browser.origin}/orders?page=2`);
    });

    test('says so after a sign-out by a script or a form, and to whoever follows an old link', async () => {
      const { browser } = await start();
      const link = await logoutUrl(browser);
      const answer = await browser.fetch('/bff/logout', { method: 'POST' });
      expect(saysSignedOut(await browser.navigate(String(answer.at('location')), { initiator: browser.origin }))).toBe(
        true,
      );

      // The link of a tab that was opened before.
      expect(saysSignedOut(await browser.navigate(link, { initiator: browser.origin }))).toBe(true);
      await signIn(browser);
      expect(saysSignedOut(await browser.submitForm('/bff/logout', {}))).toBe(true);
      expect(returnCookies(browser)).toEqual([]);
    });
  });

  test.each(['chromium', 'firefox', 'safari'] as const)(
    'tells nobody in %s who is signed in that they are not',
    async (profile) => {
      const world = await startWorld({ config: gated });
      const attacker = world.client();
      await signIn(attacker, 'bob');
      const foreign = await leadBack(world, attacker, '/bye');
      const alice = world.client({ profile });
      await signIn(alice);
      for (const address of ['/bff/logout', '/bff/logout?returnTo=/x', foreign.href, '/?state=x']) {
        const page = await alice.navigate(address, { initiator: 'https://evil.test' });
        expect([address, page.text.includes('signed out'), page.text.includes('id="app"')]).toEqual([
          address,
          false,
          true,
        ]);
        expect((await alice.fetch('/bff/session')).at('authenticated')).toBe(true);
      }
    },
  );

  test.each(['chromium', 'firefox', 'safari'] as const)(
    'tells nobody in %s so either whose browser was planted a sign-out',
    async (profile) => {
      const world = await startWorld({ config: gated });
      const attacker = world.client();
      await signIn(attacker, 'bob');
      const foreign = await leadBack(world, attacker, '/bye');
      const [name = ''] = returnCookies(attacker);
      const planted = attacker.cookies.all().find((cookie) => cookie.name === name);
      const alice = world.client({ profile });
      await signIn(alice);
      for (const address of [foreign.href, `${foreign.href}&sallyport_continued`]) {
        alice.cookies.put({ name, value: planted?.value ?? '', domain: 'localhost' });
        const page = await alice.navigate(address, { initiator: 'https://evil.test' });
        expect([page.text.includes('signed out'), page.url]).toEqual([false, `${world.origin}/bye`]);
        expect(returnCookies(alice)).toEqual([]);
        expect((await alice.fetch('/bff/session')).at('user.sub')).toBe('alice');
      }
    },
  );

  test('says so in a browser without fetch metadata, too', async () => {
    const world = await startWorld({ config: gated });
    const browser = world.client({ fetchMetadata: false });
    await browser.navigate('/bff/login');
    const session = await browser.fetch('/bff/session', { headers: { 'x-csrf': '1' } });
    const page = await browser.navigate(String(session.at('logoutUrl')), { initiator: browser.origin });
    expect(saysSignedOut(page)).toBe(true);
  });

  test('shows the app to a person who has signed in again before coming back', async () => {
    const world = await startSignedIn({ config: gated });
    const { browser } = world;
    const comesBack = await leadBack(world, browser);
    await signIn(browser);
    expect(returnCookies(browser)).toEqual([]);
    const page = await browser.navigate(comesBack.href, { initiator: world.provider.issuer });
    expect([page.url, page.text.includes('id="app"')]).toEqual([`${browser.origin}/`, true]);
  });
});
