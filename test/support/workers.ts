/** Sallyport with several workers, as the command line starts it, and people who call through it all the time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient, Exchange } from './browser-client.ts';
import { startCommand, type Command, type CommandOptions } from './command-line.ts';
import { freePort } from './listener.ts';
import { signIn, startWorld, type World, type WorldOptions } from './world.ts';

export interface WorkersWorld extends World {
  readonly command: Command;
  /** The configuration that the command began with. */
  readonly started: ConfigInput;
  /** The process ids of the workers that listen, by worker. */
  readonly pids: () => ReadonlyMap<number, number>;
  /** Waits until as many workers listen, none of which is one of `not`. */
  readonly whenListening: (count: number, not?: Iterable<number>) => Promise<ReadonlyMap<number, number>>;
  /** Log lines by their `msg`. */
  readonly linesOf: (msg: string) => readonly Readonly<Record<string, unknown>>[];
}

export interface WorkersOptions extends CommandOptions {
  readonly workers?: number;
  readonly config?: Partial<ConfigInput>;
  readonly world?: WorldOptions;
  /** Keys of the listener for operations. */
  readonly ops?: { readonly opsPort: number; readonly opsToken: string };
}

/** Starts a world whose server is a command with workers. */
export async function startWorkersWorld({
  workers = 2,
  config = {},
  world: worldOptions = {},
  ops,
  ...options
}: WorkersOptions = {}): Promise<WorkersWorld> {
  const world = await startWorld(worldOptions);
  await world.server.close();
  const listen = { ...world.config.listen, ...(ops ?? { opsPort: await freePort() }) };
  const started: ConfigInput = { ...world.config, listen, workers, drainSeconds: 20, logLevel: 'info', ...config };
  const command = await startCommand(started, options);
  const linesOf = (msg: string) => command.lines().filter((line) => line['msg'] === msg);

  const pids = () => listeningWorkers(command.lines());

  async function whenListening(count: number, not: Iterable<number> = []): Promise<ReadonlyMap<number, number>> {
    const unwanted = new Set(not);
    return vi.waitFor(
      () => {
        const found = pids();
        if (found.size !== count || [...found.values()].some((pid) => unwanted.has(pid))) {
          throw new Error(`these listen: ${JSON.stringify([...found])}`);
        }
        return found;
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  onTestFinished(async () => {
    for (const pid of pids().values()) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });
  await whenListening(workers);
  return Object.assign(world, { command, started, pids, whenListening, linesOf });
}

/** The process ids of the workers that listen, by worker, as the log of their first process tells. */
export function listeningWorkers(lines: ReturnType<Command['lines']>): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const { msg, worker, pid } of lines) {
    if (msg === 'worker.started') found.set(Number(worker), Number(pid));
    const hasEnded = msg === 'worker.failed' || msg === 'worker.stopped';
    if (hasEnded && found.get(Number(worker)) === pid) found.delete(Number(worker));
  }
  return found;
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** One call of a load. Times are of `performance.now()`. */
export interface LoadedCall {
  readonly begunAt: number;
  readonly endedAt: number;
  /** The status, or the code of the error. */
  readonly outcome: number | string;
}

export interface Load {
  readonly calls: readonly LoadedCall[];
  readonly failed: () => readonly LoadedCall[];
  /** Lets the calls that run end, and makes no more. */
  readonly stop: () => Promise<void>;
}

export interface LoadOptions {
  /** What to do for each person again and again. Default: a GET of the API. */
  readonly call?: (browser: BrowserClient) => Promise<Exchange>;
  /** Whether all connections stay open. */
  readonly kept?: boolean;
}

/**
 * Makes calls without a pause, one at a time for each browser: on connections that stay open, and, for every second
 * browser, on a new one for each call.
 */
export function beginLoad(
  browsers: readonly BrowserClient[],
  { call = (browser) => browser.fetch('/api/load'), kept = false }: LoadOptions = {},
): Load {
  const calls: LoadedCall[] = [];
  const state = { goesOn: true };

  async function callAgainAndAgain(browser: BrowserClient, index: number): Promise<void> {
    while (state.goesOn) {
      const begunAt = performance.now();
      const outcome = await outcomeOf(call(browser));
      calls.push({ begunAt, endedAt: performance.now(), outcome });
      if (!kept && index % 2 === 1) browser.close();
      // A client that is refused at once would keep this process from everything else.
      if (typeof outcome === 'string') await sleep(5);
    }
  }

  const running = browsers.map(callAgainAndAgain);
  const stop = async (): Promise<void> => {
    state.goesOn = false;
    await Promise.all(running);
  };
  onTestFinished(stop);
  return { calls, failed: () => calls.filter(({ outcome }) => outcome !== 200), stop };
}

function outcomeOf(call: Promise<Exchange>): Promise<number | string> {
  return call.then(
    ({ status }) => status,
    (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
  );
}

/** Waits until the load has made so many more calls. */
export async function whenCalled({ calls }: Load, count: number): Promise<void> {
  const before = calls.length;
  await vi.waitFor(() => expect(calls.length).toBeGreaterThanOrEqual(before + count), {
    timeout: 60_000,
    interval: 20,
  });
}

/** Signs so many people in, each in a browser of their own. */
export async function signInPeople(world: World, count: number): Promise<BrowserClient[]> {
  const browsers = Array.from({ length: count }, () => world.client());
  for (const browser of browsers) await signIn(browser);
  return browsers;
}
