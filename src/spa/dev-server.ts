/**
 * The SPA's dev server behind Sallyport: every request that is neither Sallyport's nor an API's passes to it, without
 * cookies or token.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { Connection, ConnectionPools } from '../upstream/connection-pool.ts';
import { cookieNames } from '../session/cookies.ts';
import type { SessionBoundList } from '../session/session-bound.ts';
import { forward } from '../proxy/forward.ts';
import { createRequestHeaders, forwardedOrigin, responseHeaders } from '../proxy/headers.ts';
import { createPublicAddresses } from '../proxy/public-addresses.ts';
import { streamBody } from '../proxy/request-body.ts';
import type { UpstreamLimits } from '../proxy/upstream-errors.ts';
import type { WebSocketUpstream } from '../proxy/websocket/upgrade.ts';

/** A dev server compiles on demand. */
function limitsOf({ origin }: URL): UpstreamLimits {
  const remedy = 'Start it, or correct its address (SALLYPORT_SPA, spa.devServer).';
  return {
    connectTimeoutSeconds: 10,
    timeoutSeconds: 120,
    idleTimeoutSeconds: 0,
    peer: { name: `The dev server ${origin}`, remedy },
  };
}

function connectionTo({ origin, host }: URL, { connectTimeoutSeconds }: UpstreamLimits): Connection {
  return { origin, host, connectTimeoutSeconds, caFile: undefined, socketPath: undefined };
}

export function createDevServerProxy(
  config: Config,
  target: URL,
  { pools, bound }: { readonly pools: ConnectionPools; readonly bound: SessionBoundList },
) {
  const limits = limitsOf(target);
  const pool = pools.poolOf(connectionTo(target, limits));
  const upstream = { pool, bound };
  const requestHeaders = createRequestHeaders();
  const forwarded = forwardedOrigin(config.origin);
  const policy = { names: cookieNames(config), authenticated: false };
  const addresses = createPublicAddresses(
    { path: '', target: new URL('/', target), preserveHost: false },
    config.origin,
  );

  /** @throws {BffError} if the dev server can't be reached; nothing has been sent then */
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // The dev server gets its own address as Host, and so can't tell the app from a foreign page whose name resolves to
    // this machine's address (DNS rebinding).
    if (request.headers.host !== forwarded.forwardedHost) {
      throw new BffError('request_invalid', `The dev server's files are served as ${config.origin} only.`);
    }
    const body = streamBody(request);
    try {
      await forward({
        upstream,
        method: request.method ?? 'GET',
        path: request.url ?? '/',
        headers: requestHeaders(request.rawHeaders, request.headers.connection, {
          host: target.host,
          forwardedFor: request.socket.remoteAddress ?? '',
          ...forwarded,
          credentials: [],
        }),
        body,
        limits,
        session: undefined,
        response,
        filter: (_, headers) => responseHeaders(addresses.mapHeaders(headers), policy, []),
      });
    } catch (error) {
      body?.destroy();
      throw error;
    }
  }

  return {
    handle,
    /** Where WebSockets go that are no API's: for hot module replacement. */
    webSockets: { pool, host: target.host, limits } satisfies WebSocketUpstream,
  };
}
