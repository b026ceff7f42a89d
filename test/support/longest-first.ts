/**
 * The order in which test files begin. Those that take longest do so because they wait: for leases to run out, for
 * processes to be replaced. They come first, so that none is left to run alone at the end. Where vitest has run before, it
 * knows how long each file took; on a bare machine it does not.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** From half a minute on, the longest first. */
const longest: readonly string[] = [
  'journeys/fault-loop',
  'journeys/workers',
  'contracts/redis-groups',
  'journeys/rotating-secrets',
  'journeys/provider-outage',
  'attacks/chaos-upgrades',
  'contracts/redis-store',
  'journeys/store-faults',
  'units/interleavings',
  'attacks/chaos-endpoints',
  'journeys/instances-under-faults',
  'journeys/streams-outlive-tokens',
  'journeys/instances',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- no array is sorted here
    const ordered = await super.sort(files);
    return ordered.toSorted((one, other) => rankOf(one) - rankOf(other));
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const place = longest.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
  return place === -1 ? longest.length : place;
}
