/** GET of about 1 kB and POST of 10 kB JSON at full load: CPU per request, requests per second, latency, memory. */
import type { Contender } from '../contenders.ts';
import type { RequestSpec } from '../measure.ts';
import type { Outcome } from '../report.ts';

import { connections, measureFullLoad, type Subject } from './full-load.ts';
import { ratioGoals, type Scenario } from './scenario.ts';

const orderBody = JSON.stringify({ note: 'x'.repeat(10_240 - 11) });
const ratios = { 'x floor': 'floor', 'x bare': 'bare' };

/** GET of 1 kB by all contenders. */
export const getScenario: Scenario = {
  name: 'get',
  async run(bench) {
    const { figures, cpu } = await measureFullLoad(bench, subjects(bench.contenders, getSpec), { seconds: 3, ratios });
    const goals = [
      ...ratioGoals(cpu, 'floor', {
        what: 'GET 1 kB: CPU per request, against the floor',
        bound: 1.25,
        kind: 'at most',
      }),
      ...ratioGoals(cpu, 'express', {
        what: 'GET 1 kB: CPU per request, against express',
        bound: 0.12,
        kind: 'at most',
      }),
    ];
    return {
      scenario: 'get',
      title: `GET of 1 kB, ${connections} connections, at full load`,
      figures,
      goals,
      notes: [],
    };
  },
};

/** POST of 10 kB by all contenders. */
export const postScenario: Scenario = {
  name: 'post',
  async run(bench): Promise<Outcome> {
    const { figures, cpu } = await measureFullLoad(bench, subjects(bench.contenders, postSpec), { seconds: 2, ratios });
    const goals = ratioGoals(cpu, 'bare', {
      what: 'POST 10 kB: CPU per request, against the bare proxy',
      bound: 1.4,
      kind: 'at most',
    });
    return {
      scenario: 'post',
      title: `POST of 10 kB, ${connections} connections, at full load`,
      figures,
      goals,
      notes: [],
    };
  },
};

function subjects(contenders: readonly Contender[], specOf: (contender: Contender) => RequestSpec): Subject[] {
  return contenders.map((contender) => ({
    name: contender.name,
    process: contender.process,
    spec: specOf(contender),
  }));
}

/** The GET that all contenders proxy. */
export function getSpec(contender: Contender): RequestSpec {
  return { port: contender.process.port, method: 'GET', path: '/api/items', headers: contender.headers };
}

function postSpec(contender: Contender): RequestSpec {
  const headers = { ...contender.headers, 'content-type': 'application/json', origin: contender.origin };
  return { port: contender.process.port, method: 'POST', path: '/api/orders', headers, body: orderBody };
}
