/**
 * The errors that Sallyport itself answers with: one class and one closed table of codes. `problem.ts` renders them. What
 * an API answers is never rewritten into one of these.
 */

export interface CodeDescription {
  readonly status: number;
  readonly title: string;
  /** For the documentation, in Markdown: when it is sent. */
  readonly when: string;
  /** And what to do. */
  readonly remedy: string;
}

/** The closed table: stable `code` → HTTP status, title and documentation. Programs match the code, people read the title. */
const table = {
  login_required: {
    status: 401,
    title: 'Sign-in required',
    when: 'There is no session.',
    remedy: 'Send the person to `loginUrl`, best by a link or a button.',
  },
  session_expired: {
    status: 401,
    title: 'The session has ended',
    when: 'There was a session; it has ended.',
    remedy:
      "As after `login_required`. `session.lifetimeSeconds` and the provider's own limits set how long a " +
      'session lasts.',
  },
  step_up_required: {
    status: 401,
    title: 'A stronger or fresher sign-in is required',
    when:
      'The API, or `require` of the route, asks for a stronger or fresher sign-in (RFC 9470): one of `acrValues`, at most ' +
      '`maxAge` seconds ago. `loginUrl` has both as parameters.',
    remedy: 'Offer the person `loginUrl`, then repeat the call.',
  },
  repeat_required: {
    status: 401,
    title: 'Repeat the request',
    when: 'The token was refreshed, or the API gave a new nonce for its proofs (DPoP), but the request body was too large to be sent twice.',
    remedy: 'Repeat the call. `replayBytes` says how much of a body is kept to repeat it here.',
  },
  navigation_required: {
    status: 401,
    title: 'Navigate the browser to this address',
    when: 'A script called the login.',
    remedy: 'Send the browser to `loginUrl` with `location.assign` or a link; a fetch cannot sign anybody in.',
  },
  request_forbidden: {
    status: 403,
    title: 'Request refused',
    when: "The call does not come from the app's own origin.",
    remedy:
      'Call from a page of the app itself. A program that is no browser sends `X-CSRF: 1`. If the app is ' +
      'open under another address than the configured origin, correct `SALLYPORT_ORIGIN` or the address.',
  },
  access_denied: {
    status: 403,
    title: 'Access denied',
    when:
      '`require` of the route refuses the call, and `missing` names what the person lacks; or the provider grants the ' +
      'session no token for this API, and `detail` says so. Nothing has reached the API.',
    remedy:
      'Do not offer what the person may not do, or have the provider give them the scope or role. After a change there, ' +
      '`POST /bff/refresh` brings the new ones.',
  },
  request_invalid: {
    status: 400,
    title: 'Invalid request',
    when: 'The request cannot be passed on safely, or the endpoint cannot be called this way; `detail` says why.',
    remedy: 'Correct what `detail` names. For paths with encoded slashes there is `allowEncodedSlashes`.',
  },
  login_transaction_invalid: {
    status: 400,
    title: 'This sign-in cannot be completed',
    when: 'The sign-in was completed before, took too long, or began in another browser.',
    remedy:
      'Sign in again. If it happens each time: the sign-in must end on the origin on which it began, and ' +
      'the browser must take cookies.',
  },
  return_to_invalid: {
    status: 400,
    title: 'Invalid returnTo',
    when: '`returnTo` is not a path on this origin.',
    remedy: 'Give a path such as `/orders?month=5`, encoded with `encodeURIComponent`.',
  },
  logout_sid_invalid: {
    status: 400,
    title: 'Invalid sign-out link',
    when: 'The sign-out link belongs to another session.',
    remedy: 'Use `logoutUrl` of `/bff/session` as it is, and ask for it anew after a sign-in.',
  },
  authorization_failed: {
    status: 403,
    title: 'Sign-in failed',
    when: 'The provider refused the sign-in, its ID token failed a check, or the sign-in is weaker or older than was asked for.',
    remedy:
      "The log line `login.failed` has the provider's reason, and `sallyport check` looks for faults of the configuration.",
  },
  provider_unavailable: {
    status: 503,
    title: 'The identity provider is unavailable',
    when: 'The provider cannot be reached, refuses this client, or does not fit the configuration; `detail` says which. The session stays.',
    remedy: 'Repeat the call after `Retry-After`. The log has the cause, and `sallyport check` tries the provider.',
  },
  store_unavailable: {
    status: 503,
    title: 'The session store is unavailable',
    when: 'The session store cannot be reached. The session stays.',
    remedy: 'Look whether Redis or Valkey runs at `SALLYPORT_REDIS_URL`. Repeat the call after `Retry-After`.',
  },
  upstream_unavailable: {
    status: 502,
    title: 'The upstream server is unavailable',
    when:
      'The API, the dev server, or what decides about calls (`require.opa`) cannot be reached, or its connection broke ' +
      'before it answered.',
    remedy:
      "Look whether the API runs at the route's target (`SALLYPORT_API`), or the dev server at " +
      '`SALLYPORT_SPA`. The log has the cause.',
  },
  upstream_timeout: {
    status: 504,
    title: 'The upstream server did not answer in time',
    when: 'The API, or the dev server, did not answer in time.',
    remedy: 'Raise the limit that `detail` names. The API may have done what was asked.',
  },
  route_not_found: {
    status: 404,
    title: 'Not found',
    when: 'No endpoint, API route or page has this path.',
    remedy: "Correct the path. Routes are in `SALLYPORT_API`, Sallyport's own endpoints below `/bff`.",
  },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed',
    when: 'The endpoint or route does not take this method. `Allow` lists those that it takes.',
    remedy: "Use one of these, or list the method in the route's `methods`.",
  },
  body_too_large: {
    status: 413,
    title: 'Request body too large',
    when: 'The request body exceeds `maxBodyBytes`.',
    remedy: 'Send less, or raise `maxBodyBytes` of the route.',
  },
  too_many_requests: {
    status: 429,
    title: 'Too many requests',
    when: 'The route has `maxConcurrent` calls in flight, or a hundred front-channel sign-outs wait for the store.',
    remedy: 'Repeat the call later, or raise `maxConcurrent` of the route.',
  },
  internal_error: {
    status: 500,
    title: 'Internal error',
    when: 'A fault of Sallyport. The log has it under the request id.',
    remedy: 'Report it, with what the log says.',
  },
} as const satisfies Record<string, CodeDescription>;

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

/** What the documentation says of a code. */
export function describeCode(code: ErrorCode): CodeDescription {
  return table[code];
}

/**
 * Words of pages that belong to no code alone: that the sign-in is set up wrongly, so that waiting does not help, and that
 * it was a weaker or older one than was asked for, so that another one does not help either.
 */
export type PageWording = 'setup' | 'sign_in_too_weak';

/** The value of a problem's member, as JSON has it. */
export type ProblemValue =
  string | number | boolean | readonly ProblemValue[] | { readonly [member: string]: ProblemValue };

export interface BffErrorOptions {
  /** What went wrong underneath; logged, never sent. */
  readonly cause?: unknown;
  /** Response headers, in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Further members of the problem, e.g. `loginUrl`. Must hold nothing secret. */
  readonly extensions?: Readonly<Record<string, ProblemValue>>;
  /**
   * What a page says where the code's words would mislead a person. In problem details the title stays that of the code
   * (RFC 9457 3.1.3).
   */
  readonly pageWording?: PageWording | undefined;
  /** Whether it ends a login in a popup, whose page tells the app's tabs. Default: no. */
  readonly inPopup?: boolean;
  /** The name that the page behind the popup has given itself. */
  readonly popup?: string | undefined;
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
  readonly extensions: Readonly<Record<string, ProblemValue>>;
  readonly pageWording: PageWording | undefined;
  readonly inPopup: boolean;
  readonly popup: string | undefined;

  constructor(code: ErrorCode, detail: string, options: BffErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BffError';
    this.code = code;
    this.status = table[code].status;
    this.headers = options.headers ?? {};
    this.extensions = options.extensions ?? {};
    this.pageWording = options.pageWording;
    this.inPopup = options.inPopup ?? false;
    this.popup = options.popup;
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

/** The same error with more to it. */
export function amendError(error: BffError, more: Pick<BffErrorOptions, 'extensions' | 'inPopup' | 'popup'>): BffError {
  const { code, message, cause, headers, pageWording } = error;
  const extensions = { ...error.extensions, ...more.extensions };
  return new BffError(code, message, {
    cause,
    headers,
    pageWording,
    extensions,
    inPopup: more.inPopup ?? error.inPopup,
    popup: more.popup ?? error.popup,
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
