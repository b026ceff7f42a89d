/** The contract of a store, tried on the memory of one process. Other stores have a file each. */
import { onTestFinished } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { describeStore } from './store-contract.ts';

describeStore('memory', () => {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  return [store];
});
