/**
 * A place for one worker: keeps one running there, with a new one after each that ends by itself, and puts another in its
 * place on demand.
 */
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { withTimeout } from '../timeout.ts';
import type { CloseLimits } from './shutdown.ts';
import { createWorkerProcess, type Launch, type WorkerProcess } from './worker-process.ts';

const firstRestartMs = 100;
const longestRestartMs = 15_000;
/** A worker that ran for so long was none of a series that cannot run. */
const settledMs = 10_000;
/** How long a replacement may take to know the provider; the one before it knows it. */
const readyWaitMs = 10_000;
/**
 * For so long a worker that has a successor ends each connection with its next answer. So no client sends a call on a
 * connection in the moment in which it is closed as idle.
 */
const replacedWaitSeconds = 2;

export type WorkerSlot = ReturnType<typeof createWorkerSlot>;

/** @param onFailure hears of each start that failed */
export function createWorkerSlot(
  worker: number,
  { events, onFailure }: { readonly events: Events; readonly onFailure: (error: unknown) => void },
) {
  /** The worker that takes calls. */
  let current: WorkerProcess | undefined;
  /** All that have not ended. */
  const alive = new Set<WorkerProcess>();
  let launch: Launch | undefined;
  /** Each start waits for the one before. */
  let starting: Promise<unknown> = Promise.resolve();
  let restart: NodeJS.Timeout | undefined;
  let failures = 0;
  let isStopping = false;
  let ending: Promise<void> | undefined;

  /** Starts a worker, and resolves when it listens. */
  async function begin(next: Launch): Promise<WorkerProcess> {
    let listensSince = Infinity;
    const started = createWorkerProcess(worker, next, (reason) => {
      if (performance.now() - listensSince > settledMs) failures = 0;
      if (current === started) current = undefined;
      restartAfter(reason, started.pid);
    });
    alive.add(started);
    detach(
      started.ended.then(() => alive.delete(started)),
      onFailure,
    );
    await started.listening;
    listensSince = performance.now();
    if (!isStopping) events.emit({ type: 'worker.started', worker, pid: started.pid ?? 0 });
    return started;
  }

  function restartAfter(reason: string, pid: number | undefined): void {
    if (isStopping) return;
    const delayMs = failures === 0 ? 0 : Math.min(longestRestartMs, firstRestartMs * 2 ** (failures - 1));
    failures += 1;
    events.emit({ type: 'worker.failed', worker, pid, reason, restartSeconds: delayMs / 1000 });
    clearTimeout(restart);
    restart = setTimeout(() => detach(inTurn(restore), onFailure), delayMs);
  }

  /** Fills the place if it is empty. */
  async function restore(): Promise<void> {
    if (isStopping || current !== undefined || launch === undefined) return;
    try {
      current = await begin(launch);
    } catch (error) {
      onFailure(error);
      restartAfter(error instanceof Error ? error.message : String(error), undefined);
    }
  }

  async function end(): Promise<void> {
    const last = current;
    while (alive.size > 0) await Promise.all([...alive].map(({ ended }) => ended));
    if (last !== undefined) events.emit({ type: 'worker.stopped', worker, pid: last.pid ?? 0 });
  }

  /** One after the other, so that no two starts fill the same place. */
  function inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = starting.then(step, step);
    starting = result.catch(() => undefined);
    return result;
  }

  return {
    worker,
    isReady: () => current?.isReady() === true,
    /** The worker that takes calls, if there is one. */
    serving: () => (current?.isServing() === true ? current : undefined),

    /** Begins to keep a worker here. */
    fill(first: Launch): Promise<void> {
      launch = first;
      return inTurn(restore);
    },

    /**
     * Puts a worker with another configuration into the place, and ends the earlier one when that listens and is ready.
     * @throws if it does not start; then the earlier one stays
     */
    replace(next: Launch): Promise<void> {
      return inTurn(async () => {
        if (isStopping) throw new Error(`worker ${worker} stops`);
        const started = await begin(next);
        await withTimeout(started.ready, readyWaitMs, () => undefined);
        if (!started.isServing()) throw new Error(`worker ${worker} ended as soon as it listened`);
        launch = next;
        failures = 0;
        const earlier = current;
        current = started;
        earlier?.stop({
          waitSeconds: Math.min(replacedWaitSeconds, next.drainSeconds),
          drainSeconds: next.drainSeconds,
        });
        await earlier?.ended;
        if (earlier !== undefined) events.emit({ type: 'worker.stopped', worker, pid: earlier.pid ?? 0 });
      });
    },

    /**
     * Ends the worker, and starts none after it. Resolves when nothing of it is left. Another call may bring the end
     * forward.
     */
    stop(limits: Required<CloseLimits>): Promise<void> {
      isStopping = true;
      clearTimeout(restart);
      for (const each of alive) each.stop(limits);
      return (ending ??= end());
    },

    kill(): void {
      isStopping = true;
      for (const each of alive) each.kill();
    },
  };
}
