/**
 * A worker that hangs: it neither dies nor answers. The first process misses its signs of life and puts another in its
 * place; a machine that slept, a first process that stood still and a debugger are no reason to.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { usualMissedSignsOfLife } from '../../src/server/workers.ts';
import { hangingSeconds } from '../support/impatient-start.ts';
import { beginLoad, isAlive, signInPeople, startWorkersWorld, whenCalled } from '../support/workers.ts';

vi.setConfig({ testTimeout: 120_000 });

/** Each SIGUSR2 keeps the event loop of a process for ever. */
const spinning = `data:text/javascript,process.on('SIGUSR2',()=>{for(;;);})`;
/** A worker that gives no sign of life for four seconds is taken for one that hangs. */
const impatient = { entry: join(import.meta.dirname, '../support/impatient-start.ts') };

test('a worker that hangs is replaced, and takes only its own calls with it', async () => {
  // It stands still, or does not come to an end with something.
  await Promise.all((['SIGSTOP', 'SIGUSR2'] as const).map(hangAndReplace));
});

async function hangAndReplace(signal: NodeJS.Signals): Promise<void> {
  const world = await startWorkersWorld({ ...impatient, before: `export NODE_OPTIONS="--import ${spinning}"; ` });
  const browsers = await signInPeople(world, 8);
  const load = beginLoad(browsers);
  await whenCalled(load, 100);
  const victim = Number(world.pids().get(1));
  const hungAt = performance.now();
  process.kill(victim, signal);
  // Those of people whose calls go to the other worker.
  await whenCalled(load, 200);
  expect(world.linesOf('worker.failed')).toEqual([]);
  await world.whenListening(2, [victim]);
  expect(performance.now() - hungAt).toBeGreaterThan((hangingSeconds - 2) * 1000);
  expect(isAlive(victim)).toBe(false);
  await whenCalled(load, 200);
  await load.stop();
  expect(load.failed().length).toBeLessThanOrEqual(browsers.length);
  expect(load.failed().filter(({ outcome }) => outcome !== 'ECONNRESET')).toEqual([]);
  expect(world.linesOf('worker.failed')).toEqual([
    expect.objectContaining({
      level: 50,
      worker: 1,
      pid: victim,
      reason: `no sign of life for ${hangingSeconds} seconds`,
      restartSeconds: 0,
    }),
  ]);
  for (const browser of browsers) expect((await browser.fetch('/api/x')).status).toBe(200);
  expect(world.provider.reusedRefreshTokens).toBe(0);
}

test('operators get more patience than these tests, because a busy machine may be silent for longer', () => {
  expect(usualMissedSignsOfLife).toBe(15);
});

test('no worker is replaced because all stood still, the first process did, or a debugger stops it', async () => {
  const [asleep, unwatched, inspected] = await Promise.all([
    startWorkersWorld(impatient),
    startWorkersWorld(impatient),
    startWorkersWorld({ ...impatient, before: 'export NODE_OPTIONS=--inspect=0; ' }),
  ]);
  const worlds = [asleep, unwatched, inspected];
  const first = ({ command }: typeof asleep) => Number(command.process.pid);
  const stopped = [first(asleep), ...asleep.pids().values(), first(unwatched), Number(inspected.pids().get(1))];
  const before = worlds.map((world) => world.pids());
  const resume = () => {
    for (const pid of stopped) if (isAlive(pid)) process.kill(pid, 'SIGCONT');
  };
  onTestFinished(resume);
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  await sleep((hangingSeconds + 2) * 1000);
  resume();
  // The next turns of the first processes' timers.
  await sleep(2000);
  for (const world of worlds) {
    expect(world.linesOf('worker.failed')).toEqual([]);
    const [browser] = await signInPeople(world, 1);
    expect((await browser?.fetch('/api/x'))?.status).toBe(200);
  }
  expect(worlds.map((world) => world.pids())).toEqual(before);
});
