/** The {@link Store} of a single process: maps whose entries expire. */
import { monotonicMs } from '../clock.ts';
import type { SessionEnd } from '../events.ts';
import { createStoreListeners } from './listeners.ts';
import type { ListedSession, Revocation, SessionRecord, Store } from './store.ts';

const sweepSeconds = 60;

/** What a record holds, in the fields that change. Times are of the monotonic clock, in milliseconds. */
interface StoredSession {
  expiresAt: number;
  ended: SessionEnd | undefined;
  generation: number;
  content: string | undefined;
  contentExpiresAt: number;
  confirmedAt: number | undefined;
  oldestServed: number;
  /** An earlier confirmed generation that becomes the oldest one served, and when. */
  grace: { readonly generation: number; readonly endsAt: number } | undefined;
  activeAt: number | undefined;
  /** Who refreshes the generation. */
  claim: StoredClaim | undefined;
  /** What `begin` wrote, for `list`. */
  details: string | undefined;
}

interface StoredClaim {
  /** Undefined once it was released as interrupted. */
  readonly owner: string | undefined;
  readonly leaseEndsAt: number;
  /** Whether the refresh token may have been used up before this owner came. */
  readonly interrupted: boolean;
}

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
    if (found !== undefined) settle(found, monotonicMs());
    return found;
  }

  function findOrBegin(session: string, ttlSeconds: number): StoredSession {
    const expiresAt = expiryOf(ttlSeconds);
    const found = find(session);
    if (found !== undefined) {
      found.expiresAt = Math.max(found.expiresAt, expiresAt);
      return found;
    }
    const begun = { ...absent, expiresAt };
    sessions.set(session, begun);
    return begun;
  }

  function sweep(): void {
    for (const entries of [sessions, revocations, used]) removeExpired(entries);
    // Sessions of which nobody asks have contents that nobody needs, too.
    const now = monotonicMs();
    for (const stored of sessions.values()) settle(stored, now);
    for (const [name, ofName] of members) {
      for (const session of ofName) if (!sessions.has(session)) ofName.delete(session);
      if (ofName.size === 0) members.delete(name);
    }
  }

  return {
    shared: false,
    durable: false,

    async begin(session, { names, details, content }, ttlSeconds) {
      const stored = findOrBegin(session, ttlSeconds);
      if (stored.ended !== undefined) return;
      stored.details = details;
      if (content !== undefined && stored.generation === 0 && stored.confirmedAt === undefined) keep(stored, content);
      for (const name of names) members.set(name, (members.get(name) ?? new Set()).add(session));
    },

    async look(session, names) {
      const found = names.map((name) => live(revocations, name)).filter((revocation) => revocation !== undefined);
      return {
        record: recordOf(find(session)),
        revocations: found.map(({ before, reason }) => ({ before, reason })),
      };
    },

    async claim(session, claim, leaseMs, ttlSeconds) {
      const stored = findOrBegin(session, ttlSeconds);
      if (stored.ended !== undefined || stored.generation > claim.generation) {
        return { state: 'settled', record: recordOf(stored) };
      }
      const now = monotonicMs();
      const earlier = stored.generation === claim.generation ? stored.claim : undefined;
      const isRenewal = earlier?.owner === claim.owner;
      if (earlier !== undefined && !isRenewal && earlier.leaseEndsAt > now) {
        return { state: 'held', leftMs: earlier.leaseEndsAt - now };
      }
      const interrupted = earlier !== undefined && (!isRenewal || earlier.interrupted);
      raise(stored, claim.generation);
      stored.claim = { owner: claim.owner, leaseEndsAt: now + leaseMs, interrupted };
      return { state: 'granted', interrupted };
    },

    async release(session, { generation, owner }, interrupted) {
      const stored = find(session);
      if (stored?.generation !== generation || stored.claim?.owner !== owner) return;
      stored.claim = interrupted ? { owner: undefined, leaseEndsAt: -Infinity, interrupted } : undefined;
      listeners.publish({ type: 'released', session });
    },

    async advance(session, { generation, content }, ttlSeconds) {
      const stored = findOrBegin(session, ttlSeconds);
      if (stored.ended !== undefined || stored.generation >= generation) {
        const isRepeated = stored.generation === generation && stored.content === content;
        return isRepeated ? { advanced: true } : { advanced: false, record: recordOf(stored) };
      }
      raise(stored, generation);
      keep(stored, content);
      listeners.publish({ type: 'advanced', session, generation });
      return { advanced: true };
    },

    async confirm(session, generation, graceMs) {
      const stored = find(session);
      if (stored?.generation !== generation || stored.confirmedAt !== undefined) return;
      stored.confirmedAt = monotonicMs();
      stored.contentExpiresAt = stored.confirmedAt + graceMs;
    },

    async touch(session, ttlSeconds) {
      const stored = findOrBegin(session, ttlSeconds);
      if (stored.ended === undefined) stored.activeAt = monotonicMs();
    },

    async end(session, reason, ttlSeconds) {
      const stored = findOrBegin(session, ttlSeconds);
      if (stored.ended !== undefined) return false;
      Object.assign(stored, { ended: reason, content: undefined, claim: undefined, details: undefined });
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

    async list(name) {
      requireOpen();
      const found: ListedSession[] = [];
      for (const session of members.get(name) ?? []) {
        const stored = find(session);
        if (stored?.details === undefined) continue;
        found.push({ session, details: stored.details, activeMsAgo: msSince(stored.activeAt) });
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

const absent: StoredSession = {
  expiresAt: 0,
  ended: undefined,
  generation: 0,
  content: undefined,
  contentExpiresAt: Infinity,
  confirmedAt: undefined,
  oldestServed: 0,
  grace: undefined,
  activeAt: undefined,
  claim: undefined,
  details: undefined,
};

function recordOf(stored: StoredSession | undefined): SessionRecord {
  const { ended, generation, content, confirmedAt, oldestServed, activeAt } = stored ?? absent;
  const ages = { confirmedMsAgo: msSince(confirmedAt), activeMsAgo: msSince(activeAt) };
  return { ended, generation, content, oldestServed, ...ages };
}

/** Applies what was to happen by now. */
function settle(stored: StoredSession, now: number): void {
  const { generation, confirmedAt, contentExpiresAt, grace } = stored;
  if (contentExpiresAt <= now) stored.content = undefined;
  if (confirmedAt !== undefined && contentExpiresAt <= now) serveNoneBefore(stored, generation);
  else if (grace !== undefined && grace.endsAt <= now) serveNoneBefore(stored, grace.generation);
}

function serveNoneBefore(stored: StoredSession, generation: number): void {
  stored.oldestServed = generation;
  stored.grace = undefined;
}

/** Goes on to a generation of which nothing more is known. */
function raise(stored: StoredSession, generation: number): void {
  stored.claim = undefined;
  if (stored.generation === generation) return;
  // Its grace period goes on, unless that of an earlier one does.
  if (stored.confirmedAt !== undefined && stored.oldestServed < stored.generation) {
    stored.grace ??= { generation: stored.generation, endsAt: stored.contentExpiresAt };
  }
  Object.assign(stored, { generation, content: undefined, contentExpiresAt: Infinity, confirmedAt: undefined });
}

/** Keeps a content for as long as the record. */
function keep(stored: StoredSession, content: string): void {
  stored.content = content;
  stored.contentExpiresAt = Infinity;
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

function msSince(at: number | undefined): number | undefined {
  return at === undefined ? undefined : monotonicMs() - at;
}
