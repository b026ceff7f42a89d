/** WebSockets on both ends: an API that takes them, and a client that opens them as a browser does. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer, type ClientOptions, type RawData, type ServerOptions } from 'ws';
import type { ConfigInput } from '../../src/config/config.ts';
import type { TestApi } from './api.ts';
import type { BrowserClient } from './browser-client.ts';
import {
  startSignedIn,
  within,
  type SignedInOptions,
  type SignedInWorld,
  type World,
  type WorldOptions,
} from './world.ts';

/** One that the API has accepted. */
export interface Accepted {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
}

export interface SocketApi {
  /** Every upgrade request, refused ones included. */
  readonly requests: IncomingMessage[];
  /** The next socket that is accepted, or was and has not been asked for. */
  readonly accepted: () => Promise<Accepted>;
  /** Takes upgrades raw; `undefined` from the handler lets the next ones be accepted again. */
  readonly handle: (handler: ((request: IncomingMessage, socket: Duplex) => 'taken' | undefined) | undefined) => void;
}

export interface AcceptOptions extends ServerOptions {
  readonly echo?: boolean;
  /** Further header lines of the switch. */
  readonly headerLines?: readonly string[];
}

/** Makes the API accept WebSockets and echo what comes, until the test decides otherwise. */
export function acceptWebSockets(api: TestApi, options: AcceptOptions = {}): SocketApi {
  const { echo = true, headerLines = [], ...serverOptions } = options;
  const server = new WebSocketServer({ noServer: true, ...serverOptions });
  server.on('headers', (lines) => lines.push(...headerLines));
  const requests: IncomingMessage[] = [];
  const waiting: Accepted[] = [];
  const askers: ((accepted: Accepted) => void)[] = [];
  let handler: ((request: IncomingMessage, socket: Duplex) => 'taken' | undefined) | undefined;
  api.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    requests.push(request);
    socket.on('error', () => socket.destroy());
    if (handler?.(request, socket) === 'taken') return;
    server.handleUpgrade(request, socket, head, (accepted) => {
      accepted.on('error', () => accepted.terminate());
      if (echo) accepted.on('message', (data, isBinary) => accepted.send(data, { binary: isBinary }));
      const asker = askers.shift();
      if (asker === undefined) waiting.push({ socket: accepted, request });
      else asker({ socket: accepted, request });
    });
  });
  return {
    requests,
    accepted() {
      const first = waiting.shift();
      if (first !== undefined) return Promise.resolve(first);
      return within(5, new Promise((resolve) => askers.push(resolve)), 'the API accepted no WebSocket');
    },
    handle(next) {
      handler = next;
    },
  };
}

export interface SocketWorld extends SignedInWorld {
  readonly sockets: SocketApi;
}

/** Starts a world in which somebody has signed in, and whose API takes WebSockets. */
export async function startSocketWorld(
  options: SignedInOptions = {},
  apiOptions: ServerOptions & { echo?: boolean } = {},
): Promise<SocketWorld> {
  const world = await startSignedIn(options);
  return Object.assign(world, { sockets: acceptWebSockets(world.api, apiOptions) });
}

export interface OpenOptions extends ClientOptions {
  readonly protocols?: string[];
  readonly path?: string;
}

/** Begins to open a socket with the client's cookies, as a script on the app's page does. */
export function beginSocket(world: World, client: BrowserClient, options: OpenOptions = {}): WebSocket {
  const { protocols = [], path = '/api/socket', headers, ...rest } = options;
  const cookie = client.cookieHeader();
  // Whatever its name, the origin is this machine.
  const url = new URL(path, `ws://127.0.0.1:${world.server.port}`);
  return new WebSocket(url, protocols, {
    origin: world.origin,
    ...rest,
    headers: { host: new URL(world.origin).host, ...(cookie === undefined ? {} : { cookie }), ...headers },
  });
}

/** What the upgrade was answered with, and the socket. */
export interface Opened {
  readonly socket: WebSocket;
  readonly answer: IncomingMessage;
}

export async function openSocket(world: World, client: BrowserClient, options: OpenOptions = {}): Promise<Opened> {
  const socket = beginSocket(world, client, options);
  const upgraded = once(socket, 'upgrade') as Promise<[IncomingMessage]>;
  await within(5, once(socket, 'open'), 'the WebSocket did not open');
  const [answer] = await upgraded;
  return { socket, answer };
}

/** What a refused upgrade was answered with. */
export interface Refusal {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly setCookies: string[];
  readonly body: string;
}

export async function refusalOf(socket: WebSocket): Promise<Refusal> {
  const [, response] = (await within(5, once(socket, 'unexpected-response'), 'no refusal came')) as [
    unknown,
    IncomingMessage,
  ];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk));
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    setCookies: response.headers['set-cookie'] ?? [],
    body: Buffer.concat(chunks).toString(),
  };
}

/** The next message. */
export async function nextMessage(socket: WebSocket): Promise<Buffer> {
  const [data] = (await within(5, once(socket, 'message'), 'no message came')) as [RawData];
  if (!Buffer.isBuffer(data)) throw new TypeError('ws gives buffers unless told otherwise');
  return data;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

/** How the socket was closed. */
export async function closeOf(socket: WebSocket, seconds = 5): Promise<Closed> {
  const [code, reason] = (await within(seconds, once(socket, 'close'), 'the socket stayed open')) as [number, Buffer];
  return { code, reason: reason.toString() };
}

/** A world whose route to the API has these keys, too. */
export function withRoute(keys: Partial<NonNullable<ConfigInput['api']>[number]>): WorldOptions {
  return { config: (base) => ({ ...base, api: (base.api ?? []).map((route) => Object.assign({}, route, keys)) }) };
}

export function tokenOf(request: IncomingMessage | undefined): string {
  return request?.headers.authorization?.replace('Bearer ', '') ?? '';
}

/** Answers the next upgrades raw. */
export function refuseUpgrades(sockets: SocketApi, answer: string, times = Infinity): void {
  let left = times;
  sockets.handle((_, socket) => {
    if (left-- <= 0) return undefined;
    socket.end(answer);
    return 'taken';
  });
}
