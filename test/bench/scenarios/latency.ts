/** Tail latency at 60 % load: a Poisson stream of GETs at 0.6 of what each proxy can do. */
import { emptyLog } from '../contenders.ts';
import type { OpenLoopOrder, OpenLoopResult } from '../load/open-loop.ts';
import { median, wrk } from '../measure.ts';
import type { Goal } from '../report.ts';

import { ask } from './ask.ts';
import { note, pairedRatio, rotated, type Samples, type Scenario } from './scenario.ts';
import { getSpec } from './small-calls.ts';

/** p99 at 60 % load. */
export const latencyScenario: Scenario = {
  name: 'latency',
  async run(bench) {
    const contenders = bench.contenders.filter(({ name }) => name === 'sallyport' || name === 'bare');
    const rates = new Map<string, number>();
    for (const contender of contenders) {
      const { requestsPerSecond } = await wrk(getSpec(contender), 2, 32);
      rates.set(contender.name, requestsPerSecond * 0.6);
    }
    const p50: Samples = new Map();
    const p99: Samples = new Map();
    for (let round = 0; round < bench.rounds; round += 1) {
      for (const contender of rotated(contenders, round)) {
        const { port, path, headers } = getSpec(contender);
        const result = await ask<OpenLoopOrder, OpenLoopResult>('open-loop', {
          ...{ port, path, headers },
          connections: 32,
          requestsPerSecond: rates.get(contender.name) ?? 0,
          seconds: 1 + 3 * bench.scale,
          warmUpSeconds: 1,
        });
        if (result.errors > 0) throw new Error(`${contender.name}: ${result.errors} errors at 60 % load`);
        emptyLog(contender);
        note(p50, contender.name, result.p50);
        note(p99, contender.name, result.p99);
      }
    }
    const goals: Goal[] = [];
    const ratio = pairedRatio(p99, 'sallyport', 'bare');
    if (ratio !== undefined) {
      goals.push({
        what: 'GET 1 kB: p99 at 60 % load, against the bare proxy',
        measured: ratio,
        bound: 1.5,
        kind: 'at most',
        unit: 'x',
      });
    }
    return {
      scenario: 'latency',
      title: 'GET of 1 kB at 60 % of what each can do, open loop, Poisson arrivals',
      figures: contenders.map(({ name }) => ({
        contender: name,
        values: {
          'req/s': rates.get(name) ?? 0,
          'p50 ms': median(p50.get(name) ?? []),
          'p99 ms': median(p99.get(name) ?? []),
        },
      })),
      goals,
      notes: [],
    };
  },
};
