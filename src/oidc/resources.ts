/**
 * Access tokens for single resources: what is asked for (RFC 8707, and the scope of RFC 6749 6), and how the answer of
 * the token endpoint divides into what is the session's and what is the resource's.
 */
import { createHash } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import type { ApiRoute, Config } from '../config/config.ts';
import type { ResourceToken, TokenSet } from '../token-set.ts';
import { isErrorOf } from './token-response.ts';

/** Which access token an API wants. */
export interface ResourceRequest {
  /** Stands for all the rest: requests with the same key ask for the same. */
  readonly key: string;
  /** Values of `resource` (RFC 8707 2), absolute addresses; none where the provider goes by scopes alone. */
  readonly resources: readonly string[];
  /** Separated by spaces; undefined for what the provider grants by itself. */
  readonly scope: string | undefined;
}

/** What the calls of a route want; undefined where it has another policy. */
export function resourceRequestOf({ token }: Pick<ApiRoute, 'token'>): ResourceRequest | undefined {
  if (typeof token !== 'object' || !('resource' in token || 'scope' in token)) return undefined;
  const { resource = [], scope } = token;
  const resources = [...new Set([resource].flat())].toSorted();
  const scopes = scope === undefined ? [] : [...new Set(scope.split(' '))].toSorted();
  // It is in the session's cookies. Nobody but the operator chooses what is hashed.
  const key = createHash('sha256')
    .update(JSON.stringify([resources, scopes]))
    .digest('base64url')
    .slice(0, 10);
  return { key, resources, scope };
}

/**
 * What all routes together want: some providers give tokens later only for what they were asked for at the login
 * (RFC 8707 2.1).
 */
export function resourcesOfRoutes({ api }: Pick<Config, 'api'>): {
  readonly resources: readonly string[];
  readonly scopes: readonly string[];
} {
  const requests = api.map(resourceRequestOf).filter((request) => request !== undefined);
  const scopes = requests.flatMap(({ scope }) => scope?.split(' ') ?? []);
  return {
    resources: [...new Set(requests.flatMap(({ resources }) => resources))],
    scopes: [...new Set(scopes)],
  };
}

/** The parameters of a token request (RFC 8707 2.2). */
export function resourceParameters({ resources, scope }: ResourceRequest): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const resource of resources) parameters.append('resource', resource);
  if (scope !== undefined) parameters.set('scope', scope);
  return parameters;
}

/** What the answer to a resource request brings: a token for the resource, and for the session everything else. */
export interface GrantedResource {
  readonly request: ResourceRequest;
  readonly token: ResourceToken;
}

/**
 * Divides the tokens of an answer. The session's own access token stays what it was: the one in the answer is good at the
 * resource alone.
 * @param granted the verified answer, completed from `previous`
 * @param scope as the answer says it
 */
export function divideTokens(
  granted: TokenSet,
  { previous, request, scope }: { previous: TokenSet; request: ResourceRequest; scope: string | undefined },
): { readonly tokens: TokenSet; readonly resource: GrantedResource } {
  const { refreshToken, idToken, refreshTokenExpiresAt, authorizationEndsAt } = granted;
  return {
    tokens: { ...previous, refreshToken, idToken, refreshTokenExpiresAt, authorizationEndsAt },
    resource: {
      request,
      token: {
        accessToken: granted.accessToken,
        issuedAt: nowSeconds(),
        expiresAt: granted.accessTokenExpiresAt,
        // All that was requested, where the answer says nothing (RFC 6749 5.1).
        scope: scope ?? request.scope,
      },
    },
  };
}

/**
 * Whether the provider's refusal is about the refresh token itself, and so the end of the session. Everything else that it
 * says to a resource request is about what was asked for: an unknown or foreign resource (`invalid_target`, RFC 8707 2),
 * a scope that was not granted (`invalid_scope`), a parameter that it does not know. Entra ID says `invalid_grant` also
 * where the person has not consented to that API.
 */
export async function endsWithRefusal(response: Response | undefined): Promise<boolean> {
  return isErrorOf(response, ({ error, suberror }) => error === 'invalid_grant' && suberror !== 'consent_required');
}
