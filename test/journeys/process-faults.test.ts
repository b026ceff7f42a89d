/**
 * An error that nothing caught, in the process that the command line runs: it says what happened, takes no new work,
 * finishes what runs, and ends with 1, so that its supervisor starts a fresh one.
 */
import { describe, expect, test, vi } from 'vitest';
import { startCommand, type Command } from '../support/command-line.ts';
import { freePort } from '../support/listener.ts';
import { outcomeOf, signIn, startWorld, within, type World } from '../support/world.ts';
import { holdCall } from '../support/held-call.ts';

/** Does what it is told by the test, amid the running server. */
const mischief = `
process.on('message', (message) => {
  const stream = new (process.getBuiltinModule('node:stream').PassThrough)();
  const deeper = new Error('deeper', { cause: new TypeError('the reason') });
  const deeds = {
    throws: () => setTimeout(function planted() { throw deeper; }),
    rejects: () => void Promise.reject(deeper),
    emits: () => stream.destroy(deeper),
    'throws no error': () => setTimeout(() => { throw 'a text with s3cret' ; }),
    'throws nothing': () => setTimeout(() => { throw undefined; }),
    'throws for ever': () => setInterval(() => { throw deeper; }, 1),
  };
  deeds[message]();
});
`;

interface Running {
  readonly world: World;
  readonly command: Command;
  readonly fatal: () => readonly Readonly<Record<string, unknown>>[];
}

async function startRunning(drainSeconds = 10): Promise<Running> {
  const world = await startWorld();
  await world.server.close();
  const listen = { ...world.config.listen, opsPort: await freePort() };
  const command = await startCommand({ ...world.config, listen, drainSeconds, logLevel: 'info' }, { code: mischief });
  return { world, command, fatal: () => command.lines().filter(({ level }) => level === 60) };
}

/** A call that the API holds until it is let go. */
async function beginCall({ world }: Running) {
  const browser = world.client();
  await signIn(browser);
  return { ...(await holdCall(world.api, browser)), browser };
}

describe('an error that nothing caught', () => {
  test.each(['throws', 'rejects', 'emits'])(
    '(%s) is told with its cause, and the process drains and ends with 1',
    async (deed) => {
      const running = await startRunning();
      const { command, fatal, world } = running;
      const call = await beginCall(running);
      command.process.send(deed);

      await vi.waitFor(async () => expect(await command.statusOf('/readyz')).toBe(503), { timeout: 5000 });
      expect(await command.statusOf('/livez')).toBe(200);
      // New connections are refused; the call that runs is finished.
      expect(await outcomeOf(world.client().fetch('/api/new'))).not.toBe(200);
      expect(command.process.exitCode).toBeNull();
      call.finish();
      expect((await call.answer).text).toBe('finished');

      expect(await within(5, command.ended, 'the process goes on')).toBe(1);
      expect(fatal()).toEqual([
        expect.objectContaining({
          count: 1,
          cause: expect.objectContaining({
            message: 'deeper',
            cause: expect.objectContaining({ name: 'TypeError', message: 'the reason' }),
          }),
        }),
      ]);
      expect(JSON.stringify(fatal())).toContain('sallyport.config.ts');
      expect(command.lines().at(-1)).toMatchObject({ msg: 'stopped' });
    },
  );

  test.each(['throws no error', 'throws nothing'])(
    'that is no error (%s) ends the process in the same way',
    async (deed) => {
      const { command, fatal } = await startRunning();
      command.process.send(deed);
      expect(await within(5, command.ended, 'the process goes on')).toBe(1);
      expect(fatal()).toEqual([expect.objectContaining({ count: 1 })]);
      expect(JSON.stringify(command.lines())).not.toContain('s3cret');
    },
  );

  test('again and again is counted, but doesn’t fill the log or hold the end up', async () => {
    const running = await startRunning();
    const call = await beginCall(running);
    running.command.process.send('throws for ever');
    await vi.waitFor(() => expect(running.fatal().length).toBeGreaterThan(5), { timeout: 5000 });
    call.finish();
    expect((await call.answer).text).toBe('finished');
    expect(await within(5, running.command.ended, 'the process goes on')).toBe(1);
    expect(running.fatal().map(({ count }) => count)).toEqual(running.fatal().map((_, index) => index + 1));
    expect(running.fatal().length).toBeLessThanOrEqual(100);
  });

  test('ends the process also where a call never ends', async () => {
    const running = await startRunning(1);
    const call = await beginCall(running);
    const outcome = outcomeOf(call.answer);
    running.command.process.send('throws');
    expect(await within(10, running.command.ended, 'the process goes on')).toBe(1);
    expect(await outcome).not.toBe(200);
    call.finish();
  });

  test('while the process is stopping anyway makes its end a failure', async () => {
    const running = await startRunning();
    const call = await beginCall(running);
    running.command.process.kill('SIGTERM');
    await vi.waitFor(async () => expect(await running.command.statusOf('/readyz')).toBe(503), { timeout: 5000 });
    running.command.process.send('rejects');
    await vi.waitFor(() => expect(running.fatal()).toHaveLength(1), { timeout: 5000 });
    call.finish();
    expect((await call.answer).text).toBe('finished');
    expect(await within(5, running.command.ended, 'the process goes on')).toBe(1);
  });
});

test('a process that is told to stop ends with 0', async () => {
  const { command, fatal } = await startRunning();
  command.process.kill('SIGTERM');
  expect(await within(5, command.ended, 'the process goes on')).toBe(0);
  expect(fatal()).toEqual([]);
});
