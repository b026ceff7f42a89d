/** A request's body on its way upstream: kept whole while it is small, so that the call can be replayed, else streamed. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { BffError } from '../http/errors.ts';

export interface RequestBody {
  readonly content: Buffer | Readable | null;
  /** The length to declare; undefined for a body of unknown length. */
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
 * Trailers of a request are not forwarded: no browser sends any, and undici can't (RFC 9112 7.1.2 allows it).
 * @throws {BffError} `body_too_large`, `request_invalid`
 * @returns undefined when the client went away before its body was there
 */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limits: BodyLimits,
): RequestBody | Promise<RequestBody | undefined> {
  if (!hasBody(request)) return noBody;
  requireChunkedFraming(request);
  const declared = request.headers['content-length'];
  const length = declared === undefined ? undefined : Number(declared);
  if (limits.maxBodyBytes > 0 && (length ?? 0) > limits.maxBodyBytes) {
    drain(request);
    throw tooLarge(limits);
  }
  // Only now is the body wanted: who asked first (RFC 9110 10.1.1) and was refused has not sent it.
  if (request.headers.expect !== undefined) response.writeContinue();
  if (length !== undefined && length > limits.replayBytes) {
    return { content: new StreamedBody(request, limits), length, replayable: false };
  }
  return collect(request, limits, length);
}

/** A body that is streamed in any case; null where none follows. */
export function streamBody(request: IncomingMessage): Readable | null {
  return hasBody(request) ? new StreamedBody(request, { maxBodyBytes: 0 }) : null;
}

/**
 * Node takes off the chunks alone. A body in any further transfer coding, or chunks from a client of HTTP/1.0, would
 * leave here with other bounds than it came with (RFC 9112 6.1): that is how requests are smuggled.
 */
function requireChunkedFraming({ headers, httpVersionMinor }: IncomingMessage): void {
  const coding = headers['transfer-encoding'];
  if (coding === undefined || (coding.toLowerCase() === 'chunked' && httpVersionMinor > 0)) return;
  throw new BffError('request_invalid', 'The only transfer coding is "chunked", and it needs HTTP/1.1.', {
    headers: { connection: 'close' },
  });
}

/** For a call that is answered without its body: what is left of it is read and forgotten. */
export function discardRest({ content }: RequestBody): void {
  if (content instanceof Readable) content.destroy();
}

/** A body of unknown length that isn't whole by then is taken for a stream, whose first bytes the API waits for. */
const patienceMs = 1000;

/** Reads up to the replay limit; what turns out larger, or to take long, is put back and streamed. */
function collect(
  request: IncomingMessage,
  limits: BodyLimits,
  length: number | undefined,
): Promise<RequestBody | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stream = () => {
      settle();
      request.pause();
      if (size > 0) request.unshift(Buffer.concat(chunks));
      resolve({ content: new StreamedBody(request, limits), length, replayable: false });
    };
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (limits.maxBodyBytes > 0 && size > limits.maxBodyBytes) {
        settle();
        drain(request);
        reject(tooLarge(limits));
      } else if (size > limits.replayBytes) stream();
    };
    const onEnd = () => {
      settle();
      resolve({
        content: chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks),
        length: size,
        replayable: true,
      });
    };
    const onGone = () => {
      settle();
      resolve(undefined);
    };
    const timer = length === undefined ? setTimeout(stream, patienceMs) : undefined;
    const settle = () => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    };
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

/**
 * A body that is streamed. Not the request itself: undici destroys a body whose answer came early, and a destroyed
 * request would hold up the connection on which the client is to read that answer. Counts what comes, for only the end
 * of a body of unknown length would tell that it is too large.
 */
class StreamedBody extends Readable {
  readonly #request: IncomingMessage;
  readonly #onData: (chunk: Buffer) => void;
  #size = 0;

  constructor(request: IncomingMessage, { maxBodyBytes }: Pick<BodyLimits, 'maxBodyBytes'>) {
    super();
    this.#request = request;
    // The upstream takes the body only after the token was refreshed. A client that leaves before destroys it while
    // nobody else listens, and an 'error' without a listener ends the process.
    this.on('error', () => undefined);
    this.#onData = (chunk) => {
      this.#size += chunk.length;
      if (maxBodyBytes > 0 && this.#size > maxBodyBytes) this.destroy(tooLarge({ maxBodyBytes }));
      else if (!this.push(chunk)) request.pause();
    };
    request.on('data', this.#onData).pause();
    request.once('end', () => this.push(null));
    request.once('error', (error) => this.destroy(error));
    // A close without an end or an error: Node reports an abort so where nobody read the request.
    request.once('close', () => request.complete || this.destroy(new Error('aborted')));
  }

  override _read(): void {
    this.#request.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#request.off('data', this.#onData);
    if (!this.#request.complete) drain(this.#request);
    callback(error);
  }
}

/** As nginx's `lingering_time`. */
const drainMs = 30_000;

/**
 * Reads the rest of a body that nobody wants any more, for most clients read an answer only when they have sent all;
 * closing the connection at once would take the answer from them. Those with very much to send are cut off.
 */
function drain(request: IncomingMessage): void {
  request.resume();
  const { socket } = request;
  const timer = setTimeout(() => socket.destroy(), drainMs).unref();
  request.once('close', () => clearTimeout(timer));
}

function tooLarge({ maxBodyBytes }: Pick<BodyLimits, 'maxBodyBytes'>): BffError {
  return new BffError(
    'body_too_large',
    `The request body is larger than the ${maxBodyBytes} bytes that this route takes (maxBodyBytes).`,
  );
}
