/** Thousands of idle Server-Sent-Event streams and WebSockets: are all alive, and what does each cost in memory? */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

import { httpGet } from '../client.ts';
import { type Contender, startContender } from '../contenders.ts';
import type { IdleCount, IdleOrder } from '../load/idle.ts';
import { memory } from '../measure.ts';
import type { Figure, Goal } from '../report.ts';

import { startGenerator } from './ask.ts';
import type { Bench, Scenario } from './scenario.ts';

/** One filling of a proxy with idle connections. */
interface Pass {
  readonly eventStreams: number;
  readonly webSockets: number;
}

/** 5,000 idle streams and 5,000 idle WebSockets. */
export const idleScenario: Scenario = {
  name: 'idle',
  async run(bench) {
    const each = Math.round(5000 * Math.min(1, bench.scale));
    const names = bench.contenders.map(({ name }) => name).filter((name) => name === 'sallyport' || name === 'bare');
    // A proxied connection takes two file descriptors.
    const limit = Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).replace('unlimited', '1e9'));
    const isRoomy = limit > 4 * each + 1000;
    const passes: Pass[] = isRoomy
      ? [{ eventStreams: each, webSockets: each }]
      : [
          { eventStreams: each, webSockets: 0 },
          { eventStreams: 0, webSockets: each },
        ];
    const figures: Figure[] = [];
    let lost = 0;
    for (const name of names) {
      const values: Record<string, number> = {};
      let total = 0;
      for (const pass of passes) {
        // A process of its own: what earlier scenarios left in the heap isn't part of a connection.
        const contender = await startContender(name, bench.around);
        const { bytes, missing } = await fill(bench, contender, pass);
        await contender.process.stop();
        total += bytes;
        if (name === 'sallyport') lost += missing;
        else if (missing > 0) throw new Error(`${name} lost ${missing} idle connections`);
        if (pass.webSockets === 0) values['KiB/event stream'] = bytes / each / 1024;
        if (pass.eventStreams === 0) values['KiB/WebSocket'] = bytes / each / 1024;
      }
      values['KiB/connection'] = total / (2 * each) / 1024;
      figures.push({ contender: name, values });
    }
    const per = (name: string): number | undefined =>
      figures.find(({ contender }) => contender === name)?.values['KiB/connection'];
    const [ours, bare] = [per('sallyport'), per('bare')];
    const goals: Goal[] = [];
    if (ours !== undefined && bare !== undefined) {
      goals.push(
        { what: `${2 * each} idle connections: lost`, measured: lost, bound: 0, kind: 'exactly', unit: '' },
        {
          what: 'idle connection: memory, against the bare proxy',
          measured: ours / bare,
          bound: 1.3,
          kind: 'at most',
          unit: 'x',
        },
      );
    }
    return {
      scenario: 'idle',
      title: `${each} idle event streams and ${each} idle WebSockets${isRoomy ? '' : ', one kind after the other'}`,
      figures,
      goals,
      notes: isRoomy
        ? []
        : [`Both kinds at once need more than the ${limit} file descriptors that a process may have here.`],
    };
  },
};

async function fill(bench: Bench, contender: Contender, pass: Pass): Promise<{ bytes: number; missing: number }> {
  const { pid, port } = contender.process;
  // No load before: a heap that it had grown would hold the connections for nothing, and hide what they cost.
  await delay(1000);
  const before = memory(pid).resident;
  const generator = startGenerator('idle');
  const order: IdleOrder = {
    port,
    ...pass,
    eventStreamPath: '/stream/events',
    webSocketPath: '/stream/socket',
    headers: contender.headers,
    origin: contender.origin,
  };
  await generator.ask<{ open: number }>(order);
  await delay(3000);
  const bytes = memory(pid).resident - before;
  const { status } = await httpGet(`http://127.0.0.1:${bench.around.streams.port}/broadcast`, { host: 'streams' });
  if (status !== 200) throw new Error(`the broadcast answered ${status}`);
  const expected = pass.eventStreams + pass.webSockets;
  const alive = await countAlive(generator, expected);
  await generator.stop();
  return { bytes, missing: expected - alive };
}

async function countAlive(generator: ReturnType<typeof startGenerator>, expected: number): Promise<number> {
  const deadline = Date.now() + 5000;
  let count: IdleCount;
  do {
    await delay(50);
    count = await generator.ask<IdleCount>('count');
  } while (count.alive < expected && Date.now() < deadline);
  return count.alive;
}
