/** A sign-out at one of three instances: how soon do the other two know? */
import { request } from 'node:http';

import { call, fetchHeaders } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { signInMany } from '../cookies.ts';
import type { Running } from '../processes.ts';
import { startRedis } from '../redis.ts';

import type { Bench, Scenario } from './scenario.ts';

/** A stream that ends no sooner has not heard of the sign-out. */
const patienceMs = 2000;

/** What happened at the other instances after one sign-out, in milliseconds since it was sent. */
interface Seen {
  /** An event stream of the session ended. */
  readonly heard: readonly number[];
  /** A call was rejected. */
  readonly refused: readonly number[];
}

/** Revocation across instances. */
export const revocationScenario: Scenario = {
  name: 'revocation',
  async run(bench) {
    const count = Math.round(300 * Math.min(1, bench.scale));
    const redis = await startRedis();
    const instances = await startInstances(bench, `redis://127.0.0.1:${redis.port}`, 3);
    const [first, ...others] = instances;
    if (first === undefined) throw new Error('no instance');
    const origin = `http://127.0.0.1:${first.port}`;
    const heard: number[] = [];
    const refused: number[] = [];
    for (const cookie of await signInMany(origin, count)) {
      const seen = await signOut(first, others, fetchHeaders(origin, cookie));
      heard.push(...seen.heard);
      refused.push(...seen.refused);
    }
    for (const running of [...instances, redis]) await running.stop();
    const ofStreams = spread(heard);
    const ofCalls = spread(refused);
    const notHeard = heard.filter((ms) => ms >= patienceMs).length;
    const bound = { bound: 100, kind: 'at most', unit: 'ms' } as const;
    return {
      scenario: 'revocation',
      title: `${count} sign-outs at one of three instances with Redis, seen at the other two`,
      figures: [
        { contender: 'an open event stream ends', values: { 'p50 ms': ofStreams.p50, 'p99 ms': ofStreams.p99 } },
        { contender: 'a call is rejected', values: { 'p50 ms': ofCalls.p50, 'p99 ms': ofCalls.p99 } },
      ],
      goals: [
        { what: 'a sign-out ends streams at other instances: p99', measured: ofStreams.p99, ...bound },
        { what: 'a sign-out rejects calls at other instances: p99', measured: ofCalls.p99, ...bound },
      ],
      notes: [
        'Since the sign-out was sent. Calls are made one after the other.',
        ...(notHeard === 0 ? [] : [`${notHeard} of ${heard.length} streams went on for ${patienceMs} ms and more.`]),
      ],
    };
  },
};

/** Instances of one app: the first one's address is the origin of all. */
async function startInstances(bench: Bench, redisUrl: string, count: number): Promise<Running[]> {
  const instances: Running[] = [];
  while (instances.length < count) {
    const [first] = instances;
    const environment: Record<string, string> = { SALLYPORT_REDIS_URL: redisUrl };
    if (first !== undefined) environment['SALLYPORT_ORIGIN'] = `http://127.0.0.1:${first.port}`;
    instances.push(await startSallyport(bench.around, { name: `instance ${instances.length + 1}`, environment }));
  }
  return instances;
}

async function signOut(at: Running, others: readonly Running[], headers: Record<string, string>): Promise<Seen> {
  const ends = await Promise.all(others.map(({ port }) => openStream(port, headers)));
  for (const { port } of others) await expectStatus(port, headers, 200);
  const start = performance.now();
  const signedOut = call({ port: at.port, method: 'POST', path: '/bff/logout', headers, body: '' });
  const refusals = others.map(({ port }) => untilRefused(port, headers, start));
  const { status, body } = await signedOut;
  if (status !== 200) throw new Error(`the sign-out was answered with ${status} ${body.slice(0, 300)}`);
  return { heard: await Promise.all(ends.map((end) => end(start))), refused: await Promise.all(refusals) };
}

/** @returns waits for the stream's end, up to the patience; milliseconds since `start` */
async function openStream(port: number, headers: Record<string, string>): Promise<(start: number) => Promise<number>> {
  const { promise: opened, resolve: onOpen, reject } = Promise.withResolvers<void>();
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<number>();
  const stream = request(`http://127.0.0.1:${port}/stream/events`, { headers, agent: false }, (response) => {
    if (response.statusCode !== 200) reject(new Error(`an event stream was answered with ${response.statusCode}`));
    response.once('data', () => onOpen()).once('close', () => onEnd(performance.now()));
    // A stream that is broken off has ended, too.
    response.on('error', () => undefined);
  });
  stream.on('error', reject).end();
  await opened;
  return async (start) => {
    const timer = setTimeout(() => onEnd(start + patienceMs), patienceMs);
    const end = await ended;
    clearTimeout(timer);
    stream.destroy();
    return end - start;
  };
}

async function untilRefused(port: number, headers: Record<string, string>, start: number): Promise<number> {
  for (;;) {
    const { status } = await call({ port, method: 'GET', path: '/api/items', headers });
    const passed = performance.now() - start;
    if (status === 401 || passed > patienceMs) return passed;
    if (status !== 200) throw new Error(`a call during a sign-out was answered with ${status}`);
  }
}

async function expectStatus(port: number, headers: Record<string, string>, expected: number): Promise<void> {
  const { status, body } = await call({ port, method: 'GET', path: '/api/items', headers });
  if (status !== expected) throw new Error(`a call was answered with ${status} ${body.slice(0, 300)}`);
}

function spread(values: readonly number[]): { p50: number; p99: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
