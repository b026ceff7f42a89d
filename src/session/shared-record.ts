/**
 * What all processes agree on about one session. It is in the store, and this module alone reads and writes it:
 *
 * | key                | value                                       | lifetime                                   |
 * | ------------------ | ------------------------------------------- | ------------------------------------------ |
 * | `generation:<id>`  | number of the newest generation, or `ended` | until the session's end                    |
 * | `current:<id>`     | that generation's session, sealed           | the same, until its cookie is acknowledged |
 * | `refreshing:<key>` | the owner of the lock on a refresh token    | that of the lock                           |
 *
 * Acknowledged: a browser has shown the newest cookie. From then on `current` lives for the grace period only.
 *
 * Order of writes: `current` before `generation`, so that whoever reads a new number finds its session; both before the
 * lock is deleted, so that whoever waited for the lock finds the result. `generation` only rises, and nothing replaces
 * `ended`. A session that has not been refreshed needs no record: absent means generation 0.
 *
 * A store that is down ends no session and delays no sign-out: an end that could not be written is kept and written as
 * soon as the store answers again.
 */
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { BffError } from '../http/errors.ts';
import type { Store } from '../store/store.ts';

/**
 * How long the lock on a refresh token lasts: longer than a redemption may take with all that belongs to it, so that it
 * outlives what it guards. These are two attempts at the grant, each of three time limits, and calls for the metadata,
 * the keys before and after, and UserInfo.
 */
export function refreshLockSeconds({ provider }: Pick<Config, 'provider'>): number {
  return Math.ceil(12 * provider.timeoutSeconds);
}

/** What the store has of a session. */
export interface SharedRecord {
  readonly ended: boolean;
  /** The newest generation; 0 where the store has none. */
  readonly generation: number;
  /** That generation's session, sealed; undefined after the grace period. */
  readonly current: string | undefined;
}

/** A generation to write. Times are seconds since 1970. */
export interface Publication {
  readonly id: string;
  readonly generation: number;
  readonly sealed: string;
  readonly sessionEndsAt: number;
  /** Until when older cookies lead to `sealed`. */
  readonly currentUntil: number;
}

/** The right to redeem one refresh token. */
export interface RefreshLock {
  /** Stands for the session and its generation. */
  readonly key: string;
  /** A random text, so that nobody deletes the lock of another owner. */
  readonly owner: string;
}

export type SharedRecords = ReturnType<typeof createSharedRecords>;

export function createSharedRecords(
  config: Config,
  { store, events }: { readonly store: Store; readonly events: Events },
) {
  /** Sessions that ended while the store was down, and when they would have ended anyway. */
  const pendingRevocations = new Map<string, number>();

  /** @throws {BffError} `store_unavailable` */
  async function read(id: string): Promise<SharedRecord> {
    const [generation, current] = await callStore(() =>
      Promise.all([store.get(`generation:${id}`), store.get(`current:${id}`)]),
    );
    const ended = generation === 'ended';
    return { ended, generation: ended ? 0 : Number(generation ?? 0), current };
  }

  /**
   * Makes a generation the newest.
   * @returns false if the session has ended or a generation that is as new exists
   * @throws {BffError} `store_unavailable`
   */
  function publish({ id, generation, sealed, sessionEndsAt, currentUntil }: Publication): Promise<boolean> {
    return callStore(async () => {
      await store.set(`current:${id}`, sealed, secondsUntil(currentUntil));
      return claimGeneration(id, generation, secondsUntil(sessionEndsAt));
    });
  }

  async function claimGeneration(id: string, generation: number, ttlSeconds: number): Promise<boolean> {
    for (;;) {
      const newest = await store.get(`generation:${id}`);
      if (newest === 'ended' || Number(newest ?? -1) >= generation) return false;
      if (await store.compareAndSet(`generation:${id}`, newest, String(generation), ttlSeconds)) return true;
    }
  }

  /** Shortens the time for which older cookies lead to the current one. No caller waits for it. */
  function acknowledge({ id, sealed, currentUntil }: Pick<Publication, 'id' | 'sealed' | 'currentUntil'>): void {
    detach(store.set(`current:${id}`, sealed, secondsUntil(currentUntil)), reportFailure);
  }

  /**
   * Writes that the session has ended, or keeps that for later.
   * @param sessionEndsAt when it would have ended anyway: until then a cookie of it can come back
   */
  async function end(id: string, sessionEndsAt: number): Promise<void> {
    pendingRevocations.delete(id);
    try {
      await store.set(`generation:${id}`, 'ended', secondsUntil(sessionEndsAt));
    } catch (cause) {
      pendingRevocations.set(id, sessionEndsAt);
      reportFailure(cause);
    }
  }

  /**
   * Takes the lock unless another process has it. Without other processes there is nothing to lock.
   * @throws {BffError} `store_unavailable`; the lock may be taken all the same, because the answer alone can be lost
   */
  async function acquireRefreshLock({ key, owner }: RefreshLock): Promise<boolean> {
    if (!store.shared) return true;
    return callStore(() => store.compareAndSet(`refreshing:${key}`, undefined, owner, refreshLockSeconds(config)));
  }

  /** Deletes the lock if this owner has it. @throws {BffError} `store_unavailable` */
  async function releaseRefreshLock({ key, owner }: RefreshLock): Promise<void> {
    if (!store.shared) return;
    await callStore(async () => {
      if ((await store.get(`refreshing:${key}`)) === owner) await store.delete(`refreshing:${key}`);
    });
  }

  /** Runs a store operation, translates its failure, and writes what could not be written before. */
  async function callStore<T>(operation: () => Promise<T>): Promise<T> {
    try {
      const result = await operation();
      for (const [id, sessionEndsAt] of pendingRevocations) detach(end(id, sessionEndsAt), reportFailure);
      return result;
    } catch (cause) {
      reportFailure(cause);
      throw new BffError('store_unavailable', 'The session store does not answer. Try again in a moment.', {
        cause,
        headers: { 'retry-after': '2' },
      });
    }
  }

  function reportFailure(cause: unknown): void {
    events.emit({ type: 'store.failed', cause });
  }

  return {
    /** Whether other processes may write these records: what this process knows may be old. */
    shared: store.shared,
    read,
    publish,
    acknowledge,
    end,
    acquireRefreshLock,
    releaseRefreshLock,
  };
}

/** Passes over a store that is down, because an event has reported it already. @returns undefined if it is down */
export async function ifAvailable<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof BffError && error.code === 'store_unavailable') return undefined;
    throw error;
  }
}

/** A lifetime for the store, which takes none of 0 seconds. */
function secondsUntil(at: number): number {
  return Math.max(1, at - nowSeconds());
}
