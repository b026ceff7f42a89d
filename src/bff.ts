/**
 * The wiring: from a configuration to the dependencies, the endpoint table (`endpoints/table.ts`) and three doors: the
 * Hono app (`app.ts`), the listener for `node:http` (`listener.ts`) and the upgrade handler (`proxy/websocket/`).
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Hono } from 'hono';
import { createApp, createSpa, withRawResponse } from './app.ts';
import { resolveConfig, type Config, type ConfigInput } from './config/config.ts';
import type { BffEnv } from './endpoints/endpoint.ts';
import { createClaimsSelection } from './endpoints/claims-view.ts';
import { createLogoutReturn } from './endpoints/logout-return.ts';
import { createEndpointTable } from './endpoints/table.ts';
import { createEvents, type Events } from './events.ts';
import type { ServerObserver } from './http/attach.ts';
import { createClientAddressResolver } from './http/client-address.ts';
import { createErrorResponder, type ErrorListener } from './http/error-responder.ts';
import { createPages } from './http/pages.ts';
import { createRequestIds } from './http/request-id.ts';
import { createNodeDoors, type RequestHandler } from './listener.ts';
import { createProvider } from './oidc/provider.ts';
import { createApiProxy, type ApiUpstream } from './proxy/api.ts';
import { createCallSlots } from './proxy/call-slots.ts';
import { createRouteRules } from './proxy/route-rules.ts';
import { createOpenSockets } from './proxy/websocket/open-sockets.ts';
import { createUpgrade } from './proxy/websocket/upgrade.ts';
import { createLogoutReturns } from './session/logout-returns.ts';
import { createSessionBoundList } from './session/session-bound.ts';
import { createSessions, type Sessions } from './session/sessions.ts';
import { createLoginTransactions } from './session/transactions.ts';
import { createConfiguredStore } from './store/configured-store.ts';
import type { Store } from './store/store.ts';
import type { Claims } from './token-set.ts';
import { createRefresher } from './tokens/refresh.ts';
import { createRouteTokens } from './tokens/route-tokens.ts';
import { createConnectionPools } from './upstream/connection-pool.ts';
import { createProviderFetch } from './upstream/provider-fetch.ts';
import { createProviderIdentity } from './upstream/tls-identity.ts';

/**
 * What a program may replace.
 *
 * @example
 * ```ts
 * import { createMemoryStore, type BffOptions } from 'sallyport';
 *
 * export const options: BffOptions = {
 *   sessionView: ({ sub, name }) => ({ sub, name }),
 *   store: createMemoryStore(),
 * };
 * ```
 */
export interface BffOptions {
  /**
   * Which claims the SPA sees in `/bff/session`, in place of the default selection and `session.claims`. Tokens are cut
   * from what it returns.
   */
  readonly sessionView?: (claims: Claims) => Claims;
  /** Where several processes agree. Default: Redis or Valkey at `redisUrl`, else this process's memory. */
  readonly store?: Store;
}

/**
 * Sallyport, ready to be put on a server.
 *
 * @example
 * ```ts
 * import type { Server } from 'node:http';
 * import type { Bff } from 'sallyport';
 *
 * export function mount(bff: Bff, server: Server): void {
 *   bff.attach(server, (_request, response) => response.writeHead(404).end());
 *   server.on('close', () => void bff.close());
 * }
 * ```
 */
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
  /** A server's `upgrade` event alone. Never rejects. @returns the status that was sent; undefined if the client left */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<number | undefined>;
  readonly events: Events;
  /** The id of a request in problems and in the log. */
  readonly requestIdOf: (request: IncomingMessage) => string;
  /** Whether the provider's metadata is known, and the store can be reached where it holds the sessions. */
  readonly ready: () => boolean;
  /**
   * Closes open WebSockets with 1012 (Service Restart), and the event streams of clients that come again by themselves, so
   * that they connect to another instance.
   */
  readonly drain: () => void;
  /** Finishes refreshes that are running, then closes all connections. */
  readonly close: () => Promise<void>;
}

/**
 * Sallyport as a part of a program.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { createBff } from 'sallyport';
 *
 * const bff = createBff({
 *   origin: 'https://app.example.com',
 *   issuer: 'https://login.example.com',
 *   client: { id: 'my-app', secret: process.env['CLIENT_SECRET'] ?? '' },
 *   secrets: [process.env['SEALING_SECRET'] ?? ''],
 *   api: [{ path: '/api', target: 'http://127.0.0.1:9100/v1' }],
 * });
 * const server = createServer({ maxHeaderSize: 32 * 1024 });
 * bff.attach(server);
 * server.listen(3000);
 * ```
 * @throws {ConfigError} with every fault of the configuration
 */
export function createBff(input: ConfigInput, options: BffOptions = {}): Bff {
  return assembleBff(resolveConfig(input), options);
}

/** Sessions, to be listed and ended by others than their person. */
export type OperatorSessions = Pick<Sessions, 'registry' | 'revoke' | 'endByKey'>;

/** What Sallyport's own server needs as well. */
export interface AssembledBff extends Bff {
  /** Whether sign-outs and refresh results are in this process's memory only, without the program having chosen so. */
  readonly forgetsAtRestart: boolean;
  /** What an operator may do to sessions. */
  readonly sessions: OperatorSessions;
  readonly attach: (server: Server, next?: RequestHandler, observer?: ServerObserver) => void;
}

/** {@link createBff} for a configuration that is resolved already. */
export function assembleBff(
  config: Config,
  options: BffOptions = {},
  onError: ErrorListener = () => undefined,
): AssembledBff {
  // Dependencies
  const events = createEvents();
  const store = options.store ?? createConfiguredStore(config, events);
  const pools = createConnectionPools(events);
  const identity = createProviderIdentity(config, events);
  const providerFetch = createProviderFetch({ ...config.provider, identity });
  const provider = createProvider(config, { fetch: providerFetch.fetch, events });
  const sessions = createSessions(config, { store, events });
  const transactions = createLoginTransactions(config, { store, events });
  const logoutReturns = createLogoutReturns(config);
  const refresher = createRefresher(config, { provider, sessions, events });
  const resolveClientAddress = createClientAddressResolver(config.trustedProxies);
  const pages = createPages(config);
  const requestIdOf = createRequestIds();
  const errors = createErrorResponder({ config, pages }, { requestIdOf, onError });
  const bound = createSessionBoundList({ sessions, events });
  const slots = createCallSlots();
  const tokensOf = createRouteTokens(config, { provider, refresher, events });
  const rules = createRouteRules(config, { events, resolveClientAddress });
  const proxyDeps = { sessions, refresher, tokensOf, rulesOf: rules.of, pools, bound, slots, resolveClientAddress };
  const apis = createApiProxy(config, proxyDeps);
  const openSockets = createOpenSockets(bound);

  // Endpoints
  const sessionView = options.sessionView ?? createClaimsSelection(config.session.claims);
  const signIns = { provider, sessions, transactions, logoutReturns, refresher };
  const raw = { bound, writeRaw: withRawResponse };
  const endpointDeps = { config, pages, events, store, ...signIns, resolveClientAddress, sessionView, ...raw };
  const endpoints = createEndpointTable(endpointDeps);
  const spa = createSpa(config, endpointDeps, { pools, bound });

  // Doors
  const proxy = { findApi: apis.find, callApi, errors };
  const answerReturn = createLogoutReturn(endpointDeps);
  const { app, listener: throughApp } = createApp(config, { ...proxy, endpoints, spa, answerReturn });
  const upgrade = createUpgrade(config, {
    ...proxyDeps,
    openSockets,
    devServer: spa.devServer?.webSockets,
    renderFailed: errors.render,
  });
  const { listener, attach, isApiCall } = createNodeDoors(config, {
    ...proxy,
    throughApp,
    upgrade,
    mayBeReturn: logoutReturns.mayBeRemembered,
  });
  provider.start();

  /** One call of an API, its errors included. */
  function callApi(request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream): Promise<void> {
    return apis.handle(request, response, upstream).catch((error: unknown) => errors.send(error, request, response));
  }

  return {
    attach,
    app,
    listener,
    isApiCall,
    upgrade,
    events,
    requestIdOf,
    sessions,
    forgetsAtRestart: options.store === undefined && !store.durable,
    // Sessions that live in the store cannot be served without it.
    ready: () => provider.ready() && (config.session.mode !== 'store' || store.reachable()),
    drain: bound.drain,
    async close() {
      bound.drain();
      provider.close();
      await refresher.whenIdle();
      await sessions.close();
      openSockets.destroy();
      await Promise.all([pools.close(), rules.close(), providerFetch.close()]);
      await store.close();
    },
  };
}
