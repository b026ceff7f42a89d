/**
 * The {@link Store} of several processes: Redis or Valkey, in commands that both have had for ten years. An operation
 * waits for the server a second at most. While the server is down, operations fail at once, and the connection is tried
 * again without end. No command is queued or sent twice: one whose reply is lost may have been done, and a second
 * compare-and-set would then report a failure. The one importer of ioredis.
 */
import type { Redis, RedisOptions } from 'ioredis';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';
import type { Store } from './store.ts';

const prefix = 'sallyport:';
/** How long an operation waits for the server, a new connection included. */
const storeTimeoutMs = 1000;
const firstRetryMs = 50;
const maximumRetryMs = 2000;

/** Redis runs a script as one step: no other client's command comes between. */
const setIfEqual = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

export interface RedisStoreOptions {
  /**
   * Called with the reason why the store can't be reached, once for each reason and outage; never with the password.
   */
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
    // Importing it takes 65 ms: only where a store is configured, and without delaying the start of the server.
    const { Redis } = await import('ioredis');
    const client = new Redis({ ...address, ...behaviour });
    client.on('connecting', () => void (state = 'connecting')).on('ready', onConnected);
    client.on('close', onDisconnected).on('error', report);
    // The events 'error' and 'close' report a failure.
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

  /** Waits for the first attempt to reconnect, which mostly succeeds in a moment, but not for later ones. */
  async function send<T>(command: (client: Redis) => Promise<T>): Promise<T> {
    const client = await opening;
    if (closed) throw new Error('The store is closed.');
    // The library reports a lost connection later than the socket does.
    if (!client.stream?.writable) noteLoss();
    if (state !== 'connected') await withTimeout(attempt.promise, storeTimeoutMs, () => undefined);
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
      // Commands in flight end first, unless the connection is lost.
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
  connectTimeout: storeTimeoutMs,
  commandTimeout: storeTimeoutMs,
  // A connection on which no reply comes may be half open: a new one shows whether the server is up.
  socketTimeout: storeTimeoutMs,
  retryStrategy: (times) => Math.min(maximumRetryMs, firstRetryMs * 2 ** (times - 1)) * (0.75 + Math.random() / 2),
  // RESP2, which every server speaks; some proxies before a server do not speak RESP3.
  protocol: 2,
  disableClientInfo: true,
} satisfies RedisOptions;

/** Parses the URL here, so that no library puts it, and with it the password, into a message. */
function parseAddress(text: string): Address {
  if (!URL.canParse(text)) throw new TypeError('The Redis URL cannot be read.');
  const url = new URL(text);
  if (url.protocol === 'unix:') {
    return { path: decodeURIComponent(url.pathname), db: Number(url.searchParams.get('db') ?? 0) };
  }
  return {
    // Only a URL writes an IPv6 address in brackets.
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port || 6379),
    db: Number(url.pathname.slice(1) || 0),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/**
 * The library's errors hold the command with its arguments, the password in AUTH too; a server's message may quote it.
 */
function withoutSecrets(error: unknown, password: string | undefined): Error {
  const { name, message, code } = error as Error & { code?: unknown };
  if (name === 'MaxRetriesPerRequestError') return new Error('The connection to the store was lost.');
  const safe = new Error(password === undefined ? message : message.replaceAll(password, '(password)'));
  return typeof code === 'string' ? Object.assign(safe, { code }) : safe;
}

/** Redis rejects a lifetime of 0. */
function milliseconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds * 1000));
}
