/**
 * The defence against cross-site request forgery (CSRF): a call must come from the app's own origin. It reads only the
 * request's headers, before any session is opened.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError } from './errors.ts';
import { isPrefetch } from './navigation.ts';

/**
 * Requires that a call comes from the app's own origin. `SameSite=Strict` alone is no defence, because requests from
 * sibling subdomains carry the cookie. A page of another origin can't forge `Sec-Fetch-Site` or `Origin`, and can't send
 * `X-CSRF` without a preflight, which is never approved.
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
  if (headers.origin !== undefined && headers.origin !== config.origin) {
    throw forbidden('The call comes from another origin.');
  }
  const csrfHeader = headers['x-csrf'] === '1';
  if (site === undefined) {
    // Without Sec-Fetch-Site the client is an older browser or no browser. It must send a header that a cross-origin page
    // cannot add without a preflight.
    if (!csrfHeader) throw forbidden('Send the header "X-CSRF: 1", or use a browser that sends Sec-Fetch-Site.');
    return;
  }
  const isOwnNavigation = site === 'none' && acceptsNavigations && (method === 'GET' || method === 'HEAD');
  // The speculation rules of a sibling subdomain prefetch without a click, and with `none`.
  if (site !== 'same-origin' && !(isOwnNavigation && !isPrefetch(headers))) {
    throw forbidden(`The call comes from elsewhere (Sec-Fetch-Site: ${site}).`);
  }
  if (config.csrf.requireHeader && !csrfHeader) throw forbidden('Send the header "X-CSRF: 1" with every call.');
}

function forbidden(detail: string): BffError {
  return new BffError('request_forbidden', detail);
}
