/**
 * `/bff/logout`: ends the session here and at the provider (RP-Initiated Logout 1.0). A link must carry the `sid` that
 * `/bff/session` gave, so that no other site can sign people out; a call must come from the own origin (CSRF).
 */
import { timingSafeEqual } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { comesFromOwnPage, isPrefetchOrSubresource } from '../http/navigation.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import { cookieNames, cookiePairs, logoutCookie, maximumCookieBytes } from '../session/cookies.ts';
import { pack, unpack } from '../session/packing.ts';
import { createSealer } from '../session/seal.ts';
import { isReplaced, type OpenedSession, type OpenSession, type SessionEntry } from '../session/sessions.ts';
import {
  appendCookies,
  headersOf,
  isForm,
  readForm,
  readReturnTo,
  sendPage,
  single,
  type BffContext,
  type EndpointDeps,
} from './endpoint.ts';
import { createSignOut } from './sign-out.ts';

/** How long a script may take from the response of `POST /bff/logout` to the navigation. */
const ticketSeconds = 60;

/**
 * Query parameter of the interstitial page. After a form post, the app's `form-action 'self'` (CSP 3 6.4.2) blocks a
 * redirect to the provider, so the browser first loads a page of this origin and navigates from there.
 */
const interstitialParameter = 'pause';

/** A session that has ended here, and is to be ended at the provider. */
interface LogoutTicket {
  readonly idToken: string | undefined;
}

export function createLogout(deps: EndpointDeps) {
  const { config, pages, provider, sessions, logoutReturns } = deps;
  const signOut = createSignOut(deps);
  const names = cookieNames(config);
  const sealer = createSealer(config.secrets, 'logout ticket');
  const path = `${config.basePath}/logout`;

  /** A navigation: by the app's link, or the second half of a `post`. */
  async function get(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    // A browser that prefetches the link must not sign the person out.
    if (isPrefetchOrSubresource(headers)) {
      throw new BffError('request_invalid', 'Sign-out by a link is a navigation of the browser.');
    }
    const parameters = new URL(c.req.url).searchParams;
    const returnTo = readReturnTo(parameters, config);
    if (parameters.has(interstitialParameter)) return showInterstitial(c, returnTo);
    const opened = await sessions.open(headers.cookie);
    return opened.state === 'active' ? endByLink(c, opened, returnTo) : continueAtProvider(c, opened, returnTo);
  }

  /** A form post has ended the session; the page's navigation to the provider is subject to no `form-action`. */
  function showInterstitial(c: BffContext, returnTo: string | undefined): Response {
    return sendPage(c, pages(headersOf(c)).sameSiteRedirect('signingOut', ownAddress({ returnTo })));
  }

  /** A link of the app, with a session: ends it here, then at the provider. */
  async function endByLink(c: BffContext, opened: OpenSession, returnTo: string | undefined): Promise<Response> {
    requireLogoutSid(c, opened.entry);
    await signOut(opened.entry);
    clearCookies(c, opened);
    return c.redirect(await wayOut(c, { idToken: opened.entry.session.tokens.idToken }, returnTo), 302);
  }

  /** The navigation after a `post`, with its ticket: the session has ended here, and ends at the provider now. */
  async function continueAtProvider(
    c: BffContext,
    opened: OpenedSession,
    returnTo: string | undefined,
  ): Promise<Response> {
    clearCookies(c, opened);
    const ticket = consumeLogoutTicket(c);
    // The link of a tab whose person has signed out in another one.
    const isRepeated = comesFromOwnPage(headersOf(c)) && new URL(c.req.url).searchParams.has('sid');
    const goesOut = ticket !== undefined || isRepeated;
    return c.redirect(goesOut ? await wayOut(c, ticket, returnTo) : landingOf(returnTo), 302);
  }

  function landingOf(returnTo: string | undefined): string {
    return returnTo ?? config.logout.returnTo;
  }

  /** A script gets JSON with `location`; a form post (`Sec-Fetch-Mode: navigate`) gets a 303. */
  async function post(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const returnTo = readReturnTo(await parametersOf(c), config);
    const opened = await sessions.open(headers.cookie);
    const entry = opened.state === 'active' ? opened.entry : undefined;
    if (entry !== undefined) await signOut(entry);
    clearCookies(c, opened);
    if (entry !== undefined) await issueLogoutTicket(c, entry.session.tokens.idToken);
    const navigates = headers['sec-fetch-mode'] === 'navigate';
    const location =
      entry === undefined
        ? landingOf(returnTo)
        : ownAddress({ returnTo, ...(navigates ? { [interstitialParameter]: '' } : {}) });
    return navigates ? c.redirect(location, 303) : c.json({ location });
  }

  function ownAddress({ returnTo, ...further }: Readonly<Record<string, string | undefined>>): string {
    const query = new URLSearchParams({ ...further, ...(returnTo === undefined ? {} : { returnTo }) });
    return query.size === 0 ? path : `${path}?${query.toString()}`;
  }

  /**
   * Clears only the cookies that this request carried, because a cross-site link carries none and must not clear any.
   * Clears nothing if a login has replaced the session meanwhile: the revocation may take that long.
   */
  function clearCookies(c: BffContext, opened: OpenedSession): void {
    if (isReplaced(opened)) return;
    appendCookies(c, sessions.clearCookies(headersOf(c).cookie));
  }

  /**
   * Where a person goes who is signed out here, as far as the request shows: to the provider, if their session is to end
   * there as well, and at the end to where they want. An app that nobody sees without a login gets
   * them back as from the provider.
   */
  async function wayOut(
    c: BffContext,
    ticket: LogoutTicket | undefined,
    returnTo: string | undefined,
  ): Promise<string> {
    const isGated = config.spa?.requireLogin === true;
    // Where another server has the app, nothing waits for the state, and it would only stand in the app's address.
    const isAwaited = config.spa !== undefined || returnTo !== undefined;
    const state = isAwaited ? await logoutReturns.beginState() : undefined;
    const url = ticket === undefined ? undefined : await provider.endSessionUrl(ticket.idToken, state);
    if (state !== undefined && (isGated || (url !== undefined && returnTo !== undefined))) {
      appendCookies(c, await logoutReturns.remember(state, returnTo, headersOf(c).cookie));
    }
    return url ?? (isGated && state !== undefined ? returnAddress(state) : landingOf(returnTo));
  }

  function returnAddress(state: string): string {
    const { pathname, search } = new URL(config.logout.returnTo, config.origin);
    return `${pathname}${search}${search === '' ? '?' : '&'}state=${state}`;
  }

  /**
   * The end-session URL carries the ID token as a hint, and no token may reach a script. So the script gets an address of
   * this origin, and the ID token waits in a sealed cookie.
   */
  async function issueLogoutTicket(c: BffContext, idToken: string): Promise<void> {
    const line = await ticketCookie(config.logout.idTokenHint ? idToken : undefined);
    // Without the hint the provider may ask the person; without the cookie they would stay signed in there.
    appendCookies(c, [line.length <= maximumCookieBytes ? line : await ticketCookie(undefined)]);
  }

  async function ticketCookie(idToken: string | undefined): Promise<string> {
    const ticket = await sealer.seal(pack({ fields: nowSeconds(), tokens: [idToken] }));
    return logoutCookie(ticket, ticketSeconds, names);
  }

  function consumeLogoutTicket(c: BffContext): LogoutTicket | undefined {
    const tickets = [...cookiePairs(headersOf(c).cookie ?? '')].filter(([name]) => name === names.logout);
    const [ticket] = tickets;
    if (ticket === undefined) return undefined;
    appendCookies(c, [logoutCookie('', 0, names)]);
    const unsealed = sealer.unseal(ticket[1]);
    if (unsealed === undefined || tickets.length > 1) return undefined;
    const { fields: issuedAt, tokens = [] } = unpack(unsealed) ?? {};
    // A ticket of another version, without its time, is invalid.
    if (typeof issuedAt !== 'number' || issuedAt + ticketSeconds < nowSeconds()) return undefined;
    return { idToken: tokens[0] };
  }

  return { get, post };
}

function requireLogoutSid(c: BffContext, entry: SessionEntry): void {
  const sid = single(new URL(c.req.url).searchParams, 'sid') ?? '';
  const [given, expected] = [Buffer.from(sid), Buffer.from(entry.session.id)];
  if (given.length === expected.length && timingSafeEqual(given, expected)) return;
  throw new BffError('logout_sid_invalid', 'The link is not of this session. Use the logoutUrl of the session.');
}

/** Of the query and of a form: a link in a form's address and a field of it are equally usual. */
async function parametersOf(c: BffContext): Promise<URLSearchParams> {
  const query = new URL(c.req.url).searchParams;
  return isForm(c) ? new URLSearchParams([...query, ...(await readForm(c))]) : query;
}
