/**
 * WebSocket upgrades (RFC 6455 4): believed only from the own origin, for no preflight guards them; the session's token
 * goes on the upgrade request, the API decides, and from then on frames pass both ways as they are.
 */
import { ServerResponse, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { refuseAmbiguous, useOriginForm } from '../../http/attach.ts';
import type { ApiRoute, Config } from '../../config/config.ts';
import { BffError } from '../../http/errors.ts';
import type { RenderedProblem } from '../../http/problem.ts';
import type { createClientAddressResolver } from '../../http/client-address.ts';
import type { ConnectionPool, ConnectionPools } from '../../upstream/connection-pool.ts';
import { cookieNames } from '../../session/cookies.ts';
import type { SessionEntry, Sessions } from '../../session/sessions.ts';
import type { Refresher } from '../../tokens/refresh.ts';
import { challengeOf, requireSession, isAboutScope, isStepUp } from '../api.ts';
import type { CallSlots } from '../call-slots.ts';
import { forward, type ForwardOutcome } from '../forward.ts';
import { requestHeaders, responseHeaders } from '../headers.ts';
import type { OpenSockets } from './open-sockets.ts';
import { hasBody } from '../request-body.ts';
import type { SessionBoundList } from '../session-bound.ts';
import { createRouting } from '../target.ts';
import type { UpstreamLimits } from '../upstream-errors.ts';
import { withoutTokenProtocol, withTokenProtocol } from './token-protocol.ts';

/** How long a client may keep its connection after a refusal. */
const lingerMs = 2000;
/** Silence after which the system asks whether a client is still there: one that lost its network says no goodbye. */
const keepAliveMs = 60_000;

/** Where WebSockets go. */
export interface WebSocketUpstream {
  readonly pool: ConnectionPool;
  readonly host: string;
  readonly limits: UpstreamLimits;
}

export interface UpgradeDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly pools: ConnectionPools;
  readonly openSockets: OpenSockets;
  readonly bound: SessionBoundList;
  readonly slots: CallSlots;
  /** Takes those that are no API's; undefined where there is no dev server. */
  readonly devServer: WebSocketUpstream | undefined;
  readonly resolveClientAddress: ReturnType<typeof createClientAddressResolver>;
  readonly renderFailed: (error: unknown, request: IncomingMessage) => RenderedProblem;
}

/** A client that asks for a WebSocket. */
interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** For whatever is answered but the switch. */
  readonly response: ServerResponse;
  /** Frees the socket from the response, for the tunnel. */
  readonly release: () => void;
}

/** What is asked of an upstream, and how its answer is taken. */
interface Handshake extends WebSocketUpstream {
  readonly path: string;
  readonly entry?: SessionEntry;
  readonly tokenPrefix?: string | undefined;
  readonly newCookies: () => readonly string[];
  /** Whether a refusal is to be tried again rather than shown. */
  readonly discards: (status: number, headers: IncomingHttpHeaders) => boolean;
}

export function createUpgrade(config: Config, deps: UpgradeDeps) {
  const { sessions, refresher, pools, openSockets, bound, slots, devServer, resolveClientAddress, renderFailed } = deps;
  const names = cookieNames(config.secure);
  const routing = createRouting(config.api);
  const origin = new URL(config.origin);

  /**
   * For the server's `upgrade` event. Never throws: a refusal is answered on the socket.
   * @returns the status that was answered, undefined where the client left before
   */
  return async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<number | undefined> {
    // Node takes its own listeners off a socket that it hands over: from here on, its errors are ours.
    socket.on('error', () => socket.destroy());
    if (refuseAmbiguous(request)) return undefined;
    useOriginForm(request);
    const visitor = takeOverSocket(request, socket, head);
    if (visitor === undefined) {
      socket.destroy();
      return undefined;
    }
    const { response } = visitor;
    try {
      const outcome = await connect(visitor);
      if (outcome === 'upgraded') return 101;
    } catch (error) {
      const failure = renderFailed(error, request);
      if (response.headersSent) response.destroy();
      else response.writeHead(failure.status, failure.headers).end(failure.body);
    }
    return response.headersSent ? response.statusCode : undefined;
  };

  async function connect(visitor: UpgradeRequest): Promise<ForwardOutcome> {
    const { url = '/', method, headers } = visitor.request;
    if (headers.origin !== config.origin) {
      throw new BffError('request_forbidden', 'WebSockets are opened from the own origin only.');
    }
    if (!isWebSocket(headers) || method !== 'GET' || hasBody(visitor.request)) {
      throw new BffError('request_invalid', 'The only upgrade is a GET to WebSocket, without a body.');
    }
    const route = routing.find(url);
    if (route?.websocket === true) return connectToApi(visitor, route);
    if (route === undefined) return connectToDevServer(visitor, url);
    throw new BffError('route_not_found', 'This route takes no WebSockets.');
  }

  async function connectToApi(visitor: UpgradeRequest, route: ApiRoute): Promise<ForwardOutcome> {
    const { url = '/', headers } = visitor.request;
    const path = routing.upstreamTarget(url, route);
    const opened = requireSession(await sessions.open(headers.cookie));
    const { entry } = opened;
    await refresher.refreshIfDue(entry);
    await sessions.touch(entry);
    const newCookies = () => sessions.newCookies(opened, headers.cookie);
    const handshake: Handshake = {
      pool: pools.poolOf({ ...route, origin: route.target.origin }),
      host: route.target.host,
      path,
      limits: route,
      entry,
      tokenPrefix: route.websocketTokenProtocol,
      newCookies,
      discards: (status, answered) =>
        status === 401 && asksForNewToken(answered) && refresher.canRefreshAfterRejection(entry, route.path),
    };
    try {
      const { generation: used } = entry.session;
      const outcome = await attempt(handshake);
      if (outcome !== 'discarded') return outcome;
      await refresher.refreshAfterRejection(entry, used);
      return await attempt({ ...handshake, discards: recordRejection });
    } catch (error) {
      // A new session must reach the browser with whatever answer there is.
      if (!visitor.response.headersSent) visitor.response.setHeader('set-cookie', newCookies());
      throw error;
    }

    /** One try, counted among the calls at the API: a WebSocket for as long as it is open. */
    async function attempt(asked: Handshake): Promise<ForwardOutcome> {
      const release = slots.acquire(route);
      let outcome: ForwardOutcome | undefined;
      try {
        outcome = await shake(visitor, asked);
        return outcome;
      } finally {
        if (outcome === 'upgraded' && !visitor.socket.destroyed) visitor.socket.once('close', release);
        else release();
      }
    }

    /** A token that is refused when new is refused for other reasons than its age: no third try. */
    function recordRejection(status: number): boolean {
      if (status === 401) refresher.recordRejection(entry, route.path);
      return false;
    }
  }

  async function connectToDevServer(visitor: UpgradeRequest, url: string): Promise<ForwardOutcome> {
    const own = url === config.basePath || url.startsWith(`${config.basePath}/`);
    if (devServer === undefined || own || !url.startsWith('/')) {
      throw new BffError('route_not_found', 'There is no WebSocket here.');
    }
    return shake(visitor, {
      ...devServer,
      path: url,
      newCookies: () => [],
      discards: () => false,
    });
  }

  /** One try. A refusal is shown as it was: scripts can't read one, so wording it anew would help nobody. */
  function shake(visitor: UpgradeRequest, handshake: Handshake): Promise<ForwardOutcome> {
    const { pool, path, limits, entry } = handshake;
    return forward({
      upstream: { pool, bound },
      method: 'GET',
      path,
      headers: upstreamHeaders(visitor.request, handshake),
      body: null,
      limits,
      session: entry,
      response: visitor.response,
      filter: (status, headers) =>
        handshake.discards(status, headers) ? undefined : clientHeaders(headers, handshake),
      onUpgrade(headers, upstream) {
        const rejection = rejectionOf(headers, entry);
        if (rejection === undefined) open(visitor, upstream, clientHeaders(headers, handshake), entry);
        else upstream.destroy();
        return rejection;
      },
    });
  }

  function upstreamHeaders(request: IncomingMessage, { host, entry, tokenPrefix }: Handshake): string[] {
    const token = entry?.session.tokens.accessToken;
    const headers = requestHeaders(request.rawHeaders, request.headers.connection, {
      host,
      forwardedFor: resolveClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost: origin.host,
      forwardedProto: origin.protocol.slice(0, -1),
      authorization: token === undefined ? undefined : `Bearer ${token}`,
    });
    return token === undefined || tokenPrefix === undefined ? headers : withTokenProtocol(headers, tokenPrefix, token);
  }

  function clientHeaders(headers: IncomingHttpHeaders, { entry, tokenPrefix, newCookies }: Handshake): string[] {
    const shown = tokenPrefix === undefined ? headers : withoutTokenProtocol(headers, tokenPrefix);
    return responseHeaders(shown, { names, authenticated: entry !== undefined }, newCookies());
  }

  function open(
    visitor: UpgradeRequest,
    upstream: Duplex,
    headers: readonly string[],
    entry: SessionEntry | undefined,
  ): void {
    const { socket } = visitor;
    visitor.release();
    // Before the first await, so that what came along with the switch isn't lost.
    upstream.allowHalfOpen = true;
    asSocket(socket).setKeepAlive(true, keepAliveMs);
    socket.write(switchingProtocols(headers), 'latin1');
    openSockets.add(socket, upstream, entry);
  }
}

/**
 * Takes a socket from the server. Answers go through a response, which frames them; the switch doesn't.
 * @returns undefined where the socket still owes the answer to an earlier, pipelined request
 */
function takeOverSocket(request: IncomingMessage, socket: Duplex, head: Buffer): UpgradeRequest | undefined {
  if (head.length > 0) socket.unshift(head);
  const response = new ServerResponse(request);
  try {
    response.assignSocket(asSocket(socket));
  } catch {
    return undefined;
  }
  response.shouldKeepAlive = false;
  // Whoever ends its side now has left. Bytes that come early wait in the socket for the upstream.
  const leave = () => socket.destroy();
  // The server has let the socket go and no longer says this for it.
  const passDrain = () => response.emit('drain');
  const free = () => socket.off('end', leave).off('drain', passDrain);
  socket.on('end', leave).on('drain', passDrain);
  response.once('finish', () => {
    free();
    closeAfterResponse(socket);
  });
  return {
    request,
    socket,
    response,
    release() {
      free();
      response.detachSocket(asSocket(socket));
    },
  };
}

/** Reads on for a while: bytes left unread would make the system reset the connection, and the answer might be lost. */
function closeAfterResponse(socket: Duplex): void {
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.once('close', () => clearTimeout(timer));
}

/** `node:http` hands its sockets over as what they are, but types promise less. */
function asSocket(socket: Duplex): Socket {
  return socket as Socket;
}

/** Scope and strength of the sign-in stay what they are when a token is new (RFC 6750 3.1, RFC 9470 3). */
function asksForNewToken(headers: IncomingHttpHeaders): boolean {
  const challenge = challengeOf(headers);
  return !isAboutScope(challenge) && !isStepUp(challenge);
}

function isWebSocket(headers: IncomingHttpHeaders): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket';
}

/** Why a connection that was switched isn't wanted. */
function rejectionOf(headers: IncomingHttpHeaders, entry: SessionEntry | undefined): BffError | undefined {
  if (!isWebSocket(headers)) {
    return new BffError('upstream_unavailable', 'The API switched to another protocol than WebSocket.');
  }
  return entry?.ended === true ? new BffError('session_expired', 'The session has ended. Sign in again.') : undefined;
}

function switchingProtocols(headers: readonly string[]): string {
  let head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n';
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
