/**
 * The unlucky operator's story: "The disk for the logs was full, and the login was down. Another time the log collector
 * had stopped reading: nothing happened for an hour, and then the memory was gone. And when at last I told the server to
 * stop, it didn't, for it waited to write its last line."
 *
 * Must hold: a log that can't be written costs its lines, never a call, never the process, and not its end either.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { startCommand, type Command } from '../support/command-line.ts';
import { freePort } from '../support/listener.ts';
import { signIn, startWorld, within } from '../support/world.ts';

/** Each line of the log is so long, so that it takes few calls to fill whatever holds it. */
const longPath = `/api/${'x'.repeat(7000)}`;

const code = `
process.on('message', (message) => {
  if (message === 'throw') setTimeout(() => { throw new Error('planted'); });
  else process.send(held());
});
/** What is left after a collection: resident memory grows with V8's young generation, too. */
function held() {
  process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
  process.getBuiltinModule('node:vm').runInNewContext('gc')();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
`;

async function start(
  output: readonly ['pipe' | number, 'pipe' | number],
  before = '',
): Promise<{ command: Command; browser: BrowserClient }> {
  const world = await startWorld();
  await world.server.close();
  const listen = { ...world.config.listen, opsPort: await freePort() };
  const config = { ...world.config, listen, logLevel: 'info' } as const;
  const command = await startCommand(config, { code, output, before });
  const browser = world.client();
  await signIn(browser);
  return { command, browser };
}

/** Enough calls to fill a pipe many times over. */
async function call(browser: BrowserClient, count: number): Promise<Set<number>> {
  const statuses = new Set<number>();
  for (let done = 0; done < count; done += 10) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => browser.fetch(longPath)));
    for (const { status } of answers) statuses.add(status);
  }
  return statuses;
}

/** Linux's device on which every write fails with ENOSPC. */
function fullDisk(): number {
  const descriptor = openSync('/dev/full', 'w');
  onTestFinished(() => closeSync(descriptor));
  return descriptor;
}

/** A pipe as a shell makes it, which holds 64 KiB and which nobody reads. */
async function unreadPipe(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-pipe-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'pipe');
  await promisify(execFile)('mkfifo', [path]);
  // Open for both, for otherwise it would wait for a reader.
  const descriptor = openSync(path, 'r+');
  onTestFinished(() => closeSync(descriptor));
  return descriptor;
}

const unread: [kind: string, output: () => Promise<'pipe' | number>][] = [
  ['a socket', () => Promise.resolve('pipe')],
  ['a pipe', unreadPipe],
];

describe('calls are served', () => {
  test('where the disk of the log is full', async () => {
    const { command, browser } = await start([fullDisk(), 'pipe']);
    expect(await call(browser, 100)).toEqual(new Set([200]));
    command.process.kill('SIGTERM');
    expect(await within(5, command.ended, 'the process goes on')).toBe(0);
  });

  test('where the reader of the log has gone', async () => {
    const { command, browser } = await start(['pipe', 'pipe']);
    command.process.stdout?.destroy();
    expect(await call(browser, 100)).toEqual(new Set([200]));
    command.process.kill('SIGTERM');
    expect(await within(5, command.ended, 'the process goes on')).toBe(0);
  });

  test('where standard output is closed', async () => {
    const { command, browser } = await start(['pipe', 'pipe'], 'exec 1>&-; ');
    expect(await call(browser, 100)).toEqual(new Set([200]));
    command.process.kill('SIGTERM');
    expect(await within(5, command.ended, 'the process goes on')).toBe(0);
  });

  test.each(unread)(
    'where nobody reads the log (%s), and the process can still be stopped',
    async (_, output) => {
      const { command, browser } = await start([await output(), 'pipe']);
      command.process.stdout?.pause();
      expect(await call(browser, 500)).toEqual(new Set([200]));
      const exited = once(command.process, 'exit');
      command.process.kill('SIGTERM');
      await within(10, exited, 'the process goes on');
      expect(command.process.exitCode).toBe(0);
    },
    60_000,
  );
});

describe('an error that nothing caught ends the process with 1', () => {
  test.each<
    [story: string, output: () => readonly ['pipe' | number, 'pipe' | number], after: (command: Command) => void]
  >([
    ['the disk of the log is full', () => [fullDisk(), fullDisk()], () => undefined],
    [
      'the reader of the log has gone',
      () => ['pipe', 'pipe'],
      ({ process: { stdout, stderr } }) => {
        stdout?.destroy();
        stderr?.destroy();
      },
    ],
  ])('where %s', async (_, output, after) => {
    const { command, browser } = await start(output());
    after(command);
    expect(await call(browser, 10)).toEqual(new Set([200]));
    command.process.send('throw');
    expect(await within(10, command.ended, 'the process goes on')).toBe(1);
  });

  test.each(unread)(
    'where nobody reads the log (%s)',
    async (_, output) => {
      const { command, browser } = await start([await output(), 'pipe']);
      command.process.stdout?.pause();
      expect(await call(browser, 500)).toEqual(new Set([200]));
      const exited = once(command.process, 'exit');
      command.process.send('throw');
      await within(10, exited, 'the process goes on');
      expect(command.process.exitCode).toBe(1);
    },
    60_000,
  );
});

test('what nobody reads of the log is held up to a bound', async () => {
  const { command, browser } = await start(['pipe', 'pipe']);
  const held = () =>
    new Promise<number>((resolve) => {
      command.process.once('message', (bytes) => resolve(Number(bytes)));
      command.process.send('held');
    });
  await call(browser, 500);
  const before = await held();
  command.process.stdout?.pause();
  // 70 MB of log, of which 16 MB are held at most.
  expect(await call(browser, 10_000)).toEqual(new Set([200]));
  expect((await held()) - before).toBeLessThan(50 * 1024 * 1024);
}, 120_000);
