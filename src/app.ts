/**
 * The Hono app: the endpoint table, the API routes, and the SPA for whatever is left. A server takes API calls past it,
 * straight to the proxy; they come through here only in apps that mount this one. Hides what Hono and @hono/node-server
 * need so that a handler can write the raw response.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono, type Next } from 'hono';
import type { Config } from './config/config.ts';
import type { BffContext, BffEnv, EndpointDeps, RawHandler } from './endpoints/endpoint.ts';
import { createLoginGate } from './endpoints/login-gate.ts';
import type { Endpoint } from './endpoints/table.ts';
import { useOriginForm } from './http/attach.ts';
import type { ErrorResponder } from './http/error-responder.ts';
import { BffError } from './http/errors.ts';
import { createHostRedirect } from './http/own-host.ts';
import { isWithin } from './http/paths.ts';
import type { ApiUpstream } from './proxy/api.ts';
import { hasBody } from './proxy/request-body.ts';
import { createDevServerProxy } from './spa/dev-server.ts';
import { createSpaFolder, type SpaFolder } from './spa/folder.ts';

/** What serves the SPA; all undefined where another server does. */
export interface SpaParts {
  /** Undefined where the SPA loads without a login. */
  readonly gate: ReturnType<typeof createLoginGate> | undefined;
  readonly folder: SpaFolder | undefined;
  readonly devServer: ReturnType<typeof createDevServerProxy> | undefined;
}

/** Where the SPA comes from, and the gate before it. */
export function createSpa(
  config: Config,
  endpointDeps: EndpointDeps,
  deps: Parameters<typeof createDevServerProxy>[2],
): SpaParts {
  const { spa, origin, path } = config;
  return {
    gate: spa?.requireLogin === true ? createLoginGate(endpointDeps) : undefined,
    folder: spa?.folder === undefined ? undefined : createSpaFolder({ ...spa, folder: spa.folder, origin, path }),
    devServer: spa?.devServer === undefined ? undefined : createDevServerProxy(config, new URL(spa.devServer), deps),
  };
}

interface AppDeps {
  readonly endpoints: readonly Endpoint[];
  readonly findApi: (target: string) => ApiUpstream | undefined;
  readonly callApi: (request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream) => Promise<void>;
  readonly spa: SpaParts;
  /** Answers a browser that comes back from a sign-out at the provider. */
  readonly answerReturn: (c: BffContext) => Promise<Response | undefined>;
  readonly errors: ErrorResponder;
}

export function createApp(config: Config, deps: AppDeps) {
  const { endpoints, findApi, callApi, spa, answerReturn, errors } = deps;
  const redirectToOrigin = createHostRedirect(config);
  const app = new Hono<BffEnv>();
  app.onError((error, c) => {
    const { status, headers, body } = errors.render(error, c.env?.incoming, c.req.header());
    for (const [name, value] of Object.entries(headers)) c.header(name, value);
    // Hono's type lists the statuses that may have a body; those of the error table all may.
    return c.body(body, status as 500);
  });
  mountEndpoints();
  mountApis();
  mountSpa();

  function mountEndpoints(): void {
    const base = config.basePath;
    app.use(`${base}/*`, async (c, next) => {
      c.header('cache-control', 'no-store');
      c.header('x-content-type-options', 'nosniff');
      c.header('referrer-policy', 'no-referrer');
      await next();
    });
    app.use(`${base}/login`, atOrigin);
    for (const endpoint of endpoints) app.all(`${base}${endpoint.path}`, (c) => dispatch(endpoint, c));
    app.all(`${base}/*`, () => {
      throw new BffError('route_not_found', 'There is no such endpoint.');
    });
  }

  function mountApis(): void {
    for (const { path } of config.api) {
      app.all(path, proxied);
      app.all(`${path}/*`, proxied);
    }
  }

  function proxied(c: BffContext): Promise<Response> {
    return withRawResponse(c, (request, response) => {
      const upstream = findApi(useOriginForm(request));
      // Hono decodes a path before it matches a route; the proxy matches the path as it was sent.
      if (upstream === undefined) throw new BffError('route_not_found', 'There is no such route.');
      return callApi(request, response, upstream);
    });
  }

  function mountSpa(): void {
    const { gate, folder, devServer } = spa;
    if (config.path !== '') app.all('*', requireWithinPath);
    app.get('*', async (c, next) => (await answerReturn(c)) ?? next());
    if (folder === undefined && devServer === undefined) return;
    app.use('*', atOrigin);
    app.all('*', async (c) => {
      const gated = await gate?.(c);
      if (gated !== undefined) return gated;
      if (folder !== undefined) return folder.fetch(c.req.raw);
      return withRawResponse(c, async (request, response) => devServer?.handle(request, response));
    });
  }

  /** A document or a login under another name of this server is sent to the app's origin. */
  async function atOrigin(c: BffContext, next: Next): Promise<Response | void> {
    const { pathname, search } = new URL(c.req.url);
    const address = redirectToOrigin(c.req.method, c.env?.incoming?.headers ?? c.req.header(), pathname + search);
    if (address === undefined) return next();
    c.header('cache-control', 'no-store');
    return c.redirect(address, 302);
  }

  async function requireWithinPath(c: BffContext, next: Next): Promise<void> {
    if (!isWithin(c.req.path, config.path)) throw outsidePath(config.path);
    await next();
  }

  return {
    app,
    /** The app for a server's `request` event. */
    listener: getRequestListener(app.fetch, { overrideGlobalObjects: false }),
  };
}

/** Not by Hono's own matching, which answers HEAD by running GET: here that would sign people in or out. */
function dispatch({ methods }: Endpoint, c: BffContext): Promise<Response> {
  const handler = Object.hasOwn(methods, c.req.method) ? methods[c.req.method] : undefined;
  if (handler !== undefined) return handler(c);
  const allow = Object.keys(methods).join(', ');
  throw new BffError('method_not_allowed', `This endpoint takes ${allow}.`, { headers: { allow } });
}

/** Mostly a proxy in front has cut the path off, so the detail says what that proxy must do. */
function outsidePath(path: string): BffError {
  return new BffError(
    'route_not_found',
    `This app lives below ${path}/. A proxy in front must pass that part of the path on (nginx: a proxy_pass without a path).`,
  );
}

/** Lets `handle` write the raw response. */
export async function withRawResponse(c: BffContext, handle: RawHandler): Promise<Response> {
  const { incoming, outgoing } = c.env ?? {};
  if (incoming === undefined || outgoing === undefined) {
    throw new TypeError('Sallyport streams to the raw response: serve the app with @hono/node-server.');
  }
  // A middleware that only looked at `c.req.raw.body` has begun to read it by the next turn of the event loop.
  if (hasBody(incoming)) await nextTurn();
  await handle(incoming, outgoing);
  return alreadySent(outgoing);
}

/**
 * Marks a response that was written to the client directly. A middleware around this app may still set headers, and Hono
 * makes a new response for HEAD: @hono/node-server would send that as well, and fail with ERR_HTTP_HEADERS_SENT.
 */
function alreadySent(outgoing: ServerResponse): Response {
  outgoing.writeHead = () => outgoing;
  outgoing.end = () => outgoing;
  // A response of its own: what middleware adds to the shared one would stay there, from all calls.
  return new Response(null, RESPONSE_ALREADY_SENT);
}
