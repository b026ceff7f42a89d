/**
 * When access tokens are refreshed, and who waits for it. A refresh token is redeemed once (single flight): here, and
 * across processes by a claim in the store (`redemption.ts`); all calls that need the result join. The refresh belongs to
 * no request, so a client that disconnects neither loses the new token nor delays others.
 */
import { createHash } from 'node:crypto';
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import { PausedError } from '../oidc/circuit-breaker.ts';
import type { Provider } from '../oidc/provider.ts';
import { refreshDueAt, sessionExpired } from '../session/session.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import { withTimeout } from '../timeout.ts';
import { createRedeemer } from './redemption.ts';
import { createRefreshFailures } from './refresh-failures.ts';
import { createRejections } from './rejections.ts';

/** How long a call waits for a refresh where the access token at hand is still valid. */
const shortWaitTimeoutMs = 1000;
/** After a failure, an access token that is still valid is used for so long without another try. */
const retryAfterFailureMs = 5000;
/** A refresh on request is answered with the last result for so long. */
const requestCooldownSeconds = 5;
/** By how much of the time ahead of expiry sessions differ, so that those begun together don't refresh together. */
const refreshJitter = 0.1;

interface RunningRefresh {
  readonly refreshPromise: Promise<void>;
  /** By `performance.now()`, the clock of timers. */
  readonly startedAtMs: number;
}

interface RefreshDeps {
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly events: Events;
}

export type Refresher = ReturnType<typeof createRefresher>;

export function createRefresher(config: Config, { provider, sessions, events }: RefreshDeps) {
  /** How long a call waits for a refresh. The refresh itself goes on, because its result must not be lost. */
  const waitTimeoutMs = config.provider.timeoutSeconds * 1000;
  const inFlight = new Map<string, RunningRefresh>();
  /** When a call last went on with its access token because the refresh had failed. */
  const failedAt = new WeakMap<SessionEntry, number>();
  const failures = createRefreshFailures();
  const redeemer = createRedeemer(config, { provider, sessions, events });
  const rejections = createRejections();

  /**
   * Makes sure that the session's access token can be used.
   * @returns undefined when it can already: the usual case costs no promise
   * @throws {BffError} `session_expired`, or `provider_unavailable` when the token has expired and a refresh fails
   */
  function refreshIfDue(entry: SessionEntry): Promise<void> | undefined {
    const now = nowSeconds();
    const due = refreshDueAt(entry.session, config.refresh.beforeSeconds * (1 - refreshJitter * entry.jitter));
    return now < due ? undefined : refreshDue(entry, now);
  }

  async function refreshDue(entry: SessionEntry, now: number): Promise<void> {
    const stillValid = now < (entry.session.tokens.accessTokenExpiresAt ?? Infinity);
    if (stillValid && monotonicMs() < (failedAt.get(entry) ?? -Infinity) + retryAfterFailureMs) return;
    try {
      await refresh(entry, stillValid ? shortWaitTimeoutMs : waitTimeoutMs);
    } catch (error) {
      failedAt.set(entry, monotonicMs());
      if (!stillValid || !isTransient(error)) throw error;
    }
  }

  /**
   * Obtains a newer generation than the session has now, or waits for the refresh that is obtaining it.
   * @throws {BffError} `session_expired` when the session has ended, `provider_unavailable` when the outcome is unknown
   */
  async function refresh(entry: SessionEntry, timeoutMs = waitTimeoutMs): Promise<void> {
    const { generation, tokens } = entry.session;
    if (tokens.refreshToken === undefined) throw sessionExpired();
    await waitFor(joinOrStart(entry), timeoutMs);
    if (entry.ended !== undefined || entry.session.generation === generation) throw sessionExpired();
  }

  /** Single flight: one refresh per session and generation. @throws {BffError} `provider_unavailable` during a pause */
  function joinOrStart(entry: SessionEntry): RunningRefresh {
    const key = refreshKey(entry);
    const joined = inFlight.get(key);
    if (joined !== undefined) return joined;
    failures.requirePauseOver(entry);
    const refreshPromise = runRefresh(entry, key).finally(() => inFlight.delete(key));
    const started = { refreshPromise, startedAtMs: performance.now() };
    inFlight.set(key, started);
    return started;
  }

  /** One redemption of one refresh token. Never depends on the request that began it. */
  async function runRefresh(entry: SessionEntry, key: string): Promise<void> {
    try {
      await redeemer.redeem(entry, key);
      failures.forget(entry);
    } catch (error) {
      // The provider was not asked: nothing new happened.
      if (error instanceof PausedError) throw error;
      const reason = error instanceof BffError ? error.code : 'internal_error';
      // A pause is for the provider's sake. When the store is back, nobody is to wait any longer.
      if (reason !== 'store_unavailable') failures.record(entry, error);
      events.emit({ type: 'token.refresh_failed', session: entry.sessionHash, reason, cause: error });
      throw error;
    }
  }

  /** Refreshes because the app asks for it. Within a short cooldown of the last refresh nothing is done. */
  async function refreshNow(entry: SessionEntry): Promise<void> {
    const { generation, tokensIssuedAt, tokens } = entry.session;
    if (generation > 0 && nowSeconds() < tokensIssuedAt + requestCooldownSeconds) return;
    if (tokens.refreshToken !== undefined) await refresh(entry);
  }

  /** Whether a refresh may help against a 401 of the API on `route`. */
  function canRefreshAfterRejection(entry: SessionEntry, route: string): boolean {
    return entry.session.tokens.refreshToken !== undefined && !rejections.isRecent(entry, route);
  }

  /** Whether another token than the session's own may help against a 401 of the API on `route`. */
  function mayRetryAfterRejection(entry: SessionEntry, route: string): boolean {
    return !rejections.isRecent(entry, route);
  }

  /** Obtains a newer token than that of `generation`, which an API rejected; at once if there is one already. */
  async function refreshAfterRejection(entry: SessionEntry, generation: number): Promise<void> {
    if (entry.session.generation === generation) await refresh(entry);
  }

  return {
    refreshIfDue,
    refreshNow,
    canRefreshAfterRejection,
    mayRetryAfterRejection,
    refreshAfterRejection,
    /** The API on a route has rejected a new token, too. */
    recordRejection: rejections.record,
    /** Resolves when no refresh is running any more. */
    whenIdle: async () =>
      void (await Promise.allSettled([...inFlight.values()].map((running) => running.refreshPromise))),
  };
}

/**
 * Stands for one session's one refresh token. Not the token's own hash: providers that don't rotate may give one
 * person's sessions the same token, and each must get a result of its own.
 */
function refreshKey({ session }: SessionEntry): string {
  return createHash('sha256').update(`${session.id}.${session.generation}`).digest('base64url');
}

/** Waits for a refresh, but not without end; the later a call joins it, the shorter. */
function waitFor({ refreshPromise, startedAtMs }: RunningRefresh, timeoutMs: number): Promise<void> {
  const elapsedMs = performance.now() - startedAtMs;
  const ms = Math.max(timeoutMs - elapsedMs, Math.min(timeoutMs, shortWaitTimeoutMs));
  return withTimeout(refreshPromise, ms, () => {
    throw new BffError('provider_unavailable', 'The identity provider takes too long. Try again in a moment.', {
      headers: retryAfter(),
    });
  });
}

/** Whether a failure may pass in a moment. */
function isTransient(error: unknown): boolean {
  return error instanceof BffError && (error.code === 'provider_unavailable' || error.code === 'store_unavailable');
}
