/**
 * Sallyport in a process of its own, under assault for a while, while others work with it; afterwards it must be the
 * process that it was.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigInput } from '../../src/config/config.ts';
import { below, commit, createRandom, type Assault, type Leaving, type Random } from './assault.ts';
import type { BrowserClient, Exchange } from './browser-client.ts';
import type { Listener } from './listener.ts';
import type { Gauges } from './measured-server.ts';
import { startMeasured, type SeparateServer } from './separate-server.ts';
import { startWhimsicalApi } from './whimsical-api.ts';
import { Wire } from './wire.ts';
import { signIn, startWorld, within, type World } from './world.ts';

/** How long each transport is under assault: `CHAOS_SECONDS=600 npm test -- attacks/chaos`. */
export const chaosSeconds = Number(process.env['CHAOS_SECONDS'] ?? 5);
/** From which all choices follow; what the clock does to them doesn't. */
export const chaosSeed = Number(process.env['CHAOS_SEED'] ?? 20_260_730);

const assailants = 16;
/** The pause of an assailant between two assaults, on average. */
const paceMs = 15;
/** The provider's answers to a refresh take so long, so that many calls come meanwhile. */
const refreshMs = 150;

export interface Siege {
  readonly world: World;
  readonly server: SeparateServer;
  readonly api: Listener;
  /** Signed in; their calls go to the process under assault. */
  readonly browsers: readonly BrowserClient[];
  /** The head of a request of one of them, without the empty line at its end. */
  readonly head: (random: Random, method: string, target: string, lines?: string) => string;
  /** Lets assailants in for {@link chaosSeconds}, while the signed-in work on. */
  readonly storm: (assaultOf: (random: Random) => Assault, seconds?: number) => Promise<void>;
  /** Sends a request and, when something has happened, leaves before it is answered. */
  readonly leave: (request: string, when: Promise<void>, leaving: Leaving) => Promise<void>;
  /**
   * What has gone wrong so far: the process ended, or met a fault of its own, or holds what it didn't hold before, or
   * didn't serve the signed-in. Waits until those who left can have been forgotten.
   */
  readonly harm: () => Promise<readonly string[]>;
  readonly stop: () => Promise<void>;
}

export type SiegeConfig = (base: ConfigInput) => Partial<ConfigInput>;

/** Call its `stop()` when all is over. */
export async function startSiege(overrides: SiegeConfig = () => ({})): Promise<Siege> {
  const api = await startWhimsicalApi();
  const world = await startWorld({}, { scope: 'manual' });
  // The other one takes its place.
  await world.server.close();
  const base: ConfigInput = {
    ...world.config,
    logLevel: 'info',
    api: [{ path: '/api', target: `http://127.0.0.1:${api.port}`, timeoutSeconds: 10, maxBodyBytes: 1024 * 1024 }],
  };
  const server = await startMeasured({ ...base, ...overrides(base) }, {}, { scope: 'manual' });
  // Due again all the time, and slow.
  world.provider.mutate('token', (json) => ({ ...json, expires_in: 2 }));
  world.provider.delay('refresh', refreshMs);
  // By default the connections to it would be kept for a minute.
  world.provider.server.keepAliveTimeout = 4000;
  const browsers = (['alice', 'bob'] as const).map(() => world.client());
  const [alice, bob] = browsers as [BrowserClient, BrowserClient];
  await signIn(alice, 'alice');
  await signIn(bob, 'bob');
  await work(alice);
  const before = await quiet();
  const failures: string[] = [];

  async function quiet(): Promise<Gauges> {
    for (const browser of browsers) browser.close();
    return server.gaugesWhenQuiet([api.server, world.provider.server]);
  }

  function head(random: Random, method: string, target: string, lines = ''): string {
    const browser = random() < 0.5 ? alice : bob;
    const { host } = new URL(world.origin);
    const own = `Host: ${host}\r\nSec-Fetch-Site: same-origin\r\nCookie: ${browser.cookieHeader() ?? ''}\r\n`;
    return `${method} ${target} HTTP/1.1\r\n${own}${lines}`;
  }

  async function storm(assaultOf: (random: Random) => Assault, seconds = chaosSeconds): Promise<void> {
    const endsAt = performance.now() + seconds * 1000;
    const isOver = () => performance.now() > endsAt || server.death !== undefined;
    const assail = async (index: number) => {
      const random = createRandom(chaosSeed + index);
      while (!isOver()) {
        await within(20, commit(server.port, assaultOf(random)), 'an assault hangs');
        // The provider and the API live in this process, and must keep up for those who work.
        await sleep(below(random, 2 * paceMs));
      }
    };
    const workOn = async (browser: BrowserClient) => {
      while (!isOver()) await work(browser);
    };
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: assailants }, (_, index) => assail(index)),
      ...browsers.map(workOn),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') failures.push(String(outcome.reason));
  }

  async function leave(request: string, when: Promise<void>, leaving: Leaving): Promise<void> {
    const { socket } = new Wire(server.port);
    socket.write(request, 'latin1');
    await within(5, when, 'it did not happen');
    const closed = once(socket, 'close');
    if (leaving === 'reset') socket.resetAndDestroy();
    else if (leaving === 'close') socket.destroy();
    else socket.end();
    await within(5, closed, 'the connection stays');
  }

  async function harm(): Promise<readonly string[]> {
    if (server.death !== undefined) return [server.death];
    await Promise.all(browsers.map(work)).catch((error: unknown) => failures.push(String(error)));
    const { warnings, faults, resources, descriptors } = await quiet();
    const left = Object.entries(resources).filter(([kind, count]) => count > (before.resources[kind] ?? 0));
    return [
      ...failures,
      ...warnings,
      ...faults,
      ...left.map(([kind, count]) => `${count} of ${kind}, before ${before.resources[kind] ?? 0}`),
      ...(descriptors > before.descriptors ? [`${descriptors} descriptors, before ${before.descriptors}`] : []),
    ];
  }

  async function stop(): Promise<void> {
    await server.stop();
    await world.stop();
    await api.close();
  }

  return { world, server, api, browsers, head, storm, leave, harm, stop };
}

/** What the app of somebody signed in does meanwhile; fails unless each call gets what it should. */
async function work(browser: BrowserClient): Promise<void> {
  demand(await browser.fetch('/api/small'), 'small');
  demand(await browser.fetch('/api/sink', { method: 'POST', body: 'something small' }), 'taken');
  demand(await browser.fetch('/bff/session'), '"authenticated":true');
}

function demand({ method, url, status, text }: Exchange, content: string): void {
  if (status !== 200 || !text.includes(content)) throw new Error(`${method} ${url}: ${status} ${text.slice(0, 500)}`);
}
