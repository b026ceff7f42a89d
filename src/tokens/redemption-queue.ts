/**
 * Who redeems a session's refresh token in this process, one after the other. Calls that need the same token join one
 * redemption (single flight). One for another token waits, because the answer of the redemption before it may bring the
 * refresh token that it must show. A redemption belongs to no request, so a client that disconnects neither loses the new
 * token nor delays others.
 */
import type { Events } from '../events.ts';
import { BffError } from '../http/errors.ts';
import { UnaskedError } from '../oidc/circuit-breaker.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { ResourceDenied, type Need, type Redeemer } from './redemption.ts';
import type { RefreshFailures } from './refresh-failures.ts';

export interface RunningRedemption {
  /** Whether the token was obtained. */
  readonly promise: Promise<boolean>;
  /** When it began, or began to wait for another. By `performance.now()`, the clock of timers. */
  readonly startedAtMs: number;
}

/** The redemptions of one session that run or wait, by the key of the resource; undefined for the session's own token. */
type Queue = Map<string | undefined, RunningRedemption>;

interface QueueDeps {
  readonly redeemer: Redeemer;
  readonly events: Events;
}

export type RedemptionQueue = ReturnType<typeof createRedemptionQueue>;

export function createRedemptionQueue({ redeemer, events }: QueueDeps) {
  const queues = new Map<SessionEntry, Queue>();

  /** @throws {BffError} `provider_unavailable` while failures of this token ask for a pause */
  function joinOrStart(entry: SessionEntry, need: Need, failures: RefreshFailures): RunningRedemption {
    const key = need.request?.key;
    const queue: Queue = queues.get(entry) ?? new Map();
    const joined = queue.get(key);
    if (joined !== undefined) return joined;
    failures.requirePauseOver(entry);
    const last = [...queue.values()].at(-1);
    const redeemed = last === undefined ? redeem(entry, need, failures) : redeemAfter(last, entry, need, failures);
    const promise = redeemed.finally(() => {
      queue.delete(key);
      if (queue.size === 0) queues.delete(entry);
    });
    const started = { promise, startedAtMs: performance.now() };
    queues.set(entry, queue.set(key, started));
    return started;
  }

  async function redeemAfter(
    { promise }: RunningRedemption,
    entry: SessionEntry,
    need: Need,
    failures: RefreshFailures,
  ): Promise<boolean> {
    await promise.catch(() => undefined);
    return redeem(entry, need, failures);
  }

  async function redeem(entry: SessionEntry, need: Need, failures: RefreshFailures): Promise<boolean> {
    try {
      const isObtained = await redeemer.redeem(entry, need);
      failures.forget(entry);
      return isObtained;
    } catch (error) {
      // The provider was not asked: nothing new happened.
      if (error instanceof UnaskedError) throw error;
      const reason = error instanceof BffError ? error.code : 'internal_error';
      // A pause is for the provider's sake. When the store is back, nobody is to wait any longer.
      if (reason !== 'store_unavailable' && !(error instanceof ResourceDenied)) failures.record(entry, error);
      events.emit({ type: 'token.refresh_failed', session: entry.sessionHash, reason, cause: error });
      throw error;
    }
  }

  /** Resolves when no redemption is running any more. */
  async function whenIdle(): Promise<void> {
    while (queues.size > 0) await Promise.allSettled([...queues.values()].flatMap(promisesOf));
  }

  return { joinOrStart, whenIdle };
}

function promisesOf(queue: Queue): Promise<boolean>[] {
  return Array.from(queue.values(), ({ promise }) => promise);
}
