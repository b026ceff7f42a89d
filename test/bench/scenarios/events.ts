/** Thousands of tabs that listen to `/bff/events`: what each costs in memory, all of them in CPU, and how soon they end. */
import { setTimeout as delay } from 'node:timers/promises';

import { fetchHeaders, signIn } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { sealMany, writeCookies } from '../cookies.ts';
import type { IdleCount, IdleOrder } from '../load/idle.ts';
import { cpuSeconds, median, memory } from '../measure.ts';

import { startGenerator } from './ask.ts';
import type { Bench, Scenario } from './scenario.ts';

/** Every stream gets one heartbeat in this time. */
const heartbeatSeconds = 25;

interface Round {
  readonly kibibytes: number;
  readonly cpuMsPerSecond: number;
  readonly endMs: number;
  readonly lost: number;
}

/** 5,000 sessions with a stream each. */
export const eventsScenario: Scenario = {
  name: 'events',
  async run(bench) {
    const count = Math.round(5000 * Math.min(1, bench.scale));
    const rounds: Round[] = [];
    for (let round = 0; round < bench.rounds; round += 1) rounds.push(await measure(bench, count));
    const of = (name: keyof Round): number => median(rounds.map((round) => round[name]));
    const values = { 'KiB/stream': of('kibibytes'), 'CPU ms/s': of('cpuMsPerSecond'), 'ms to the end': of('endMs') };
    return {
      scenario: 'events',
      title: `${count} idle streams of session events, of as many sessions`,
      figures: [{ contender: 'sallyport', values }],
      goals: [
        {
          what: `${count} streams of session events: lost`,
          measured: Math.max(...rounds.map(({ lost }) => lost)),
          bound: 0,
          kind: 'exactly',
          unit: '',
        },
        {
          what: 'memory a stream, its session included',
          measured: of('kibibytes'),
          bound: 64,
          kind: 'at most',
          unit: 'KiB',
        },
        {
          what: 'CPU a second, heartbeats included',
          measured: of('cpuMsPerSecond'),
          bound: 25,
          kind: 'at most',
          unit: 'ms',
        },
      ],
      notes: [],
    };
  },
};

async function measure(bench: Bench, count: number): Promise<Round> {
  const running = await startSallyport(bench.around, { name: 'events' });
  const origin = `http://127.0.0.1:${running.port}`;
  const cookie = await signIn(origin, '/bff/login');
  const cookieFile = writeCookies('events', await sealMany(cookie, count));
  await delay(2000);
  const idleBytes = memory(running.pid).resident;
  const generator = startGenerator('idle');
  const order: IdleOrder = {
    port: running.port,
    eventStreams: count,
    webSockets: 0,
    eventStreamPath: '/bff/events',
    webSocketPath: '',
    headers: fetchHeaders(origin, cookie),
    origin,
    cookieFile,
    greeting: 'event: session',
  };
  const { open } = await generator.ask<{ open: number }>(order);
  await delay(3000);
  const kibibytes = (memory(running.pid).resident - idleBytes) / count / 1024;
  const cpuBefore = cpuSeconds(running.pid);
  await delay(heartbeatSeconds * 1000);
  const cpuMsPerSecond = ((cpuSeconds(running.pid) - cpuBefore) / heartbeatSeconds) * 1000;
  const { closed } = await generator.ask<IdleCount>('count');
  const startedAt = performance.now();
  await running.stop();
  const endMs = performance.now() - startedAt;
  await generator.stop();
  return { kibibytes, cpuMsPerSecond, endMs, lost: count - open + closed };
}
