/**
 * An open-loop load generator: requests come at random moments (Poisson) at a fixed mean rate, whether or not earlier
 * ones have been answered, and latency counts from the moment a request was due. A closed loop such as wrk's waits for
 * the slow answers it should count, and so hides them.
 *
 * Input: one JSON message over IPC ({@link OpenLoopOrder}); output: one {@link OpenLoopResult}.
 */
import { openConnection } from './connection.ts';
import { percentile, requestBytes } from './request.ts';

/** What to send, how fast and for how long. */
export interface OpenLoopOrder {
  readonly port: number;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly seconds: number;
  /** Seconds at the start that aren't counted. */
  readonly warmUpSeconds: number;
}

/** Latencies in milliseconds. */
export interface OpenLoopResult {
  readonly requests: number;
  readonly errors: number;
  readonly p50: number;
  readonly p99: number;
}

process.once('message', (order: OpenLoopOrder) => {
  generate(order).then(
    (result) => process.send?.(result, () => process.disconnect()),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function generate(order: OpenLoopOrder): Promise<OpenLoopResult> {
  const request = requestBytes(order.path, order.headers);
  const free = await Promise.all(Array.from({ length: order.connections }, () => openConnection(order.port)));
  const all = [...free];
  const due: number[] = [];
  const latencies: number[] = [];
  let errors = 0;
  let outstanding = 0;
  const start = performance.now();
  const countFrom = start + order.warmUpSeconds * 1000;
  const end = start + order.seconds * 1000;

  const sendDue = (): void => {
    while (due.length > 0 && free.length > 0) {
      const connection = free.pop();
      const dueAt = due.shift();
      if (connection === undefined || dueAt === undefined) return;
      connection.send(request, (status) => {
        outstanding -= 1;
        if (status !== 200) errors += 1;
        if (dueAt >= countFrom) latencies.push(performance.now() - dueAt);
        free.push(connection);
        sendDue();
      });
    }
  };

  await new Promise<void>((resolve) => {
    const nap = new Int32Array(new SharedArrayBuffer(4));
    let next = start;
    const tick = (): void => {
      const now = performance.now();
      while (next <= now && next < end) {
        due.push(next);
        outstanding += 1;
        next += (-Math.log(1 - Math.random()) * 1000) / order.requestsPerSecond;
      }
      sendDue();
      if (next >= end && outstanding === 0) return resolve();
      // Timers are too coarse for this and spinning would starve the upstream on the same core: nap for a moment.
      Atomics.wait(nap, 0, 0, 0.03);
      setImmediate(tick);
    };
    tick();
  });
  for (const connection of all) connection.close();
  const sorted = Float64Array.from(latencies).toSorted();
  return { requests: sorted.length, errors, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
}
