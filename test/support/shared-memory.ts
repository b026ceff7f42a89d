/** One memory store for several instances of a test, which can be taken down and counts what it is asked. */
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';

export interface SharedMemory {
  readonly store: Store;
  /** How often each operation was called. */
  readonly calls: Readonly<Record<string, number>>;
  /** From now on every operation fails, and no message comes. */
  readonly down: () => void;
  readonly up: () => void;
}

const operations = [
  'begin',
  'look',
  'claim',
  'release',
  'advance',
  'confirm',
  'touch',
  'end',
  'revoke',
  'list',
  'useOnce',
] as const satisfies ReadonlyArray<keyof Store>;

export function createSharedMemory(): SharedMemory {
  const memory = createMemoryStore();
  const calls: Record<string, number> = {};
  let isUp = true;

  function counted(name: (typeof operations)[number]): (...parameters: never[]) => Promise<unknown> {
    return async (...parameters) => {
      calls[name] = (calls[name] ?? 0) + 1;
      if (!isUp) throw new Error('the store is down');
      return (memory[name] as (...given: never[]) => Promise<unknown>)(...parameters);
    };
  }

  const store = {
    ...memory,
    ...Object.fromEntries(operations.map((name) => [name, counted(name)])),
    shared: true,
    heardSince: () => (isUp ? memory.heardSince() : undefined),
    reachable: () => isUp,
    // An instance that stops must not take it from the others.
    close: async () => undefined,
  };
  return {
    store,
    calls,
    down: () => void (isUp = false),
    up: () => void (isUp = true),
  };
}
