/** A TCP link to a port on loopback that can be slow, cut, or silent as a half-open one is. */
import { connect, createServer, type Socket } from 'node:net';
import { closeNow, listen, trackSockets } from './listener.ts';

export interface TcpLink {
  readonly port: number;
  /** The port to which new connections lead. */
  target: number;
  /** Milliseconds that every byte takes, each way. */
  delayMs: number;
  /**
   * Nothing passes any more on the connections that there are, and neither side learns of it. New ones are not concerned.
   * @param on only those on which this was sent
   */
  readonly silence: (on?: string) => void;
  /** Resets every connection. */
  readonly cut: () => void;
  readonly close: () => Promise<void>;
}

export async function startTcpLink(target: number): Promise<TcpLink> {
  const pairs = new Set<{ silent: boolean; sent: string; readonly sockets: readonly Socket[] }>();
  const server = createServer((near) => {
    const far = connect(link.target, '127.0.0.1');
    const pair = { silent: false, sent: '', sockets: [near, far] };
    pairs.add(pair);
    near.on('data', (chunk) => (pair.sent += chunk.toString('latin1')));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk) => setTimeout(() => pair.silent || to.destroyed || to.write(chunk), link.delayMs));
      from.on('error', () => from.destroy());
      from.on('close', () => {
        if (!pair.silent) to.destroy();
        if (near.destroyed && far.destroyed) pairs.delete(pair);
      });
    }
  });
  const sockets = trackSockets(server);
  const link: TcpLink = {
    port: await listen(server, 0),
    target,
    delayMs: 0,
    silence(on = '') {
      for (const pair of pairs) if (pair.sent.includes(on)) pair.silent = true;
    },
    cut() {
      for (const pair of pairs) for (const socket of pair.sockets) socket.resetAndDestroy();
    },
    async close() {
      for (const pair of pairs) for (const socket of pair.sockets) socket.destroy();
      await closeNow(server, sockets);
    },
  };
  return link;
}
