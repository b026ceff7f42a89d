/**
 * Redeeming a refresh token (RFC 6749 6), once among all processes, whether for the session's own access token or for that
 * of a resource (RFC 8707). Each redemption may bring another refresh token, and so each is a step to the next generation
 * of the session. Whoever wants to make it claims the session's generation in the store, as soon as it has its turn to ask
 * the provider. The claim is a lease of a few seconds, which its owner renews while it waits for the provider, so that an
 * owner that is killed is soon replaced. Others wait for its message, or for the lease to run out, and have no turn then.
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
 *
 * A newer generation is not always what was wanted, because others ask for other tokens with the same refresh token:
 *
 * | meanwhile                                        | then                                                           |
 * | ------------------------------------------------ | -------------------------------------------------------------- |
 * | another has obtained the same token              | it is used, and nobody is asked                                |
 * | another has obtained a token for something else  | the new generation is claimed in turn                          |
 * | an earlier answer could not be verified yet      | it is completed first, for what it was asked for               |
 * | the resource is denied (`invalid_target`, …)     | the session stays as it was, and so does its refresh token     |
 * | the refresh token is rejected (`invalid_grant`)  | the session ends, for whatever it was shown                    |
 * | the session ends                                 | the answer is thrown away, and its refresh token revoked       |
 */
import { createHash, randomUUID } from 'node:crypto';
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import { UnaskedError, type Turn } from '../oidc/circuit-breaker.ts';
import type { Provider, RefreshResult } from '../oidc/provider.ts';
import type { ResourceRequest } from '../oidc/resources.ts';
import { revokeRefreshToken } from '../oidc/revocation.ts';
import type { Session } from '../session/session.ts';
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
  /** When the provider is asked. */
  readonly turn: Turn;
}

/** Which token is to be obtained. */
export interface Need {
  /** The resource that it is for; undefined for the session's own access token. */
  readonly request: ResourceRequest | undefined;
  /** Whether a form of the session holds a newer one than there was when the need arose. */
  readonly isMet: (session: Session) => boolean;
}

/** Thrown where the provider grants the session no token for a resource. */
export class ResourceDenied extends BffError {}

export type Redeemer = ReturnType<typeof createRedeemer>;

export function createRedeemer(config: Config, { provider, sessions, events }: RedeemerDeps) {
  /** How long calls wait for a refresh: after that nobody needs the claim of another process. */
  const patienceMs = config.provider.timeoutSeconds * 1000;
  const unanswered = new WeakMap<SessionEntry, string>();

  /**
   * Obtains a token, from the provider or by what another process has made of the session, or learns that it has ended.
   * One call for a session at a time: a claim does not tell apart two redemptions of one process.
   * @returns false if there is none, because the session has ended, or its newest generation is lost
   * @throws {BffError} `provider_unavailable` or `store_unavailable` when the outcome is open: the session stays
   * @throws {ResourceDenied}
   */
  async function redeem(entry: SessionEntry, need: Need): Promise<boolean> {
    while (entry.ended === undefined && !need.isMet(entry.session)) {
      const { session } = entry;
      const attempt = (turn: Turn) => claimAndRedeem(turn, entry, need, session.generation);
      // A claim made before its turn would only be renewed in the line after an outage.
      if (await provider.inRefreshTurn(redemptionKey(session), need.request, attempt)) return true;
      if (entry.session.generation === session.generation) return false;
    }
    return entry.ended === undefined;
  }

  /** @returns whether it obtained the token */
  async function claimAndRedeem(turn: Turn, entry: SessionEntry, need: Need, generation: number): Promise<boolean> {
    if (isSuperseded(entry, generation)) return false;
    const claim = await claimOrWait(entry, turn);
    return claim !== undefined && redeemClaimed(claim, entry, need);
  }

  /** @returns whether it obtained the token */
  async function redeemClaimed(claim: GrantedClaim, entry: SessionEntry, need: Need): Promise<boolean> {
    const renewal = setInterval(() => renew(entry, claim), renewalMs).unref();
    try {
      return await redeemAs(claim, entry, need);
    } catch (error) {
      // The outcome is open, unless the provider was not even asked, or refused what it was asked for.
      const isOpen = !(error instanceof UnaskedError || error instanceof ResourceDenied);
      sessions.releaseRefresh(entry, claim, claim.interrupted || isOpen);
      throw error;
    } finally {
      clearInterval(renewal);
    }
  }

  /** @returns undefined when nothing is left to refresh: there is a newer generation, or the session has ended */
  async function claimOrWait(entry: SessionEntry, turn: Turn): Promise<GrantedClaim | undefined> {
    // The generation to replace, read before the first await: a message may tell of a newer one at any time.
    const claim = { generation: entry.session.generation, owner: ownerFor(entry) };
    const deadline = monotonicMs() + patienceMs;
    while (monotonicMs() < deadline) {
      const message = sessions.expectMessage(entry);
      try {
        const result = await claimInStore(entry, claim);
        if (result.state === 'granted') {
          unanswered.delete(entry);
          return { ...claim, interrupted: result.interrupted, turn };
        }
        if (result.state === 'settled') {
          await sessions.applyRecord(entry, result.record);
          return undefined;
        }
        turn.pass();
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

  async function redeemAs(claim: GrantedClaim, entry: SessionEntry, { request }: Need): Promise<boolean> {
    if (claim.interrupted && sessions.storeWasAway()) await waitForEarlierOwner(entry, claim);
    const { session } = entry;
    // A message, a browser or the earlier owner has brought what the claim was for, or the end.
    if (isSuperseded(entry, claim.generation)) {
      sessions.releaseRefresh(entry, claim, claim.interrupted);
      return false;
    }
    const result = await claim.turn.run(() =>
      provider.refresh(session.tokens, session.userInfo, redemptionKey(session), request),
    );
    if (!result.granted) {
      await handleRejection(entry, claim, result);
      return false;
    }
    const next = nextGeneration(session, result);
    if (await sessions.commitRefresh(entry, next)) {
      emitObtained(entry, next, result);
      return result.resource?.request.key === request?.key;
    }
    // Another process refreshed first. Do not revoke: without rotation both hold the same refresh token.
    if (entry.ended === undefined) return false;
    // The session was ended during the refresh: a token that came too late must not stay valid at the provider.
    await revokeRefreshToken(next.tokens.refreshToken, entry.sessionHash, { provider, events });
    return false;
  }

  function emitObtained({ sessionHash }: SessionEntry, { generation }: Session, { resource }: Granted): void {
    if (resource === undefined) events.emit({ type: 'token.refreshed', session: sessionHash, generation });
    else events.emit({ type: 'token.obtained', session: sessionHash, generation, ...wordsOf(resource.request) });
  }

  /**
   * After an outage of the store, an owner that lives may have tokens that it could not write. To show the provider the
   * used one would end the session of both.
   */
  async function waitForEarlierOwner(entry: SessionEntry, { generation, turn }: GrantedClaim): Promise<void> {
    turn.pass();
    const message = sessions.expectMessage(entry);
    try {
      await message.within(lateWriteMs);
    } finally {
      message.cancel();
    }
    await sessions.hasNewerGeneration(entry, generation);
  }

  /** @throws {ResourceDenied} */
  async function handleRejection(entry: SessionEntry, claim: GrantedClaim, rejection: Rejection): Promise<void> {
    const { reason, cause } = rejection;
    if (reason === 'resource_denied') throw resourceDenied(cause);
    // Another process may have redeemed the token first, and has the newest generation.
    if (await sessions.hasNewerGeneration(entry, claim.generation)) return;
    const end = claim.interrupted && reason === 'refresh_rejected' ? 'refresh_interrupted' : reason;
    events.emit({ type: 'token.refresh_failed', session: entry.sessionHash, reason: end, cause });
    await sessions.end(entry, end);
  }

  return { redeem };
}

/** Whether another generation, or the end, has come in place of this one. */
function isSuperseded({ session, ended }: SessionEntry, generation: number): boolean {
  return ended !== undefined || session.generation !== generation;
}

type Rejection = Extract<RefreshResult, { readonly granted: false }>;
type Granted = Extract<RefreshResult, { readonly granted: true }>;

/**
 * Stands for one session's one refresh token. Not the token's own hash: providers that don't rotate may give one
 * person's sessions the same token, and each must get a result of its own.
 */
function redemptionKey({ id, generation }: Session): string {
  return createHash('sha256').update(`${id}.${generation}`).digest('base64url');
}

/** What a grant makes of a session. Of a resource's, all but the access token is the session's. */
function nextGeneration(session: Session, { grant, resource }: Granted): Session {
  const { tokens, userInfo } = grant;
  const generation = session.generation + 1;
  if (resource === undefined) return { ...session, generation, tokensIssuedAt: nowSeconds(), tokens, userInfo };
  const resourceTokens = new Map(session.resourceTokens).set(resource.request.key, resource.token);
  return { ...session, generation, tokens, resourceTokens };
}

/** The same for everyone: nothing tells whether this session or the route is at fault, and the log has the cause. */
function resourceDenied(cause: unknown): ResourceDenied {
  const detail =
    'The identity provider grants this session no access token for this API. A new sign-in may help if the API was added since.';
  return new ResourceDenied('access_denied', detail, { cause });
}

/** A resource request, for the log. */
function wordsOf({ resources, scope }: ResourceRequest): { readonly resource: string; readonly scope: string } {
  return { resource: resources.join(' '), scope: scope ?? '' };
}
