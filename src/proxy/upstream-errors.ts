/**
 * How the failure of an upstream becomes an error for the client: which limit ran out, or what the API did. Hides the
 * error codes of undici and Node.
 */
import { BffError } from '../http/errors.ts';

/** How long to wait for an upstream. */
export interface UpstreamLimits {
  /** For a connection. The pool enforces it; here it is named in a message. */
  readonly connectTimeoutSeconds: number;
  /** For the first byte of the response. */
  readonly timeoutSeconds: number;
  /** Between two chunks of the response; 0 is no limit. */
  readonly idleTimeoutSeconds: number;
}

const connectionEndCodes = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Whether the upstream closed or reset the connection. */
export function isConnectionEnd(error: Error): boolean {
  return connectionEndCodes.has(codeOf(error));
}

/** The error for a call whose connection failed. */
export function upstreamError(cause: Error, limits: UpstreamLimits): BffError {
  if (cause instanceof BffError) return cause;
  const code = codeOf(cause);
  const timeout = timeoutMessage(code, limits);
  if (timeout !== undefined) return new BffError('upstream_timeout', timeout, { cause });
  if (connectionEndCodes.has(code)) {
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

/** The error for a call whose own deadline passed, before or after it got a connection. */
export function deadlineError(hasConnection: boolean, limits: UpstreamLimits): BffError {
  const code = hasConnection ? 'UND_ERR_HEADERS_TIMEOUT' : 'UND_ERR_CONNECT_TIMEOUT';
  return new BffError('upstream_timeout', timeoutMessage(code, limits) ?? '');
}

function timeoutMessage(code: string, limits: UpstreamLimits): string | undefined {
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

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : '';
}
