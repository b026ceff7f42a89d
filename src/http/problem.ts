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
import { errorPage, type PageLink } from './pages.ts';

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

export function renderError(error: BffError, request: RequestFacts, config: Config): RenderedProblem {
  const signInUrl = String(error.extensions['loginUrl'] ?? loginUrl(config));
  const { body, headers } = isNavigation(request.headers)
    ? problemPage(error, request.id, signInUrl, config)
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

function problemPage(error: BffError, requestId: string, signInUrl: string, config: Config): ProblemContent {
  const { title, pageTitle = title, message, code, extensions } = error;
  const { inPopup } = error;
  // In a popup the app would open a second time.
  const links: PageLink[] = inPopup ? [] : [{ href: config.home, text: 'Go to the app' }];
  if (signInHelps.has(code) || 'loginUrl' in extensions) links.unshift({ href: signInUrl, text: 'Sign in' });
  // The explanation is for those who set the app up.
  if (isLoopback(new URL(config.origin).hostname)) {
    links.push({ href: typeOf(error, config), text: 'What does this mean?' });
  }
  const popupOf = inPopup ? config.basePath : undefined;
  const page = errorPage({ title: pageTitle, detail: message, code, requestId, links, popupOf });
  return { headers: page.headers, body: page.html };
}
