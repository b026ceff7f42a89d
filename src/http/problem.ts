/** How a failure is told: a page to a person who navigates, problem details (RFC 9457) to a program. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError, renderProblem, type ErrorCode, type RenderedProblem } from './errors.ts';
import { isNavigation } from './navigation.ts';
import { errorPage, type PageLink } from './pages.ts';

/** After these, the way on is to sign in (again). */
const signInHelps = new Set<ErrorCode>([
  ...(['login_required', 'session_expired', 'step_up_required', 'navigation_required'] as const),
  ...(['login_transaction_invalid', 'authorization_failed'] as const),
]);

/** @param headers the request's */
export function renderError(
  error: BffError,
  request: { readonly headers: IncomingHttpHeaders; readonly id: string },
  config: Config,
): RenderedProblem {
  const loginUrl = String(error.extensions['loginUrl'] ?? `${config.basePath}/login`);
  if (!isNavigation(request.headers)) {
    const told = error.status === 401 ? withExtension(error, { loginUrl }) : error;
    return renderProblem(told, request.id);
  }
  const home: PageLink = { href: '/', text: 'Go to the app' };
  const page = errorPage({
    title: error.title,
    detail: error.message,
    code: error.code,
    requestId: request.id,
    links: signInHelps.has(error.code) ? [{ href: loginUrl, text: 'Sign in' }, home] : [home],
  });
  return {
    status: error.status,
    headers: {
      ...page.headers,
      'content-length': String(Buffer.byteLength(page.html)),
      ...(error.status === 401 ? { 'www-authenticate': 'Sallyport' } : {}),
      ...error.headers,
    },
    body: page.html,
  };
}

function withExtension(error: BffError, extensions: Readonly<Record<string, string>>): BffError {
  return new BffError(error.code, error.message, {
    cause: error.cause,
    headers: error.headers,
    extensions: { ...error.extensions, ...extensions },
  });
}
