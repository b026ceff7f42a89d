/**
 * Sallyport in a process of its own, that tells its parent what it holds: for tests that look for leaks, in which the
 * parent's own provider, API and clients would be in the way, and for those that try to end the process. `startMeasured`
 * of `separate-server.ts` starts it.
 *
 * The first message is the configuration; the answer is {@link Started}. From then on it does what a {@link Demand}
 * says, and answers {@link Gauges}.
 */
import { readdirSync } from 'node:fs';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { startServer } from '../../src/server/server.ts';

export interface Started {
  readonly port: number;
  readonly opsPort: number | undefined;
}

export interface Demand {
  /** Puts the process's clock forward. */
  readonly advanceMs?: number;
}

export interface Gauges {
  /** Bytes that are still held after a collection. */
  readonly heap: number;
  readonly buffers: number;
  /** The most memory that the process has ever had resident, in bytes. */
  readonly peak: number;
  /** Open file descriptors: sockets, whether they keep the process alive or not. */
  readonly descriptors: number;
  /** What keeps the process alive, by kind: clients' connections, timers, requests under way. */
  readonly resources: Readonly<Record<string, number>>;
  /** What Node warned of: too many listeners, unhandled rejections, deprecations. */
  readonly warnings: readonly string[];
  /** Log lines that tell of a fault of our own: a 500, or worse. The first few. */
  readonly faults: readonly string[];
}

const mostFaults = 5;
const warnings: string[] = [];
const faults: string[] = [];
process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`));

process.once('message', (config: ConfigInput) => {
  void start(config);
});
process.once('disconnect', () => process.exit());

async function start(config: ConfigInput): Promise<void> {
  const { port, opsPort } = await startServer(resolveConfig(config), { logTo: { write: noteFault } });
  process.on('message', ({ advanceMs = 0 }: Demand) => {
    advance(advanceMs);
    void readGauges().then((gauges) => process.send?.(gauges));
  });
  process.send?.({ port, opsPort } satisfies Started);
}

function advance(milliseconds: number): void {
  const before = Date.now;
  if (milliseconds > 0) Date.now = () => before() + milliseconds;
}

function noteFault(line: string): void {
  const isFault = line.includes('internal_error') || line.includes('"level":50') || line.includes('"level":60');
  if (isFault && faults.length < mostFaults) faults.push(line.trim());
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
  const peak = process.resourceUsage().maxRSS * 1024;
  return { heap: heapUsed, buffers: external + arrayBuffers, peak, descriptors, resources, warnings, faults };
}
