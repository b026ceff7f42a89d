/**
 * A request's body on its way upstream: buffered while it is small, so that the call can be replayed, else streamed. Hides
 * how a body is framed (RFC 9112 6) and where its size is limited.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { BffError } from '../http/errors.ts';
import { bodyTaken, isBodyTaken } from '../http/unread-body.ts';

export interface RequestBody {
  readonly content: Buffer | Readable | null;
  /** For `Content-Length`; undefined for a body of unknown length. */
  readonly length: number | undefined;
  readonly replayable: boolean;
}

export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly replayBytes: number;
}

/** The body of a call that has none. */
export const noBody: RequestBody = { content: null, length: undefined, replayable: true };

/** Whether a body follows (RFC 9112 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/**
 * Drops trailers of a request: no browser sends any, and undici can't (RFC 9112 7.1.2 allows it).
 * @throws {BffError} `body_too_large`, `request_invalid`; `internal_error` where another part of the program reads the body
 * @returns undefined when the client disconnects before its body has arrived
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limits: BodyLimits,
): RequestBody | Promise<RequestBody | undefined> {
  if (!hasBody(request)) return noBody;
  if (isBodyTaken(request)) throw bodyTaken();
  requireChunkedFraming(request);
  const declared = request.headers['content-length'];
  const length = declared === undefined ? undefined : Number(declared);
  if (limits.maxBodyBytes > 0 && (length ?? 0) > limits.maxBodyBytes) {
    readOff(request);
    throw tooLarge(limits);
  }
  // Not earlier: a client that asked first (RFC 9110 10.1.1) must not send a body whose call is rejected.
  if (request.headers.expect !== undefined) response.writeContinue();
  if (length !== undefined && length > limits.replayBytes) {
    return { content: new StreamedBody(request, limits), length, replayable: false };
  }
  return new BodyBuffer(request, limits, length).body;
}

/**
 * A body that is streamed, whatever its size; null if the request has none.
 * @throws {BffError} `internal_error` where another part of the program reads the body
 */
export function streamBody(request: IncomingMessage): Readable | null {
  if (hasBody(request) && isBodyTaken(request)) throw bodyTaken();
  return hasBody(request) ? new StreamedBody(request, { maxBodyBytes: 0 }) : null;
}

/**
 * Node decodes chunks and no other transfer coding. A body in a further coding, or in chunks from a client of HTTP/1.0,
 * would leave with other bounds than it arrived with (RFC 9112 6.1): that is how requests are smuggled.
 */
function requireChunkedFraming({ headers, httpVersionMinor }: IncomingMessage): void {
  const coding = headers['transfer-encoding'];
  if (coding === undefined || (coding.toLowerCase() === 'chunked' && httpVersionMinor > 0)) return;
  throw new BffError('request_invalid', 'The only transfer coding is "chunked", and it needs HTTP/1.1.', {
    headers: { connection: 'close' },
  });
}

/** For a call that is answered without its body: reads off what is left of it. */
export function discardRest({ content }: RequestBody): void {
  if (content instanceof Readable) content.destroy();
}

/** A body of unknown length that takes longer is treated as a stream, whose first bytes the API waits for. */
const bufferTimeoutMs = 1000;

/** Buffers a body up to the replay limit. A body that turns out larger, or takes long, is put back and streamed. */
class BodyBuffer {
  /** Undefined when the client disconnects first. */
  readonly body: Promise<RequestBody | undefined>;
  readonly #request: IncomingMessage;
  readonly #limits: BodyLimits;
  readonly #length: number | undefined;
  readonly #resolve: (body: RequestBody | undefined) => void;
  readonly #reject: (error: BffError) => void;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  constructor(request: IncomingMessage, limits: BodyLimits, length: number | undefined) {
    const { promise, resolve, reject } = Promise.withResolvers<RequestBody | undefined>();
    this.body = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#request = request;
    this.#limits = limits;
    this.#length = length;
    this.#timer = length === undefined ? setTimeout(() => this.#stream(), bufferTimeoutMs) : undefined;
    request.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onAbort).on('close', this.#onAbort);
  }

  readonly #onData = (chunk: Buffer): void => {
    const { maxBodyBytes, replayBytes } = this.#limits;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (maxBodyBytes > 0 && this.#size > maxBodyBytes) {
      this.#settle();
      readOff(this.#request);
      this.#reject(tooLarge(this.#limits));
    } else if (this.#size > replayBytes) this.#stream();
  };

  readonly #onEnd = (): void => {
    this.#settle();
    const [first = null] = this.#chunks;
    const content = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#resolve({ content, length: this.#size, replayable: true });
  };

  readonly #onAbort = (): void => {
    this.#settle();
    this.#resolve(undefined);
  };

  #stream(): void {
    this.#settle();
    this.#request.pause();
    if (this.#size > 0) this.#request.unshift(Buffer.concat(this.#chunks));
    const content = new StreamedBody(this.#request, this.#limits);
    this.#resolve({ content, length: this.#length, replayable: false });
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#request
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('error', this.#onAbort)
      .off('close', this.#onAbort);
  }
}

/**
 * A streamed body. Not the request itself: undici destroys the body when a response arrives early, and a destroyed request
 * would close the connection on which the client reads that response. Counts bytes, because a body of unknown length
 * shows its size only at the end.
 */
class StreamedBody extends Readable {
  readonly #request: IncomingMessage;
  readonly #onData: (chunk: Buffer) => void;
  #size = 0;

  constructor(request: IncomingMessage, { maxBodyBytes }: Pick<BodyLimits, 'maxBodyBytes'>) {
    super();
    this.#request = request;
    // The upstream reads the body only after the token is refreshed. A client that disconnects earlier destroys it
    // while nothing else listens, and an 'error' without a listener ends the process.
    this.on('error', () => undefined);
    this.#onData = (chunk) => {
      this.#size += chunk.length;
      if (maxBodyBytes > 0 && this.#size > maxBodyBytes) this.destroy(tooLarge({ maxBodyBytes }));
      else if (!this.push(chunk)) request.pause();
    };
    request.on('data', this.#onData).pause();
    request.once('end', () => this.push(null));
    request.once('error', (error) => this.destroy(error));
    // A close without an end or an error is how Node reports an abort of a request that nobody reads.
    request.once('close', () => request.complete || this.destroy(new Error('aborted')));
  }

  override _read(): void {
    this.#request.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#request.off('data', this.#onData);
    if (!this.#request.complete) readOff(this.#request);
    callback(error);
  }
}

/** As nginx's `lingering_time`. */
const lingerMs = 30_000;

/**
 * Reads the rest of a body that is not used. Most clients read a response only after they have sent everything; closing
 * the connection at once would lose it. A client that sends for longer is cut off.
 */
function readOff(request: IncomingMessage): void {
  request.resume();
  const { socket } = request;
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
  request.once('close', () => clearTimeout(timer));
}

function tooLarge({ maxBodyBytes }: Pick<BodyLimits, 'maxBodyBytes'>): BffError {
  return new BffError(
    'body_too_large',
    `The request body is larger than the ${maxBodyBytes} bytes that this route takes (maxBodyBytes).`,
  );
}
