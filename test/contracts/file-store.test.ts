/** The contract of a store, tried on a file; and what only a file can get wrong. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { createFileStore } from '../../src/store/file.ts';
import type { Store } from '../../src/store/store.ts';
import { describeStore } from './store-contract.ts';

describe('the contract', () => {
  let folder: string;
  const handles: Store[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-store-'));
  });

  afterAll(async () => {
    await Promise.all(handles.map((store) => store.close()));
    await rm(folder, { recursive: true });
  });

  describeStore('a file', () => {
    for (const index of [0, 1, 2]) {
      if (handles[index]?.reachable() !== true) handles[index] = createFileStore(join(folder, 'store.db'));
    }
    return handles as [Store, ...Store[]];
  });
});
