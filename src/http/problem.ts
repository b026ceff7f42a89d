/**
 * How an error is sent: as a page to a person who navigates, as problem details (RFC 9457) to a program. The words of
 * the code: an error is thrown, a problem is sent, a fault is in a configuration, a rejection is an API's 401.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { isLoopback } from '../config/rules.ts';
import type { BffError, ErrorCode } from './errors.ts';
import { loginUrl } from './login-url.ts';
import { isNavigation } from './navigation.ts';
import type { PagesFor } from './pages.ts';

/** Ready for a raw response as well as for a `Response`. */
export interface RenderedProblem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the rendering depends on, beside the error: the request's headers, and its id. */
export interface RequestFacts {
  readonly headers: IncomingHttpHeaders;
  readonly id: string;
}

/** What every error needs: the configuration, and the pages that follow from it. */
export interface ErrorSurroundings {
  readonly config: Config;
  readonly pages: PagesFor;
}

export function renderError(
  error: BffError,
  request: RequestFacts,
  { config, pages }: ErrorSurroundings,
): RenderedProblem {
  const { loginUrl: given } = error.extensions;
  const signInUrl = typeof given === 'string' ? given : loginUrl(config);
  const { body, headers } = isNavigation(request.headers)
    ? problemPage(error, request, signInUrl, { config, pages })
    : problemBody(error, request.id, typeOf(error, config), error.status === 401 ? { loginUrl: signInUrl } : {});
  return {
    status: error.status,
    headers: {
      ...headers,
      'content-length': String(Buffer.byteLength(body)),
      ...(error.status === 401 ? { 'www-authenticate': 'Sallyport' } : {}),
      ...error.headers,
    },
    body,
  };
}

type ProblemContent = Pick<RenderedProblem, 'headers' | 'body'>;

const problemHeaders = {
  'content-type': 'application/problem+json',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/**
 * Where the code is explained. By default that is a relative reference with the whole path, which RFC 9457 3.1.1 allows,
 * because it leads to the page of this very version, under whatever origin a person opens it.
 */
function typeOf({ code }: BffError, { errorDocs }: Config): string {
  return `${errorDocs}#${code}`;
}

/** Problem details (RFC 9457 3.1); the request's id becomes `instance`. */
function problemBody(
  error: BffError,
  id: string,
  type: string,
  extensions: Readonly<Record<string, string>>,
): ProblemContent {
  const { title, status, message: detail, code } = error;
  const members = { type, title, status, detail, instance: id, code };
  return { headers: problemHeaders, body: JSON.stringify({ ...members, ...error.extensions, ...extensions }) };
}

/** After these, the way on is to sign in (again). */
const signInHelps: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'login_required',
  'session_expired',
  'step_up_required',
  'navigation_required',
  'login_transaction_invalid',
  'authorization_failed',
]);

function problemPage(
  error: BffError,
  { headers: asked, id }: RequestFacts,
  signInUrl: string,
  { config, pages }: ErrorSurroundings,
): ProblemContent {
  const helps = signInHelps.has(error.code) && error.pageWording !== 'sign_in_too_weak';
  const { headers, html } = pages(asked).error(error, id, {
    signIn: helps || 'loginUrl' in error.extensions ? signInUrl : undefined,
    // In a popup the app would open a second time.
    app: error.inPopup ? undefined : config.home,
    // It is for those who set the app up.
    explanation: isLoopback(new URL(config.origin).hostname) ? typeOf(error, config) : undefined,
  });
  return { headers, body: html };
}
