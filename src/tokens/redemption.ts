/**
 * Redeeming a refresh token (RFC 6749 6), once among all processes. Whoever wants to claims the session's generation in
 * the store. The claim is a lease of a few seconds, which its owner renews while it waits for the provider, so that an
 * owner that is killed is soon replaced. Others wait for its message, or for the lease to run out.
 *
 * What can go wrong, and what happens then:
 *
 * | the owner                          | the next owner                                                              |
 * | ---------------------------------- | --------------------------------------------------------------------------- |
 * | is killed before it asks           | is warned, asks, and gets new tokens                                        |
 * | is killed while it waits           | is warned, asks; a refusal then ends the session with `refresh_interrupted` |
 * | is killed after it has written     | finds the new generation                                                    |
 * | hangs until the lease is over      | as above; whoever writes a generation first wins, the other throws it away  |
 * | cannot reach the store any more    | waits for the store as well, and then for the owner's late write            |
 * | has its claim lost in a failover   | does the same, where it has seen that another store may have taken over     |
 *
 * Only a definitive rejection ends a session, and only after a second look for somebody else's result.
 */
import { randomUUID } from 'node:crypto';
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import { PausedError } from '../oidc/circuit-breaker.ts';
import type { Provider, RefreshResult } from '../oidc/provider.ts';
import { revokeRefreshToken } from '../oidc/revocation.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import type { Claim } from '../store/store.ts';

/** How long an owner can be gone before another takes its place. */
const leaseMs = 4000;
const renewalMs = 1000;
/** After the lease has run out, so that the store agrees that it has. */
const leaseMarginMs = 20;
/**
 * How long after an outage of the store the earlier owner's late write is waited for: more than it may take to reach the
 * store again (0.5 s at most) and to write (0.5 s at most).
 */
const lateWriteMs = 2000;
/** How often others look while no message can come. */
const lookMs = 250;

interface RedeemerDeps {
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly events: Events;
}

/** The right to redeem, and whether an earlier owner may have done so. */
interface GrantedClaim extends Claim {
  readonly interrupted: boolean;
}

export type Redeemer = ReturnType<typeof createRedeemer>;

export function createRedeemer(config: Config, { provider, sessions, events }: RedeemerDeps) {
  /** How long calls wait for a refresh: after that nobody needs the claim of another process. */
  const patienceMs = config.provider.timeoutSeconds * 1000;
  const unanswered = new WeakMap<SessionEntry, string>();

  /**
   * Obtains a newer generation of the session, from the provider or from another process, or learns that it has ended.
   * @param key of this redemption: one session, one refresh token
   * @throws {BffError} `provider_unavailable` or `store_unavailable` when the outcome is open: the session stays
   */
  async function redeem(entry: SessionEntry, key: string): Promise<void> {
    const claim = await claimOrWait(entry);
    if (claim === undefined) return;
    const renewal = setInterval(() => renew(entry, claim), renewalMs).unref();
    try {
      await redeemAs(claim, entry, key);
    } catch (error) {
      // The outcome is open, unless the provider was not even asked.
      sessions.releaseRefresh(entry, claim, claim.interrupted || !(error instanceof PausedError));
      throw error;
    } finally {
      clearInterval(renewal);
    }
  }

  /** @returns undefined when nothing is left to refresh: there is a newer generation, or the session has ended */
  async function claimOrWait(entry: SessionEntry): Promise<GrantedClaim | undefined> {
    // The generation to replace, read before the first await: a message may tell of a newer one at any time.
    const claim = { generation: entry.session.generation, owner: ownerFor(entry) };
    const deadline = monotonicMs() + patienceMs;
    while (monotonicMs() < deadline) {
      const message = sessions.expectMessage(entry);
      try {
        const result = await claimInStore(entry, claim);
        if (result.state === 'granted') {
          unanswered.delete(entry);
          return { ...claim, interrupted: result.interrupted };
        }
        if (result.state === 'settled') {
          await sessions.applyRecord(entry, result.record);
          return undefined;
        }
        const leftMs = result.leftMs + leaseMarginMs;
        await message.within(sessions.hears() ? leftMs : Math.min(leftMs, lookMs));
      } finally {
        message.cancel();
      }
    }
    throw new BffError('provider_unavailable', 'Another instance is still refreshing this session.', {
      headers: retryAfter(),
    });
  }

  /** The owner of an earlier claim whose answer was lost: it may have been granted, and is no other owner's then. */
  function ownerFor(entry: SessionEntry): string {
    const owner = unanswered.get(entry) ?? randomUUID();
    unanswered.set(entry, owner);
    return owner;
  }

  /** @throws {BffError} `store_unavailable`, unless the operator accepts refreshes that nobody else knows of */
  async function claimInStore(entry: SessionEntry, claim: Claim): Promise<ReturnType<Sessions['claimRefresh']>> {
    try {
      const result = await sessions.claimRefresh(entry, claim, leaseMs);
      // A failover can lose the claim of an owner that lives.
      if (result.state !== 'granted' || result.interrupted) return result;
      return { ...result, interrupted: await sessions.storeMayHaveLostClaims() };
    } catch (error) {
      if (config.store.whenDown === 'refresh') return { state: 'granted', interrupted: false };
      throw error;
    }
  }

  /** If it fails, the lease may run out; generations in the store are safe from two owners. */
  function renew(entry: SessionEntry, claim: Claim): void {
    detach(sessions.claimRefresh(entry, claim, leaseMs), () => undefined);
  }

  async function redeemAs(claim: GrantedClaim, entry: SessionEntry, key: string): Promise<void> {
    if (claim.interrupted && sessions.storeWasAway()) await waitForEarlierOwner(entry, claim);
    const { session } = entry;
    // A message, a browser or the earlier owner has brought what the claim was for, or the end.
    if (session.generation !== claim.generation || entry.ended !== undefined) {
      return sessions.releaseRefresh(entry, claim, claim.interrupted);
    }
    const result = await provider.refresh(session.tokens, session.userInfo, key);
    if (!result.granted) return endRejected(entry, claim, result);
    const { tokens, userInfo } = result.grant;
    const next = { ...session, generation: session.generation + 1, tokensIssuedAt: nowSeconds(), tokens, userInfo };
    if (await sessions.commitRefresh(entry, next)) {
      events.emit({ type: 'token.refreshed', session: entry.sessionHash, generation: next.generation });
      return;
    }
    // Another process refreshed first. Do not revoke: without rotation both hold the same refresh token.
    if (entry.ended === undefined) return;
    // The session was ended during the refresh: a token that came too late must not stay valid at the provider.
    await revokeRefreshToken(tokens.refreshToken, entry.sessionHash, { provider, events });
  }

  /**
   * After an outage of the store, an owner that lives may have tokens that it could not write. To show the provider the
   * used one would end the session of both.
   */
  async function waitForEarlierOwner(entry: SessionEntry, { generation }: Claim): Promise<void> {
    const message = sessions.expectMessage(entry);
    try {
      await message.within(lateWriteMs);
    } finally {
      message.cancel();
    }
    await sessions.hasNewerGeneration(entry, generation);
  }

  async function endRejected(entry: SessionEntry, claim: GrantedClaim, rejection: Rejection): Promise<void> {
    // Another process may have redeemed the token first, and has the newest generation.
    if (await sessions.hasNewerGeneration(entry, claim.generation)) return;
    const { cause } = rejection;
    const isInterrupted = claim.interrupted && rejection.reason === 'refresh_rejected';
    const reason = isInterrupted ? 'refresh_interrupted' : rejection.reason;
    events.emit({ type: 'token.refresh_failed', session: entry.sessionHash, reason, cause });
    await sessions.end(entry, reason);
  }

  return { redeem };
}

type Rejection = Extract<RefreshResult, { readonly granted: false }>;
