/**
 * What every call with the session's access token has in common, whether it is an HTTP call or a WebSocket upgrade: where
 * it goes, which headers it carries (RFC 6750 2.1), which cookies its response brings, and what follows a 401. Hides the
 * rules for rejected tokens.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ApiRoute, Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { createClientAddressResolver } from '../http/client-address.ts';
import type { ConnectionPools } from '../upstream/connection-pool.ts';
import { cookieNames } from '../session/cookies.ts';
import type { OpenedSession, OpenSession, Sessions } from '../session/sessions.ts';
import type { Refresher } from '../tokens/refresh.ts';
import type { ForwardOutcome, ResponseFilter, Upstream } from './forward.ts';
import { createRequestHeaders, forwardedOrigin, responseHeaders, type ResponsePolicy } from './headers.ts';
import { createPublicAddresses, type PublicAddresses } from './public-addresses.ts';
import type { RequestBody } from './request-body.ts';
import { createRouteCookies, type RouteCookies } from './route-cookies.ts';
import { sessionExpired } from '../session/session.ts';
import type { SessionBoundList } from '../session/session-bound.ts';
import { createRouting } from './target.ts';
import { challengeOf, isAboutScope, isStepUp } from './token-challenge.ts';

export interface AuthorizedCallDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly pools: ConnectionPools;
  readonly bound: SessionBoundList;
  readonly resolveClientAddress: ReturnType<typeof createClientAddressResolver>;
}

/** A route and what is derived from it once. */
export interface ApiUpstream extends Upstream {
  readonly route: ApiRoute;
  /** Value of `Host`. */
  readonly host: string;
  readonly requestHeaders: ReturnType<typeof createRequestHeaders>;
  readonly addresses: PublicAddresses;
  readonly cookies: RouteCookies | undefined;
  readonly responsePolicy: ResponsePolicy;
}

/** A call in progress. Its session's cookie may turn out to be old; then every response must bring the new one. */
export interface AuthorizedCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly upstream: ApiUpstream;
  readonly opened: OpenSession;
  /** Path and query at the upstream. */
  readonly path: string;
  readonly body: RequestBody;
}

/** How one kind of call is sent; the rules for a 401 are the same for all. */
export interface Transport<Call extends AuthorizedCall> {
  /** Sends the call once, with the access token that the session has now. */
  readonly attempt: (call: Call, filter: ResponseFilter) => Promise<ForwardOutcome>;
  /** The headers of a response that is passed on. */
  readonly clientHeaders: (call: Call, headers: IncomingHttpHeaders) => string[];
  /** The error in place of a 401 that asks for a stronger sign-in; undefined to pass such a 401 on. */
  readonly stepUpError?: (challenge: string) => BffError;
}

export function createAuthorizedCalls(
  config: Config,
  { sessions, refresher, pools, bound, resolveClientAddress }: AuthorizedCallDeps,
) {
  const names = cookieNames(config);
  const { forwardedHost, forwardedProto } = forwardedOrigin(config.origin);
  const routing = createRouting(config.api);
  const upstreams = new Map(config.api.map((route) => [route, upstreamOf(route)]));

  function upstreamOf(route: ApiRoute): ApiUpstream {
    const { target } = route;
    const host = route.preserveHost ? forwardedHost : target.host;
    const addresses = createPublicAddresses(route, config.origin);
    const cookies = createRouteCookies(route.cookies, names, { addresses, target, publicHost: forwardedHost });
    return {
      route,
      host,
      addresses,
      cookies,
      bound,
      pool: pools.poolOf({ ...route, origin: target.origin, host }),
      requestHeaders: createRequestHeaders(route),
      responsePolicy: { names, authenticated: true, cookies },
      mapHeaders: addresses.mapHeaders,
    };
  }

  /** The upstream for a request's target; undefined if it is no API's. */
  function find(target: string): ApiUpstream | undefined {
    const route = routing.find(target);
    return route === undefined ? undefined : upstreams.get(route);
  }

  function upstreamHeaders({ request, upstream, opened }: AuthorizedCall): string[] {
    return upstream.requestHeaders(request.rawHeaders, request.headers.connection, {
      host: upstream.host,
      forwardedFor: resolveClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost,
      forwardedProto,
      forwardedPrefix: upstream.addresses.forwardedPrefix,
      cookie: upstream.cookies?.toApi(request.headers.cookie),
      authorization: `Bearer ${opened.entry.session.tokens.accessToken}`,
    });
  }

  function clientHeaders(call: AuthorizedCall, headers: IncomingHttpHeaders): string[] {
    const { addresses, responsePolicy } = call.upstream;
    return responseHeaders(addresses.mapHeaders(headers), responsePolicy, newCookies(call));
  }

  function newCookies({ request, opened }: AuthorizedCall): string[] {
    return sessions.newCookies(opened, request.headers.cookie);
  }

  /** For a response that Sallyport itself makes: a new session must reach the browser with whatever response there is. */
  function addNewCookies(call: AuthorizedCall): void {
    if (call.response.headersSent) return;
    for (const cookie of newCookies(call)) call.response.appendHeader('set-cookie', cookie);
  }

  /**
   * The rule for rejected tokens: send the call; after a 401 refresh the token and send it once more; remember a second
   * 401, because an API that rejects a new token has other reasons than the token's age.
   */
  function createSender<Call extends AuthorizedCall>(transport: Transport<Call>) {
    const { attempt, stepUpError } = transport;
    /** @throws {BffError} `repeat_required` if the token is refreshed and the body can't be sent a second time */
    return async function send(call: Call): Promise<ForwardOutcome> {
      const { entry } = call.opened;
      const { path: routePath } = call.upstream.route;
      const { generation } = entry.session;
      let challenge = '';
      const outcome = await attempt(call, (status, headers) => {
        if (status === 401) {
          challenge = challengeOf(headers);
          if (isStepUp(challenge)) {
            if (stepUpError !== undefined) return undefined;
          } else if (!isAboutScope(challenge) && refresher.canRefreshAfterRejection(entry, routePath)) return undefined;
        }
        return transport.clientHeaders(call, headers);
      });
      if (outcome !== 'discarded') return outcome;
      if (stepUpError !== undefined && isStepUp(challenge)) throw stepUpError(challenge);
      await refresher.refreshAfterRejection(entry, generation);
      if (!call.body.replayable) throw repeatRequired();
      return attempt(call, (status, headers) => {
        if (status === 401) refresher.recordRejection(entry, routePath);
        return transport.clientHeaders(call, headers);
      });
    };
  }

  return { find, upstreamTarget: routing.upstreamTarget, upstreamHeaders, clientHeaders, addNewCookies, createSender };
}

/** @throws {BffError} `login_required`, also for an unreadable cookie: the difference would inform an attacker */
export function requireSession(opened: OpenedSession): OpenSession {
  if (opened.state === 'active') return opened;
  throw opened.state === 'ended' ? sessionExpired() : new BffError('login_required', 'Sign in first.');
}

function repeatRequired(): BffError {
  return new BffError(
    'repeat_required',
    'The access token had expired and is renewed now. The body was too large to be sent twice: repeat the call.',
  );
}
