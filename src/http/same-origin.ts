/**
 * Proof against cross-site request forgery (CSRF): a call must come from the app's own origin. It looks only at what the
 * client sent, before any session is opened.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Config } from '../config/config.ts';
import { BffError } from './errors.ts';
import { isPrefetch } from './navigation.ts';

/**
 * Demands that a call comes from the app's own origin (CSRF). `SameSite=Strict` alone is no defence: sibling subdomains
 * send the cookie. A page of another origin can't forge `Sec-Fetch-Site` or `Origin`, and can't send `X-CSRF` without a
 * preflight, which is never approved.
 * @param acceptsNavigations whether a GET that no page caused will do, as of a bookmark (`Sec-Fetch-Site: none`). It
 *   proves no origin: browsers say so, too, of a typed address that another site redirects here
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
    // Not a browser of today, or not a browser: the header is what a foreign page can't send.
    if (!csrfHeader) throw forbidden('Send the header "X-CSRF: 1", or use a browser that sends Sec-Fetch-Site.');
    return;
  }
  const isOwnNavigation = site === 'none' && acceptsNavigations && (method === 'GET' || method === 'HEAD');
  // A sibling subdomain's speculation rules fetch ahead without a click, and with `none`.
  if (site !== 'same-origin' && !(isOwnNavigation && !isPrefetch(headers))) {
    throw forbidden(`The call comes from elsewhere (Sec-Fetch-Site: ${site}).`);
  }
  if (config.csrf.requireHeader && !csrfHeader) throw forbidden('Send the header "X-CSRF: 1" with every call.');
}

function forbidden(detail: string): BffError {
  return new BffError('request_forbidden', detail);
}
