/**
 * One call of the SPA to an API, from the same-origin check to the response: opens its session, refreshes its token if
 * due, and streams in both directions. If the API rejects the token, the call is sent once more where that is safe.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ApiRoute, Config } from '../config/config.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import type { ClientConnection, OpenSession } from '../session/sessions.ts';
import {
  createAuthorizedCalls,
  headersAnew,
  noSession,
  sessionFor,
  type ApiUpstream,
  type AuthorizedCall,
  type AuthorizedCallDeps,
} from './authorized-call.ts';
import type { CallSlots } from './call-slots.ts';
import { forward, type ForwardOutcome, type ResponseFilter, type UpstreamRequest } from './forward.ts';
import { discardRest, readBody, type RequestBody } from './request-body.ts';
import { nothingSent } from '../tokens/route-tokens.ts';
import { stepUpRequired } from './step-up.ts';
import { signInDemand } from './token-challenge.ts';

export type { ApiUpstream } from './authorized-call.ts';

export interface ApiProxyDeps extends AuthorizedCallDeps {
  readonly slots: CallSlots;
}

const askedByApi = 'The API asks for a stronger or fresher sign-in.';

export type ApiProxy = ReturnType<typeof createApiProxy>;

export function createApiProxy(config: Config, deps: ApiProxyDeps) {
  const { sessions, bound, slots } = deps;
  const calls = createAuthorizedCalls(config, deps);
  const send = calls.createSender<AuthorizedCall>({
    attempt,
    clientHeaders: calls.clientHeaders,
    stepUpError: (challenge) => stepUpRequired(signInDemand(challenge), askedByApi, config),
  });

  /**
   * Answers the call.
   * @throws {BffError} the error to answer with; a response that had begun is aborted by then
   */
  async function handle(request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    requireSameOrigin(method, headers, config, upstream.route.navigations);
    if (!upstream.route.methods.has(method)) return rejectMethod(method, upstream.route, response);
    const path = calls.upstreamTarget(url, upstream.route);
    const { tokens } = upstream;
    // `open`, `readBody` and `freshen` return their value directly in the common case and a promise otherwise. Awaiting
    // only promises saves the steps a microtask each, 1 us a call in all.
    const opening =
      tokens.session === 'unused' ? noSession : sessions.open(headers.cookie, request.socket as ClientConnection);
    const opened = sessionFor(opening instanceof Promise ? await opening : opening, tokens);
    const reading = readBody(request, response, upstream.route);
    const body = reading instanceof Promise ? await bodyWhileSessionLives(reading, opened) : reading;
    if (body === undefined) return;
    let session = opened;
    try {
      const freshening = calls.freshen(opened, tokens);
      session = freshening instanceof Promise ? await freshening : freshening;
      const { entry } = session ?? {};
      await send({ request, response, upstream, opened: session, entry, path, body, ...nothingSent });
    } catch (error) {
      discardRest(body);
      calls.addNewCookies({ request, response, opened: session });
      throw error;
    }
  }

  /** A client may send its body slowly, and its session may end meanwhile. */
  async function bodyWhileSessionLives(
    reading: Promise<RequestBody | undefined>,
    opened: OpenSession | undefined,
  ): Promise<RequestBody | undefined> {
    if (opened === undefined) return reading;
    try {
      const body = await bound.whileItLives(opened.entry, reading);
      if (body !== undefined) calls.requireUnexpired(opened);
      return body;
    } catch (error) {
      // Nobody takes the rest of the body any more.
      detach(
        reading.then((body) => body && discardRest(body)),
        () => undefined,
      );
      throw error;
    }
  }

  /** Holds a slot during the attempt, on a route that limits its calls. */
  function attempt(
    call: AuthorizedCall,
    credentials: readonly string[],
    filter: ResponseFilter,
  ): Promise<ForwardOutcome> {
    const { route } = call.upstream;
    if (route.maxConcurrent === 0) return forward(upstreamRequest(call, credentials, filter));
    const release = slots.acquire(route);
    return forward(upstreamRequest(call, credentials, filter)).finally(release);
  }

  function upstreamRequest(
    call: AuthorizedCall,
    credentials: readonly string[],
    filter: ResponseFilter,
  ): UpstreamRequest {
    const { request, response, upstream, entry, path, body } = call;
    return {
      upstream,
      method: request.method ?? 'GET',
      path,
      headers: headersOf(call, credentials),
      headersAnew: headersAnew(call, credentials, headersOf),
      body: body.content,
      limits: upstream.route,
      session: entry,
      response,
      filter,
    };
  }

  function headersOf(call: AuthorizedCall, credentials: readonly string[]): string[] {
    const headers = calls.upstreamHeaders(call, credentials);
    const { length } = call.body;
    if (length !== undefined) headers.push('content-length', String(length));
    return headers;
  }

  return { find: calls.find, handle };
}

/** OPTIONS is answered here, without CORS: requests of the own origin need no preflight, and others get no permission. */
function rejectMethod(method: string, route: ApiRoute, response: ServerResponse): void {
  const allow = [...route.methods, 'OPTIONS'].join(', ');
  if (method !== 'OPTIONS') {
    throw new BffError('method_not_allowed', `This route takes ${allow}.`, { headers: { allow } });
  }
  response.writeHead(204, { allow, 'cache-control': 'no-store' }).end();
}
