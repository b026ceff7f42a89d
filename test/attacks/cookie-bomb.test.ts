/**
 * The attacker's story: "A link on my page begins a sign-in at the app, with the longest `returnTo` that it takes. The
 * visitor's browser gets a cookie for that, and goes on; my page brings it back and does it again, a hundred times, in
 * windows beside each other, too. Cookies of several kilobytes each: soon the browser sends more than the server reads,
 * and every request of that person is a 431, until somebody tells them how to delete cookies." And the unlucky user's:
 * "My path is in Japanese, and I can never complete a sign-in. And I had six tabs open this morning, and signed in in
 * all of them; the last one said that it could not be completed."
 *
 * Must hold: what a sign-in leaves in the browser is under 500 bytes, whatever it was begun with; a flood of them never
 * reaches 431; of those begun, the last five can be completed.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, BrowserClientOptions } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

const evil = 'https://evil.test';
const longest = `/${'a'.repeat(2047)}`;
const kanji = (count: number): string => `/${'漢'.repeat(count)}`;

let world: World;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
});

afterAll(() => world.stop());

function loginPath(parameters: Record<string, string> = {}): string {
  return `/bff/login?${new URLSearchParams({ returnTo: longest, ...parameters, sallyport_continued: '1' }).toString()}`;
}

function loginCookies(browser: BrowserClient): string[] {
  const cookies = browser.cookies.for(browser.origin);
  return cookies.filter(({ name }) => name.includes('login')).map(({ name, value }) => `${name}=${value}`);
}

/** Every way into the server, as a browser goes it; fails where one of them is too much for it. */
async function expectServed(browser: BrowserClient): Promise<void> {
  expect((await browser.fetch('/bff/session')).status).toBe(200);
  expect([200, 401]).toContain((await browser.fetch('/api/me')).status);
  expect((await browser.navigate('/', { initiator: evil })).status).toBe(200);
  expect((await browser.navigate('/bff/login', { follow: false })).status).toBe(302);
}

/** Characters of a path that no two runs share. */
function noise(length: number): string {
  let state = 17;
  const next = () => (state = (state * 48_271) % 2_147_483_647) % 36;
  return `/${Array.from({ length: length - 1 }, () => next().toString(36)).join('')}`;
}

/** How long the cookies are that a sign-in sets, with their names and attributes. */
async function bytesLeftBy(
  browser: BrowserClient,
  parameters: Record<string, string>,
  initiator = evil,
): Promise<number> {
  const answer = await browser.navigate(loginPath(parameters), { follow: false, initiator });
  expect([answer.status, answer.refusedCookies]).toEqual([302, []]);
  const kept = answer.setCookies.filter((line) => !line.includes('Max-Age=0'));
  expect(kept.length).toBeGreaterThan(0);
  return kept.join('').length;
}

describe('what a sign-in leaves in the browser is under 500 bytes', () => {
  const beginnings: [string, Record<string, string>][] = [
    ['with the shortest way back', { returnTo: '/' }],
    ['with the longest way back', {}],
    ['with the longest way back that is encoded', { returnTo: kanji(341) }],
    ['with a way back that does not compress', { returnTo: noise(2048) }],
    ['with a query that is encoded threefold', { returnTo: `/?q=${'"'.repeat(1000)}` }],
    ['with a long fragment', { returnTo: `/#${'b'.repeat(2000)}` }],
    ['with a long hint', { login_hint: 'c'.repeat(4000) }],
    ['with long demands', { acr_values: 'd'.repeat(4000), ui_locales: 'e'.repeat(1000), max_age: '999999999' }],
    ['silently', { prompt: 'none' }],
  ];

  test.each(beginnings)('%s', async (_, parameters) => {
    expect(await bytesLeftBy(world.client(), parameters)).toBeLessThan(500);
  });

  test.each(beginnings)('%s, where somebody is signed in', async (_, parameters) => {
    const browser = world.client();
    await signIn(browser);
    expect(await bytesLeftBy(browser, parameters, browser.origin)).toBeLessThan(500);
  });

  test.each(beginnings)('%s, over https', async (_, parameters) => {
    const secure = await startWorld({ origin: 'https://app.example.test' });
    expect(await bytesLeftBy(secure.client(), parameters)).toBeLessThan(500);
  });
});

async function flood(browser: BrowserClient, count: number, parameters?: Record<string, string>): Promise<void> {
  for (let begun = 0; begun < count; begun += 1) {
    const answer = await browser.navigate(loginPath(parameters), { follow: false, initiator: evil });
    expect(answer.status).toBe(302);
  }
}

async function floodInParallel(browser: BrowserClient, count: number): Promise<void> {
  const answers = await Promise.all(
    Array.from({ length: count }, () => browser.navigate(loginPath(), { follow: false, initiator: evil })),
  );
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([302]));
}

describe('a flood of sign-ins that nobody completes', () => {
  const profiles: BrowserProfile[] = ['chromium', 'firefox', 'safari'];

  test.each(profiles)('one after another leaves five in %s, and everything goes on', async (profile) => {
    const browser = world.client({ profile });
    await flood(browser, 100);
    expect(loginCookies(browser)).toHaveLength(5);
    expect(browser.cookieHeader()?.length).toBeLessThan(2500);
    await expectServed(browser);
    const page = await signIn(browser, 'alice', '/orders');
    expect(page.url).toBe(`${browser.origin}/orders`);
    expect(loginCookies(browser).length).toBeLessThanOrEqual(4);
  });

  test.each(profiles)('beside each other never leads to 431 in %s, and the next sign-in completes', async (profile) => {
    const browser = world.client({ profile });
    await floodInParallel(browser, 100);
    await expectServed(browser);
    const page = await signIn(browser, 'alice', '/orders');
    expect(page.url).toBe(`${browser.origin}/orders`);
    expect(loginCookies(browser).length).toBeLessThanOrEqual(5);
    await expectServed(browser);
  });

  test('in waves, through the provider and back to nowhere, leaves five', async () => {
    const browser = world.client();
    for (let wave = 0; wave < 5; wave += 1) {
      await Promise.all(Array.from({ length: 20 }, () => leadToCallback(browser, loginPath())));
      await flood(browser, 1);
      expect(loginCookies(browser)).toHaveLength(5);
    }
    await expectServed(browser);
  });

  test('does not lock out somebody who is signed in, and signs nobody out', async () => {
    const browser = world.client();
    await signIn(browser);
    await floodInParallel(browser, 100);
    await expectServed(browser);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
  });

  test('does not lock out somebody whose session fills four cookies', async () => {
    const large = await startWorld({ provider: { settings: { accessTokenPadding: 9000 } } });
    const browser = large.client();
    await signIn(browser);
    expect(browser.cookieHeader()?.length).toBeGreaterThan(10_000);
    await floodInParallel(browser, 60);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
  });

  test('is gone from the browser ten minutes later', async () => {
    fakeDate();
    const browser = world.client();
    await floodInParallel(browser, 100);
    vi.advanceTimersByTime(601_000);
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('that comes as anything but a navigation leaves nothing at all', async () => {
    const browser = world.client();
    for (const options of [{ prefetch: true }, { destination: 'iframe' }, { method: 'POST', form: {} }] as const) {
      const answer = await browser.navigate(loginPath(), { ...options, initiator: evil, follow: false });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.setCookies).toEqual([]);
    }
    const fetched = await browser.fetch(loginPath(), { mode: 'no-cors', credentials: 'include' }, { from: evil });
    expect([fetched.status, fetched.setCookies]).toEqual([401, []]);
  });
});

/** Completes them in that order, by their numbers. */
async function complete(callbacks: readonly URL[], browser: BrowserClient, order: readonly number[]) {
  const statuses: Record<number, number> = {};
  for (const number of order) {
    const address = callbacks[number]?.href ?? '';
    const page = await browser.navigate(address, { initiator: world.provider.issuer, follow: false });
    statuses[number] = page.status;
  }
  return statuses;
}

describe('of six sign-ins, the last five can be completed', () => {
  const lastFive = { 0: 400, 1: 302, 2: 302, 3: 302, 4: 302, 5: 302 };

  // The names of the cookies are partly random: what holds by chance doesn't hold ten times.
  test.each(Array.from({ length: 10 }, (_, round) => round))('begun within one second (%i)', async () => {
    const browser = world.client();
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 6; begun += 1) callbacks.push(await leadToCallback(browser, loginPath()));
    expect(loginCookies(browser)).toHaveLength(5);
    expect(await complete(callbacks, browser, [0, 5, 1, 3, 2, 4])).toEqual(lastFive);
  });

  test.each(Array.from({ length: 10 }, (_, round) => round))('begun while the clock stood still (%i)', async () => {
    fakeDate();
    const browser = world.client();
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 6; begun += 1) callbacks.push(await leadToCallback(browser, loginPath()));
    expect(await complete(callbacks, browser, [5, 4, 3, 2, 1, 0])).toEqual(lastFive);
  });

  test('begun seconds apart', async () => {
    fakeDate();
    const browser = world.client();
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 6; begun += 1) {
      callbacks.push(await leadToCallback(browser, loginPath()));
      vi.advanceTimersByTime(3000);
    }
    expect(await complete(callbacks, browser, [0, 1, 2, 3, 4, 5])).toEqual(lastFive);
  });

  test.each([
    ['three seconds behind', -3000],
    ['three seconds ahead', 3000],
    ['half a minute behind', -30_000],
  ])('begun at two instances of which one has a clock %s', async (_, differenceMs) => {
    fakeDate();
    const own = await startWorld();
    const browser = own.client();
    const other = await own.addInstance();
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 8; begun += 1) {
      const [port, jumpMs] = begun % 2 === 0 ? [own.server.port, 0] : [other.port, differenceMs];
      browser.routeTo(port);
      vi.setSystemTime(Date.now() + jumpMs);
      callbacks.push(await leadToCallback(browser, loginPath()));
      vi.setSystemTime(Date.now() - jumpMs);
    }
    browser.routeTo(own.server.port);
    expect(loginCookies(browser)).toHaveLength(5);
    const statuses = await complete(callbacks.slice(3), browser, [4, 3, 2, 1, 0]);
    expect(statuses).toEqual({ 0: 302, 1: 302, 2: 302, 3: 302, 4: 302 });
  });

  test('begun after five cookies were planted whose names lie in the far future', async () => {
    const browser = world.client();
    for (let planted = 0; planted < 5; planted += 1) {
      browser.cookies.put({ name: `login-zzzzzzz${planted}-abcdefghij`, value: 'x', domain: 'localhost' });
    }
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 5; begun += 1) callbacks.push(await leadToCallback(browser, loginPath()));
    const statuses = await complete(callbacks, browser, [4, 3, 2, 1, 0]);
    expect(statuses).toEqual({ 0: 302, 1: 302, 2: 302, 3: 302, 4: 302 });
  });

  test('begun before the server was started anew', async () => {
    const own = await startWorld();
    const browser = own.client();
    const callbacks: URL[] = [];
    for (let begun = 0; begun < 3; begun += 1) callbacks.push(await leadToCallback(browser, loginPath()));
    await own.restart();
    for (const callback of callbacks) {
      const page = await browser.navigate(callback.href, { initiator: own.provider.issuer, follow: false });
      expect([page.status, page.headers.location]).toEqual([302, longest]);
    }
  });

  test('begun after cookies with names like theirs were planted from a sibling subdomain', async () => {
    const browser = world.client();
    for (let planted = 0; planted < 20; planted += 1) {
      browser.cookies.put({
        name: browser.own(`login-zzzzzzz-${planted}`),
        value: 'x'.repeat(100),
        domain: 'localhost',
      });
    }
    const page = await signIn(browser, 'alice', '/orders');
    expect(page.url).toBe(`${browser.origin}/orders`);
  });
});

async function outcomeOf(returnTo: string, options?: Partial<BrowserClientOptions>): Promise<string> {
  const browser = world.client(options);
  const page = await browser.navigate(loginPath({ returnTo }));
  if (page.status === 400) return /return_to_invalid/.exec(page.text)?.[0] ?? page.text;
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  return page.url.slice(browser.origin.length);
}

describe('a way back', () => {
  const encodedKanji = '%E6%BC%A2';
  test.each<[string, string, string]>([
    ['of 2048 letters', longest, longest],
    ['of 320 CJK letters', kanji(320), `/${encodedKanji.repeat(320)}`],
    ['of 341 CJK letters, 3070 when encoded', kanji(341), `/${encodedKanji.repeat(341)}`],
    ['of 3072 when encoded', `${kanji(341)}aa`, `/${encodedKanji.repeat(341)}aa`],
    ['of 255 emoji', `/${'😀'.repeat(255)}`, `/${'%F0%9F%98%80'.repeat(255)}`],
    ['of 1000 quotation marks', `/?q=${'"'.repeat(1000)}`, `/?q=${'%22'.repeat(1000)}`],
    [
      'in Japanese, with a query and a fragment',
      '/注文/一覧?頁=２#下',
      new URL('http://x/注文/一覧?頁=２#下').href.slice(8),
    ],
  ])('%s is where a sign-in ends', async (_, returnTo, expected) => {
    expect(await outcomeOf(returnTo)).toBe(expected);
    expect(await outcomeOf(returnTo, { profile: 'safari' })).toBe(expected);
  });

  test.each<[string, string]>([
    ['of 2049 letters', `${longest}a`],
    ['of 3073 when encoded', `${kanji(341)}aaa`],
    ['of 342 CJK letters', kanji(342)],
    ['of 2047 CJK letters', kanji(2047)],
    ['of 1100 quotation marks', `/?q=${'"'.repeat(1100)}`],
    ['of 20,000 letters', `/${'a'.repeat(19_999)}`],
  ])('%s is refused before a sign-in begins, and leaves nothing', async (_, returnTo) => {
    expect(await outcomeOf(returnTo)).toBe('return_to_invalid');
    const browser = world.client();
    await browser.navigate(loginPath({ returnTo }), { follow: false });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('survives a sign-in that the provider would have to ask for', async () => {
    const browser = world.client();
    const page = await browser.navigate(loginPath({ returnTo: kanji(320), prompt: 'none' }));
    expect(new URL(page.url).pathname).toBe(`/${encodedKanji.repeat(320)}`);
    expect(new URL(page.url).searchParams.get('login')).toBe('required');
  });
});
