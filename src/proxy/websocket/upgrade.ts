/**
 * WebSocket upgrades (RFC 6455 4). Accepts them from the own origin only, because browsers send no preflight for them
 * (RFC 6455 10.2). The upgrade request carries the route's token and the API decides; after the switch, frames pass in
 * both directions unchanged.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { refuseAmbiguous, useOriginForm } from '../../http/attach.ts';
import type { Config } from '../../config/config.ts';
import { BffError } from '../../http/errors.ts';
import { isAppPath } from '../../http/return-to.ts';
import type { RenderedProblem } from '../../http/problem.ts';
import type { ConnectionPool } from '../../upstream/connection-pool.ts';
import { cookieNames } from '../../session/cookies.ts';
import type { SessionEntry } from '../../session/sessions.ts';
import {
  createAuthorizedCalls,
  headersAnew,
  noSession,
  sessionFor,
  type ApiUpstream,
  type AuthorizedCall,
  type AuthorizedCallDeps,
} from '../authorized-call.ts';
import type { CallSlots } from '../call-slots.ts';
import { forward, type ForwardOutcome, type UpstreamRequest } from '../forward.ts';
import { createRequestHeaders, forwardedOrigin, responseHeaders } from '../headers.ts';
import type { OpenSockets } from './open-sockets.ts';
import { takeOverSocket, type UpgradeRequest } from './raw-response.ts';
import { hasBody, noBody } from '../request-body.ts';
import { sessionExpired } from '../../session/session.ts';
import { tokenIn } from '../../tokens/bearer.ts';
import { nothingSent } from '../../tokens/route-tokens.ts';
import type { UpstreamLimits } from '../upstream-errors.ts';
import { withoutTokenProtocol, withTokenProtocol } from './token-protocol.ts';

/** Silence after which the system probes the client: one that lost its network closes nothing. */
const keepAliveMs = 60_000;

/** Where WebSockets go. */
export interface WebSocketUpstream {
  readonly pool: ConnectionPool;
  readonly host: string;
  readonly limits: UpstreamLimits;
}

export interface UpgradeDeps extends AuthorizedCallDeps {
  readonly openSockets: OpenSockets;
  readonly slots: CallSlots;
  /** Takes the WebSockets of no API; undefined without a dev server. */
  readonly devServer: WebSocketUpstream | undefined;
  readonly renderFailed: (error: unknown, request: IncomingMessage) => RenderedProblem;
}

/** An upgrade of an API. */
interface UpgradeCall extends AuthorizedCall {
  readonly client: UpgradeRequest;
}

/** What an attempt asks of an upstream, and how it reads the response. */
interface Handshake extends Pick<
  UpstreamRequest,
  'upstream' | 'path' | 'headers' | 'headersAnew' | 'limits' | 'session' | 'filter'
> {
  /** The headers of the switch for the client, from the upstream's. */
  readonly switchHeaders: (headers: IncomingHttpHeaders) => string[];
}

export function createUpgrade(config: Config, deps: UpgradeDeps) {
  const { sessions, openSockets, bound, slots, devServer, resolveClientAddress, renderFailed } = deps;
  const calls = createAuthorizedCalls(config, deps);
  const send = calls.createSender<UpgradeCall>({ attempt, clientHeaders });
  const requestHeaders = createRequestHeaders();
  const anonymous = { names: cookieNames(config), authenticated: false };

  /**
   * For the server's `upgrade` event. Never throws: errors are answered on the socket.
   * @returns the status that was sent, undefined if the client disconnected before
   */
  return async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<number | undefined> {
    // Node removes its own listeners from a socket that it hands over; an error without a listener ends the process.
    socket.on('error', () => socket.destroy());
    if (refuseAmbiguous(request)) return undefined;
    useOriginForm(request);
    const client = takeOverSocket(request, socket, head);
    if (client === undefined) {
      socket.destroy();
      return undefined;
    }
    const { response } = client;
    try {
      const outcome = await connect(client);
      if (outcome === 'upgraded') return 101;
    } catch (error) {
      const problem = renderFailed(error, request);
      if (response.headersSent) response.destroy();
      else response.writeHead(problem.status, problem.headers).end(problem.body);
    }
    return response.headersSent ? response.statusCode : undefined;
  };

  async function connect(client: UpgradeRequest): Promise<ForwardOutcome> {
    const { url = '/', method, headers } = client.request;
    // Two independent headers say where an upgrade comes from. Clients that are no browser send only `Origin`.
    const site = headers['sec-fetch-site'] ?? 'same-origin';
    if (headers.origin !== config.origin || site !== 'same-origin') {
      throw new BffError(
        'request_forbidden',
        `WebSockets are opened from this app's own pages only, at ${config.origin}.`,
      );
    }
    if (!isWebSocket(headers) || method !== 'GET' || hasBody(client.request)) {
      throw new BffError('request_invalid', 'The only upgrade is a GET to WebSocket, without a body.');
    }
    const upstream = calls.find(url);
    if (upstream === undefined) return connectToDevServer(client, url);
    if (upstream.route.websocket) return connectToApi(client, upstream);
    throw new BffError('route_not_found', 'This route takes no WebSockets.');
  }

  async function connectToApi(client: UpgradeRequest, upstream: ApiUpstream): Promise<ForwardOutcome> {
    const { request, response } = client;
    const path = calls.upstreamTarget(request.url ?? '/', upstream.route);
    const { tokens } = upstream;
    const opening = tokens.session === 'unused' ? noSession : await sessions.open(request.headers.cookie);
    let session = sessionFor(opening, tokens);
    try {
      session = await calls.freshen(session, tokens);
      const { entry } = session ?? {};
      const socketCall = { client, request, response, upstream, opened: session, entry, path, body: noBody };
      return await send({ ...socketCall, ...nothingSent });
    } catch (error) {
      calls.addNewCookies({ request, response, opened: session });
      throw error;
    }
  }

  /** Holds a slot during the attempt, and for as long as a WebSocket is open. */
  async function attempt(
    call: UpgradeCall,
    credentials: readonly string[],
    filter: UpstreamRequest['filter'],
  ): Promise<ForwardOutcome> {
    const { client, upstream, entry, path } = call;
    const release = slots.acquire(upstream.route);
    let outcome: ForwardOutcome | undefined;
    try {
      outcome = await attemptHandshake(client, {
        upstream,
        path,
        headers: upstreamHeaders(call, credentials),
        headersAnew: headersAnew(call, credentials, upstreamHeaders),
        limits: upstream.route,
        session: entry,
        filter,
        switchHeaders: (headers) => {
          upstream.tokens.noteAnswer(headers);
          return clientHeaders(call, headers);
        },
      });
      return outcome;
    } finally {
      if (outcome === 'upgraded' && !client.socket.destroyed) client.socket.once('close', release);
      else release();
    }
  }

  function upstreamHeaders(call: UpgradeCall, credentials: readonly string[]): string[] {
    const headers = calls.upstreamHeaders(call, credentials);
    const { websocketTokenProtocol: prefix } = call.upstream.route;
    return prefix === undefined ? headers : withTokenProtocol(headers, prefix, tokenIn(credentials));
  }

  function clientHeaders(call: UpgradeCall, headers: IncomingHttpHeaders): string[] {
    const { websocketTokenProtocol: prefix } = call.upstream.route;
    return calls.clientHeaders(call, prefix === undefined ? headers : withoutTokenProtocol(headers, prefix));
  }

  async function connectToDevServer(client: UpgradeRequest, url: string): Promise<ForwardOutcome> {
    if (devServer === undefined || !url.startsWith('/') || !isAppPath(url, config)) {
      throw new BffError('route_not_found', 'There is no WebSocket here.');
    }
    const { rawHeaders, headers, socket } = client.request;
    return attemptHandshake(client, {
      upstream: { pool: devServer.pool, bound },
      path: url,
      headers: requestHeaders(rawHeaders, headers.connection, {
        host: devServer.host,
        forwardedFor: resolveClientAddress(socket.remoteAddress, headers['x-forwarded-for']).chain,
        ...forwardedOrigin(config.origin),
        credentials: [],
      }),
      limits: devServer.limits,
      session: undefined,
      filter: (_, answered) => devServerHeaders(answered),
      switchHeaders: devServerHeaders,
    });
  }

  function devServerHeaders(headers: IncomingHttpHeaders): string[] {
    return responseHeaders(headers, anonymous, []);
  }

  /** One attempt. The API's rejection is passed through unchanged: scripts cannot read the response of a failed upgrade. */
  function attemptHandshake(client: UpgradeRequest, { switchHeaders, ...request }: Handshake): Promise<ForwardOutcome> {
    return forward({
      ...request,
      method: 'GET',
      body: null,
      response: client.response,
      onUpgrade(headers, upstream) {
        const error = switchError(headers, request.session);
        if (error === undefined) openTunnel(client, upstream, switchHeaders(headers), request.session);
        else upstream.destroy();
        return error;
      },
    });
  }

  function openTunnel(
    { socket, detach }: UpgradeRequest,
    upstream: Duplex,
    headers: readonly string[],
    session: SessionEntry | undefined,
  ): void {
    detach();
    // Before the first await, so that bytes that arrived with the switch aren't lost.
    upstream.allowHalfOpen = true;
    socket.setKeepAlive(true, keepAliveMs);
    socket.write(switchingProtocols(headers), 'latin1');
    openSockets.add(socket, upstream, session);
  }
}

function isWebSocket(headers: IncomingHttpHeaders): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket';
}

/** Why a connection that the upstream has switched can't be used. */
function switchError(headers: IncomingHttpHeaders, session: SessionEntry | undefined): BffError | undefined {
  if (!isWebSocket(headers)) {
    return new BffError('upstream_unavailable', 'The API switched to another protocol than WebSocket.');
  }
  return session?.ended === undefined ? undefined : sessionExpired();
}

function switchingProtocols(headers: readonly string[]): string {
  let head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n';
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
