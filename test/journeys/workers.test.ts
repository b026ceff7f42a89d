/**
 * Several workers behind one port, as `sallyport start` runs them: they share the load, and nobody notices that one dies,
 * that all are replaced by others with a new configuration, or that the first process ends.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { startApi } from '../support/api.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { runSallyport, startCommand } from '../support/command-line.ts';
import { freePort, startListener } from '../support/listener.ts';
import { acceptWebSockets, closeOf, nextMessage, openSocket } from '../support/web-socket.ts';
import {
  beginLoad,
  isAlive,
  signInPeople,
  startWorkersWorld,
  whenCalled,
  type WorkersWorld,
} from '../support/workers.ts';
import { inParallel, signIn, startWorld, statusesOf, within } from '../support/world.ts';
import { holdCall } from '../support/held-call.ts';

/** A busy machine takes a while to start several processes. */
const patienceMs = 60_000;
vi.setConfig({ testTimeout: 2 * patienceMs });

/** Which workers answered requests, by their log lines. */
function servingWorkers({ linesOf }: WorkersWorld): Set<unknown> {
  return new Set(linesOf('request').map(({ worker }) => worker));
}

/**
 * Opens tabs whose connections are at this worker: the system gives a connection to whichever wakes first, so the others
 * sleep meanwhile.
 */
async function tabsAt(world: WorkersWorld, worker: number, browser: BrowserClient, count: number) {
  const others = [...world.pids()].filter(([other]) => other !== worker).map(([, pid]) => pid);
  const tabs = Array.from({ length: count }, () => browser.clone());
  for (const pid of others) process.kill(pid, 'SIGSTOP');
  try {
    expect(statusesOf(await Promise.all(tabs.map((tab) => tab.fetch('/api/x'))))).toEqual([200]);
  } finally {
    for (const pid of others) process.kill(pid, 'SIGCONT');
  }
  return tabs;
}

async function tabsAtBoth(world: WorkersWorld, browser: BrowserClient, count: number) {
  return [...(await tabsAt(world, 1, browser, count)), ...(await tabsAt(world, 2, browser, count))];
}

async function signInOne(world: WorkersWorld): Promise<BrowserClient> {
  const browser = world.client();
  await signIn(browser);
  return browser;
}

function pidOf(pids: ReadonlyMap<number, number>, worker: number): number {
  const pid = pids.get(worker);
  if (pid === undefined) throw new Error(`worker ${worker} does not listen`);
  return pid;
}

/** Whether a connection to the app's port is taken. */
function isTaken(world: WorkersWorld): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(world.origin).port), '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

describe('several workers', () => {
  test('forget no sign-out in a restart, where the first process holds a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-workers-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const store = { file: join(folder, 'store.db') };
    const world = await startWorkersWorld({ config: { store } });
    const browser = await signInOne(world);
    const thief = browser.clone();
    expect((await thief.fetch('/api/x')).status).toBe(200);
    await browser.fetch('/bff/logout', { method: 'POST' });
    browser.close();
    world.command.process.kill('SIGTERM');
    await within(patienceMs / 1000, world.command.ended, 'the first process goes on');
    await startCommand({ ...world.started, store });
    const answers = await inParallel(8, () => thief.clone().fetch('/api/x'));
    expect(statusesOf(answers)).toEqual([401]);
  });

  test('share the connections, and say once that they listen', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    await tabsAtBoth(world, browser, 4);
    await vi.waitFor(() => expect(servingWorkers(world)).toEqual(new Set([1, 2])), { timeout: patienceMs });
    expect(world.linesOf('listening')).toEqual([
      expect.objectContaining({ port: Number(new URL(world.origin).port), workers: 2 }),
    ]);
    expect(world.linesOf('listening')[0]).not.toHaveProperty('worker');
    expect(new Set(world.pids().values()).size).toBe(2);
    expect(world.command.errors()).toBe('');
  });

  test('agree on a refresh: parallel calls at both redeem a refresh token once', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    for (let round = 1; round <= 3; round += 1) {
      const tabs = await tabsAtBoth(world, browser, 8);
      const { token: old } = world.api.last();
      world.api.rejectTokens((token) => token === old);
      world.provider.resetCalls();
      const answers = await Promise.all(tabs.map((tab) => tab.fetch('/api/x')));
      expect(statusesOf(answers)).toEqual([200]);
      expect(world.provider.calls.token).toBe(1);
      await browser.fetch('/api/x');
      for (const tab of tabs) tab.close();
    }
    await vi.waitFor(() => expect(servingWorkers(world)).toEqual(new Set([1, 2])), { timeout: patienceMs });
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('agree on a sign-out: a copied cookie is worth nothing at any of them', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    // Both know the session, and would answer from what they keep of it.
    const thieves = await tabsAtBoth(world, browser, 4);
    const { headers } = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(headers['set-cookie']).toBeDefined();
    await sleep(100);
    const answers = await Promise.all(thieves.map((thief) => thief.fetch('/api/x')));
    expect(statusesOf(answers)).toEqual([401]);
  });

  test('write whole lines, also where whoever reads the log is slow', async () => {
    const world = await startWorkersWorld();
    const browsers = await signInPeople(world, 8);
    const load = beginLoad(browsers);
    world.command.process.stdout?.pause();
    await whenCalled(load, 4000);
    world.command.process.stdout?.resume();
    await load.stop();
    // `lines` parses each.
    await vi.waitFor(() => expect(world.linesOf('request').length).toBeGreaterThan(4000), { timeout: patienceMs });
  });
});

describe('an operator', () => {
  test('lists and ends the sessions of all workers, with the token of the moment', async () => {
    const opsToken = randomBytes(32).toString('hex');
    const opsPort = await freePort();
    const world = await startWorkersWorld({ ops: { opsPort, opsToken } });
    const browser = await signInOne(world);
    const tabs = await tabsAtBoth(world, browser, 2);
    const ask = (token: string, method = 'GET') =>
      fetch(`http://127.0.0.1:${opsPort}/sessions?sub=alice`, {
        method,
        headers: { authorization: `Bearer ${token}` },
      });
    expect((await (await ask(opsToken)).json()) as object).toEqual({ sessions: [expect.any(Object)] });
    const other = randomBytes(32).toString('hex');
    await world.command.configure({ ...world.started, listen: { ...world.started.listen, opsToken: other } });
    const earlier = world.pids();
    world.command.process.kill('SIGHUP');
    await whenReplaced(world, earlier);
    expect((await ask(opsToken, 'DELETE')).status).toBe(401);
    for (const tab of tabs) tab.close();
    const anew = await tabsAtBoth(world, browser, 2);
    expect((await ask(other, 'DELETE')).status).toBe(204);
    await sleep(100);
    expect(statusesOf(await Promise.all(anew.map((tab) => tab.fetch('/api/x'))))).toEqual([401]);
  });
});

describe('a worker that dies', () => {
  test('takes only its own calls with it, and another takes its place', async () => {
    const world = await startWorkersWorld();
    const browsers = await signInPeople(world, 8);
    const load = beginLoad(browsers);
    await whenCalled(load, 200);
    for (let round = 0; round < 3; round += 1) {
      const before = world.pids();
      const victim = pidOf(before, (round % 2) + 1);
      const killedAt = performance.now();
      const failedBefore = load.failed().length;
      process.kill(victim, 'SIGKILL');
      await world.whenListening(2, [victim]);
      await whenCalled(load, 200);
      const failed = load.failed().slice(failedBefore);
      expect(failed.length).toBeLessThanOrEqual(browsers.length);
      // The connections that it had are reset at once; none that waits is lost.
      expect(failed.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'ECONNRESET')).toEqual([]);
      expect(Math.max(0, ...failed.map(({ begunAt }) => begunAt - killedAt))).toBeLessThan(100);
    }
    await load.stop();
    expect(world.linesOf('worker.failed')).toHaveLength(3);
    expect(world.linesOf('worker.failed')[0]).toMatchObject({ level: 50, reason: 'signal SIGKILL' });
  });

  test('gets its share of the connections that clients keep, once it is back', async () => {
    const world = await startWorkersWorld();
    const victim = pidOf(world.pids(), 2);
    process.kill(victim, 'SIGKILL');
    const tabs = await signInOne(world).then((browser) => Array.from({ length: 12 }, () => browser.clone()));
    const load = beginLoad(tabs, { kept: true });
    await world.whenListening(2, [victim]);
    await whenCalled(load, 1000);
    const shareOfSecond = () => {
      const latest = world.linesOf('request').slice(-500);
      return latest.filter(({ worker }) => worker === 2).length / latest.length;
    };
    await vi.waitFor(() => expect(Math.abs(shareOfSecond() - 0.5)).toBeLessThan(0.25), {
      timeout: patienceMs,
      interval: 200,
    });
    await load.stop();
    expect(load.failed()).toEqual([]);
  });

  test('together with all others leaves connections waiting, not refused', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    browser.close();
    for (const pid of world.pids().values()) process.kill(pid, 'SIGKILL');
    await vi.waitFor(async () => expect(await world.command.statusOf('/readyz')).toBe(503));
    const answers = await inParallel(10, () => browser.clone().fetch('/bff/session'));
    expect(statusesOf(answers)).toEqual([200]);
    await vi.waitFor(async () => expect(await world.command.statusOf('/readyz')).toBe(200), { timeout: patienceMs });
  });

  test('again and again is started with growing pauses', async () => {
    const world = await startWorkersWorld();
    for (let round = 0; round < 4; round += 1) {
      process.kill(pidOf(await world.whenListening(2), 1), 'SIGKILL');
      await vi.waitFor(() => expect(world.linesOf('worker.failed')).toHaveLength(round + 1));
    }
    expect(world.linesOf('worker.failed').map(({ restartSeconds }) => restartSeconds)).toEqual([0, 0.1, 0.2, 0.4]);
    await world.whenListening(2);
  });

  test('of an error that nothing caught finishes its calls, while another takes the new ones', async () => {
    const mischief = `data:text/javascript,process.on('SIGUSR2',()=>{throw(new(Error)('planted'))})`;
    const world = await startWorkersWorld({ before: `export NODE_OPTIONS="--import ${mischief}"; ` });
    const browser = await signInOne(world);
    const held = await holdCall(world.api, browser);
    const before = world.pids();
    for (const pid of before.values()) process.kill(pid, 'SIGUSR2');
    await world.whenListening(2, before.values());
    const answers = await inParallel(8, () => browser.clone().fetch('/api/quick'));
    expect(statusesOf(answers)).toEqual([200]);
    held.finish();
    expect((await held.answer).text).toBe('finished');
    await vi.waitFor(() => expect([...before.values()].filter(isAlive)).toEqual([]), { timeout: patienceMs });
    expect(world.linesOf('process.failed')).toHaveLength(2);
  });
});

/** The configuration is taken over: others listen in place of `earlier`. */
async function whenReplaced(world: WorkersWorld, earlier: ReadonlyMap<number, number>): Promise<void> {
  const count = world.linesOf('config.replaced').length;
  await vi.waitFor(() => expect(world.linesOf('config.replaced').length).toBeGreaterThan(count), {
    timeout: patienceMs,
  });
  await world.whenListening(earlier.size, earlier.values());
}

describe('SIGHUP', () => {
  test('rotates the sealing secrets without a failed call or a lost session', async () => {
    const world = await startWorkersWorld();
    const browsers = await signInPeople(world, 8);
    const [old = ''] = world.started.secrets;
    const fresh = 'a fresh sealing secret, of more than 32 characters';
    for (const secrets of [[old, fresh], [fresh, old], [fresh]]) {
      const load = beginLoad(browsers);
      await whenCalled(load, 100);
      await world.command.configure({ ...world.started, secrets });
      const earlier = world.pids();
      world.command.process.kill('SIGHUP');
      await whenReplaced(world, earlier);
      await whenCalled(load, 100);
      await load.stop();
      expect(load.failed()).toEqual([]);
      // Before the old one goes, every cookie must have been sealed anew.
      for (const browser of browsers) await browser.fetch('/bff/refresh', { method: 'POST' });
    }
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('takes a new API and a new number of workers over', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const other = await startListener((_request, response) => response.end('the other API'));
    const api = [{ path: '/api', target: `http://127.0.0.1:${other.port}` }];
    const load = beginLoad([browser]);
    await world.command.configure({ ...world.started, api, workers: 3 });
    const earlier = world.pids();
    world.command.process.kill('SIGHUP');
    await vi.waitFor(() => expect([...earlier.values()].filter(isAlive)).toEqual([]), { timeout: patienceMs });
    await vi.waitFor(async () => expect((await browser.fetch('/api/x')).text).toBe('the other API'));
    await load.stop();
    expect(load.failed()).toEqual([]);
    // A worker that dies now comes back with the new one, too.
    const replaced = await world.whenListening(3, earlier.values());
    for (const pid of replaced.values()) process.kill(pid, 'SIGKILL');
    await world.whenListening(3, replaced.values());
    browser.close();
    expect((await browser.fetch('/api/x')).text).toBe('the other API');
    await other.close();
  });

  test('takes another port over, and gives the old one back', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const port = await freePort();
    const opsPort = await freePort();
    await world.command.configure({ ...world.started, listen: { port, opsPort } });
    const earlier = world.pids();
    world.command.process.kill('SIGHUP');
    await whenReplaced(world, earlier);
    browser.routeTo(port);
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(await isTaken(world)).toBe(false);
    expect((await fetch(`http://127.0.0.1:${opsPort}/readyz`)).status).toBe(200);
    await expect(world.command.statusOf('/readyz')).rejects.toThrow('fetch failed');
  });

  test('refuses a configuration with faults, logs all of them, and goes on with the old one', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const before = world.pids();
    await world.command.configure({ ...world.started, secrets: ['short'], drainSeconds: -1 });
    world.command.process.kill('SIGHUP');
    await vi.waitFor(() => expect(world.linesOf('config.refused')).toHaveLength(1), { timeout: patienceMs });
    const [refused] = world.linesOf('config.refused');
    expect(refused).toMatchObject({ level: 50, faults: [expect.any(String), expect.any(String)] });
    expect(refused?.['faults']).toEqual([
      expect.stringMatching(/^secrets\.0: is too short/),
      expect.stringMatching(/^drainSeconds: must be at least 0/),
    ]);
    // A worker that dies now comes back with the old one, too.
    process.kill(pidOf(before, 1), 'SIGKILL');
    await world.whenListening(2, [pidOf(before, 1)]);
    expect(pidOf(world.pids(), 2)).toBe(pidOf(before, 2));
    const answers = await inParallel(8, () => browser.clone().fetch('/api/x'));
    expect(statusesOf(answers)).toEqual([200]);
    expect(await world.command.statusOf('/readyz')).toBe(200);
  });

  test.each([
    ['a port that is in use', async ({ api }: WorkersWorld) => ({ listen: { port: api.port } }), /EADDRINUSE/],
    [
      'another kind of store',
      async () => ({ redisUrl: 'redis://127.0.0.1:1' }),
      /redisUrl: cannot be added or removed/,
    ],
  ])('refuses %s', async (_story, change, fault) => {
    const world = await startWorkersWorld();
    const before = world.pids();
    await world.command.configure({ ...world.started, ...(await change(world)) });
    world.command.process.kill('SIGHUP');
    await vi.waitFor(() => expect(world.linesOf('config.refused')).toHaveLength(1), { timeout: patienceMs });
    expect(world.linesOf('config.refused')[0]?.['faults']).toEqual([expect.stringMatching(fault)]);
    expect(world.pids()).toEqual(before);
    expect(await isTaken(world)).toBe(true);
  });

  test.each([
    ['ends the process that reads it', 'process.exit();', /ends the process that reads it/],
    ['throws', `throw new Error('planted');`, /planted/],
  ])('refuses a file in code that %s', async (_story, change, fault) => {
    // The first reading is in the first process itself, later ones are in threads.
    const code = `if (!process.getBuiltinModule('node:worker_threads').isMainThread) { ${change} }`;
    const world = await startWorkersWorld({ code });
    const before = world.pids();
    for (let round = 1; round <= 2; round += 1) {
      world.command.process.kill('SIGHUP');
      await vi.waitFor(() => expect(world.linesOf('config.refused')).toHaveLength(round), { timeout: patienceMs });
    }
    expect(world.linesOf('config.refused')[0]?.['faults']).toEqual([expect.stringMatching(fault)]);
    expect(world.pids()).toEqual(before);
  });

  test('20 times in a row ends with as many workers, and no failed call', async () => {
    const world = await startWorkersWorld();
    const browsers = await signInPeople(world, 6);
    const load = beginLoad(browsers);
    await whenCalled(load, 50);
    const before = world.pids();
    for (let count = 0; count < 20; count += 1) {
      world.command.process.kill('SIGHUP');
      await sleep(100);
    }
    await vi.waitFor(() => expect(world.linesOf('config.replaced').length).toBeGreaterThan(1), { timeout: patienceMs });
    const handled = () => world.linesOf('config.replaced').length;
    await vi.waitFor(
      async () => {
        const now = handled();
        await sleep(3000);
        expect(handled()).toBe(now);
      },
      { timeout: patienceMs },
    );
    await world.whenListening(2, before.values());
    await load.stop();
    expect(load.failed()).toEqual([]);
    const started = world.linesOf('worker.started').map(({ pid }) => Number(pid));
    expect(started.filter(isAlive)).toHaveLength(2);
  });
});

describe('the end', () => {
  test('by SIGTERM finishes the calls that run, one worker after the other, and ends with 0', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const go = Promise.withResolvers<void>();
    let arrived = 0;
    world.api.answer(async () => {
      arrived += 1;
      await go.promise;
      return { body: 'finished' };
    });
    const tabs = Array.from({ length: 16 }, () => browser.clone());
    const slow = tabs.map((tab) => tab.fetch('/api/slow'));
    await vi.waitFor(() => expect(arrived).toBe(16));
    const pids = [...world.pids().values()];
    world.command.process.kill('SIGTERM');
    await vi.waitFor(async () => expect(await world.command.statusOf('/readyz')).toBe(503));
    expect(await world.command.statusOf('/livez')).toBe(200);
    go.resolve();
    expect(statusesOf(await Promise.all(slow))).toEqual([200]);
    expect(await within(patienceMs / 1000, world.command.ended, 'the first process goes on')).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await isTaken(world)).toBe(false);
    expect(world.command.lines().at(-1)).toMatchObject({ msg: 'stopped' });
    expect(world.linesOf('worker.failed')).toEqual([]);
  });

  test('by SIGTERM loses no call of a load balancer that looks whether the server is ready', async () => {
    const world = await startWorkersWorld({ config: { drainSeconds: 10, drain: { waitSeconds: 2 } } });
    const load = beginLoad(await signInPeople(world, 8));
    await whenCalled(load, 100);
    world.command.process.kill('SIGTERM');
    const looking = { interval: 200, timeout: patienceMs };
    await vi.waitFor(async () => expect(await world.command.statusOf('/readyz')).toBe(503), looking);
    await whenCalled(load, 10);
    await load.stop();
    expect(load.failed()).toEqual([]);
    expect(await within(patienceMs / 1000, world.command.ended, 'the first process goes on')).toBe(0);
  });

  test('by SIGINT of a terminal, which every process gets, finishes the calls that run', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const held = await holdCall(world.api, browser);
    const pids = [...world.pids().values()];
    for (const pid of [...pids, Number(world.command.process.pid)]) process.kill(pid, 'SIGINT');
    await sleep(300);
    held.finish();
    expect((await held.answer).text).toBe('finished');
    expect(await within(patienceMs / 1000, world.command.ended, 'the first process goes on')).toBe(0);
    expect(world.linesOf('worker.failed')).toEqual([]);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'])('is not a worker’s to decide: %s does nothing to it', async (signal) => {
    const world = await startWorkersWorld();
    const before = world.pids();
    for (const pid of before.values()) process.kill(pid, signal);
    await sleep(500);
    expect([...before.values()].every(isAlive)).toBe(true);
    expect((await world.client().fetch('/bff/session')).status).toBe(200);
  });

  test('of the first process by SIGKILL lets the workers finish their calls, and frees the port', async () => {
    const world = await startWorkersWorld();
    const browser = await signInOne(world);
    const held = await holdCall(world.api, browser);
    const pids = [...world.pids().values()];
    world.command.process.kill('SIGKILL');
    await sleep(300);
    held.finish();
    expect((await held.answer).text).toBe('finished');
    await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), { timeout: patienceMs });
    expect(await isTaken(world)).toBe(false);
  });

  test('of the first process by an error that nothing caught drains the workers', async () => {
    const code = `process.on('message', () => setTimeout(() => { throw new Error('planted'); }));`;
    const world = await startWorkersWorld({ code });
    const pids = [...world.pids().values()];
    world.command.process.send('throw');
    expect(await within(patienceMs / 1000, world.command.ended, 'the first process goes on')).toBe(1);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(world.linesOf('process.failed')).toHaveLength(1);
  });
});

/** Runs the command to its end, with two workers. */
async function runToItsEnd(changes: Partial<ConfigInput>, env: Readonly<Record<string, string>> = {}) {
  const world = await startWorld();
  await world.server.close();
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-workers-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'sallyport.config.json');
  await writeFile(file, JSON.stringify({ ...world.config, workers: 2, ...changes }));
  return runSallyport(['start', '--config', file], { env });
}

describe('workers that cannot start', () => {
  test('because the port is in use end the command, with the reason and the remedy', async () => {
    const api = await startApi();
    onTestFinished(() => api.close());
    const { exitCode, errors, output } = await runToItsEnd({ listen: { port: api.port } });
    expect(exitCode).toBe(1);
    expect(errors).toMatch(/^The port is in use: .*EADDRINUSE.*Stop the other program, or set SALLYPORT_PORT\.\n$/);
    expect(output).toBe('');
  });

  test('because the listener for operations has its port taken end the command', async () => {
    const api = await startApi();
    onTestFinished(() => api.close());
    const { exitCode, errors } = await runToItsEnd({ listen: { port: await freePort(), opsPort: api.port } });
    expect([exitCode, errors]).toEqual([1, expect.stringContaining('EADDRINUSE')]);
  });

  test('because the address is not this machine’s end the command', async () => {
    const { exitCode, errors } = await runToItsEnd({ listen: { host: '192.0.2.1', port: await freePort() } });
    expect([exitCode, errors]).toEqual([1, expect.stringContaining('EADDRNOTAVAIL')]);
  });

  test('because each dies end the command after a few attempts', async () => {
    const dying = `data:text/javascript,if(process.send)process.kill(process.pid,'SIGKILL')`;
    const { exitCode, errors, output } = await runToItsEnd({}, { NODE_OPTIONS: `--import ${dying}` });
    expect([exitCode, errors]).toEqual([1, expect.stringContaining('SIGKILL')]);
    expect(output.match(/worker\.failed/g)?.length).toBeGreaterThan(3);
  });
});

describe('WebSockets', () => {
  test('are taken by every worker, and told to come again when it is replaced', async () => {
    const world = await startWorkersWorld();
    const sockets = acceptWebSockets(world.api);
    const browser = await signInOne(world);
    const opened = await Promise.all(Array.from({ length: 8 }, () => openSocket(world, browser)));
    expect(sockets.requests).toHaveLength(8);
    const closed = opened.map(({ socket }) => closeOf(socket, patienceMs / 1000));
    world.command.process.kill('SIGHUP');
    expect(new Set((await Promise.all(closed)).map(({ code }) => code))).toEqual(new Set([1012]));
    const { socket } = await openSocket(world, browser);
    socket.send('still there');
    expect((await nextMessage(socket)).toString()).toBe('still there');
  });
});
