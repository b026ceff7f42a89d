/**
 * One request to an upstream and its response to the client, streamed both ways through undici's dispatch onto the raw
 * response: nothing is held but what the sockets hold. Back-pressure and aborts pass through in both directions.
 *
 * Every call passes here. What few calls need (interim responses, trailers, early flushes, second tries) hangs on
 * values that undici computes anyway, and costs the others a comparison.
 */
import { STATUS_CODES, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { Readable, type Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { BffError } from '../http/errors.ts';
import type { ConnectionPool, Lease, PendingCall } from '../upstream/connection-pool.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { announcedTrailers, interimHeaders, trailerFields } from './headers.ts';
import { SessionBound, sessionExpired, type SessionBoundList } from './session-bound.ts';

export interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  /** Flat list of names and values. */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
  readonly limits: UpstreamLimits;
  /** The session by which the call lives; undefined for what asks for none. */
  readonly session: SessionEntry | undefined;
  /**
   * Asks for an upgrade to WebSocket and takes the connection when the upstream has switched.
   * @returns what is to be answered instead, if the connection isn't wanted any more
   */
  readonly onUpgrade?: (headers: IncomingHttpHeaders, upstream: Duplex) => BffError | undefined;
}

/** How long to wait for an upstream. */
export interface UpstreamLimits {
  /** Of its connections; here to be named in a message. */
  readonly connectTimeoutSeconds: number;
  /** To the first byte of the answer. */
  readonly timeoutSeconds: number;
  /** Between two chunks of the answer; 0: for ever. */
  readonly idleTimeoutSeconds: number;
}

/**
 * Decides about a response when its status and headers are there.
 * @returns the headers to send to the client as a flat list, or undefined to discard the response
 */
export type ResponseFilter = (status: number, headers: IncomingHttpHeaders) => string[] | undefined;

/** `gone`: the client went away; there is nobody to tell. */
export type ForwardOutcome = 'sent' | 'discarded' | 'upgraded' | 'gone';

/** Where a request goes, and what it is counted among while it runs. */
export interface Upstream {
  readonly pool: ConnectionPool;
  readonly bound: SessionBoundList;
}

/**
 * @throws {BffError} `upstream_unavailable` or `upstream_timeout`, and `session_expired` if the session ends before the
 *   answer; if the response had begun, it is broken off by then
 */
export function forward(
  upstream: Upstream,
  request: UpstreamRequest,
  response: ServerResponse,
  decide: ResponseFilter,
): Promise<ForwardOutcome> {
  return new Promise((resolve, reject) => {
    new UpstreamCall(upstream, request, response, decide, resolve, reject).dispatch();
  });
}

/** A discarded response gets this long to end, and its connection to be kept. */
const discardMs = 1000;

/** Interim responses of one call; an API that sends more would send them for ever. */
const maximumInterims = 128;

class UpstreamCall extends SessionBound implements Dispatcher.DispatchHandler, PendingCall {
  deadline = 0;
  /** Nobody waits for the answer any more. */
  left = false;
  readonly #pool: ConnectionPool;
  readonly #bound: SessionBoundList;
  readonly #request: UpstreamRequest;
  readonly #response: ServerResponse;
  readonly #decide: ResponseFilter;
  readonly #resolve: (outcome: ForwardOutcome) => void;
  readonly #reject: (error: BffError) => void;
  #lease: Lease | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #triedAgain = false;
  #discarding = false;
  #heedsDrain = false;
  #passesTrailers = false;
  #isEventStream = false;
  #interims = 0;
  #over = false;

  constructor(
    { pool, bound }: Upstream,
    request: UpstreamRequest,
    response: ServerResponse,
    decide: ResponseFilter,
    resolve: (outcome: ForwardOutcome) => void,
    reject: (error: BffError) => void,
  ) {
    super(request.session);
    this.#pool = pool;
    this.#bound = bound;
    this.#request = request;
    this.#response = response;
    this.#decide = decide;
    this.#resolve = resolve;
    this.#reject = reject;
    // Never taken off: that would cost more than to come here once more at the end.
    response.on('close', () => {
      if (!this.#over) this.#leave();
    });
  }

  dispatch(): void {
    // Who left before (while the token was refreshed, say) leaves no second time: nothing would end the call.
    if (this.#response.destroyed) {
      this.#resolve('gone');
      return;
    }
    if (this.session?.ended === true) {
      this.#over = true;
      this.#reject(sessionExpired());
      return;
    }
    if (this.session !== undefined) this.#bound.add(this);
    this.deadline = performance.now() + this.#request.limits.connectTimeoutSeconds * 1000;
    this.#pool.take(this);
  }

  begin(lease: Lease): void {
    const { method, path, headers, body, limits, onUpgrade } = this.#request;
    this.#lease = lease;
    this.#wait();
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
    if (this.#lease?.connecting === true) this.#pool.established(this.#lease);
    if (this.left) controller.abort(new Error('nobody waits any more'));
  }

  /** While a body is on its way, the upstream isn't late. */
  onBodySent(): void {
    if (this.#lease?.waiter === this) this.#wait();
  }

  expire(): void {
    // A body that flows and doesn't end waits for the client, not for the upstream.
    const { body } = this.#request;
    if (body instanceof Readable && body.readableFlowing === true && !body.readableEnded) {
      this.#wait();
      return;
    }
    const code = this.#lease === undefined ? 'UND_ERR_CONNECT_TIMEOUT' : 'UND_ERR_HEADERS_TIMEOUT';
    this.#reject(new BffError('upstream_timeout', lateness(code, this.#request.limits) ?? ''));
    this.#leave();
  }

  #wait(): void {
    this.deadline = performance.now() + this.#request.limits.timeoutSeconds * 1000;
    if (this.#lease !== undefined) this.#lease.waiter = this;
  }

  #stopWaiting(): void {
    if (this.#lease !== undefined) this.#lease.waiter = undefined;
  }

  #leave(): void {
    this.left = true;
    this.#stopWaiting();
    this.#bound.remove(this);
    // In the queue for a connection there is nothing to break off.
    if (this.#lease === undefined) this.#resolve('gone');
    else this.#controller?.abort(new Error('nobody waits any more'));
  }

  get endsWhenIdle(): boolean {
    return this.#response.headersSent;
  }

  /** An event stream may end at any time; whatever else has begun must look as incomplete as it is. */
  endWithSession(): void {
    if (this.#over || this.#discarding) return;
    const response = this.#response;
    if (!response.headersSent) this.#reject(sessionExpired());
    else if (this.#isEventStream) response.end();
    else breakOff(response);
    this.#leave();
  }

  /** The call is over and its connection free. */
  #release(): void {
    this.#over = true;
    this.#bound.remove(this);
    const lease = this.#lease;
    if (lease === undefined) return;
    this.#lease = undefined;
    lease.waiter = undefined;
    this.#pool.give(lease);
  }

  onRequestUpgrade(_: Dispatcher.DispatchController, __: number, headers: IncomingHttpHeaders, upstream: Duplex): void {
    this.#release();
    const refusal = this.#request.onUpgrade?.(headers, upstream);
    if (refusal === undefined) this.#resolve('upgraded');
    else this.#reject(refusal);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200) {
      this.#inform(status, headers);
      return;
    }
    this.#stopWaiting();
    const kept = this.#decide(status, headers);
    if (kept === undefined) {
      this.#discard(controller);
      return;
    }
    const length = headers['content-length'];
    if (length === undefined) {
      // undici makes a list of a header that stands more than once, whatever the type says.
      this.#isEventStream = /^text\/event-stream/i.test(String(headers['content-type']));
      this.#prepareTrailers(status, headers, kept);
    }
    this.#response.writeHead(status, reasonOf(status, statusText), kept);
    // The first event may be minutes away, and the client waits for the headers. A small body of known length comes
    // along with them.
    if (length === undefined || length.length > 5) sendHead(this.#response);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#discarding) return;
    if (this.#response.write(chunk)) return;
    controller.pause();
    if (this.#heedsDrain) return;
    this.#heedsDrain = true;
    // Once for all chunks of a download, and not at all for a small answer.
    this.#response.on('drain', () => controller.resume());
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.#release();
    if (this.#discarding) return;
    if (this.#passesTrailers) this.#response.addTrailers(trailerFields(trailers));
    this.#response.end();
    this.#resolve('sent');
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#release();
    if (this.#discarding) return;
    if (this.left || this.#response.destroyed) this.#resolve('gone');
    else if (this.#response.headersSent) {
      // The headers alone may not have left, and a client that got nothing at all may call again by itself.
      sendHead(this.#response);
      // Once more round the loop, so that what came before the break has left by then.
      setImmediate(() => {
        breakOff(this.#response);
        this.#reject(upstreamFailure(error, this.#request.limits));
      });
    } else if (this.#mayTryAgain(error)) {
      this.#triedAgain = true;
      this.#over = false;
      this.#interims = 0;
      // Once more round the loop: where one kept connection has ended, others have, and are noticed by then.
      setImmediate(() => this.dispatch());
    } else this.#reject(upstreamFailure(error, this.#request.limits));
  }

  /**
   * Early hints and the like; a client of HTTP/1.0 doesn't know them, nor does Node before 24.19. They can't be held
   * back as a body can: a client that doesn't read gets none.
   */
  #inform(status: number, headers: IncomingHttpHeaders): void {
    if (++this.#interims > maximumInterims) {
      throw new BffError('upstream_unavailable', `The API sent more than ${maximumInterims} interim responses.`);
    }
    const response: InformingResponse = this.#response;
    const isReading = response.socket?.writableNeedDrain === false;
    if (isReading && response.req.httpVersionMinor > 0) response.writeInformation?.(status, interimHeaders(headers));
  }

  /** The caller goes on at once; a body that comes too slowly isn't waited for. */
  #discard(controller: Dispatcher.DispatchController): void {
    this.#discarding = true;
    setTimeout(() => controller.abort(new Error('discarded')), discardMs).unref();
    this.#resolve('discarded');
  }

  /** Trailers come with chunks only, and to those who were told of them or asked for them (RFC 9110 6.5.1). */
  #prepareTrailers(status: number, headers: IncomingHttpHeaders, kept: string[]): void {
    const { req } = this.#response;
    if (req.httpVersionMinor === 0 || req.method === 'HEAD' || status === 204 || status === 304) return;
    const announced = headers.trailer === undefined ? undefined : announcedTrailers(headers.trailer);
    if (announced !== undefined) kept.push('trailer', announced);
    this.#passesTrailers = announced !== undefined || req.headers.te?.includes('trailers') === true;
  }

  /**
   * A kept connection may have ended just when it was used again. Only safe methods go out twice (RFC 9112 9.3.1): of
   * any other nobody knows whether the API did the work.
   */
  #mayTryAgain(error: Error): boolean {
    const { method, body } = this.#request;
    return (
      !this.#triedAgain &&
      (body === null || Buffer.isBuffer(body)) &&
      safeMethods.has(method) &&
      connectionEnded.has(codeOf(error))
    );
  }
}

/** `writeInformation` is missing in older versions of Node, and in the types of this one. */
type InformingResponse = ServerResponse & { writeInformation?(status: number, headers: readonly string[]): void };

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY', 'PROPFIND', 'REPORT', 'SEARCH']);

const connectionEnded = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * As `flushHeaders()`, which however writes header bytes beyond ASCII as UTF-8, and a packet of its own; this one waits
 * for the end of the tick, and a body that came along with the headers leaves with them.
 */
function sendHead(response: ServerResponse): void {
  response.write('', 'latin1');
}

/** The client must see a break. Without chunks the end of the connection ends the body: there only a reset tells. */
function breakOff(response: ServerResponse): void {
  if (response.req.httpVersionMinor === 0) response.socket?.resetAndDestroy();
  else response.destroy();
}

/** The API's own reason phrase, unless it holds what Node refuses to send. */
function reasonOf(status: number, text: string | undefined): string | undefined {
  return text === undefined || text === STATUS_CODES[status] || /^[\t\x20-\x7e]*$/.test(text)
    ? text
    : STATUS_CODES[status];
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : '';
}

/** Names the limit that ran out, or what the API did. */
function upstreamFailure(cause: Error, limits: UpstreamLimits): BffError {
  if (cause instanceof BffError) return cause;
  const code = codeOf(cause);
  const late = lateness(code, limits);
  if (late !== undefined) return new BffError('upstream_timeout', late, { cause });
  if (connectionEnded.has(code)) {
    return new BffError(
      'upstream_unavailable',
      'The API closed the connection before its answer was complete. It may or may not have done what was asked.',
      { cause },
    );
  }
  return code.startsWith('HPE_') || code.startsWith('UND_ERR_')
    ? new BffError('upstream_unavailable', 'The answer of the API is not valid HTTP.', { cause })
    : new BffError('upstream_unavailable', 'The API cannot be reached.', { cause });
}

function lateness(code: string, limits: UpstreamLimits): string | undefined {
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return `The API took no connection within ${limits.connectTimeoutSeconds} seconds (connectTimeoutSeconds).`;
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') {
    return `The API did not begin its answer within ${limits.timeoutSeconds} seconds (timeoutSeconds).`;
  }
  return code === 'UND_ERR_BODY_TIMEOUT'
    ? `The API fell silent for ${limits.idleTimeoutSeconds} seconds amid its answer (idleTimeoutSeconds).`
    : undefined;
}
