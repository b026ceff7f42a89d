/** What happens to an error that ends a request: it is reported with the request's id, and sent if that is possible. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { asBffError, type BffError } from './errors.ts';
import { renderError, type ErrorSurroundings, type RenderedProblem } from './problem.ts';
import type { RequestIdOf } from './request-id.ts';

/**
 * Called for each error that Sallyport answers with, so that the server can log it; domain events do not cover these.
 * @param request undefined if the error belongs to no request
 */
export type ErrorListener = (error: BffError, requestId: string, request: IncomingMessage | undefined) => void;

export type ErrorResponder = ReturnType<typeof createErrorResponder>;

export function createErrorResponder(
  surroundings: ErrorSurroundings,
  { requestIdOf, onError }: { readonly requestIdOf: RequestIdOf; readonly onError: ErrorListener },
) {
  /** Reports an error that can't be sent. */
  function report(error: unknown, request?: IncomingMessage): void {
    onError(asBffError(error), requestIdOf(request), request);
  }

  /** Reports an error and renders it. @param request undefined under Hono's `app.request()` */
  function render(
    error: unknown,
    request: IncomingMessage | undefined,
    headers: IncomingHttpHeaders = request?.headers ?? {},
  ): RenderedProblem {
    const converted = asBffError(error);
    const id = requestIdOf(request);
    onError(converted, id, request);
    return renderError(converted, { headers, id }, surroundings);
  }

  /** Reports an error and answers with it; a response that has begun is broken off, so that the client sees the error. */
  function send(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    if (response.headersSent) {
      response.destroy();
      report(error, request);
      return;
    }
    const { status, headers, body } = render(error, request);
    response.writeHead(status, headers).end(body);
  }

  return { report, render, send };
}
