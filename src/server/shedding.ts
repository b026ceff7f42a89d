/**
 * Moves connections from a worker that has more than its share. The system gives a connection to whichever worker wakes
 * first, so that many that are opened at once, or while a worker was away, stay with one for as long as their clients keep
 * them. An answer that ends its connection (RFC 9112 9.6) makes the client open its next one, and costs it no call.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Random differences are no reason for moving. */
const tolerance = { share: 0.1, connections: 2 };

/** How many connections each worker should give away, by what each has. */
export function surplusOf(connections: readonly number[]): number[] {
  const mean = connections.reduce((sum, each) => sum + each, 0) / connections.length;
  const most = mean * (1 + tolerance.share) + tolerance.connections;
  return connections.map((each) => (each > most ? Math.ceil(each - mean) : 0));
}

export interface Shedding {
  /** How many connections the server has, without those of WebSockets, which no answer ends. */
  readonly connections: () => number;
  /** Ends so many with their next answers, in place of what was asked for before. */
  readonly shed: (count: number) => void;
}

export function createShedding(server: Server): Shedding {
  const open = new Set<Socket>();
  let surplus = 0;
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.on('upgrade', ({ socket }) => open.delete(socket));
  server.prependListener('request', (_, response) => {
    if (surplus === 0) return;
    surplus -= 1;
    response.shouldKeepAlive = false;
  });
  return { connections: () => open.size, shed: (count) => void (surplus = count) };
}
