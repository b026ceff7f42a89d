/** The way back from the provider after a sign-out: to where the person wanted, or to a page that needs no login. */
import type { IncomingHttpHeaders } from 'node:http';
import { loginUrl } from '../http/login-url.ts';
import { comesFromOwnPage, isNavigation } from '../http/navigation.ts';
import { isAppPath } from '../http/return-to.ts';
import {
  appendCookies,
  continuedParameter,
  headersOf,
  sendPage,
  type BffContext,
  type EndpointDeps,
} from './endpoint.ts';

export function createLogoutReturn({ config, pages, sessions, logoutReturns }: EndpointDeps) {
  const isGated = config.spa?.requireLogin === true;

  /** @returns the response in place of the app; undefined for whatever comes back from no sign-out */
  return async function answerReturn(c: BffContext): Promise<Response | undefined> {
    const headers = headersOf(c);
    if (c.req.method !== 'GET' || !isNavigation(headers)) return undefined;
    const { pathname, search, searchParams } = new URL(c.req.url);
    const found = logoutReturns.find(pathname + search, headers.cookie);
    if (found === undefined) return undefined;
    c.header('cache-control', 'no-store');
    const isGoodbye = isGated && found.isRemembered;
    if (isGoodbye && mayHideSession(headers, searchParams.has(continuedParameter))) {
      return sendPage(c, pages(headers).sameSiteRedirect('signingOut', `${pathname}${search}&${continuedParameter}`));
    }
    appendCookies(c, logoutReturns.forget(headers.cookie));
    // Checked again, because a deployment may have made the path an API route since.
    const returnTo = found.returnTo !== undefined && isAppPath(found.returnTo, config) ? found.returnTo : undefined;
    // The app would send a person who has just signed out to the provider's login form.
    if (isGoodbye && (await sessions.open(headers.cookie)).state !== 'active') {
      const query = returnTo === undefined ? '' : `returnTo=${encodeURIComponent(returnTo)}`;
      return sendPage(c, pages(headers).signedOut(loginUrl(config, query)));
    }
    return c.redirect(returnTo ?? config.logout.returnTo, 302);
  };
}

/**
 * Whether the browser may have a session that this request doesn't show: the person may have signed in again meanwhile,
 * and a link from elsewhere, with a planted cookie, must not tell them that they are signed out.
 */
function mayHideSession(headers: IncomingHttpHeaders, isContinued: boolean): boolean {
  const site = headers['sec-fetch-site'];
  return site === undefined || site === 'same-origin' ? !comesFromOwnPage(headers) && !isContinued : true;
}
