/** GET of 1 kB with a proof of possession on each call (DPoP, RFC 9449), against the same with a bearer token. */
import { fetchHeaders, signIn } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import type { Running } from '../processes.ts';
import { connections, measureFullLoad, type Subject } from './full-load.ts';
import { type Bench, ratioGoals, type Scenario } from './scenario.ts';

const reference = 'bearer';
/** The API refuses what comes without a proof, so that no run without one counts. */
const provenPath = '/api/proven/items';

const settings = [
  { name: reference, dpop: 'off', path: '/api/items' },
  { name: 'DPoP with ES256', dpop: 'ES256', path: provenPath },
  { name: 'DPoP with EdDSA', dpop: 'EdDSA', path: provenPath },
] as const;

/** The most that a call may cost with a proof of P-256. */
const bound = 1.6;

export const proofsScenario: Scenario = {
  name: 'proofs',
  async run(bench) {
    const subjects: Subject[] = [];
    for (const setting of settings) subjects.push(await start(bench, setting));
    const { figures, cpu } = await measureFullLoad(bench, subjects, { seconds: 3, ratios: { 'x bearer': reference } });
    for (const { process } of subjects) await process.stop();
    const what = 'DPoP with ES256: CPU per request, against bearer tokens';
    return {
      scenario: 'proofs',
      title: `GET of 1 kB with and without proofs, ${connections} connections, at full load`,
      figures,
      goals: ratioGoals(cpu, reference, { what, bound, kind: 'at most' }, 'DPoP with ES256'),
      notes: [],
    };
  },
};

async function start(bench: Bench, { name, dpop, path }: (typeof settings)[number]): Promise<Subject> {
  const process: Running = await startSallyport(bench.around, { name, environment: { SALLYPORT_CLIENT_DPOP: dpop } });
  const origin = `http://127.0.0.1:${process.port}`;
  const headers = fetchHeaders(origin, await signIn(origin, '/bff/login'));
  return { name, process, spec: { port: process.port, method: 'GET', path, headers } };
}
