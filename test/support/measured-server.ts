/**
 * Sallyport in a process of its own, started with `fork`, that tells its parent what it holds: for tests that look for
 * leaks, in which the parent's own provider, API and clients would be in the way.
 *
 * The first message is the configuration; the answer is `{ port }`. To `gauges` it answers {@link Gauges}.
 */
import { readdirSync } from 'node:fs';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { startServer } from '../../src/server/server.ts';

export interface Gauges {
  /** Bytes that are still held after a collection. */
  readonly heap: number;
  readonly buffers: number;
  /** Open file descriptors: sockets, whether they keep the process alive or not. */
  readonly descriptors: number;
  /** What keeps the process alive, by kind: clients' connections, timers, requests under way. */
  readonly resources: Readonly<Record<string, number>>;
  /** What Node warned of: too many listeners, unhandled rejections, deprecations. */
  readonly warnings: readonly string[];
}

const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`));

process.once('message', (config: ConfigInput) => {
  void start(config);
});
process.once('disconnect', () => process.exit());

async function start(config: ConfigInput): Promise<void> {
  const { port } = await startServer(resolveConfig(config), { logTo: { write: () => undefined } });
  process.on('message', () => {
    void readGauges().then((gauges) => process.send?.(gauges));
  });
  process.send?.({ port });
}

async function readGauges(): Promise<Gauges> {
  // Finalizers run between collections, and free what the next one takes.
  for (let round = 0; round < 4; round += 1) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  const descriptors = readdirSync('/dev/fd').length;
  return { heap: heapUsed, buffers: external + arrayBuffers, descriptors, resources, warnings };
}
