/**
 * The policy `{ resource, scope }`: calls carry an access token for one resource (RFC 8707), which the session's refresh
 * token brings. It is obtained with the first call, kept with the session, and renewed on its own: neither the session's
 * own token nor that of another resource changes with it, and a 401 of the API renews it alone.
 */
import { nowSeconds } from '../clock.ts';
import type { ApiRoute, Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { ResourceRequest } from '../oidc/resources.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { renewalDueAt, type ResourceToken } from '../token-set.ts';
import { ownToken } from './bearer.ts';
import type { Refresher } from './refresh.ts';
import { createRenewal } from './renewal.ts';
import type { TokenCall, TokenPolicy } from './token-policy.ts';

interface ResourceTokensDeps {
  readonly config: Config;
  readonly refresher: Refresher;
}

export function createResourceTokens(
  request: ResourceRequest,
  { path }: ApiRoute,
  { config, refresher }: ResourceTokensDeps,
): TokenPolicy {
  const { key } = request;
  const renewal = createRenewal(
    config,
    { request, heldBy: ({ resourceTokens }) => resourceTokens?.get(key) },
    refresher.queue,
  );

  /** A token that is not due; the usual case costs two look-ups and no promise. */
  function usableToken(entry: SessionEntry): ResourceToken | undefined {
    const token = entry.session.resourceTokens?.get(key);
    return token !== undefined && nowSeconds() < dueAt(token, refresher.secondsAhead(entry)) ? token : undefined;
  }

  async function obtain(entry: SessionEntry): Promise<ResourceToken> {
    if (entry.session.tokens.refreshToken !== undefined) await renewal.renewDue(entry);
    const token = entry.session.resourceTokens?.get(key);
    if (token === undefined) throw withoutRefreshToken();
    return token;
  }

  async function obtainAndCarry(call: TokenCall, entry: SessionEntry): Promise<readonly string[]> {
    return carry(call, entry, await obtain(entry));
  }

  return {
    session: 'required',
    usesSessionToken: false,
    personal: true,
    headerNames: ['authorization'],
    headers(call) {
      const { entry } = call;
      if (entry === undefined) return [];
      const token = usableToken(entry);
      return token === undefined ? obtainAndCarry(call, entry) : carry(call, entry, token);
    },
    mayRenew: ({ entry }) => entry !== undefined && refresher.canRefreshAfterRejection(entry, path),
    async renew({ entry, sentToken }) {
      if (entry === undefined) return;
      // Another call may have renewed it since.
      if (entry.session.resourceTokens?.get(key)?.accessToken === sentToken) await renewal.renew(entry);
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, path);
    },
    ofResource: ({ entry }) => (entry === undefined ? undefined : (usableToken(entry) ?? obtain(entry))),
  };
}

/** It is bound to the session's key where the session's own token is. */
function carry(call: TokenCall, { session }: SessionEntry, { accessToken }: ResourceToken): readonly string[] {
  call.sentToken = accessToken;
  return ownToken({ accessToken, dpopKey: session.tokens.dpopKey });
}

function dueAt({ issuedAt, expiresAt }: ResourceToken, secondsAhead: number): number {
  return expiresAt === undefined ? Infinity : renewalDueAt(issuedAt, expiresAt, secondsAhead);
}

function withoutRefreshToken(): BffError {
  return new BffError(
    'access_denied',
    'This API needs an access token of its own, and the identity provider granted no refresh token to obtain one with.',
  );
}
