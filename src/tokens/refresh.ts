/**
 * When the session's own access token is refreshed, and who waits for it. A refresh token is redeemed once (single
 * flight): here (`redemption-queue.ts`), and across processes by a claim in the store (`redemption.ts`).
 */
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { Provider } from '../oidc/provider.ts';
import { refreshDueAt } from '../session/session.ts';
import type { SessionEntry, Sessions } from '../session/sessions.ts';
import { createRedeemer } from './redemption.ts';
import { createRedemptionQueue } from './redemption-queue.ts';
import { createRejections } from './rejections.ts';
import { createRenewal, type TokenKind } from './renewal.ts';

/** A refresh on request is answered with the last result for so long. */
const requestCooldownSeconds = 5;
/** By how much of the time ahead of expiry sessions differ, so that those begun together don't refresh together. */
const refreshJitter = 0.1;

interface RefreshDeps {
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly events: Events;
}

export type Refresher = ReturnType<typeof createRefresher>;

const sessionToken: TokenKind = {
  request: undefined,
  heldBy: ({ tokens, tokensIssuedAt }) => ({
    accessToken: tokens.accessToken,
    issuedAt: tokensIssuedAt,
    expiresAt: tokens.accessTokenExpiresAt,
  }),
};

export function createRefresher(config: Config, { provider, sessions, events }: RefreshDeps) {
  const redeemer = createRedeemer(config, { provider, sessions, events });
  const queue = createRedemptionQueue({ redeemer, events });
  const { renew, renewDue } = createRenewal(config, sessionToken, queue);
  const rejections = createRejections();

  /**
   * Makes sure that the session's access token can be used.
   * @returns undefined when it can already: the usual case costs no promise
   * @throws {BffError} `session_expired`, or `provider_unavailable` when the token has expired and a refresh fails
   */
  function refreshIfDue(entry: SessionEntry): Promise<void> | undefined {
    return nowSeconds() < refreshDueAt(entry.session, secondsAhead(entry)) ? undefined : renewDue(entry);
  }

  /** How long before its expiry a token of this session is renewed. */
  function secondsAhead({ jitter }: SessionEntry): number {
    return config.refresh.beforeSeconds * (1 - refreshJitter * jitter);
  }

  /** Refreshes because the app asks for it. Within a short cooldown of the last refresh nothing is done. */
  async function refreshNow(entry: SessionEntry): Promise<void> {
    const { generation, tokensIssuedAt, tokens } = entry.session;
    if (generation > 0 && nowSeconds() < tokensIssuedAt + requestCooldownSeconds) return;
    if (tokens.refreshToken !== undefined) await renew(entry);
  }

  /** Whether a refresh may help against a 401 of the API on `route`. */
  function canRefreshAfterRejection(entry: SessionEntry, route: string): boolean {
    return entry.session.tokens.refreshToken !== undefined && !rejections.isRecent(entry, route);
  }

  /** Whether another token than the session's own may help against a 401 of the API on `route`. */
  function mayRetryAfterRejection(entry: SessionEntry, route: string): boolean {
    return !rejections.isRecent(entry, route);
  }

  /** Obtains a newer access token than the one that an API rejected; at once if there is one already. */
  async function refreshAfterRejection(entry: SessionEntry, rejected: string | undefined): Promise<void> {
    if (entry.session.tokens.accessToken === rejected) await renew(entry);
  }

  return {
    refreshIfDue,
    refreshNow,
    secondsAhead,
    canRefreshAfterRejection,
    mayRetryAfterRejection,
    refreshAfterRejection,
    /** The API on a route has rejected a new token, too. */
    recordRejection: rejections.record,
    /** Where tokens of resources are redeemed as well, one after the other with the session's own. */
    queue,
    /** Resolves when no refresh is running any more. */
    whenIdle: queue.whenIdle,
  };
}
