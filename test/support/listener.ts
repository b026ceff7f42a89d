/**
 * HTTP listeners on loopback that a test can close at once, sockets included, and open again on the same port.
 */
import { randomInt } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';

export interface Listener {
  readonly port: number;
  readonly server: Server;
  /** Stops listening and destroys every socket. */
  readonly close: () => Promise<void>;
  /** Listens again on the port it had. */
  readonly reopen: () => Promise<void>;
}

/** Starts an HTTP server on a free loopback port (or on `port`). */
export async function startListener(handler: RequestListener, port = 0): Promise<Listener> {
  const server = createServer({ maxHeaderSize: 131_072, keepAliveTimeout: 60_000 }, handler);
  const sockets = trackSockets(server);
  const actualPort = await listen(server, port);
  return {
    port: actualPort,
    server,
    close: () => closeNow(server, sockets),
    reopen: async () => {
      await listen(server, actualPort);
    },
  };
}

/** Each process of the test run has ports of its own, below the range that the system gives to outgoing connections. */
const portsPerProcess = 3000;
const firstPort = 20_000 + ((Number(process.env['VITEST_POOL_ID'] ?? 1) - 1) % 4) * portsPerProcess;
const taken = new Set<number>();

/**
 * Binds to 127.0.0.1 and answers the port; 0 takes any free one that nobody had before, so that nothing takes the port
 * while a test has its listener closed for a moment.
 */
export async function listen(server: TcpServer, port: number): Promise<number> {
  if (port !== 0) return bind(server, port);
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const candidate = randomInt(firstPort, firstPort + portsPerProcess);
    if (taken.has(candidate)) continue;
    taken.add(candidate);
    try {
      return await bind(server, candidate);
    } catch (error) {
      if (!isInUse(error)) throw error;
    }
  }
  throw new Error(`no free port from ${firstPort} on`);
}

function bind(server: TcpServer, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Room for the connections of a storm while this process is busy: beyond it the system drops them for a second.
    server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => {
      server.off('error', reject);
      resolve(port);
    });
  });
}

function isInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

/** The set of the server's open sockets, kept up to date. */
export function trackSockets(server: TcpServer): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

/** Closes the server and every open socket; resolves when the port is free. */
export function closeNow(server: TcpServer, sockets: Set<Socket>): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      resolve();
      return;
    }
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}

/** A loopback port that was free a moment ago, for servers that must know their origin before they start. */
export async function freePort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server, 0);
  await closeNow(server, new Set());
  return port;
}

/** Ends a response whose handler failed, in a way that the client notices; a fault is told unless the client has gone. */
export function abortWith(response: ServerResponse): (error: unknown) => void {
  return (error) => {
    if (response.req.socket.destroyed) return;
    process.stderr.write(
      `test support, ${response.req.method} ${response.req.url}: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    response.destroy();
  };
}

/** Reads the whole body of a request. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Whether somebody listens on a loopback port. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
