/**
 * Redeeming a refresh token (OAuth 2.1 4.3), for the session's own access token or for that of a resource (RFC 8707 2.2).
 * Hides which answers are final, the scopes that providers demand or refuse, and answers that could not be verified at
 * once: their refresh token is used up.
 */
import { LRUCache } from 'lru-cache';
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { subjectOf, type Claims, type DpopKey, type TokenSet } from '../token-set.ts';
import { createCircuitBreaker, type CircuitBreaker, type Turn } from './circuit-breaker.ts';
import type { OidcClient } from './client.ts';
import { isInvalidTokenResponse, providerUnavailable, retryAfterMs } from './provider-errors.ts';
import { withProvidersWords } from './refusal.ts';
import {
  divideTokens,
  endsWithRefusal,
  resourceParameters,
  type GrantedResource,
  type ResourceRequest,
} from './resources.ts';
import { loginScope } from './scope.ts';
import {
  isGrantRejected,
  isScopeRejected,
  isTokenResponse,
  replayableTokenFetch,
  tokensOf,
  type Grant,
  type PreviousGrant,
  type ReplayableFetch,
  type TokenResponse,
} from './token-response.ts';

/** A refresh goes on for longer than its callers wait, because the refresh token is used up with the first response. */
const refreshTimeoutFactor = 3;

/** How long a token response that could not be verified yet is kept after its refresh has ended. */
const unverifiedResponseMs = 10 * 60 * 1000;

/** The final outcome of a refresh: new tokens, or a definitive rejection. Anything else is thrown. */
export type RefreshResult =
  /** With `resource`, the answer's access token is that resource's, and the grant's access token stays what it was. */
  | { readonly granted: true; readonly grant: Grant; readonly resource?: GrantedResource | undefined }
  | {
      readonly granted: false;
      /** `resource_denied`: the refresh token is good, but not for that resource. */
      readonly reason: 'refresh_rejected' | 'refresh_id_token_invalid' | 'resource_denied';
      readonly cause: unknown;
    };

/** A token response that could not be verified yet, and what it answers. */
interface UnverifiedResponse {
  readonly response: Response;
  readonly request: ResourceRequest | undefined;
}

interface RefreshGrantDeps {
  readonly client: OidcClient;
  readonly grantOf: (response: TokenResponse, previous: PreviousGrant, dpopKey: DpopKey | undefined) => Promise<Grant>;
}

export function createRefreshGrant(config: Config, { client: oidc, grantOf }: RefreshGrantDeps) {
  const { timeoutSeconds, clockToleranceSeconds } = config.provider;
  const unverifiedResponses = new LRUCache<string, UnverifiedResponse>({ max: 1000, ttl: unverifiedResponseMs });
  /** By what is asked for: a resource for which the provider fails is no outage of the rest. */
  const breakers = new Map<string | undefined, CircuitBreaker>();

  /**
   * Runs a task that may redeem a refresh token, when its turn has come.
   * @param key of the redemption: one session, one refresh token
   * @param request the resource that it is for; undefined for the session's own token
   * @throws {PausedError} and whatever the task throws
   */
  function inRefreshTurn<T>(
    key: string,
    request: ResourceRequest | undefined,
    task: (turn: Turn) => Promise<T>,
  ): Promise<T> {
    return breakerOf(request).inTurn(key, task);
  }

  function breakerOf(request: ResourceRequest | undefined): CircuitBreaker {
    const breaker = breakers.get(request?.key) ?? createCircuitBreaker(retryAfterMs);
    breakers.set(request?.key, breaker);
    return breaker;
  }

  /**
   * Redeems a refresh token, which is what a turn is for.
   * @param wanted the resource that the access token is to be for; undefined for the session's own. The result may be that
   *   of another request, which used the token up before and could not be completed
   * @throws {BffError} `provider_unavailable` when the outcome is open: the session stays
   */
  async function refresh(
    tokens: TokenSet,
    userInfo: Claims | undefined,
    key: string,
    wanted?: ResourceRequest,
  ): Promise<RefreshResult> {
    const previous: PreviousGrant = { tokens, userInfo };
    // A response that could not be verified, because the key set was unavailable, is validated again: its refresh token
    // is used up.
    const unverified = unverifiedResponses.get(key);
    const request = unverified === undefined ? wanted : unverified.request;
    const recorder = replayableTokenFetch(oidc.fetchOnce, unverified?.response);
    const { dpopKey } = tokens;
    const options = { recorder, timeoutSeconds: refreshTimeoutFactor * timeoutSeconds, dpopKey };
    try {
      const response = await oidc.verifyWithFreshKeys(options, (configuration) =>
        request === undefined
          ? refreshGrant(configuration, tokens, recorder)
          : client.refreshTokenGrant(configuration, tokens.refreshToken ?? '', resourceParameters(request)),
      );
      unverifiedResponses.delete(key);
      if (request !== undefined) return dividedGrantOf(response, previous, request);
      return { granted: true, grant: await grantOf(response, previous, dpopKey) };
    } catch (error) {
      const response = recorder.response();
      const cause = await withProvidersWords(error);
      if (await isGrantRejected(response)) {
        const isDenied = request !== undefined && !(await endsWithRefusal(response));
        return { granted: false, reason: isDenied ? 'resource_denied' : 'refresh_rejected', cause };
      }
      const complete = await isTokenResponse(response);
      if (isInvalidTokenResponse(error) && complete) {
        unverifiedResponses.delete(key);
        return { granted: false, reason: 'refresh_id_token_invalid', cause };
      }
      if (complete && response !== undefined) unverifiedResponses.set(key, { response, request });
      throw providerUnavailable(error, cause);
    }
  }

  /**
   * Names the granted scopes, because some providers demand it (RFC 6749 6): if the provider never said which it granted,
   * those that were requested (RFC 6749 5.1). Others refuse any, and are asked without.
   */
  async function refreshGrant(
    configuration: client.Configuration,
    { refreshToken = '', scope }: TokenSet,
    recorder: ReplayableFetch,
  ): Promise<TokenResponse> {
    const parameters = { scope: scope ?? loginScope(config, configuration.serverMetadata()) };
    try {
      return await client.refreshTokenGrant(configuration, refreshToken, parameters);
    } catch (error) {
      if (!(await isScopeRejected(recorder.response()))) throw error;
      recorder.forget();
      return client.refreshTokenGrant(configuration, refreshToken);
    }
  }

  /** The access token of a resource is no session's, and no use at the UserInfo endpoint. */
  function dividedGrantOf(response: TokenResponse, previous: PreviousGrant, request: ResourceRequest): RefreshResult {
    const { dpopKey } = previous.tokens;
    const granted = tokensOf(response, { clockToleranceSeconds, previous: previous.tokens, dpopKey });
    const { tokens, resource } = divideTokens(granted, {
      previous: previous.tokens,
      request,
      scope: response.scope,
    });
    return {
      granted: true,
      grant: { tokens, subject: subjectOf(tokens.idToken), userInfo: previous.userInfo },
      resource,
    };
  }

  return { refresh, inRefreshTurn };
}
