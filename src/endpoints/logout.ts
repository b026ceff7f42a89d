/**
 * `/bff/logout`: ends the session here and at the provider (RP-Initiated Logout 1.0). A link must carry the `sid` that
 * `/bff/session` gave, so that no other site can sign people out; a call must come from the own origin (CSRF).
 */
import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { nowSeconds } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { isPrefetchOrSubresource } from '../http/navigation.ts';
import { sameSiteRedirectPage } from '../http/pages.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import { revokeAccessToken, revokeRefreshToken } from '../oidc/revocation.ts';
import { cookieNames, cookiePairs, logoutCookie, maximumCookieBytes } from '../session/cookies.ts';
import { pack, unpack } from '../session/packing.ts';
import { createSealer } from '../session/seal.ts';
import type { OpenedSession, OpenSession, SessionEntry } from '../session/sessions.ts';
import { appendCookies, headersOf, sendPage, single, type BffContext, type EndpointDeps } from './endpoint.ts';

/** The redirect to the provider waits no longer than this for the revocation. */
const revocationTimeoutMs = 2000;
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

export function createLogout({ config, events, provider, sessions }: EndpointDeps) {
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
    if (new URL(c.req.url).searchParams.has(interstitialParameter)) return showInterstitial(c);
    const opened = await sessions.open(headers.cookie);
    return opened.state === 'active' ? endByLink(c, opened) : continueAtProvider(c, opened);
  }

  /** A form post has ended the session; the page's navigation to the provider is subject to no `form-action`. */
  function showInterstitial(c: BffContext): Response {
    return sendPage(c, sameSiteRedirectPage('Signing out', path));
  }

  /** A link of the app, with a session: ends it here, then at the provider. */
  async function endByLink(c: BffContext, opened: OpenSession): Promise<Response> {
    requireLogoutSid(c, opened.entry);
    await end(opened.entry);
    clearCookies(c, opened);
    return c.redirect(await logoutRedirect({ idToken: opened.entry.session.tokens.idToken }), 302);
  }

  /** The navigation after a `post`, with its ticket: the session has ended here, and ends at the provider now. */
  async function continueAtProvider(c: BffContext, opened: OpenedSession): Promise<Response> {
    clearCookies(c, opened);
    return c.redirect(await logoutRedirect(await consumeLogoutTicket(c)), 302);
  }

  /** A script gets JSON with `location`; a form post (`Sec-Fetch-Mode: navigate`) gets a 303. */
  async function post(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const opened = await sessions.open(headers.cookie);
    const entry = opened.state === 'active' ? opened.entry : undefined;
    if (entry !== undefined) await end(entry);
    clearCookies(c, opened);
    if (entry !== undefined) await issueLogoutTicket(c, entry.session.tokens.idToken);
    const location = entry === undefined ? config.logout.returnTo : path;
    if (headers['sec-fetch-mode'] !== 'navigate') return c.json({ location });
    return c.redirect(entry === undefined ? location : `${location}?${interstitialParameter}`, 303);
  }

  /**
   * Clears only the cookies that this request carried, because a cross-site link carries none and must not clear any.
   * Clears nothing if a login has replaced the session meanwhile: the revocation may take that long.
   */
  function clearCookies(c: BffContext, opened: OpenedSession): void {
    if (opened.state !== 'absent' && opened.entry.replaced) return;
    appendCookies(c, sessions.clearCookies(headersOf(c).cookie));
  }

  /** Calls and WebSockets of the session end by the event that `sessions.end` emits (`proxy/session-bound.ts`). */
  async function end(entry: SessionEntry): Promise<void> {
    await sessions.end(entry, 'logout');
    const { refreshToken, accessToken } = entry.session.tokens;
    const revocation =
      refreshToken === undefined
        ? revokeAccessToken(accessToken, entry.sessionHash, { provider, events })
        : revokeRefreshToken(refreshToken, entry.sessionHash, { provider, events });
    await Promise.race([revocation, sleep(revocationTimeoutMs, undefined, { ref: false })]);
  }

  /** Without a ticket there is nothing to end at the provider either. */
  async function logoutRedirect(ticket: LogoutTicket | undefined): Promise<string> {
    const endSessionUrl = ticket === undefined ? undefined : await provider.endSessionUrl(ticket.idToken);
    return endSessionUrl ?? config.logout.returnTo;
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

  async function consumeLogoutTicket(c: BffContext): Promise<LogoutTicket | undefined> {
    const tickets = [...cookiePairs(headersOf(c).cookie ?? '')].filter(([name]) => name === names.logout);
    const [ticket] = tickets;
    if (ticket === undefined) return undefined;
    appendCookies(c, [logoutCookie('', 0, names)]);
    const unsealed = await sealer.unseal(ticket[1]);
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
