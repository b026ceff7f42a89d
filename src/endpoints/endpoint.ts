/** What all endpoints share: their dependencies, and how they read requests and write responses. */
import type { Context } from 'hono';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { Provider } from '../oidc/provider.ts';
import type { ClientAddressResolver } from '../http/client-address.ts';
import { describeUserAgent, networkOf } from '../http/client-traits.ts';
import { BffError } from '../http/errors.ts';
import { parseReturnTo } from '../http/return-to.ts';
import { bodyTaken } from '../http/unread-body.ts';
import type { Page, PagesFor } from '../http/pages.ts';
import type { LogoutReturns } from '../session/logout-returns.ts';
import type { ClientTraits } from '../session/registry.ts';
import type { SessionBoundList } from '../session/session-bound.ts';
import type { LoginTransactions } from '../session/transactions.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Store } from '../store/store.ts';
import type { Claims } from '../token-set.ts';
import type { Refresher } from '../tokens/refresh.ts';

/**
 * Marks the second request of a navigation, from a page of this origin that was shown in between so that the browser sends
 * all its cookies: that page must not be shown twice. It carries no trust.
 */
export const continuedParameter = 'sallyport_continued';

export interface EndpointDeps {
  readonly config: Config;
  readonly pages: PagesFor;
  readonly events: Events;
  readonly provider: Provider;
  readonly sessions: Sessions;
  readonly transactions: LoginTransactions;
  readonly logoutReturns: LogoutReturns;
  readonly refresher: Refresher;
  readonly resolveClientAddress: ClientAddressResolver;
  /** For what may happen once only, on all instances. */
  readonly store: Pick<Store, 'useOnce'>;
  /** Which claims the SPA may see. */
  readonly sessionView: (claims: Claims) => Claims;
  /** What ends with its session, and with the server. */
  readonly bound: SessionBoundList;
  /** Lets an endpoint write the raw response, after it has returned as well. */
  readonly writeRaw: (c: BffContext, write: RawHandler) => Promise<Response>;
}

export interface BffEnv {
  /** What @hono/node-server passes; absent under `app.request()`. */
  Bindings: { incoming?: IncomingMessage; outgoing?: ServerResponse };
}

export type BffContext = Context<BffEnv>;

export type RawHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** The request's headers, lower-case; repeated ones joined. */
export function headersOf(c: BffContext): IncomingHttpHeaders {
  return c.req.header();
}

/** By what the person recognises this browser later. */
export function traitsOf(c: BffContext, resolveClientAddress: ClientAddressResolver): ClientTraits {
  const headers = headersOf(c);
  const peer = c.env?.incoming?.socket.remoteAddress;
  return {
    userAgent: describeUserAgent(headers['user-agent']),
    address: networkOf(resolveClientAddress(peer, headers['x-forwarded-for']).address),
  };
}

export function appendCookies(c: BffContext, lines: readonly string[]): void {
  for (const line of lines) c.header('set-cookie', line, { append: true });
}

export function sendPage(c: BffContext, page: Page): Response {
  for (const [name, value] of Object.entries(page.headers)) c.header(name, value);
  return c.body(page.html);
}

/**
 * Cuts the page that opened this window off (HTML 7.1.3). Another site could else see by its handle (`closed`, `length`)
 * how the login goes, and so whether the person has a session at the provider.
 */
export function severOpener(c: BffContext): void {
  c.header('cross-origin-opener-policy', 'same-origin');
}

/** A query parameter that may appear once. @returns undefined if absent, null if repeated */
export function single(parameters: URLSearchParams, name: string): string | undefined | null {
  const values = parameters.getAll(name);
  return values.length > 1 ? null : values[0];
}

/**
 * Where the person is to land, as the app asks for it.
 * @returns undefined if it doesn't ask
 * @throws {BffError} `return_to_invalid`
 */
export function readReturnTo(parameters: URLSearchParams, config: Config): string | undefined {
  const given = single(parameters, 'returnTo');
  const returnTo = typeof given === 'string' ? parseReturnTo(given, config) : undefined;
  if (given === undefined || returnTo !== undefined) return returnTo;
  throw new BffError('return_to_invalid', 'returnTo must be one path on this origin, such as "/orders?page=2".');
}

const maximumFormBytes = 64 * 1024;

export function isForm(c: BffContext): boolean {
  return /^application\/x-www-form-urlencoded *(?:;|$)/i.test(c.req.header('content-type') ?? '');
}

/** The fields of a form post. @throws {BffError} for one that is too long, or of unknown length */
export async function readForm(c: BffContext): Promise<URLSearchParams> {
  if (Number(c.req.header('content-length') ?? Infinity) > maximumFormBytes) {
    throw new BffError('body_too_large', `The form must have a length, of at most ${maximumFormBytes} bytes.`);
  }
  try {
    return new URLSearchParams(await c.req.text());
  } catch (cause) {
    // A middleware of Hono shares what it has read; other parsers don't.
    if (c.env?.incoming?.complete === true) throw bodyTaken(cause);
    throw new BffError('request_invalid', 'The form broke off.', { cause });
  }
}
