/** What a session costs beside its calls: CPU of a sign-in, and of a refresh. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { fetchHeaders, httpGet } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { signInMany } from '../cookies.ts';
import type { EachOnceOrder, EachOnceResult } from '../load/each-once.ts';
import { cpuSeconds, median } from '../measure.ts';
import { launch } from '../processes.ts';

import { ask } from './ask.ts';
import type { Scenario } from './scenario.ts';

const tokenLifetimeSeconds = 2;

/** CPU of sign-ins and refreshes. */
export const sessionsScenario: Scenario = {
  name: 'sessions',
  async run(bench) {
    const count = Math.round(500 * Math.min(1, bench.scale));
    const provider = await launch({
      name: 'provider-sessions',
      place: 'rest',
      command: [process.execPath, join(import.meta.dirname, '..', 'provider.ts')],
      environment: { FIRST_LIFETIME_SECONDS: String(tokenLifetimeSeconds) },
    });
    const sallyport = await startSallyport({ ...bench.around, provider });
    const origin = `http://127.0.0.1:${sallyport.port}`;
    const signIns: number[] = [];
    const refreshes: number[] = [];
    const calls: number[] = [];
    // The first round warms up.
    for (let round = 0; round <= bench.rounds; round += 1) {
      const start = cpuSeconds(sallyport.pid);
      const cookies = await signInMany(origin, count);
      const signedIn = cpuSeconds(sallyport.pid);
      await delay(tokenLifetimeSeconds * 1000 + 500);
      const before = cpuSeconds(sallyport.pid);
      await callWithEach(sallyport.port, origin, cookies);
      const refreshed = cpuSeconds(sallyport.pid);
      // The old cookie leads to the new tokens for a while: the same calls without a refresh.
      await callWithEach(sallyport.port, origin, cookies);
      const called = cpuSeconds(sallyport.pid);
      const done = await refreshCount(provider.port);
      if (done !== count * (round + 1)) {
        throw new Error(`${count * (round + 1)} sessions were refreshed ${done} times`);
      }
      if (round === 0) continue;
      signIns.push(((signedIn - start) * 1000) / count);
      refreshes.push(((refreshed - before) * 1000) / count);
      calls.push(((called - refreshed) * 1000) / count);
    }
    await sallyport.stop();
    await provider.stop();
    const refresh = median(refreshes);
    return {
      scenario: 'sessions',
      title: `${count} sign-ins, then ${count} calls whose token has expired`,
      figures: [
        {
          contender: 'sallyport',
          values: {
            'CPU ms/sign-in': median(signIns),
            'CPU ms/call with refresh': refresh,
            'CPU ms/call without': median(calls),
          },
        },
      ],
      goals: [
        {
          what: 'a refresh, its call included: CPU',
          measured: refresh,
          spread: [Math.min(...refreshes), Math.max(...refreshes)],
          bound: 0.7,
          kind: 'at most',
          unit: 'ms',
        },
      ],
      notes: [
        "A sign-in is its two requests, to the provider and back. The provider's CPU does not count.",
        'A call without a refresh carries the old cookie and gets the new one again.',
      ],
    };
  },
};

async function callWithEach(port: number, origin: string, cookies: readonly string[]): Promise<void> {
  const order: EachOnceOrder = {
    port,
    path: '/api/items',
    calls: cookies.map((cookie) => fetchHeaders(origin, cookie)),
  };
  const { statuses } = await ask<EachOnceResult>('each-once', order);
  if (statuses['200'] !== cookies.length) throw new Error(`the calls were answered with ${JSON.stringify(statuses)}`);
}

async function refreshCount(providerPort: number): Promise<number> {
  const { body } = await httpGet(`http://127.0.0.1:${providerPort}/counts`, { host: 'provider' });
  const counts: unknown = JSON.parse(body);
  if (typeof counts !== 'object' || counts === null || !('refreshes' in counts)) throw new Error(`counts: ${body}`);
  return Number(counts.refreshes);
}
