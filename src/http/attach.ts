/**
 * Attaches handlers to a server of `node:http`, and handles what the server leaves to its owner: upgrades (RFC 9110 7.8),
 * `Expect: 100-continue` (RFC 9110 10.1.1), and requests that an intermediary may read differently (RFC 9112 11.2).
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { detach } from '../detached.ts';

/** Observes a server's requests, for a log. */
export interface ServerObserver {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  /** @param status undefined if the client disconnected before one was sent */
  onUpgrade(request: IncomingMessage, status: number | undefined, sinceMs: number): void;
}

export interface ServerHandlers {
  readonly listener: (request: IncomingMessage, response: ServerResponse) => void;
  /** The proxy sends 100 (Continue) for these calls itself, once it needs the body (RFC 9110 10.1.1). */
  readonly isApiCall: (request: IncomingMessage) => boolean;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<unknown>;
  /** Whether an upgrade is for another listener of this server. */
  readonly leavesUpgrade: (request: IncomingMessage) => boolean;
}

/** `shouldUpgradeCallback` is newer than the types (Node 24.9). In older versions each upgrade is an event. */
type UpgradingServer = Server & { shouldUpgradeCallback?: (request: IncomingMessage) => boolean };

/** Attaches the handlers to a server. */
export function attachTo(server: UpgradingServer, handlers: ServerHandlers): void {
  const { listener, isApiCall, upgrade, leavesUpgrade } = handlers;
  server.on('request', listener);
  // The proxy asks for a call's body when it needs it, so that a rejected upload isn't sent at all (RFC 9110 10.1.1).
  server.on('checkContinue', (request, response) => {
    if (!isApiCall(request)) response.writeContinue();
    server.emit('request', request, response);
  });
  server.on('upgrade', (request, socket, head) => {
    if (leavesUpgrade(request) && server.listenerCount('upgrade') > 1) return;
    detach(upgrade(request, socket, head), () => socket.destroy());
  });
  server.shouldUpgradeCallback = (request) => {
    // A client may pipeline an upgrade behind calls without a response yet. A server may ignore it (RFC 9110 7.8).
    if (asksForWebSocket(request) && !owesResponse(request.socket)) return true;
    // Node then drops what came in the same packet behind this request, and would read on amid the next one.
    endConnectionAfter(request);
    return false;
  };
}

/** Whether a request is for the `upgrade` event. Some clients offer other protocols with every call; those are ignored. */
function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase().includes('websocket') === true;
}

/**
 * Whether a response to an earlier request is in progress. `node:http` stores it in this undocumented field; a field of
 * Sallyport's own would hold the last request's headers for as long as the connection is open. If a later Node removes
 * the field, such an upgrade ends its connection, and nothing else changes.
 */
function owesResponse(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage instanceof Object;
}

const lastRequest: unique symbol = Symbol('lastRequest');
const waiting: unique symbol = Symbol('waiting');
type ClientSocket = Socket & { [lastRequest]?: IncomingMessage; [waiting]?: number };

/** Nothing that comes behind this request on its connection is read as a request. */
function endConnectionAfter(request: IncomingMessage): void {
  const socket: ClientSocket = request.socket;
  socket[lastRequest] ??= request;
}

/** Requests on one connection that wait for the response to an earlier one. A client that sends more is cut off. */
const maximumWaiting = 100;

/**
 * Calls `handle` when the responses to all earlier requests of the connection are complete. Pipelined calls that were
 * made at once would hold connections and memory for a client that may have left: Node does not read, and so does not
 * notice, while responses pile up.
 */
export function inTurn(
  request: IncomingMessage,
  response: ServerResponse,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): void {
  if (response.socket !== null) {
    handle(request, response);
    return;
  }
  const socket: ClientSocket = request.socket;
  socket[waiting] = (socket[waiting] ?? 0) + 1;
  if (socket[waiting] > maximumWaiting || fillsBuffer(request)) {
    socket.destroy();
    return;
  }
  response.once('socket', () => {
    socket[waiting] = (socket[waiting] ?? 1) - 1;
    handle(request, response);
  });
}

/** Whether a body that waits to be read would stop Node from reading the connection. No browser pipelines uploads. */
function fillsBuffer({ headers, readableHighWaterMark }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) >= readableHighWaterMark;
}

/**
 * Rejects requests that Node accepts and an intermediary may read differently: with two Host headers (RFC 9112 3.2), or of
 * a version other than 1. Answers nothing more on that connection, because it may be the rest of a smuggled request.
 * @returns whether the request was rejected, or comes behind one after which nothing is read
 */
export function refuseAmbiguous(request: IncomingMessage, response?: ServerResponse): boolean {
  const { rawHeaders, httpVersionMajor } = request;
  const socket: ClientSocket = request.socket;
  const last = socket[lastRequest];
  if (socket.writableEnded || (last !== undefined && last !== request)) return true;
  if (last === request && response !== undefined) response.shouldKeepAlive = false;
  if (httpVersionMajor === 1 && !namesTwoHosts(rawHeaders)) return false;
  endConnectionAfter(request);
  if (response === undefined) {
    socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
  } else {
    response.shouldKeepAlive = false;
    response.writeHead(400, { 'content-length': 0 }).end();
  }
  return true;
}

/** A loop, because it runs for every request and a closure's calls cost more than the comparisons. */
function namesTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  return hosts > 1;
}

const absoluteForm = /^https?:\/\/([^/?#\\@]+)/i;

/**
 * Changes the request's target to origin-form. Servers must accept the absolute form, too (RFC 9112 3.2.2); if it names
 * another host than the Host header, it stays unchanged and matches no path.
 */
export function useOriginForm(request: IncomingMessage): string {
  const { url = '/' } = request;
  if (url.startsWith('/')) return url;
  const [prefix = '', host] = absoluteForm.exec(url) ?? [];
  if (host === undefined || host.toLowerCase() !== request.headers.host?.toLowerCase()) return url;
  const rest = url.slice(prefix.length);
  request.url = rest.startsWith('/') ? rest : `/${rest}`;
  return request.url;
}
