/**
 * What every call of an API has in common, whether it is an HTTP call or a WebSocket upgrade: where it goes, which headers
 * it carries, which cookies its response brings, and what follows a 401. Which token it carries is decided in `tokens/`.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { ApiRoute, Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { createClientAddressResolver } from '../http/client-address.ts';
import type { ConnectionPools } from '../upstream/connection-pool.ts';
import { cookieNames } from '../session/cookies.ts';
import type { OpenedSession, OpenSession, Sessions } from '../session/sessions.ts';
import { isProven } from '../tokens/bearer.ts';
import type { Refresher } from '../tokens/refresh.ts';
import type { RouteTokens, TokenCall } from '../tokens/route-tokens.ts';
import type { ForwardOutcome, ResponseFilter, Upstream } from './forward.ts';
import { createRequestHeaders, forwardedOrigin, responseHeaders, type ResponsePolicy } from './headers.ts';
import { createPublicAddresses, type PublicAddresses } from './public-addresses.ts';
import type { RequestBody } from './request-body.ts';
import { createRouteCookies, type RouteCookies } from './route-cookies.ts';
import type { RouteRules } from './route-rules.ts';
import { sessionExpired } from '../session/session.ts';
import type { SessionBoundList } from '../session/session-bound.ts';
import { createRouting } from './target.ts';
import { challengeOf, isAboutScope, isStepUp } from './token-challenge.ts';

export interface AuthorizedCallDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly tokensOf: (route: ApiRoute) => RouteTokens;
  readonly rulesOf: (route: ApiRoute) => RouteRules | undefined;
  readonly pools: ConnectionPools;
  readonly bound: SessionBoundList;
  readonly resolveClientAddress: ReturnType<typeof createClientAddressResolver>;
}

/** A route and what is derived from it once. */
export interface ApiUpstream extends Upstream {
  readonly route: ApiRoute;
  readonly tokens: RouteTokens;
  /** Undefined where the route requires nothing. */
  readonly rules: RouteRules | undefined;
  /** Value of `Host`. */
  readonly host: string;
  readonly requestHeaders: ReturnType<typeof createRequestHeaders>;
  readonly addresses: PublicAddresses;
  readonly cookies: RouteCookies | undefined;
  readonly responsePolicy: ResponsePolicy;
}

/** A call in progress. Its session's cookie may turn out to be old; then every response must bring the new one. */
export interface AuthorizedCall extends TokenCall {
  readonly response: ServerResponse;
  readonly upstream: ApiUpstream;
  /** Undefined where the route needs no session and there is none. */
  readonly opened: OpenSession | undefined;
  readonly body: RequestBody;
}

/** How one kind of call is sent; the rules for a 401 are the same for all. */
export interface Transport<Call extends AuthorizedCall> {
  /** Sends the call once, with the credentials that it has now. */
  readonly attempt: (call: Call, credentials: readonly string[], filter: ResponseFilter) => Promise<ForwardOutcome>;
  /** The headers of a response that is passed on. */
  readonly clientHeaders: (call: Call, headers: IncomingHttpHeaders) => string[];
  /** The error in place of a 401 that asks for a stronger sign-in; undefined to pass such a 401 on. */
  readonly stepUpError?: (challenge: string) => BffError;
}

export function createAuthorizedCalls(
  config: Config,
  { sessions, refresher, tokensOf, rulesOf, pools, bound, resolveClientAddress }: AuthorizedCallDeps,
) {
  const names = cookieNames(config);
  const { forwardedHost, forwardedProto } = forwardedOrigin(config.origin);
  const routing = createRouting(config.api);
  const upstreams = new Map(config.api.map((route) => [route, upstreamOf(route)]));

  function upstreamOf(route: ApiRoute): ApiUpstream {
    const { target } = route;
    const tokens = tokensOf(route);
    const host = route.preserveHost ? forwardedHost : target.host;
    const addresses = createPublicAddresses(route, config.origin);
    const cookies = createRouteCookies(route.cookies, names, { addresses, target, publicHost: forwardedHost });
    return {
      route,
      tokens,
      rules: rulesOf(route),
      host,
      addresses,
      cookies,
      bound,
      pool: pools.poolOf({ ...route, origin: target.origin, host }),
      requestHeaders: createRequestHeaders({
        ...route,
        dropHeaders: [...route.dropHeaders, ...tokens.headerNames],
      }),
      responsePolicy: { names, authenticated: tokens.personal, cookies },
      mapHeaders: addresses.mapHeaders,
    };
  }

  /** The upstream for a request's target; undefined if it is no API's. */
  function find(target: string): ApiUpstream | undefined {
    const route = routing.find(target);
    return route === undefined ? undefined : upstreams.get(route);
  }

  function upstreamHeaders({ request, upstream }: AuthorizedCall, credentials: readonly string[]): string[] {
    return upstream.requestHeaders(request.rawHeaders, request.headers.connection, {
      host: upstream.host,
      forwardedFor: resolveClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost,
      forwardedProto,
      forwardedPrefix: upstream.addresses.forwardedPrefix,
      cookie: upstream.cookies?.toApi(request.headers.cookie),
      credentials,
    });
  }

  function clientHeaders(call: AuthorizedCall, headers: IncomingHttpHeaders): string[] {
    const { addresses, responsePolicy } = call.upstream;
    return responseHeaders(addresses.mapHeaders(headers), responsePolicy, newCookies(call));
  }

  function newCookies({ request, opened }: Pick<AuthorizedCall, 'request' | 'opened'>): string[] {
    return opened === undefined ? [] : sessions.newCookies(opened, request.headers.cookie);
  }

  /** For a response that Sallyport itself makes: a new session must reach the browser with whatever response there is. */
  function addNewCookies(call: Pick<AuthorizedCall, 'request' | 'response' | 'opened'>): void {
    if (call.response.headersSent) return;
    for (const cookie of newCookies(call)) call.response.appendHeader('set-cookie', cookie);
  }

  /**
   * A session whose access token can be used, and whose call is counted; undefined for a call without one.
   * @returns the session itself where nothing has to be waited for: the usual case costs no promise
   * @throws {BffError} `session_expired`, or `provider_unavailable` when the token has expired and a refresh fails
   */
  function freshen(opened: OpenSession | undefined, tokens: RouteTokens): Freshened | Promise<Freshened> {
    if (opened === undefined) return undefined;
    const { session, usesSessionToken } = tokens;
    const refreshing = usesSessionToken ? refresher.refreshIfDue(opened.entry) : undefined;
    if (refreshing !== undefined) return freshenAfter(refreshing, opened, session === 'optional');
    return count(opened);
  }

  async function freshenAfter(refreshing: Promise<void>, opened: OpenSession, isOptional: boolean): Promise<Freshened> {
    try {
      await refreshing;
      requireUnexpired(opened);
    } catch (error) {
      // Nothing is sent yet: this browser is signed out, as it would be at its next call.
      if (isOptional && error instanceof BffError && error.code === 'session_expired') return undefined;
      throw error;
    }
    return count(opened);
  }

  function count(opened: OpenSession): Freshened | Promise<Freshened> {
    const touching = sessions.touch(opened.entry);
    return touching === undefined ? opened : touching.then(() => opened);
  }

  function requireUnexpired({ entry }: OpenSession): void {
    if (sessions.hasEnded(entry)) throw sessionExpired();
  }

  /** Asks what the route requires. A session may end while somebody is asked. */
  function ruling(call: AuthorizedCall): Promise<void> | undefined {
    const { rules, tokens } = call.upstream;
    const asking = rules?.check(call, tokens);
    return asking === undefined || call.entry === undefined ? asking : bound.whileItLives(call.entry, asking);
  }

  /** What an attempt carries. A session may end while something is obtained for it. */
  function credentialsOf(call: AuthorizedCall): readonly string[] | Promise<readonly string[]> {
    const lines = call.upstream.tokens.headers(call);
    return lines instanceof Promise && call.entry !== undefined ? bound.whileItLives(call.entry, lines) : lines;
  }

  /**
   * The rule for rejected tokens: send the call; after a 401 obtain a new token and send it once more; remember a second
   * 401, because an API that rejects a new token has other reasons than the token's age. Where the API only wants another
   * proof (RFC 9449 9), the call is sent once more as well, with the token that it had.
   */
  function createSender<Call extends AuthorizedCall>(transport: Transport<Call>) {
    const { attempt, stepUpError } = transport;
    /** @throws {BffError} `repeat_required` if the token is renewed and the body can't be sent a second time */
    return async function send(call: Call): Promise<ForwardOutcome> {
      const { tokens, rules } = call.upstream;
      if (rules !== undefined) await ruling(call);
      const mayStepUp = stepUpError !== undefined && tokens.session !== 'unused';
      let challenge = '';
      let remedy: Remedy | undefined;
      let renewed = false;

      function filter(status: number, headers: IncomingHttpHeaders): string[] | undefined {
        tokens.noteAnswer(headers);
        if (status === 401) {
          challenge = challengeOf(headers);
          remedy = remedyFor(headers);
          if (remedy !== undefined) return undefined;
          if (renewed) tokens.recordRejection(call);
        }
        return transport.clientHeaders(call, headers);
      }

      function remedyFor(headers: IncomingHttpHeaders): Remedy | undefined {
        if (isStepUp(challenge)) return mayStepUp ? 'sign-in' : undefined;
        if (isAboutScope(challenge)) return undefined;
        if (tokens.mayProveAnew(call, challenge, headers)) return 'proof';
        return !renewed && tokens.mayRenew(call, challenge) ? 'token' : undefined;
      }

      for (;;) {
        const credentials = credentialsOf(call);
        const outcome = await attempt(call, credentials instanceof Promise ? await credentials : credentials, filter);
        if (outcome !== 'discarded' || remedy === undefined) return outcome;
        if (remedy === 'sign-in' && stepUpError !== undefined) throw stepUpError(challenge);
        if (remedy === 'token') {
          await tokens.renew(call);
          renewed = true;
          // A new token may allow less than the one before it.
          if (rules !== undefined) await ruling(call);
        }
        if (!call.body.replayable) throw repeatRequired(remedy);
      }
    };
  }

  return {
    find,
    upstreamTarget: routing.upstreamTarget,
    upstreamHeaders,
    clientHeaders,
    addNewCookies,
    freshen,
    requireUnexpired,
    createSender,
  };
}

/** The headers of a request that is sent a second time; undefined where those of the first will do. */
export function headersAnew<Call extends AuthorizedCall>(
  call: Call,
  credentials: readonly string[],
  headersOf: (call: Call, credentials: readonly string[]) => string[],
): (() => string[]) | undefined {
  if (!isProven(credentials)) return undefined;
  return () => headersOf(call, call.upstream.tokens.provenAnew(call, credentials));
}

/** What follows a 401 instead of passing it on. */
type Remedy = 'sign-in' | 'proof' | 'token';

/** A session that goes on; undefined where the call goes on without one. */
type Freshened = OpenSession | undefined;

/**
 * The session of a call. One that has ended is none where the route needs none: its cookie stays in the browser for a
 * while, and must not keep the person from what everybody may read.
 * @throws {BffError} `login_required`, also for an unreadable cookie: the difference would inform an attacker
 */
export function sessionFor(opened: OpenedSession, { session }: RouteTokens): OpenSession | undefined {
  if (opened.state === 'active') return opened;
  if (session !== 'required') return undefined;
  throw opened.state === 'ended' ? sessionExpired() : new BffError('login_required', 'Sign in first.');
}

/** For a route that looks for no session. */
export const noSession: OpenedSession = { state: 'absent' };

function repeatRequired(remedy: Remedy): BffError {
  const reason =
    remedy === 'proof'
      ? 'The API wanted a proof with another nonce, which is known now.'
      : 'The access token had expired and is renewed now.';
  return new BffError('repeat_required', `${reason} The body was too large to be sent twice: repeat the call.`);
}
