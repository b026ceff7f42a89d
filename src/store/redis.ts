/**
 * The {@link Store} of several processes: Redis or Valkey, in commands that both have had for ten years. A call waits
 * for it a second at most; when it is down, calls fail at once and the connection is tried again for ever. Nothing is
 * queued or sent twice: a command whose answer is lost may have been done, and a compare-and-set done twice would lie.
 * The one importer of ioredis.
 */
import type { Redis, RedisOptions } from 'ioredis';
import { detach } from '../detached.ts';
import type { Store } from './store.ts';

const prefix = 'sallyport:';
/** What a call waits for the store, a new connection included. */
const patienceMs = 1000;
const firstRetryMs = 50;
const maximumRetryMs = 2000;

/** Redis runs a script as one step, between the commands of others. */
const setIfEqual = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

export interface RedisStoreOptions {
  /** Hears why the store can't be reached: once for each reason and outage. Never holds the password. */
  readonly onError: (cause: Error) => void;
}

/**
 * A store in Redis or Valkey. Returns at once and connects in the background.
 * @param url `redis://user:password@host:6379/0`, `rediss://…` for TLS, or `unix:///path/to/redis.sock?db=0`
 * @throws {TypeError} when the URL can't be read
 */
export function createRedisStore(url: string, { onError }: RedisStoreOptions): Store {
  const address = parseAddress(url);
  let state: 'lost' | 'connecting' | 'connected' = 'lost';
  let closed = false;
  let failure: Error | undefined;
  /** Resolves with the outcome of the first attempt to connect since start, or since a connection was lost. */
  let attempt = Promise.withResolvers<void>();
  const opening = open();
  detach(opening, report);

  async function open(): Promise<Redis> {
    // 65 ms that only those pay who use it, and not before the server listens.
    const { Redis } = await import('ioredis');
    const client = new Redis({ ...address, ...behaviour });
    client.on('connecting', () => void (state = 'connecting')).on('ready', onConnected);
    client.on('close', onDisconnected).on('error', report);
    // The events 'error' and 'close' tell of a failure.
    if (!closed) detach(client.connect(), () => undefined);
    return client;
  }

  function onConnected(): void {
    state = 'connected';
    failure = undefined;
    attempt.resolve();
  }

  function onDisconnected(): void {
    if (state === 'connecting') attempt.resolve();
    else noteLoss();
    state = 'lost';
  }

  function noteLoss(): void {
    if (state === 'connected') attempt = Promise.withResolvers();
    state = 'lost';
  }

  function report(cause: unknown): void {
    const found = withoutSecrets(cause, address.password);
    if (found.message === failure?.message || closed) return;
    failure = found;
    onError(found);
  }

  /** A lost connection is mostly back in a moment: the first attempt is waited for, the later ones are not. */
  async function send<T>(command: (client: Redis) => Promise<T>): Promise<T> {
    const client = await opening;
    if (closed) throw new Error('The store is closed.');
    // The library tells of a loss only a while after the socket knows of it.
    if (!client.stream?.writable) noteLoss();
    if (state !== 'connected') await settledWithin(attempt.promise, patienceMs);
    if (state !== 'connected') throw new Error('There is no connection to the store.', { cause: failure });
    try {
      return await command(client);
    } catch (cause) {
      throw withoutSecrets(cause, address.password);
    }
  }

  return {
    shared: true,
    async get(key) {
      return (await send((client) => client.get(prefix + key))) ?? undefined;
    },
    async set(key, value, ttlSeconds) {
      await send((client) => client.set(prefix + key, value, 'PX', milliseconds(ttlSeconds)));
    },
    async compareAndSet(key, expected, value, ttlSeconds) {
      const ttl = milliseconds(ttlSeconds);
      const done = await send<unknown>((client) =>
        expected === undefined
          ? client.set(prefix + key, value, 'PX', ttl, 'NX')
          : client.eval(setIfEqual, 1, prefix + key, expected, value, ttl),
      );
      return done === 'OK' || done === 1;
    },
    async delete(key) {
      await send((client) => client.del(prefix + key));
    },
    async close() {
      closed = true;
      const client = await opening;
      // What is under way is finished, unless the server has gone.
      if (state === 'connected') await client.quit().catch(() => undefined);
      client.disconnect();
      attempt.resolve();
    },
  };
}

interface Address {
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: object;
}

const behaviour = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  connectTimeout: patienceMs,
  commandTimeout: patienceMs,
  // A connection that swallows commands may be half open: a new one shows whether the server is there.
  socketTimeout: patienceMs,
  retryStrategy: (times) => Math.min(maximumRetryMs, firstRetryMs * 2 ** (times - 1)) * (0.75 + Math.random() / 2),
  // Every server speaks it, and the proxies before some do not speak the later one.
  protocol: 2,
  disableClientInfo: true,
} satisfies RedisOptions;

/** Our own reading of the URL, so that no library can put it, and with it the password, in a message. */
function parseAddress(text: string): Address {
  if (!URL.canParse(text)) throw new TypeError('The Redis URL cannot be read.');
  const url = new URL(text);
  if (url.protocol === 'unix:') {
    return { path: decodeURIComponent(url.pathname), db: Number(url.searchParams.get('db') ?? 0) };
  }
  return {
    // An IPv6 address stands in brackets in a URL only.
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1) || 0),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/** The library's errors carry the command with its arguments, AUTH's too; a server may quote them in its message. */
function withoutSecrets(error: unknown, password: string | undefined): Error {
  const { name, message, code } = error as Error & { code?: unknown };
  if (name === 'MaxRetriesPerRequestError') return new Error('The connection to the store was lost.');
  const safe = new Error(password === undefined ? message : message.replaceAll(password, '(password)'));
  return typeof code === 'string' ? Object.assign(safe, { code }) : safe;
}

/** Redis takes no lifetime of nought. */
function milliseconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds * 1000));
}

async function settledWithin(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
