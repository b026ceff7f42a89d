/**
 * The errors that Sallyport itself answers with: one class and one closed table of codes. `problem.ts` renders them. What
 * an API answers is never rewritten into one of these.
 */

/** The closed table: stable `code` → HTTP status and title. Programs match the code, people read the title. */
const table = {
  login_required: { status: 401, title: 'Sign-in required' },
  session_expired: { status: 401, title: 'The session has ended' },
  step_up_required: { status: 401, title: 'A stronger or fresher sign-in is required' },
  repeat_required: { status: 401, title: 'Repeat the request' },
  navigation_required: { status: 401, title: 'Navigate the browser to this address' },
  request_forbidden: { status: 403, title: 'Request refused' },
  request_invalid: { status: 400, title: 'Invalid request' },
  login_transaction_invalid: { status: 400, title: 'This sign-in cannot be completed' },
  return_to_invalid: { status: 400, title: 'Invalid returnTo' },
  logout_sid_invalid: { status: 400, title: 'Invalid sign-out link' },
  authorization_failed: { status: 403, title: 'Sign-in failed' },
  provider_unavailable: { status: 503, title: 'The identity provider is unavailable' },
  store_unavailable: { status: 503, title: 'The session store is unavailable' },
  upstream_unavailable: { status: 502, title: 'The API is unavailable' },
  upstream_timeout: { status: 504, title: 'The API did not answer in time' },
  route_not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  body_too_large: { status: 413, title: 'Request body too large' },
  too_many_requests: { status: 429, title: 'Too many requests' },
  internal_error: { status: 500, title: 'Internal error' },
} as const satisfies Record<string, { status: number; title: string }>;

/**
 * The stable code of an error, one of a closed table.
 *
 * @example
 * ```ts
 * import type { ErrorCode } from 'sallyport';
 *
 * const needSignIn: readonly ErrorCode[] = ['login_required', 'session_expired'];
 *
 * export function needsSignIn(code: ErrorCode): boolean {
 *   return needSignIn.includes(code);
 * }
 * ```
 */
export type ErrorCode = keyof typeof table;

/**
 * All codes.
 *
 * @example
 * ```ts
 * import { errorCodes, type ErrorCode } from 'sallyport';
 *
 * export function isErrorCode(text: string): text is ErrorCode {
 *   return (errorCodes as readonly string[]).includes(text);
 * }
 * ```
 */
export const errorCodes = Object.keys(table) as readonly ErrorCode[];

export interface BffErrorOptions {
  /** What went wrong underneath; logged, never sent. */
  readonly cause?: unknown;
  /** Response headers, in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the problem, e.g. `loginUrl`. Must hold nothing secret. */
  readonly extensions?: Readonly<Record<string, string | number>>;
}

/**
 * An error with a stable {@link ErrorCode}. `message` becomes the problem's `detail`: it must hold nothing secret.
 *
 * @example
 * ```ts
 * import { BffError } from 'sallyport';
 *
 * export function isOutage(error: unknown): boolean {
 *   return error instanceof BffError && error.status === 503;
 * }
 * ```
 */
export class BffError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly extensions: Readonly<Record<string, string | number>>;

  constructor(code: ErrorCode, detail: string, options: BffErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BffError';
    this.code = code;
    this.status = table[code].status;
    this.headers = options.headers ?? {};
    this.extensions = options.extensions ?? {};
  }

  get title(): string {
    return table[this.code].title;
  }
}

/** Anything thrown, as a {@link BffError}: what isn't one becomes `internal_error` and keeps its cause. */
export function asBffError(error: unknown): BffError {
  return error instanceof BffError
    ? error
    : new BffError('internal_error', 'Something went wrong here. The request id helps to find it in the log.', {
        cause: error,
      });
}

/** The `code` of an error of Node or a library; '' if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** How long a client should wait if the outage has no known length. */
export const defaultRetrySeconds = 2;

/** The header that names the seconds after which the client may try again (RFC 9110 10.2.3). */
export function retryAfter(seconds: number = defaultRetrySeconds): { readonly 'retry-after': string } {
  return { 'retry-after': String(seconds) };
}
