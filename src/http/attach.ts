/**
 * What a server of `node:http` leaves to its owner: upgrades, calls that ask before they send a body, requests that
 * others on the way may read differently, and whatever errors its sockets and responses emit from then on.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { detach } from '../detached.ts';

/** Sees what a server is asked; for a log. */
export interface ServerObserver {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  /** @param status undefined where the client left before there was one */
  onUpgrade(request: IncomingMessage, status: number | undefined, sinceMs: number): void;
}

export interface ServerHandlers {
  readonly listener: (request: IncomingMessage, response: ServerResponse) => void;
  /** Calls of an API ask for their body when it is wanted (`Expect: 100-continue`, RFC 9110 10.1.1). */
  readonly isApiCall: (request: IncomingMessage) => boolean;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<unknown>;
  /** Whether an upgrade is somebody else's, who also listens on this server. */
  readonly leavesUpgrade: (request: IncomingMessage) => boolean;
}

/** `shouldUpgradeCallback` came with Node 24.9 and is newer than the types. Before it, each upgrade is an event. */
type UpgradingServer = Server & { shouldUpgradeCallback?: (request: IncomingMessage) => boolean };

/** Puts the handlers on a server. */
export function attachTo(server: UpgradingServer, handlers: ServerHandlers): void {
  const { listener, isApiCall, upgrade, leavesUpgrade } = handlers;
  server.on('request', listener);
  // A proxied call asks for its body when it is wanted, so that a refused upload isn't sent at all (RFC 9110 10.1.1).
  server.on('checkContinue', (request, response) => {
    if (!isApiCall(request)) response.writeContinue();
    server.emit('request', request, response);
  });
  server.on('upgrade', (request, socket, head) => {
    if (leavesUpgrade(request) && server.listenerCount('upgrade') > 1) return;
    detach(upgrade(request, socket, head), () => socket.destroy());
  });
  // A client may pipeline an upgrade behind calls that are not answered yet. RFC 9110 7.8 lets a server ignore it.
  server.shouldUpgradeCallback = (request) => asksForWebSocket(request) && !owesResponse(request.socket);
}

/** Whether a request is for the `upgrade` event. Other protocols, which some clients offer with every call, are no reason. */
function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase().includes('websocket') === true;
}

/**
 * Whether a response to an earlier request is under way. `node:http` keeps it here, which nothing documents; to remember
 * it ourselves would keep the last request's headers for as long as the connection is open. If the field goes some day,
 * such an upgrade ends its connection, and nothing more.
 */
function owesResponse(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage instanceof Object;
}

/**
 * Refuses what others on the way may read differently and Node lets pass: Host said twice (RFC 9112 3.2), a version
 * other than 1. Nothing more on that connection is answered, for it may be the rest of somebody's smuggled request.
 */
export function refuseAmbiguous({ rawHeaders, httpVersionMajor, socket }: IncomingMessage): boolean {
  if (socket.writableEnded) return true;
  if (httpVersionMajor === 1 && rawHeaders.findIndex(isHost) === rawHeaders.findLastIndex(isHost)) return false;
  socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n', () => socket.destroy());
  return true;
}

function isHost(name: string, index: number): boolean {
  return index % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host';
}

const absoluteForm = /^https?:\/\/([^/?#\\@]+)/i;

/**
 * The request's target in origin-form. Servers must take the absolute form, too (RFC 9112 3.2.2); one that names another
 * host than the Host header stays as it is, and leads nowhere.
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
