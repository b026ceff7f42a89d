/**
 * One request to an upstream and its response to the client, streamed in both directions through undici's dispatch onto
 * the raw response: only the sockets buffer. Passes back-pressure and aborts on in both directions.
 *
 * Every call comes through here. What few calls need (interim responses, trailers, early flushes, retries) depends on
 * values that undici computes anyway, and costs the other calls a comparison.
 */
import { STATUS_CODES, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { Readable, type Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { BffError } from '../http/errors.ts';
import { isConnectionEnd } from '../upstream/connection-end.ts';
import type { ConnectionPool, Lease, PendingCall } from '../upstream/connection-pool.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { EventTracker, reconnects } from './event-stream.ts';
import { announcedTrailers, interimHeaders, trailerFields } from './headers.ts';
import { sessionExpired } from '../session/session.ts';
import { SessionBound, type SessionBoundList } from '../session/session-bound.ts';
import { deadlineError, upstreamError, type UpstreamLimits } from './upstream-errors.ts';

/** Where a request goes, and the list in which it waits for the end of its session. */
export interface Upstream {
  readonly pool: ConnectionPool;
  readonly bound: SessionBoundList;
  /** Applied to interim responses; the filter of a call has the final ones. */
  readonly mapHeaders?: (headers: IncomingHttpHeaders) => IncomingHttpHeaders;
}

export interface UpstreamRequest {
  readonly upstream: Upstream;
  readonly method: string;
  readonly path: string;
  /** Flat list of names and values. */
  readonly headers: string[];
  /** The headers of a second sending, where they may not be the same: a proof must not come twice (RFC 9449 11.1). */
  readonly headersAnew?: (() => string[]) | undefined;
  readonly body: Buffer | Readable | null;
  readonly limits: UpstreamLimits;
  /** The call ends with this session; undefined for a call without one. */
  readonly session: SessionEntry | undefined;
  /** Receives the upstream's response. */
  readonly response: ServerResponse;
  readonly filter: ResponseFilter;
  /**
   * Asks for an upgrade to WebSocket, and takes the connection when the upstream has switched.
   * @returns the error to answer with instead, if the connection is no longer wanted
   */
  readonly onUpgrade?: (headers: IncomingHttpHeaders, upstream: Duplex) => BffError | undefined;
}

/**
 * Decides about a response when its status and headers have arrived.
 * @returns the headers to send to the client as a flat list, or undefined to discard the response
 */
export type ResponseFilter = (status: number, headers: IncomingHttpHeaders) => string[] | undefined;

/** `aborted`: the client has disconnected. */
export type ForwardOutcome = 'sent' | 'discarded' | 'upgraded' | 'aborted';

/**
 * Sends a request and relays the response. The order of events: the call joins the session's list, the pool calls
 * `onConnection`, undici calls `onRequestStart`, `onBodySent` and, once the first bytes arrive, `onResponseStart`, where
 * the filter decides; then come the chunks (`onResponseData`) and the end (`onResponseEnd` or `onResponseError`), which
 * releases the connection and settles the promise. A discarded response settles it at once.
 * @throws {BffError} `upstream_unavailable` or `upstream_timeout`, and `session_expired` if the session ends before the
 *   response; a response that had begun is aborted before the promise rejects
 */
export function forward(request: UpstreamRequest): Promise<ForwardOutcome> {
  return new Promise((resolve, reject) => {
    new UpstreamCall(request, resolve, reject).dispatch();
  });
}

/** A discarded response may take this long to end, so that its connection can be used again. */
const discardMs = 1000;

/** Interim responses of one call; an API that sends more would never stop. */
const maximumInterims = 128;

/**
 * `pending`: waits for a connection or the upstream, or relays the response. `discarding`: the caller has its outcome
 * while the body is read off. `aborted`: nobody waits for the response any more. `settled`: the connection is released.
 */
type CallState = 'pending' | 'discarding' | 'aborted' | 'settled';

class UpstreamCall extends SessionBound implements Dispatcher.DispatchHandler, PendingCall {
  deadline = 0;
  readonly #request: UpstreamRequest;
  readonly #response: ServerResponse;
  readonly #resolve: (outcome: ForwardOutcome) => void;
  readonly #reject: (error: BffError) => void;
  #state: CallState = 'pending';
  #lease: Lease | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #retried = false;
  #listensForDrain = false;
  #sendsTrailers = false;
  #isEventStream = false;
  /** As the response declares it; undefined where it does not. */
  #bodyLength: number | undefined;
  /** For the event stream of a client that comes again by itself. */
  #events: EventTracker | undefined;
  #endsAfterEvent = false;
  #interims = 0;

  constructor(request: UpstreamRequest, resolve: (outcome: ForwardOutcome) => void, reject: (error: BffError) => void) {
    super(request.session);
    this.#request = request;
    this.#response = request.response;
    this.#resolve = resolve;
    this.#reject = reject;
    // Never removed: removing it costs more than one no-op call after the response has ended.
    this.#response.on('close', () => {
      if (this.#state !== 'settled') this.#abort();
    });
  }

  dispatch(): void {
    const { upstream, limits } = this.#request;
    // A client that disconnected earlier, for example during the refresh, emits no second `close`; without this check
    // nothing would settle the promise.
    if (this.#response.destroyed) {
      this.#state = 'settled';
      this.#resolve('aborted');
      return;
    }
    if (this.session?.ended !== undefined) {
      this.#state = 'settled';
      this.#reject(sessionExpired());
      return;
    }
    upstream.bound.add(this);
    upstream.pool.acquire(this);
    // It waits in the pool's queue; a call that has its connection has the deadline of a response.
    if (this.#lease === undefined) this.deadline = performance.now() + limits.connectTimeoutSeconds * 1000;
  }

  get cancelled(): boolean {
    return this.#state === 'aborted';
  }

  onConnection(lease: Lease): void {
    const { method, path, body, limits, onUpgrade, headersAnew } = this.#request;
    const headers = this.#retried && headersAnew !== undefined ? headersAnew() : this.#request.headers;
    this.#lease = lease;
    this.#awaitResponse();
    lease.dispatcher.dispatch(
      {
        method,
        path,
        headers,
        body,
        bodyTimeout: limits.idleTimeoutSeconds * 1000,
        upgrade: onUpgrade === undefined ? null : 'websocket',
      },
      this,
    );
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#lease?.connecting === true) this.#request.upstream.pool.established(this.#lease);
    if (this.#state === 'aborted') controller.abort(new Error('nobody waits any more'));
  }

  /** The upstream's time to respond counts from the last chunk of the request. */
  onBodySent(): void {
    if (this.#lease?.waitingCall === this) this.#awaitResponse();
  }

  expire(): void {
    const { body, limits } = this.#request;
    // While a streamed body is still being read, the upstream waits for the client; restart the deadline.
    if (body instanceof Readable && body.readableFlowing === true && !body.readableEnded) {
      this.#awaitResponse();
      return;
    }
    this.#reject(deadlineError(this.#lease !== undefined, limits));
    this.#abort();
  }

  #awaitResponse(): void {
    this.deadline = performance.now() + this.#request.limits.timeoutSeconds * 1000;
    if (this.#lease !== undefined) this.#lease.waitingCall = this;
  }

  #stopWaiting(): void {
    if (this.#lease !== undefined) this.#lease.waitingCall = undefined;
  }

  #abort(): void {
    if (this.#state === 'pending') this.#state = 'aborted';
    this.#stopWaiting();
    this.#request.upstream.bound.remove(this);
    // A call that still waits for a connection has nothing to abort.
    if (this.#lease === undefined) this.#resolve('aborted');
    else this.#controller?.abort(new Error('nobody waits any more'));
  }

  get endsWhenIdle(): boolean {
    return this.#response.headersSent;
  }

  /** An event stream may end at any time; every other response that has begun must be seen as incomplete. */
  endWithSession(): void {
    if (this.#state !== 'pending') return;
    const response = this.#response;
    if (!response.headersSent) this.#reject(sessionExpired());
    else if (this.#isEventStream) response.end();
    else abortResponse(response);
    this.#abort();
  }

  /** An event stream would outlast any drain. It ends as soon as it may. */
  override endWithServer(): void {
    if (this.#state !== 'pending' || this.#events === undefined) return;
    this.#endsAfterEvent = true;
    if (!this.#events.mayEnd) return;
    this.#response.end(this.#events.lastWords());
    this.#abort();
  }

  /** @returns what passes of the chunk */
  #followEvents(chunk: Buffer, events: EventTracker): Buffer {
    if (this.#endsAfterEvent) return chunk.subarray(0, events.passEvent(chunk));
    events.pass(chunk);
    return chunk;
  }

  /** Releases the connection. @returns the state until then */
  #settle(): CallState {
    const state = this.#state;
    const { pool, bound } = this.#request.upstream;
    this.#state = 'settled';
    bound.remove(this);
    const lease = this.#lease;
    if (lease === undefined) return state;
    this.#lease = undefined;
    lease.waitingCall = undefined;
    pool.release(lease);
    return state;
  }

  onRequestUpgrade(_: Dispatcher.DispatchController, __: number, headers: IncomingHttpHeaders, upstream: Duplex): void {
    this.#settle();
    const error = this.#request.onUpgrade?.(headers, upstream);
    if (error === undefined) this.#resolve('upgraded');
    else this.#reject(error);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200) {
      this.#relayInterim(status, headers);
      return;
    }
    this.#stopWaiting();
    const clientHeaders = this.#request.filter(status, headers);
    if (clientHeaders === undefined) {
      this.#discard(controller);
      return;
    }
    const length = headers['content-length'];
    if (length === undefined) {
      // undici turns a repeated header into a list, which its types don't say.
      this.#isEventStream = /^text\/event-stream/i.test(String(headers['content-type']));
      const { req } = this.#response;
      if (this.#isEventStream && reconnects(req)) this.#events = new EventTracker(headers['content-encoding']);
      this.#prepareTrailers(status, headers, clientHeaders);
    } else this.#bodyLength = Number(length);
    this.#response.writeHead(status, reasonOf(status, statusText), clientHeaders);
    // The client waits for the headers, and the first event may be minutes away. A small body of known length is sent
    // together with the headers.
    if (length === undefined || length.length > 5) flushHeaders(this.#response);
    if (this.#request.upstream.bound.isDraining()) this.endWithServer();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'discarding') return;
    // A body that arrives whole leaves with its headers and its end in one write instead of three.
    if (chunk.length === this.#bodyLength) {
      this.#response.end(chunk);
      return;
    }
    const passed = this.#events === undefined ? chunk : this.#followEvents(chunk, this.#events);
    const hasRoom = this.#response.write(passed);
    if (this.#endsAfterEvent) this.endWithServer();
    if (hasRoom) return;
    controller.pause();
    if (this.#listensForDrain) return;
    this.#listensForDrain = true;
    // One listener for all chunks of a download, and none for a small response.
    this.#response.on('drain', () => controller.resume());
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    if (this.#settle() === 'discarding') return;
    if (this.#sendsTrailers) this.#response.addTrailers(trailerFields(trailers));
    this.#response.end();
    this.#resolve('sent');
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const state = this.#settle();
    if (state === 'discarding') return;
    if (state === 'aborted' || this.#response.destroyed) this.#resolve('aborted');
    else if (this.#response.headersSent) {
      // The headers may still be buffered, and a client that received nothing at all may repeat the call by itself.
      flushHeaders(this.#response);
      // Wait one turn of the event loop, so that bytes written before the error have left.
      setImmediate(() => {
        abortResponse(this.#response);
        this.#reject(upstreamError(error, this.#request.limits));
      });
    } else if (this.#canRetry(error)) {
      this.#retried = true;
      this.#state = 'pending';
      this.#interims = 0;
      // Wait one turn of the event loop, so that other connections that the upstream has closed are noticed before the
      // retry picks one.
      setImmediate(() => this.dispatch());
    } else this.#reject(upstreamError(error, this.#request.limits));
  }

  /**
   * Relays early hints and the like. Clients of HTTP/1.0 don't know them, nor does Node before 24.19. They have no
   * back-pressure as a body has: a client that doesn't read gets none.
   */
  #relayInterim(status: number, headers: IncomingHttpHeaders): void {
    if (++this.#interims > maximumInterims) {
      throw new BffError('upstream_unavailable', `The API sent more than ${maximumInterims} interim responses.`);
    }
    const response: InformingResponse = this.#response;
    const isReading = response.socket?.writableNeedDrain === false;
    if (!isReading || response.req.httpVersionMinor === 0) return;
    const { mapHeaders } = this.#request.upstream;
    response.writeInformation?.(status, interimHeaders(mapHeaders === undefined ? headers : mapHeaders(headers)));
  }

  /** The caller continues at once; the body is read off, and cut when it takes too long. */
  #discard(controller: Dispatcher.DispatchController): void {
    this.#state = 'discarding';
    setTimeout(() => controller.abort(new Error('discarded')), discardMs).unref();
    this.#resolve('discarded');
  }

  /** Trailers need chunks, and a client to which they were announced or that asked for them (RFC 9110 6.5.1). */
  #prepareTrailers(status: number, headers: IncomingHttpHeaders, clientHeaders: string[]): void {
    const { req } = this.#response;
    if (req.httpVersionMinor === 0 || req.method === 'HEAD' || status === 204 || status === 304) return;
    const announced = headers.trailer === undefined ? undefined : announcedTrailers(headers.trailer);
    if (announced !== undefined) clientHeaders.push('trailer', announced);
    this.#sendsTrailers = announced !== undefined || req.headers.te?.includes('trailers') === true;
  }

  /**
   * An idle keep-alive connection can close just as it is reused. Only safe methods are retried (RFC 9112 9.3.1): for
   * others it is unknown whether the API acted.
   */
  #canRetry(error: Error): boolean {
    const { method, body } = this.#request;
    return (
      !this.#retried && (body === null || Buffer.isBuffer(body)) && safeMethods.has(method) && isConnectionEnd(error)
    );
  }
}

/** `writeInformation` is missing in older versions of Node, and in the types of this one. */
type InformingResponse = ServerResponse & { writeInformation?(status: number, headers: readonly string[]): void };

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY', 'PROPFIND', 'REPORT', 'SEARCH']);

/**
 * Not Node's `flushHeaders()`, which writes header bytes beyond ASCII as UTF-8, and in a packet of their own. This write
 * waits for the end of the tick, so that a body that has arrived with the headers leaves with them.
 */
function flushHeaders(response: ServerResponse): void {
  response.write('', 'latin1');
}

/** Makes the client see an incomplete response. Without chunks the end of the connection ends the body; a reset doesn't. */
function abortResponse(response: ServerResponse): void {
  if (response.req.httpVersionMinor === 0) response.socket?.resetAndDestroy();
  else response.destroy();
}

/** The API's own reason phrase, unless it has characters that Node refuses to send. */
function reasonOf(status: number, text: string | undefined): string | undefined {
  return text === undefined || text === STATUS_CODES[status] || /^[\t\x20-\x7e]*$/.test(text)
    ? text
    : STATUS_CODES[status];
}
