/**
 * Several Sallyport processes that share a Redis, behind a load balancer that knows no stickiness, and what can happen to
 * them: a process is killed, Redis stands still, its connections are cut.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { startCommand, type Command } from './command-line.ts';
import { freePort } from './listener.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { startRoundRobin, type Backend, type RoundRobinBalancer } from './round-robin-balancer.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

export interface Fleet {
  /** Its own server is closed: the balancer has its port. */
  readonly world: World;
  readonly redis: TestRedis;
  readonly balancer: RoundRobinBalancer;
  readonly backends: readonly Backend[];
  /** The process at each place at this moment. */
  readonly commands: readonly Command[];
  /** Kills the process at a place as the system does that runs out of memory. */
  readonly kill: (index: number) => Promise<void>;
  /** Starts another process at a place, and waits until the balancer sends calls there. */
  readonly start: (index: number) => Promise<void>;
  /** Whole log lines of all processes, those that have ended included. */
  readonly logs: () => readonly Readonly<Record<string, unknown>>[];
}

export interface FleetOptions extends WorldOptions {
  readonly instances: number;
  /** Further settings of every process. */
  readonly settings?: Partial<ConfigInput>;
}

export async function startFleet({ instances, settings = {}, ...options }: FleetOptions): Promise<Fleet> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld(options);
  await world.server.close();
  const backends: Backend[] = [];
  while (backends.length < instances) backends.push({ port: await freePort(), opsPort: await freePort() });
  const all: Command[] = [];
  const commands: Command[] = [];

  async function launch(index: number): Promise<void> {
    const { port, opsPort } = backends[index] as Backend;
    const own: Partial<ConfigInput> = { listen: { port, opsPort }, redisUrl: redis.url, logLevel: 'info' };
    const command = await startCommand({ ...world.config, ...own, ...settings });
    commands[index] = command;
    all.push(command);
  }

  for (const index of backends.keys()) await launch(index);
  const balancer = await startRoundRobin(backends, Number(new URL(world.origin).port));
  onTestFinished(() => balancer.close());
  return {
    world,
    redis,
    balancer,
    backends,
    commands,
    async kill(index) {
      commands[index]?.process.kill('SIGKILL');
      await commands[index]?.ended;
    },
    async start(index) {
      await launch(index);
      await vi.waitFor(() => {
        if (balancer.ready() < instances) throw new Error('the balancer has not found it');
      }, 10_000);
    },
    logs: () => all.flatMap((command) => command.lines()),
  };
}

export type FaultKind = 'kill' | 'pause' | 'cut';

/** What was done to the fleet, in milliseconds of `performance.now()`. */
export interface DoneFault {
  readonly kind: FaultKind;
  readonly from: number;
  readonly until: number;
}

/** How long after a kill a refresh that it broke off is taken over by those who wait: the lease, and some for a busy machine. */
const takeoverMs = 7000;
/** Between two faults of other kinds, so that what follows can be told from which. */
const calmMs = 3000;

/** One fault after the other, until the time is over; all is well again at the end. */
export async function disturb(fleet: Fleet, seconds: number): Promise<readonly DoneFault[]> {
  const faults: DoneFault[] = [];
  const endsAt = performance.now() + seconds * 1000;
  for (let turn = 0; performance.now() < endsAt; turn += 1) {
    await sleep(calmMs);
    const kind = (['kill', 'pause', 'cut'] as const)[turn % 3] as FaultKind;
    const from = performance.now();
    if (kind === 'kill') await killAndRestart(fleet, Math.floor(turn / 3) % fleet.backends.length);
    if (kind === 'pause') await pauseRedis(fleet, 1000 + 1000 * (Math.floor(turn / 3) % 3));
    if (kind === 'cut') await cutConnections(fleet);
    faults.push({ kind, from, until: performance.now() });
    if (kind === 'kill') await sleep(Math.max(0, from + takeoverMs - performance.now()));
  }
  return faults;
}

async function killAndRestart({ kill, start }: Fleet, index: number): Promise<void> {
  await kill(index);
  await sleep(500);
  await start(index);
}

async function pauseRedis({ redis }: Fleet, ms: number): Promise<void> {
  redis.freeze();
  await sleep(ms);
  redis.resume();
}

async function cutConnections({ redis }: Fleet): Promise<void> {
  await redis.ask('CLIENT', 'KILL', 'TYPE', 'normal');
  await redis.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
}
