/**
 * Makes each of many calls once, over a few keep-alive connections as a proxy in front would: nothing but the calls costs
 * the server anything.
 *
 * Input: one JSON message over IPC ({@link EachOnceOrder}); output: one {@link EachOnceResult}.
 */
import { openConnection } from './connection.ts';
import { requestBytes } from './request.ts';

/** The calls to make: one for every entry of `calls`, which are request header sets. */
export interface EachOnceOrder {
  readonly port: number;
  readonly path: string;
  readonly calls: readonly Record<string, string>[];
}

/** How often each status came. */
export interface EachOnceResult {
  readonly statuses: Record<string, number>;
}

const connections = 32;

process.once('message', (order: EachOnceOrder) => {
  makeCalls(order).then(
    (result) => process.send?.(result, () => process.disconnect()),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function makeCalls({ port, path, calls }: EachOnceOrder): Promise<EachOnceResult> {
  const waiting = calls.map((headers) => requestBytes(path, headers));
  const statuses: Record<string, number> = {};
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const connection = await openConnection(port);
      for (let request = waiting.pop(); request !== undefined; request = waiting.pop()) {
        const bytes = request;
        const status = await new Promise<number>((resolve) => connection.send(bytes, resolve));
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
      connection.close();
    }),
  );
  return { statuses };
}
