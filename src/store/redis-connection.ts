/**
 * One connection to one server, until it is lost. The client library connects, speaks the protocol (RESP2, which every
 * server and every proxy before one speaks) and matches replies to commands. What it does beyond that is switched off: it
 * neither reconnects, nor queues while there is no connection, nor follows Sentinels or a Cluster, because it limits only
 * the time for which a command waits to be written, not the time for which a reply is awaited. The one importer of
 * `@redis/client`.
 */
import type { RedisCredentials, RedisNode } from '../config/redis-url.ts';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';

/** How long a server may take to answer, or to accept a connection. */
export const storeTimeoutMs = 1000;

/** By how much a timer of a process that is not too busy may be late. */
const usualLatenessMs = 50;

export interface RedisConnectionOptions {
  readonly node: RedisNode;
  readonly credentials: RedisCredentials;
  readonly database: number;
  /** Undefined without TLS. `ca`: PEM, in place of the system's authorities. */
  readonly tls: { readonly ca: string | undefined } | undefined;
}

export interface RedisConnection {
  /** @throws {RedisErrorReply} what the server replied; any other error means that the connection was lost */
  send(command: readonly string[]): Promise<unknown>;
  /** Resolves once the server has confirmed it. From then on only `send(['PING'])` is allowed. */
  subscribe(channels: readonly string[], listener: (message: string, channel: string) => void): Promise<void>;
  /** Resolves with the reason when the connection is lost, dropped or closed. */
  readonly lost: Promise<Error>;
  /** Whether a command has been answered. */
  readonly wasUsed: () => boolean;
  drop(cause: Error): void;
  /** Lets commands in flight end. */
  close(): Promise<void>;
}

/** A server's refusal of a command. */
export class RedisErrorReply extends Error {
  /** Its first word, e.g. `NOSCRIPT`. */
  readonly code: string;

  constructor(message: string) {
    super(message);
    this.code = /^[A-Z]*/.exec(message)?.[0] ?? '';
  }
}

/** The server did not answer in time. */
export class RedisTimeout extends Error {}

/** Importing the library takes 100 ms: only where a store is configured, and without delaying the start of the server. */
export function loadRedisClient() {
  return import('@redis/client');
}

/** Connects, signs in, and sees to it that the server answers. */
export async function connectToRedis(options: RedisConnectionOptions): Promise<RedisConnection> {
  const library = await loadRedisClient();
  const client = library.createClient({ ...behaviour, ...optionsOf(options) });
  const translated = (error: unknown) => translate(error, library, options.credentials.password);
  const lost = Promise.withResolvers<Error>();
  let loss: Error | undefined;
  let wasUsed = false;

  function drop(cause: Error): void {
    loss ??= cause;
    client.destroy();
    lost.resolve(cause);
  }

  // Among others, the error of a reply that can't be parsed, after which the library would go on.
  client.on('error', (error: unknown) => drop(translated(error)));

  /** Why a command failed: what the server replied, or why the connection was lost. */
  function failureOf(error: unknown): Error {
    if (error instanceof RedisTimeout) drop(error);
    return error instanceof library.ErrorReply || loss === undefined ? translated(error) : loss;
  }

  async function send(command: readonly string[]): Promise<unknown> {
    try {
      const reply = await inTime(client.sendCommand([...command]));
      wasUsed = true;
      return reply;
    } catch (error) {
      throw failureOf(error);
    }
  }

  /** Without its result the connection is of no use. */
  async function orDrop(work: Promise<unknown>): Promise<void> {
    try {
      await inTime(work);
    } catch (error) {
      const failure = failureOf(error);
      drop(failure);
      throw failure;
    }
  }

  const connecting = client.connect();
  // A socket that connects after it was given up would stay open.
  detach(
    connecting.then(() => (loss === undefined ? undefined : client.destroy())),
    () => undefined,
  );
  await orDrop(connecting.then(() => client.sendCommand(['PING'])));
  return {
    send,
    async subscribe(channels, listener) {
      await orDrop(client.subscribe([...channels], listener));
      wasUsed = true;
    },
    lost: lost.promise,
    wasUsed: () => wasUsed,
    drop,
    async close() {
      if (loss !== undefined) return;
      await withTimeout(client.close(), storeTimeoutMs, () => undefined);
      drop(new Error('The connection to the store was closed.'));
    },
  };
}

const behaviour = {
  RESP: 2,
  disableOfflineQueue: true,
  disableClientInfo: true,
  maintNotifications: 'disabled',
  commandOptions: { timeout: 0 },
} as const;

function optionsOf(options: RedisConnectionOptions) {
  const { username, password } = options.credentials;
  return {
    socket: socketOf(options),
    database: options.database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

function socketOf({ node, tls }: RedisConnectionOptions) {
  // Closes the socket of a connection that was given up before.
  const limits = { connectTimeout: 2 * storeTimeoutMs, reconnectStrategy: false } as const;
  if ('path' in node) return { ...limits, path: node.path };
  if (tls === undefined) return { ...limits, ...node };
  return { ...limits, ...node, tls: true as const, ...(tls.ca === undefined ? {} : { ca: tls.ca }) };
}

/**
 * Limits the wait for a reply. The time for which this process was too busy to read replies does not count, so that it
 * takes no connection for dead.
 */
async function inTime<T>(reply: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  let timer = waitFor(storeTimeoutMs);

  function waitFor(ms: number): NodeJS.Timeout {
    const dueAt = performance.now() + ms;
    return setTimeout(() => {
      const busyMs = performance.now() - dueAt;
      if (busyMs > usualLatenessMs) timer = waitFor(Math.min(busyMs, storeTimeoutMs));
      else late.reject(new RedisTimeout(`The store did not answer within ${storeTimeoutMs} ms.`));
    }, ms);
  }

  try {
    return await Promise.race([reply, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

type Library = Awaited<ReturnType<typeof loadRedisClient>>;

function translate(error: unknown, library: Library, password: string | undefined): Error {
  if (error instanceof library.SocketClosedUnexpectedlyError) return new Error('The store closed the connection.');
  return error instanceof library.ErrorReply ? new RedisErrorReply(plain(error, password)) : safe(error, password);
}

/** The library's errors may hold the command with its arguments; a server's message may quote the password. */
function safe(error: unknown, password: string | undefined): Error {
  const made = new Error(plain(error, password));
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? Object.assign(made, { code }) : made;
}

function plain(error: unknown, password: string | undefined): string {
  const { message } = error as Error;
  // Node tries several addresses of a name, and puts their errors into one without a message.
  const text = error instanceof AggregateError ? error.errors.map((each: Error) => each.message).join('; ') : message;
  return password === undefined ? text : text.replaceAll(password, '(password)');
}
