/** GET of 1 kB on routes with tokens that were obtained for them, against a route with the session's own; all warm. */
import { fetchHeaders, httpGet, signIn } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { connections, measureFullLoad, type Subject } from './full-load.ts';
import { type Bench, ratioGoals, type Scenario } from './scenario.ts';

const reference = 'session token';

const policies = [
  { name: reference, token: 'session' },
  { name: 'exchange', token: { exchange: { audience: 'orders' } } },
  { name: 'phantom', token: { phantom: { cacheSeconds: 3600 } } },
] as const;

/** The most that a call may cost with such a token. */
const bound = 1.1;

export const policiesScenario: Scenario = {
  name: 'policies',
  async run(bench) {
    const subjects = await startAll(bench);
    const { figures, cpu } = await measureFullLoad(bench, subjects, {
      seconds: 3,
      ratios: { 'x session token': reference },
    });
    for (const { process } of subjects) await process.stop();
    await checkCounts(bench);
    const goals = ['exchange', 'phantom'].flatMap((name) => {
      const what = `${name}: CPU per request, against the session's token`;
      return ratioGoals(cpu, reference, { what, bound, kind: 'at most' }, name);
    });
    return {
      scenario: 'policies',
      title: `GET of 1 kB with tokens that were obtained for the route, ${connections} connections, at full load`,
      figures,
      goals,
      notes: [],
    };
  },
};

/** A process for each, so that none has another's calls in its caches. */
async function startAll({ around }: Bench): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const { name, token } of policies) {
    const api = [{ path: '/api', target: `http://127.0.0.1:${around.upstream.port}/v1`, token }];
    const process = await startSallyport(around, { name, api });
    const origin = `http://127.0.0.1:${process.port}`;
    const headers = fetchHeaders(origin, await signIn(origin, '/bff/login'));
    subjects.push({ name, process, spec: { port: process.port, method: 'GET', path: '/api/items', headers } });
  }
  return subjects;
}

/** Each token was asked for once, and so was what the calls carried. */
async function checkCounts({ around }: Bench): Promise<void> {
  const { body } = await httpGet(`http://127.0.0.1:${around.provider.port}/counts`, {});
  const { exchanges, introspections } = JSON.parse(body) as Readonly<Record<string, number>>;
  if (exchanges === 1 && introspections === 1) return;
  throw new Error(`the provider had ${exchanges} exchanges and ${introspections} introspections, not one of each`);
}
