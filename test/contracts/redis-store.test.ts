/** The contract in Redis and Valkey, and what only a store beyond the network can get wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import { createRedisStore, type RedisStoreOptions } from '../../src/store/redis.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import { fakeMovingDate } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';
import { startRawServer } from '../support/raw.ts';
import { redisPrograms, startRedis, type TestRedis, type TestRedisOptions } from '../support/redis.ts';
import { startTcpLink, type TcpLink } from '../support/tcp-link.ts';
import { makeCertificate } from '../support/tls.ts';
import { within } from '../support/world.ts';
import { describeStore } from './store-contract.ts';

describe.each(redisPrograms)('with %s,', (program) => {
  let server: TestRedis;

  beforeAll(async () => {
    server = await startRedis({ program });
  });

  afterAll(() => server.close());

  describeStore('Redis', () => [open(server.url).store, open(server.url).store]);
});

interface Opened {
  readonly store: Store;
  readonly errors: Error[];
  /** But for `lost`. */
  readonly messages: Array<Exclude<StoreMessage, LostMessage>>;
  readonly losses: LostMessage[];
}

type LostMessage = Extract<StoreMessage, { type: 'lost' }>;

function open(url: string, options: Partial<RedisStoreOptions> = {}): Opened {
  const [errors, messages, losses]: [Error[], Opened['messages'], LostMessage[]] = [[], [], []];
  const store = createRedisStore(url, {
    prefix: 'sallyport:',
    onError: (cause) => void errors.push(cause),
    ...options,
  });
  store.subscribe((message) => void (message.type === 'lost' ? losses.push(message) : messages.push(message)));
  onTestFinished(() => within(5, store.close(), 'the store did not close'));
  return { store, errors, messages, losses };
}

/** A server of the test's own, and a store in it. */
async function startOwn(options: TestRedisOptions = {}): Promise<Opened & { readonly server: TestRedis }> {
  const server = await startRedis(options);
  onTestFinished(() => server.close());
  return { server, ...(await connect(server.url)) };
}

/** A store that has connected: on a busy machine, its first operation could wait too long otherwise. */
async function connect(url: string, options: Partial<RedisStoreOptions> = {}): Promise<Opened> {
  const opened = open(url, options);
  await vi.waitFor(() => expect(opened.store.reachable()).toBe(true), waiting);
  return opened;
}

/** A server, and stores that reach it by a link. */
async function startLinked(count = 1): Promise<{ server: TestRedis; link: TcpLink; opened: readonly Opened[] }> {
  const server = await startRedis();
  onTestFinished(() => server.close());
  const link = await startTcpLink(server.port);
  onTestFinished(() => link.close());
  return { server, link, opened: Array.from({ length: count }, () => open(`redis://127.0.0.1:${link.port}`)) };
}

/** How long a promise takes to settle, either way. */
async function timed(promise: Promise<unknown>): Promise<number> {
  const startedAt = monotonicMs();
  await promise.catch(() => undefined);
  return monotonicMs() - startedAt;
}

const waiting = { timeout: 10_000, interval: 10 };
const minute = 60;
const minuteMs = 60_000;

async function untilHeard(store: Store): Promise<number> {
  return vi.waitFor(() => {
    const since = store.heardSince();
    if (since === undefined) throw new Error('nothing is heard');
    return since;
  }, waiting);
}

async function untilUnheard(store: Store): Promise<void> {
  await vi.waitFor(() => expect(store.heardSince()).toBeUndefined(), waiting);
}

async function untilUsable(store: Store): Promise<void> {
  await vi.waitFor(() => store.touch('usable', minute), waiting);
}

/** What a store says that can't be reached, at whatever moment it noticed. */
const unavailable = /no connection to the store|store is closed|did not answer|closed the connection|ECONNRESET/;

describe('what a server has lost', () => {
  test('is noticed within two seconds, by every process once, though no connection was cut', async () => {
    const { server, store, losses, messages } = await startOwn();
    const other = await connect(server.url);
    await untilHeard(store);
    await untilHeard(other.store);
    await untilEpoch(server);
    const emptiedAt = monotonicMs();
    await server.ask('FLUSHALL');
    await vi.waitFor(() => expect([losses, other.losses]).toEqual([[{ type: 'lost' }], [{ type: 'lost' }]]), waiting);
    expect(monotonicMs() - emptiedAt).toBeLessThan(2000);
    expect(store.heardSince()).toBeGreaterThan(emptiedAt);
    await store.end('a', 'logout', minute);
    await vi.waitFor(() => expect(other.messages).toHaveLength(1), waiting);
    expect([messages.length, losses.length, other.losses.length]).toEqual([1, 1, 1]);
  });

  test('is told when it has started again, and by nobody who never saw it', async () => {
    const { server, store, losses } = await startOwn();
    await untilEpoch(server);
    await server.down();
    await server.up();
    const late = await connect(server.url);
    await vi.waitFor(() => expect(losses).toEqual([{ type: 'lost' }]), waiting);
    await untilUsable(store);
    await untilUsable(late.store);
    expect(late.losses).toEqual([]);
  });

  test('may be the last that was written, if it was away', async () => {
    const { server, losses } = await startOwn();
    await untilEpoch(server);
    await sleep(1100);
    expect(losses).toEqual([]);
    server.freeze();
    await sleep(3000);
    server.resume();
    await vi.waitFor(() => expect(losses).toHaveLength(1), waiting);
    const [{ lastMs = 0 } = {}] = losses;
    expect(lastMs).toBeGreaterThan(12_500);
    expect(lastMs).toBeLessThan(20_000);
  });

  test('is nothing where only this process stood still', async () => {
    fakeMovingDate();
    const { server, store, losses } = await startOwn();
    const heardSince = await untilHeard(store);
    await untilEpoch(server);
    vi.advanceTimersByTime(60_000);
    await server.ask('PEXPIRE', 'sallyport:epoch:{0}', '60000');
    await vi.waitFor(async () => {
      expect(Number(await server.ask('PTTL', 'sallyport:epoch:{0}'))).toBeGreaterThan(60_000);
    }, waiting);
    expect(await untilHeard(store)).toBe(heardSince);
    expect(losses).toEqual([]);
  });

  test('is no question of how long it has been up', async () => {
    const { server, losses } = await startOwn();
    await untilEpoch(server);
    await server.ask('PEXPIRE', 'sallyport:epoch:{0}', '60000');
    const kept = async () => Number(await server.ask('PTTL', 'sallyport:epoch:{0}'));
    await vi.waitFor(async () => expect(await kept()).toBeGreaterThan(3 * 24 * 3600 * 1000), waiting);
    expect(losses).toEqual([]);
  });
});

/** Until the server was seen. */
async function untilEpoch(server: TestRedis): Promise<void> {
  await vi.waitFor(async () => expect(await server.ask('EXISTS', 'sallyport:epoch:{0}')).toBe('1'), waiting);
}

describe('what is written', () => {
  test('is below the prefix, and has a time to live', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    const { store } = await connect(server.url, { prefix: 'shop:' });
    await store.begin('a', { names: ['n'], details: 'sealed', content: 'sealed' }, minute);
    await store.claim('a', { generation: 0, owner: 'o' }, minuteMs, minute);
    await store.advance('a', { generation: 1, content: 'sealed' }, minute);
    await store.confirm('a', 1, 5000);
    // Prolongs the record, and not the content.
    await store.touch('a', minute + 0.5);
    await store.touch('b', minute);
    await store.end('c', 'logout', minute);
    await store.revoke('n', { before: 5, reason: 'backchannel' }, minute);
    await store.useOnce('j', minute);
    await vi.waitFor(async () => expect(await server.ask('EXISTS', 'shop:epoch:{0}')).toBe('1'), waiting);
    const keys = [...(await server.dump()).keys()].toSorted();
    expect(keys).toEqual([
      'shop:content:{a}',
      'shop:details:{a}',
      'shop:epoch:{0}',
      'shop:revoked:n',
      'shop:session:{a}',
      'shop:session:{b}',
      'shop:session:{c}',
      'shop:sessions:n',
      'shop:used:j',
    ]);
    for (const key of keys) {
      const ttl = Number(await server.ask('PTTL', key));
      const mostMs = { 'shop:sessions:n': 3 * minuteMs, 'shop:epoch:{0}': 7 * 24 * 60 * minuteMs }[key];
      expect([key, ttl > 0, ttl <= (mostMs ?? 1.01 * minuteMs)]).toEqual([key, true, true]);
    }
    expect(Number(await server.ask('PTTL', 'shop:content:{a}'))).toBeLessThanOrEqual(5000);
    expect(await server.ask('PUBSUB', 'CHANNELS')).toMatch(/^shop:(heartbeat|messages)[^\n]*\nshop:[^\n]*$/);
  });

  test('is unknown to a store with another prefix, and so are its messages', async () => {
    const { server, store } = await startOwn();
    const other = open(server.url, { prefix: 'other:' });
    await Promise.all([untilHeard(store), untilHeard(other.store)]);
    await store.end('a', 'logout', minute);
    expect((await other.store.look('a', [])).record.ended).toBeUndefined();
    await other.store.end('b', 'logout', minute);
    await vi.waitFor(
      () => expect(other.messages).toEqual([{ type: 'ended', session: 'b', reason: 'logout' }]),
      waiting,
    );
  });

  test('keeps a session listed that lives longer than it was begun for', async () => {
    const { server, store } = await startOwn();
    await store.begin('a', { names: ['n', 'm'], details: 'sealed' }, minute);
    const listedFor = async () =>
      Promise.all(['n', 'm'].map((name) => server.ask('PTTL', `sallyport:sessions:${name}`)));
    for (const ttl of await listedFor()) expect(Number(ttl)).toBeLessThan(3 * minuteMs);
    await store.touch('a', 100 * minute);
    for (const ttl of await listedFor()) expect(Number(ttl)).toBeGreaterThan(100 * minuteMs);
    await store.claim('a', { generation: 0, owner: 'o' }, 1000, 200 * minute);
    for (const ttl of await listedFor()) expect(Number(ttl)).toBeGreaterThan(200 * minuteMs);
    await store.advance('a', { generation: 1, content: 'sealed' }, 400 * minute);
    for (const ttl of await listedFor()) expect(Number(ttl)).toBeGreaterThan(400 * minuteMs);
    expect(await store.list('m', 100)).toEqual([{ session: 'a', details: 'sealed', activeMsAgo: expect.any(Number) }]);
  });

  test('is no longer listed after its time, so that a list does not grow', async () => {
    const { server, store } = await startOwn();
    await store.begin('old', { names: ['n'], details: 'sealed' }, minute);
    await server.ask('ZADD', 'sallyport:sessions:n', '1', 'old');
    await store.begin('new', { names: ['n'], details: 'sealed' }, minute);
    expect(await server.ask('ZRANGE', 'sallyport:sessions:n', '0', '-1')).toBe('new');
  });

  test('survives details with line breaks and no names', async () => {
    const { store } = await startOwn();
    await store.begin('a', { names: ['n'], details: 'one\ntwo' }, minute);
    await store.begin('b', { names: [], details: '' }, minute);
    await store.touch('b', 100 * minute);
    expect(await store.list('n', 100)).toEqual([{ session: 'a', details: 'one\ntwo', activeMsAgo: undefined }]);
  });

  test('takes a claim for lapsed that the clock of a server before a failover made too long', async () => {
    const { server, store } = await startOwn();
    await store.claim('a', { generation: 1, owner: 'gone' }, 2000, minute);
    await server.ask('HINCRBY', 'sallyport:session:{a}', 'leaseEndsAt', String(60 * minuteMs));
    expect(await store.claim('a', { generation: 1, owner: 'next' }, 2000, minute)).toEqual({
      state: 'granted',
      interrupted: true,
    });
  });

  test('shows an end for a reason that only a newer version knows as an end', async () => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    await server.ask('HSET', 'sallyport:session:{a}', 'ended', 'novel');
    expect((await store.look('a', [])).record.ended).toBe('logout');
  });

  test('ends sessions even where the memory of the server is used up', async () => {
    const { server, store } = await startOwn({ settings: ['--maxmemory-policy', 'noeviction'] });
    await store.touch('a', minute);
    await server.ask('CONFIG', 'SET', 'maxmemory', '1');
    await expect(store.touch('b', minute)).rejects.toThrow(/OOM/);
    expect(await store.end('a', 'logout', minute)).toBe(true);
    await store.revoke('n', { before: 5, reason: 'backchannel' }, minute);
    const found = await store.look('a', ['n']);
    expect(found.record.ended).toBe('logout');
    expect(found.revocations).toEqual([{ before: 5, reason: 'backchannel' }]);
  });
});

describe('an address', () => {
  test('names the database', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    const { store } = await connect(`${server.url}/3`);
    await store.touch('a', minute);
    expect(await server.ask('DBSIZE')).toBe('0');
    expect(await server.ask('INFO', 'keyspace')).toMatch(/^db3:keys=/m);
  });

  test('holds the password', async () => {
    const { store } = await startOwn({ password: 'p@ss/w:rd%' });
    await store.touch('a', minute);
    expect((await store.look('a', [])).record.activeMsAgo).toBeDefined();
  });

  test('may be a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-redis-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'redis.sock');
    const { server } = await startOwn({ settings: ['--unixsocket', path] });
    const { store } = open(`unix://${path}?db=2`);
    await untilHeard(store);
    await store.touch('a', minute);
    expect(await server.ask('INFO', 'keyspace')).toMatch(/^db2:keys=/m);
  });

  test('names a user that needs few permissions', async () => {
    const { server } = await startOwn();
    const rights = ['on', '>secret', 'resetkeys', '~sallyport:*', 'resetchannels', '&sallyport:*', 'nocommands'];
    expect(await server.ask('ACL', 'SETUSER', 'bff', ...rights, ...leastPrivileges)).toBe('OK');
    const { store, messages, errors } = open(`redis://bff:secret@127.0.0.1:${server.port}`);
    await untilHeard(store);
    await server.ask('SCRIPT', 'FLUSH');
    await store.begin('a', { names: ['n'], details: 'sealed', content: 'sealed' }, minute);
    await store.touch('a', 100 * minute);
    await store.claim('a', { generation: 0, owner: 'o' }, minuteMs, minute);
    await store.release('a', { generation: 0, owner: 'o' }, true);
    await store.advance('a', { generation: 1, content: 'sealed' }, minute);
    await store.confirm('a', 1, 5000);
    await store.revoke('n', { before: 5, reason: 'backchannel' }, minute);
    expect(await store.useOnce('j', minute)).toBe(true);
    expect(await store.list('n', 100)).toHaveLength(1);
    expect(await store.end('a', 'logout', minute)).toBe(true);
    expect((await store.look('a', ['n'])).revocations).toHaveLength(1);
    await vi.waitFor(() => expect(messages.map(({ type }) => type)).toContain('ended'), waiting);
    expect(errors).toEqual([]);
  });

  test.each([
    ['to publish', ['-publish'], 'publish'],
    ['on channels', ['resetchannels'], 'channel'],
  ])('whose user has no permission %s leaves messages unheard, and says so once', async (_, without, word) => {
    const { server } = await startOwn();
    const rights = ['on', '>secret', '~*', '&*', '+@all', ...without];
    expect(await server.ask('ACL', 'SETUSER', 'bff', ...rights)).toBe('OK');
    const { store, errors } = await connect(`redis://bff:secret@127.0.0.1:${server.port}`);
    await store.touch('a', minute);
    await vi.waitFor(() => expect(errors.map(({ message }) => message).join()).toContain(word), waiting);
    await sleep(1500);
    expect(store.heardSince()).toBeUndefined();
    expect(errors).toHaveLength(1);
  });

  test('is never told with its password', async () => {
    const password = 'c4n4ry-p4ssw0rd';
    const server = await startRedis({ password: 'another' });
    onTestFinished(() => server.close());
    const refused = open(`redis://:${password}@127.0.0.1:${server.port}`);
    const failure: unknown = await refused.store.look('a', []).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    await vi.waitFor(() => expect(refused.errors.length).toBeGreaterThan(0), waiting);
    const nowhere = open(`redis://:${password}@127.0.0.1:${await freePort()}`);
    const unreachable: unknown = await nowhere.store.look('a', []).catch((error: unknown) => error);
    const unreadable = catching(() => open(`redis://:${password}@127.0.0.1:no-port`));
    for (const error of [failure, unreachable, unreadable, ...refused.errors, ...nowhere.errors]) {
      expect(everythingIn(error)).not.toContain(password);
    }
    expect(String(unreadable)).toContain('must be a URL');
  });

  test('is never told with its password, even where the server quotes it', async () => {
    const password = 'c4n4ry-p4ssw0rd';
    const refusal = `-ERR unknown command 'auth', with args beginning with: '${password}'\r\n`;
    const proxy = await startRawServer((socket) => socket.write(refusal));
    onTestFinished(() => proxy.close());
    const { store, errors } = open(`redis://:${password}@127.0.0.1:${proxy.port}`);
    await expect(store.look('a', [])).rejects.toThrow('no connection');
    expect(errors[0]?.message).toBe("ERR unknown command 'auth', with args beginning with: '(password)'");
  });
});

/** What `docs/store.md` names. */
const leastPrivileges = (
  '+auth +select +ping +eval +evalsha +time +hget +hmget +hset +hsetnx +hdel +get +set +del +pexpireat +pexpiretime ' +
  '+zadd +zrange +zremrangebyscore +publish +subscribe'
).split(' ');

async function startTls(): Promise<{ url: string; file: string }> {
  const { file, key } = await makeCertificate();
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-redis-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const keyFile = join(folder, 'key.pem');
  await writeFile(keyFile, key);
  const port = await freePort();
  const files = ['--tls-cert-file', file, '--tls-key-file', keyFile, '--tls-ca-cert-file', file];
  await startOwn({ settings: ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'] });
  return { url: `rediss://127.0.0.1:${port}`, file };
}

describe('TLS', () => {
  test('is spoken for rediss:, with a server whose certificate the own authority vouches for', async () => {
    const { url, file } = await startTls();
    const { store, errors } = await connect(url, { caFile: file });
    await store.touch('a', minute);
    await untilHeard(store);
    expect(errors).toEqual([]);
  });

  test('is refused where nobody vouches for the certificate', async () => {
    const { url } = await startTls();
    const { store, errors } = open(url);
    await expect(store.touch('a', minute)).rejects.toThrow(unavailable);
    await vi.waitFor(() => expect(errors[0]).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }), waiting);
  });

  test('is refused where the certificate is for another name', async () => {
    const { url, file } = await startTls();
    const { store, errors } = open(url.replace('127.0.0.1', '127.0.0.2'), { caFile: file });
    await expect(store.touch('a', minute)).rejects.toThrow(unavailable);
    expect(errors.length).toBeGreaterThan(0);
  });
});

describe('a server', () => {
  test('may start after its store, which tells of it once and recovers', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    await server.down();
    const { store, errors } = open(server.url);
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await expect(store.touch('a', minute)).rejects.toThrow(unavailable);
    expect(store.reachable()).toBe(false);
    await vi.waitFor(() => expect(errors).toHaveLength(1));
    await server.up();
    await untilUsable(store);
    await untilHeard(store);
    expect(store.reachable()).toBe(true);
    expect(errors).toHaveLength(1);
    await server.down();
    await vi.waitFor(() => expect(errors.length).toBeGreaterThan(1), waiting);
    await sleep(1500);
    const reasons = errors.slice(1).map(({ message }) => message);
    expect(reasons).toEqual([...new Set(reasons)]);
  });

  test('that refuses the password is told of once', async () => {
    const server = await startRedis({ password: 'another' });
    onTestFinished(() => server.close());
    const { errors } = open(`redis://:wrong@127.0.0.1:${server.port}`);
    const attempts = async () => Number(/cmdstat_auth:calls=(\d+)/.exec(await server.ask('INFO', 'commandstats'))?.[1]);
    const before = await attempts();
    // Asking signs in as well: each look counts one.
    let looks = 0;
    await vi.waitFor(async () => expect((await attempts()) - before - ++looks).toBeGreaterThan(5), waiting);
    expect(errors.map(({ message }) => message.split(' ')[0])).toEqual(['WRONGPASS']);
  });

  test('that dies fails what is under way at once', async () => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    server.freeze();
    const asked = timed(store.look('a', []));
    await server.down();
    expect(await asked).toBeLessThan(500);
    await untilUnheard(store);
  });

  test('that answers in drops is waited for no longer', async () => {
    const proxy = await startRawServer((socket) => {
      socket.write('+PONG\r\n');
      socket.once('data', () => {
        socket.write('$100\r\n');
        const dripping = setInterval(() => socket.write('.'), 100);
        socket.once('close', () => clearInterval(dripping));
      });
    });
    onTestFinished(() => proxy.close());
    const { store } = open(`redis://127.0.0.1:${proxy.port}`);
    expect(await timed(store.look('a', []))).toBeLessThan(2500);
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
  });

  test.each([
    ['what is no reply', ':x\r\n!!\r\n'],
    ['a reply to nothing', '+PONG\r\n+OK\r\n+OK\r\n'],
    ['nothing, and hangs up', ''],
  ])('that sends %s harms nothing', async (_, bytes) => {
    const proxy = await startRawServer((socket) => {
      if (bytes === '') socket.end();
      else socket.write(bytes);
    });
    onTestFinished(() => proxy.close());
    const { store } = open(`redis://127.0.0.1:${proxy.port}`);
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await within(3, store.close(), 'the store did not close');
  });

  test('that is down fails calls at once', async () => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    await server.down();
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    const tries = Array.from({ length: 200 }, () => store.look('a', []));
    expect(await timed(Promise.allSettled(tries))).toBeLessThan(500);
    for (const outcome of await Promise.allSettled(tries)) expect(outcome.status).toBe('rejected');
    // Nor do they wait for an attempt to connect, which come at longer and longer intervals.
    for (let round = 0; round < 4; round += 1) {
      await sleep(900);
      expect(await timed(store.look('a', []))).toBeLessThan(250);
    }
  });

  test('that closes a connection costs no call an error', async () => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    for (let round = 0; round < 20; round += 1) {
      await server.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await vi.waitFor(async () => expect(await server.ask('CLIENT', 'LIST')).not.toMatch(/cmd=evalsha/));
      expect((await store.look('a', [])).record.activeMsAgo).toBeDefined();
    }
  });

  test('that does not answer is given up, and found again', async () => {
    const { server, store, errors } = await startOwn();
    await store.touch('a', minute);
    await untilHeard(store);
    server.freeze();
    onTestFinished(() => server.resume());
    expect(await timed(store.look('a', []))).toBeLessThan(1500);
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0), waiting);
    await untilUnheard(store);
    const tries = Array.from({ length: 100 }, () => store.look('a', []));
    expect(await timed(Promise.allSettled(tries))).toBeLessThan(1500);
    server.resume();
    await vi.waitFor(async () => expect((await store.look('a', [])).record.activeMsAgo).toBeDefined(), waiting);
    await untilHeard(store);
  });

  test('that was given up gets no command late', async () => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    await server.down();
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await expect(store.touch('late', minute)).rejects.toThrow(unavailable);
    await server.up();
    await vi.waitFor(() => store.touch('b', minute), waiting);
    const sessions = [...(await server.dump()).keys()].filter((key) => key.includes(':session:'));
    expect(sessions).toEqual(['sallyport:session:{b}']);
  });

  test('that forgot its scripts, or everything, is used as before', async () => {
    const { server, store } = await startOwn();
    await store.end('a', 'logout', minute);
    await server.ask('SCRIPT', 'FLUSH');
    expect((await store.look('a', [])).record.ended).toBe('logout');
    await server.ask('FLUSHALL');
    expect((await store.look('a', [])).record.ended).toBeUndefined();
    await server.down();
    await server.up();
    await untilUsable(store);
    expect(await store.end('a', 'operator', minute)).toBe(true);
  });

  test('that has become a replica is left, and used again when it takes writes', async () => {
    const [{ server, store }, other] = [await startOwn(), await startOwn()];
    await store.touch('a', minute);
    await server.ask('REPLICAOF', '127.0.0.1', String(other.server.port));
    await expect(store.touch('a', minute)).rejects.toThrow(/READONLY/);
    await vi.waitFor(async () => expect(await server.ask('INFO', 'replication')).toContain('link_status:up'), waiting);
    await expect(store.look('a', [])).rejects.toThrow(/READONLY|no connection/);
    await server.ask('REPLICAOF', 'NO', 'ONE');
    await untilUsable(store);
  });

  test('that has become a replica is left for the one that its name leads to now', async () => {
    const [{ server, link, opened }, other] = [await startLinked(), await startOwn()];
    const [{ store }] = opened as [Opened];
    await untilUsable(store);
    await server.ask('REPLICAOF', '127.0.0.1', String(other.server.port));
    link.target = other.server.port;
    await untilUsable(store);
    await store.touch('a', minute);
    expect(await other.server.ask('EXISTS', 'sallyport:session:{a}')).toBe('1');
  });

  test.each(['running', 'down', 'frozen'])('that is %s lets its store close', async (state) => {
    const { server, store } = await startOwn();
    await store.touch('a', minute);
    if (state === 'down') await server.down();
    if (state === 'frozen') server.freeze();
    onTestFinished(() => server.resume());
    await within(3, store.close(), 'the store did not close');
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    expect(store.heardSince()).toBeUndefined();
    expect(store.reachable()).toBe(false);
  });

  test('keeps no connection of a store that was closed, which lets its last commands end', async () => {
    const { server, store } = await startOwn();
    await untilHeard(store);
    expect(connectionsIn(await server.ask('CLIENT', 'LIST'))).toBe(2);
    const last = store.end('a', 'logout', minute);
    await store.close();
    expect(await last).toBe(true);
    await vi.waitFor(async () => expect(connectionsIn(await server.ask('CLIENT', 'LIST'))).toBe(0), waiting);
  });

  test('need not be there yet when its store closes', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    const { store } = open(server.url);
    await within(3, store.close(), 'the store did not close');
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    await vi.waitFor(async () => expect(connectionsIn(await server.ask('CLIENT', 'LIST'))).toBe(0), waiting);
  });
});

describe('a link', () => {
  test('that is half open is noticed, and made anew', async () => {
    const { link, opened } = await startLinked();
    const [{ store }] = opened as [Opened];
    const since = await untilHeard(store);
    link.silence();
    const silentAt = monotonicMs();
    await expect(store.look('a', [])).rejects.toThrow(unavailable);
    expect(monotonicMs() - silentAt).toBeLessThan(1500);
    await untilUnheard(store);
    expect(monotonicMs() - silentAt).toBeLessThan(2300);
    await untilUsable(store);
    expect(await untilHeard(store)).toBeGreaterThan(silentAt);
    expect(since).toBeLessThan(silentAt);
  });

  test('that no longer brings messages is noticed, while commands go on', async () => {
    const { link, opened } = await startLinked();
    const [{ store }] = opened as [Opened];
    await untilHeard(store);
    link.silence('subscribe');
    const silentAt = monotonicMs();
    await untilUnheard(store);
    expect(monotonicMs() - silentAt).toBeLessThan(2300);
    await store.look('a', []);
    expect(store.reachable()).toBe(true);
    expect(await untilHeard(store)).toBeGreaterThan(silentAt);
  });

  test('that is cut between messages is noticed at once, and what came meanwhile was not heard', async () => {
    const { server, store, messages } = await startOwn();
    const other = open(server.url);
    const since = await untilHeard(store);
    await other.store.touch('a', minute);
    expect(store.heardSince()).toBe(since);
    await server.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await untilUnheard(store);
    const lostAt = monotonicMs();
    await store.touch('a', minute);
    expect(await untilHeard(store)).toBeGreaterThan(lostAt - 100);
    expect(store.heardSince()).toBeGreaterThan(since);
    await other.store.end('a', 'logout', minute);
    await vi.waitFor(() => expect(messages).toHaveLength(1), waiting);
  });

  test('that is slow delays messages, and loses none', async () => {
    const { link, opened } = await startLinked(2);
    const [one, other] = opened as [Opened, Opened];
    link.delayMs = 150;
    await Promise.all([untilHeard(one.store), untilHeard(other.store)]);
    const since = one.store.heardSince();
    for (let session = 0; session < 5; session += 1) await other.store.end(`s${session}`, 'logout', minute);
    await vi.waitFor(() => expect(one.messages).toHaveLength(5), waiting);
    expect(one.store.heardSince()).toBe(since);
    expect(one.errors).toEqual([]);
  });

  test('is not taken for dead, nor messages for lost, because this process was busy', async () => {
    const { server, store, messages, errors } = await startOwn();
    const other = open(server.url);
    const since = await untilHeard(store);
    const ids = idsIn(await server.ask('CLIENT', 'LIST'));
    const asked = store.look('a', []);
    await sleep(20);
    const late = store.look('a', []);
    const ended = other.store.end('b', 'logout', minute);
    const until = monotonicMs() + 2500;
    while (monotonicMs() < until);
    // So long a time could have hidden a loss. It has to be read first that there was none.
    expect(store.heardSince()).toBeUndefined();
    await Promise.all([asked, late, ended]);
    await vi.waitFor(() => expect(messages).toHaveLength(1), waiting);
    expect(await untilHeard(store)).toBe(since);
    expect(idsIn(await server.ask('CLIENT', 'LIST'))).toEqual(ids);
    expect(errors).toEqual([]);
  });
});

describe('a message', () => {
  test('reaches every store within 100 ms', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    const [one, other] = [open(server.url), open(server.url)];
    await Promise.all([untilHeard(one.store), untilHeard(other.store)]);
    const heardAt = new Map<string, number>();
    other.store.subscribe((message) => message.type === 'ended' && heardAt.set(message.session, monotonicMs()));
    const took: number[] = [];
    for (let session = 0; session < 500; session += 1) {
      const startedAt = monotonicMs();
      await one.store.end(`s${session}`, 'logout', minute);
      await vi.waitFor(() => expect(heardAt.has(`s${session}`)).toBe(true), { timeout: 1000, interval: 1 });
      took.push((heardAt.get(`s${session}`) ?? Infinity) - startedAt);
    }
    const p99 = took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.99)];
    expect(p99).toBeLessThan(100);
  });

  test.each([
    'no JSON',
    'null',
    '[]',
    '"ended"',
    '{"type":"ended"}',
    '{"type":"ended","session":5,"reason":"logout"}',
    '{"type":"ended","session":"a","reason":["logout"]}',
    '{"type":"revoked","name":"n","reason":"backchannel","before":"now"}',
    '{"type":"revoked","name":"n","reason":"backchannel","before":1e999}',
    '{"type":"advanced","session":"a","generation":-1}',
    '{"type":"novel","session":"a"}',
    '{"type":"__proto__","session":"a","__proto__":{"type":"ended"}}',
    `{"type":"ended","session":"${'x'.repeat(100_000)}","reason":"logout"}`,
  ])('of a stranger, %s, is ignored', async (text) => {
    const { server, store, messages, errors } = await startOwn();
    await untilHeard(store);
    await server.ask('PUBLISH', 'sallyport:messages', text);
    await store.end('b', 'logout', minute);
    await vi.waitFor(() => expect(messages).toEqual([{ type: 'ended', session: 'b', reason: 'logout' }]), waiting);
    expect(errors).toEqual([]);
    expect(store.heardSince()).toBeDefined();
  });

  test('of an end for a reason that only a newer version knows tells of the end', async () => {
    const { server, store, messages } = await startOwn();
    await untilHeard(store);
    await server.ask('PUBLISH', 'sallyport:messages', '{"type":"ended","session":"a","reason":"toString","new":1}');
    await vi.waitFor(() => expect(messages).toEqual([{ type: 'ended', session: 'a', reason: 'logout' }]), waiting);
  });

  test('that a listener cannot bear does not harm the connection', async () => {
    const { store, messages } = await startOwn();
    const warned = vi.fn<(warning: Error) => void>();
    process.on('warning', warned);
    onTestFinished(() => void process.off('warning', warned));
    store.subscribe(() => {
      throw new Error('a mistake');
    });
    await untilHeard(store);
    for (const session of ['a', 'b']) await store.end(session, 'logout', minute);
    await vi.waitFor(() => expect(messages).toHaveLength(2), waiting);
    await vi.waitFor(() => expect(warned).toHaveBeenCalled(), waiting);
  });
});

function connectionsIn(list: string): number {
  return list.split('\n').filter((line) => /cmd=(?:evalsha|eval|publish|subscribe|ping)\b/.test(line)).length;
}

function idsIn(list: string): readonly string[] {
  const own = list.split('\n').filter((line) => !line.includes('cmd=client'));
  return own.map((line) => /^id=\d+/.exec(line)?.[0] ?? '').toSorted();
}

function catching(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}

/** Everything that a log could write of an error: its properties, hidden ones too, and those of its causes. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const parts = Reflect.ownKeys(error).map((key) => String(Reflect.get(error, key)));
  return [...parts, JSON.stringify(error), error.cause === undefined ? '' : everythingIn(error.cause)].join('\n');
}
