/** The gate before the SPA's document where a login is required to load it (`spa.requireLogin`). */
import type { Config } from '../config/config.ts';
import { createAddressMark } from '../http/address-mark.ts';
import { loginUrl } from '../http/login-url.ts';
import { isNavigation } from '../http/navigation.ts';
import { parseReturnTo } from '../http/return-to.ts';
import { headersOf, sendPage, type BffContext, type EndpointDeps } from './endpoint.ts';

/**
 * Marks the address that the page of `sameSiteReloadPage` loads, so that it is shown once, whatever the browser sends
 * then. The app never sees it.
 */
const reloaded = createAddressMark('sallyport_reloaded');

export function createLoginGate({ config, pages, sessions }: EndpointDeps) {
  /** @returns the response in place of the app; undefined if it may be served */
  return async function gate(c: BffContext): Promise<Response | undefined> {
    const headers = headersOf(c);
    if (c.req.method !== 'GET' || !isNavigation(headers)) return undefined;
    const { pathname, search } = new URL(c.req.url);
    const isReloaded = reloaded.isOn(search);
    const path = pathname + reloaded.remove(search);
    const opened = await sessions.open(headers.cookie);
    // A path may begin with "//", which alone would lead to another host.
    if (opened.state === 'active') return isReloaded ? c.redirect(config.origin + path, 302) : undefined;
    // A link on another site comes without the Strict cookie, and in Firefox and WebKit so does a typed address that
    // another site redirects here: it would start a login for a person who is signed in. A page of this origin shows the
    // cookie, but not the fragment, to which the login is to come back.
    if (!isReloaded) return sendPage(c, pages(headers).sameSiteReload(config.origin + path, reloaded));
    const returnTo = returnToOf(path, reloaded.fragmentOn(search), config);
    return c.redirect(loginUrl(config, `returnTo=${encodeURIComponent(returnTo)}`), 302);
  };
}

/**
 * Where the login leads back: without the fragment, or the query as well, if the whole is too long, as a link with a long
 * filter is.
 */
function returnToOf(path: string, fragment: string, config: Config): string {
  return (
    parseReturnTo(path + fragment, config) ??
    parseReturnTo(path, config) ??
    parseReturnTo(path.replace(/\?.*$/s, ''), config) ??
    config.home
  );
}
