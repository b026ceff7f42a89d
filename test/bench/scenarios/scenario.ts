/** What every scenario is given and gives back. */
import type { Contender, Surroundings } from '../contenders.ts';
import { median } from '../measure.ts';
import type { Goal, Outcome } from '../report.ts';

/** The started processes and how long to measure. */
export interface Bench {
  readonly around: Surroundings;
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  /** Multiplies the duration of timed loads; under 1 for a quick look. */
  readonly scale: number;
}

/** One part of the benchmark. */
export interface Scenario {
  readonly name: string;
  run(bench: Bench): Promise<Outcome>;
}

/** Measured values, one list entry a round, by contender. */
export type Samples = Map<string, number[]>;

/** Notes `value` as this round's sample of `contender`. */
export function note(samples: Samples, contender: string, value: number): void {
  const list = samples.get(contender);
  if (list) list.push(value);
  else samples.set(contender, [value]);
}

/**
 * The median over the rounds of `contender` divided by `reference` in the same round: what disturbs the machine for
 * a while disturbs both. `undefined` when one of the two took no part.
 */
export function pairedRatio(samples: Samples, contender: string, reference: string): number | undefined {
  const ratios = roundRatios(samples, contender, reference);
  return ratios === undefined ? undefined : median(ratios);
}

/** A goal on {@link pairedRatio}, or none when one of the two took no part. */
export function ratioGoals(
  samples: Samples,
  reference: string,
  promise: Pick<Goal, 'what' | 'bound' | 'kind'>,
  contender = 'sallyport',
): Goal[] {
  const ratios = roundRatios(samples, contender, reference);
  if (ratios === undefined) return [];
  const spread: Goal['spread'] = [Math.min(...ratios), Math.max(...ratios)];
  return [{ ...promise, measured: median(ratios), spread, unit: 'x' }];
}

function roundRatios(samples: Samples, contender: string, reference: string): number[] | undefined {
  const ours = samples.get(contender);
  const theirs = samples.get(reference);
  if (!ours || !theirs) return undefined;
  return ours.map((value, round) => value / (theirs[round] ?? Number.NaN));
}

/** The contenders in another order each round, so that none always follows the same neighbour. */
export function rotated<T>(list: readonly T[], round: number): readonly T[] {
  const start = round % Math.max(1, list.length);
  return [...list.slice(start), ...list.slice(0, start)];
}
