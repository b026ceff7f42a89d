/** 1,000 sessions whose tokens have expired, 20 calls each, a rotating provider that takes 50 ms to refresh. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { fetchHeaders, httpGet, signIn } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import type { BurstOrder, BurstResult } from '../load/burst.ts';
import { launch } from '../processes.ts';

import { ask } from './ask.ts';
import type { Scenario } from './scenario.ts';

const callsPerSession = 20;
const tokenLifetimeSeconds = 2;

/** Many tokens that expire at once. */
export const expiryScenario: Scenario = {
  name: 'expiry',
  async run(bench) {
    const sessions = Math.round(1000 * Math.min(1, bench.scale));
    const provider = await launch({
      name: 'provider-short',
      place: 'rest',
      command: [process.execPath, join(import.meta.dirname, '..', 'provider.ts')],
      environment: { FIRST_LIFETIME_SECONDS: String(tokenLifetimeSeconds), DELAY_MS: '50' },
    });
    const sallyport = await startSallyport({ ...bench.around, provider });
    const origin = `http://127.0.0.1:${sallyport.port}`;
    const headers: Record<string, string>[] = [];
    while (headers.length < sessions) {
      const batch = Math.min(10, sessions - headers.length);
      const cookies = await Promise.all(Array.from({ length: batch }, () => signIn(origin, '/bff/login')));
      headers.push(...cookies.map((cookie) => fetchHeaders(origin, cookie)));
    }
    await delay(tokenLifetimeSeconds * 1000 + 500);
    const order: BurstOrder = { port: sallyport.port, path: '/api/items', sessions: headers, callsPerSession };
    const result = await ask<BurstResult>('burst', order);
    const counts: unknown = JSON.parse(
      (await httpGet(`http://127.0.0.1:${provider.port}/counts`, { host: 'provider' })).body,
    );
    await sallyport.stop();
    await provider.stop();
    const refreshes = numberOf(counts, 'refreshes');
    const answered = result.statuses['200'] ?? 0;
    return {
      scenario: 'expiry',
      title: `${sessions} sessions whose tokens have expired, ${callsPerSession} calls each, all at once`,
      figures: [
        {
          contender: 'sallyport',
          values: {
            refreshes,
            'answers of 200': answered,
            'p50 ms': result.p50,
            'p99 ms': result.p99,
            'all done ms': result.totalMs,
          },
        },
      ],
      goals: [
        { what: 'expiry: refreshes', measured: refreshes, bound: sessions, kind: 'exactly', unit: '' },
        {
          what: 'expiry: refreshes refused',
          measured: numberOf(counts, 'refused'),
          bound: 0,
          kind: 'exactly',
          unit: '',
        },
        {
          what: 'expiry: answers of 200',
          measured: answered,
          bound: sessions * callsPerSession,
          kind: 'exactly',
          unit: '',
        },
        { what: 'expiry: p99', measured: result.p99, bound: 2000, kind: 'at most', unit: 'ms' },
      ],
      notes: [`Statuses: ${JSON.stringify(result.statuses)}. Six keep-alive connections a session, as a browser has.`],
    };
  },
};

function numberOf(counts: unknown, key: string): number {
  if (typeof counts !== 'object' || counts === null) throw new Error('the provider gave no counts');
  const value: unknown = Reflect.get(counts, key);
  if (typeof value !== 'number') throw new Error(`the provider counts no ${key}`);
  return value;
}
