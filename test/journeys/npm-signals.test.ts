/**
 * `npm run serve` and `npm start`, told to stop by a supervisor that knows npm's process only, by Ctrl+C, which reaches all
 * processes of a terminal, and by the end of npm itself: the server ends with npm, and finishes what runs.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { folderWith } from '../support/configuration-folder.ts';
import { accepts, freePort } from '../support/listener.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';
import { holdCall } from '../support/held-call.ts';

const root = join(import.meta.dirname, '../..');

interface NpmRun {
  readonly npm: ChildProcess;
  /** Resolves with npm's exit code or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly output: () => string;
}

/** Runs a script of this package in a process group of its own, as a shell at a terminal does. */
function runScript(words: readonly string[], env: Readonly<Record<string, string>> = {}): NpmRun {
  // Without `prestart` and `preserve`, which install what is missing.
  const npm = spawn('npm', ['run', '--ignore-scripts', ...words], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
  });
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) stream.setEncoding('utf8').on('data', (text) => void (output += text));
  const ended = once(npm, 'exit').then(([code, signal]) => (signal ?? code) as number | string);
  onTestFinished(() => {
    try {
      process.kill(-Number(npm.pid), 'SIGKILL');
    } catch {
      // All of the group has ended.
    }
  });
  return { npm, ended, output: () => output };
}

interface Served extends NpmRun {
  readonly world: World;
  /** A call that the API holds until it is let go. */
  readonly beginCall: () => Promise<{ readonly answer: Promise<{ text: string }>; readonly finish: () => void }>;
  readonly isServing: () => Promise<boolean>;
  readonly untilUnready: () => Promise<void>;
}

async function serveByNpm(): Promise<Served> {
  const world = await startWorld();
  await world.server.close();
  const opsPort = await freePort();
  const config = { ...world.config, listen: { ...world.config.listen, opsPort }, drainSeconds: 20 };
  const folder = await folderWith({});
  const file = join(folder, 'sallyport.config.json');
  await writeFile(file, JSON.stringify(config));
  const run = runScript(['serve', '--', '--config', file]);
  const untilReadinessIs = (status: number) =>
    vi.waitFor(
      async () => {
        if (run.npm.exitCode !== null) throw new Error(run.output());
        expect((await fetch(`http://127.0.0.1:${opsPort}/readyz`)).status).toBe(status);
      },
      { timeout: 20_000, interval: 20 },
    );
  await untilReadinessIs(200);
  const beginCall = async () => {
    const browser = world.client();
    await signIn(browser);
    return holdCall(world.api, browser);
  };
  return { ...run, world, beginCall, isServing: () => accepts(opsPort), untilUnready: () => untilReadinessIs(503) };
}

async function untilGone({ isServing }: Served): Promise<void> {
  await vi.waitFor(async () => expect(await isServing()).toBe(false), { timeout: 5000, interval: 50 });
}

test('SIGTERM to npm stops the server, and npm ends when the server has finished what runs', async () => {
  const served = await serveByNpm();
  const call = await served.beginCall();
  served.npm.kill('SIGTERM');
  await served.untilUnready();
  expect(await served.isServing()).toBe(true);
  expect(served.npm.exitCode).toBeNull();
  call.finish();
  expect((await call.answer).text).toBe('finished');
  expect(await within(5, served.ended, 'npm goes on')).toBe(0);
  expect(await served.isServing()).toBe(false);
  expect(served.output()).toContain('"stopped"');
});

test('Ctrl+C, which the server gets twice, stops it once: what runs is finished', async () => {
  const served = await serveByNpm();
  const call = await served.beginCall();
  process.kill(-Number(served.npm.pid), 'SIGINT');
  await served.untilUnready();
  // npm has passed its own on by now, but the system makes one of two that wait at the same time.
  served.npm.kill('SIGINT');
  await sleep(500);
  expect(await served.isServing()).toBe(true);
  call.finish();
  expect((await call.answer).text).toBe('finished');
  expect(await within(5, served.ended, 'npm goes on')).toBe(0);
});

test.each(['SIGHUP', 'SIGKILL'] as const)(
  'the end of npm by %s, which it passes on to nobody, stops the server',
  async (signal) => {
    const served = await serveByNpm();
    const call = await served.beginCall();
    served.npm.kill(signal);
    expect(await within(5, served.ended, 'npm goes on')).toBe(signal);
    await served.untilUnready();
    call.finish();
    expect((await call.answer).text).toBe('finished');
    await untilGone(served);
  },
);

test.each(['SIGTERM', 'SIGHUP'] as const)('%s to npm stops the demo with all of its servers', async (signal) => {
  const folder = await folderWith({ 'spa/index.html': '<p>the app</p>' });
  const port = await freePort();
  const run = runScript(['start'], { SALLYPORT_PORT: String(port), SALLYPORT_SPA: join(folder, 'spa') });
  await vi.waitFor(() => expect(run.output()).toContain('Ctrl+C stops everything.'), { timeout: 20_000 });
  expect(await accepts(port)).toBe(true);
  run.npm.kill(signal);
  expect(await within(5, run.ended, 'npm goes on')).toBe(signal === 'SIGTERM' ? 0 : signal);
  await vi.waitFor(async () => expect(await accepts(port)).toBe(false), { timeout: 5000, interval: 50 });
});
