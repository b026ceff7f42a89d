/** What a process does when it is told to stop: by a supervisor, by a person at a terminal, and by the impatient of both. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { runSallyport, startCommand, type Command } from '../support/command-line.ts';
import { folderWith } from '../support/configuration-folder.ts';
import { freePort } from '../support/listener.ts';
import { outcomeOf, signIn, startWorld, within, type World } from '../support/world.ts';

interface Running {
  readonly world: World;
  readonly command: Command;
}

async function startRunning(waitSeconds: number): Promise<Running> {
  const world = await startWorld();
  await world.server.close();
  const listen = { ...world.config.listen, opsPort: await freePort() };
  const config = { ...world.config, listen, drainSeconds: 20, drain: { waitSeconds } };
  return { world, command: await startCommand(config) };
}

/** A call that the API never answers. */
async function beginEndlessCall({ world }: Running): Promise<{ readonly outcome: Promise<number | string> }> {
  const browser = world.client();
  await signIn(browser);
  const arrived = Promise.withResolvers<void>();
  world.api.handleRaw(() => arrived.resolve());
  const outcome = outcomeOf(browser.fetch('/api/endless'));
  await within(5, arrived.promise, 'the call did not arrive');
  return { outcome };
}

async function untilUnready({ command }: Running): Promise<void> {
  await vi.waitFor(async () => expect(await command.statusOf('/readyz')).toBe(503), { timeout: 5000, interval: 20 });
}

test('SIGTERM leaves load balancers their time, in which the server serves', async () => {
  const running = await startRunning(3);
  const { command, world } = running;
  const startedAt = performance.now();
  command.process.kill('SIGTERM');
  await untilUnready(running);
  expect((await world.client().fetch('/bff/session')).status).toBe(200);
  expect(await within(9, command.ended, 'the process goes on')).toBe(0);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(3000);
  expect(command.lines().map(({ msg }) => msg)).toEqual(expect.arrayContaining(['stopping', 'stopped']));
});

test('SIGINT, from a person at a terminal, waits for no load balancer', async () => {
  const { command } = await startRunning(15);
  command.process.kill('SIGINT');
  expect(await within(5, command.ended, 'the process goes on')).toBe(0);
  expect(command.lines().at(-1)).toMatchObject({ msg: 'stopped' });
});

describe('a second signal', () => {
  test.each([
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGINT'],
    ['SIGTERM', 'SIGINT'],
  ] as const)('after %s, %s, cuts what runs and ends the process at once', async (first, second) => {
    const running = await startRunning(15);
    const { command } = running;
    const { outcome } = await beginEndlessCall(running);
    command.process.kill(first);
    await untilUnready(running);
    await sleep(1200);
    expect(command.process.exitCode).toBeNull();
    command.process.kill(second);
    expect(await within(3, command.ended, 'the process goes on')).toBe(0);
    expect(command.lines().at(-1)).toMatchObject({ msg: 'stopped' });
    expect(await within(1, outcome, 'the call goes on')).toBe('Error');
  });
});

test('a second signal ends the process also while a refresh waits for the provider', async () => {
  const running = await startRunning(0);
  const { command, world } = running;
  const browser = world.client();
  await signIn(browser);
  const gate = world.provider.hold('refresh');
  const outcome = outcomeOf(browser.fetch('/bff/refresh', { method: 'POST' }));
  await within(5, gate.arrived, 'no refresh was begun');
  command.process.kill('SIGTERM');
  await untilUnready(running);
  await sleep(1200);
  command.process.kill('SIGTERM');
  expect(await within(3, command.ended, 'the process goes on')).toBe(0);
  gate.release();
  expect(await outcome).toBe('Error');
});

test('a signal that comes before the server runs ends it in order, too', async () => {
  const world = await startWorld();
  await world.server.close();
  const folder = await folderWith({});
  const file = join(folder, 'sallyport.config.ts');
  const code = `process.kill(process.pid, 'SIGTERM');\nawait new Promise((resolve) => setTimeout(resolve, 100));\n`;
  await writeFile(file, `${code}export default ${JSON.stringify(world.config)};\n`);
  const { exitCode, output } = runSallyport(['start', '--config', file]);
  expect(output).toContain('"stopped"');
  expect(exitCode).toBe(0);
});
