/**
 * When one kind of access token is renewed, the session's own or that of a resource, and for how long calls wait for it.
 * `redemption-queue.ts` lets calls that need the same token join.
 */
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import type { ResourceRequest } from '../oidc/resources.ts';
import { sessionExpired, type Session } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { withTimeout } from '../timeout.ts';
import { ResourceDenied } from './redemption.ts';
import type { RedemptionQueue, RunningRedemption } from './redemption-queue.ts';
import { createRefreshFailures } from './refresh-failures.ts';

/** How long a call waits for a renewal where the access token at hand is still valid. */
const shortWaitTimeoutMs = 1000;
/** After a failure, an access token that is still valid is used for so long without another try. */
const retryAfterFailureMs = 5000;

/** For so long a resource that the provider has denied is not asked for again: each try redeems the refresh token. */
const deniedMs = 60_000;

/** An access token that a session holds. Times are seconds since 1970. */
export interface HeldToken {
  readonly accessToken: string;
  readonly issuedAt: number;
  readonly expiresAt: number | undefined;
}

/** Which of a session's access tokens is renewed. */
export interface TokenKind {
  /** The resource that it is for; undefined for the session's own. */
  readonly request: ResourceRequest | undefined;
  /** The one that a form of the session holds. */
  readonly heldBy: (session: Session) => HeldToken | undefined;
}

export function createRenewal(config: Config, { request, heldBy }: TokenKind, queue: RedemptionQueue) {
  /** How long a call waits for a renewal. The renewal itself goes on, because its result must not be lost. */
  const waitTimeoutMs = config.provider.timeoutSeconds * 1000;
  /** When a call last went on with its access token because the renewal had failed. */
  const failedAt = new WeakMap<SessionEntry, number>();
  const failures = createRefreshFailures();
  const denials = new WeakMap<SessionEntry, { readonly error: ResourceDenied; readonly until: number }>();

  /**
   * Renews a token that is due, or obtains the first one. One that is still valid need not wait for long.
   * @throws {BffError} `session_expired`, or, where there is no valid token, whatever the renewal failed for
   */
  async function renewDue(entry: SessionEntry): Promise<void> {
    const held = heldBy(entry.session);
    const isStillValid = held !== undefined && nowSeconds() < (held.expiresAt ?? Infinity);
    if (isStillValid && monotonicMs() < (failedAt.get(entry) ?? -Infinity) + retryAfterFailureMs) return;
    try {
      await renew(entry, isStillValid ? shortWaitTimeoutMs : waitTimeoutMs);
    } catch (error) {
      failedAt.set(entry, monotonicMs());
      if (!isStillValid || !mayPass(error)) throw error;
    }
  }

  /**
   * Obtains a newer token than the session has now, or waits for the renewal that is obtaining it.
   * @throws {BffError} `session_expired` when the session has ended, `provider_unavailable` when the outcome is unknown,
   *   `access_denied` when the provider denies the resource
   */
  async function renew(entry: SessionEntry, timeoutMs = waitTimeoutMs): Promise<void> {
    const denial = denials.get(entry);
    if (denial !== undefined && monotonicMs() < denial.until) throw denial.error;
    const before = heldBy(entry.session);
    const isMet = (session: Session) => isOther(heldBy(session), before);
    const running = queue.joinOrStart(entry, { request, isMet }, failures);
    const isObtained = await waitFor(running, timeoutMs).catch((reason: unknown) => {
      if (reason instanceof ResourceDenied) denials.set(entry, { error: reason, until: monotonicMs() + deniedMs });
      throw reason;
    });
    if (!isObtained || entry.ended !== undefined) throw sessionExpired();
  }

  return { renewDue, renew };
}

function isOther(now: HeldToken | undefined, before: HeldToken | undefined): boolean {
  return now !== undefined && (now.accessToken !== before?.accessToken || now.issuedAt !== before.issuedAt);
}

/** Waits for a renewal, but not without end; the later a call joins it, the shorter. */
function waitFor({ promise, startedAtMs }: RunningRedemption, timeoutMs: number): Promise<boolean> {
  const elapsedMs = performance.now() - startedAtMs;
  const ms = Math.max(timeoutMs - elapsedMs, Math.min(timeoutMs, shortWaitTimeoutMs));
  return withTimeout(promise, ms, () => {
    throw new BffError('provider_unavailable', 'The identity provider takes too long. Try again in a moment.', {
      headers: retryAfter(),
    });
  });
}

/** Whether a failure leaves a token that is still valid as good as it was. */
function mayPass(error: unknown): boolean {
  return (
    error instanceof BffError && ['provider_unavailable', 'store_unavailable', 'access_denied'].includes(error.code)
  );
}
