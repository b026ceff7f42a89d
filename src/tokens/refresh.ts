/**
 * Refreshing access tokens. A refresh token is redeemed once: one flight per refresh token and generation, here and
 * (through the store) across processes; all who need the result join it. The flight belongs to no request: a client
 * that goes away neither loses the new token nor holds the others up. Only a definitive answer ends a session.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import type { Events } from '../events.ts';
import { PausedError } from '../oidc/circuit-breaker.ts';
import type { Provider } from '../oidc/provider.ts';
import { retryAfterMs } from '../oidc/provider-errors.ts';
import { revokeRefreshToken } from '../oidc/revocation.ts';
import { refreshDueAt, sessionExpired } from '../session/session.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import type { Store } from '../store/store.ts';
import { ifAvailable, refreshLockSeconds, type RefreshLock } from '../session/shared-record.ts';
import { nowSeconds } from '../clock.ts';

/** How long a call waits for a refresh. The flight itself goes on, for its result must not be lost. */
const patienceMs = 10_000;
/** The same where the token at hand is still good. */
const shortPatienceMs = 1000;
const pollMs = 50;
/** After a failure, a token that is still good is used for so long without another try. */
const retryAfterFailureSeconds = 5;
/** From the second failure on there is a pause before the next try, which doubles: one blip keeps nobody out. */
const firstPauseMs = 1000;
const lastPauseMs = 30_000;
/** A refresh on request is answered with the last result for so long. */
const requestCooldownSeconds = 5;
/** For how long a route's 401s pass after it has refused a token that was new. */
const refusalSeconds = 60;
/** The spread of the moment ahead of expiry, so that sessions begun together don't refresh together. */
const spread = 0.1;

/** A refresh under way. */
interface Flight {
  readonly result: Promise<void>;
  readonly startedAtMs: number;
}

/** A session's refreshes that failed in a row, for reasons that may pass. */
interface Failure {
  readonly count: number;
  /** In milliseconds; no other try before. */
  readonly retryAt: number;
  readonly cause: unknown;
}

export type Refresher = ReturnType<typeof createRefresher>;

interface RefreshDeps {
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly store: Store;
  readonly events: Events;
}

export function createRefresher(config: Config, deps: RefreshDeps) {
  const { provider, sessions, store, events } = deps;
  const flights = new Map<string, Flight>();
  /** When a call went on without waiting for a refresh any longer. */
  const failedAt = new WeakMap<SessionEntry, number>();
  const failures = new WeakMap<SessionEntry, Failure>();
  const refusals = new WeakMap<SessionEntry, Map<string, number>>();

  /**
   * Makes sure that the session's access token can be used.
   * @returns undefined when it can already: the usual case costs no promise
   * @throws {BffError} `session_expired`, or `provider_unavailable` when the token is over and no new one can be had now
   */
  function refreshIfDue(entry: SessionEntry): Promise<void> | undefined {
    const now = nowSeconds();
    const due = refreshDueAt(entry.session, config.refresh.beforeSeconds * (1 - spread * fraction(entry)));
    return now < due ? undefined : refreshDue(entry, now);
  }

  async function refreshDue(entry: SessionEntry, now: number): Promise<void> {
    const stillGood = now < (entry.session.tokens.accessTokenExpiresAt ?? Infinity);
    if (stillGood && now < (failedAt.get(entry) ?? 0) + retryAfterFailureSeconds) return;
    try {
      await refresh(entry, stillGood ? shortPatienceMs : patienceMs);
    } catch (error) {
      failedAt.set(entry, now);
      if (!stillGood || !isTransient(error)) throw error;
    }
  }

  function noteFailure(entry: SessionEntry, cause: unknown): void {
    const count = (failures.get(entry)?.count ?? 0) + 1;
    const pauseMs = count === 1 ? 0 : Math.min(lastPauseMs, firstPauseMs * 2 ** (count - 2));
    const retryAt = Date.now() + Math.max(pauseMs, retryAfterMs(cause));
    failures.set(entry, { count, retryAt, cause });
  }

  /** A provider that has just failed is not asked again by every call. @throws {BffError} `provider_unavailable` */
  function demandPatience(entry: SessionEntry): void {
    const { retryAt = 0, cause } = failures.get(entry) ?? {};
    const waitMs = retryAt - Date.now();
    if (waitMs <= 0) return;
    throw new BffError('provider_unavailable', 'The identity provider could not refresh the session just now.', {
      cause,
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    });
  }

  /**
   * Obtains a newer generation than the session has now, or joins whoever is doing so.
   * @throws {BffError} `session_expired` when the session is over, `provider_unavailable` when the outcome is open
   */
  async function refresh(entry: SessionEntry, patience = patienceMs): Promise<void> {
    if (entry.session.tokens.refreshToken === undefined) throw sessionExpired();
    const key = flightKey(entry);
    let flight = flights.get(key);
    if (flight === undefined) {
      demandPatience(entry);
      flight = { result: fly(entry, key).finally(() => flights.delete(key)), startedAtMs: performance.now() };
      flights.set(key, flight);
    }
    const generation = entry.session.generation;
    await patiently(flight, patience);
    if (entry.status !== 'active') throw sessionExpired();
    // The flight may have been another object's of the same session, when this one had been dropped from the cache.
    if (entry.session.generation === generation && !(await sessions.hasNewerGeneration(entry, generation)))
      throw sessionExpired();
  }

  /** One redemption of one refresh token. Never depends on the request that began it. */
  async function fly(entry: SessionEntry, key: string): Promise<void> {
    const lock = { key, owner: randomUUID() };
    try {
      if (await takenElsewhere(entry, lock)) return;
      await redeem(entry, key);
      failures.delete(entry);
    } catch (error) {
      if (!(error instanceof PausedError)) noteFailure(entry, error);
      const reason = error instanceof BffError ? error.code : 'internal_error';
      events.emit({ type: 'token.refresh_failed', session: entry.sessionHash, reason, cause: error });
      throw error;
    } finally {
      await ifAvailable(sessions.releaseRefreshLock(entry, lock));
    }
  }

  /** Takes the lock, or waits for the process that has it. @returns whether that one obtained the result */
  async function takenElsewhere(entry: SessionEntry, lock: RefreshLock): Promise<boolean> {
    // Of the token that this flight is for: another call may take over somebody's result at any moment.
    const { generation } = entry.session;
    // The cookie may be older than what this process obtained for it, and dropped from its cache.
    if (!store.shared) return sessions.hasNewerGeneration(entry, generation);
    const deadline = Date.now() + refreshLockSeconds * 1000;
    while (Date.now() < deadline) {
      if (await sessions.hasNewerGeneration(entry, generation)) return true;
      if (entry.status !== 'active' || (await sessions.acquireRefreshLock(lock))) {
        // Between the look and the lock, the one who had it may have finished.
        return (await sessions.hasNewerGeneration(entry, generation)) || entry.status !== 'active';
      }
      await sleep(pollMs);
    }
    throw new BffError('provider_unavailable', 'Another instance is still refreshing this session.', {
      headers: { 'retry-after': '2' },
    });
  }

  async function redeem(entry: SessionEntry, key: string): Promise<void> {
    const { session } = entry;
    const answer = await provider.refresh(session.tokens, session.userInfo, key);
    if (!answer.granted) {
      // A second look: somebody else may have redeemed the token, and theirs is the newest generation.
      if (await sessions.hasNewerGeneration(entry, session.generation)) return;
      events.emit({
        type: 'token.refresh_failed',
        session: entry.sessionHash,
        reason: answer.reason,
        cause: answer.cause,
      });
      await sessions.end(entry, answer.reason);
      return;
    }
    const { tokens, userInfo } = answer.grant;
    const next = { ...session, generation: session.generation + 1, tokensIssuedAt: nowSeconds(), tokens, userInfo };
    if (await sessions.commitRefresh(entry, next)) {
      events.emit({ type: 'token.refreshed', session: entry.sessionHash, generation: next.generation });
      return;
    }
    // Somebody was faster, and where the provider doesn't rotate, theirs is the same token.
    if (entry.status === 'active' && (await sessions.hasNewerGeneration(entry, session.generation))) return;
    // Signed out in the meantime: what came too late must not stay good at the provider either.
    await revokeRefreshToken(tokens.refreshToken, entry.sessionHash, { provider, events });
  }

  /** Refreshes because the app asks for it; within a short cooldown of the last refresh, that one's result is the answer. */
  async function refreshNow(entry: SessionEntry): Promise<void> {
    const { generation, tokensIssuedAt } = entry.session;
    if (generation > 0 && nowSeconds() < tokensIssuedAt + requestCooldownSeconds) return;
    if (entry.session.tokens.refreshToken === undefined) return;
    await refresh(entry);
  }

  /** Whether a 401 of an API on `route` is worth a refresh. */
  function canRefreshAfterRejection(entry: SessionEntry, route: string): boolean {
    if (entry.session.tokens.refreshToken === undefined) return false;
    return nowSeconds() >= (refusals.get(entry)?.get(route) ?? 0);
  }

  /** Obtains a newer token than that of `generation`, which an API refused; at once if somebody already has. */
  async function refreshAfterRejection(entry: SessionEntry, generation: number): Promise<void> {
    if (entry.session.generation === generation) await refresh(entry);
  }

  /** An API refused a new token, too: for a while its 401s pass at once, or each would cost a refresh. */
  function recordRejection(entry: SessionEntry, route: string): void {
    const routes = refusals.get(entry) ?? new Map<string, number>();
    refusals.set(entry, routes.set(route, nowSeconds() + refusalSeconds));
  }

  return {
    refreshIfDue,
    refreshNow,
    canRefreshAfterRejection,
    refreshAfterRejection,
    recordRejection,
    /** Resolves when no refresh is running any more. */
    whenIdle: async () => void (await Promise.allSettled([...flights.values()].map(({ result }) => result))),
  };
}

/** A number from 0 to 1 that is the session's own. */
function fraction(entry: SessionEntry): number {
  return entry.jitter;
}

/**
 * One session's one refresh token. Not the token's own hash: providers that don't rotate may give one person's sessions
 * the same token, and each must get a result of its own.
 */
function flightKey({ session }: SessionEntry): string {
  return createHash('sha256').update(`${session.id}.${session.generation}`).digest('base64url');
}

/** Waits for the flight, but not for ever; the later a call joins it, the less. */
function patiently({ result, startedAtMs }: Flight, limitMs: number): Promise<void> {
  const ms = Math.max(limitMs - (performance.now() - startedAtMs), Math.min(limitMs, shortPatienceMs));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new BffError('provider_unavailable', 'The identity provider takes too long. Try again in a moment.', {
          headers: { 'retry-after': '2' },
        }),
      );
    }, ms).unref();
    detach(
      result.then(resolve, reject).finally(() => clearTimeout(timer)),
      reject,
    );
  });
}

/** Whether a failure may be over in a moment. */
function isTransient(error: unknown): boolean {
  return error instanceof BffError && (error.code === 'provider_unavailable' || error.code === 'store_unavailable');
}
