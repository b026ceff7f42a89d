/** The contract where several servers hold the store: what a failover, and keys on different servers, can break. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import { createRedisStore } from '../../src/store/redis.ts';
import { slotOf } from '../../src/store/redis-slots.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import {
  startCluster,
  startSentinels,
  type TestCluster,
  type TestSentinels,
  type TestSentinelsOptions,
} from '../support/redis-groups.ts';
import type { TestRedis } from '../support/redis.ts';
import { within } from '../support/world.ts';
import { describeStore } from './store-contract.ts';

const waiting = { timeout: 20_000, interval: 20 };
const minute = 60;

interface Opened {
  readonly store: Store;
  readonly errors: Error[];
  /** But for `lost`. */
  readonly messages: Array<Exclude<StoreMessage, LostMessage>>;
  readonly losses: LostMessage[];
}

type LostMessage = Extract<StoreMessage, { type: 'lost' }>;

function open(url: string): Opened {
  const [errors, messages, losses]: [Error[], Opened['messages'], LostMessage[]] = [[], [], []];
  const store = createRedisStore(url, { prefix: 'sallyport:', onError: (cause) => void errors.push(cause) });
  store.subscribe((message) => void (message.type === 'lost' ? losses.push(message) : messages.push(message)));
  onTestFinished(() => within(5, store.close(), 'the store did not close'));
  return { store, errors, messages, losses };
}

async function untilHeard(...stores: readonly Store[]): Promise<void> {
  await vi.waitFor(() => {
    for (const store of stores) expect(store.heardSince()).toBeDefined();
  }, waiting);
}

async function untilReachable(...stores: readonly Store[]): Promise<void> {
  await vi.waitFor(() => expect(stores.map((store) => store.reachable())).toEqual(stores.map(() => true)), waiting);
}

async function startOwn(options: TestSentinelsOptions = {}): Promise<TestSentinels> {
  const group = await startSentinels(options);
  onTestFinished(() => group.close());
  return group;
}

describe('behind Sentinels,', () => {
  test('a store goes to the new master when the old one dies, and messages with it', { timeout: 60_000 }, async () => {
    const group = await startOwn();
    const [one, other] = [open(group.url), open(group.url)];
    await untilHeard(one.store, other.store);
    await one.store.end('before', 'logout', minute);
    // Replication is not waited for.
    await sleep(100);
    const master = await group.master();
    await master.down();
    await expect(one.store.look('before', [])).rejects.toThrow(/connection/);
    await vi.waitFor(() => one.store.touch('usable', minute), waiting);
    await untilHeard(one.store, other.store);
    expect((await other.store.look('before', [])).record.ended).toBe('logout');
    await one.store.end('after', 'logout', minute);
    await vi.waitFor(() => expect(other.messages.map(sessionOf)).toEqual(['before', 'after']), waiting);
    expect((await group.master()).port).not.toBe(master.port);
  });

  test('a store leaves a master that is replaced, though it answers on', { timeout: 60_000 }, async () => {
    const group = await startOwn();
    const [one, other] = [open(group.url), open(group.url)];
    await untilHeard(one.store, other.store);
    const old = await group.master();
    old.freeze();
    onTestFinished(() => old.resume());
    await vi.waitFor(async () => expect((await group.master()).port).not.toBe(old.port), waiting);
    old.resume();
    await untilReachable(one.store, other.store);
    const replacement = await group.master();
    await vi.waitFor(async () => {
      await one.store.touch('written', minute);
      expect(await replacement.ask('EXISTS', 'sallyport:session:{written}')).toBe('1');
    }, waiting);
    await untilHeard(one.store, other.store);
    await other.store.end('a', 'logout', minute);
    await vi.waitFor(() => expect(one.messages.map(sessionOf)).toContain('a'), waiting);
  });

  test('a store leaves a master that the Sentinels give up while it is well', { timeout: 60_000 }, async () => {
    const group = await startOwn();
    const { store } = open(group.url);
    await untilHeard(store);
    const old = await group.master();
    const next = group.servers.find(({ port }) => port !== old.port) as TestRedis;
    // The Sentinels name another server, as when they are cut off from this one; it is never told.
    await group.ask('SENTINEL', 'REMOVE', 'the-master');
    await next.ask('REPLICAOF', 'NO', 'ONE');
    await group.ask('SENTINEL', 'MONITOR', 'the-master', '127.0.0.1', String(next.port), '2');
    await vi.waitFor(async () => {
      await store.touch('written', minute);
      expect(await next.ask('EXISTS', 'sallyport:session:{written}')).toBe('1');
    }, waiting);
    expect(await old.ask('ROLE')).toContain('master');
    await untilHeard(store);
    expect(await next.ask('PUBSUB', 'CHANNELS')).toContain('sallyport:messages');
    expect(await old.ask('PUBSUB', 'CHANNELS')).not.toContain('sallyport:messages');
  });

  test('a store signs in at both', { timeout: 60_000 }, async () => {
    const group = await startOwn({ password: 'of/the@servers', sentinelPassword: 'of&the=sentinels' });
    const { store, errors } = open(group.url);
    await untilHeard(store);
    expect(await store.end('a', 'logout', minute)).toBe(true);
    expect(errors).toEqual([]);
  });

  test('a store says what keeps it from its master', { timeout: 60_000 }, async () => {
    const group = await startOwn({ sentinelPassword: 'secret' });
    const unknown = open(group.url.replace('the-master', 'another'));
    const unsigned = open(group.url.replace(/\?.*/, ''));
    await expect(unknown.store.look('a', [])).rejects.toThrow('no connection');
    await expect(unsigned.store.look('a', [])).rejects.toThrow('no connection');
    const [byName, byPassword] = [unknown, unsigned].map(
      ({ errors }) =>
        () =>
          errors.map(({ message }) => message),
    );
    await vi.waitFor(() => {
      expect(byName?.()).toContain('No Sentinel names a master: The Sentinels know no master by the name "another".');
      expect(byPassword?.()).toContain('No Sentinel names a master: NOAUTH Authentication required.');
    }, waiting);
  });
});

/** Sessions in the slots of each server in turn. */
function sessionsOn(cluster: TestCluster): readonly string[] {
  const ranges = cluster.masters.map((_, index) => [Math.floor((index * 16_384) / 3), ((index + 1) * 16_384) / 3]);
  return ranges.map(([from = 0, to = 0]) => {
    for (let number = 0; ; number += 1) {
      const slot = slotOf(`{s${number}}`);
      if (slot >= from && slot < to) return `s${number}`;
    }
  });
}

describe('in a Cluster,', () => {
  let cluster: TestCluster;

  beforeAll(async () => {
    cluster = await startCluster();
  }, 60_000);

  afterAll(() => cluster.close());

  describeStore('a Cluster', () => [open(cluster.url).store, open(cluster.url).store]);

  test('a key is where its server looks for it', async () => {
    const keys = ['123456789', 'foo', 'a{b}c', '{}a', '{a', 'x{}{b}', 'a}{b}', 'sallyport:session:{abc}', ''];
    const [master] = cluster.masters;
    for (const key of keys)
      expect([key, await master?.ask('CLUSTER', 'KEYSLOT', key)]).toEqual([key, `${slotOf(key)}`]);
  });

  test('a command finds its server again while a slot moves, and after', { timeout: 60_000 }, async () => {
    const asked = await slotsAsked(cluster.masters);
    const { store, errors } = open(cluster.url);
    await untilHeard(store);
    // It asks once more when it has connected, and then not for a while.
    await vi.waitFor(async () => expect(await slotsAsked(cluster.masters)).toBeGreaterThan(asked + 1), waiting);
    const [session = ''] = sessionsOn(cluster);
    const slot = String(slotOf(`{${session}}`));
    const [from, to] = cluster.masters as [TestRedis, TestRedis];
    const [fromId, toId] = await Promise.all([from.ask('CLUSTER', 'MYID'), to.ask('CLUSTER', 'MYID')]);
    await store.advance(session, { generation: 1, content: 'sealed' }, minute);
    await to.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
    await from.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
    // What is not there any more is asked for on the other side.
    for (const part of ['session', 'content']) {
      const key = `sallyport:${part}:{${session}}`;
      expect(await from.ask('MIGRATE', '127.0.0.1', String(to.port), key, '0', '5000')).toBe('OK');
    }
    expect(await store.useOnce(`{${session}}`, minute)).toBe(true);
    expect(await to.ask('CLUSTER', 'COUNTKEYSINSLOT', slot)).toBe('3');
    const meanwhile = store.look(session, []);
    for (const server of [to, from]) await server.ask('CLUSTER', 'SETSLOT', slot, 'NODE', toId);
    expect((await meanwhile).record.content).toBe('sealed');
    expect(await store.end(session, 'logout', minute)).toBe(true);
    // It learns where the slot is, so that it is not sent elsewhere again and again.
    const redirects = async () => /errorstat_MOVED:count=(\d+)/.exec(await from.ask('INFO', 'errorstats'))?.[1];
    await vi.waitFor(
      async () => {
        const before = await redirects();
        expect((await store.look(session, [])).record.ended).toBe('logout');
        expect(await redirects()).toBe(before);
      },
      { timeout: 1500, interval: 100 },
    );
    expect(errors).toEqual([]);
  });

  test('it is noticed when one of its servers is emptied', { timeout: 60_000 }, async () => {
    const { store, losses } = open(cluster.url);
    await untilHeard(store);
    const epochs = async () => {
      const keys = await Promise.all(cluster.masters.map((master) => master.ask('KEYS', 'sallyport:epoch:*')));
      return keys.map((text) => text.split('\n').filter((key) => key !== '').length > 0);
    };
    await vi.waitFor(async () => expect(await epochs()).toEqual([true, true, true]), waiting);
    for (const [index, master] of cluster.masters.entries()) {
      await master.ask('FLUSHALL');
      await vi.waitFor(() => expect(losses).toHaveLength(index + 1), waiting);
    }
    expect(losses).toEqual([{ type: 'lost' }, { type: 'lost' }, { type: 'lost' }]);
  });

  test('messages are heard from every server, or from none', { timeout: 60_000 }, async () => {
    const { store, messages } = open(cluster.url);
    await untilHeard(store);
    const sessions = sessionsOn(cluster).map((session) => `{${session}}-heard`);
    for (const session of sessions) await store.end(session, 'logout', minute);
    await vi.waitFor(() => expect(messages.map(sessionOf).toSorted()).toEqual(sessions.toSorted()), waiting);
    const subscribed = await subscribedAt(cluster);
    const cutAt = monotonicMs();
    cluster.silenceTowards(subscribed);
    await vi.waitFor(() => expect(store.heardSince()).toBeUndefined(), waiting);
    expect(monotonicMs() - cutAt).toBeLessThan(2300);
    expect(store.reachable()).toBe(true);
    // Another server tells it.
    await untilHeard(store);
    expect(store.heardSince()).toBeGreaterThan(cutAt);
  });
});

describe('a Cluster', () => {
  test('goes on when a server dies, first without its slots, then with its replica', { timeout: 60_000 }, async () => {
    const cluster = await startCluster({ failsAfterMs: 1500 });
    onTestFinished(() => cluster.close());
    const [one, other] = [open(cluster.url), open(cluster.url)];
    await untilHeard(one.store, other.store);
    const sessions = sessionsOn(cluster);
    for (const session of sessions) await one.store.begin(session, { names: sessions, details: 'sealed' }, minute);
    await sleep(100);
    const [first, ...others] = cluster.masters;
    await first?.down();
    const [lost = '', ...kept] = sessions;
    await expect(one.store.look(lost, [])).rejects.toThrow(/connection/);
    for (const session of kept) expect(await one.store.end(session, 'logout', minute)).toBe(true);
    expect(one.store.reachable()).toBe(false);
    const asked = await slotsAsked(others);
    await vi.waitFor(async () => expect(await slotsAsked(others)).toBeGreaterThan(asked + 3), { timeout: 4000 });
    // What was written in part is written whole when it is repeated.
    await expect(one.store.begin('new', { names: sessions, details: 'sealed' }, minute)).rejects.toThrow(/connection/);
    await vi.waitFor(() => one.store.begin('new', { names: sessions, details: 'sealed' }, minute), waiting);
    for (const name of sessions) {
      const listed = (await one.store.list(name, 100)).map(({ session }) => session);
      expect(listed.toSorted()).toEqual(['new', lost].toSorted());
    }
    await untilHeard(one.store, other.store);
    await untilReachable(one.store, other.store);
    other.messages.length = 0;
    expect(await one.store.end(lost, 'operator', minute)).toBe(true);
    await vi.waitFor(() => expect(other.messages.map(sessionOf)).toContain(lost), waiting);
  });

  test('that is paused in part is given up in part, and found again', { timeout: 60_000 }, async () => {
    const cluster = await startCluster({ failsAfterMs: 1500 });
    onTestFinished(() => cluster.close());
    const { store } = open(cluster.url);
    await untilHeard(store);
    const [paused] = cluster.masters;
    const [on = '', ...off] = sessionsOn(cluster);
    paused?.freeze();
    onTestFinished(() => paused?.resume());
    const frozenAt = monotonicMs();
    await expect(store.touch(on, minute)).rejects.toThrow(/did not answer|connection/);
    expect(monotonicMs() - frozenAt).toBeLessThan(1500);
    await vi.waitFor(() => expect(store.heardSince()).toBeUndefined(), waiting);
    for (const session of off) await vi.waitFor(() => store.touch(session, minute), { timeout: 3000 });
    await vi.waitFor(() => store.touch(on, minute), waiting);
    await untilHeard(store);
    paused?.resume();
    await untilReachable(store);
    await store.touch(on, minute);
  });

  test('that is away as a whole is told of, and used when it is back', { timeout: 60_000 }, async () => {
    const cluster = await startCluster({ failsAfterMs: 1500 });
    onTestFinished(() => cluster.close());
    await Promise.all([...cluster.masters, ...cluster.replicas].map((server) => server.down()));
    const { store, errors } = open(cluster.url);
    await expect(store.touch('a', minute)).rejects.toThrow('No server of the Cluster');
    expect(errors.length).toBeGreaterThan(0);
    expect(store.reachable()).toBe(false);
    await within(3, store.close(), 'the store did not close');
  });
});

/** How often these servers were asked who has which slots. */
async function slotsAsked(servers: readonly TestRedis[]): Promise<number> {
  const stats = await Promise.all(servers.map((server) => server.ask('INFO', 'commandstats')));
  const counts = stats.map((text) => Number(/cmdstat_cluster\|slots:calls=(\d+)/.exec(text)?.[1] ?? 0));
  return counts.reduce((sum, count) => sum + count, 0);
}

async function subscribedAt(cluster: TestCluster): Promise<TestRedis> {
  for (const master of cluster.masters) {
    if ((await master.ask('PUBSUB', 'CHANNELS', 'sallyport:heartbeat:*')) !== '') return master;
  }
  throw new Error('Nobody has subscribed.');
}

function sessionOf(message: Opened['messages'][number]): string {
  return 'session' in message ? message.session : message.name;
}
