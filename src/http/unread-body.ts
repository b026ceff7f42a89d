/**
 * A request's body is read once. Where Sallyport is a part of another program, a body parser or a middleware before it may
 * have read the body already; the call would then wait for bytes that never come.
 */
import type { IncomingMessage } from 'node:http';
import { BffError } from './errors.ts';

/** Whether the body has been read, or somebody else is reading it. */
export function isBodyTaken({ readableDidRead, readableFlowing }: IncomingMessage): boolean {
  return readableDidRead || readableFlowing !== null;
}

/** A fault of the program, so a 500; the detail tells its developers what to change. */
export function bodyTaken(cause?: unknown): BffError {
  return new BffError(
    'internal_error',
    'The body of this request was read before Sallyport got the request: by a body parser such as express.json(), or by ' +
      'a middleware. Put Sallyport before it, or keep it to the paths of your own.',
    { cause },
  );
}
