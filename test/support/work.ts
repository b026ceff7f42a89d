/** People who work without a pause while a test does something to the servers, and what came of it. */

export interface Work {
  /** Lets each finish what is under way. @returns how often each outcome came */
  readonly stop: () => Promise<ReadonlyMap<number | string, number>>;
}

/** @param jobs one for each person, done over and over; each gets the number of its turn */
export function beginWork(jobs: ReadonlyArray<(turn: number) => Promise<number | string>>): Work {
  const outcomes = new Map<number | string, number>();
  const stopped = new AbortController();
  const working = jobs.map(async (job) => {
    for (let turn = 0; !stopped.signal.aborted; turn += 1) {
      const outcome = await job(turn);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  });
  return {
    async stop() {
      stopped.abort();
      await Promise.all(working);
      return outcomes;
    },
  };
}
