/**
 * Pooled keep-alive connections to APIs (HTTP/1.1, RFC 9112 9.3): each carries one call at a time, is opened as needed
 * and released after the call. Hides undici's clients, their limits and time-outs.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher } from 'undici';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { createClientCertificate, type ClientCertificate } from './client-certificate.ts';

/** Shorter than what servers usually grant (Node 5 s, nginx 75 s), so that an idle connection is rarely a dead one. */
const keepAliveMs = 4000;

/** How to connect to an API. Routes that agree in all of it share connections. */
export interface Connection {
  /** Origin of the target. */
  readonly origin: string;
  /** The `Host` of its requests: undici reconnects where that changes. */
  readonly host: string;
  readonly connectTimeoutSeconds: number;
  /** PEM file of the certificate authorities to trust instead of the system's. */
  readonly caFile: string | undefined;
  /** A Unix socket; the origin's host then matters for `Host` and for the certificate only. */
  readonly socketPath: string | undefined;
  /** PEM files of the certificate to show, and of its key; both or none. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/**
 * The connections to one upstream.
 *
 * undici's own pool searches all its connections for an idle one at each call: a third of the time with thousands of open
 * event streams. Here the idle ones are a stack.
 */
export interface ConnectionPool {
  /** Calls `onConnection`: at once where a connection is idle or may be opened, else when one is released. */
  acquire(call: PendingCall): void;
  /** The connection of `lease` is open, and its call is being sent. */
  established(lease: Lease): void;
  /** Returns a connection whose call has ended. */
  release(lease: Lease): void;
  destroy(): Promise<void>;
}

/** A connection, acquired for one call. */
export interface Lease {
  readonly dispatcher: Dispatcher;
  /**
   * The call that waits for its first byte on this connection. Deadlines are checked every 250 ms instead of by one timer
   * per call (8 us). Not a `Set` of calls: its old backing tables kept finished calls alive (13 % of the time in GC).
   */
  waitingCall: TimedCall | undefined;
  /** The connection is being opened. */
  connecting: boolean;
  /** What it showed the upstream; undefined in a pool without certificate. */
  shown: ShownCertificate | undefined;
}

type ShownCertificate = Awaited<ReturnType<ClientCertificate['connector']>>;

/** A call that waits for an upstream, until its deadline. */
export interface TimedCall {
  /** In milliseconds, by `performance.now()`. */
  readonly deadline: number;
  expire(): void;
}

/** A call that waits for a connection. */
export interface PendingCall extends TimedCall {
  /** The call has ended before it got a connection. */
  readonly cancelled: boolean;
  onConnection(lease: Lease): void;
}

/**
 * New connections that may be opened at the same time: a burst of thousands of calls is served over a few hundred
 * connections, which is faster than to open thousands, and spares the API.
 */
const maximumConnecting = 128;

/** Connections that become idle beyond this number are closed. */
const maximumIdle = 512;

const deadlineCheckMs = 250;

export interface ConnectionPools {
  /** The connections to an API or a dev server; equal {@link Connection}s share them. */
  poolOf(connection: Connection): ConnectionPool;
  close(): Promise<void>;
}

export function createConnectionPools(events: Events): ConnectionPools {
  const pools = new Map<string, ConnectionPool>();
  return {
    poolOf(connection) {
      const { origin, host, connectTimeoutSeconds, caFile, socketPath, certFile, keyFile } = connection;
      // Nobody else's calls may go over a connection that shows a certificate.
      const key = JSON.stringify([origin, host, connectTimeoutSeconds, caFile, socketPath, certFile, keyFile]);
      const pool = pools.get(key) ?? createPool(connection, events);
      pools.set(key, pool);
      return pool;
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}

function createPool(connection: Connection, events: Events): ConnectionPool {
  const { origin, certFile, keyFile } = connection;
  const tls = tlsOptions(connection);
  const certificate =
    certFile === undefined || keyFile === undefined
      ? undefined
      : createClientCertificate({ certFile, keyFile }, tls, events);
  const plainConnect = certificate === undefined ? ownNames(buildConnector(tls)) : undefined;
  const options = {
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    maxHeaderSize: 32 * 1024,
    headersTimeout: 0,
    // Over HTTP/2 all calls would share a connection, and one client's aborts would break other clients' calls.
    allowH2: false,
  };
  const leases = new Set<Lease>();
  const idle: Lease[] = [];
  const queue: PendingCall[] = [];
  let connecting = 0;
  const deadlineCheck = setInterval(expireOverdue, deadlineCheckMs).unref();

  function open(call: PendingCall): void {
    const connect = plainConnect ?? ownNames((...connection) => connectCertified(lease, ...connection));
    const lease: Lease = {
      dispatcher: new Client(origin, { ...options, connect }),
      waitingCall: undefined,
      connecting: true,
      shown: undefined,
    };
    connecting++;
    leases.add(lease);
    call.onConnection(lease);
  }

  /** For a first connection, and for one in place of another that was closed. */
  function connectCertified(lease: Lease, target: buildConnector.Options, callback: buildConnector.Callback): void {
    detach(
      (async () => {
        const connector = await certificate?.connector();
        lease.shown = connector;
        connector?.connect(target, callback);
      })(),
      (error) => callback(error instanceof Error ? error : new Error('no certificate', { cause: error }), null),
    );
  }

  /** A connection that shows an earlier certificate carries no further call: tokens may be bound to the new one. */
  function isOutdated(lease: Lease): boolean {
    return certificate !== undefined && !certificate.isCurrent(lease.shown);
  }

  function nextInQueue(): PendingCall | undefined {
    let call = queue.shift();
    while (call?.cancelled === true) call = queue.shift();
    return call;
  }

  function close(lease: Lease): void {
    leases.delete(lease);
    // A connection that fails to close carries no call that the failure could hurt.
    detach(lease.dispatcher.close(), () => undefined);
  }

  function established(lease: Lease): void {
    if (!lease.connecting) return;
    lease.connecting = false;
    connecting--;
    const call = nextInQueue();
    if (call !== undefined) open(call);
  }

  function expireOverdue(): void {
    const now = performance.now();
    for (const { waitingCall } of leases) {
      if (waitingCall !== undefined && waitingCall.deadline < now) waitingCall.expire();
    }
    for (const call of queue) if (!call.cancelled && call.deadline < now) call.expire();
  }

  return {
    established,
    acquire(call) {
      // The connection released last is the most likely to be alive.
      let lease = idle.pop();
      while (lease !== undefined && isOutdated(lease)) {
        close(lease);
        lease = idle.pop();
      }
      if (lease !== undefined) call.onConnection(lease);
      else if (connecting < maximumConnecting) open(call);
      else queue.push(call);
    },
    release(lease) {
      if (lease.connecting) {
        close(lease);
        established(lease);
        return;
      }
      const call = nextInQueue();
      if (isOutdated(lease)) {
        close(lease);
        if (call !== undefined) open(call);
      } else if (call !== undefined) call.onConnection(lease);
      else if (idle.length < maximumIdle) idle.push(lease);
      else close(lease);
    },
    async destroy() {
      clearInterval(deadlineCheck);
      await Promise.all([...leases].map(({ dispatcher }) => dispatcher.destroy()));
    },
  };
}

function tlsOptions({ connectTimeoutSeconds, caFile, socketPath }: Connection): buildConnector.BuildOptions {
  return {
    timeout: connectTimeoutSeconds * 1000,
    allowH2: false,
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    ...(socketPath === undefined ? {} : { socketPath }),
  };
}

/** undici's server name is that of `Host`. Without it the certificate must be the target's, whatever `Host` says. */
function ownNames(connect: buildConnector.connector): buildConnector.connector {
  return (target: buildConnector.Options, callback: buildConnector.Callback): void => {
    const own = { ...target };
    delete own.servername;
    connect(own, (...result: [Error, null] | [null, Socket]) => {
      result[1]?.on('error', markReset);
      callback(...result);
    });
  };
}

/**
 * undici treats a reset as the end of a response that has neither length nor chunks, so a truncated response would look
 * complete. Changes the code before undici's own listener sees it: this listener must be added first.
 */
function markReset(error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET';
}
