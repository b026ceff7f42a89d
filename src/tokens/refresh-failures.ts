/**
 * How long to wait after refreshes that failed for reasons that may pass. The first failure allows another try at once,
 * so that one dropped connection signs nobody out; from the second on there is a pause, which doubles.
 */
import { monotonicMs } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { retryAfterMs } from '../oidc/provider-errors.ts';
import type { SessionEntry } from '../session/sessions.ts';

const firstPauseMs = 1000;
const maximumPauseMs = 30_000;

/** A session's refreshes that failed in a row. */
interface Failures {
  readonly count: number;
  /** In milliseconds of the monotonic clock; no other try before. */
  readonly retryAt: number;
  readonly cause: unknown;
}

export type RefreshFailures = ReturnType<typeof createRefreshFailures>;

export function createRefreshFailures() {
  const failuresOf = new WeakMap<SessionEntry, Failures>();

  function record(entry: SessionEntry, cause: unknown): void {
    const count = (failuresOf.get(entry)?.count ?? 0) + 1;
    const pauseMs = count === 1 ? 0 : Math.min(maximumPauseMs, firstPauseMs * 2 ** (count - 2));
    const retryAt = monotonicMs() + Math.max(pauseMs, retryAfterMs(cause));
    failuresOf.set(entry, { count, retryAt, cause });
  }

  /** @throws {BffError} `provider_unavailable` during the pause, so that not each call tries the provider again */
  function requirePauseOver(entry: SessionEntry): void {
    const { retryAt = -Infinity, cause } = failuresOf.get(entry) ?? {};
    const waitMs = retryAt - monotonicMs();
    if (waitMs <= 0) return;
    throw new BffError('provider_unavailable', 'The identity provider could not refresh the session just now.', {
      cause,
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)) },
    });
  }

  return { record, requirePauseOver, forget: (entry: SessionEntry) => void failuresOf.delete(entry) };
}
