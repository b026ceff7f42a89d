/** From the start of the process to the SPA's document, signed out. */
import { httpGet, navigationHeaders } from '../client.ts';
import { startSallyport } from '../contenders.ts';
import { median } from '../measure.ts';

import type { Scenario } from './scenario.ts';

/** First request after start. */
export const firstRequestScenario: Scenario = {
  name: 'first',
  async run(bench) {
    const times: number[] = [];
    for (let round = 0; round < bench.rounds; round += 1) {
      const start = performance.now();
      const process = await startSallyport(bench.around);
      const answer = await httpGet(`http://127.0.0.1:${process.port}/`, {
        host: `127.0.0.1:${process.port}`,
        ...navigationHeaders(),
      });
      times.push(performance.now() - start);
      await process.stop();
      if (answer.status !== 200 || !answer.body.includes('id="root"')) {
        throw new Error(`the document answered ${answer.status} ${answer.body.slice(0, 200)}`);
      }
    }
    const milliseconds = median(times);
    return {
      scenario: 'first',
      title: 'First request after start: the SPA document, signed out',
      figures: [{ contender: 'sallyport', values: { 'median ms': milliseconds, 'worst ms': Math.max(...times) } }],
      goals: [
        { what: 'first request after process start', measured: milliseconds, bound: 400, kind: 'at most', unit: 'ms' },
      ],
      notes: [],
    };
  },
};
