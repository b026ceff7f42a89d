/** Processes at full load, one after the other in interleaved rounds: CPU per request, requests per second, latency. */
import { call } from '../client.ts';
import { emptyLog } from '../contenders.ts';
import { cpuSeconds, median, memory, type RequestSpec, wrk } from '../measure.ts';
import type { Running } from '../processes.ts';
import { cpuColumn, type Figure } from '../report.ts';
import { itemsBody, servedRequests } from '../upstream/nginx.ts';

import { type Bench, note, pairedRatio, rotated, type Samples } from './scenario.ts';

/** Connections of the load generator. */
export const connections = 32;

const maximumWarmUpMs = 20_000;

/** What is put under load. */
export interface Subject {
  /** Of the process's log, and in the table. */
  readonly name: string;
  readonly process: Running;
  readonly spec: RequestSpec;
}

/** How to load. */
export interface Load {
  readonly seconds: number;
  /** Calls before the first round, so that the code is compiled and caches are full. */
  readonly warmUpCalls?: number;
  /** Columns with the ratio of CPU to another subject's in the same round: that subject's name by the column's. */
  readonly ratios: Readonly<Record<string, string>>;
}

/** Loads each subject in every round. */
export async function measureFullLoad(
  bench: Bench,
  subjects: readonly Subject[],
  { seconds, warmUpCalls = 10_000, ratios }: Load,
): Promise<{ figures: Figure[]; cpu: Samples }> {
  const cpu: Samples = new Map();
  const rate: Samples = new Map();
  const p50: Samples = new Map();
  const p99: Samples = new Map();
  for (const subject of subjects) await warmUp(subject, warmUpCalls * Math.min(1, bench.scale));
  for (let round = 0; round < bench.rounds; round += 1) {
    for (const subject of rotated(subjects, round)) {
      const { name, process, spec } = subject;
      await check(spec);
      const servedBefore = await servedRequests(bench.around.upstream);
      const cpuBefore = cpuSeconds(process.pid);
      const load = await wrk(spec, scaled(seconds), connections);
      const cpuAfter = cpuSeconds(process.pid);
      const served = (await servedRequests(bench.around.upstream)) - servedBefore;
      if (served < load.requests) {
        throw new Error(`${name} answered ${load.requests} calls, of which the API saw only ${served}`);
      }
      await check(spec);
      emptyLog(subject);
      note(cpu, name, ((cpuAfter - cpuBefore) * 1e6) / load.requests);
      note(rate, name, load.requestsPerSecond);
      note(p50, name, load.p50);
      note(p99, name, load.p99);
    }
  }
  const figures = subjects.map(({ name, process }): Figure => {
    const of = (samples: Samples): number => median(samples.get(name) ?? []);
    const columns = Object.entries(ratios).flatMap(([column, reference]) => {
      const ratio = pairedRatio(cpu, name, reference);
      return ratio === undefined ? [] : [[column, ratio]];
    });
    return {
      contender: name,
      values: {
        [cpuColumn]: of(cpu),
        ...Object.fromEntries(columns),
        'req/s': of(rate),
        'p50 ms': of(p50),
        'p99 ms': of(p99),
        'peak MiB': memory(process.pid).peak / 1024 ** 2,
      },
    };
  });
  return { figures, cpu };

  function scaled(duration: number): number {
    return Math.max(1, Math.round(duration * bench.scale));
  }
}

/** By calls and not by time: on a busy machine, a few seconds of load leave the code half compiled. */
async function warmUp(subject: Subject, calls: number): Promise<void> {
  const deadline = performance.now() + maximumWarmUpMs;
  let made = 0;
  do {
    made += (await wrk(subject.spec, 1, connections)).requests;
    emptyLog(subject);
  } while (made < calls && performance.now() < deadline);
}

/** wrk doesn't look into the answers; before and after each of its runs one is looked at. */
async function check(spec: RequestSpec): Promise<void> {
  const answer = await call(spec);
  const isRight = answer.status === 200 && (spec.method === 'POST' || answer.body === itemsBody);
  if (!isRight) throw new Error(`${spec.method} ${spec.path} answered ${answer.status} ${answer.body.slice(0, 500)}`);
}
