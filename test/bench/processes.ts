/**
 * Starts the processes of the benchmark and ends every one of them, whatever happens.
 *
 * A process is ready when it prints `READY <port>` (our own) or when its port answers (nginx). On a machine with at
 * least two cores the measured proxy has one core for itself and all the others share the rest.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Which core(s) a process may use: `proxy` for what is measured, `rest` for load, upstream and provider, or `all`. */
export type Place = 'proxy' | 'rest' | 'all';

/** A running child with the port it listens on. */
export interface Running {
  readonly pid: number;
  readonly port: number;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** What to start, and how to see that it is ready. */
export interface Launch {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly place: Place;
  readonly environment?: Record<string, string>;
  /** The port to wait for; without it the process prints `READY <port>`. */
  readonly port?: number;
}

/** A load generator that answers messages. */
export interface Worker {
  /** Sends a message and resolves with the next one that comes back. */
  ask<Result>(message: object | string): Promise<Result>;
  stop(): Promise<void>;
}

/** Folder for logs, nginx configuration and generated load scripts; removed at exit. */
export const workFolder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'));

const running = new Set<ChildProcess>();
const lastCore = availableParallelism() - 1;

/** Whether the proxy is pinned to a core of its own. */
export const pinned = lastCore > 0 && spawnSync('taskset', ['--version']).status === 0;

/** The command line that runs `command` on the cores of `place`. */
export function placed(place: Place, command: readonly [string, ...string[]]): [string, ...string[]] {
  if (!pinned || place === 'all') return [...command];
  const cores = place === 'proxy' ? String(lastCore) : `0-${lastCore - 1}`;
  return ['taskset', '-c', cores, ...command];
}

/** Starts a child and resolves when it is ready; rejects with its log when it ends first. */
export async function launch(launch: Launch): Promise<Running> {
  const logFile = join(workFolder, `${launch.name}.log`);
  const log = openSync(logFile, 'a');
  const [program, ...args] = placed(launch.place, launch.command);
  // A contender's own output goes to a file, as a container's would.
  const announces = launch.port === undefined;
  const child = spawn(program, args, {
    stdio: ['ignore', announces ? 'pipe' : log, log],
    env: { PATH: process.env['PATH'] ?? '', NODE_ENV: 'production', ...launch.environment },
  });
  closeSync(log);
  running.add(child);
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      running.delete(child);
      reject(new Error(`${launch.name} ended (${signal ?? code}):\n${readFileSync(logFile, 'utf8').slice(-2000)}`));
    });
  });
  const port = await Promise.race([announces ? announcedPort(child) : reachable(launch.port ?? 0), ended]);
  // Once ready, an early end shows as errors of the load; it must not be an unhandled rejection too.
  ended.catch(() => {});
  return { pid: pidOf(child), port, child, stop: () => stop(child) };
}

/** Starts a script of ours beside the proxy, with an IPC channel. */
export function spawnWorker(script: string): Worker {
  const [program, ...args] = placed('rest', [process.execPath, script]);
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return {
    ask<Result>(message: object | string): Promise<Result> {
      return new Promise((resolve, reject) => {
        const onExit = (code: number | null): void => reject(new Error(`${script} ended with ${code}`));
        child.once('exit', onExit);
        child.once('message', (answer) => {
          child.off('exit', onExit);
          // Each script's one answer type is written beside it; there is nothing to parse between our own processes.
          resolve(answer as Result);
        });
        child.send(message);
      });
    },
    stop: () => stop(child),
  };
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Resolves with `port` as soon as something accepts connections there. */
export async function reachable(port: number): Promise<number> {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline) {
    if (await accepts(port)) return port;
    await delay(5);
  }
  throw new Error(`nothing listens on port ${port} after 20 s`);
}

/** Ends all children and removes the work folder. */
export function cleanUp(): void {
  for (const child of running) child.kill('SIGKILL');
  rmSync(workFolder, { recursive: true, force: true });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function announcedPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const found = /READY (\d+)/.exec(text);
      if (found) resolve(Number(found[1]));
    });
  });
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('the process has not started');
  return child.pid;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(timer);
}
