/**
 * The unlucky user's story: "My tokens are long, so my session comes in three cookies. It was renewed, and then came in
 * two; but I had two tabs open, their answers came in another order than they were asked for, and the third cookie of
 * before stayed. Put together, the three were nonsense, and I was signed out in the middle of a form. A colleague had it
 * the other way round: her session grew, and the single one of before, which stayed, was taken for the newest until it
 * was too old."
 *
 * Must hold: the first cookie says how many there are; whatever is left over of another generation, in whatever place,
 * signs nobody out, and is gone with the next one that is written. An answer names each cookie once.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { Cookie } from '../support/cookie-jar.ts';
import { signIn, startSignedIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

beforeEach(() => fakeDate());

/** Old cookies are good for a minute after the browser has shown the new one. */
const graceOverMs = 62_000;

function sessionCookies(browser: BrowserClient): Cookie[] {
  const cookies = browser.cookies.for(browser.origin).filter(({ name }) => name.startsWith('session'));
  return cookies.toSorted((a, b) => a.name.localeCompare(b.name));
}

function namesOf(browser: BrowserClient): string[] {
  return sessionCookies(browser).map(({ name }) => name);
}

/** One whose session took `before` bytes of access token, and after a refresh takes `after`. */
async function startChanged(before: number, after: number, options: WorldOptions = {}) {
  const world = await startSignedIn({ ...options, provider: { settings: { accessTokenPadding: before } } });
  const { browser } = world;
  const old = sessionCookies(browser);
  world.provider.settings.accessTokenPadding = after;
  expireAccessToken();
  expect((await browser.fetch('/api/refreshes')).status).toBe(200);
  expect(world.provider.calls.refresh).toBe(1);
  return { world, browser, old, renewed: sessionCookies(browser) };
}

/** In every way, now and when older cookies are good for nothing any more. */
async function expectSignedIn(world: World, browser: BrowserClient): Promise<void> {
  for (const wait of [0, graceOverMs]) {
    vi.advanceTimersByTime(wait);
    const call = await browser.fetch('/api/me');
    expect([wait, call.status, call.text.includes('alice')]).toEqual([wait, 200, true]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  }
  expect(world.provider.calls.refresh).toBe(1);
}

/** Sizes of tokens, and into how many cookies they lead. */
const sizes = { one: 100, two: 4000, three: 7000, four: 10_000 };
type Size = keyof typeof sizes;

const changes = (Object.keys(sizes) as Size[]).flatMap((before) =>
  (Object.keys(sizes) as Size[]).filter((after) => after !== before).map((after): [Size, Size] => [before, after]),
);

describe('a long session', () => {
  test('comes in as many as these tests say', async () => {
    for (const [index, size] of Object.values(sizes).entries()) {
      const world = await startSignedIn({ provider: { settings: { accessTokenPadding: size } } });
      const { browser } = world;
      expect(sessionCookies(browser)).toHaveLength(index + 1);
    }
  });
});

describe('cookies of the session before it was renewed', () => {
  test.each(changes)('are deleted with it: from %s to %s', async (before, after) => {
    const { world, browser, renewed } = await startChanged(sizes[before], sizes[after]);
    expect(renewed).toHaveLength(Object.keys(sizes).indexOf(after) + 1);
    await expectSignedIn(world, browser);
  });

  test.each(changes)('that stayed all the same sign nobody out: from %s to %s', async (before, after) => {
    const { world, browser, old, renewed } = await startChanged(sizes[before], sizes[after]);
    const left = old.filter(({ name }) => !renewed.some((cookie) => cookie.name === name));
    for (const cookie of left) browser.cookies.put(cookie);
    expect(namesOf(browser)).toHaveLength(renewed.length + left.length);
    await expectSignedIn(world, browser);
  });

  test.each(changes)(
    'that a late answer brought back are no end a minute later: from %s to %s',
    async (before, after) => {
      const { world, browser, old, renewed } = await startChanged(sizes[before], sizes[after]);
      await expectSignedIn(world, browser);
      for (const cookie of old) {
        if (!renewed.some(({ name }) => name === cookie.name)) browser.cookies.put(cookie);
      }
      expect(namesOf(browser).length).toBeGreaterThanOrEqual(renewed.length);
      vi.advanceTimersByTime(graceOverMs);
      await expectSignedIn(world, browser);
    },
  );

  test.each(changes)('that stayed are gone with the next that are written: from %s to %s', async (before, after) => {
    const { world, browser, old, renewed } = await startChanged(sizes[before], sizes[after]);
    for (const cookie of old) {
      if (!renewed.some(({ name }) => name === cookie.name)) browser.cookies.put(cookie);
    }
    expireAccessToken();
    expect((await browser.fetch('/api/refreshes')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(2);
    expect(namesOf(browser)).toEqual(renewed.map(({ name }) => name));
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(namesOf(browser)).toEqual([]);
  });

  test.each(changes)('that stayed are no way back in after a sign-out: from %s to %s', async (before, after) => {
    const { browser, old, renewed } = await startChanged(sizes[before], sizes[after]);
    for (const cookie of old) {
      if (!renewed.some(({ name }) => name === cookie.name)) browser.cookies.put(cookie);
    }
    await browser.fetch('/bff/logout', { method: 'POST' });
    for (const cookie of old) browser.cookies.put(cookie);
    expect((await browser.fetch('/api/me')).status).toBe(401);
  });

  test('of somebody else, who used this browser before, lead to nobody else', async () => {
    const world = await startWorld({ provider: { settings: { accessTokenPadding: sizes.three } } });
    const browser = world.client();
    await signIn(browser, 'bob');
    const old = sessionCookies(browser);
    world.provider.settings.accessTokenPadding = sizes.two;
    await browser.navigate('/bff/login?prompt=login&login_hint=alice', { initiator: browser.origin });
    for (const cookie of old.slice(2)) browser.cookies.put(cookie);
    expect(namesOf(browser)).toHaveLength(3);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
    expect((await browser.fetch('/api/me')).at('sub')).toBe('alice');
  });

  test('put together with new ones lead to no session at all, and no error', async () => {
    const { world, browser, old, renewed } = await startChanged(sizes.three, sizes.four);
    for (const index of [0, 1, 2]) {
      const mixed = browser.clone();
      const [first, second] = [old[index], renewed[index]];
      if (first === undefined || second === undefined) throw new Error('there are fewer cookies than expected');
      mixed.cookies.put({ ...second, value: first.value });
      expect((await mixed.fetch('/api/me')).at('code')).toBe('login_required');
      expect((await mixed.fetch('/bff/session')).at('authenticated')).toBe(false);
    }
    expect(world.logs.join('')).not.toContain('internal_error');
  });

  test('in part lead to no session: a cookie that says it is one of three needs the other two', async () => {
    const { browser, renewed } = await startChanged(sizes.one, sizes.three);
    for (const { name } of renewed) {
      const part = browser.clone();
      part.cookies.remove(name);
      expect((await part.fetch('/api/me')).at('code')).toBe('login_required');
    }
  });
});

function repeated(answers: readonly Exchange[]): string[] {
  return answers.flatMap(({ method, url, setCookies }) => {
    const names = setCookies.map((line) => line.split('=')[0]);
    return new Set(names).size === names.length ? [] : [`${method} ${new URL(url).pathname}: ${names.join(', ')}`];
  });
}

describe('no answer names a cookie twice', () => {
  test.each([
    ['', {}],
    [' where idle time is counted', { session: { idleSeconds: 1200 } }],
  ])('from sign-in to sign-out%s', async (_, config) => {
    for (const [before, after] of [
      ['one', 'one'],
      ['three', 'two'],
      ['one', 'four'],
    ] as const) {
      const world = await startWorld({ config, provider: { settings: { accessTokenPadding: sizes[before] } } });
      const browser = world.client();
      const answers: Exchange[] = [...(await signIn(browser)).chain];
      const fetch = async (path: string, method = 'GET', from = browser) => {
        answers.push(await from.fetch(path, { method }));
      };
      world.provider.settings.accessTokenPadding = sizes[after];
      vi.advanceTimersByTime(100_000);
      await fetch('/bff/refresh', 'POST');
      vi.advanceTimersByTime(100_000);
      await fetch('/api/touched');
      const late = browser.clone();
      expireAccessToken();
      await fetch('/api/refreshed');
      await fetch('/bff/refresh', 'POST', late);
      await fetch('/bff/session', 'GET', late);
      vi.advanceTimersByTime(100_000);
      await fetch('/bff/refresh', 'POST');
      world.api.rejectTokens(1);
      vi.advanceTimersByTime(100_000);
      await fetch('/api/refused');
      vi.advanceTimersByTime(100_000);
      await world.api.down();
      await fetch('/api/down');
      await world.api.up();
      answers.push(...(await signIn(browser, 'bob')).chain);
      await fetch('/bff/logout', 'POST');
      answers.push(...(await browser.navigate('/bff/logout', { initiator: browser.origin })).chain);
      expect(repeated(answers)).toEqual([]);
      expect(world.provider.calls.refresh).toBeGreaterThanOrEqual(3);
    }
  });

  test('not one of /bff/refresh for a tab with the cookie of before, a minute later', async () => {
    const world = await startSignedIn({ config: { session: { idleSeconds: 1200 } } });
    const { browser } = world;
    vi.advanceTimersByTime(120_000);
    const answer = await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.setCookies.map((line) => line.split('=')[0])).toEqual([browser.own('session')]);
    expect(answer.at('accessToken.expiresInSeconds')).toBe(300);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });
});
