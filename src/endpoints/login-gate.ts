/** The gate before the SPA's document where a login is required to load it (`spa.requireLogin`). */
import { loginUrl } from '../http/login-url.ts';
import { isNavigation } from '../http/navigation.ts';
import { sameSiteReloadPage } from '../http/pages.ts';
import { headersOf, sendPage, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createLoginGate({ config, sessions }: EndpointDeps) {
  /** @returns the response in place of the app; undefined if it may be served */
  return async function gate(c: BffContext): Promise<Response | undefined> {
    const headers = headersOf(c);
    if (c.req.method !== 'GET' || !isNavigation(headers)) return undefined;
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'active') return undefined;
    // A link on another site comes without the Strict cookie; it would start a login for a person who is signed in.
    const { pathname, search } = new URL(c.req.url);
    if (headers['sec-fetch-site'] === 'cross-site') return sendPage(c, sameSiteReloadPage(pathname + search));
    return c.redirect(loginUrl(config, `returnTo=${encodeURIComponent(pathname + search)}`), 302);
  };
}
