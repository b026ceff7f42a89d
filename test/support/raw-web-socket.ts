/** WebSocket connections by hand: what `ws` hides, such as half-closes, bytes in one write, and breaks within a frame. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { onTestFinished } from 'vitest';
import type { BrowserClient } from './browser-client.ts';
import type { SocketApi, SocketWorld } from './web-socket.ts';
import { within, type World } from './world.ts';

/** A client that speaks by hand: the upgrade request with the browser's cookies, and what follows it in one write. */
export function rawClient(
  world: World & { readonly browser: BrowserClient },
  following: Buffer = Buffer.alloc(0),
): Socket {
  const { port } = new URL(world.origin);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => socket.destroy());
  const head = [
    'GET /api/raw HTTP/1.1',
    `host: ${new URL(world.origin).host}`,
    `origin: ${world.origin}`,
    `cookie: ${world.browser.cookieHeader() ?? ''}`,
    'connection: keep-alive, Upgrade',
    'upgrade: WebSocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
  ].join('\r\n');
  socket.write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), following]));
  return socket;
}

export const switched = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

/** The connection of the next upgrade, unanswered. */
export function nextUpgrade(sockets: SocketApi): Promise<Duplex> {
  const taken = new Promise<Duplex>((resolve) => {
    sockets.handle((_, socket) => {
      resolve(socket);
      return 'taken';
    });
  });
  return within(5, taken, 'the API had no upgrade');
}

/** Whether the other end of a connection is gone altogether: then it is reset by what is still sent there. */
export async function isCut(socket: Duplex): Promise<boolean> {
  if (socket.destroyed) return true;
  const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
  const writing = setInterval(() => socket.write('x'), 20);
  await within(2, closed, 'the connection is still there').finally(() => clearInterval(writing));
  return true;
}

/** Joins a raw client with a raw API. `early` comes from the API in one write with its answer. */
export async function rawPair(
  world: SocketWorld,
  following?: Buffer,
  early = '',
): Promise<{ client: Socket; atApi: Duplex }> {
  const taken = nextUpgrade(world.sockets);
  const client = rawClient(world, following);
  const atApi = await taken;
  atApi.write(`${switched}${early}`);
  return { client, atApi };
}

/** Collects what comes until the end. */
export function everything(socket: Duplex): { readonly text: () => string; readonly ended: Promise<unknown> } {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { text: () => Buffer.concat(chunks).toString('latin1'), ended: once(socket, 'end') };
}
