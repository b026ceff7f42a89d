/** Tail latency at 60 % load: a Poisson stream of GETs at 0.6 of what each proxy can do. */
import { emptyLog } from '../contenders.ts';
import type { OpenLoopResult } from '../load/open-loop.ts';
import { median, wrk } from '../measure.ts';

import { ask } from './ask.ts';
import { note, ratioGoals, rotated, type Samples, type Scenario } from './scenario.ts';
import { getSpec } from './small-calls.ts';

/** p99 at 60 % load. */
export const latencyScenario: Scenario = {
  name: 'latency',
  async run(bench) {
    const contenders = bench.contenders.filter(({ name }) => name === 'sallyport' || name === 'bare');
    const rate: Samples = new Map();
    const p50: Samples = new Map();
    const p99: Samples = new Map();
    for (let round = 0; round < bench.rounds; round += 1) {
      for (const contender of rotated(contenders, round)) {
        // What a proxy can do is measured anew each round, for it changes with what else the machine does.
        const full = await wrk(getSpec(contender), 2, 32);
        const requestsPerSecond = full.requestsPerSecond * 0.6;
        const { port, path, headers } = getSpec(contender);
        const result = await ask<OpenLoopResult>('open-loop', {
          port,
          path,
          headers,
          connections: 32,
          requestsPerSecond,
          seconds: 1 + 3 * bench.scale,
          warmUpSeconds: 1,
        });
        if (result.errors > 0) throw new Error(`${contender.name}: ${result.errors} errors at 60 % load`);
        emptyLog(contender);
        note(rate, contender.name, requestsPerSecond);
        note(p50, contender.name, result.p50);
        note(p99, contender.name, result.p99);
      }
    }
    const what = 'GET 1 kB: p99 at 60 % load, against the bare proxy';
    const goals = ratioGoals(p99, 'bare', { what, bound: 1.5, kind: 'at most' });
    return {
      scenario: 'latency',
      title: 'GET of 1 kB at 60 % of what each can do, open loop, Poisson arrivals',
      figures: contenders.map(({ name }) => ({
        contender: name,
        values: {
          'req/s': median(rate.get(name) ?? []),
          'p50 ms': median(p50.get(name) ?? []),
          'p99 ms': median(p99.get(name) ?? []),
        },
      })),
      goals,
      notes: [],
    };
  },
};
