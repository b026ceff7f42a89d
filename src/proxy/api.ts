/**
 * One call of the SPA to an API, from the guard to the response: believed, its session found, its token fresh, streamed
 * both ways. When the API refuses the token, it is refreshed and the call replayed once, where that is safe.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ApiRoute, Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import type { createClientAddressResolver } from '../http/client-address.ts';
import type { ConnectionPools } from '../upstream/connection-pool.ts';
import { cookieNames } from '../session/cookies.ts';
import type { ClientConnection, OpenedSession, OpenSession, Sessions } from '../session/sessions.ts';
import type { Refresher } from '../tokens/refresh.ts';
import type { CallSlots } from './call-slots.ts';
import { forward, type ForwardOutcome, type ResponseFilter, type Upstream, type UpstreamRequest } from './forward.ts';
import { requestHeaders, responseHeaders, type OwnHeaders } from './headers.ts';
import { discardRest, readBody, type RequestBody } from './request-body.ts';
import { sessionExpired, type SessionBoundList } from './session-bound.ts';
import { createRouting } from './target.ts';

export interface ApiProxyDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly pools: ConnectionPools;
  readonly bound: SessionBoundList;
  readonly slots: CallSlots;
  readonly resolveClientAddress: ReturnType<typeof createClientAddressResolver>;
}

/** A route with what is worked out once. */
export interface ApiUpstream extends Upstream {
  readonly route: ApiRoute;
  readonly host: string;
}

/** A call under way; its session's cookie may turn out old, and then every answer must bring the new one. */
interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly upstream: ApiUpstream;
  readonly opened: OpenSession;
  readonly path: string;
  readonly body: RequestBody;
}

export type ApiProxy = ReturnType<typeof createApiProxy>;

export function createApiProxy(
  config: Config,
  { sessions, refresher, pools, bound, slots, resolveClientAddress }: ApiProxyDeps,
) {
  const names = cookieNames(config.secure);
  const routing = createRouting(config.api);
  const origin = new URL(config.origin);
  const forwardedHost = origin.host;
  const forwardedProto = origin.protocol.slice(0, -1);
  const upstreams = new Map<ApiRoute, ApiUpstream>(
    config.api.map((route) => [
      route,
      {
        route,
        pool: pools.poolOf({ ...route, origin: route.target.origin }),
        bound,
        host: route.target.host,
      },
    ]),
  );

  /** The upstream for a request's URL, if it is an API call at all. */
  function find(url: string): ApiUpstream | undefined {
    const route = routing.find(url);
    return route === undefined ? undefined : upstreams.get(route);
  }

  /**
   * Answers the call.
   * @throws {BffError} what is to be answered instead; if an answer had begun, it is broken off by then
   */
  async function handle(request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    requireSameOrigin(method, headers, config, upstream.route.navigations);
    if (!upstream.route.methods.has(method)) return rejectMethod(method, upstream.route, response);
    const path = routing.upstreamTarget(url, upstream.route);
    // Each of these has its answer at once for nearly every call; a promise is awaited only where there is one.
    const opening = sessions.open(headers.cookie, request.socket as ClientConnection);
    const opened = requireSession(opening instanceof Promise ? await opening : opening);
    const taking = readBody(request, response, upstream.route);
    const body = taking instanceof Promise ? await bodyWhileSessionLives(taking, opened) : taking;
    if (body === undefined) return;
    const call = { request, response, upstream, opened, path, body };
    try {
      const refreshing = refresher.refreshIfDue(opened.entry);
      if (refreshing !== undefined) {
        await refreshing;
        demandGoingOn(opened);
      }
      const touching = sessions.touch(opened.entry);
      if (touching !== undefined) await touching;
      await send(call);
    } catch (error) {
      discardRest(body);
      if (response.headersSent) throw error;
      // A new session must reach the browser with whatever answer there is.
      for (const cookie of newCookies(call)) response.appendHeader('set-cookie', cookie);
      throw error;
    }
  }

  /** A client may take its time to send a body, and its session may end meanwhile. */
  async function bodyWhileSessionLives(
    taking: Promise<RequestBody | undefined>,
    opened: OpenSession,
  ): Promise<RequestBody | undefined> {
    try {
      const body = await bound.whileItLives(opened.entry, taking);
      if (body !== undefined) demandGoingOn(opened);
      return body;
    } catch (error) {
      // What comes of the body later has nowhere to go.
      detach(
        taking.then((body) => body && discardRest(body)),
        () => undefined,
      );
      throw error;
    }
  }

  function demandGoingOn({ entry }: OpenSession): void {
    if (sessions.isOver(entry)) throw sessionExpired();
  }

  async function send(call: Call): Promise<void> {
    const { upstream } = call;
    const { entry } = call.opened;
    const generation = entry.session.generation;
    let challenge: string | undefined;
    const outcome = await attempt(call, (status, headers) => {
      if (status === 401) {
        challenge = challengeOf(headers);
        if (
          isStepUp(challenge) ||
          (refresher.canRefreshAfterRejection(entry, upstream.route.path) && !isAboutScope(challenge))
        )
          return undefined;
      }
      return answerHeaders(call, headers);
    });
    if (outcome !== 'discarded') return;
    if (challenge !== undefined && isStepUp(challenge)) throw stepUpRequired(challenge, config);
    await refresher.refreshAfterRejection(entry, generation);
    if (!call.body.replayable) throw repeatRequest();
    await replay(call);
  }

  /** The second and last try; a token that is refused when new is refused for other reasons than its age. */
  async function replay(call: Call): Promise<void> {
    await attempt(call, (status, headers) => {
      if (status === 401) refresher.recordRejection(call.opened.entry, call.upstream.route.path);
      return answerHeaders(call, headers);
    });
  }

  /** One try, counted among the calls at the API where the route limits them. */
  function attempt(call: Call, filter: ResponseFilter): Promise<ForwardOutcome> {
    const { upstream } = call;
    if (upstream.route.maxConcurrent === 0) return forward(upstreamRequest(call, filter));
    const release = slots.acquire(upstream.route);
    return forward(upstreamRequest(call, filter)).finally(release);
  }

  function upstreamRequest(call: Call, filter: ResponseFilter): UpstreamRequest {
    const { request, response, upstream, opened, path, body } = call;
    const session = opened.entry;
    const own: OwnHeaders = {
      host: upstream.host,
      forwardedFor: resolveClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost,
      forwardedProto,
      authorization: `Bearer ${session.session.tokens.accessToken}`,
    };
    const headers = requestHeaders(request.rawHeaders, request.headers.connection, own);
    if (body.length !== undefined) headers.push('content-length', String(body.length));
    const { method = 'GET' } = request;
    const { route: limits } = upstream;
    return { upstream, method, path, headers, body: body.content, limits, session, response, filter };
  }

  function answerHeaders(call: Call, headers: IncomingHttpHeaders): string[] {
    return responseHeaders(headers, { names, authenticated: true }, newCookies(call));
  }

  function newCookies({ request, opened }: Call): string[] {
    return sessions.newCookies(opened, request.headers.cookie);
  }

  return { find, handle };
}

/** An unreadable cookie looks like none: an outsider learns nothing from the difference. */
export function requireSession(opened: OpenedSession): OpenSession {
  if (opened.state === 'active') return opened;
  throw opened.state === 'ended' ? sessionExpired() : new BffError('login_required', 'Sign in first.');
}

/** OPTIONS is answered here, without CORS: who may preflight is of the own origin and needs none. */
function rejectMethod(method: string, route: ApiRoute, response: ServerResponse): void {
  const allow = [...route.methods, 'OPTIONS'].join(', ');
  if (method !== 'OPTIONS') {
    throw new BffError('method_not_allowed', `This route takes ${allow}.`, { headers: { allow } });
  }
  response.writeHead(204, { allow, 'cache-control': 'no-store' }).end();
}

/** What a 401 asks for. undici gives a list where the header is repeated, whatever its types say. */
export function challengeOf(headers: IncomingHttpHeaders): string {
  return [headers['www-authenticate'] ?? ''].flat().join(', ');
}

/** A token with too little scope stays so when it is new (RFC 6750 3.1). */
export function isAboutScope(challenge: string): boolean {
  return challenge.includes('insufficient_scope');
}

/** The API wants a stronger or fresher sign-in (RFC 9470 3). */
export function isStepUp(challenge: string): boolean {
  return challenge.includes('insufficient_user_authentication');
}

function stepUpRequired(challenge: string, config: Config): BffError {
  const parameters = new URLSearchParams();
  for (const name of ['acr_values', 'max_age']) {
    const value = new RegExp(`\\b${name}="?([^",]+)`).exec(challenge)?.[1];
    if (value !== undefined) parameters.set(name, value);
  }
  return new BffError('step_up_required', 'The API asks for a stronger or fresher sign-in.', {
    extensions: { loginUrl: `${config.basePath}/login${parameters.size === 0 ? '' : `?${parameters.toString()}`}` },
  });
}

function repeatRequest(): BffError {
  return new BffError(
    'repeat_required',
    'The access token had expired and is renewed now. The body was too large to be sent twice: repeat the call.',
  );
}
