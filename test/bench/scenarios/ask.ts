/** Runs a load generator of ours in a process of its own and talks to it over IPC. */
import { join } from 'node:path';

import { spawnWorker, type Worker } from '../processes.ts';

/** The load generators in `load/`. */
export type Generator = 'open-loop' | 'burst' | 'idle' | 'each-once';

/** Starts a generator that takes several messages. */
export function startGenerator(name: Generator): Worker {
  return spawnWorker(join(import.meta.dirname, '..', 'load', `${name}.ts`));
}

/** Starts a generator, gives it one order and resolves with its one result. */
export async function ask<Result>(name: Generator, order: object): Promise<Result> {
  const generator = startGenerator(name);
  try {
    return await generator.ask<Result>(order);
  } finally {
    await generator.stop();
  }
}
