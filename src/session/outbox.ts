/**
 * What the store must still be told: ends, generations and confirmations that were decided here while it could not be
 * reached. Each is written again until it succeeds, whether or not any call comes, and once more when the process stops.
 * All of them are conditional in the store, so that one that comes late, or twice, does no harm.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { detach } from '../detached.ts';
import { withTimeout } from '../timeout.ts';

const firstPauseMs = 50;
const maximumPauseMs = 1000;

interface PendingWrite {
  readonly write: () => Promise<unknown>;
  /** Seconds since 1970: when nobody needs it any more. */
  readonly expiresAt: number;
}

export type Outbox = ReturnType<typeof createOutbox>;

export function createOutbox(nowSeconds: () => number) {
  /** By what they are about: a later write about the same replaces an earlier one. */
  const pending = new Map<string, PendingWrite>();
  let running: Promise<void> | undefined;
  const closing = new AbortController();

  function add(about: string, entry: PendingWrite): void {
    pending.set(about, entry);
    running ??= deliver().finally(() => (running = undefined));
    detach(running, () => undefined);
  }

  async function deliver(): Promise<void> {
    for (let pauseMs = firstPauseMs; pending.size > 0 && !closing.signal.aborted;) {
      await sleep(pauseMs, undefined, { ref: false, signal: closing.signal }).catch(() => undefined);
      pauseMs = (await deliverOnce()) ? firstPauseMs : Math.min(maximumPauseMs, pauseMs * 2);
    }
  }

  /** @returns whether the store took everything that it was given */
  async function deliverOnce(): Promise<boolean> {
    for (const [about, entry] of pending) {
      if (entry.expiresAt > nowSeconds() && !(await succeeds(entry.write))) return false;
      // A later write about the same may have come in the meantime.
      if (pending.get(about) === entry) pending.delete(about);
    }
    return true;
  }

  return {
    add,
    /** Forgets a write that a later one has made needless. */
    cancel: (about: string) => void pending.delete(about),
    /** Tries once more, for `ms` at most. @returns how many writes are left, and lost */
    async close(ms: number): Promise<number> {
      closing.abort();
      await running;
      if (pending.size > 0) await withTimeout(deliverOnce(), ms, () => false);
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
