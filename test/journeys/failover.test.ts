/**
 * A failover of Redis that loses its last writes: the replica that takes over has not got them. What a process that lives
 * has written in those moments it writes again, and nobody redeems a refresh token that another process may have used up.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeMovingDate } from '../support/clock.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startTcpLink } from '../support/tcp-link.ts';
import { signIn, startWorld, type RunningServer, type World } from '../support/world.ts';

interface Pair extends World {
  readonly other: RunningServer;
  readonly replica: TestRedis;
  /** From now on the replica gets nothing any more. */
  readonly detachReplica: () => Promise<void>;
  /** The replica takes over, without what it has not got. */
  readonly failOver: () => void;
  /** A browser with a copy of the cookies, whose calls reach the other instance. */
  readonly onOther: (browser: BrowserClient) => BrowserClient;
}

const waiting = { timeout: 10_000, interval: 50 };

/** Two instances whose address of the store leads to the master of the moment. */
async function startPair(mode: 'cookie' | 'store'): Promise<Pair> {
  const [master, replica] = [await startRedis(), await startRedis({ settings: ['--repl-diskless-sync-delay', '0'] })];
  const link = await startTcpLink(master.port);
  onTestFinished(async () => {
    await Promise.all([link.close(), master.close(), replica.close()]);
  });
  await master.ask('CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
  await replica.ask('REPLICAOF', '127.0.0.1', String(master.port));
  await vi.waitFor(async () => {
    expect(await replica.ask('INFO', 'replication')).toContain('master_link_status:up');
  }, waiting);
  const world = await startWorld({
    config: { redisUrl: `redis://127.0.0.1:${link.port}`, session: { mode } },
  });
  const other = await world.addInstance();
  return Object.assign(world, {
    other,
    replica,
    async detachReplica() {
      const sizes = async () => Promise.all([master, replica].map((server) => server.ask('DBSIZE')));
      await vi.waitFor(async () => expect(new Set(await sizes()).size).toBe(1), waiting);
      await replica.ask('REPLICAOF', 'NO', 'ONE');
    },
    failOver() {
      link.target = replica.port;
      link.cut();
    },
    onOther(browser: BrowserClient) {
      const copy = browser.clone();
      copy.routeTo(other.port, world.origin);
      return copy;
    },
  });
}

async function signInAtBoth(pair: Pair): Promise<{ here: BrowserClient; there: BrowserClient }> {
  const here = pair.client();
  await signIn(here);
  const there = pair.onOther(here);
  expect((await there.fetch('/api/known')).status).toBe(200);
  return { here, there };
}

describe.each(['cookie', 'store'] as const)(
  'a failover that loses the last writes, with sessions in mode %s,',
  (mode) => {
    test('undoes no sign-out, also for instances that start later', async () => {
      const pair = await startPair(mode);
      const { here } = await signInAtBoth(pair);
      const thief = here.clone();
      await pair.detachReplica();
      expect((await here.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
      pair.failOver();
      await vi.waitFor(async () => {
        expect([...(await pair.replica.dump()).values()].join('\n')).toContain('logout');
      }, waiting);
      const late = await pair.addInstance();
      thief.routeTo(late.port, pair.origin);
      expect((await thief.fetch('/api/stolen')).status).toBe(401);
    });

    test('loses no refresh that was done: an older cookie leads to its result, wherever it comes', async () => {
      fakeMovingDate();
      const pair = await startPair(mode);
      const { here } = await signInAtBoth(pair);
      const older = here.clone();
      expireAccessToken();
      await pair.detachReplica();
      expect((await here.fetch('/api/refreshes')).status).toBe(200);
      expect(pair.provider.calls.refresh).toBe(1);
      pair.failOver();
      const generation = async () => [...(await pair.replica.dump()).values()].join('\n');
      await vi.waitFor(async () => expect(await generation()).toMatch(/generation\n1\n/), waiting);
      const late = await pair.addInstance();
      older.routeTo(late.port, pair.origin);
      await vi.waitFor(async () => expect((await older.fetch('/api/late')).status).toBe(200), waiting);
      expect(pair.provider.calls.refresh).toBe(1);
    });

    test('lets nobody redeem a refresh token beside the instance that has begun to', async () => {
      fakeMovingDate();
      const pair = await startPair(mode);
      // An instance takes no outage for one in the seconds after its start.
      vi.advanceTimersByTime(6000);
      const { here, there } = await signInAtBoth(pair);
      expireAccessToken();
      await pair.detachReplica();
      const gate = pair.provider.hold('refresh', { after: 'commit', times: 1 });
      const first = here.fetch('/api/first');
      await gate.arrived;
      pair.failOver();
      const second = vi.waitFor(async () => {
        const answer = await there.fetch('/api/second');
        if (answer.status === 503) throw new Error('not yet');
        return answer.status;
      }, waiting);
      await vi.waitFor(async () => {
        expect([...(await pair.replica.dump()).values()].join('\n')).toMatch(/owner|claim/);
      }, waiting);
      gate.release();
      expect((await first).status).toBe(200);
      expect(await second).toBe(200);
      expect(pair.provider.calls.refresh).toBe(1);
    });
  },
);
