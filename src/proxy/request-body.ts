/** A request's body on its way upstream: kept whole while it is small, so that the call can be replayed, else streamed. */
import type { IncomingMessage } from 'node:http';
import { Transform } from 'node:stream';
import { BffError } from '../errors.ts';

export interface RequestBody {
  readonly content: Buffer | IncomingMessage | Transform | null;
  /** The length to declare; undefined for a body of unknown length. */
  readonly length: number | undefined;
  readonly replayable: boolean;
}

export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly replayBytes: number;
}

const none: RequestBody = { content: null, length: undefined, replayable: true };

/** Whether a body follows (RFC 9112 6.3). */
export function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/**
 * @throws {BffError} `body_too_large`
 * @returns undefined when the client went away before its body was there
 */
export function takeBody(request: IncomingMessage, limits: BodyLimits): RequestBody | Promise<RequestBody | undefined> {
  if (!hasBody(request)) return none;
  const declared = request.headers['content-length'];
  const length = declared === undefined ? undefined : Number(declared);
  if (limits.maxBodyBytes > 0 && (length ?? 0) > limits.maxBodyBytes) throw tooLarge(limits);
  if (length !== undefined && length > limits.replayBytes) return { content: request, length, replayable: false };
  return collect(request, limits);
}

/** Reads up to the replay limit; what turns out larger is put back and streamed. */
function collect(request: IncomingMessage, limits: BodyLimits): Promise<RequestBody | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= limits.replayBytes) return;
      settle();
      request.pause();
      request.unshift(Buffer.concat(chunks));
      resolve({ content: limited(request, limits), length: undefined, replayable: false });
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
    const settle = () => request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  });
}

/** Counts a body of unknown length, for only its end would tell that it is too large. */
function limited(request: IncomingMessage, limits: BodyLimits): IncomingMessage | Transform {
  if (limits.maxBodyBytes === 0) return request;
  let size = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _, callback) {
      size += chunk.length;
      if (size > limits.maxBodyBytes) callback(tooLarge(limits));
      else callback(null, chunk);
    },
  });
  request.once('error', (error) => counter.destroy(error));
  return request.pipe(counter);
}

function tooLarge({ maxBodyBytes }: BodyLimits): BffError {
  return new BffError(
    'body_too_large',
    `The request body is larger than the ${maxBodyBytes} bytes that this route takes.`,
  );
}
