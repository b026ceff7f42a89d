/**
 * Some providers give one person the same refresh token in every browser, and don't change it when it is used. Two
 * sessions with the same credential are still two: each is refreshed for itself, and neither is told that it has ended.
 */
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { ProviderSettings } from '../support/provider-configuration.ts';
import { startRedis } from '../support/redis.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

beforeEach(() => fakeDate());

/** So many browsers of Alice, in which she was given the same refresh token. */
async function startSharing(count: number, options: WorldOptions = {}): Promise<World & { browsers: BrowserClient[] }> {
  const world = await startWorld(options);
  const settings: Partial<ProviderSettings> = { rotateRefreshTokens: false };
  Object.assign(world.provider.settings, settings);
  let shared: unknown;
  world.provider.mutate('code', (json) => {
    shared ??= json['refresh_token'];
    return { ...json, refresh_token: shared };
  });
  // A refreshed ID token need not repeat the nonce (OpenID Connect Core 12.2), and here it would be the first browser's.
  world.provider.mutateIdToken((claims) => ({ claims: { ...claims, nonce: undefined } }), 'refresh');
  const browsers = Array.from({ length: count }, () => world.client());
  for (const browser of browsers) await signIn(browser);
  expireAccessToken();
  world.provider.resetCalls();
  return Object.assign(world, { browsers });
}

function shownTokens({ provider }: World): Set<string | undefined> {
  const refreshes = provider.requests.filter(({ endpoints }) => endpoints.includes('refresh'));
  return new Set(refreshes.map(({ form }) => form['refresh_token']));
}

test('two browsers that need a new token at the same moment each get their own', async () => {
  const world = await startSharing(2);
  const { browsers, provider, api } = world;
  const gate = provider.hold('refresh');
  const calls = browsers.map((browser) => browser.fetch('/api/me'));
  await gate.arrived;
  gate.release();
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200]);
  expect(provider.calls.refresh).toBe(2);
  expect(shownTokens(world).size).toBe(1);
  expect(new Set(api.requests.map(({ token }) => token)).size).toBe(2);
  for (const browser of browsers) {
    expect((await browser.fetch('/api/again')).status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  }
  expect(provider.calls.refresh).toBe(2);
});

test('fifty calls of five browsers make five token requests, and all are answered', async () => {
  const { browsers, provider } = await startSharing(5);
  for (let round = 1; round <= 3; round += 1) {
    const calls = browsers.flatMap((browser) => Array.from({ length: 10 }, () => browser.fetch('/api/me')));
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]));
    expect(provider.calls.refresh).toBe(5 * round);
    expireAccessToken();
  }
});

test('one after another, and by /bff/refresh, each is told its own session', async () => {
  const { browsers, provider } = await startSharing(2);
  const [first, second] = browsers;
  const answers = [];
  for (const browser of [first, second]) answers.push(await browser?.fetch('/bff/refresh', { method: 'POST' }));
  expect(answers.map((answer) => answer?.status)).toEqual([200, 200]);
  expect(answers.map((answer) => answer?.at('authenticated'))).toEqual([true, true]);
  expect(new Set(answers.map((answer) => answer?.at('logoutUrl'))).size).toBe(2);
  expect(provider.calls.refresh).toBe(2);
});

test('one signed out while both are refreshed ends the other only where the provider does', async () => {
  const { browsers, provider } = await startSharing(2);
  const [leaver, stayer] = browsers;
  const gate = provider.hold('refresh', { after: 'commit' });
  const leaving = leaver?.clone().fetch('/api/leaves');
  const staying = stayer?.fetch('/api/stays');
  await vi.waitFor(() => expect(provider.calls.refresh).toBe(2));
  // The provider has another session of hers, and knows that: it revokes nothing for good.
  provider.fail('revocation', { status: 200, body: {} });
  expect((await leaver?.fetch('/bff/logout', { method: 'POST' }))?.status).toBe(200);
  gate.release();
  expect([(await leaving)?.status, (await staying)?.status]).toEqual([401, 200]);
  expect((await stayer?.fetch('/api/again'))?.status).toBe(200);
});

test('an outage of the one refresh is not the other’s', async () => {
  const { browsers, provider } = await startSharing(2);
  provider.fail('refresh', { times: 1 });
  const [first, second] = browsers;
  expect((await first?.fetch('/api/me'))?.status).toBe(503);
  expect((await second?.fetch('/api/me'))?.status).toBe(200);
});

test('keys that were out of reach: each is completed by its own answer, once', async () => {
  const { browsers, provider } = await startSharing(2);
  await provider.rotateKeys();
  const undo = provider.fail('jwks');
  const failed = await Promise.all(browsers.map((browser) => browser.fetch('/api/me')));
  expect(failed.map(({ status }) => status)).toEqual([503, 503]);
  undo();
  vi.advanceTimersByTime(61_000);
  for (const browser of browsers) {
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
  }
});

test('two instances with one store: each session is refreshed once, wherever its calls go', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startSharing(2, { config: { redisUrl: redis.url } });
  const other = await world.addInstance();
  const elsewhere = world.browsers.map((browser) => {
    const clone = browser.clone();
    clone.routeTo(other.port, world.origin);
    return clone;
  });
  const calls = [...world.browsers, ...elsewhere].flatMap((browser) =>
    Array.from({ length: 10 }, () => browser.fetch('/api/me')),
  );
  expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]));
  expect(world.provider.calls.refresh).toBe(2);
});
