/**
 * Several Sallyport processes, some of them with workers, that agree through a store, behind a load balancer that knows no
 * stickiness.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { startCommand, type Command } from './command-line.ts';
import { startFleetStore, type FleetStore, type StoreKind } from './fleet-store.ts';
import { freePort } from './listener.ts';
import { startRoundRobin, type Backend, type RoundRobinBalancer } from './round-robin-balancer.ts';
import { isAlive, listeningWorkers } from './workers.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

export interface Fleet {
  /** Its own server is closed: the balancer has its port. */
  readonly world: World;
  readonly store: FleetStore;
  readonly balancer: RoundRobinBalancer;
  readonly backends: readonly Backend[];
  /** How many workers the process at each place has; 1: it serves alone. */
  readonly workers: readonly number[];
  /** The process at each place at this moment. */
  readonly commands: readonly Command[];
  /** The process ids of the workers that listen at a place, by worker. */
  readonly workersAt: (index: number) => ReadonlyMap<number, number>;
  /** Waits until all workers of a place listen, none of which is one of `not`. */
  readonly whenWorkersAt: (index: number, not: readonly number[]) => Promise<void>;
  /** Kills the process at a place as the system does that runs out of memory; its workers end by themselves. */
  readonly kill: (index: number) => Promise<void>;
  /** Starts another process at a place, and waits until the balancer sends calls there. */
  readonly start: (index: number) => Promise<void>;
  /** Whole log lines of all processes, those that have ended included. */
  readonly logs: () => readonly Readonly<Record<string, unknown>>[];
}

export interface FleetOptions extends Omit<WorldOptions, 'store'> {
  readonly store: StoreKind;
  readonly workers: readonly number[];
  /** Further settings of every process. */
  readonly settings?: Partial<ConfigInput>;
}

const waiting = { timeout: 60_000, interval: 50 };
/** In which a worker without its first process finishes its calls. */
const drainSeconds = 10;

export async function startFleet({ store: kind, workers, settings = {}, ...options }: FleetOptions): Promise<Fleet> {
  const store = await startFleetStore(kind);
  const world = await startWorld(options);
  await world.server.close();
  const backends: Backend[] = [];
  while (backends.length < workers.length) backends.push({ port: await freePort(), opsPort: await freePort() });
  const all: Command[] = [];
  const commands: Command[] = [];

  async function launch(index: number): Promise<void> {
    const { port, opsPort } = backends[index] as Backend;
    const shared: Partial<ConfigInput> = store.url === undefined ? {} : { redisUrl: store.url };
    const own: Partial<ConfigInput> = {
      listen: { port, opsPort },
      workers: workers[index] ?? 1,
      drainSeconds,
      logLevel: 'info',
    };
    const command = await startCommand({ ...world.config, ...shared, ...own, ...settings });
    commands[index] = command;
    all.push(command);
    await whenWorkersAt(index);
  }

  function workersAt(index: number): ReadonlyMap<number, number> {
    return listeningWorkers(commands[index]?.lines() ?? []);
  }

  async function whenWorkersAt(index: number, not: readonly number[] = []): Promise<void> {
    const count = workers[index] ?? 1;
    if (count === 1) return;
    await vi.waitFor(() => {
      const pids = [...workersAt(index).values()];
      if (pids.length !== count || pids.some((pid) => not.includes(pid))) throw new Error(`${pids.length} listen`);
    }, waiting);
  }

  for (const index of backends.keys()) await launch(index);
  onTestFinished(() => {
    for (const pid of commands.flatMap((_, index) => [...workersAt(index).values()])) {
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
  });
  const balancer = await startRoundRobin(backends, Number(new URL(world.origin).port));
  onTestFinished(() => balancer.close());
  return {
    world,
    store,
    balancer,
    backends,
    workers,
    commands,
    workersAt,
    whenWorkersAt,
    async kill(index) {
      const pids = [...workersAt(index).values()];
      commands[index]?.process.kill('SIGKILL');
      await commands[index]?.ended;
      // They have the port until then.
      while (pids.some(isAlive)) await sleep(20);
    },
    async start(index) {
      await launch(index);
      await vi.waitFor(() => {
        if (balancer.ready() < backends.length) throw new Error('the balancer has not found it');
      }, waiting);
    },
    logs: () => all.flatMap((command) => command.lines()),
  };
}
