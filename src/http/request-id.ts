/** Request ids, which problems and log lines share. They are unique across processes and cost next to nothing. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const requestId: unique symbol = Symbol('requestId');
type IdentifiedRequest = IncomingMessage & { [requestId]?: string };

/** @returns the request's one id, whichever door it came through; without a request, a new id */
export type RequestIdOf = (request: IdentifiedRequest | undefined) => string;

export function createRequestIds(): RequestIdOf {
  const prefix = randomBytes(6).toString('base64url');
  let count = 0;
  const newId = () => `${prefix}-${(++count).toString(36)}`;
  // A property of the request, because a WeakMap's entry per call costs the garbage collector 3 us.
  return (request) => (request === undefined ? newId() : (request[requestId] ??= newId()));
}
