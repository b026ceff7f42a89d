/**
 * Half a minute in which people work at three instances while one is killed and started again, Redis stands still and its
 * connections are cut. `npm run test:soak` has more people, and more time.
 */
import { expect, test } from 'vitest';
import { expectNobodyNoticed, soak } from '../support/soak.ts';

test('nobody notices that an instance is killed, Redis stands still or its connections are cut', async () => {
  const report = await soak({
    mode: 'cookie',
    store: 'server',
    workers: [1, 1, 1],
    faults: ['kill', 'pause', 'cut'],
    people: 12,
    parallel: 5,
    seconds: 15,
    paceMs: 500,
  });
  expect(report.faults).toEqual({ kill: 1, pause: 1, cut: 1 });
  expect(report.refreshes).toBeGreaterThan(24);
  expectNobodyNoticed(report);
}, 120_000);
