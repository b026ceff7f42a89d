/** The SPA's document where a login is required to load it (`spa.requireLogin`). */
import { isNavigation } from '../http/navigation.ts';
import { sameSiteReloadPage } from '../http/pages.ts';
import { headersOf, loginPath, sendPage, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createLoginGate({ config, sessions }: EndpointDeps) {
  /** @returns what to answer in place of the app; undefined when it may be served */
  return async function gate(c: BffContext): Promise<Response | undefined> {
    const headers = headersOf(c);
    if (c.req.method !== 'GET' || !isNavigation(headers)) return undefined;
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'active') return undefined;
    // A link on another site comes without the Strict cookie; it would start a login for somebody who is signed in.
    const { pathname, search } = new URL(c.req.url);
    if (headers['sec-fetch-site'] === 'cross-site') return sendPage(c, sameSiteReloadPage(pathname + search));
    return c.redirect(`${loginPath(config)}?returnTo=${encodeURIComponent(pathname + search)}`, 302);
  };
}
