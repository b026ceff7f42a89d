/** The command line as it is run in production: a process of its own, its output, its end. */
import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';

/** The entry of the command line, in the sources. */
export const cliEntry = join(import.meta.dirname, '../../src/cli/main.ts');

export interface FinishedCommand {
  readonly exitCode: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a command of `sallyport` to its end, without any variable of this process but PATH. */
export function runSallyport(
  args: readonly string[],
  { env = {}, cwd, entry = cliEntry, node = process.execPath }: RunOptions = {},
): FinishedCommand {
  const { status, stdout, stderr } = spawnSync(node, [entry, ...args], {
    env: { PATH: process.env['PATH'], ...env },
    cwd,
    encoding: 'utf8',
    timeout: 30_000,
  });
  return { exitCode: status, output: stdout, errors: stderr };
}

/** The same beside what runs in this process, such as a server that the command asks. */
export async function runSallyportBeside(
  args: readonly string[],
  { env = {}, cwd, entry = cliEntry, node = process.execPath }: RunOptions = {},
): Promise<FinishedCommand> {
  const child = spawn(node, [entry, ...args], { env: { PATH: process.env['PATH'], ...env }, cwd });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [output, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (errors += text));
  const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { exitCode, output, errors };
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** `main.ts` of the sources, or `main.js` of an installation. */
  readonly entry?: string;
  readonly node?: string;
}

export interface Command {
  readonly process: ChildProcess;
  /** Writes its configuration file anew, for a SIGHUP. */
  readonly configure: (config: ConfigInput) => Promise<void>;
  /** Every whole line of its log, parsed, where standard output is a pipe. */
  readonly lines: () => readonly Readonly<Record<string, unknown>>[];
  /** What stands on standard error. */
  readonly errors: () => string;
  /** Resolves with the exit code, or the name of the signal. */
  readonly ended: Promise<number | string>;
  /** Status of a path of the operations listener. */
  readonly statusOf: (path: string) => Promise<number>;
}

export interface CommandOptions {
  /** TypeScript that stands in the configuration file, before the configuration. */
  readonly code?: string;
  /** Where standard output and standard error go. Default: to the test. */
  readonly output?: readonly ['pipe' | number, 'pipe' | number];
  /** Shell words before the command, for `ulimit` and the like. */
  readonly before?: string;
  /** Another program that takes the same arguments. */
  readonly entry?: string;
}

/**
 * Runs `sallyport start --config FILE` and waits until it listens. `config.listen.opsPort` must be set. Messages of
 * `process.send` reach the code of the configuration file.
 */
export async function startCommand(config: ConfigInput, options: CommandOptions = {}): Promise<Command> {
  const { code = '', output = ['pipe', 'pipe'], before = '', entry = cliEntry } = options;
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-command-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'sallyport.config.ts');
  const configure = (next: ConfigInput) => writeFile(file, `${code}\nexport default ${JSON.stringify(next)};\n`);
  await configure(config);

  const stdio: StdioOptions = ['ignore', ...output, 'ipc'];
  const words = [process.execPath, entry, 'start', '--config', file];
  const child = spawn('sh', ['-c', `${before}exec "$0" "$@"`, ...words], {
    stdio,
    env: { PATH: process.env['PATH'] },
    cwd: folder,
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let log = '';
  let errors = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => void (log += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => void (errors += text));
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (exitCode, signal) => resolve(signal ?? exitCode ?? -1));
  });

  const statusOf = async (path: string) => (await fetch(`http://127.0.0.1:${config.listen?.opsPort}${path}`)).status;
  await vi.waitFor(
    async () => {
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}: ${errors}`);
      if ((await statusOf('/readyz')) !== 200) throw new Error(`not ready: ${log}`);
    },
    { timeout: 60_000, interval: 100 },
  );
  return {
    process: child,
    configure,
    lines: () =>
      log
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    errors: () => errors,
    ended,
    statusOf,
  };
}
