/** As many workers as are configured: started together, replaced one by one, ended one after the other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { surplusOf } from './shedding.ts';
import type { CloseLimits } from './shutdown.ts';
import { WorkerRefusal, type Launch } from './worker-process.ts';
import { createWorkerSlot, type WorkerSlot } from './worker-slot.ts';

/** So many starts for each worker may fail before the whole has failed to start. */
const startsPerWorker = 4;
const replaceRetryMs = 1000;
const balanceMs = 1000;

export function createWorkerPool(events: Events) {
  let slots: readonly WorkerSlot[] = [];
  let isStopping = false;
  const goesOn = (): boolean => !isStopping;
  const balancing = setInterval(balance, balanceMs).unref();

  /**
   * Starts all. Resolves when the first one listens.
   * @throws if none can start, for the reason that a server alone would give
   */
  async function start(launch: Launch): Promise<void> {
    const begun = Promise.withResolvers<void>();
    const unsubscribe = events.subscribe(({ type }) => type === 'worker.started' && begun.resolve());
    let failures = 0;
    resize(launch.workers, (error) => {
      failures += 1;
      if (error instanceof WorkerRefusal || failures >= startsPerWorker * launch.workers) begun.reject(error);
    });
    for (const slot of slots) detach(slot.fill(launch), begun.reject);
    try {
      await begun.promise;
    } catch (error) {
      clearInterval(balancing);
      for (const slot of slots) slot.kill();
      throw error;
    } finally {
      unsubscribe();
    }
  }

  function balance(): void {
    const serving = slots.map((slot) => slot.serving()).filter((each) => each !== undefined);
    const surplus = surplusOf(serving.map((each) => each.connections()));
    for (const [index, each] of serving.entries()) each.shed(surplus[index] ?? 0);
  }

  /** Adds places for workers at the end, or takes some away. @returns those that were taken away */
  function resize(count: number, onFailure: (error: unknown) => void = () => undefined): readonly WorkerSlot[] {
    const surplus = slots.slice(count);
    const numbers = Array.from({ length: Math.max(0, count - slots.length) }, (_, index) => slots.length + index + 1);
    slots = [...slots.slice(0, count), ...numbers.map((number) => createWorkerSlot(number, { events, onFailure }))];
    return surplus;
  }

  /** Replaces the first worker. @throws if its successor does not start; then nothing has changed */
  async function replaceFirst(launch: Launch): Promise<void> {
    await slots[0]?.replace(launch);
  }

  /** Replaces the others, one by one, and adds or takes away what makes up the number. */
  async function replaceOthers(launch: Launch): Promise<void> {
    if (isStopping) return;
    const earlier = slots;
    const surplus = resize(launch.workers);
    for (const slot of slots.slice(1))
      await (earlier.includes(slot) ? replaceInTheEnd(slot, launch) : slot.fill(launch));
    for (const slot of surplus) await slot.stop({ waitSeconds: 0, drainSeconds: launch.drainSeconds });
  }

  /** A configuration with which the first worker runs can run: what keeps another from it passes. */
  async function replaceInTheEnd(slot: WorkerSlot, launch: Launch): Promise<void> {
    while (goesOn()) {
      try {
        return await slot.replace(launch);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const restartSeconds = replaceRetryMs / 1000;
        events.emit({ type: 'worker.failed', worker: slot.worker, pid: undefined, reason, restartSeconds });
        await sleep(replaceRetryMs);
      }
    }
  }

  /**
   * Ends all within the limits. Each begins to drain when the one before it has ended, or at its turn. Another call may
   * bring the end forward.
   */
  async function stop({ waitSeconds, drainSeconds }: Required<CloseLimits>): Promise<void> {
    isStopping = true;
    clearInterval(balancing);
    const turnSeconds = (drainSeconds - waitSeconds) / 2 / slots.length;
    const ends = slots.map((slot, index) =>
      slot.stop({ waitSeconds: waitSeconds + index * turnSeconds, drainSeconds }),
    );
    for (const [index, end] of ends.entries()) {
      // The limit for the end was given at its first call.
      const next = slots[index + 1];
      detach(
        end.then(() => next?.stop({ waitSeconds: 0, drainSeconds })),
        () => undefined,
      );
    }
    await Promise.all(ends);
  }

  return {
    start,
    replaceFirst,
    replaceOthers,
    stop,
    isReady: () => slots.some((slot) => slot.isReady()),
    size: () => slots.length,
  };
}
