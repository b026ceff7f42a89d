/**
 * What the store was told in the last moments. Replication of Redis and Valkey is asynchronous: a failover may lose what a
 * server has acknowledged, and nobody tells which of it. So after an outage those writes are made once more, by the process
 * that made them, as long as it lives. All of them are conditional in the store, and do no harm where nothing was lost.
 */
import { monotonicMs } from '../clock.ts';
import type { Store } from '../store/store.ts';
import type { PendingWrite } from './outbox.ts';

/** More than an outage takes to be noticed (2 s), and than a replica may lag behind. */
const keptMs = 5000;
const lookMs = 250;
/** A bound for the memory. Beyond it the oldest are forgotten. */
const maximumKept = 2000;

export type RecentWrites = ReturnType<typeof createRecentWrites>;

/** @param repeat is given each write that may be lost */
export function createRecentWrites(
  store: Pick<Store, 'shared' | 'heardSince'>,
  repeat: (about: string, write: PendingWrite) => void,
) {
  /** By what they are about, the oldest first. */
  const kept = new Map<string, PendingWrite & { readonly writtenAt: number }>();
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  function add(about: string, write: PendingWrite): void {
    if (!store.shared || isClosed) return;
    kept.delete(about);
    kept.set(about, { ...write, writtenAt: monotonicMs() });
    const [oldest] = kept.keys();
    if (kept.size > maximumKept && oldest !== undefined) kept.delete(oldest);
    timer ??= setInterval(look, lookMs).unref();
  }

  function look(): void {
    const heardSince = store.heardSince();
    // The outage goes on. What was written in the moments before it stays.
    if (heardSince === undefined) return;
    for (const [about, each] of kept) {
      if (each.writtenAt < heardSince) repeat(about, each);
      else if (each.writtenAt > monotonicMs() - keptMs) break;
      kept.delete(about);
    }
    if (kept.size === 0) stopLooking();
  }

  function stopLooking(): void {
    clearInterval(timer);
    timer = undefined;
  }

  return {
    add,
    /** Forgets a write that a later one has made needless. */
    cancel: (about: string) => void kept.delete(about),
    close(): void {
      isClosed = true;
      kept.clear();
      stopLooking();
    },
  };
}
