/**
 * Which credentials the calls of each route carry: the token policies, one file each, behind one interface. Whatever a
 * route needs is decided when it is made; no other folder knows how a token becomes headers.
 */
import type { ApiRoute, Config } from '../config/config.ts';
import { createApiNonces, withProofs, type ProofAudience } from './dpop-tokens.ts';
import { createFunctionTokens } from './function-tokens.ts';
import { resourceRequestOf } from '../oidc/resources.ts';
import type { Refresher } from './refresh.ts';
import { createResourceTokens } from './resource-tokens.ts';
import { createSessionTokens } from './session-tokens.ts';
import type { RouteTokens, TokenPolicy } from './token-policy.ts';

export type { RouteTokens, TokenCall } from './token-policy.ts';

export interface RouteTokensDeps {
  readonly refresher: Refresher;
}

/** @returns the tokens of a route; the same for HTTP calls and WebSockets */
export function createRouteTokens(config: Config, deps: RouteTokensDeps): (route: ApiRoute) => RouteTokens {
  const byRoute = new Map<ApiRoute, RouteTokens>();
  const nonceOfServer = createApiNonces();
  const publicHost = new URL(config.origin).host;

  function tokensOf(route: ApiRoute): RouteTokens {
    const known = byRoute.get(route);
    if (known !== undefined) return known;
    const made = withProofs(policyOf(route), audienceOf(route));
    byRoute.set(route, made);
    return made;
  }

  function policyOf(route: ApiRoute): TokenPolicy {
    const { token } = route;
    if (token === 'none') return noTokens;
    const request = resourceRequestOf(route);
    if (request !== undefined) return createResourceTokens(request, route, { ...deps, config });
    if (typeof token === 'function') return createFunctionTokens(token, route, { ...deps, config });
    return createSessionTokens(token === 'optional' ? 'optional' : 'required', route, deps);
  }

  function audienceOf({ target, preserveHost, socketPath }: ApiRoute): ProofAudience {
    return {
      origin: `${target.protocol}//${preserveHost ? publicHost : target.host}`,
      nonce: nonceOfServer(JSON.stringify([target.origin, socketPath])),
    };
  }

  return tokensOf;
}

const noTokens: TokenPolicy = {
  session: 'unused',
  usesSessionToken: false,
  personal: false,
  headerNames: [],
  headers: () => [],
  mayRenew: () => false,
  renew: async () => undefined,
  recordRejection: () => undefined,
};
