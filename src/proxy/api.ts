/**
 * One call of the SPA to an API, from the guard to the response: believed, its session found, its token fresh, streamed
 * both ways. When the API refuses the token, it is refreshed and the call replayed once, where that is safe.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { ApiRoute, Config } from '../config.ts';
import { BffError } from '../errors.ts';
import { demandOwnOrigin, type createAddressReader } from '../inbound.ts';
import type { ConnectionPool, Outbound } from '../outbound.ts';
import { cookieNames } from '../session/cookies.ts';
import type { ClientConnection, LiveSession, OpenedSession, Sessions } from '../session/sessions.ts';
import type { Refresher } from '../tokens/refresh.ts';
import { forward, type UpstreamRequest } from './forward.ts';
import { requestHeaders, responseHeaders, type OwnHeaders } from './headers.ts';
import { discardBody, takeBody, type RequestBody } from './request-body.ts';
import { createRouting } from './target.ts';

export interface ApiProxyDeps {
  readonly sessions: Sessions;
  readonly refresher: Refresher;
  readonly outbound: Outbound;
  readonly readAddress: ReturnType<typeof createAddressReader>;
}

/** A route with what is worked out once. */
export interface Upstream {
  readonly route: ApiRoute;
  readonly pool: ConnectionPool;
  readonly host: string;
  /** Calls under way, counted where the route limits them. */
  running: number;
}

/** A call under way; its session's cookie may turn out old, and then every answer must bring the new one. */
interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly upstream: Upstream;
  readonly live: LiveSession;
  /** Of the cookie that the client sent. */
  readonly cookieGeneration: number;
  readonly path: string;
  readonly body: RequestBody;
  /** The cookie is to be written anew in any case. */
  readonly touched: boolean;
}

export type ApiProxy = ReturnType<typeof createApiProxy>;

export function createApiProxy(config: Config, { sessions, refresher, outbound, readAddress }: ApiProxyDeps) {
  const names = cookieNames(config.secure);
  const routing = createRouting(config.api);
  const origin = new URL(config.origin);
  const forwardedHost = origin.host;
  const forwardedProto = origin.protocol.slice(0, -1);
  const upstreams = new Map<ApiRoute, Upstream>(
    config.api.map((route) => [
      route,
      {
        route,
        pool: outbound.poolOf({ ...route, origin: route.target.origin }),
        host: route.target.host,
        running: 0,
      },
    ]),
  );

  /** The upstream for a request's URL, if it is an API call at all. */
  function find(url: string): Upstream | undefined {
    const route = routing.find(url);
    return route === undefined ? undefined : upstreams.get(route);
  }

  /**
   * Answers the call.
   * @throws {BffError} what is to be answered instead; if an answer had begun, it is broken off by then
   */
  async function handle(request: IncomingMessage, response: ServerResponse, upstream: Upstream): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    demandOwnOrigin(method, headers, config, upstream.route.navigations);
    if (!upstream.route.methods.has(method)) return refuseMethod(method, upstream.route, response);
    const path = routing.upstreamTarget(url, upstream.route);
    // Each of these has its answer at once for nearly every call; a promise is awaited only where there is one.
    const opening = sessions.open(headers.cookie, request.socket as ClientConnection);
    const { live, generation } = demandSession(opening instanceof Promise ? await opening : opening);
    if (upstream.route.maxConcurrent > 0) takePlace(upstream, response);
    const taking = takeBody(request, response, upstream.route);
    const body = taking instanceof Promise ? await taking : taking;
    if (body === undefined) return;
    const call = { request, response, upstream, live, cookieGeneration: generation, path, body, touched: false };
    try {
      const refreshing = refresher.ensureFresh(live);
      if (refreshing !== undefined) await refreshing;
      const touching = sessions.touch(live);
      call.touched = touching instanceof Promise ? await touching : touching;
      await send(call);
    } catch (error) {
      discardBody(body);
      if (response.headersSent) throw error;
      // A new session must reach the browser with whatever answer there is.
      for (const cookie of newCookies(call)) response.appendHeader('set-cookie', cookie);
      throw error;
    }
  }

  async function send(call: Call): Promise<void> {
    const { live, upstream, response } = call;
    const generation = live.session.generation;
    let challenge: string | undefined;
    const outcome = await forward(upstream.pool, upstreamRequest(call), response, (status, headers) => {
      if (status === 401) {
        challenge = challengeOf(headers);
        if (isStepUp(challenge) || (refresher.mayRenew(live, upstream.route.path) && !isAboutScope(challenge)))
          return undefined;
      }
      return answerHeaders(call, headers);
    });
    if (outcome !== 'discarded') return;
    if (challenge !== undefined && isStepUp(challenge)) throw stepUpRequired(challenge, config);
    await refresher.renew(live, generation);
    if (!call.body.replayable) throw repeatRequest();
    await replay(call);
  }

  /** The second and last try; a token that is refused when new is refused for other reasons than its age. */
  async function replay(call: Call): Promise<void> {
    await forward(call.upstream.pool, upstreamRequest(call), call.response, (status, headers) => {
      if (status === 401) refresher.noteRefusal(call.live, call.upstream.route.path);
      return answerHeaders(call, headers);
    });
  }

  function upstreamRequest({ request, upstream, live, path, body }: Call): UpstreamRequest {
    const own: OwnHeaders = {
      host: upstream.host,
      forwardedFor: readAddress(request.socket.remoteAddress, request.headers['x-forwarded-for']).chain,
      forwardedHost,
      forwardedProto,
      authorization: `Bearer ${live.session.tokens.accessToken}`,
    };
    const headers = requestHeaders(request.rawHeaders, request.headers.connection, own);
    if (body.length !== undefined) headers.push('content-length', String(body.length));
    const { method = 'GET' } = request;
    return { method, path, headers, body: body.content, limits: upstream.route };
  }

  function answerHeaders(call: Call, headers: IncomingHttpHeaders): string[] {
    return responseHeaders(headers, { names, authenticated: true }, newCookies(call));
  }

  /** The session's cookies, if the browser's are not the newest. Read as late as possible: an answer may take long. */
  function newCookies({ request, live, cookieGeneration, touched }: Call): string[] {
    const current = cookieGeneration === live.session.generation && !touched;
    return current || live.ended ? [] : sessions.setCookies(live, request.headers.cookie);
  }

  return { find, handle };
}

/** An unreadable cookie looks like none: an outsider learns nothing from the difference. */
export function demandSession(opened: OpenedSession): Extract<OpenedSession, { state: 'live' }> {
  if (opened.state === 'live') return opened;
  throw opened.state === 'over'
    ? new BffError('session_expired', 'The session has ended. Sign in again.')
    : new BffError('login_required', 'Sign in first.');
}

/** Taken by those with a session only: a stranger takes nobody's place. Given back when the answer has left or broken. */
function takePlace(upstream: Upstream, response: ServerResponse): void {
  const { maxConcurrent } = upstream.route;
  if (upstream.running >= maxConcurrent) {
    const detail = `This route takes ${maxConcurrent} calls at a time (maxConcurrent). Repeat the call.`;
    throw new BffError('too_many_requests', detail, { headers: { 'retry-after': '1' } });
  }
  // Who left meanwhile closes no second time; the place would be lost.
  if (response.destroyed) return;
  upstream.running++;
  response.once('close', () => upstream.running--);
}

/** OPTIONS is answered here, without CORS: who may preflight is of the own origin and needs none. */
function refuseMethod(method: string, route: ApiRoute, response: ServerResponse): void {
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
