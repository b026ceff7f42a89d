/** Child processes of the tests: commands that run to their end, and servers that run until they are stopped. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessOptions {
  cwd: string;
  /** The whole environment; `PATH` and `HOME` are added. Default: this process's. */
  env?: Readonly<Record<string, string>>;
}

export interface ServerProcess {
  readonly child: ChildProcess;
  /** All that it has written so far. */
  output(): string;
  /**
   * Sends SIGTERM, to the process itself or to one that it only waits for, and resolves with the exit code; a server
   * that ignores it fails the test.
   */
  stop(pid?: number): Promise<number | null>;
}

/** Runs a command to its end; throws with its output when it fails. */
export async function run(command: string, args: readonly string[], options: ProcessOptions): Promise<string> {
  const server = startProcess(command, args, options);
  const code = await exitCode(server.child);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${server.output()}`);
  return server.output();
}

/** Whether a command ends with 0. */
export async function succeeds(command: string, args: readonly string[], options: ProcessOptions): Promise<boolean> {
  return (await exitCode(startProcess(command, args, options).child)) === 0;
}

/** Starts a server. */
export function startProcess(command: string, args: readonly string[], options: ProcessOptions): ServerProcess {
  const env = options.env === undefined ? process.env : { ...options.env, ...inheritedVariables() };
  const child = spawn(command, args, { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const output = () => Buffer.concat(chunks).toString();
  return { child, output, stop: (pid) => stop(child, pid ?? child.pid, output) };
}

/** Waits until `isReady` says so; fails at once when the process has ended. */
export async function untilReady(
  server: ServerProcess,
  isReady: () => Promise<boolean>,
  seconds: number,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await isReady())) {
    if (hasEnded(server.child)) throw new Error(`The server ended:\n${server.output()}`);
    if (Date.now() > deadline) throw new Error(`The server is not ready after ${seconds} s:\n${server.output()}`);
    await delay(500);
  }
}

async function stop(child: ChildProcess, pid: number | undefined, output: () => string): Promise<number | null> {
  if (pid === undefined || hasEnded(child)) return child.exitCode;
  const ended = exitCode(child);
  process.kill(pid, 'SIGTERM');
  const late = delay(40_000, 'late' as const, { ref: false });
  const code = await Promise.race([ended, late]);
  if (code !== 'late') return code;
  child.kill('SIGKILL');
  throw new Error(`The server ignored SIGTERM:\n${output()}`);
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (!hasEnded(child)) await once(child, 'close');
  return child.exitCode;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** A test's environment is exactly what it says, but for where programs are. `node` is the one that runs the tests. */
function inheritedVariables(): Record<string, string> {
  const { PATH = '', HOME = '', JAVA_HOME } = process.env;
  const variables = { PATH: `${dirname(process.execPath)}:${PATH}`, HOME };
  return JAVA_HOME === undefined ? variables : { ...variables, JAVA_HOME };
}
