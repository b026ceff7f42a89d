/**
 * The socket that all workers listen on. The first process binds it and keeps it, but never accepts on it: so a
 * connection that waits belongs to no worker, and is lost with none. Whichever worker is free takes it.
 *
 * The alternatives were tried. With `SO_REUSEPORT` and a socket for each worker, the connections that wait for a worker
 * are reset when it closes its socket or dies (`net.ipv4.tcp_migrate_req` is off by default). `node:cluster` hands every
 * connection over, at twice the CPU for a client without keep-alive, loses those under way to a worker that dies, and
 * closes the socket when the last worker has died.
 */
import { lookup } from 'node:dns/promises';
import * as net from 'node:net';

/** `net.BoundSocket`, which is newer than the types. */
interface BoundSocket {
  fd(): number;
  address(): { readonly address: string; readonly port: number };
  close(): void;
}

type BindingNet = typeof net & {
  readonly BoundSocket?: new (options: { readonly host: string; readonly port: number }) => BoundSocket;
};

export interface SharedSocket {
  readonly fd: number;
  readonly port: number;
  readonly close: () => void;
}

/** @throws if the address cannot be had, as a server that listens there would */
export async function bindSharedSocket({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<SharedSocket> {
  const { BoundSocket } = net as BindingNet;
  if (BoundSocket === undefined || process.platform === 'win32') {
    throw new Error('Workers need a newer Node (24.21), and no Windows: set SALLYPORT_WORKERS=1.');
  }
  const { address } = await lookup(host);
  const socket = new BoundSocket({ host: address, port });
  return { fd: socket.fd(), port: socket.address().port, close: () => socket.close() };
}
