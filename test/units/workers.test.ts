/** How many workers a configuration asks for, and what each may take. */
import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { surplusOf } from '../../src/server/shedding.ts';
import { heapMegabytesOf } from '../../src/server/worker-process.ts';
import { workersOf } from '../../src/server/workers.ts';

describe('the number of workers', () => {
  test.each([
    [1, undefined],
    [2, 2],
    [512, 512],
    // Also where there is one core: who asks for workers gets what the first process does for them.
    ['auto', availableParallelism()],
  ] as const)('of %s is %s', (workers, count) => {
    expect(workersOf({ workers })).toBe(count);
  });
});

describe('the heap of a worker', () => {
  const mebibyte = 2 ** 20;

  test.each([
    ['a container of 512 MiB, two workers', 512, 2, 153],
    ['a container of 4 GiB, four workers', 4096, 4, 614],
    ['too little memory for so many', 256, 8, 64],
  ])('in %s', (_story, memory, workers, megabytes) => {
    expect(heapMegabytesOf(memory * mebibyte, workers)).toBe(megabytes);
  });
});

describe('connections to give away', () => {
  test.each([
    ['none, where one worker is alone', [40], [0]],
    ['none, where there are none', [0, 0], [0, 0]],
    ['none, where the difference is chance', [36, 28], [0, 0]],
    ['none, where a few connections can be no more even', [3, 0], [0, 0]],
    ['those beyond the mean', [60, 4], [28, 0]],
    ['of each that has too many', [40, 40, 10, 10], [15, 15, 0, 0]],
    ['to a worker that has just come', [33, 33, 0], [11, 11, 0]],
  ])('are %s', (_story, connections, surplus) => {
    expect(surplusOf(connections)).toEqual(surplus);
  });
});
