/**
 * Sessions as all processes see them: the one user of the store's operations on sessions. Hides how a store that cannot
 * be reached is dealt with: it ends no session and delays no sign-out, and what it must still be told is kept.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { Events, SessionEnd } from '../events.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import type {
  AdvanceResult,
  Claim,
  ClaimResult,
  FoundSession,
  ListedSession,
  Revocation,
  Store,
} from '../store/store.ts';
import { createOutbox, type PendingWrite } from './outbox.ts';
import { createRecentWrites } from './recent-writes.ts';
import { endsAtLatest } from './session.ts';
import type { SessionEntry } from './session-entry.ts';

/** How long a process that stops tries to tell the store what it has not been told. */
const lastAttemptMs = 2000;
/** An end is kept for longer than the session by this clock: by that of another process the session may last longer. */
const clockMarginSeconds = 300;
/** For so long after an outage other processes may still have to write what it kept from the store. */
const outageMarginMs = 5000;
/** How long it may take until messages prove again that the store is the one from before, and how often to look. */
const proofMs = { within: 500, every: 10 };

/** Among how many sessions of a name one is looked for. */
const maximumSearched = 500;

type DetailsOf = (listed: ListedSession | undefined) => Promise<string>;

export type SharedSessions = ReturnType<typeof createSharedSessions>;

export function createSharedSessions(
  config: Config,
  { store, events }: { readonly store: Store; readonly events: Events },
) {
  const graceMs = config.refresh.graceSeconds * 1000;
  const recheckMs = config.store.recheckSeconds * 1000;
  const outbox = createOutbox(nowSeconds, (about, write) => recent.add(about, write));
  const recent = createRecentWrites(store, outbox.add);
  /** The newest write about each thing, of those under way. */
  const underWay = new Map<string, PendingWrite>();
  const startedAt = monotonicMs();
  let isDown = false;
  let failedAt = -Infinity;
  let lostAt = -Infinity;
  const unsubscribe = store.subscribe(({ type }) => {
    if (type === 'lost') lostAt = monotonicMs();
  });

  /**
   * Whether what this process learned of a session at a time is still true: messages have told of every change since, or,
   * while none can come, the time is recent.
   */
  function isCurrent(asOf: number): boolean {
    return asOf >= (store.heardSince() ?? monotonicMs() - recheckMs);
  }

  /**
   * Lists a session that has begun under its names.
   * @param details sealed
   */
  async function enlist(entry: SessionEntry, details: string): Promise<void> {
    const write = () => store.begin(entry.key, { names: entry.names, details }, ttlOf(entry));
    await tell(`start of ${entry.key}`, endsAtOf(entry), write);
  }

  /**
   * Lists a session under names that it has got since. No caller waits for it.
   * @param detailsOf makes the details, sealed, of those that the store has for the session under an earlier name
   */
  function enlistAnew(entry: SessionEntry, earlierName: string, detailsOf: DetailsOf): void {
    const write = async () => {
      const listed = await store.list(earlierName, maximumSearched);
      const details = await detailsOf(listed.find(({ session }) => session === entry.key));
      await store.begin(entry.key, { names: entry.names, details }, ttlOf(entry));
    };
    detach(tell(`names of ${entry.key}`, endsAtOf(entry), write), reportFailure);
  }

  /** @throws {BffError} `store_unavailable` */
  function list(name: string, limit: number): Promise<readonly ListedSession[]> {
    return callStore(() => store.list(name, limit));
  }

  /** @throws {BffError} `store_unavailable` */
  function look({ key, names }: Pick<SessionEntry, 'key' | 'names'>): Promise<FoundSession> {
    return callStore(() => store.look(key, names));
  }

  /** Gives a new session to the store. @throws {BffError} `store_unavailable` */
  function begin(key: string, content: string, expiresAt: number): Promise<void> {
    return callStore(() => store.begin(key, { names: [], details: '', content }, secondsUntil(expiresAt)));
  }

  /** @throws {BffError} `store_unavailable`; the claim may be granted all the same, because the answer alone can be lost */
  async function claim(entry: SessionEntry, wanted: Claim, leaseMs: number): Promise<ClaimResult> {
    // A claim of a generation that the store was not told yet would make it the newest without its content, which others
    // need meanwhile.
    await outbox.deliverNow(generationOf(entry));
    return callStore(() => store.claim(entry.key, wanted, leaseMs, ttlOf(entry)));
  }

  /** If it fails, the lease ends by itself, and the next owner is warned. */
  function release({ key }: SessionEntry, claimed: Claim, interrupted: boolean): void {
    detach(store.release(key, claimed, interrupted), reportFailure);
  }

  /**
   * Makes a generation the newest.
   * @returns undefined if the store cannot be reached: then it is told later
   */
  async function advance(entry: SessionEntry, generation: number, content: string): Promise<AdvanceResult | undefined> {
    const write = () => store.advance(entry.key, { generation, content }, ttlOf(entry));
    return tell(generationOf(entry), endsAtOf(entry), write);
  }

  /** Notes that a browser has shown the newest generation. No caller waits for it. */
  function confirm(entry: SessionEntry, generation: number): void {
    const write = () => store.confirm(entry.key, generation, graceMs);
    detach(tell(`confirmation of ${entry.key}`, endsAtOf(entry), write), reportFailure);
  }

  /** Counts a call. No caller waits for it, and if it fails, a later call is counted. */
  function touch(entry: SessionEntry): void {
    detach(store.touch(entry.key, ttlOf(entry)), reportFailure);
  }

  /**
   * Ends a session everywhere.
   * @param expiresAt when it would have ended anyway: until then a cookie can come back
   * @returns whether it had not ended before; undefined if the store cannot be reached
   */
  async function end(key: string, reason: SessionEnd, expiresAt: number): Promise<boolean | undefined> {
    const ttlSeconds = secondsUntil(expiresAt) + clockMarginSeconds;
    return tell(`end of ${key}`, expiresAt, () => store.end(key, reason, ttlSeconds));
  }

  /**
   * Ends the sessions of a name everywhere.
   * @throws {BffError} `store_unavailable`: it is told later, because the provider's repetition may come to an instance
   *   that knows the token as a used one
   */
  async function revoke(name: string, revocation: Revocation): Promise<void> {
    const ttlSeconds = Math.ceil(config.session.lifetimeSeconds) + clockMarginSeconds;
    const write = async () => {
      await store.revoke(name, revocation, ttlSeconds);
      return true;
    };
    const about = `revocation of ${name} before ${revocation.before}`;
    if ((await tell(about, nowSeconds() + ttlSeconds, write)) === undefined) throw storeUnavailable();
  }

  /**
   * Tells the store, now or, if it cannot be reached, later.
   * @param about what the write replaces an earlier one about
   * @returns undefined if it is later
   */
  async function tell<T>(about: string, expiresAt: number, write: () => Promise<T>): Promise<T | undefined> {
    const repeatable = { write: () => callStore(write), expiresAt };
    outbox.cancel(about);
    recent.cancel(about);
    underWay.set(about, repeatable);
    // A later write about the same may have begun since, and its repetition is the one that counts.
    const isNewest = () => underWay.get(about) === repeatable && underWay.delete(about);
    try {
      const result = await callStore(write);
      if (isNewest()) recent.add(about, repeatable);
      return result;
    } catch {
      // An event has reported why.
      if (isNewest()) outbox.add(about, repeatable);
      return undefined;
    }
  }

  /** Runs a store operation, and translates its failure. */
  async function callStore<T>(operation: () => Promise<T>): Promise<T> {
    try {
      const result = await operation();
      isDown = false;
      return result;
    } catch (cause) {
      reportFailure(cause);
      throw storeUnavailable(cause);
    }
  }

  /** Once for an outage, because each call may meet it. */
  function reportFailure(cause: unknown): void {
    if (!isDown) events.emit({ type: 'store.failed', cause });
    isDown = true;
    failedAt = monotonicMs();
  }

  /** Whether the store, or its messages, did not come through a moment ago: other processes may have been cut off, too. */
  function wasAway(): boolean {
    return Math.max(failedAt, lostAt, store.heardSince() ?? Infinity) > monotonicMs() - outageMarginMs;
  }

  /**
   * Whether the store may have lost claims a moment ago, because another one took its place: it says so, or its messages
   * were cut off. An operation that failed, and a time in which this process stood still, lose nothing, which messages
   * prove that go on as before. What was before this process started it cannot know.
   */
  async function mayHaveLostClaims(): Promise<boolean> {
    // By the clock of timers.
    const endsAt = performance.now() + proofMs.within;
    while (store.heardSince() === undefined && performance.now() < endsAt) await pause(proofMs.every);
    const since = monotonicMs() - outageMarginMs;
    const heardSince = store.heardSince() ?? Infinity;
    return lostAt > since || (heardSince > since && heardSince > startedAt + outageMarginMs);
  }

  function ttlOf(entry: SessionEntry): number {
    return secondsUntil(endsAtOf(entry));
  }

  function endsAtOf({ session }: SessionEntry): number {
    return endsAtLatest(session, config.session);
  }

  return {
    /** Whether other processes may change what this one knows. */
    shared: store.shared,
    isCurrent,
    /** Whether the store's last operation failed. */
    isDown: () => isDown,
    enlist,
    enlistAnew,
    list,
    look,
    begin,
    claim,
    release,
    advance,
    confirm,
    touch,
    end,
    revoke,
    /** Whether messages of other processes can come. */
    hears: () => store.heardSince() !== undefined,
    wasAway,
    mayHaveLostClaims,
    /** Tells the store what it has not been told yet. */
    async close() {
      unsubscribe();
      recent.close();
      const lost = await outbox.close(lastAttemptMs);
      if (lost > 0) events.emit({ type: 'store.writes_lost', count: lost });
    },
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

/** What a write of a session's generation is about, in the outbox. */
function generationOf({ key }: SessionEntry): string {
  return `generation of ${key}`;
}

export function storeUnavailable(cause?: unknown): BffError {
  return new BffError('store_unavailable', 'The session store does not answer. Try again in a moment.', {
    cause,
    headers: retryAfter(),
  });
}

/** A lifetime for the store, which takes none of 0 seconds. */
function secondsUntil(at: number): number {
  return Math.max(1, at - nowSeconds());
}
