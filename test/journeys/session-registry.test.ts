/** Where a person is signed in: what they see of their sessions on all instances, and how they end what they don't know. */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import type { SessionsView } from '../../src/endpoints/session-list.ts';
import { personName } from '../../src/session/session-names.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import type { User } from '../support/provider-configuration.ts';
import { startRedis } from '../support/redis.ts';
import { createSharedMemory, type SharedMemory } from '../support/shared-memory.ts';
import { signIn, startWorld, type ConfigOverrides, type RunningServer, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

const firefox = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0';

const modes = ['cookie', 'store'] as const;

interface Cluster extends World {
  readonly memory: SharedMemory;
  readonly other: RunningServer;
}

/** Two instances over one store. */
async function startCluster(config: ConfigOverrides = {}): Promise<Cluster> {
  const memory = createSharedMemory();
  const world = await startWorld({ config, store: memory.store });
  const other = await world.addInstance();
  return Object.assign(world, { memory, other });
}

/** A browser that has signed in, at one of the instances, some minutes after what was before. */
async function signedIn(
  world: Omit<Cluster, 'memory'>,
  { user = 'alice', at = world.server.port }: { user?: User; at?: number } = {},
): Promise<BrowserClient> {
  vi.advanceTimersByTime(60_000);
  const browser = world.client();
  browser.routeTo(at, world.origin);
  await signIn(browser, user);
  return browser;
}

async function sessionsOf(browser: BrowserClient): Promise<SessionsView['sessions']> {
  const answer = await browser.fetch('/bff/sessions');
  expect(answer.status).toBe(200);
  return (answer.json() as unknown as SessionsView).sessions;
}

async function handleOf(browser: BrowserClient): Promise<string> {
  return (await sessionsOf(browser)).find(({ current }) => current)?.handle ?? '';
}

async function statusOf(browser: BrowserClient, path = '/api/orders'): Promise<number> {
  return (await browser.fetch(path)).status;
}

function end(browser: BrowserClient, path: string): Promise<Exchange> {
  return browser.fetch(`/bff/sessions${path}`, { method: 'DELETE' });
}

interface EventLine {
  readonly msg: string;
  readonly session?: string;
  readonly reason?: string;
  readonly remote?: boolean;
}

/** The ends in the logs, without what the log adds. */
function endsIn(logs: readonly string[]): EventLine[] {
  return logs
    .map((line) => JSON.parse(line) as EventLine)
    .filter(({ msg }) => msg === 'session.ended')
    .map(({ msg, session = '', reason = '', remote = false }) => ({ msg, session, reason, remote }));
}

describe('the list', () => {
  test.each(modes)(
    "has the person's sessions of all instances, the newest first, and marks the own one: %s",
    async (mode) => {
      const world = await startCluster({ session: { mode } });
      const first = await signedIn(world);
      const second = await signedIn(world, { at: world.other.port });
      await signedIn(world, { user: 'bob' });

      const listed = await sessionsOf(first);
      expect(listed.map(({ current }) => current)).toEqual([false, true]);
      expect(Date.parse(listed[0]?.createdAt ?? '') - Date.parse(listed[1]?.createdAt ?? '')).toBe(60_000);
      const fromOther = await sessionsOf(second);
      expect(fromOther.map(({ current }) => current)).toEqual([true, false]);
      expect(fromOther.map(({ handle }) => handle)).toEqual(listed.map(({ handle }) => handle));
      world.assertNoSecrets();
    },
  );

  test('names browser and network as of the sign-in, and neither header nor address as they were', async () => {
    const world = await startWorld({ config: { trustedProxies: ['127.0.0.1', '::1'] } });
    const browser = world.client();
    const headers = { 'user-agent': firefox, 'x-forwarded-for': '203.0.113.77' };
    await browser.navigate('/bff/login?login_hint=alice', { headers });

    const answer = await browser.fetch('/bff/sessions');
    const [session] = (answer.json() as unknown as SessionsView).sessions;
    expect(session).toMatchObject({ userAgent: 'Firefox on Windows', address: '203.0.113.0/24' });
    expect(Object.keys(session ?? {}).toSorted()).toEqual(
      ['address', 'createdAt', 'current', 'handle', 'lastSeenAt', 'userAgent'].toSorted(),
    );
    expect(answer.text).not.toContain('203.0.113.77');
    expect(answer.text).not.toContain('Gecko');
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  test('says null of a browser and an address that it does not know', async () => {
    const world = await startWorld({ config: { trustedProxies: ['127.0.0.1', '::1'] } });
    const browser = world.client();
    await browser.navigate('/bff/login?login_hint=alice', { headers: { 'user-agent': 'curl/8' } });
    expect((await sessionsOf(browser))[0]).toMatchObject({ userAgent: null });
  });

  test('loses a session that was signed out, replaced or has run its time', async () => {
    const world = await startCluster({ session: { lifetimeSeconds: 3600 } });
    const early = await signedIn(world);
    vi.advanceTimersByTime(1_800_000);
    const [watching, leaving] = [await signedIn(world), await signedIn(world, { at: world.other.port })];
    await signIn(leaving);
    expect(await sessionsOf(watching)).toHaveLength(3);
    await leaving.fetch('/bff/logout', { method: 'POST' });
    expect(await sessionsOf(watching)).toHaveLength(2);
    vi.advanceTimersByTime(1_800_000);
    expect(await sessionsOf(watching)).toHaveLength(1);
    expect(await statusOf(early)).toBe(401);
  });

  test('loses a session whose idle time is over, and keeps one that is used', async () => {
    const world = await startCluster({ session: { idleSeconds: 600 } });
    await signedIn(world);
    const busy = await signedIn(world);
    for (let minute = 0; minute < 12; minute++) {
      vi.advanceTimersByTime(60_000);
      expect(await statusOf(busy)).toBe(200);
    }
    expect((await sessionsOf(busy)).map(({ current }) => current)).toEqual([true]);
  });

  test('loses the sessions that the provider has revoked, and keeps later ones', async () => {
    const world = await startCluster();
    await signedIn(world);
    vi.advanceTimersByTime(1000);
    const revocation = { before: nowSeconds(), reason: 'backchannel' } as const;
    await world.memory.store.revoke(personName(world.provider.issuer, 'alice'), revocation, 3600);
    const later = await signedIn(world);
    expect(await sessionsOf(later)).toHaveLength(1);
  });

  test('has the own session again after the store was emptied', async () => {
    const world = await startWorld();
    const browser = world.client();
    await signIn(browser);
    await world.restart();
    const [session] = await sessionsOf(browser);
    expect(session?.current).toBe(true);
    const elsewhere = world.client();
    await signIn(elsewhere);
    expect(await sessionsOf(elsewhere)).toHaveLength(2);
  });

  test('is only for who is signed in', async () => {
    const world = await startWorld();
    const answer = await world.client().fetch('/bff/sessions');
    expect(answer.status).toBe(401);
    expect(answer.json()['code']).toBe('login_required');
  });

  test('does not exist where session.registry is off, and then nothing is written', async () => {
    const world = await startCluster({ session: { registry: false } });
    const browser = await signedIn(world);
    for (const [method, path] of [
      ['GET', '/bff/sessions'],
      ['DELETE', '/bff/sessions?others=true'],
      ['DELETE', '/bff/sessions/x'],
    ] as const) {
      const answer = await browser.fetch(path, { method });
      expect([answer.status, answer.json()['code']]).toEqual([404, 'route_not_found']);
    }
    vi.advanceTimersByTime(3_600_000);
    await statusOf(browser);
    expect(world.memory.calls['begin'] ?? 0).toBe(0);
    expect(world.memory.calls['touch'] ?? 0).toBe(0);
  });
});

describe('when a session was last seen', () => {
  test('is known to five minutes, with one write in that time however many calls there are', async () => {
    const world = await startCluster();
    const browser = await signedIn(world);
    const begun = Date.now();
    const calls = async (count: number) => {
      for (let call = 0; call < count; call++) expect(await statusOf(browser)).toBe(200);
    };
    await calls(5);
    expect(world.memory.calls['touch'] ?? 0).toBe(0);
    vi.advanceTimersByTime(299_000);
    await calls(5);
    expect(world.memory.calls['touch'] ?? 0).toBe(0);
    vi.advanceTimersByTime(1000);
    await calls(5);
    expect(world.memory.calls['touch']).toBe(1);
    const [session] = await sessionsOf(browser);
    expect(Date.parse(session?.lastSeenAt ?? '') - begun).toBeGreaterThanOrEqual(299_000);
    expect(Date.parse(session?.lastSeenAt ?? '') - begun).toBeLessThanOrEqual(300_000);
  });

  test('is written by one of several instances that the calls go to', async () => {
    const world = await startCluster();
    const browser = await signedIn(world);
    vi.advanceTimersByTime(300_000);
    await statusOf(browser);
    browser.routeTo(world.other.port, world.origin);
    await statusOf(browser);
    expect(world.memory.calls['touch']).toBe(1);
  });

  test('is not changed by reading the session or the list', async () => {
    const world = await startCluster();
    const browser = await signedIn(world);
    vi.advanceTimersByTime(600_000);
    await browser.fetch('/bff/session');
    await sessionsOf(browser);
    expect(world.memory.calls['touch'] ?? 0).toBe(0);
  });
});

describe('ending a session', () => {
  test.each(modes)('by its handle ends it on all instances, with a reason, and no other: %s', async (mode) => {
    const world = await startCluster({ session: { mode } });
    const own = await signedIn(world);
    const stranger = await signedIn(world, { at: world.other.port });
    const third = await signedIn(world);
    const handle = await handleOf(stranger);

    const answer = await end(own, `/${handle}`);
    expect([answer.status, answer.text, answer.headers['cache-control']]).toEqual([204, '', 'no-store']);
    expect(await statusOf(stranger)).toBe(401);
    const session = handle.slice(0, 12);
    expect(endsIn(world.logs).toSorted(byRemote)).toEqual([
      { msg: 'session.ended', session, reason: 'other_session', remote: false },
      { msg: 'session.ended', session, reason: 'other_session', remote: true },
    ]);
    stranger.routeTo(world.server.port, world.origin);
    expect(await statusOf(stranger)).toBe(401);
    expect([await statusOf(own), await statusOf(third)]).toEqual([200, 200]);
    expect((await sessionsOf(own)).map((listed) => listed.handle)).not.toContain(handle);
    expect((await end(own, `/${handle}`)).status).toBe(404);
  });

  test('that only the deciding instance has is told once', async () => {
    const world = await startCluster();
    const [own, stranger] = [await signedIn(world), await signedIn(world)];
    const handle = await handleOf(stranger);
    expect((await end(own, `/${handle}`)).status).toBe(204);
    expect(endsIn(world.logs)).toEqual([
      { msg: 'session.ended', session: handle.slice(0, 12), reason: 'other_session', remote: false },
    ]);
    expect(await statusOf(stranger)).toBe(401);
  });

  test('with others=true keeps the own one alone', async () => {
    const world = await startCluster();
    const own = await signedIn(world);
    const others = [await signedIn(world), await signedIn(world, { at: world.other.port })];
    const bob = await signedIn(world, { user: 'bob' });
    expect((await end(own, '?others=true')).status).toBe(204);
    expect(await Promise.all(others.map((browser) => statusOf(browser)))).toEqual([401, 401]);
    expect([await statusOf(own), await statusOf(bob)]).toEqual([200, 200]);
    expect((await sessionsOf(own)).map(({ current }) => current)).toEqual([true]);
  });

  test.each(['', '?others=false', '?others', '?others=true&others=true'])(
    'without saying which ends none: "%s"',
    async (query) => {
      const world = await startCluster();
      const [own, other] = [await signedIn(world), await signedIn(world)];
      const answer = await end(own, query);
      expect([answer.status, answer.json()['code']]).toEqual([400, 'request_invalid']);
      expect(await statusOf(other)).toBe(200);
    },
  );

  test('by the own handle is a sign-out: its refresh token is revoked', async () => {
    const world = await startCluster();
    const own = await signedIn(world);
    expect((await end(own, `/${await handleOf(own)}`)).status).toBe(204);
    expect(world.provider.calls.revocation).toBe(1);
    expect(endsIn(world.logs).map(({ reason }) => reason)).toEqual(['logout']);
    expect((await own.fetch('/bff/session')).json()['authenticated']).toBe(false);
  });

  test('by another method than DELETE is answered with what is taken', async () => {
    const world = await startCluster();
    const own = await signedIn(world);
    const answer = await own.fetch(`/bff/sessions/${await handleOf(own)}`, { method: 'POST' });
    expect([answer.status, answer.headers.allow]).toEqual([405, 'DELETE']);
  });
});

test('on Redis, two instances list and end sessions, and nothing can be read there', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({ config: (base) => ({ ...base, redisUrl: redis.url }) });
  const other = await world.addInstance();
  const cluster = Object.assign(world, { other });
  const own = await signedIn(cluster);
  const stranger = await signedIn(cluster, { at: other.port });
  vi.advanceTimersByTime(300_000);
  expect(await statusOf(stranger)).toBe(200);
  expect((await sessionsOf(own)).map(({ current }) => current)).toEqual([false, true]);

  const dump = JSON.stringify([...(await redis.dump())]);
  expect(dump).toContain(await handleOf(stranger));
  for (const plain of ['alice', '127.0.0', 'Mozilla']) expect(dump).not.toContain(plain);
  expect((await end(own, `/${await handleOf(stranger)}`)).status).toBe(204);
  await vi.waitFor(async () => expect(await statusOf(stranger)).toBe(401), { interval: 10 });
  expect(await sessionsOf(own)).toHaveLength(1);
});

describe('while the store is down', () => {
  test('a login succeeds, and is listed when the store is back', async () => {
    const world = await startCluster();
    const watching = await signedIn(world);
    world.memory.down();
    const browser = await signedIn(world);
    expect(await statusOf(browser)).toBe(200);
    world.memory.up();
    await vi.waitFor(async () => expect(await sessionsOf(watching)).toHaveLength(2), { timeout: 5000, interval: 50 });
  });

  test('one that was signed out meanwhile is never listed', async () => {
    const world = await startCluster();
    const watching = await signedIn(world);
    world.memory.down();
    const browser = await signedIn(world);
    await browser.fetch('/bff/logout', { method: 'POST' });
    world.memory.up();
    await vi.waitFor(() => expect(world.memory.calls['end']).toBeGreaterThan(1), { timeout: 5000, interval: 20 });
    await vi.waitFor(() => expect(world.memory.calls['begin']).toBeGreaterThan(2), { timeout: 5000, interval: 20 });
    expect(await sessionsOf(watching)).toHaveLength(1);
  });

  test.each([
    ['GET', ''],
    ['DELETE', '?others=true'],
    ['DELETE', '/OTHER'],
  ])('%s /bff/sessions%s is 503 with Retry-After, and nobody is signed out', async (method, path) => {
    const world = await startCluster();
    const [own, other] = [await signedIn(world), await signedIn(world)];
    const handle = await handleOf(other);
    world.memory.down();
    const answer = await own.fetch(`/bff/sessions${path.replace('OTHER', handle)}`, { method });
    expect([answer.status, answer.json()['code']]).toEqual([503, 'store_unavailable']);
    expect(answer.headers['retry-after']).toBe('2');
    expect([await statusOf(own), await statusOf(other)]).toEqual([200, 200]);
  });

  test('an end that the store did not take is 503, and takes effect at last', async () => {
    const world = await startCluster();
    const [own, other] = [await signedIn(world), await signedIn(world, { at: world.other.port })];
    const handle = await handleOf(other);
    const failing = vi.spyOn(world.memory.store, 'end').mockRejectedValueOnce(new Error('lost'));
    expect((await end(own, `/${handle}`)).status).toBe(503);
    expect(failing).toHaveBeenCalledOnce();
    await vi.waitFor(async () => expect(await statusOf(other)).toBe(401), { timeout: 5000, interval: 50 });
  });
});

function byRemote(one: EventLine, other: EventLine): number {
  return Number(one.remote) - Number(other.remote);
}
