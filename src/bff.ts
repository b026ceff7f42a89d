/**
 * The wiring: from a configuration to a Hono app, a listener for `node:http` that takes proxied calls the short way, and
 * an upgrade handler. The endpoint table is here.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { attachTo, refuseAmbiguous, useOriginForm, type ServerObserver } from './http/attach.ts';
import { resolveConfig, type Config, type ConfigInput } from './config/config.ts';
import { detach } from './detached.ts';
import { createLoginGate } from './endpoints/login-gate.ts';
import { createCallback } from './endpoints/callback.ts';
import type { BffContext, BffEnv } from './endpoints/endpoint.ts';
import { createLogin } from './endpoints/login.ts';
import { createLogout } from './endpoints/logout.ts';
import { createSessionEndpoints, personalClaims } from './endpoints/session-view.ts';
import { asBffError, BffError } from './http/errors.ts';
import { createEvents, type Events } from './events.ts';
import { renderError } from './http/problem.ts';
import { createClientAddressResolver } from './http/client-address.ts';
import { createProvider } from './oidc/provider.ts';
import { createConnectionPools } from './upstream/connection-pool.ts';
import { createProviderFetch } from './upstream/provider-fetch.ts';
import { createApiProxy, type ApiUpstream } from './proxy/api.ts';
import { createCallSlots } from './proxy/call-slots.ts';
import { createDevServerProxy } from './spa/dev-server.ts';
import { createOpenSockets } from './proxy/websocket/open-sockets.ts';
import { createSessionBoundList } from './proxy/session-bound.ts';
import { createUpgrade } from './proxy/websocket/upgrade.ts';
import { createSessions } from './session/sessions.ts';
import { createLoginTransactions } from './session/transactions.ts';
import { createSpaFolder } from './spa/folder.ts';
import { createMemoryStore } from './store/memory.ts';
import { createRedisStore } from './store/redis.ts';
import type { Store } from './store/store.ts';
import type { Claims } from './token-set.ts';
import { createRefresher } from './tokens/refresh.ts';

export interface BffOptions {
  /** Which claims the SPA sees in `/bff/session`. Default: those about the person. */
  readonly sessionView?: (claims: Claims) => Claims;
  /** Where several processes agree. Default: Redis or Valkey at `redisUrl`, else this process's memory. */
  readonly store?: Store;
}

export interface Bff {
  /**
   * The way to use Sallyport in a program: takes a server's requests, upgrades and `Expect: 100-continue`, with the
   * protection against ambiguous requests.
   * @param next takes the requests that are neither Sallyport's own nor an API's nor the SPA's; default: 404. Upgrades
   *   for other paths are left to the server's other `upgrade` listeners, if it has any
   */
  readonly attach: (server: Server, next?: RequestHandler) => void;
  /** To mount in a Hono app served by @hono/node-server: without WebSockets, and slower than {@link attach}. */
  readonly app: Hono<BffEnv>;
  /** A server's `request` event alone. */
  readonly listener: RequestHandler;
  /** Whether a call goes to an API: those answer `Expect: 100-continue` themselves. */
  readonly isApiCall: (request: IncomingMessage) => boolean;
  /** A server's `upgrade` event alone. Never rejects. @returns the status that was sent, undefined where the client left */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<number | undefined>;
  readonly events: Events;
  /** The id under which a request stands in problems and in the log. */
  readonly requestIdOf: (request: IncomingMessage) => string;
  /** Whether the provider's metadata is known. */
  readonly ready: () => boolean;
  /** Tells the clients of open WebSockets that the server is going away, so that they connect to another. */
  readonly drain: () => void;
  /** Finishes refreshes that are running, then closes all connections. */
  readonly close: () => Promise<void>;
}

type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

const requestId: unique symbol = Symbol('requestId');
type Identified = IncomingMessage & { [requestId]?: string };

/** Hears of failures that have no domain event: what became a response, and what it was made from. */
type FailureListener = (error: BffError, requestId: string, request: IncomingMessage | undefined) => void;

/** @throws {ConfigError} with every fault of the configuration */
export function createBff(input: ConfigInput, options: BffOptions = {}): Bff {
  return assembleBff(resolveConfig(input), options);
}

/** What a server of ours needs besides. */
export interface AssembledBff extends Bff {
  /** Whether sign-outs and refresh results are in this process's memory only. */
  readonly forgetsAtRestart: boolean;
  readonly attach: (server: Server, next?: RequestHandler, observer?: ServerObserver) => void;
}

/** The same for a configuration that was resolved already. */
export function assembleBff(
  config: Config,
  options: BffOptions = {},
  onFailure: FailureListener = () => undefined,
): AssembledBff {
  const events = createEvents();
  const store = options.store ?? createStore(config, events);
  const pools = createConnectionPools();
  const providerFetch = createProviderFetch();
  const provider = createProvider(config, { fetch: providerFetch.fetch, events });
  const sessions = createSessions(config, { store, events });
  const transactions = createLoginTransactions(config, { store, events });
  const refresher = createRefresher(config, { provider, sessions, store, events });
  const resolveClientAddress = createClientAddressResolver(config.trustedProxies);
  const newRequestId = createRequestIds();
  const deps = {
    config,
    events,
    provider,
    sessions,
    transactions,
    refresher,
    sessionView: options.sessionView ?? personalClaims,
  };
  const bound = createSessionBoundList({ sessions, events });
  const slots = createCallSlots();
  const apis = createApiProxy(config, { sessions, refresher, pools, bound, slots, resolveClientAddress });
  const openSockets = createOpenSockets(bound);
  const devServer =
    config.spa?.devServer === undefined
      ? undefined
      : createDevServerProxy(config, new URL(config.spa.devServer), { pools, bound });

  const app = new Hono<BffEnv>();
  app.onError((error, c) => {
    const failure = renderFailed(error, c.req.header(), c.env?.incoming);
    for (const [name, value] of Object.entries(failure.headers)) c.header(name, value);
    return c.body(failure.body, failure.status as 500);
  });
  mountEndpoints();
  for (const { path } of config.api) {
    app.all(path, proxied);
    app.all(`${path}/*`, proxied);
  }
  mountSpa();

  function mountEndpoints(): void {
    const base = config.basePath;
    const login = createLogin(deps);
    const callback = createCallback(deps);
    const session = createSessionEndpoints(deps);
    const logout = createLogout(deps);
    app.use(`${base}/*`, async (c, next) => {
      c.header('cache-control', 'no-store');
      c.header('x-content-type-options', 'nosniff');
      c.header('referrer-policy', 'no-referrer');
      await next();
    });
    endpoint(`${base}/login`, { GET: login });
    endpoint(`${base}/callback`, { GET: callback.get, POST: callback.post });
    endpoint(`${base}/session`, { GET: session.read });
    endpoint(`${base}/refresh`, { POST: session.refresh });
    endpoint(`${base}/logout`, { GET: logout.get, POST: logout.post });
    app.all(`${base}/*`, () => {
      throw new BffError('route_not_found', 'There is no such endpoint.');
    });
  }

  function endpoint(path: string, methods: Readonly<Record<string, (c: BffContext) => Promise<Response>>>): void {
    app.all(path, (c) => {
      // Not by Hono's own matching, which answers HEAD by running GET: here that would sign people in or out.
      const handler = Object.hasOwn(methods, c.req.method) ? methods[c.req.method] : undefined;
      if (handler === undefined) throw notAllowed(Object.keys(methods).join(', '));
      return handler(c);
    });
  }

  function mountSpa(): void {
    const gate = config.spa?.requireLogin === true ? createLoginGate(deps) : undefined;
    const folder =
      config.spa?.folder === undefined
        ? undefined
        : createSpaFolder({ ...config.spa, folder: config.spa.folder, origin: config.origin });
    if (folder === undefined && devServer === undefined) return;
    app.all('*', async (c) => {
      const gated = await gate?.(c);
      if (gated !== undefined) return gated;
      if (folder !== undefined) return folder.fetch(c.req.raw);
      const { incoming, outgoing } = nodeOf(c);
      await devServer?.handle(incoming, outgoing);
      return alreadySent(outgoing);
    });
  }

  /** The long way to the proxy, for apps that mount this one. */
  async function proxied(c: BffContext): Promise<Response> {
    const { incoming, outgoing } = nodeOf(c);
    const upstream = apis.find(useOriginForm(incoming));
    // Hono decodes a path before it matches; the proxy goes by what stands on the wire.
    if (upstream === undefined) throw new BffError('route_not_found', 'There is no such route.');
    await handleApi(incoming, outgoing, upstream);
    return alreadySent(outgoing);
  }

  async function handleApi(request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream): Promise<void> {
    try {
      await apis.handle(request, response, upstream);
    } catch (error) {
      if (response.headersSent) {
        response.destroy();
        onFailure(asBffError(error), requestIdOf(request), request);
      } else {
        const failure = renderFailed(error, request.headers, request);
        response.writeHead(failure.status, failure.headers).end(failure.body);
      }
    }
  }

  /** A fault of ours in the very rendering of a failure. */
  function onDetachedError(error: unknown): void {
    onFailure(asBffError(error), newRequestId(), undefined);
  }

  function renderFailed(error: unknown, headers: IncomingMessage['headers'], request: IncomingMessage | undefined) {
    const failure = asBffError(error);
    const id = requestIdOf(request);
    onFailure(failure, id, request);
    return renderError(failure, { headers, id }, config);
  }

  /** One id for a request, whichever way it goes. */
  function requestIdOf(request: Identified | undefined): string {
    // A property, for a WeakMap's entry per call costs the garbage collector 3 us.
    return request === undefined ? newRequestId() : (request[requestId] ??= newRequestId());
  }

  const throughHono = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const upgrade = createUpgrade(config, {
    sessions,
    refresher,
    pools,
    openSockets,
    bound,
    slots,
    devServer: devServer?.webSockets,
    resolveClientAddress,
    renderFailed: (error, request) => renderFailed(error, request.headers, request),
  });
  provider.start();

  function createListener(next?: RequestHandler, observer?: ServerObserver): RequestHandler {
    return (request, response) => {
      response.on('error', onResponseError);
      if (refuseAmbiguous(request)) return;
      observer?.onRequest(request, response);
      const upstream = apis.find(useOriginForm(request));
      if (upstream !== undefined) detach(handleApi(request, response, upstream), onDetachedError);
      else if (next === undefined || isOwn(request)) detach(throughHono(request, response), onDetachedError);
      else next(request, response);
    };
  }

  function observedUpgrade(observer: ServerObserver): typeof upgrade {
    return async (request, socket, head) => {
      const since = performance.now();
      const status = await upgrade(request, socket, head);
      observer.onUpgrade(request, status, since);
      return status;
    };
  }

  /** Whether a path that is no API's is answered here. */
  function isOwn({ url = '/' }: IncomingMessage): boolean {
    return config.spa !== undefined || url.startsWith(`${config.basePath}/`);
  }

  /** A write that comes too late, for one. Without a listener it would end the process. */
  function onResponseError(this: ServerResponse, error: Error): void {
    onFailure(asBffError(error), requestIdOf(this.req), this.req);
  }

  const isApiCall = (request: IncomingMessage) => apis.find(useOriginForm(request)) !== undefined;
  const listener = createListener();

  return {
    attach(server, next, observer) {
      attachTo(server, {
        listener: createListener(next, observer),
        isApiCall,
        upgrade: observer === undefined ? upgrade : observedUpgrade(observer),
        leavesUpgrade: (request) => next !== undefined && !isApiCall(request) && !isOwn(request),
      });
    },
    app,
    listener,
    isApiCall,
    upgrade,
    events,
    requestIdOf,
    forgetsAtRestart: !store.shared,
    ready: provider.ready,
    drain: openSockets.drain,
    async close() {
      provider.close();
      await refresher.whenIdle();
      openSockets.destroy();
      await Promise.all([pools.close(), providerFetch.close()]);
      await store.close();
    },
  };
}

function createStore({ redisUrl }: Config, events: Events): Store {
  if (redisUrl === undefined) return createMemoryStore();
  return createRedisStore(redisUrl, { onError: (cause) => events.emit({ type: 'store.failed', cause }) });
}

/**
 * Marks a response that went straight to the client. A middleware around this app may still set headers, and Hono makes
 * a new answer of HEAD's: @hono/node-server would send that, too, and fail with ERR_HTTP_HEADERS_SENT.
 */
function alreadySent(outgoing: ServerResponse): Response {
  outgoing.writeHead = () => outgoing;
  outgoing.end = () => outgoing;
  return RESPONSE_ALREADY_SENT;
}

function nodeOf(c: BffContext): { incoming: IncomingMessage; outgoing: ServerResponse } {
  const { incoming, outgoing } = c.env ?? {};
  if (incoming !== undefined && outgoing !== undefined) return { incoming, outgoing };
  throw new TypeError('Sallyport streams to the raw response: serve the app with @hono/node-server.');
}

function notAllowed(allow: string): BffError {
  return new BffError('method_not_allowed', `This endpoint takes ${allow}.`, { headers: { allow } });
}

/** Ids that are unique across processes and cost next to nothing. */
function createRequestIds(): () => string {
  const prefix = randomBytes(6).toString('base64url');
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}
