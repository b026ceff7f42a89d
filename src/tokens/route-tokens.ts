/**
 * Which credentials the calls of each route carry: the token policies, one file each, behind one interface. Whatever a
 * route needs is decided when it is made; no other folder knows how a token becomes headers.
 */
import type { ApiRoute, Config } from '../config/config.ts';
import type { TokenFunction } from '../config/token-function.ts';
import type { Events } from '../events.ts';
import type { Provider } from '../oidc/provider.ts';
import { resourceRequestOf } from '../oidc/resources.ts';
import { createClientTokenPolicy, createClientTokens } from './client-tokens.ts';
import { createApiNonces, withProofs, type ProofAudience } from './dpop-tokens.ts';
import { createExchangeTokens } from './exchange-tokens.ts';
import { createFunctionTokens } from './function-tokens.ts';
import { createIntrospectTokens, createPhantomTokens } from './introspected-tokens.ts';
import { createKeptTokens, type ObtainedToken } from './kept-tokens.ts';
import type { Refresher } from './refresh.ts';
import { createResourceTokens } from './resource-tokens.ts';
import { createSessionTokens } from './session-tokens.ts';
import type { RouteTokens, TokenPolicy } from './token-policy.ts';

export { nothingSent, type RouteTokens, type TokenCall } from './token-policy.ts';

export interface RouteTokensDeps {
  readonly provider: Provider;
  readonly refresher: Refresher;
  readonly events: Events;
}

/** Of the memory for sessions, what tokens may take that were obtained for them. */
const shareOfCache = 1 / 4;

/** @returns the tokens of a route; the same for HTTP calls and WebSockets */
export function createRouteTokens(config: Config, deps: RouteTokensDeps): (route: ApiRoute) => RouteTokens {
  const byRoute = new Map<ApiRoute, RouteTokens>();
  const clientTokens = createClientTokens(config, deps);
  const kept = createKeptTokens<ObtainedToken>(
    config.session.cacheMegabytes * 1024 * 1024 * shareOfCache,
    ({ lines, subject, claims }) =>
      lines.join('').length + subject.length + (claims === undefined ? 0 : JSON.stringify(claims).length),
  );
  const obtaining = { ...deps, config, kept, clientTokens };
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
    if (request !== undefined) return createResourceTokens(request, route, obtaining);
    if (typeof token === 'function') return createFunctionTokens(token, route, obtaining);
    if (typeof token === 'object') return obtainedTokens(token, route);
    return createSessionTokens(token === 'optional' ? 'optional' : 'required', route, deps);
  }

  function obtainedTokens(token: Exclude<ApiRoute['token'], string | TokenFunction>, route: ApiRoute): TokenPolicy {
    if ('client' in token) return createClientTokenPolicy(token.client, clientTokens);
    if ('exchange' in token) return createExchangeTokens(token.exchange, route, obtaining);
    if ('phantom' in token) return createPhantomTokens(token.phantom, route, obtaining);
    if ('introspect' in token) return createIntrospectTokens(token.introspect, route, obtaining);
    throw new Error('a token policy that nobody has');
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
