/**
 * What the people notice when a real Redis loses its messages or its memory, when an instance is killed in the middle of a
 * refresh, and when its clock is wrong. With real processes where it is about processes, and real time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { startCommand, type Command } from '../support/command-line.ts';
import { expireAccessToken, fakeMovingDate } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';
import { sendLogoutToken, logoutToken, watchIdTokens } from '../support/logout-tokens.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { signIn, startWorld, within, type ConfigOverrides, type World, type WorldOptions } from '../support/world.ts';

interface Pair extends World {
  readonly redis: TestRedis;
  /** A browser with a copy of the cookies, whose calls reach the port. */
  readonly copyAt: (browser: BrowserClient, port: number) => BrowserClient;
}

async function startWithRedis(config: ConfigOverrides = {}, options: WorldOptions = {}): Promise<Pair> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({
    ...options,
    config: (base) => ({ ...base, redisUrl: redis.url, ...(typeof config === 'function' ? config(base) : config) }),
  });
  const copyAt = (browser: BrowserClient, port: number) => {
    const copy = browser.clone();
    copy.routeTo(port, world.origin);
    return copy;
  };
  return Object.assign(world, { redis, copyAt });
}

/** Calls until the answer is as wanted. @returns after how many seconds it was */
async function secondsUntil(status: number, call: () => Promise<Exchange>, timeout = 10_000): Promise<number> {
  const startedAt = performance.now();
  await vi.waitFor(async () => expect((await call()).status).toBe(status), { timeout, interval: 50 });
  return (performance.now() - startedAt) / 1000;
}

const recheckSeconds = 2;

async function startDeaf() {
  const pair = await startWithRedis({ store: { recheckSeconds } });
  const other = await pair.addInstance();
  const here = pair.client();
  await signIn(here);
  const there = pair.copyAt(here, other.port);
  expect((await there.fetch('/api/known')).status).toBe(200);
  return { ...pair, here, there };
}

/** Cuts the connections that listen, and lets none listen again. @returns ends that */
async function deafen(redis: TestRedis): Promise<() => Promise<unknown>> {
  await redis.ask('ACL', 'SETUSER', 'default', '-subscribe');
  expect(Number(await redis.ask('CLIENT', 'KILL', 'TYPE', 'pubsub'))).toBe(2);
  return () => redis.ask('ACL', 'SETUSER', 'default', '+subscribe');
}

describe('while messages are lost', () => {
  test('a sign-out elsewhere is seen after store.recheckSeconds at the latest', async () => {
    const { here, there, redis } = await startDeaf();
    await deafen(redis);
    expect((await there.fetch('/api/deaf')).status).toBe(200);
    expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    const seconds = await secondsUntil(401, () => there.fetch('/api/signed-out'));
    expect(seconds).toBeLessThan(recheckSeconds + 1);
  });

  test('what was missed is seen with the first call after they come again', async () => {
    const { here, there, redis } = await startDeaf();
    const hear = await deafen(redis);
    expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    await hear();
    await vi.waitFor(
      async () => expect(await redis.ask('PUBSUB', 'NUMSUB', 'sallyport:messages')).toMatch(/2$/),
      10_000,
    );
    await sleep(100);
    expect((await there.fetch('/api/signed-out')).status).toBe(401);
  });

  test('a sign-out right after their connections were cut is seen by all within a second', async () => {
    const { here, there, redis } = await startDeaf();
    await redis.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
    expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(await secondsUntil(401, () => there.fetch('/api/signed-out'))).toBeLessThan(1.5);
  });
});

async function lose(redis: TestRedis, what: 'is emptied' | 'is restarted'): Promise<void> {
  if (what === 'is emptied') {
    await redis.ask('FLUSHALL');
  } else {
    await redis.down();
    await redis.up();
  }
}

async function startTwoPeople(mode: 'cookie' | 'store') {
  const pair = await startWithRedis({ session: { mode } }, { backchannelLogout: true });
  const other = await pair.addInstance();
  const [stays, leaves] = [pair.client(), pair.client()];
  for (const browser of [stays, leaves]) {
    await signIn(browser);
    expect((await pair.copyAt(browser, other.port).fetch('/api/known')).status).toBe(200);
  }
  const left = leaves.clone();
  expect((await leaves.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
  return { ...pair, other, stays, left };
}

/** Until the store knows as many ends again. */
async function untilRestored(redis: TestRedis, ends: number): Promise<void> {
  await vi.waitFor(
    async () => {
      const values = [...(await redis.dump()).entries()].filter(
        ([key, value]) => key.includes(':revoked:') || /^ended$/m.test(value),
      );
      expect(values).toHaveLength(ends);
    },
    { timeout: 10_000, interval: 50 },
  );
}

describe.each(['is emptied', 'is restarted'] as const)('a Redis that %s', (what) => {
  test('signs nobody out whose session is a cookie, and nobody in', async () => {
    const { redis, stays, left, copyAt, server, other, provider } = await startTwoPeople('cookie');
    await lose(redis, what);
    for (const { port } of [server, other]) {
      await secondsUntil(200, () => copyAt(stays, port).fetch('/api/goes-on'));
      expect((await copyAt(left, port).fetch('/api/left')).status).toBe(401);
    }
    fakeMovingDate();
    expireAccessToken();
    await secondsUntil(200, () => stays.fetch('/api/refreshes'));
    expect((await copyAt(stays, other.port).fetch('/api/elsewhere')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('knows the ends of before again, so that an instance which starts later brings none back', async () => {
    const { redis, stays, left, copyAt, addInstance, server, logs, provider, client } = await startTwoPeople('cookie');
    const idTokens = watchIdTokens(provider);
    const reported = client();
    await signIn(reported, 'bob');
    const token = await logoutToken(provider, { sid: String(idTokens[0]?.['sid']) });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    await lose(redis, what);
    await untilRestored(redis, 2);
    const newcomer = await addInstance();
    for (const old of [left, reported]) {
      expect((await copyAt(old, newcomer.port).fetch('/api/old')).at('code')).toBe('session_expired');
    }
    expect((await copyAt(stays, newcomer.port).fetch('/api/goes-on')).status).toBe(200);
    const emptied = () =>
      logs.filter((line) => line.includes('store.emptied')).map((line) => JSON.parse(line) as object);
    await vi.waitFor(() => expect(emptied()).toMatchObject([{ ends: 2 }, { ends: 2 }]), 5000);
  });

  test('ends sessions that were in it, cleanly, and brings none back', async () => {
    const { redis, stays, left, copyAt, addInstance, server, other, logs } = await startTwoPeople('store');
    await lose(redis, what);
    const newcomer = await addInstance();
    const gone = copyAt(stays, newcomer.port);
    await secondsUntil(401, () => gone.fetch('/api/gone'));
    for (const { port } of [server, other]) {
      await secondsUntil(401, () => copyAt(stays, port).fetch('/api/gone'));
    }
    expect(logs.join('')).toContain('store_lost');
    for (const { port } of [server, other, newcomer]) {
      expect((await copyAt(left, port).fetch('/api/left')).status).toBe(401);
    }
    expect((await gone.fetch('/bff/session')).json()).toMatchObject({ authenticated: false });
    expect(gone.cookies.get(gone.own('session'))).toBeUndefined();
    await signIn(gone, 'bob');
    for (const { port } of [server, other]) expect((await copyAt(gone, port).fetch('/api/anew')).status).toBe(200);
  });
});

async function startHeard() {
  const pair = await startWithRedis();
  fakeMovingDate();
  const other = await pair.addInstance();
  const here = pair.client();
  await signIn(here);
  const there = pair.copyAt(here, other.port);
  expect((await there.fetch('/api/known')).status).toBe(200);
  const heard = async () => {
    // The message of the refresh is on its way to the other.
    await sleep(200);
    pair.redis.freeze();
    return within(5, there.fetch('/api/heard'), 'the call hung');
  };
  return { ...pair, here, there, heard };
}

describe('while Redis stands still', () => {
  test('an instance that has heard of a refresh, but cannot get it, goes on while its access token is valid', async () => {
    const { here, there, heard, redis } = await startHeard();
    expect((await here.fetch('/bff/refresh', { method: 'POST' })).status).toBe(200);
    expect((await heard()).status).toBe(200);
    expect((await there.fetch('/bff/session')).at('authenticated')).toBe(true);
    redis.resume();
  });

  test('and once it is over asks to come again, and signs nobody out', async () => {
    const { here, there, heard, redis, provider } = await startHeard();
    expireAccessToken();
    expect((await here.fetch('/api/refreshes')).status).toBe(200);
    const answer = await heard();
    expect([answer.status, answer.at('code')]).toEqual([503, 'store_unavailable']);
    expect(answer.headers['retry-after']).toBe('2');
    redis.resume();
    await secondsUntil(200, () => there.fetch('/api/again'));
    expect(provider.calls.refresh).toBe(1);
  });

  test('however often people call meanwhile, they need not wait when it is back', async () => {
    const { there, redis } = await startHeard();
    expireAccessToken();
    redis.freeze();
    for (let count = 0; count < 6; count += 1) {
      const answer = await there.fetch('/api/again');
      expect([answer.status, answer.at('code')]).toEqual([503, 'store_unavailable']);
    }
    redis.resume();
    // The connection is made anew after two seconds at most.
    expect(await secondsUntil(200, () => there.fetch('/api/again'))).toBeLessThan(4);
  });
});

/** A process of its own, with further code at its start. */
async function startProcess(
  { config, redis }: Pair,
  code = '',
  settings: Partial<ConfigInput> = {},
): Promise<Command & { readonly port: number }> {
  const listen = { port: await freePort(), opsPort: await freePort() };
  const command = await startCommand(
    { ...config, redisUrl: redis.url, listen, logLevel: 'info', ...settings },
    { code },
  );
  return Object.assign(command, { port: listen.port });
}

/** From the death of the instance to the next one's request to the provider. */
const takeoverSeconds = 5;

async function startKilled(moment: 'before' | 'after') {
  const world = await startWithRedis({}, { repeatsRefreshTokens: true });
  const { provider, server } = world;
  provider.settings.lifetimes.accessToken = 5;
  const victim = await startProcess(world);
  const browser = world.client();
  browser.routeTo(victim.port, world.origin);
  await signIn(browser);
  const there = world.copyAt(browser, server.port);
  await sleep(5000);
  provider.resetCalls();
  const gate = provider.hold('refresh', { after: 'commit', times: 1 });
  if (moment === 'before') provider.hang('refresh', 1);
  const refreshing = browser.fetch('/api/refreshes').catch(() => undefined);
  await vi.waitFor(() => expect(provider.calls.refresh).toBe(1), 5000);
  const waiting = there.fetch('/api/waits');
  await sleep(200);
  const next = provider.hold('refresh');
  victim.process.kill('SIGKILL');
  const killedAt = performance.now();
  await within(10, next.arrived, 'nobody took the refresh over');
  const seconds = (performance.now() - killedAt) / 1000;
  next.release();
  gate.release();
  await refreshing;
  const answer = await within(10, waiting, 'the call hung');
  return { ...world, there, answer, seconds };
}

describe('an instance that is killed while it refreshes', () => {
  test('before the provider heard of it is replaced in five seconds, and the session goes on', async () => {
    const { answer, seconds, provider, there } = await startKilled('before');
    expect(answer.status).toBe(200);
    expect(seconds).toBeLessThan(takeoverSeconds);
    expect(provider.reusedRefreshTokens).toBe(0);
    expect((await there.fetch('/api/next')).status).toBe(200);
  }, 60_000);

  test('when the provider has used the token up ends the session as what it is', async () => {
    const { answer, seconds, provider, logs } = await startKilled('after');
    expect(answer.at('code')).toBe('session_expired');
    expect(seconds).toBeLessThan(takeoverSeconds);
    expect(provider.reusedRefreshTokens).toBe(1);
    expect(logs.filter((line) => line.includes('"session.ended"')).join('')).toContain('refresh_interrupted');
  }, 60_000);
});

/** Puts another clock into a process: `Date` as it would be on a machine whose clock is off. */
function clockOffBy(milliseconds: number): string {
  return `
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts: [number]) {
    if (parts.length === 0) super(RealDate.now() + ${milliseconds});
    else super(...parts);
  }
  static override now() {
    return RealDate.now() + ${milliseconds};
  }
};`;
}

describe.each([90, -90])('an instance whose clock is off by %i seconds', (offSeconds) => {
  async function startOff(mode: 'cookie' | 'store', idleSeconds = 300) {
    const world = await startWithRedis((base) => ({ ...base, session: { mode, idleSeconds } }), {
      backchannelLogout: true,
    });
    const off = await startProcess(world, clockOffBy(offSeconds * 1000), { session: { mode, idleSeconds } });
    return { ...world, off, ports: [off.port, world.server.port] };
  }

  test.each(['cookie', 'store'] as const)(
    'serves what others began, and they what it began, in mode %s',
    async (mode) => {
      const { client, copyAt, origin, ports, provider, off } = await startOff(mode);
      fakeMovingDate();
      for (const begunAt of ports) {
        const browser = client();
        browser.routeTo(begunAt, origin);
        await signIn(browser);
        for (const port of ports) expect((await copyAt(browser, port).fetch('/api/here')).status).toBe(200);
      }
      expect(provider.calls.refresh).toBe(0);
      const complaints = off.lines().filter(({ level }) => Number(level) >= 40);
      expect(complaints).toEqual([]);
    },
    60_000,
  );

  test.each(['cookie', 'store'] as const)(
    'a login that began at one ends at the other, in mode %s',
    async (mode) => {
      const { client, origin, ports } = await startOff(mode);
      for (const [first, second] of [ports, ports.toReversed()] as [number, number][]) {
        const browser = client();
        browser.routeTo(first, origin);
        const begun = await browser.navigate('/bff/login', {
          stopBefore: ({ pathname }) => pathname === '/bff/callback',
        });
        browser.routeTo(second, origin);
        const callback = new URL(begun.headers.location ?? '', begun.url).href;
        await browser.navigate(callback, { initiator: new URL(begun.url).origin });
        expect((await browser.fetch('/api/in')).status).toBe(200);
      }
    },
    60_000,
  );

  test('refreshes once and is believed, with tokens of a minute', async () => {
    const { client, copyAt, origin, ports, provider } = await startOff('cookie');
    provider.settings.lifetimes.accessToken = 60;
    for (const begunAt of ports) {
      const browser = client();
      browser.routeTo(begunAt, origin);
      await signIn(browser);
      provider.resetCalls();
      for (let round = 0; round < 4; round += 1) {
        for (const port of ports) {
          browser.routeTo(port, origin);
          expect((await browser.fetch('/api/works')).status).toBe(200);
        }
      }
      expect(provider.calls.refresh).toBeLessThanOrEqual(1);
      expect((await copyAt(browser, ports[0] ?? 0).fetch('/bff/session')).at('authenticated')).toBe(true);
    }
  }, 60_000);

  test('hears of sign-outs at the provider, and tells the others', async () => {
    const { client, copyAt, origin, ports, provider } = await startOff('cookie');
    for (const told of ports) {
      const idTokens = watchIdTokens(provider);
      const browser = client();
      browser.routeTo(told, origin);
      await signIn(browser);
      const { sid = '' } = idTokens.at(-1) ?? {};
      for (const port of ports) expect((await copyAt(browser, port).fetch('/api/in')).status).toBe(200);
      expect((await sendLogoutToken(told, await logoutToken(provider, { sid }))).status).toBe(200);
      for (const port of ports) await secondsUntil(401, () => copyAt(browser, port).fetch('/api/out'), 3000);
      // The provider's times are whole seconds.
      await sleep(1100);
      await signIn(browser);
      for (const port of ports) expect((await copyAt(browser, port).fetch('/api/again')).status).toBe(200);
    }
  }, 60_000);

  test('ends no session as idle that calls come for', async () => {
    const { client, copyAt, origin, ports } = await startOff('cookie', 60);
    for (const begunAt of ports) {
      const browser = client();
      browser.routeTo(begunAt, origin);
      await signIn(browser);
      for (let round = 0; round < 3; round += 1) {
        for (const port of ports) expect((await copyAt(browser, port).fetch('/api/busy')).status).toBe(200);
      }
    }
  }, 60_000);
});
