/** What every store must do, tried on each of them; and what only a store beyond the network can get wrong. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { createRedisStore } from '../../src/store/redis.ts';
import type { Store } from '../../src/store/store.ts';
import { freePort } from '../support/listener.ts';
import { startRawServer } from '../support/raw.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from '../support/redis.ts';
import { within } from '../support/world.ts';

let redis: TestRedis;

beforeAll(async () => {
  redis = await startRedis();
});

afterAll(() => redis.close());

/** A Redis of the test's own, and a store in it. */
async function startOwn(options: TestRedisOptions = {}): Promise<{ server: TestRedis; store: Store; errors: Error[] }> {
  const server = await startRedis(options);
  onTestFinished(() => server.close());
  return { server, ...open(server.url) };
}

function open(url: string): { store: Store; errors: Error[] } {
  const errors: Error[] = [];
  const store = createRedisStore(url, { onError: (cause) => void errors.push(cause) });
  onTestFinished(() => within(5, store.close(), 'the store did not close'));
  return { store, errors };
}

/** How long a promise takes to settle, either way. */
async function timed(promise: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await promise.catch(() => undefined);
  return performance.now() - startedAt;
}

/** What a store says that can't be reached, at whatever moment it noticed. */
const unavailable = /no connection to the store|connection to the store was lost|store is closed|timed out/;

let lastKey = 0;
/** A key that no other test uses. */
const newKey = () => `key:${++lastKey}`;

describe.each([
  { name: 'memory', start: () => createMemoryStore() },
  { name: 'Redis', start: () => open(redis.url).store },
])('a store in $name', ({ start }) => {
  test('knows nothing of a key that was never set', async () => {
    expect(await start().get(newKey())).toBeUndefined();
  });

  test('keeps the last value of a key, of whatever size', async () => {
    const store = start();
    const [key, other] = [newKey(), newKey()];
    const large = 'sealed.'.repeat(5000);
    await store.set(key, 'first', 60);
    await store.set(other, 'untouched', 60);
    await store.set(key, large, 60);
    expect(await store.get(key)).toBe(large);
    expect(await store.get(other)).toBe('untouched');
    await store.set(key, '', 60);
    expect(await store.get(key)).toBe('');
  });

  test('forgets a key that was deleted, and deletes what is absent without complaint', async () => {
    const store = start();
    const key = newKey();
    await store.set(key, 'value', 60);
    await store.delete(key);
    expect(await store.get(key)).toBeUndefined();
    expect(await outcome(store.delete(key))).toBe('fulfilled');
  });

  test('forgets a value when its time is over, and not before', async () => {
    const store = start();
    const [brief, replaced, swapped, lasting] = [newKey(), newKey(), newKey(), newKey()];
    await store.set(brief, 'value', 0.15);
    await store.compareAndSet(swapped, undefined, 'value', 0.15);
    await store.set(replaced, 'value', 0.15);
    await store.set(replaced, 'value', 60);
    await store.compareAndSet(lasting, undefined, 'first', 0.15);
    await store.compareAndSet(lasting, 'first', 'value', 60);
    expect(await Promise.all([brief, swapped].map((key) => store.get(key)))).toEqual(['value', 'value']);
    await vi.waitFor(
      async () =>
        expect(await Promise.all([brief, swapped].map((key) => store.get(key)))).toEqual([undefined, undefined]),
      { timeout: 5000, interval: 10 },
    );
    expect(await Promise.all([replaced, lasting].map((key) => store.get(key)))).toEqual(['value', 'value']);
  });

  test('takes an expired value for absent when it compares', async () => {
    const store = start();
    const key = newKey();
    await store.set(key, 'old', 0.05);
    await vi.waitFor(async () => expect(await store.compareAndSet(key, undefined, 'new', 60)).toBe(true), {
      timeout: 5000,
      interval: 10,
    });
    expect(await store.compareAndSet(key, 'old', 'newer', 60)).toBe(false);
    expect(await store.get(key)).toBe('new');
  });

  test('sets only what is as expected', async () => {
    const store = start();
    const key = newKey();
    expect(await store.compareAndSet(key, 'something', 'a', 60)).toBe(false);
    expect(await store.get(key)).toBeUndefined();
    expect(await store.compareAndSet(key, undefined, 'a', 60)).toBe(true);
    expect(await store.compareAndSet(key, undefined, 'b', 60)).toBe(false);
    expect(await store.compareAndSet(key, 'b', 'c', 60)).toBe(false);
    expect(await store.compareAndSet(key, '', 'c', 60)).toBe(false);
    expect(await store.get(key)).toBe('a');
    expect(await store.compareAndSet(key, 'a', 'b', 60)).toBe(true);
    expect(await store.get(key)).toBe('b');
  });

  test.each([undefined, 'before'])('lets one of many win who expect %s', async (expected) => {
    const one = start();
    const other = one.shared ? start() : one;
    const key = newKey();
    if (expected !== undefined) await one.set(key, expected, 60);
    const tries = Array.from({ length: 50 }, (_, index) =>
      (index % 2 === 0 ? one : other).compareAndSet(key, expected, `winner ${index}`, 60),
    );
    const won = await Promise.all(tries);
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(await one.get(key)).toBe(`winner ${won.indexOf(true)}`);
  });

  test('closes, and closes again', async () => {
    const store = start();
    await store.set(newKey(), 'value', 60);
    await store.close();
    expect(await outcome(store.close())).toBe('fulfilled');
  });
});

describe('a store in Redis', () => {
  test('is shared: one process sees what another wrote', async () => {
    const [one, other] = [open(redis.url).store, open(redis.url).store];
    const key = newKey();
    await one.set(key, 'value', 60);
    expect(await other.get(key)).toBe('value');
    expect(one.shared).toBe(true);
  });

  test('writes under its own prefix, with a time to live on everything', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 1.5);
    await store.compareAndSet('b', undefined, 'value', 1.5);
    await store.set('c', 'value', 60);
    await store.compareAndSet('c', 'value', 'other', 1.5);
    expect([...(await server.dump()).keys()].toSorted()).toEqual(['sallyport:a', 'sallyport:b', 'sallyport:c']);
    for (const key of ['a', 'b', 'c']) {
      const ttl = Number(await server.ask('PTTL', `sallyport:${key}`));
      expect(ttl).toBeGreaterThan(500);
      expect(ttl).toBeLessThanOrEqual(1500);
    }
  });

  test('takes a lifetime of nought for the shortest there is', async () => {
    const { store } = open(redis.url);
    const key = newKey();
    await store.set(key, 'value', 0);
    await vi.waitFor(async () => expect(await store.get(key)).toBeUndefined());
  });

  test('uses the database that the URL names', async () => {
    const { server } = await startOwn();
    const { store } = open(`${server.url}/3`);
    await store.set('a', 'value', 60);
    expect(await server.ask('DBSIZE')).toBe('0');
    expect(await server.ask('INFO', 'keyspace')).toContain('db3:keys=1');
  });

  test('signs in with the password of the URL', async () => {
    const { store } = await startOwn({ password: 'p@ss/w:rd%' });
    await store.set('a', 'value', 60);
    expect(await store.get('a')).toBe('value');
  });

  test('reaches a server by its Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-redis-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'redis.sock');
    await startOwn({ settings: ['--unixsocket', path] });
    const { store } = open(`unix://${path}?db=2`);
    await store.set('a', 'value', 60);
    expect(await store.get('a')).toBe('value');
  });

  test('never tells the password', async () => {
    const password = 'c4n4ry-p4ssw0rd';
    const server = await startRedis({ password: 'another' });
    onTestFinished(() => server.close());
    const refused = open(`redis://:${password}@127.0.0.1:${server.port}`);
    const failure: unknown = await refused.store.get('a').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    await vi.waitFor(() => expect(refused.errors.length).toBeGreaterThan(0), { timeout: 5000 });
    const nowhere = open(`redis://:${password}@127.0.0.1:${await freePort()}`);
    const unreachable: unknown = await nowhere.store.get('a').catch((error: unknown) => error);
    const unreadable = catching(() => open(`redis://:${password}@127.0.0.1:no-port`));
    for (const error of [failure, unreachable, unreadable, ...refused.errors, ...nowhere.errors]) {
      expect(everythingIn(error)).not.toContain(password);
    }
    expect(String(unreadable)).toContain('cannot be read');
  });

  test('never tells the password, even where the server quotes it', async () => {
    const password = 'c4n4ry-p4ssw0rd';
    const refusal = `-ERR unknown command 'auth', with args beginning with: '${password}'\r\n`;
    const proxy = await startRawServer((socket) => socket.write(refusal));
    onTestFinished(() => proxy.close());
    const { store, errors } = open(`redis://:${password}@127.0.0.1:${proxy.port}`);
    await expect(store.get('a')).rejects.toThrow('no connection');
    expect(errors[0]?.message).toBe("ERR unknown command 'auth', with args beginning with: '(password)'");
  });

  test('starts before its server does, tells of it once, and recovers', async () => {
    const server = await startRedis();
    onTestFinished(() => server.close());
    await server.down();
    const { store, errors } = open(server.url);
    await expect(store.get('a')).rejects.toThrow(unavailable);
    await expect(store.set('a', 'value', 60)).rejects.toThrow(unavailable);
    await vi.waitFor(() => expect(errors).toHaveLength(1));
    await server.up();
    await vi.waitFor(() => store.set('a', 'value', 60), { timeout: 10_000 });
    expect(await store.get('a')).toBe('value');
    expect(errors).toHaveLength(1);
    await server.down();
    await vi.waitFor(() => expect(errors).toHaveLength(2), { timeout: 5000 });
  });

  test('tells once of what goes on', async () => {
    const server = await startRedis({ password: 'another' });
    onTestFinished(() => server.close());
    const { errors } = open(`redis://:wrong@127.0.0.1:${server.port}`);
    const attempts = async () => Number(/cmdstat_auth:calls=(\d+)/.exec(await server.ask('INFO', 'commandstats'))?.[1]);
    const before = await attempts();
    // Asking signs in as well: each look counts one.
    let looks = 0;
    await vi.waitFor(async () => expect((await attempts()) - before - ++looks).toBeGreaterThan(3), { timeout: 10_000 });
    expect(errors.map(({ message }) => message.split(' ')[0])).toEqual(['WRONGPASS']);
  });

  test('fails what is under way at once when its server dies', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    server.freeze();
    const asked = timed(store.get('a'));
    await server.down();
    expect(await asked).toBeLessThan(500);
  });

  test('waits no longer for an answer that comes in drops', async () => {
    const proxy = await startRawServer((socket) => {
      socket.write('$20\r\nredis_version:7.0.15\r\n');
      socket.once('data', () => {
        socket.write('$100\r\n');
        const dripping = setInterval(() => socket.write('.'), 100);
        socket.once('close', () => clearInterval(dripping));
      });
    });
    onTestFinished(() => proxy.close());
    const { store } = open(`redis://127.0.0.1:${proxy.port}`);
    expect(await timed(store.get('a'))).toBeLessThan(1500);
    await expect(store.get('a')).rejects.toThrow(unavailable);
  });

  test('fails at once while its server is down', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    await server.down();
    await expect(store.get('a')).rejects.toThrow(unavailable);
    const tries = Array.from({ length: 200 }, () => store.get('a'));
    expect(await timed(Promise.allSettled(tries))).toBeLessThan(500);
    for (const outcome of await Promise.allSettled(tries)) expect(outcome.status).toBe('rejected');
  });

  test('costs no call an error when a connection is lost and the server is there', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    for (let round = 0; round < 20; round += 1) {
      await server.ask('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await vi.waitFor(async () => expect(await server.ask('CLIENT', 'LIST')).not.toMatch(/cmd=(get|set)/));
      expect(await store.get('a')).toBe('value');
    }
  });

  test('gives a server up that does not answer, and finds it again', async () => {
    const { server, store, errors } = await startOwn();
    await store.set('a', 'value', 60);
    server.freeze();
    onTestFinished(() => server.resume());
    expect(await timed(store.get('a'))).toBeLessThan(1500);
    await expect(store.get('a')).rejects.toThrow(unavailable);
    await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0), { timeout: 5000 });
    const tries = Array.from({ length: 100 }, () => store.get('a'));
    expect(await timed(Promise.allSettled(tries))).toBeLessThan(1500);
    server.resume();
    await vi.waitFor(async () => expect(await store.get('a')).toBe('value'), { timeout: 10_000 });
  });

  test('does nothing late: a command that was given up while there was no connection is never sent', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    await server.down();
    await expect(store.get('a')).rejects.toThrow(unavailable);
    await expect(store.set('late', 'value', 60)).rejects.toThrow(unavailable);
    await server.up();
    await vi.waitFor(() => store.set('b', 'value', 60), { timeout: 10_000 });
    expect([...(await server.dump()).keys()]).toEqual(['sallyport:b']);
  });

  test.each(['running', 'down', 'frozen'])('closes while its server is %s', async (state) => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    if (state === 'down') await server.down();
    if (state === 'frozen') server.freeze();
    onTestFinished(() => server.resume());
    await within(3, store.close(), 'the store did not close');
    await expect(store.get('a')).rejects.toThrow(unavailable);
  });

  test('leaves no connection behind', async () => {
    const { server, store } = await startOwn();
    await store.set('a', 'value', 60);
    expect(await server.ask('CLIENT', 'LIST')).toContain('cmd=set');
    await store.close();
    await vi.waitFor(async () => expect(await server.ask('CLIENT', 'LIST')).not.toContain('cmd=set'));
  });

  test('closes before it has connected', async () => {
    const { store } = open(redis.url);
    await within(3, store.close(), 'the store did not close');
    await expect(store.get('a')).rejects.toThrow(unavailable);
  });
});

async function startTls(): Promise<{ url: string; certificate: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-redis-tls-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost';
  const names = '-addext subjectAltName=DNS:localhost,IP:127.0.0.1';
  await promisify(execFile)('openssl', [...`${request} ${names}`.split(' '), '-keyout', key, '-out', certificate]);
  const port = await freePort();
  const files = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate];
  await startOwn({ settings: ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'] });
  return { url: `rediss://127.0.0.1:${port}`, certificate: await readFile(certificate, 'utf8') };
}

describe('TLS', () => {
  test('is spoken for rediss:, with a server whose certificate somebody vouches for', async () => {
    const { url, certificate } = await startTls();
    const usual = getCACertificates('default');
    setDefaultCACertificates([...usual, certificate]);
    onTestFinished(() => setDefaultCACertificates(usual));
    const { store } = open(url);
    await store.set('a', 'value', 60);
    expect(await store.get('a')).toBe('value');
  });

  test('is refused where nobody vouches for the certificate', async () => {
    const { url } = await startTls();
    const { store, errors } = open(url);
    await expect(store.set('a', 'value', 60)).rejects.toThrow(unavailable);
    await vi.waitFor(() => expect(errors[0]).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }));
  });
});

async function outcome(promise: Promise<unknown>): Promise<string> {
  const [settled] = await Promise.allSettled([promise]);
  return settled.status;
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
