/** The pauses after a session's refreshes that failed for reasons that may pass. One such failure signs nobody out. */
import { monotonicMs } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { pauseMsAfter } from './failure-pause.ts';

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
    failuresOf.set(entry, { count, retryAt: monotonicMs() + pauseMsAfter(count, cause), cause });
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
