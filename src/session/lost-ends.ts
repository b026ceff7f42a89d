/**
 * A store that was emptied, or that a replica without the last writes took the place of, has forgotten ends. Every process
 * writes back those that it has heard of, so that a process that starts later knows them, too: an old cookie must open
 * nothing there. Ends are conditional in the store, so that this undoes nothing.
 *
 * All processes begin in another order, and each leaves out what it hears that another has written: together they write
 * little more than one alone would.
 */
import { nowSeconds } from '../clock.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import type { Revocation, Store, StoreMessage } from '../store/store.ts';
import type { Endings } from './endings.ts';
import { ifAvailable, type SharedSessions } from './shared-sessions.ts';

/** How many are written at a time. */
const writtenAtOnce = 50;

interface LostEnd {
  readonly write: () => Promise<unknown>;
  /** Whether another process's revocation of the same name makes this one needless. */
  readonly isIn: (revocation: Revocation) => boolean;
}

interface LostEndsDeps {
  readonly store: Store;
  readonly events: Events;
  readonly endings: Endings;
  readonly shared: SharedSessions;
}

/** @returns a function that ends it */
export function restoreLostEnds({ store, events, endings, shared }: LostEndsDeps): () => void {
  /** What is to be written, by session or name. */
  const pending = new Map<string, LostEnd>();
  let running: Promise<void> | undefined;

  function receive(message: StoreMessage): void {
    if (message.type === 'ended') pending.delete(message.session);
    if (message.type === 'revoked' && pending.get(message.name)?.isIn(message)) pending.delete(message.name);
    if (message.type !== 'lost') return;
    const lost = add(message.lastMs ?? Infinity);
    if (message.lastMs === undefined) events.emit({ type: 'store.emptied', ends: lost });
    running ??= writeAll();
    // What a store that is away could not be told is told later.
    detach(running, (cause) => events.emit({ type: 'store.failed', cause }));
  }

  /** @returns how many */
  function add(lastMs: number): number {
    const { sessions, names } = endings.heardWithin(lastMs);
    const ends: Array<readonly [about: string, end: LostEnd]> = [
      ...sessions.map(({ key, value, leftSeconds }) => {
        const write = () => shared.end(key, value, nowSeconds() + leftSeconds);
        return [key, { write, isIn: () => true }] as const;
      }),
      ...names.map(({ key, value }) => {
        const write = () => ifAvailable(shared.revoke(key, value));
        return [key, { write, isIn: ({ before }: Revocation) => before >= value.before }] as const;
      }),
    ];
    const from = Math.floor(Math.random() * ends.length);
    for (const [about, end] of [...ends.slice(from), ...ends.slice(0, from)]) pending.set(about, end);
    return ends.length;
  }

  async function writeAll(): Promise<void> {
    try {
      while (pending.size > 0) await Promise.all(takeBatch().map(({ write }) => write()));
    } finally {
      // At once, so that nothing is added to a run that is over.
      running = undefined;
    }
  }

  function takeBatch(): readonly LostEnd[] {
    const batch: LostEnd[] = [];
    for (const [about, end] of pending) {
      batch.push(end);
      pending.delete(about);
      if (batch.length === writtenAtOnce) break;
    }
    return batch;
  }

  const unsubscribe = store.subscribe(receive);
  return () => {
    pending.clear();
    unsubscribe();
  };
}
