/**
 * How an entry comes to the newest generation of its session: by a refresh of this process, or by what another process
 * has written into the shared record. A call that carries an older cookie is served with the newest generation until
 * the browser has shown the newest cookie, and for a grace period after that.
 */
import type { Config } from '../config/config.ts';
import type { CookieCache } from './cookie-cache.ts';
import { endsAt, type Session } from './session.ts';
import { applyGeneration, type SessionEntry } from './session-entry.ts';
import type { SessionSealer } from './session-sealer.ts';
import { ifAvailable, type Publication, type RefreshLock, type SharedRecords } from './shared-record.ts';

interface GenerationDeps {
  readonly records: SharedRecords;
  readonly cache: CookieCache;
  readonly sealer: SessionSealer;
}

export type Generations = ReturnType<typeof createGenerations>;

export function createGenerations(config: Config, { records, cache, sealer }: GenerationDeps) {
  /**
   * Reconciles this entry with the store: takes over a newer generation or an end, and publishes what the store lacks.
   * @throws {BffError} `store_unavailable`
   */
  async function reconcile(entry: SessionEntry): Promise<void> {
    const { id, generation } = entry.session;
    const record = await records.read(id);
    if (record.ended) entry.status = 'ended';
    if (entry.status !== 'active') return;
    // The store missed or lost this generation. Publish it again, or a process that receives an older cookie would
    // redeem a used refresh token.
    if (record.generation < generation && records.shared) await records.publish(publicationOf(entry));
    if (record.generation <= generation) return;
    const session = record.current === undefined ? undefined : sealer.unseal(record.current);
    if (session?.id !== id || record.current === undefined) return evictSuperseded(entry);
    // A refresh may have ended since the store was read.
    if (session.generation > entry.session.generation) applyGeneration(entry, session, record.current);
  }

  /**
   * The cookies of this entry were superseded longer ago than the grace period. The session goes on under its newest
   * cookie, so only the entry is dropped.
   */
  function evictSuperseded(entry: SessionEntry): void {
    if (entry.status === 'active') entry.status = 'superseded';
    cache.forget(entry);
  }

  /** Looks for a newer generation than `generation`, in the store too. @throws {BffError} `store_unavailable` */
  async function hasNewerGeneration(entry: SessionEntry, generation: number): Promise<boolean> {
    await reconcile(entry);
    return entry.session.generation > generation;
  }

  /** The browser has shown the newest cookie: from now on older ones are served for the grace period only. */
  function acknowledge(entry: SessionEntry, now: number): void {
    entry.acknowledgedAt = now;
    if (entry.session.generation > 0) records.acknowledge(publicationOf(entry));
  }

  /** The grace period: until when a cookie of an older generation is served, here and in other processes. */
  function olderCookiesServedUntil({ acknowledgedAt, session }: SessionEntry): number {
    return acknowledgedAt === undefined
      ? endsAt(session, config.session)
      : acknowledgedAt + config.refresh.graceSeconds;
  }

  function publicationOf(entry: SessionEntry): Publication {
    const { session, sealed } = entry;
    return {
      id: session.id,
      generation: session.generation,
      sealed,
      sessionEndsAt: endsAt(session, config.session),
      currentUntil: olderCookiesServedUntil(entry),
    };
  }

  /**
   * Puts a refresh's result in place of the session that it was made from.
   * @returns false if the session was ended, or superseded, in the meantime: the result must be thrown away
   */
  async function commitRefresh(entry: SessionEntry, next: Session): Promise<boolean> {
    const { id, generation } = next;
    const sealed = await sealer.seal(next);
    const sessionEndsAt = endsAt(next, config.session);
    // The old refresh token is used up: the new one must reach the browser even if the store could not be written.
    const published = await ifAvailable(
      records.publish({ id, generation, sealed, sessionEndsAt, currentUntil: sessionEndsAt }),
    );
    if (published === false || entry.status !== 'active') return false;
    applyGeneration(entry, next, sealed);
    // The cache may have evicted this entry during the refresh, and a later call may have created a second one: update
    // both.
    const newest = cache.entryOf(id) ?? entry;
    if (newest !== entry) applyGeneration(newest, next, sealed);
    cache.add(sealed, newest, next);
    return true;
  }

  /**
   * Waiters must find the result when the lock is gone, even if the store was down when it was first written.
   * @throws {BffError} `store_unavailable`; then the lock expires by itself
   */
  async function releaseRefreshLock(entry: SessionEntry, lock: RefreshLock): Promise<void> {
    if (!records.shared) return;
    await reconcile(entry);
    await records.releaseRefreshLock(lock);
  }

  return { reconcile, hasNewerGeneration, acknowledge, olderCookiesServedUntil, commitRefresh, releaseRefreshLock };
}
