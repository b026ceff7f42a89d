/**
 * Two instances behind a load balancer that knows no stickiness, with a real Redis between them: they act as one, and
 * when Redis fails at whatever moment, nobody is signed out and nothing hangs.
 */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { almostExpireAccessToken, expireAccessToken, fakeDate } from '../support/clock.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import {
  leadToCallback,
  signIn,
  startWorld,
  statusesOf,
  within,
  type ConfigOverrides,
  type RunningServer,
  type World,
} from '../support/world.ts';

beforeEach(() => fakeDate());

interface Cluster extends World {
  readonly redis: TestRedis;
  readonly other: RunningServer;
  /** A browser with the same cookies as `browser`, whose calls reach the other instance. */
  readonly onOther: (browser: BrowserClient) => BrowserClient;
}

async function startCluster(config: ConfigOverrides = {}): Promise<Cluster> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({
    config: (base) => ({ ...base, redisUrl: redis.url, ...(typeof config === 'function' ? config(base) : config) }),
  });
  const other = await world.addInstance();
  const onOther = (browser: BrowserClient) => {
    const clone = browser.clone();
    clone.routeTo(other.port, world.origin);
    return clone;
  };
  return Object.assign(world, { redis, other, onOther });
}

async function startSignedInCluster(
  config?: ConfigOverrides,
): Promise<Cluster & { here: BrowserClient; there: BrowserClient }> {
  const cluster = await startCluster(config);
  const here = cluster.client();
  await signIn(here);
  const there = cluster.onOther(here);
  expect((await there.fetch('/api/known')).status).toBe(200);
  return Object.assign(cluster, { here, there });
}

/** Calls until the answer is as wanted: for what comes back by itself. */
async function eventually(status: number, call: () => Promise<Exchange>): Promise<void> {
  await vi.waitFor(async () => expect((await call()).status).toBe(status), { timeout: 10_000, interval: 50 });
}

describe('two instances', () => {
  test('serve a session that either of them began', async () => {
    const { there, api } = await startSignedInCluster();
    await there.fetch('/api/1');
    expect(api.last().claims?.sub).toBe('alice');
    expect((await there.fetch('/bff/session')).json()).toMatchObject({ authenticated: true });
  });

  test('redeem a refresh token once for 50 parallel calls spread over both', async () => {
    const { here, there, provider, api } = await startSignedInCluster();
    expireAccessToken();
    const before = api.requests.length;
    const calls = Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? here : there).fetch(`/api/${index}`));
    expect(statusesOf(await Promise.all(calls))).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
    expect(new Set(api.requests.slice(before).map((request) => request.token)).size).toBe(1);
  });

  test('take turns at refreshing', async () => {
    const { here, there, provider } = await startSignedInCluster();
    for (let turn = 1; turn <= 3; turn += 1) {
      for (const browser of [here, there]) {
        expireAccessToken();
        expect((await browser.fetch('/api/refreshes')).status).toBe(200);
        expect((await (browser === here ? there : here).fetch('/api/joins')).status).toBe(200);
      }
      expect(provider.calls.refresh).toBe(turn * 2);
    }
  });

  test('refresh at once after a time in which neither of them ran', async () => {
    const { here, there } = await startSignedInCluster();
    for (const browser of [here, there]) {
      expireAccessToken();
      const startedAt = performance.now();
      expect((await browser.fetch('/api/refreshes')).status).toBe(200);
      // For an owner whose claim a failover has lost, two seconds would be waited.
      expect(performance.now() - startedAt).toBeLessThan(2000);
    }
  });

  test('give the newest cookie to whoever comes to the other with the older one', async () => {
    const { here, there, provider } = await startSignedInCluster();
    expireAccessToken();
    await here.fetch('/api/1');
    const answer = await there.fetch('/api/2');
    expect(answer.status).toBe(200);
    expect(answer.setCookies.join()).toMatch(/session-\d+=/);
    expect(provider.calls.refresh).toBe(1);
  });

  test('keep the session of the newest cookie when one of long ago comes first', async () => {
    const { here, there, onOther, redis } = await startSignedInCluster({ refresh: { graceSeconds: 1 } });
    expireAccessToken();
    await here.fetch('/api/refreshes');
    await here.fetch('/api/shows-the-new-cookie');
    // Redis counts the grace period by its own clock.
    await vi.waitFor(async () => expect(await keysOf(redis, 'content')).toEqual([]), { timeout: 5000, interval: 50 });
    expect((await there.fetch('/api/late')).status).toBe(401);
    expect((await onOther(here).fetch('/api/new')).status).toBe(200);
    expect((await here.fetch('/api/new')).status).toBe(200);
  });

  test('count the calls to either against the idle timeout', async () => {
    const { there, server } = await startSignedInCluster({ session: { idleSeconds: 100 } });
    for (let step = 0; step < 4; step += 1) {
      vi.advanceTimersByTime(60_000);
      expect((await there.fetch('/api/busy')).status).toBe(200);
    }
    there.routeTo(server.port);
    expect((await there.fetch('/api/back')).status).toBe(200);
  });

  test('end a session together, whatever cookie of it comes, and at once', async () => {
    const { here, there, assertNoSecrets } = await startSignedInCluster();
    const stolen = there.clone();
    expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect((await stolen.fetch('/api/stolen')).at('code')).toBe('session_expired');
    expect((await there.fetch('/bff/session')).json()).toMatchObject({ authenticated: false });
    assertNoSecrets();
  });

  test('let a sign-out at one win over a refresh at the other', async () => {
    const { here, there, provider } = await startSignedInCluster();
    expireAccessToken();
    const gate = provider.hold('refresh', { after: 'commit' });
    const refreshing = there.fetch('/api/refreshes');
    await gate.arrived;
    expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    gate.release();
    expect((await refreshing).status).toBe(401);
    expect((await there.fetch('/api/after')).status).toBe(401);
    expect(provider.calls.revocation).toBe(2);
  });

  test('redeem the code of a callback once, whichever of them it reaches again', async () => {
    const cluster = await startCluster();
    const here = cluster.client();
    const callback = await leadToCallback(here);
    const there = cluster.onOther(here);
    const { issuer } = cluster.provider;
    expect((await here.navigate(callback.href, { initiator: issuer, follow: false })).status).toBe(302);
    expect((await there.navigate(callback.href, { initiator: issuer, follow: false })).status).toBe(400);
    expect(cluster.provider.calls.code).toBe(1);
    expect((await here.fetch('/api/me')).status).toBe(200);
  });

  test('end the session that a login at either of them replaces', async () => {
    const { here, there, other } = await startSignedInCluster();
    const earlier = here.clone();
    here.routeTo(other.port);
    await signIn(here, 'bob');
    for (const old of [earlier, there]) expect((await old.fetch('/api/earlier')).at('code')).toBe('session_expired');
    expect((await here.fetch('/api/later')).status).toBe(200);
  });

  test('leave nothing in Redis that tells a token', async () => {
    const { here, there, redis, provider } = await startSignedInCluster();
    expireAccessToken();
    await Promise.all([here.fetch('/api/1'), there.fetch('/api/2')]);
    const dump = [...(await redis.dump())].flat().join('\n');
    expect(dump).toContain('sallyport:content:');
    for (const secret of provider.secrets) expect(dump).not.toContain(secret);
  });
});

interface Outage {
  readonly state: string;
  readonly fail: (redis: TestRedis) => Promise<void>;
  readonly mend: (redis: TestRedis) => Promise<void>;
}

describe.each<Outage>([
  { state: 'down', fail: (redis) => redis.down(), mend: (redis) => redis.up() },
  { state: 'hanging', fail: async (redis) => redis.freeze(), mend: async (redis) => redis.resume() },
])('while Redis is $state', ({ fail, mend }) => {
  test('calls with a good access token go on, also on instances that never saw the session', async () => {
    const cluster = await startSignedInCluster();
    await fail(cluster.redis);
    const newcomer = await within(3, cluster.addInstance(), 'the instance did not start');
    const elsewhere = cluster.here.clone();
    elsewhere.routeTo(newcomer.port);
    const calls = [cluster.here, cluster.there, elsewhere].map((browser) => browser.fetch('/api/1'));
    const answers = await within(4, Promise.all(calls), 'the calls hung');
    expect(statusesOf(answers)).toEqual([200]);
    expect((await cluster.here.fetch('/bff/session')).json()).toMatchObject({ authenticated: true });
    await mend(cluster.redis);
  });

  test('a call that needs a refresh gets 503, and its session stays', async () => {
    const { here, there, redis, provider } = await startSignedInCluster();
    expireAccessToken();
    await fail(redis);
    const answers = await within(5, Promise.all([here.fetch('/api/1'), there.fetch('/api/2')]), 'the calls hung');
    for (const answer of answers) {
      expect(answer.status).toBe(503);
      expect(answer.at('code')).toBe('store_unavailable');
      expect(answer.headers['retry-after']).toBe('2');
      expect(answer.setCookies).toEqual([]);
    }
    expect(provider.calls.refresh).toBe(0);
    await mend(redis);
    await eventually(200, () => here.fetch('/api/3'));
    await eventually(200, () => there.fetch('/api/4'));
    expect(provider.calls.refresh).toBe(1);
  });

  test('a token that is about to expire is used as it is', async () => {
    const { here, redis, provider } = await startSignedInCluster();
    almostExpireAccessToken();
    await fail(redis);
    expect((await within(4, here.fetch('/api/1'), 'the call hung')).status).toBe(200);
    expect(provider.calls.refresh).toBe(0);
    await mend(redis);
  });

  test.each(['before', 'after'] as const)(
    'a refresh that it failed in the middle of, %s the provider has answered, is not lost',
    async (moment) => {
      const { here, there, redis, provider } = await startSignedInCluster();
      expireAccessToken();
      const gate = provider.hold('refresh', moment === 'after' ? { after: 'commit' } : {});
      const refreshing = here.fetch('/api/refreshes');
      await gate.arrived;
      await fail(redis);
      gate.release();
      expect((await within(5, refreshing, 'the call hung')).status).toBe(200);
      expect((await here.fetch('/api/next')).status).toBe(200);
      await mend(redis);
      await vi.waitFor(async () => expect(await latestOf(redis, here)).toBe('1'), { timeout: 10_000, interval: 50 });
      // The other instance may take a moment longer to find Redis again.
      await eventually(200, () => there.fetch('/api/older-cookie'));
      expect(provider.calls.refresh).toBe(1);
    },
  );

  test('a sign-out ends the session here and at the provider, and elsewhere when it is back', async () => {
    const { here, there, redis, provider } = await startSignedInCluster();
    const stolen = here.clone();
    await fail(redis);
    const answer = await within(4, here.fetch('/bff/logout', { method: 'POST' }), 'the sign-out hung');
    expect(answer.status).toBe(200);
    expect(here.cookies.get(here.own('session'))).toBeUndefined();
    expect(provider.calls.revocation).toBe(1);
    expect((await stolen.fetch('/api/stolen')).status).toBe(401);
    await mend(redis);
    await eventually(401, async () => {
      await stolen.fetch('/api/stolen');
      return there.fetch('/api/elsewhere');
    });
  });

  test('a login replaces a session all the same', async () => {
    const { here, redis } = await startSignedInCluster();
    await fail(redis);
    await within(10, signIn(here, 'bob'), 'the login hung');
    expect((await here.fetch('/api/1')).status).toBe(200);
    await mend(redis);
  });
});

test('a Redis that lost everything is told anew by whoever comes with the newest cookie', async () => {
  const { here, there, onOther, redis, provider } = await startSignedInCluster();
  expireAccessToken();
  await here.fetch('/api/refreshes');
  const newest = onOther(here);
  await redis.ask('FLUSHALL');
  expect((await newest.fetch('/api/newest')).status).toBe(200);
  expect((await there.fetch('/api/older')).status).toBe(200);
  expect(provider.calls.refresh).toBe(1);
});

async function keysOf(redis: TestRedis, part: string): Promise<string[]> {
  return [...(await redis.dump()).keys()].filter((key) => key.startsWith(`sallyport:${part}:`));
}

/** Which generation Redis holds for newest, once a call has met it. */
async function latestOf(redis: TestRedis, browser: BrowserClient): Promise<unknown> {
  await browser.fetch('/api/meets-redis');
  const [key = ''] = await keysOf(redis, 'session');
  return redis.ask('HGET', key, 'generation');
}
