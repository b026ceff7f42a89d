/** What the provider says of how long its grants last bounds the session: the earliest end wins, and the app is told. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

type Members = Record<string, unknown>;

async function signInWith(members: Members): Promise<{ world: World; browser: BrowserClient }> {
  const world = await startWorld();
  const undo = world.provider.mutate('code', (json) => ({ ...json, ...members }));
  const browser = world.client();
  await signIn(browser);
  undo();
  return { world, browser };
}

async function secondsLeft(browser: BrowserClient): Promise<unknown> {
  return (await browser.fetch('/bff/session')).at('session.expiresInSeconds');
}

describe('a refresh token that expires unless it is used', () => {
  test.each([
    ['refresh_token_timeout', { refresh_token_timeout: 1800 }],
    ['refresh_expires_in', { refresh_expires_in: 1800 }],
    ['the first of both', { refresh_token_timeout: '1800', refresh_expires_in: 60 }],
  ])('by %s ends the session when it was not used for so long', async (_name, members) => {
    const { browser } = await signInWith(members);
    expect(await secondsLeft(browser)).toBe(1800);
    vi.advanceTimersByTime(1_799_000);
    expect(await secondsLeft(browser)).toBe(1);
    vi.advanceTimersByTime(1000);
    expect((await browser.fetch('/api/orders')).at('code')).toBe('session_expired');
  });

  test('is replaced by a refresh, in a cookie that the browser still has', async () => {
    const { world, browser } = await signInWith({ refresh_expires_in: 1800 });
    world.provider.mutate('refresh', (json) => ({ ...json, refresh_expires_in: 1800 }));
    for (let turn = 0; turn < 3; turn += 1) {
      vi.advanceTimersByTime(1_500_000);
      expect((await browser.fetch('/api/orders')).status).toBe(200);
      expect(await secondsLeft(browser)).toBe(1800);
    }
    expect(world.provider.calls.refresh).toBe(3);
  });

  test('says nothing more once a refresh says nothing', async () => {
    const { browser } = await signInWith({ refresh_expires_in: 1800 });
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(await secondsLeft(browser)).toBe(28_800 - 301);
  });

  test('ends nothing before the access token does', async () => {
    const { browser } = await signInWith({ refresh_expires_in: 10 });
    expect(await secondsLeft(browser)).toBe(300);
  });
});

describe('an end that no refresh moves', () => {
  test('by authorization_expires_in holds over refreshes that do not repeat it', async () => {
    const { browser } = await signInWith({ authorization_expires_in: 1000 });
    expect(await secondsLeft(browser)).toBe(1000);
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(await secondsLeft(browser)).toBe(1000 - 301);
    vi.advanceTimersByTime(700_000);
    // The browser has deleted the cookie.
    expect((await browser.fetch('/api/orders')).at('code')).toBe('login_required');
  });

  test('by the session_expiry of the ID token', async () => {
    const world = await startWorld({
      provider: { settings: { extraClaims: { session_expiry: nowSeconds() + 700 } } },
    });
    const browser = world.client();
    await signIn(browser);
    expect(await secondsLeft(browser)).toBe(700);
    vi.advanceTimersByTime(701_000);
    expect((await browser.fetch('/api/orders')).at('code')).toBe('login_required');
  });

  test('is not later than the lifetime', async () => {
    const { browser } = await signInWith({ authorization_expires_in: 1e6, refresh_expires_in: 1e6 });
    expect(await secondsLeft(browser)).toBe(28_800);
  });
});

test.each(['refresh_token_timeout', 'refresh_expires_in', 'authorization_expires_in'])(
  '%s of no use is none',
  async (name) => {
    for (const value of [0, -1, null, '', 'soon', [], {}, true]) {
      const { world, browser } = await signInWith({ [name]: value });
      expect(await secondsLeft(browser)).toBe(28_800);
      await world.stop();
    }
  },
);
