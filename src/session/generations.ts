/**
 * How an entry comes to what is true of its session: by a refresh of this process, or by what the store has from others.
 *
 * A call that carries an older cookie is served with the newest generation until a browser has shown the newest cookie,
 * and for a grace period after that. When that was, all processes agree on.
 */
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { FoundSession, SessionRecord } from '../store/store.ts';
import type { CookieCache } from './cookie-cache.ts';
import type { Envelopes } from './envelope.ts';
import type { LiveSessions } from './live-sessions.ts';
import { loginIssuedAt, type Session, type SessionForm } from './session.ts';
import { namesOf } from './session-names.ts';
import { applyForm, hasNewestGeneration, isIdle, noteGeneration, type SessionEntry } from './session-entry.ts';
import { ifAvailable, storeUnavailable, type SharedSessions } from './shared-sessions.ts';

const maximumLooks = 3;
/** How often a store that is down is asked. */
const probeMs = 500;

interface GenerationDeps {
  readonly shared: SharedSessions;
  readonly live: LiveSessions;
  readonly cache: CookieCache;
  readonly envelopes: Envelopes;
}

export type Generations = ReturnType<typeof createGenerations>;

export function createGenerations(config: Config, { shared, live, cache, envelopes }: GenerationDeps) {
  const graceMs = config.refresh.graceSeconds * 1000;
  const recheckMs = config.store.recheckSeconds * 1000;
  let nextProbeAt = 0;
  const lookups = new WeakMap<SessionEntry, Promise<void>>();

  /**
   * Whether what this process knows suffices to answer a request that shows this form of the session, without asking the
   * store. An older form, and an idle timeout that seems to be over, want a recent answer, because no message tells of
   * confirmations and of calls. Only right after a refresh of this process is the form before it sure to be served. An end
   * is for good.
   */
  function knowsEnough(entry: SessionEntry, shown: SessionForm): boolean {
    if (entry.ended !== undefined) return true;
    if (!shared.isCurrent(entry.knownAsOf)) return false;
    const age = entry.newestGeneration - shown.generation;
    if (age <= 0 && !isIdle(entry, config.session)) return true;
    return (age === 1 ? entry.knownAsOf : entry.readAt) >= monotonicMs() - recheckMs;
  }

  /**
   * Learns what the store has of the session. A store that is down holds no call up: what this process knows decides, and
   * now and then a call asks the store in the background, until it answers.
   */
  async function bringUpToDate(entry: SessionEntry): Promise<void> {
    if (!shared.isDown()) {
      await ifAvailable(lookUp(entry));
    } else if (monotonicMs() >= nextProbeAt) {
      nextProbeAt = monotonicMs() + probeMs;
      detach(ifAvailable(lookUp(entry)), () => undefined);
    }
  }

  /** Parallel calls share one look. @throws {BffError} `store_unavailable` */
  function lookUp(entry: SessionEntry): Promise<void> {
    const running = lookups.get(entry);
    if (running !== undefined) return running;
    const started = lookUpAlone(entry).finally(() => lookups.delete(entry));
    lookups.set(entry, started);
    return started;
  }

  async function lookUpAlone(entry: SessionEntry): Promise<void> {
    for (let attempt = 1; attempt <= maximumLooks; attempt++) {
      const startedAt = monotonicMs();
      if (await applyLook(entry, await shared.look(entry), startedAt)) return;
    }
  }

  /** @returns false if a message has told of a generation that is newer than what the store answered */
  async function applyLook(entry: SessionEntry, { record, revocations }: FoundSession, asOf: number): Promise<boolean> {
    if (isRevoked(entry, revocations)) return true;
    await applyRecord(entry, record);
    if (record.generation < entry.newestGeneration && !hasNewestGeneration(entry)) return false;
    entry.knownAsOf = Math.max(entry.knownAsOf, asOf);
    entry.readAt = asOf;
    return true;
  }

  function isRevoked(entry: SessionEntry, revocations: FoundSession['revocations']): boolean {
    const revocation = revocations.find(({ before }) => loginIssuedAt(entry.session) <= before);
    if (revocation !== undefined) live.endElsewhere(entry, revocation.reason);
    return revocation !== undefined;
  }

  /** Takes over what the store has, and publishes what it lacks. */
  async function applyRecord(entry: SessionEntry, record: SessionRecord): Promise<void> {
    const { ended, generation, content, confirmedMsAgo, oldestServed, activeMsAgo } = record;
    if (ended !== undefined) live.endElsewhere(entry, ended);
    if (entry.isStored && content === undefined) live.endElsewhere(entry, 'store_lost');
    if (entry.ended !== undefined) return;
    if (generation < entry.session.generation) return publishAgain(entry);
    noteGeneration(entry, generation);
    entry.oldestServed = Math.max(entry.oldestServed, oldestServed);
    if (activeMsAgo !== undefined) noteActivity(entry, activeMsAgo);
    if (content !== undefined && generation > entry.session.generation) {
      takeOver(entry, entry.isStored ? content : envelopes.unwrap(content, entry.key));
    }
    if (generation === entry.newestGeneration && confirmedMsAgo !== undefined) {
      entry.confirmedAt ??= monotonicMs() - confirmedMsAgo;
    }
  }

  /**
   * The store missed or lost this generation. Without it, a process that receives an older cookie would redeem a used
   * refresh token.
   */
  async function publishAgain(entry: SessionEntry): Promise<void> {
    if (!shared.shared) return;
    const { generation } = entry.session;
    const sealed = await entry.sealer.seal(entry.session);
    const content = entry.isStored ? sealed : envelopes.wrap(sealed, entry.key);
    await shared.advance(entry, generation, content);
    if (entry.confirmedAt !== undefined && !entry.isStored) shared.confirm(entry, generation);
  }

  /**
   * Looks for a newer generation than `generation`, in the store too. Joins no look that is under way, because its answer
   * may be older than what the caller has learned since. @throws {BffError} `store_unavailable`
   */
  async function hasNewerGeneration(entry: SessionEntry, generation: number): Promise<boolean> {
    if (entry.session.generation <= generation) await lookUpAlone(entry);
    return entry.session.generation > generation;
  }

  /** A browser has shown the newest cookie: from now on older ones are served for the grace period only. */
  function confirm(entry: SessionEntry): void {
    entry.confirmedAt = monotonicMs();
    if (entry.newestGeneration > 0 && !entry.isStored) shared.confirm(entry, entry.newestGeneration);
  }

  /** Whether a call that shows an older generation is served with the newest. */
  function servesOlder(entry: SessionEntry, { generation }: SessionForm): boolean {
    return hasNewestGeneration(entry) && generation >= entry.oldestServed && !isGraceOver(entry);
  }

  /**
   * Whether a call is served with a generation that is not the newest, because this process has heard of a newer one and
   * the store, which has it, does not answer. The access token may be good; if not, the refresh waits for the store.
   * @throws {BffError} `store_unavailable` for a form that is older still, of which only the store knows if it is served
   */
  function servesKnown(entry: SessionEntry, { generation }: SessionForm): boolean {
    if (hasNewestGeneration(entry) || shared.isCurrent(entry.knownAsOf)) return false;
    if (generation < entry.session.generation) throw storeUnavailable();
    return true;
  }

  function isGraceOver({ confirmedAt }: SessionEntry): boolean {
    return confirmedAt !== undefined && monotonicMs() > confirmedAt + graceMs;
  }

  /**
   * Puts a refresh's result in place of the session that it was made from.
   * @returns false if the session was ended, or superseded, in the meantime: the result must be thrown away
   */
  async function commitRefresh(entry: SessionEntry, next: Session): Promise<boolean> {
    const startedAt = monotonicMs();
    // Read before the store's message tells of the new generation.
    const oldestServed = isGraceOver(entry) ? entry.newestGeneration : entry.oldestServed;
    const sealed = await entry.sealer.seal(next);
    // The old refresh token is used up: the new one must reach the browser even if the store could not be written.
    const content = entry.isStored ? sealed : envelopes.wrap(sealed, entry.key);
    const result = await shared.advance(entry, next.generation, content);
    if (result?.advanced === false) await applyRecord(entry, result.record);
    if (result?.advanced === false || entry.ended !== undefined) return false;
    entry.oldestServed = Math.max(entry.oldestServed, oldestServed);
    takeForm(entry, next, sealed);
    if (!entry.isStored) cache.add(sealed, entry, next);
    entry.knownAsOf = Math.max(entry.knownAsOf, startedAt);
    entry.readAt = -Infinity;
    // By the `sid` of its new ID token, whose sign-out had been heard of.
    return entry.ended === undefined;
  }

  function takeOver(entry: SessionEntry, sealed: string | undefined): void {
    const session = sealed === undefined ? undefined : entry.sealer.unseal(sealed);
    if (sealed !== undefined && session?.id === entry.session.id && session.generation > entry.session.generation) {
      takeForm(entry, session, sealed);
    }
  }

  /** {@link applyForm}; its ID token may have another `sid` than the one before. */
  function takeForm(entry: SessionEntry, session: Session, sealed: string | undefined): void {
    applyForm(entry, session, sealed);
    live.rename(entry, namesOf(session, config.issuer));
  }

  /** Seals the newest form, for a browser that doesn't have it. */
  async function sealForm(entry: SessionEntry): Promise<void> {
    const { session } = entry;
    const sealed = await entry.sealer.seal(session);
    // A refresh that ended in the meantime has written a newer one.
    if (entry.session !== session) return;
    entry.cookieText = sealed;
    cache.add(sealed, entry, session);
  }

  return {
    knowsEnough,
    bringUpToDate,
    sealForm,
    takeForm,
    applyLook,
    applyRecord,
    hasNewerGeneration,
    confirm,
    servesOlder,
    servesKnown,
    commitRefresh,
  };
}

function noteActivity(entry: SessionEntry, activeMsAgo: number): void {
  const activeAt = Math.floor((Date.now() - activeMsAgo) / 1000);
  entry.lastActivityAt = Math.max(entry.lastActivityAt, activeAt);
  entry.countedAt = Math.max(entry.countedAt, activeAt);
}
