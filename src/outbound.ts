/** How Sallyport connects to others: undici agents with explicit limits, one for the provider, one for the APIs. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Agent, buildConnector, Client, fetch as undiciFetch, Pool, type Dispatcher } from 'undici';

/** Metadata, keys and token responses are small; whatever is larger isn't one. */
const maximumProviderResponseBytes = 1024 * 1024;

/** Shorter than what servers usually grant (Node 5 s, nginx 75 s), so that a kept socket is rarely a dead one. */
const upstreamKeepAliveMs = 4000;

/** How to connect to an API. Whoever shares all of it shares connections. */
export interface Connection {
  /** Origin of the target. */
  readonly origin: string;
  readonly connectTimeoutSeconds: number;
  readonly http2: boolean;
  /** PEM file of the certificate authorities to trust instead of the system's. */
  readonly caFile: string | undefined;
  /** A Unix socket; the origin's host then stands in `Host` and in the certificate only. */
  readonly socketPath: string | undefined;
}

/**
 * The connections to one upstream. A taken one carries one call and is given back after it.
 *
 * undici's own pool looks through all its connections for a free one at each call, which with thousands of open event
 * streams costs more than the call; here the free ones are a stack.
 */
export interface ConnectionPool {
  take(): Dispatcher;
  give(dispatcher: Dispatcher): void;
  /** Who waits for a first byte; they expire within a quarter of a second of their deadline. */
  readonly waiting: Set<Waiter>;
  destroy(): Promise<void>;
}

/** Somebody who waits for an upstream's first byte. */
export interface Waiter {
  /** In milliseconds, by `performance.now()`. */
  readonly deadline: number;
  expire(): void;
}

/** More free connections than this are closed. */
const maximumFree = 512;

/** Parallel calls to the provider; more wait. */
const providerConnections = 128;

const waiterCheckMs = 250;

export interface Outbound {
  /** For the provider only: follows no redirect unless asked, bounded in size. */
  readonly providerFetch: typeof fetch;
  /** The connections to an API or a dev server. */
  poolOf(connection: Connection): ConnectionPool;
  close(): Promise<void>;
}

export function createOutbound(): Outbound {
  const provider = new Agent({
    connectTimeout: 5000,
    connections: providerConnections,
    maxResponseSize: maximumProviderResponseBytes,
    allowH2: false,
  });
  const pools = new Map<string, ConnectionPool>();
  return {
    // undici's own types name the same classes as the platform's, but not to the compiler.
    providerFetch: ((input: string, init: object) =>
      undiciFetch(input, { ...init, dispatcher: provider })) as unknown as typeof fetch,
    poolOf(connection) {
      const { origin, connectTimeoutSeconds, http2, caFile, socketPath } = connection;
      const key = JSON.stringify([origin, connectTimeoutSeconds, http2, caFile, socketPath]);
      const pool = pools.get(key) ?? createPool(connection);
      pools.set(key, pool);
      return pool;
    },
    async close() {
      await Promise.all([provider, ...pools.values()].map((dispatcher) => dispatcher.destroy()));
    },
  };
}

function createPool(connection: Connection): ConnectionPool {
  const options = {
    connect: connectorOf(connection),
    keepAliveTimeout: upstreamKeepAliveMs,
    keepAliveMaxTimeout: upstreamKeepAliveMs,
    maxHeaderSize: 32 * 1024,
    // A timer of undici's for each call costs 8 us: see `waiting`.
    headersTimeout: 0,
  };
  const waiting = new Set<Waiter>();
  const checker = setInterval(expireLate, waiterCheckMs, waiting).unref();
  const connections = connection.http2 ? multiplexed(connection.origin, options) : single(connection.origin, options);
  return {
    ...connections,
    waiting,
    async destroy() {
      clearInterval(checker);
      await connections.destroy();
    },
  };
}

function expireLate(waiting: ReadonlySet<Waiter>): void {
  const now = performance.now();
  for (const waiter of waiting) if (waiter.deadline < now) waiter.expire();
}

/** HTTP/1.1: a connection carries one call at a time. The last one given back is the first one taken: it is alive. */
function single(origin: string, options: Client.Options): Omit<ConnectionPool, 'waiting'> {
  const all = new Set<Dispatcher>();
  const free: Dispatcher[] = [];
  return {
    take() {
      const known = free.pop();
      if (known !== undefined) return known;
      const client = new Client(origin, { ...options, allowH2: false });
      all.add(client);
      return client;
    },
    give(client) {
      if (free.length < maximumFree) free.push(client);
      else if (all.delete(client)) void client.close();
    },
    async destroy() {
      await Promise.all([...all].map((client) => client.destroy()));
    },
  };
}

/** HTTP/2: one connection carries many calls, and undici shares them out. */
function multiplexed(origin: string, options: Pool.Options): Omit<ConnectionPool, 'waiting'> {
  const pool = new Pool(origin, { ...options, allowH2: true });
  return { take: () => pool, give() {}, destroy: () => pool.destroy() };
}

function connectorOf({ origin, connectTimeoutSeconds, http2, caFile, socketPath }: Connection) {
  const options = {
    timeout: connectTimeoutSeconds * 1000,
    allowH2: http2,
    useH2c: http2 && origin.startsWith('http:'),
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    ...(socketPath === undefined ? {} : { socketPath }),
  };
  const connect = buildConnector(options);
  return (target: buildConnector.Options, callback: buildConnector.Callback): void => {
    connect(target, (...result: [Error, null] | [null, Socket]) => {
      result[1]?.on('error', tellResetFromEnd);
      callback(...result);
    });
  };
}

/**
 * undici takes a reset for the end of an answer that has neither length nor chunks, and a cut-off answer would look
 * whole. Under another code a reset is what it is. This listener must come before undici's own.
 */
function tellResetFromEnd(error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET';
}
