/**
 * One request to an upstream and its response to the client, streamed both ways through undici's dispatch onto the raw
 * response: nothing is held but what the sockets hold. Back-pressure and aborts pass through in both directions.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { BffError } from '../errors.ts';

export interface UpstreamRequest {
  readonly method: string;
  readonly path: string;
  /** Flat list of names and values. */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
  readonly timeoutMs: number;
}

/**
 * Decides about a response when its status and headers are there.
 * @returns the headers to send to the client as a flat list, or undefined to discard the response
 */
export type Decide = (status: number, headers: IncomingHttpHeaders) => string[] | undefined;

/** `gone`: the client or the upstream broke off after the response had begun; there is nobody to tell. */
export type ForwardOutcome = 'sent' | 'discarded' | 'gone';

/**
 * @param dispatcher the upstream's connections
 * @throws {BffError} `upstream_unavailable` or `upstream_timeout`, if nothing was sent to the client yet
 */
export function forward(
  dispatcher: Dispatcher,
  request: UpstreamRequest,
  response: ServerResponse,
  decide: Decide,
): Promise<ForwardOutcome> {
  return new Promise((resolve, reject) => {
    const exchange = new Exchange(response, decide, resolve, reject);
    dispatcher.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: request.headers,
        body: request.body,
        headersTimeout: request.timeoutMs,
      },
      exchange,
    );
  });
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  readonly #decide: Decide;
  readonly #resolve: (outcome: ForwardOutcome) => void;
  readonly #reject: (error: BffError) => void;
  readonly #onClose: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #discarding = false;
  #clientGone = false;

  constructor(
    response: ServerResponse,
    decide: Decide,
    resolve: (outcome: ForwardOutcome) => void,
    reject: (error: BffError) => void,
  ) {
    this.#response = response;
    this.#decide = decide;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onClose = () => {
      this.#clientGone = true;
      this.#controller?.abort(new ClientGone());
    };
    response.once('close', this.#onClose);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#clientGone) controller.abort(new ClientGone());
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200) return;
    const kept = this.#decide(status, headers);
    if (kept === undefined) {
      this.#discarding = true;
      return;
    }
    this.#response.writeHead(status, statusText, kept);
    // An event stream's first event may be minutes away; the client waits for the headers.
    if (headers['content-length'] === undefined) this.#response.flushHeaders();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#discarding || this.#response.write(chunk)) return;
    controller.pause();
    this.#response.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    this.#response.off('close', this.#onClose);
    if (!this.#discarding) this.#response.end();
    this.#resolve(this.#discarding ? 'discarded' : 'sent');
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#response.off('close', this.#onClose);
    if (this.#discarding) this.#resolve('discarded');
    else if (this.#clientGone) this.#resolve('gone');
    else if (this.#response.headersSent) {
      // A clean end would make the client believe that it has everything.
      this.#response.destroy();
      this.#resolve('gone');
    } else this.#reject(error instanceof BffError ? error : upstreamFailure(error));
  }
}

class ClientGone extends Error {}

const timeouts = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);

function upstreamFailure(cause: Error): BffError {
  const code = 'code' in cause ? String(cause.code) : '';
  return timeouts.has(code)
    ? new BffError('upstream_timeout', 'The API did not answer in time.', { cause })
    : new BffError('upstream_unavailable', 'The API cannot be reached, or broke off its answer.', { cause });
}
