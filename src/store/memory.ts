/** The {@link Store} of a single process: maps whose entries expire. */
import { monotonicMs } from '../clock.ts';
import { createStoreListeners } from './listeners.ts';
import * as record from './record.ts';
import type { StoredSession } from './record.ts';
import type { ListedSession, Revocation, Store } from './store.ts';

const sweepSeconds = 60;

interface Expiring {
  readonly expiresAt: number;
}

/**
 * The store that Sallyport uses unless another is configured: sign-outs are forgotten at a restart and unknown to other
 * processes.
 *
 * @example
 * ```ts
 * import { createMemoryStore } from 'sallyport';
 *
 * const store = createMemoryStore();
 * await store.end('a-session', 'logout', 3600);
 * const { record } = await store.look('a-session', []);
 * console.log(record.ended);
 * await store.close();
 * ```
 */
export function createMemoryStore(): Store {
  const sessions = new Map<string, StoredSession>();
  const members = new Map<string, Set<string>>();
  const revocations = new Map<string, Revocation & Expiring>();
  const used = new Map<string, Expiring>();
  const listeners = createStoreListeners();
  const openedAt = monotonicMs();
  let isOpen = true;
  const sweeper = setInterval(sweep, sweepSeconds * 1000).unref();

  function requireOpen(): void {
    if (!isOpen) throw new Error('the store is closed');
  }

  function find(session: string): StoredSession | undefined {
    requireOpen();
    const found = live(sessions, session);
    if (found !== undefined) record.settle(found, monotonicMs());
    return found;
  }

  function findOrBegin(session: string, ttlSeconds: number): StoredSession {
    const stored = find(session) ?? record.absentSession();
    record.prolong(stored, expiryOf(ttlSeconds));
    sessions.set(session, stored);
    return stored;
  }

  function sweep(): void {
    for (const entries of [sessions, revocations, used]) removeExpired(entries);
    for (const stored of sessions.values()) record.settle(stored, monotonicMs());
    for (const [name, ofName] of members) {
      for (const session of ofName) if (sessions.get(session)?.details === undefined) ofName.delete(session);
      if (ofName.size === 0) members.delete(name);
    }
  }

  return {
    shared: false,
    durable: false,

    async begin(session, start, ttlSeconds) {
      if (!record.begin(findOrBegin(session, ttlSeconds), start)) return;
      for (const name of start.names) members.set(name, (members.get(name) ?? new Set()).add(session));
    },

    async look(session, names) {
      const found = names.map((name) => live(revocations, name)).filter((revocation) => revocation !== undefined);
      return {
        record: record.recordOf(find(session) ?? record.absentSession(), monotonicMs()),
        revocations: found.map(({ before, reason }) => ({ before, reason })),
      };
    },

    async claim(session, claim, leaseMs, ttlSeconds) {
      const now = monotonicMs();
      const stored = findOrBegin(session, ttlSeconds);
      const result = record.claim(stored, claim, { leaseMs, now });
      return result.state === 'settled' ? { ...result, record: record.recordOf(stored, now) } : result;
    },

    async release(session, claim, interrupted) {
      const stored = find(session);
      if (stored === undefined || !record.release(stored, claim, interrupted)) return;
      listeners.publish({ type: 'released', session });
    },

    async advance(session, next, ttlSeconds) {
      const now = monotonicMs();
      const stored = findOrBegin(session, ttlSeconds);
      const outcome = record.advance(stored, next);
      if (outcome === 'refused') return { advanced: false, record: record.recordOf(stored, now) };
      if (outcome === 'advanced') listeners.publish({ type: 'advanced', session, generation: next.generation });
      return { advanced: true };
    },

    async confirm(session, generation, graceMs) {
      const stored = find(session);
      if (stored !== undefined) record.confirm(stored, generation, { graceMs, now: monotonicMs() });
    },

    async touch(session, ttlSeconds) {
      record.touch(findOrBegin(session, ttlSeconds), monotonicMs());
    },

    async end(session, reason, ttlSeconds) {
      if (!record.end(findOrBegin(session, ttlSeconds), reason)) return false;
      listeners.publish({ type: 'ended', session, reason });
      return true;
    },

    async revoke(name, { before, reason }, ttlSeconds) {
      requireOpen();
      const earlier = live(revocations, name);
      const expiresAt = Math.max(earlier?.expiresAt ?? 0, expiryOf(ttlSeconds));
      const isLatest = earlier === undefined || before > earlier.before;
      revocations.set(name, { ...(isLatest ? { before, reason } : earlier), expiresAt });
      listeners.publish({ type: 'revoked', name, before, reason });
    },

    async list(name, limit) {
      requireOpen();
      const found: ListedSession[] = [];
      for (const session of [...(members.get(name) ?? [])].toReversed()) {
        if (found.length === limit) break;
        const stored = find(session);
        if (stored?.details === undefined) continue;
        const activeMsAgo = record.msSince(stored.activeAt, monotonicMs());
        found.push({ session, details: stored.details, activeMsAgo });
      }
      return found;
    },

    async useOnce(name, ttlSeconds) {
      requireOpen();
      if (live(used, name) !== undefined) return false;
      used.set(name, { expiresAt: expiryOf(ttlSeconds) });
      return true;
    },

    subscribe: (listener) => listeners.subscribe(listener),
    heardSince: () => (isOpen ? openedAt : undefined),
    reachable: () => isOpen,

    async close() {
      isOpen = false;
      clearInterval(sweeper);
      for (const entries of [sessions, members, revocations, used]) entries.clear();
      listeners.clear();
    },
  };
}

function live<T extends Expiring>(entries: ReadonlyMap<string, T>, key: string): T | undefined {
  const found = entries.get(key);
  return found === undefined || found.expiresAt <= monotonicMs() ? undefined : found;
}

function removeExpired(entries: Map<string, Expiring>): void {
  for (const key of entries.keys()) if (live(entries, key) === undefined) entries.delete(key);
}

function expiryOf(ttlSeconds: number): number {
  return monotonicMs() + ttlSeconds * 1000;
}
