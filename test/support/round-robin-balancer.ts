/**
 * A load balancer of connections, as many are: it passes bytes, gives each connection to the next instance that says it is
 * ready, and tries nothing a second time, so that whatever an instance does wrong reaches the client.
 */
import { connect, createServer, type Socket } from 'node:net';
import { closeNow, listen, trackSockets } from './listener.ts';

export interface Backend {
  readonly port: number;
  /** Where its `/readyz` is. */
  readonly opsPort: number;
}

export interface RoundRobinBalancer {
  readonly port: number;
  /** How many instances the last probes have found ready. */
  readonly ready: () => number;
  /** How many connections each instance has been given. */
  readonly given: readonly number[];
  readonly close: () => Promise<void>;
}

const probeMs = 100;

/** @param port to listen on; 0: any */
export async function startRoundRobin(backends: readonly Backend[], port = 0): Promise<RoundRobinBalancer> {
  const ready = new Set<Backend>();
  const given = backends.map(() => 0);
  let turn = 0;
  let goesOn = true;

  async function probe(backend: Backend): Promise<void> {
    const isReady = await fetch(`http://127.0.0.1:${backend.opsPort}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) ready.add(backend);
    else ready.delete(backend);
    if (goesOn) setTimeout(() => void probe(backend), probeMs);
  }

  function next(): Backend | undefined {
    const candidates = backends.filter((backend) => ready.has(backend));
    return candidates[turn++ % candidates.length];
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const backend = next();
    if (backend === undefined) {
      client.destroy();
      return;
    }
    given[backends.indexOf(backend)] = (given[backends.indexOf(backend)] ?? 0) + 1;
    join(client, connect({ port: backend.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
  });
  const sockets = trackSockets(server);
  await Promise.all(backends.map(probe));
  return {
    port: await listen(server, port),
    ready: () => ready.size,
    given,
    close: () => {
      goesOn = false;
      return closeNow(server, sockets);
    },
  };
}

/** The end of each side, and its breaking off, reach the other. */
function join(client: Socket, upstream: Socket): void {
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      if (!from.readableEnded) to.destroy();
    });
  }
}
