/**
 * Many browsers at once: every session has six keep-alive connections, as a browser has to one host over HTTP/1.1, and
 * makes its calls over them as fast as the answers come. All sessions begin together; none takes over a new cookie in
 * between, as calls in flight can't.
 *
 * Input: one JSON message over IPC ({@link BurstOrder}); output: one {@link BurstResult}.
 */
import { type Connection, openConnection } from './connection.ts';
import { percentile, requestBytes } from './request.ts';

/** The calls to make: `callsPerSession` for every entry of `sessions`, which are request header sets. */
export interface BurstOrder {
  readonly port: number;
  readonly path: string;
  readonly sessions: readonly Record<string, string>[];
  readonly callsPerSession: number;
}

/** How often each status came, and latencies in milliseconds. */
export interface BurstResult {
  readonly statuses: Record<string, number>;
  readonly p50: number;
  readonly p99: number;
  readonly totalMs: number;
}

const connectionsPerSession = 6;

process.once('message', (order: BurstOrder) => {
  burst(order).then(
    (result) => process.send?.(result, () => process.disconnect()),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function burst(order: BurstOrder): Promise<BurstResult> {
  const sessions: { request: Buffer; connections: Connection[] }[] = [];
  for (const headers of order.sessions) {
    const connections = await Promise.all(
      Array.from({ length: connectionsPerSession }, () => openConnection(order.port)),
    );
    sessions.push({ request: requestBytes(order.path, headers), connections });
  }
  const statuses: Record<string, number> = {};
  const latencies: number[] = [];
  const start = performance.now();
  await Promise.all(
    sessions.map(async ({ request, connections }) => {
      let left = order.callsPerSession;
      const work = async (connection: Connection): Promise<void> => {
        while (left > 0) {
          left -= 1;
          const sentAt = performance.now();
          const status = await new Promise<number>((resolve) => connection.send(request, resolve));
          latencies.push(performance.now() - sentAt);
          statuses[status] = (statuses[status] ?? 0) + 1;
        }
      };
      await Promise.all(connections.map(work));
    }),
  );
  const totalMs = performance.now() - start;
  for (const { connections } of sessions) for (const connection of connections) connection.close();
  const sorted = Float64Array.from(latencies).toSorted();
  return { statuses, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), totalMs };
}
