/**
 * Keep-alive connections to APIs (HTTP/1.1): one call at a time each, opened as needed, given back after the call. Hides
 * undici's clients, their limits and time-outs.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher } from 'undici';
import { detach } from '../detached.ts';

/** Shorter than what servers usually grant (Node 5 s, nginx 75 s), so that a kept socket is rarely a dead one. */
const upstreamKeepAliveMs = 4000;

/** How to connect to an API. Whoever shares all of it shares connections. */
export interface Connection {
  /** Origin of the target. */
  readonly origin: string;
  readonly connectTimeoutSeconds: number;
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
  /** Hands `taker` a connection: at once where one is free or may be opened, else when one is. */
  take(taker: PendingCall): void;
  /** The connection of `lease` stands, and its call is on its way. */
  established(lease: Lease): void;
  give(lease: Lease): void;
  destroy(): Promise<void>;
}

/** A connection, taken for one call. */
export interface Lease {
  readonly dispatcher: Dispatcher;
  /**
   * Who waits for the first byte: expires within a quarter of a second of its deadline. In place of a timer for each
   * call (8 us), and no `Set` of calls: its outgrown tables keep the calls of seconds alive (13 % of the time in GC).
   */
  waiter: TimedCall | undefined;
  /** Newly opened, and not known to stand yet. */
  connecting: boolean;
}

/** Somebody who waits for an upstream. */
export interface TimedCall {
  /** In milliseconds, by `performance.now()`. */
  readonly deadline: number;
  expire(): void;
}

/** Somebody who waits for a connection. */
export interface PendingCall extends TimedCall {
  /** Wants none any more. */
  readonly left: boolean;
  begin(lease: Lease): void;
}

/**
 * New connections that may be under way at once: a burst of thousands of calls is served over a few hundred
 * connections, which is faster than to open thousands, and kinder to the API.
 */
const maximumConnecting = 128;

/** More free connections than this are closed. */
const maximumFree = 512;

const waiterCheckMs = 250;

export interface ConnectionPools {
  /** The connections to an API or a dev server; whoever connects alike shares them. */
  poolOf(connection: Connection): ConnectionPool;
  close(): Promise<void>;
}

export function createConnectionPools(): ConnectionPools {
  const pools = new Map<string, ConnectionPool>();
  return {
    poolOf(connection) {
      const { origin, connectTimeoutSeconds, caFile, socketPath } = connection;
      const key = JSON.stringify([origin, connectTimeoutSeconds, caFile, socketPath]);
      const pool = pools.get(key) ?? createPool(connection);
      pools.set(key, pool);
      return pool;
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}

function createPool(connection: Connection): ConnectionPool {
  const { origin } = connection;
  const options = {
    connect: connectorOf(connection),
    keepAliveTimeout: upstreamKeepAliveMs,
    keepAliveMaxTimeout: upstreamKeepAliveMs,
    maxHeaderSize: 32 * 1024,
    headersTimeout: 0,
    // Over HTTP/2 all callers would share a connection, and one caller's aborts would break the others' calls.
    allowH2: false,
  };
  const leases = new Set<Lease>();
  const free: Lease[] = [];
  const queue: PendingCall[] = [];
  let connecting = 0;
  const checker = setInterval(expireLate, waiterCheckMs).unref();

  function open(taker: PendingCall): void {
    const lease: Lease = { dispatcher: new Client(origin, options), waiter: undefined, connecting: true };
    connecting++;
    leases.add(lease);
    taker.begin(lease);
  }

  function nextTaker(): PendingCall | undefined {
    let taker = queue.shift();
    while (taker?.left === true) taker = queue.shift();
    return taker;
  }

  function close(lease: Lease): void {
    leases.delete(lease);
    // A connection that can't be closed in order has no call left that could be hurt.
    detach(lease.dispatcher.close(), () => undefined);
  }

  function established(lease: Lease): void {
    if (!lease.connecting) return;
    lease.connecting = false;
    connecting--;
    const taker = nextTaker();
    if (taker !== undefined) open(taker);
  }

  function expireLate(): void {
    const now = performance.now();
    for (const { waiter } of leases) if (waiter !== undefined && waiter.deadline < now) waiter.expire();
    for (const taker of queue) if (!taker.left && taker.deadline < now) taker.expire();
  }

  return {
    established,
    take(taker) {
      // The last one given back is the likeliest to be alive.
      const known = free.pop();
      if (known !== undefined) taker.begin(known);
      else if (connecting < maximumConnecting) open(taker);
      else queue.push(taker);
    },
    give(lease) {
      if (lease.connecting) {
        close(lease);
        established(lease);
        return;
      }
      const taker = nextTaker();
      if (taker !== undefined) taker.begin(lease);
      else if (free.length < maximumFree) free.push(lease);
      else close(lease);
    },
    async destroy() {
      clearInterval(checker);
      await Promise.all([...leases].map(({ dispatcher }) => dispatcher.destroy()));
    },
  };
}

function connectorOf({ connectTimeoutSeconds, caFile, socketPath }: Connection) {
  const options = {
    timeout: connectTimeoutSeconds * 1000,
    allowH2: false,
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
