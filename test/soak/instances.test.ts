/**
 * Two minutes in which 200 people make 20 calls at a time at several processes, with access tokens of five seconds and a
 * provider that ends a session whose refresh token it sees twice, while processes and workers are killed, the store stands
 * still, loses its connections or fails over. `SOAK_SECONDS` and `SOAK_PEOPLE` make it longer or shorter, `SOAK_PACE_MS`
 * people slower.
 */
import { expect, test } from 'vitest';
import { expectNobodyNoticed, soak, type SoakPlan } from '../support/soak.ts';

const seconds = Number(process.env['SOAK_SECONDS'] ?? 120);
const people = Number(process.env['SOAK_PEOPLE'] ?? 200);
const paceMs = Number(process.env['SOAK_PACE_MS'] ?? 10_000);

type Setting = Pick<SoakPlan, 'store' | 'workers' | 'faults'>;

const fleets: Readonly<Record<string, Setting>> = {
  'a server': { store: 'server', workers: [1, 1, 2], faults: ['kill', 'pause', 'kill worker', 'cut'] },
  Sentinels: { store: 'sentinels', workers: [1, 1, 2], faults: ['failover', 'kill', 'cut', 'kill worker', 'pause'] },
  'a Cluster': { store: 'cluster', workers: [1, 1, 2], faults: ['failover', 'kill', 'cut', 'kill worker', 'pause'] },
  'their first process': { store: 'none', workers: [2], faults: ['kill worker', 'reload', 'hang worker'] },
};
const modes = ['cookie', 'store'] as const;

test.each(Object.keys(fleets).flatMap((agreeing) => modes.map((mode) => [agreeing, mode] as const)))(
  'nobody notices the faults where processes agree through %s, with sessions in mode %s',
  async (agreeing, mode) => {
    const setting = fleets[agreeing] as Setting;
    const report = await soak({ ...setting, mode, people, parallel: 20, seconds, paceMs });
    process.stdout.write(`${agreeing}, ${mode}: ${JSON.stringify(report, undefined, 2)}\n`);
    expect(Math.min(...Object.values(report.faults))).toBeGreaterThan(0);
    expect(report.refreshes).toBeGreaterThan(people * 2);
    expectNobodyNoticed(report);
  },
  (seconds + 300) * 1000,
);
