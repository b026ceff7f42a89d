/**
 * All instances are restarted one after the other, behind a load balancer that gives each connection to the next one that
 * says it is ready, while people work: nobody notices.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { startCommand, type Command } from '../support/command-line.ts';
import { freePort } from '../support/listener.ts';
import { startRedis } from '../support/redis.ts';
import { startRoundRobin, type Backend, type RoundRobinBalancer } from '../support/round-robin-balancer.ts';
import { callHead, Wire } from '../support/wire.ts';
import { beginWork } from '../support/work.ts';
import { outcomeOf, signIn, startWorld, within, type World } from '../support/world.ts';

interface Fleet {
  readonly world: World;
  readonly balancer: RoundRobinBalancer;
  /** Stops an instance as a supervisor does, and starts it again when it has ended. @returns its exit code */
  readonly restart: (index: number) => Promise<number | string>;
}

/** Two processes that share a store, and the balancer at the address of the app. */
async function startFleet(): Promise<Fleet> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld();
  await world.server.close();
  const backends: Backend[] = [];
  for (let count = 0; count < 2; count += 1) backends.push({ port: await freePort(), opsPort: await freePort() });
  const commands: Command[] = [];
  const start = ({ port, opsPort }: Backend): Promise<Command> => {
    const settings: Partial<ConfigInput> = { listen: { port, opsPort }, redisUrl: redis.url, logLevel: 'info' };
    return startCommand({ ...world.config, ...settings, drainSeconds: 10, drain: { waitSeconds: 1.5 } });
  };
  for (const backend of backends) commands.push(await start(backend));
  const balancer = await startRoundRobin(backends, Number(new URL(world.origin).port));
  onTestFinished(() => balancer.close());
  return {
    world,
    balancer,
    async restart(index) {
      commands[index]?.process.kill('SIGTERM');
      const code = await within(12, commands[index]?.ended ?? Promise.resolve('none'), 'the process goes on');
      commands[index] = await start(backends[index] as Backend);
      await vi.waitFor(() => expect(balancer.ready()).toBe(2), { timeout: 5000, interval: 20 });
      return code;
    },
  };
}

/** Writes as well as reads: nobody may repeat a POST for them. */
function calls(browser: BrowserClient, pauseMs: number): (turn: number) => Promise<number | string> {
  return async (turn) => {
    await sleep(pauseMs);
    const [method, body] = turn % 2 === 0 ? ['GET', undefined] : ['POST', { turn }];
    return outcomeOf(browser.fetch(`/api/${turn}`, { method, ...(body === undefined ? {} : { body }) }));
  };
}

async function signsIn({ client }: World): Promise<number | string> {
  const browser = client();
  await sleep(50);
  const outcome = await outcomeOf(signIn(browser).then(() => ({ status: 200 })));
  browser.close();
  return outcome;
}

test('no call fails while every instance is restarted, and no sign-in', { timeout: 90_000 }, async () => {
  const { world, balancer, restart } = await startFleet();
  const people: BrowserClient[] = [];
  for (let count = 0; count < 6; count += 1) people.push(world.client());
  for (const person of people) await signIn(person);
  // From people who never pause to those whose connection lies idle for most of the time.
  const pauses = [0, 0, 5, 50, 300, 700];
  const work = beginWork([...people.map((person, index) => calls(person, pauses[index] ?? 0)), () => signsIn(world)]);

  for (const index of [0, 1, 0]) expect(await restart(index)).toBe(0);
  const outcomes = await work.stop();

  expect([...outcomes.keys()]).toEqual([200]);
  expect(outcomes.get(200)).toBeGreaterThan(200);
  expect(Math.min(...balancer.given)).toBeGreaterThan(10);
  expect(world.provider.reusedRefreshTokens).toBe(0);
  for (const person of people) expect((await person.fetch('/bff/session')).at('authenticated')).toBe(true);
});

test('event streams are told when to come again, and the other instance takes them', { timeout: 60_000 }, async () => {
  const { world, balancer, restart } = await startFleet();
  const browser = world.client();
  await signIn(browser);
  world.api.handleRaw((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: 1\ndata: 1\n\n');
  });
  const { port } = new URL(world.origin);
  const listenToEvents = async () => {
    const wire = new Wire(Number(port));
    onTestFinished(() => void wire.socket.destroy());
    wire.write(`${callHead(browser, 'GET', '/api/events')}Accept: text/event-stream\r\n\r\n`);
    await within(
      5,
      wire.until(({ bytes }) => bytes.includes('data: 1\n\n')),
      'no event came',
    );
    return wire;
  };
  // One on each instance.
  const before = [await listenToEvents(), await listenToEvents()];
  expect(Math.min(...balancer.given)).toBeGreaterThan(0);
  for (const index of [0, 1]) expect(await restart(index)).toBe(0);
  for (const wire of before) {
    const { responses } = await within(1, wire.ended(), 'the stream stayed');
    expect(responses[0]?.complete).toBe(true);
    expect(responses[0]?.body.toString()).toMatch(/^id: 1\ndata: 1\n\nretry: \d{4}\n\n$/);
  }
  await listenToEvents();
});
