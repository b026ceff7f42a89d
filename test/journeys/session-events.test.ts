/** The session as server-sent events: every tab hears at once what becomes of it, and no tab keeps it alive by listening. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate, fakeDateAndIntervals } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';
import { logoutToken, sendLogoutToken, watchIdTokens } from '../support/logout-tokens.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { createSharedMemory } from '../support/shared-memory.ts';
import { follow, type SessionEvents } from '../support/session-events.ts';
import { callHead, Wire } from '../support/wire.ts';
import { startWorkersWorld } from '../support/workers.ts';
import {
  signIn,
  startSignedIn,
  startWorld,
  type RunningServer,
  type SignedInWorld,
  type World,
} from '../support/world.ts';

/** How soon every stream hears. */
const soonMs = 300;

const token = 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u';

interface OperatedWorld extends SignedInWorld {
  readonly opsPort: number;
  readonly sid: string;
}

/** With every way to end a session. */
async function startOperated(config: Partial<ConfigInput> = {}): Promise<OperatedWorld> {
  const opsPort = await freePort();
  const world = await startWorld({
    backchannelLogout: true,
    config: (base) => ({
      ...base,
      logout: { frontchannel: true },
      listen: { ...base.listen, opsPort, opsToken: token },
      ...config,
    }),
  });
  const idTokens = watchIdTokens(world.provider);
  const browser = world.client();
  await signIn(browser);
  return Object.assign(world, { browser, opsPort, sid: String(idTokens[0]?.['sid']) });
}

type End = (world: OperatedWorld) => Promise<unknown>;

const backchannel: End = async ({ provider, server, sid }) =>
  sendLogoutToken(server.port, await logoutToken(provider, { sid }));

const operator: End = ({ opsPort }) =>
  fetch(`http://127.0.0.1:${opsPort}/sessions?sub=alice`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${token}` },
  });

const refusal: End = async ({ browser, provider }) => {
  provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
  await browser.clone().fetch('/bff/refresh', { method: 'POST' });
};

const ends: ReadonlyArray<readonly [story: string, reason: string, end: End]> = [
  ['a sign-out in another tab', 'logout', ({ browser }) => browser.clone().fetch('/bff/logout', { method: 'POST' })],
  [
    'the end of all others from another browser',
    'logout',
    async ({ client }) => {
      const other = client();
      await signIn(other);
      await other.fetch('/bff/sessions?others=true', { method: 'DELETE' });
    },
  ],
  ['another sign-in in this browser', 'replaced', ({ browser }) => signIn(browser, 'bob')],
  ['the provider’s server', 'backchannel', backchannel],
  [
    'a frame of the provider’s page',
    'backchannel',
    ({ browser, provider, sid }) => {
      const query = new URLSearchParams({ iss: provider.issuer, sid }).toString();
      const from = { initiator: provider.issuer, destination: 'iframe', follow: false } as const;
      return browser.navigate(`/bff/frontchannel-logout?${query}`, from);
    },
  ],
  ['an operator', 'operator', operator],
  ['the provider’s refusal of a refresh', 'refused', refusal],
];

describe('every tab hears at once why its session is over: by', () => {
  test.each(ends)('%s: %s', async (_story, reason, end) => {
    const world = await startOperated();
    const { port } = world.server;
    const stranger = world.client();
    await signIn(stranger, 'bob');
    const tabs = [await follow(world.browser, { port }), await follow(world.browser, { port })];
    const kept = await follow(stranger, { port });
    for (const tab of [...tabs, kept]) await tab.event(0);
    await end(world);
    const endedAt = performance.now();
    for (const tab of tabs) {
      const { content, at } = await tab.signedOut();
      expect(content).toEqual({ reason });
      expect(at - endedAt).toBeLessThan(soonMs);
      expect(tab.end).toBe('complete');
      // Another session may wait; else there is nothing to come back for soon.
      expect((tab.retryMs ?? 0) <= 8000 ? 'soon' : 'late').toBe(reason === 'replaced' ? 'soon' : 'late');
    }
    expect([kept.events.length, kept.end]).toEqual([1, undefined]);
    world.assertNoSecrets();
  });

  test.each<[story: string, reason: string, session: ConfigInput['session']]>([
    ['its lifetime', 'expired', { lifetimeSeconds: 200 }],
    ['its idle time', 'idle', { idleSeconds: 200 }],
    ['the first of both', 'idle', { lifetimeSeconds: 250, idleSeconds: 200 }],
  ])('%s: %s', async (_story, reason, session) => {
    fakeDate();
    const { browser, server } = await startSignedIn({ config: { session } });
    const cookie = browser.cookieHeader() ?? '';
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    vi.advanceTimersByTime(199_000);
    vi.advanceTimersByTime(1000);
    const endedAt = performance.now();
    const { content, at } = await tab.signedOut();
    expect(content).toEqual({ reason });
    expect(at - endedAt).toBeLessThan(soonMs);
    // And so says whatever is asked later.
    const answer = await browser.fetch('/bff/session', { headers: { cookie } });
    expect(answer.json()).toEqual({ authenticated: false, loginUrl: '/bff/login', reason });
  });

  test('its access token, where there is no refresh token: expired', async () => {
    fakeDate();
    const { browser, server } = await startSignedIn({ provider: { settings: { refreshTokens: 'never' } } });
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    expireAccessToken();
    expect((await tab.signedOut()).content).toEqual({ reason: 'expired' });
  });
});

describe('a stream', () => {
  test('says at once what /bff/session says, so that nothing in between holds it back', async () => {
    fakeDate();
    const { browser, server, logs } = await startSignedIn({ config: { session: { idleSeconds: 1800 } } });
    const tab = await follow(browser, { port: server.port });
    const { name, content } = await tab.event(0);
    expect(tab.status).toBe(200);
    expect(tab.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    });
    expect(tab.headers).not.toHaveProperty('set-cookie');
    expect([name, content]).toEqual(['session', (await browser.fetch('/bff/session')).json()]);
    expect(tab.retryMs).toBeGreaterThanOrEqual(1000);
    expect(tab.retryMs).toBeLessThanOrEqual(8000);
    tab.leave();
    await vi.waitFor(() => expect(logs.join('\n')).toContain('/bff/events'));
    expect(logs.join('\n')).not.toContain('request failed');
  });

  test('says each refresh, and nothing where nothing has changed', async () => {
    fakeDate();
    const { browser, server } = await startSignedIn();
    const tab = await follow(browser, { port: server.port });
    const first = await tab.event(0);
    expireAccessToken();
    const beganAt = performance.now();
    await browser.fetch('/api/me');
    const second = await tab.event(1);
    expect(second.at - beganAt).toBeLessThan(soonMs);
    expect(second.name).toBe('session');
    expect(second.content).toEqual((await browser.fetch('/bff/session')).json());
    expect(second.content['accessToken']).not.toEqual(first.content['accessToken']);
    await browser.fetch('/api/me');
    await browser.fetch('/bff/refresh', { method: 'POST' });
    // A look of the store's messages later.
    await sleep(300);
    expect(tab.events).toHaveLength(2);
    expect(tab.end).toBeUndefined();
  });

  test('beats every 25 seconds, and says then how far calls have moved the idle end', async () => {
    fakeDateAndIntervals();
    const { browser, server } = await startSignedIn({ config: { session: { idleSeconds: 1800 } } });
    const tab = await follow(browser, { port: server.port });
    const first = await tab.event(0);
    await vi.advanceTimersByTimeAsync(1000);
    await tab.until(({ comments }) => comments === 1);
    await vi.advanceTimersByTimeAsync(10_000);
    for (let call = 0; call < 3; call += 1) await browser.fetch('/api/me');
    await vi.advanceTimersByTimeAsync(14_000);
    expect(tab.events).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1000);
    const second = await tab.event(1);
    const idleEndOf = ({ content }: typeof first) => (content['session'] as { idleExpiresAt: string }).idleExpiresAt;
    expect(Date.parse(idleEndOf(second)) - Date.parse(idleEndOf(first))).toBe(11_000);
    await vi.advanceTimersByTimeAsync(25_000);
    await tab.until(({ comments }) => comments === 2);
    expect(tab.events).toHaveLength(2);
  });

  test('does not keep its session from being idle, whatever it says', async () => {
    fakeDateAndIntervals();
    const { browser, server } = await startSignedIn({ config: { session: { idleSeconds: 100 } } });
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    for (let second = 0; second < 99; second += 1) await vi.advanceTimersByTimeAsync(1000);
    await tab.until(({ comments }) => comments >= 3);
    // Another one, that is opened late, keeps it no more than the first.
    const late = await follow(browser, { port: server.port });
    await late.event(0);
    expect(tab.end).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1500);
    expect((await tab.signedOut()).content).toEqual({ reason: 'idle' });
    expect((await late.signedOut()).content).toEqual({ reason: 'idle' });
    expect((await browser.fetch('/api/me')).at('code')).toBe('session_expired');
  });

  test('ends at once where there is no session, and is not to be opened again soon', async () => {
    const { client, server } = await startWorld();
    const tab = await follow(client(), { port: server.port });
    await tab.until(({ end }) => end !== undefined);
    expect([tab.status, tab.end, tab.retryMs]).toEqual([200, 'complete', 60_000]);
    expect(tab.events).toMatchObject([{ name: 'session', content: { authenticated: false, loginUrl: '/bff/login' } }]);
  });

  test('knows why the session of an old cookie is over', async () => {
    const { browser, server } = await startSignedIn();
    const old = browser.clone();
    await browser.fetch('/bff/logout', { method: 'POST' });
    const tab = await follow(old, { port: server.port });
    await tab.until(({ end }) => end !== undefined);
    expect(tab.events.map(({ content }) => content)).toEqual([
      { authenticated: false, loginUrl: '/bff/login', reason: 'logout' },
    ]);
    expect(tab.headers).not.toHaveProperty('set-cookie');
  });

  test('is open for twenty tabs of a session; one more ends the oldest, which is to come back late', async () => {
    const { browser, server } = await startSignedIn();
    const tabs: SessionEvents[] = [];
    for (let count = 0; count < 20; count += 1) tabs.push(await follow(browser, { port: server.port }));
    for (const tab of tabs) await tab.event(0);
    expect(tabs.map(({ end }) => end)).toEqual(Array(20).fill(undefined));
    const newest = await follow(browser, { port: server.port });
    await newest.event(0);
    await tabs[0]?.until(({ end }) => end === 'complete');
    expect([tabs[0]?.events.length, tabs[0]?.retryMs]).toEqual([1, 60_000]);
    await browser.fetch('/bff/logout', { method: 'POST' });
    for (const tab of [...tabs.slice(1), newest]) expect((await tab.signedOut()).content).toEqual({ reason: 'logout' });
  });

  test.each(['HEAD', 'POST', 'DELETE'])('is not opened by %s', async (method) => {
    const { browser } = await startSignedIn();
    const answer = await browser.fetch('/bff/events', { method });
    expect([answer.status, answer.headers['allow']]).toEqual([405, 'GET']);
  });
});

interface Pair extends World {
  readonly redis: TestRedis;
  readonly other: RunningServer;
  readonly browser: BrowserClient;
  /** The same browser, whose calls reach the other instance. */
  readonly there: BrowserClient;
}

async function startPair(config: Partial<ConfigInput> = {}): Promise<Pair> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({ config: { redisUrl: redis.url, ...config } });
  const other = await world.addInstance();
  const browser = world.client();
  await signIn(browser);
  const there = browser.clone();
  there.routeTo(other.port, world.origin);
  return Object.assign(world, { redis, other, browser, there });
}

describe.each(['cookie', 'store'] as const)('at another instance, in mode %s, a tab hears', (mode) => {
  test('of a sign-out', async () => {
    const { browser, other } = await startPair({ session: { mode } });
    const tab = await follow(browser, { port: other.port });
    await tab.event(0);
    await browser.fetch('/bff/logout', { method: 'POST' });
    const endedAt = performance.now();
    const { content, at } = await tab.signedOut();
    expect(content).toEqual({ reason: 'logout' });
    expect(at - endedAt).toBeLessThan(soonMs);
  });

  test('of a refresh', async () => {
    const { browser, other } = await startPair({ session: { mode } });
    const tabs = [await follow(browser, { port: other.port }), await follow(browser, { port: other.port })];
    for (const tab of tabs) await tab.event(0);
    await browser.fetch('/bff/refresh', { method: 'POST' });
    const refreshedAt = performance.now();
    for (const tab of tabs) {
      const { content, at } = await tab.event(1);
      expect(content).toMatchObject({ accessToken: (await browser.fetch('/bff/session')).json()['accessToken'] });
      expect(at - refreshedAt).toBeLessThan(soonMs);
    }
  });

  test('of calls that were made there, before its idle time seems to be over', async () => {
    fakeDateAndIntervals();
    const { browser, there, server } = await startPair({ session: { mode, idleSeconds: 100 } });
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    for (let step = 0; step < 2; step += 1) {
      await vi.advanceTimersByTimeAsync(30_000);
      expect((await there.fetch('/api/busy')).status).toBe(200);
    }
    // After 60 of 100 seconds, long before anything here could have ended.
    const { content } = await tab.event(1);
    const left: unknown = expect.toSatisfy((seconds: number) => seconds > 65);
    expect(content).toMatchObject({ session: { idleExpiresInSeconds: left } });
    for (let step = 0; step < 3; step += 1) {
      await vi.advanceTimersByTimeAsync(30_000);
      expect((await there.fetch('/api/busy')).status).toBe(200);
    }
    expect(tab.end).toBeUndefined();
  });

  test('nothing of an outage of the store, and of the sign-out after it', async () => {
    const { browser, other, redis, logs } = await startPair({ session: { mode }, store: { recheckSeconds: 1 } });
    const tab = await follow(browser, { port: other.port });
    await tab.event(0);
    redis.freeze();
    // What it has in memory it serves, and what listens goes on, until the store is known to be away and for longer.
    await vi.waitFor(() => expect(logs.join('\n')).toContain('store.failed'), { timeout: 10_000 });
    const late = await follow(browser, { port: other.port });
    expect(late.status).toBe(200);
    await late.event(0);
    expect(tab.end).toBeUndefined();
    redis.resume();
    await vi.waitFor(async () => expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200));
    expect((await tab.signedOut(10)).content).toEqual({ reason: 'logout' });
  });
});

test('a tab hears of calls at another instance while half of the idle time is left, though no message tells', async () => {
  fakeDateAndIntervals();
  const { store } = createSharedMemory();
  const { browser, addInstance, server, origin } = await startSignedIn({
    store,
    config: { session: { idleSeconds: 100 } },
  });
  const there = browser.clone();
  there.routeTo((await addInstance()).port, origin);
  const tab = await follow(browser, { port: server.port });
  await tab.event(0);
  await vi.advanceTimersByTimeAsync(40_000);
  expect((await there.fetch('/api/busy')).status).toBe(200);
  expect(tab.events).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(15_000);
  const left: unknown = expect.toSatisfy((seconds: number) => seconds > 80);
  expect((await tab.event(1)).content).toMatchObject({ session: { idleExpiresInSeconds: left } });
});

test('for a refresh at another instance, one look at the store serves all tabs', async () => {
  const { store, calls } = createSharedMemory();
  const { browser, addInstance, server } = await startSignedIn({ store });
  const other = await addInstance();
  const tabs = await Promise.all(Array.from({ length: 8 }, () => follow(browser, { port: other.port })));
  for (const tab of tabs) await tab.event(0);
  const looks = () => calls['look'] ?? 0;
  const before = looks();
  await browser.fetch('/bff/refresh', { method: 'POST' });
  for (const tab of tabs) await tab.event(1);
  expect(looks() - before).toBe(1);
  // The one that refreshed has nothing to look at.
  const own = await follow(browser, { port: server.port });
  await own.event(0);
  expect(looks() - before).toBe(1);
});

test('an instance that has not met a stored session cannot open a stream of it while the store is down', async () => {
  const { there, redis, other } = await startPair({ session: { mode: 'store' } });
  await redis.down();
  const tab = await follow(there, { port: other.port });
  expect([tab.status, tab.headers['content-type']]).toEqual([503, 'application/problem+json']);
});

test('at another worker, a tab hears of a sign-out and of a refresh', { timeout: 120_000 }, async () => {
  const world = await startWorkersWorld();
  const port = Number(new URL(world.origin).port);
  const browser = world.client();
  await signIn(browser);
  // Each on a connection of its own, which either of them takes.
  const tabs = await Promise.all(Array.from({ length: 12 }, () => follow(browser, { port })));
  for (const tab of tabs) await tab.event(0);
  await browser.fetch('/bff/refresh', { method: 'POST' });
  for (const tab of tabs) await tab.event(1);
  await browser.fetch('/bff/logout', { method: 'POST' });
  const endedAt = performance.now();
  for (const tab of tabs) {
    const { content, at } = await tab.signedOut();
    expect(content).toEqual({ reason: 'logout' });
    expect(at - endedAt).toBeLessThan(soonMs);
  }
  for (const tab of tabs) tab.leave();
});

describe('when the server stops, streams', () => {
  test('end at once without a sign-out, are to be opened again at different times, and can be', async () => {
    const world = await startSignedIn({ config: (base) => ({ ...base, drainSeconds: 20 }) });
    const { browser } = world;
    const tabs = await Promise.all(Array.from({ length: 12 }, () => follow(browser, { port: world.server.port })));
    for (const tab of tabs) await tab.event(0);
    const firstRetries = tabs.map(({ retryMs }) => retryMs);
    const startedAt = performance.now();
    await world.restart();
    expect(performance.now() - startedAt).toBeLessThan(3000);
    for (const tab of tabs) {
      await tab.until(({ end }) => end === 'complete');
      expect(tab.events.map(({ name }) => name)).toEqual(['session']);
      expect(tab.retryMs).toBeGreaterThanOrEqual(1000);
      expect(tab.retryMs).toBeLessThanOrEqual(8000);
    }
    expect(new Set(tabs.map(({ retryMs }) => retryMs)).size).toBeGreaterThan(3);
    expect(tabs.map(({ retryMs }) => retryMs)).not.toEqual(firstRetries);
    const again = await follow(browser, { port: world.server.port });
    expect((await again.event(0)).content).toMatchObject({ authenticated: true });
  });

  test('that nobody reads hold it up for a second, and no longer', async () => {
    const { browser, server } = await startSignedIn({
      config: (base) => ({ ...base, drainSeconds: 20 }),
      sessionView: () => ({ groups: [' '.repeat(8_000_000)] }),
    });
    const wire = new Wire(server.port);
    onTestFinished(() => void wire.socket.destroy());
    wire.socket.pause();
    wire.write(`${callHead(browser, 'GET', '/bff/events')}\r\n`);
    await browser.fetch('/bff/session');
    const startedAt = performance.now();
    await server.close();
    expect(performance.now() - startedAt).toBeLessThan(4000);
  });

  test('that are opened while it waits for load balancers are served, and end with the others', async () => {
    const { browser, server } = await startSignedIn({
      config: (base) => ({ ...base, drainSeconds: 20, drain: { waitSeconds: 1 } }),
    });
    const stopped = server.close();
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    expect(tab.end).toBeUndefined();
    await tab.until(({ end }) => end === 'complete');
    await stopped;
  });

  test('end with the library that a program closes', async () => {
    const { browser, server } = await startSignedIn();
    const tab = await follow(browser, { port: server.port });
    await tab.event(0);
    await server.bff.close();
    await tab.until(({ end }) => end === 'complete');
    // One that comes later gets the session, and is to come again.
    const late = await follow(browser, { port: server.port });
    await late.until(({ end }) => end === 'complete');
    expect(late.events.map(({ name }) => name)).toEqual(['session']);
  });
});
