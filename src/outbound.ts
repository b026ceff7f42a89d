/** How Sallyport connects to others: undici agents with explicit limits, one for the provider, one for the APIs. */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Agent, buildConnector, fetch as undiciFetch, Pool } from 'undici';

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

export interface Outbound {
  /** For the provider only: follows no redirect unless asked, bounded in size. */
  readonly providerFetch: typeof fetch;
  /** The connections to an API or a dev server. */
  poolOf(connection: Connection): Pool;
  close(): Promise<void>;
}

export function createOutbound(): Outbound {
  const provider = new Agent({ connectTimeout: 5000, maxResponseSize: maximumProviderResponseBytes, allowH2: false });
  const pools = new Map<string, Pool>();
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

function createPool(connection: Connection): Pool {
  return new Pool(connection.origin, {
    connect: connectorOf(connection),
    keepAliveTimeout: upstreamKeepAliveMs,
    keepAliveMaxTimeout: upstreamKeepAliveMs,
    maxHeaderSize: 32 * 1024,
    allowH2: connection.http2,
  });
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
