/** One worker as the first process sees it: from its start to its end, whatever that is. */
import { fork, type ChildProcess } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { totalmem } from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getHeapStatistics } from 'node:v8';
import { dangerouslyAllowHttpIssuer, type ConfigInput } from '../config/config.ts';
import type { Store } from '../store/store.ts';
import { serveWorker } from '../store/workers.ts';
import type { CloseLimits } from './shutdown.ts';
import { signOfLifeMs, type FromWorker, type ToWorker } from './worker-messages.ts';

/** What a worker runs with. */
export interface Launch {
  readonly input: ConfigInput;
  /** The descriptor of the socket that the workers listen on. */
  readonly fd: number;
  /** How many workers share the machine's memory. */
  readonly workers: number;
  /** Seconds in which a worker that is replaced finishes what runs. */
  readonly drainSeconds: number;
  /** How many signs of life in a row may be missing before a worker is taken for one that hangs. */
  readonly missedSignsOfLife: number;
  /** What the first process holds for its workers; undefined where each has a connection of its own. */
  readonly store: Store | undefined;
}

export interface WorkerProcess {
  readonly pid: number | undefined;
  /** Resolves when it listens; rejects if it ends before, with a {@link WorkerRefusal} if no other could start. */
  readonly listening: Promise<void>;
  readonly ended: Promise<void>;
  /** Whether it takes calls. */
  readonly isServing: () => boolean;
  /** Whether it can sign people in. */
  readonly isReady: () => boolean;
  /** Resolves when it can sign people in, or has ended. */
  readonly ready: Promise<void>;
  /** How many connections it has, without those of WebSockets. */
  readonly connections: () => number;
  /** Ends so many connections with their next answers, in place of what was asked for before. */
  readonly shed: (count: number) => void;
  /** Finishes what runs, and ends. Another call may bring the end forward. */
  readonly stop: (limits: Required<CloseLimits>) => void;
  /** Ends at once. */
  readonly kill: () => void;
}

/** A worker cannot start, for a reason that would keep the next one from it as well. */
export class WorkerRefusal extends Error {
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = 'WorkerRefusal';
    this.code = code;
  }
}

const program = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
/** Longer than a start takes on a machine that is busy with other things. */
const startLimitMs = 60_000;
/** What a worker may take for its end beside draining. */
const endLimitMs = 10_000;

/** @param onFailure called once if it takes no more calls, after having listened, without having been told to stop */
export function createWorkerProcess(
  worker: number,
  launch: Launch,
  onFailure: (reason: string) => void,
): WorkerProcess {
  const listening = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  let isReady = false;
  let connections = 0;
  let isServing = false;
  let hasListened = false;
  let isInspected = false;
  let silentTurns = 0;
  let endLimit: NodeJS.Timeout | undefined;
  const child = forkWorker(launch);
  const startLimit = setTimeout(() => child.kill('SIGKILL'), startLimitMs);
  const watch = setInterval(watchOverHanging, signOfLifeMs).unref();

  // From before its start on, so that it misses no news.
  const { store } = launch;
  const served =
    store === undefined ? undefined : serveWorker(store, (frame, onSent) => tell({ type: 'store', frame }, onSent));

  child.on('message', (message: FromWorker) => {
    silentTurns = 0;
    if (message.type === 'store') served?.receive(message.frame);
    else if (message.type === 'listening') {
      isServing = true;
      hasListened = true;
      listening.resolve();
    } else if (message.type === 'refused') listening.reject(new WorkerRefusal(message.message, message.code));
    else if (message.type === 'failing') fail('an error that nothing caught');
    else {
      isReady = isServing && message.ready;
      connections = message.connections;
      isInspected = message.inspected;
      if (isReady) ready.resolve();
    }
  });
  child.once('exit', (exitCode, signal) => end(signal === null ? `exit code ${exitCode}` : `signal ${signal}`));
  // It could not be started, or not be signalled because it has just ended.
  child.on('error', (error) => {
    if (child.pid === undefined) end(error.message);
  });
  listening.promise.finally(() => clearTimeout(startLimit)).catch(() => undefined);
  tell({
    type: 'start',
    worker,
    config: launch.input,
    allowsHttpIssuer: launch.input[dangerouslyAllowHttpIssuer] === true,
    store: store === undefined ? undefined : { durable: store.durable },
  });

  /** @param onSent by default a failure is left to `exit`, which follows */
  function tell(message: ToWorker, onSent: (error: Error | null) => void = () => undefined): void {
    if (child.connected) child.send(message, onSent);
    else onSent(new Error('the worker has gone'));
  }

  /**
   * Counts turns of this process's own timer, not time: a machine that slept, or a first process that stood still itself,
   * finds one turn gone, and then what the worker has sent meanwhile.
   */
  function watchOverHanging(): void {
    if (!hasListened || isInspected) return;
    silentTurns += 1;
    if (silentTurns <= launch.missedSignsOfLife) return;
    fail(`no sign of life for ${(launch.missedSignsOfLife * signOfLifeMs) / 1000} seconds`);
    child.kill('SIGKILL');
  }

  function fail(reason: string): void {
    isReady = false;
    if (!isServing) return;
    isServing = false;
    onFailure(reason);
  }

  function end(reason: string): void {
    clearTimeout(endLimit);
    clearInterval(watch);
    served?.end();
    listening.reject(new Error(reason));
    fail(reason);
    ready.resolve();
    ended.resolve();
  }

  return {
    pid: child.pid,
    listening: listening.promise,
    ended: ended.promise,
    isServing: () => isServing,
    isReady: () => isReady,
    ready: ready.promise,
    connections: () => connections,
    shed: (count) => tell({ type: 'shed', connections: count }),
    stop(limits) {
      isServing = false;
      isReady = false;
      tell({ type: 'stop', limits });
      clearTimeout(endLimit);
      endLimit = setTimeout(() => child.kill('SIGKILL'), limits.drainSeconds * 1000 + endLimitMs);
    },
    kill() {
      isServing = false;
      child.kill('SIGKILL');
    },
  };
}

function forkWorker({ fd, workers }: Launch): ChildProcess {
  const cache = getCompileCacheDir();
  return fork(program, [], {
    stdio: ['ignore', 'inherit', 'inherit', fd, 'ipc'],
    serialization: 'advanced',
    execArgv: [...process.execArgv, ...heapLimit(workers)],
    env: { ...process.env, ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }) },
  });
}

/** What is left is for the first process, and for what a process has beside its heap: buffers and code. */
const heapShare = 0.6;
const minimumHeapMegabytes = 64;

/** Node gives each process a heap for which all of the memory is there. An operator's own limit stays. */
function heapLimit(workers: number): string[] {
  if (/max[-_]old[-_]space[-_]size/.test(`${process.execArgv.join(' ')} ${process.env['NODE_OPTIONS']}`)) return [];
  const memory = Math.min(process.constrainedMemory() || Infinity, totalmem());
  const share = heapMegabytesOf(memory, workers);
  return share * 2 ** 20 < getHeapStatistics().heap_size_limit ? [`--max-old-space-size=${share}`] : [];
}

/** @param memory that of the machine or the container, in bytes */
export function heapMegabytesOf(memory: number, workers: number): number {
  return Math.max(minimumHeapMegabytes, Math.floor((memory * heapShare) / workers / 2 ** 20));
}
