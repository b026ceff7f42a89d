/**
 * HTTP spoken by hand, for what no well-behaved client or server would send.
 */
import { connect, createServer, type Socket } from 'node:net';
import { closeNow, listen, trackSockets } from './listener.ts';

/**
 * Sends bytes to a loopback port and answers every byte that comes back until the other side closes, or until nothing
 * has come for `quietMilliseconds` (for servers that keep the connection open).
 */
export function rawRequest(port: number, bytes: string | Buffer, quietMilliseconds = 500): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setTimeout(quietMilliseconds, () => socket.destroy());
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.once('close', () => resolve(Buffer.concat(chunks)));
  });
}

/** The status codes of the responses in what `rawRequest` answered. */
export function rawStatuses(bytes: Buffer): number[] {
  return [...bytes.toString('latin1').matchAll(/HTTP\/1\.[01] (\d{3})/g)].map((match) => Number(match[1]));
}

export interface RawServer {
  readonly url: string;
  readonly port: number;
  /** What each connection has sent so far. */
  readonly received: Buffer[];
  readonly close: () => Promise<void>;
}

/**
 * Starts a TCP server on loopback. `handler` is called once per connection, when the first bytes have come, and writes
 * whatever it likes.
 */
export async function startRawServer(handler: (socket: Socket, firstBytes: Buffer) => void): Promise<RawServer> {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    const index = received.push(Buffer.alloc(0)) - 1;
    socket.once('data', (chunk) => handler(socket, chunk));
    socket.on('data', (chunk) => {
      received[index] = Buffer.concat([received[index] ?? Buffer.alloc(0), chunk]);
    });
    // The peer is expected to hang up on what it is sent here.
    socket.on('error', () => socket.destroy());
  });
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  return { url: `http://127.0.0.1:${port}`, port, received, close: () => closeNow(server, sockets) };
}
