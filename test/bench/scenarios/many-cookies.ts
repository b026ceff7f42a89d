/** GET of 1 kB with a random one of many cookies, each of which was shown once before. */
import { Agent, get, type RequestOptions } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import { fetchHeaders, signIn } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { sealMany, writeCookies } from '../cookies.ts';
import { memory } from '../measure.ts';
import type { Figure, Goal } from '../report.ts';

import { connections, measureFullLoad, type Subject } from './full-load.ts';
import { type Bench, ratioGoals, type Scenario } from './scenario.ts';

const reference = 'one cookie';
const mebibyte = 1024 ** 2;
/** The default of `SALLYPORT_CACHE_MB`. */
const cacheMebibytes = 512;

/** A process under load, and what it took before. */
interface Filled extends Subject {
  readonly idleBytes: number;
}

/** 20,000 and 100,000 sessions, the cache at its default. */
export const manyCookiesScenario: Scenario = {
  name: 'cookies',
  async run(bench) {
    const counts = [20_000, 100_000].map((count) => Math.round(count * Math.min(1, bench.scale)));
    const subjects: Filled[] = [await start(bench, reference, 1)];
    for (const count of counts) subjects.push(await start(bench, nameOf(count), count));
    const { figures, cpu } = await measureFullLoad(bench, subjects, {
      seconds: 3,
      warmUpCalls: 50_000,
      ratios: { 'x one cookie': reference },
    });
    await delay(2000);
    const growth = new Map(
      subjects.map(({ name, process, idleBytes }) => [name, (memory(process.pid).resident - idleBytes) / mebibyte]),
    );
    for (const { process } of subjects) await process.stop();
    const goals: Goal[] = counts.flatMap((count) =>
      ratioGoals(
        cpu,
        reference,
        { what: `${nameOf(count)}: CPU per request, against one`, bound: 1.6, kind: 'at most' },
        nameOf(count),
      ),
    );
    const [fewer = 0] = counts;
    goals.push({
      what: `${nameOf(fewer)}: resident memory above an idle process`,
      measured: growth.get(nameOf(fewer)) ?? Number.NaN,
      bound: 2 * cacheMebibytes,
      kind: 'at most',
      unit: 'MiB',
    });
    return {
      scenario: 'cookies',
      title: 'GET of 1 kB with a random one of many cookies, at full load',
      figures: figures.map(({ contender, values }): Figure => ({
        contender,
        values: { ...values, 'MiB above idle': growth.get(contender) ?? Number.NaN },
      })),
      goals,
      notes: [`The cache has its default bound of ${cacheMebibytes} MiB.`],
    };
  },
};

function nameOf(count: number): string {
  return `${count.toLocaleString('en-GB')} cookies`;
}

async function start(bench: Bench, name: string, count: number): Promise<Filled> {
  const running = await startSallyport(bench.around, { name });
  const origin = `http://127.0.0.1:${running.port}`;
  await delay(2000);
  const idleBytes = memory(running.pid).resident;
  const cookie = await signIn(origin, '/bff/login');
  const cookies = count === 1 ? [cookie] : await sealMany(cookie, count);
  const headers = fetchHeaders(origin, cookie);
  // As in a process that has run for a while: until then, each call opens a cookie, and the heap grows.
  await showEach(running.port, headers, cookies);
  return {
    name,
    process: running,
    idleBytes,
    spec: {
      port: running.port,
      method: 'GET',
      path: '/api/items',
      headers,
      ...(count === 1 ? {} : { cookieFile: writeCookies(name, cookies) }),
    },
  };
}

async function showEach(port: number, headers: Record<string, string>, cookies: readonly string[]): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const left = cookies.values();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (const cookie of left) await show({ agent, port, path: '/api/items', headers: { ...headers, cookie } });
    }),
  );
  agent.destroy();
}

function show(options: RequestOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    get(options, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`a cookie was answered with ${response.statusCode}`));
      });
    }).on('error', reject);
  });
}
