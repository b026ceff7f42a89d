/** The SPA's dev server behind Sallyport: everything that is neither ours nor an API's passes, without cookies or token. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { Connection, ConnectionPools } from '../upstream/connection-pool.ts';
import { cookieNames } from '../session/cookies.ts';
import { forward } from '../proxy/forward.ts';
import { requestHeaders, responseHeaders } from '../proxy/headers.ts';
import { streamBody } from '../proxy/request-body.ts';
import type { SessionBoundList } from '../proxy/session-bound.ts';
import type { UpstreamLimits } from '../proxy/upstream-errors.ts';
import type { WebSocketUpstream } from '../proxy/websocket/upgrade.ts';

/** A dev server compiles on demand. */
const devServerLimits: UpstreamLimits = {
  connectTimeoutSeconds: 10,
  timeoutSeconds: 120,
  idleTimeoutSeconds: 0,
};

function connectionTo({ origin }: URL): Connection {
  const { connectTimeoutSeconds } = devServerLimits;
  return { origin, connectTimeoutSeconds, caFile: undefined, socketPath: undefined };
}

export function createDevServerProxy(
  config: Config,
  target: URL,
  { pools, bound }: { readonly pools: ConnectionPools; readonly bound: SessionBoundList },
) {
  const pool = pools.poolOf(connectionTo(target));
  const upstream = { pool, bound };
  const origin = new URL(config.origin);
  const policy = { names: cookieNames(config.secure), authenticated: false };

  /** @throws {BffError} when the dev server can't be reached; nothing was sent then */
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // The dev server sees its own address as Host, and so can't tell a foreign page that rebound its name to this
    // machine's address (DNS rebinding) from the app.
    if (request.headers.host !== origin.host) {
      throw new BffError('request_invalid', `The dev server's files are served as ${config.origin} only.`);
    }
    const headers = requestHeaders(request.rawHeaders, request.headers.connection, {
      host: target.host,
      forwardedFor: request.socket.remoteAddress ?? '',
      forwardedHost: origin.host,
      forwardedProto: origin.protocol.slice(0, -1),
      authorization: undefined,
    });
    const { method = 'GET', url = '/' } = request;
    const body = streamBody(request);
    try {
      await forward({
        upstream,
        method,
        path: url,
        headers,
        body,
        limits: devServerLimits,
        session: undefined,
        response,
        filter: (_, answered) => responseHeaders(answered, policy, []),
      });
    } catch (error) {
      body?.destroy();
      throw error;
    }
  }

  return {
    handle,
    /** Where WebSockets go that are no API's: for hot module replacement. */
    webSockets: { pool, host: target.host, limits: devServerLimits } satisfies WebSocketUpstream,
  };
}
