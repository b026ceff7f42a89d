/**
 * Two minutes in which 200 people make 20 calls at a time at three instances, with access tokens of five seconds and a
 * provider that ends a session whose refresh token it sees twice, while instances are killed, Redis stands still and its
 * connections are cut. `SOAK_SECONDS` and `SOAK_PEOPLE` make it longer or shorter, `SOAK_PACE_MS` people slower.
 */
import { expect, test } from 'vitest';
import { expectNobodyNoticed, soak } from '../support/soak.ts';

const seconds = Number(process.env['SOAK_SECONDS'] ?? 120);
const people = Number(process.env['SOAK_PEOPLE'] ?? 200);
const paceMs = Number(process.env['SOAK_PACE_MS'] ?? 10_000);

test.each(['cookie', 'store'] as const)(
  'nobody notices the faults, with sessions in mode %s',
  async (mode) => {
    const report = await soak({ mode, instances: 3, people, parallel: 20, seconds, paceMs });
    process.stdout.write(`${mode}: ${JSON.stringify(report, undefined, 2)}\n`);
    expect(Math.min(...Object.values(report.faults))).toBeGreaterThan(0);
    expect(report.refreshes).toBeGreaterThan(people * 2);
    expectNobodyNoticed(report);
  },
  (seconds + 300) * 1000,
);
