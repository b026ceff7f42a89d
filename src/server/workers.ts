/**
 * The first process of several. It starts the workers, which are servers on one socket, and keeps as many running as are
 * configured. It holds the store for them, answers the listener for operations for all of them, and takes a new
 * configuration over by replacing them one by one. It serves no call itself.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { availableParallelism } from 'node:os';
import type { Config } from '../config/config.ts';
import type { LoadedConfig } from '../config/sources.ts';
import { createEvents, type Events } from '../events.ts';
import { createConfiguredStore } from '../store/configured-store.ts';
import type { Store } from '../store/store.ts';
import { createLog, logEvents, type Log } from '../telemetry/log.ts';
import { closeDeployment, openDeployment, refuseChangeOfStore, type Deployment } from './deployment.ts';
import { createFirstOperator, type FirstOperator } from './first-operator.ts';
import { readConfigAnew, RefusedConfig } from './fresh-config.ts';
import type { Readiness } from './ops.ts';
import { logStart } from './server.ts';
import type { CloseLimits, Shutdown } from './shutdown.ts';
import { memoryWarnings } from './start-warnings.ts';
import { createWorkerPool } from './worker-pool.ts';
import type { Launch } from './worker-process.ts';

/** An event loop that is blocked, or a worker that was stopped. A busy machine or a long garbage collection takes less. */
export const usualMissedSignsOfLife = 15;

/** What tests shorten. */
export interface WorkersPatience {
  readonly missedSignsOfLife?: number;
}

export interface RunningWorkers {
  readonly log: Log;
  readonly bff: { readonly events: Events };
  /** Reads the configuration again and replaces the workers, or refuses it and says why in the log. */
  readonly reload: () => void;
  /**
   * Turns unready, and ends the workers one after the other within the limits, and then the rest. Each call waits for the
   * same end; a later one can bring it forward.
   */
  readonly close: Shutdown;
}

/** How many workers a configuration asks for; undefined where this process is to serve alone. */
export function workersOf({ workers }: Pick<Config, 'workers'>): number | undefined {
  if (workers === 'auto') return availableParallelism();
  return workers === 1 ? undefined : workers;
}

/**
 * Starts the workers, and resolves when the first one listens.
 * @param file as it was given with `--config`, to be read again
 * @throws if none can start, for the reason that a server alone would give
 */
export async function startWorkers(
  loaded: LoadedConfig,
  file: string | undefined,
  { missedSignsOfLife = usualMissedSignsOfLife }: WorkersPatience = {},
): Promise<RunningWorkers> {
  const { log, end: endLog } = createLog({ level: loaded.config.logLevel, sharesOutput: true });
  const first = createFirstProcess({ file, missedSignsOfLife, log, endLog });
  await first.start(loaded);
  return first;
}

interface FirstProcessDeps extends Required<WorkersPatience> {
  readonly file: string | undefined;
  readonly log: Log;
  readonly endLog: () => Promise<void>;
}

function createFirstProcess({ file, missedSignsOfLife, log, endLog }: FirstProcessDeps) {
  const events = createEvents();
  logEvents(log, events);
  const pool = createWorkerPool(events);
  /** What the workers agree in; undefined where each has a connection of its own to Redis or Valkey. */
  let store: Store | undefined;
  let deployment: Deployment | undefined;
  let operator: FirstOperator | undefined;
  let reloading: Promise<void> | undefined;
  let reloadsAgain = false;
  let closing: Promise<void> | undefined;
  const isOpen = (): boolean => closing === undefined;
  const deps = {
    readiness: (): Readiness => (isOpen() ? (pool.isReady() ? 'ready' : 'not ready') : 'stopping'),
    // That of the configuration of the moment, whose token and secrets may change while the listener stays.
    operator: {
      takes: (request: IncomingMessage) => operator?.api.takes(request) === true,
      handle: (request: IncomingMessage, response: ServerResponse) => operator?.api.handle(request, response),
    },
    onError: (cause: unknown) => events.emit({ type: 'listener.failed', cause }),
  };

  async function start(loaded: LoadedConfig): Promise<void> {
    const { config } = loaded;
    try {
      deployment = await openDeployment(loaded, deps);
      if (config.redisUrl === undefined) store = createConfiguredStore(config, events);
      const launch = launchOf(deployment);
      operator = createFirstOperator(config, { held: store, events, log });
      await pool.start(launch);
      logStart(log, config, { port: deployment.socket.port, workers: launch.workers });
      if (store?.durable === false) log.warn(memoryWarnings(config));
    } catch (error) {
      if (deployment !== undefined) closeDeployment(deployment);
      await operator?.end();
      await store?.close();
      await endLog();
      throw error;
    }
  }

  function launchOf({ input, config, socket }: Deployment): Launch {
    const { drainSeconds } = config;
    return { input, fd: socket.fd, workers: workersOf(config) ?? 1, drainSeconds, missedSignsOfLife, store };
  }

  function reload(): void {
    reloadsAgain = true;
    if (isOpen()) reloading ??= reloadWhileAsked().finally(() => (reloading = undefined));
  }

  async function reloadWhileAsked(): Promise<void> {
    while (reloadsAgain && isOpen()) {
      reloadsAgain = false;
      if (deployment !== undefined) await takeOver(deployment);
    }
  }

  async function takeOver(earlier: Deployment): Promise<void> {
    let next: Deployment | undefined;
    try {
      const loaded = await readConfigAnew(file);
      refuseChangeOfStore(earlier.config, loaded.config);
      next = await openDeployment(loaded, deps, earlier);
      await pool.replaceFirst(launchOf(next));
    } catch (error) {
      if (next !== undefined) closeDeployment(next, earlier);
      if (isOpen()) events.emit({ type: 'config.refused', faults: faultsOf(error) });
      return;
    }
    // One worker runs with it, so it is a configuration that can run.
    deployment = next;
    log.level = next.config.logLevel;
    await operator?.end();
    operator = createFirstOperator(next.config, { held: store, events, log });
    for (const warning of next.warnings) log.warn(warning);
    await pool.replaceOthers(launchOf(next));
    closeDeployment(earlier, next);
    if (isOpen()) events.emit({ type: 'config.replaced', workers: pool.size() });
  }

  async function shutDown(limits: Required<CloseLimits>): Promise<void> {
    log.info('stopping');
    await pool.stop(limits);
    await reloading;
    if (deployment !== undefined) closeDeployment(deployment);
    await operator?.end();
    await store?.close();
    log.info('stopped');
    await endLog();
  }

  async function close(limits: CloseLimits = {}): Promise<void> {
    if (deployment === undefined) return;
    const { drainSeconds, waitSeconds } = { ...configuredLimits(deployment.config), ...limits };
    const whole = { drainSeconds, waitSeconds: Math.min(waitSeconds, drainSeconds) };
    if (closing === undefined) closing = shutDown(whole);
    else await pool.stop(whole);
    await closing;
  }

  return { log, bff: { events }, start, reload, close };
}

function configuredLimits({ drainSeconds, drain }: Config): Required<CloseLimits> {
  return { drainSeconds, waitSeconds: drain.waitSeconds };
}

function faultsOf(error: unknown): readonly string[] {
  if (error instanceof RefusedConfig) return error.faults;
  return [error instanceof Error ? error.message : String(error)];
}
