/** GET of about 1 kB and POST of 10 kB JSON at full load: CPU per request, requests per second, latency, memory. */
import { call } from '../client.ts';
import { type Contender, emptyLog } from '../contenders.ts';
import { cpuSeconds, median, memory, type RequestSpec, wrk } from '../measure.ts';
import { cpuColumn, type Figure, type Outcome } from '../report.ts';
import { itemsBody, servedRequests } from '../upstream/nginx.ts';

import { type Bench, note, pairedRatio, ratioGoals, rotated, type Samples, type Scenario } from './scenario.ts';

const connections = 32;
const orderBody = JSON.stringify({ note: 'x'.repeat(10_240 - 11) });

/** GET of 1 kB by all contenders. */
export const getScenario: Scenario = {
  name: 'get',
  async run(bench) {
    const { figures, cpu } = await measureAll(bench, bench.contenders, getSpec, 3);
    const goals = [
      ...ratioGoals(cpu, 'bare', {
        what: 'GET 1 kB: CPU per request, against the bare proxy',
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
    const { figures, cpu } = await measureAll(bench, bench.contenders, postSpec, 2);
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

/** The GET that all contenders proxy. */
export function getSpec(contender: Contender): RequestSpec {
  return { port: contender.process.port, method: 'GET', path: '/api/items', headers: contender.headers };
}

function postSpec(contender: Contender): RequestSpec {
  const headers = { ...contender.headers, 'content-type': 'application/json', origin: contender.origin };
  return { port: contender.process.port, method: 'POST', path: '/api/orders', headers, body: orderBody };
}

async function measureAll(
  bench: Bench,
  contenders: readonly Contender[],
  specOf: (contender: Contender) => RequestSpec,
  seconds: number,
): Promise<{ figures: Figure[]; cpu: Samples }> {
  const cpu: Samples = new Map();
  const rate: Samples = new Map();
  const p50: Samples = new Map();
  const p99: Samples = new Map();
  for (const contender of contenders) {
    await wrk(specOf(contender), Math.max(1, Math.round(2 * bench.scale)), connections);
    emptyLog(contender);
  }
  for (let round = 0; round < bench.rounds; round += 1) {
    for (const contender of rotated(contenders, round)) {
      const spec = specOf(contender);
      await check(spec);
      const servedBefore = await servedRequests(bench.around.upstream);
      const cpuBefore = cpuSeconds(contender.process.pid);
      const load = await wrk(spec, Math.max(1, Math.round(seconds * bench.scale)), connections);
      const cpuAfter = cpuSeconds(contender.process.pid);
      const served = (await servedRequests(bench.around.upstream)) - servedBefore;
      if (served < load.requests) {
        throw new Error(`${contender.name} answered ${load.requests} calls, of which the API saw only ${served}`);
      }
      await check(spec);
      emptyLog(contender);
      note(cpu, contender.name, ((cpuAfter - cpuBefore) * 1e6) / load.requests);
      note(rate, contender.name, load.requestsPerSecond);
      note(p50, contender.name, load.p50);
      note(p99, contender.name, load.p99);
    }
  }
  const figures = contenders.map(({ name, process }): Figure => {
    const of = (samples: Samples): number => median(samples.get(name) ?? []);
    return {
      contender: name,
      values: {
        [cpuColumn]: of(cpu),
        'x bare': pairedRatio(cpu, name, 'bare') ?? Number.NaN,
        'req/s': of(rate),
        'p50 ms': of(p50),
        'p99 ms': of(p99),
        'peak MiB': memory(process.pid).peak / 1024 ** 2,
      },
    };
  });
  return { figures, cpu };
}

/** wrk doesn't look into the answers; before and after each of its runs one is looked at. */
async function check(spec: RequestSpec): Promise<void> {
  const answer = await call(spec);
  const isRight = answer.status === 200 && (spec.method === 'POST' || answer.body === itemsBody);
  if (!isRight) throw new Error(`${spec.method} ${spec.path} answered ${answer.status} ${answer.body.slice(0, 500)}`);
}
