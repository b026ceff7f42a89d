/**
 * What the store must still be told: ends, generations and confirmations that were decided here while it could not be
 * reached. Each is written again until it succeeds, whether or not any call comes, and once more when the process stops.
 * All of them are conditional in the store, so that one that comes late, or twice, does no harm.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';

const firstPauseMs = 50;
/** Other processes that take a refresh over after an outage give its owner a little longer (`redemption.ts`). */
const maximumPauseMs = 500;

export interface PendingWrite {
  readonly write: () => Promise<unknown>;
  /** Seconds since 1970: when nobody needs it any more. */
  readonly expiresAt: number;
}

export type Outbox = ReturnType<typeof createOutbox>;

/** @param onDelivered is given each write that has succeeded late */
export function createOutbox(
  nowSeconds: () => number,
  onDelivered: (about: string, write: PendingWrite) => void = () => undefined,
) {
  /** By what they are about: a later write about the same replaces an earlier one. */
  const pending = new Map<string, PendingWrite>();
  let running: Promise<void> | undefined;
  const closing = new AbortController();

  function add(about: string, entry: PendingWrite): void {
    pending.set(about, entry);
    if (closing.signal.aborted) return;
    running ??= deliver();
    detach(running, () => undefined);
  }

  async function deliver(): Promise<void> {
    for (let pauseMs = firstPauseMs; pending.size > 0 && !closing.signal.aborted;) {
      await sleep(pauseMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined);
      pauseMs = (await deliverOnce()) ? firstPauseMs : Math.min(maximumPauseMs, pauseMs * 2);
    }
    // At once, so that nothing is added to a delivery that is over.
    running = undefined;
  }

  /** @returns whether the store took everything that it was given */
  async function deliverOnce(): Promise<boolean> {
    for (const [about, entry] of pending) {
      const isNeeded = entry.expiresAt > nowSeconds();
      if (isNeeded && !(await succeeds(entry.write))) {
        postpone(about, entry);
        return false;
      }
      if (remove(about, entry) && isNeeded) onDelivered(about, entry);
    }
    return true;
  }

  /** Behind all others: the store may refuse this one write alone, for ever. */
  function postpone(about: string, entry: PendingWrite): void {
    if (remove(about, entry)) pending.set(about, entry);
  }

  /** @returns false if a later write about the same has come in the meantime, or it was cancelled */
  function remove(about: string, entry: PendingWrite): boolean {
    return pending.get(about) === entry && pending.delete(about);
  }

  /** Writes what is left about something now. @throws as the write does */
  async function deliverNow(about: string): Promise<void> {
    const entry = pending.get(about);
    if (entry === undefined) return;
    await entry.write();
    if (remove(about, entry)) onDelivered(about, entry);
  }

  return {
    add,
    deliverNow,
    /** Forgets a write that a later one has made needless. */
    cancel: (about: string) => void pending.delete(about),
    /** Tries each once more, for `ms` at most. @returns how many writes are left, and lost */
    async close(ms: number): Promise<number> {
      closing.abort();
      await running;
      await withTimeout(Promise.allSettled([...pending.keys()].map(deliverNow)), ms, () => []);
      return pending.size;
    },
  };
}

/** The adapter of the store reports its failures. */
async function succeeds(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch {
    return false;
  }
}
