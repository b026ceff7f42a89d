/**
 * The doors of `node:http`: the `request` event, on which API calls go straight to the proxy and the rest through the
 * Hono app, and everything else that a server leaves to its owner (`http/attach.ts`).
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Config } from './config/config.ts';
import { detach } from './detached.ts';
import { attachTo, inTurn, refuseAmbiguous, useOriginForm, type ServerObserver } from './http/attach.ts';
import { isWithin } from './http/paths.ts';
import type { ErrorResponder } from './http/error-responder.ts';
import type { ApiUpstream } from './proxy/api.ts';
import type { createUpgrade } from './proxy/websocket/upgrade.ts';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

interface ListenerDeps {
  readonly findApi: (target: string) => ApiUpstream | undefined;
  readonly callApi: (request: IncomingMessage, response: ServerResponse, upstream: ApiUpstream) => Promise<void>;
  readonly throughApp: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly upgrade: ReturnType<typeof createUpgrade>;
  readonly errors: ErrorResponder;
  /** Whether a request may come back from a sign-out at the provider. */
  readonly mayBeReturn: (target: string, cookies: string | undefined) => boolean;
}

export function createNodeDoors(config: Config, deps: ListenerDeps) {
  const { findApi, callApi, throughApp, upgrade, errors, mayBeReturn } = deps;

  /** @param next takes the requests that are not Sallyport's; default: 404 */
  function createListener(next?: RequestHandler, observer?: ServerObserver): RequestHandler {
    return (request, response) => {
      response.on('error', reportResponseError);
      inTurn(request, response, handle);
    };

    function handle(request: IncomingMessage, response: ServerResponse): void {
      if (refuseAmbiguous(request, response)) return;
      observer?.onRequest(request, response);
      const upstream = findApi(useOriginForm(request));
      if (upstream !== undefined) detach(callApi(request, response, upstream), reportDetachedError);
      else if (next === undefined || isOwn(request)) detach(throughApp(request, response), reportDetachedError);
      else next(request, response);
    }
  }

  /** Puts all handlers on a server. */
  function attach(server: Server, next?: RequestHandler, observer?: ServerObserver): void {
    attachTo(server, {
      listener: createListener(next, observer),
      isApiCall,
      upgrade: observer === undefined ? upgrade : observedUpgrade(observer),
      leavesUpgrade: (request) => next !== undefined && !isApiCall(request) && !isOwn(request),
    });
  }

  function observedUpgrade(observer: ServerObserver): typeof upgrade {
    return async (request, socket, head) => {
      const since = performance.now();
      const status = await upgrade(request, socket, head);
      observer.onUpgrade(request, status, since);
      return status;
    };
  }

  function isApiCall(request: IncomingMessage): boolean {
    return findApi(useOriginForm(request)) !== undefined;
  }

  /** Whether a path that is no API's is answered here. */
  function isOwn({ url = '/', headers }: IncomingMessage): boolean {
    const own = config.spa === undefined ? config.basePath : config.path;
    return own === '' || isWithin(url, own) || mayBeReturn(url, headers.cookie);
  }

  /** For example a write after the end. Without a listener the error would end the process. */
  function reportResponseError(this: ServerResponse, error: Error): void {
    errors.report(error, this.req);
  }

  /** An error in the very sending of an error. */
  function reportDetachedError(error: unknown): void {
    errors.report(error);
  }

  return { listener: createListener(), attach, isApiCall };
}
