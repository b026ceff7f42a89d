/** What all endpoints share: their dependencies, and how they read requests and write responses. */
import type { Context } from 'hono';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { Provider } from '../oidc/provider.ts';
import { BffError } from '../http/errors.ts';
import type { Page } from '../http/pages.ts';
import type { LogoutReturns } from '../session/logout-returns.ts';
import type { LoginTransactions } from '../session/transactions.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Claims } from '../token-set.ts';
import type { Refresher } from '../tokens/refresh.ts';

export interface EndpointDeps {
  readonly config: Config;
  readonly events: Events;
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly transactions: LoginTransactions;
  readonly logoutReturns: LogoutReturns;
  readonly refresher: Refresher;
  /** Which claims the SPA may see. */
  readonly sessionView: (claims: Claims) => Claims;
}

export interface BffEnv {
  /** What @hono/node-server passes; absent under `app.request()`. */
  Bindings: { incoming?: IncomingMessage; outgoing?: ServerResponse };
}

export type BffContext = Context<BffEnv>;

/** The request's headers, lower-case; repeated ones joined. */
export function headersOf(c: BffContext): IncomingHttpHeaders {
  return c.req.header();
}

export function appendCookies(c: BffContext, lines: readonly string[]): void {
  for (const line of lines) c.header('set-cookie', line, { append: true });
}

export function sendPage(c: BffContext, page: Page): Response {
  for (const [name, value] of Object.entries(page.headers)) c.header(name, value);
  return c.body(page.html);
}

/** A query parameter that may appear once. @returns undefined if absent, null if repeated */
export function single(parameters: URLSearchParams, name: string): string | undefined | null {
  const values = parameters.getAll(name);
  return values.length > 1 ? null : values[0];
}

const maximumFormBytes = 64 * 1024;

export function isForm(c: BffContext): boolean {
  return c.req.header('content-type')?.startsWith('application/x-www-form-urlencoded') === true;
}

/** The fields of a form post. @throws {BffError} for one that is too long, or of unknown length */
export async function readForm(c: BffContext): Promise<URLSearchParams> {
  if (Number(c.req.header('content-length') ?? Infinity) > maximumFormBytes) {
    throw new BffError('body_too_large', `The form must have a length, of at most ${maximumFormBytes} bytes.`);
  }
  try {
    return new URLSearchParams(await c.req.text());
  } catch (cause) {
    throw new BffError('request_invalid', 'The form broke off.', { cause });
  }
}
