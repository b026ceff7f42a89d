/** Binds the demo's HTTP servers: they all listen on loopback and must stop at once when the demo ends. */
import type { Server } from 'node:http';

export interface ListenAddress {
  /** `0` picks a free port. */
  port: number;
  /** An address of this machine, for example `127.0.0.1`. */
  host: string;
}

/** Starts listening and gives the port; rejects with the system's error (`EADDRINUSE`, `EACCES`) when it can't. */
export async function listen(server: Server, address: ListenAddress): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('The server listens on a pipe, not on a port.');
  return bound.port;
}

/** Stops listening and drops what is still connected: a kept-alive connection would hold the process for seconds. */
export async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.close((error) => (error ? reject(error) : resolve()));
    server.closeAllConnections();
  });
}

/** Whether an error says that somebody else listens on the port already. */
export function isPortBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}
