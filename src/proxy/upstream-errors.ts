/**
 * How the failure of an upstream becomes an error for the client: which limit ran out, or what the API did. Hides the
 * error codes of undici and Node.
 */
import { BffError, codeOf } from '../http/errors.ts';
import { isConnectionEnd } from '../upstream/connection-end.ts';

/** How long to wait for an upstream, and what to call it. */
export interface UpstreamLimits {
  /** In messages, with what to do if it cannot be reached. Absent: the API. */
  readonly peer?: { readonly name: string; readonly remedy: string };
  /** For a connection. The pool enforces it; here it is named in a message. */
  readonly connectTimeoutSeconds: number;
  /** For the first byte of the response. */
  readonly timeoutSeconds: number;
  /** Between two chunks of the response; 0 is no limit. */
  readonly idleTimeoutSeconds: number;
}

/** The error for a call whose connection failed. */
export function upstreamError(cause: Error, limits: UpstreamLimits): BffError {
  if (cause instanceof BffError) return cause;
  const code = codeOf(cause);
  const name = nameOf(limits);
  const timeout = timeoutMessage(code, limits);
  if (timeout !== undefined) return new BffError('upstream_timeout', timeout, { cause });
  if (isConnectionEnd(cause)) {
    return new BffError(
      'upstream_unavailable',
      `${name} closed the connection before its answer was complete. It may or may not have done what was asked.`,
      { cause },
    );
  }
  // undici's parser gives its errors a name and, in most cases, no code.
  if (cause.name === 'HTTPParserError' || code.startsWith('UND_ERR_')) {
    return new BffError('upstream_unavailable', `${name} sent an answer that is not valid HTTP.`, { cause });
  }
  const remedy = limits.peer === undefined ? '' : ` ${limits.peer.remedy}`;
  return new BffError('upstream_unavailable', `${name} cannot be reached.${remedy}`, { cause });
}

function nameOf({ peer }: UpstreamLimits): string {
  return peer?.name ?? 'The API';
}

/** The error for a call whose own deadline passed, before or after it got a connection. */
export function deadlineError(hasConnection: boolean, limits: UpstreamLimits): BffError {
  const code = hasConnection ? 'UND_ERR_HEADERS_TIMEOUT' : 'UND_ERR_CONNECT_TIMEOUT';
  return new BffError('upstream_timeout', timeoutMessage(code, limits) ?? '');
}

function timeoutMessage(code: string, limits: UpstreamLimits): string | undefined {
  const name = nameOf(limits);
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return `${name} took no connection within ${told('connectTimeoutSeconds')}.`;
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return `${name} did not begin its answer within ${told('timeoutSeconds')}.`;
  return code === 'UND_ERR_BODY_TIMEOUT'
    ? `${name} fell silent for ${told('idleTimeoutSeconds')} amid its answer.`
    : undefined;

  /** With the option that sets the limit, which those of other servers have none of. */
  function told(limit: 'connectTimeoutSeconds' | 'timeoutSeconds' | 'idleTimeoutSeconds'): string {
    return `${limits[limit]} seconds${limits.peer === undefined ? ` (${limit})` : ''}`;
  }
}
