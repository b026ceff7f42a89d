/**
 * The defence against cross-site request forgery (CSRF): a call must come from the app's own origin. It reads only the
 * request's headers, before any session is opened.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError } from './errors.ts';
import { isPassedOnNavigation, isPrefetch } from './navigation.ts';

/**
 * Requires that a call comes from the app's own origin. `SameSite=Strict` alone is no defence, because requests from
 * sibling subdomains carry the cookie. A page of another origin can't forge `Sec-Fetch-Site`, `Origin` or `Referer`, and
 * can't send `X-CSRF` without a preflight, which is never approved.
 * @param acceptsNavigations whether a GET that no page caused is accepted, as of a bookmark (`Sec-Fetch-Site: none`). It
 *   proves no origin: browsers also send `none` for a typed address that another site redirects here
 * @throws {BffError} `request_forbidden`
 */
export function requireSameOrigin(
  method: string,
  headers: IncomingHttpHeaders,
  config: Config,
  acceptsNavigations = false,
): void {
  const site = headers['sec-fetch-site'];
  const { origin } = headers;
  // Pages with `Referrer-Policy: no-referrer` post forms with `Origin: null` (Fetch 3.2). So does a sandboxed frame, whose
  // requests are cross-site.
  if (origin !== undefined && origin !== config.origin && !(origin === 'null' && site === 'same-origin')) {
    throw forbidden('The call comes from another origin.', config);
  }
  const csrfHeader = headers['x-csrf'] === '1';
  if (site === undefined) requireProofWithoutSite(method, headers, config);
  else if (!csrfHeader && config.csrf.requireHeader) {
    throw forbidden('Send the header "X-CSRF: 1" with every call.', config);
  } else if (site === 'same-origin' && isPassedOnNavigation(headers)) {
    requireProofOfPassedOn(method, headers, config, acceptsNavigations);
  } else if (
    site !== 'same-origin' &&
    !(site === 'none' && acceptsNavigations && isRead(method) && !isPrefetch(headers))
  ) {
    // The speculation rules of a sibling subdomain prefetch without a click, and with `none`.
    throw forbidden(`The call comes from elsewhere (Sec-Fetch-Site: ${site}).`, config);
  }
}

/**
 * Without Sec-Fetch-Site the client is an older browser or no browser: it must send a header that a cross-origin page
 * cannot add without a preflight. WebKit sends no fetch metadata with `<a download>`, so a link's `Referer` counts where
 * the call only reads. It proves less: a link in the app to another site that redirects here keeps it.
 */
function requireProofWithoutSite(method: string, headers: IncomingHttpHeaders, config: Config): void {
  if (headers['x-csrf'] === '1') return;
  const hasMetadata = headers['sec-fetch-mode'] !== undefined || headers['sec-fetch-dest'] !== undefined;
  if (isRead(method) && !hasMetadata && !config.csrf.requireHeader && hasOwnReferer(headers, config)) return;
  throw forbidden('Send the header "X-CSRF: 1", or use a browser that sends Sec-Fetch-Site.', config);
}

/**
 * A service worker of this origin that passes navigations on makes them its own. Chromium then says `same-origin` also of
 * what was `none`: an address that was typed, or that a sibling subdomain's speculation rules load ahead. Firefox says so
 * of every navigation, and names this origin in `Origin`, whoever caused it. Only `Referer` stays as it was.
 */
function requireProofOfPassedOn(
  method: string,
  headers: IncomingHttpHeaders,
  config: Config,
  acceptsNavigations: boolean,
): void {
  // No navigation carries a header of a script.
  if (headers['x-csrf'] === '1' || hasOwnReferer(headers, config)) return;
  if (headers['sec-fetch-mode'] === 'navigate' && headers.referer === undefined) {
    // Chromium knows the origin of a form, and a typed address posts none.
    if (!isRead(method) || (acceptsNavigations && !isPrefetch(headers))) return;
  }
  throw forbidden('A service worker passed this navigation on, which hides where it comes from.', config);
}

function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

function hasOwnReferer({ referer }: IncomingHttpHeaders, { origin }: Config): boolean {
  return referer?.startsWith(`${origin}/`) === true;
}

function forbidden(detail: string, { origin }: Config): BffError {
  return new BffError('request_forbidden', `${detail} This app is at ${origin}.`);
}
