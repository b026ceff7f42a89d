/**
 * `/bff/logout`: ends the session here and at the provider (RP-Initiated Logout 1.0). As a link it must carry the `sid`
 * that `/bff/session` gave, so that no other site can sign people out; as a call it must come from the own origin.
 */
import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BffError } from '../http/errors.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import { isPrefetchOrSubresource } from '../http/navigation.ts';
import { sameSiteRedirectPage } from '../http/pages.ts';
import { cookieNames, cookiePairs, maximumCookieBytes } from '../session/cookies.ts';
import type { SessionEntry, OpenedSession } from '../session/sessions.ts';
import { createSealer } from '../session/seal.ts';
import { pack, unpack } from '../session/packing.ts';
import { nowSeconds } from '../clock.ts';
import { appendCookies, headersOf, sendPage, single, type BffContext, type EndpointDeps } from './endpoint.ts';

/** The way out waits no longer than this for the provider to revoke the refresh token. */
const revocationPatienceMs = 2000;
/** How long a script may take from the answer of `POST /bff/logout` to the navigation. */
const ticketSeconds = 60;

/**
 * Asks for a page between a form and the provider: the app's `form-action 'self'` (CSP 3 6.4.2) would else stop the
 * redirects that follow a form.
 */
const interstitialParameter = 'pause';

/** A session that ended here, and is to be ended at the provider. */
interface Ticket {
  readonly idToken: string | undefined;
}

export function createLogout({ config, events, provider, sessions }: EndpointDeps) {
  const names = cookieNames(config.secure);
  const ticketAttributes = `; Path=/; HttpOnly${config.secure ? '; Secure' : ''}; SameSite=Strict`;
  const sealer = createSealer(config.secrets, 'logout ticket');

  /** A navigation. */
  async function get(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    // A browser that fetches links ahead must not sign anybody out.
    if (isPrefetchOrSubresource(headers)) {
      throw new BffError('request_invalid', 'Sign-out by a link is a navigation of the browser.');
    }
    if (new URL(c.req.url).searchParams.has(interstitialParameter)) {
      return sendPage(c, sameSiteRedirectPage('Signing out', `${config.basePath}/logout`));
    }
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'active') {
      requireLogoutSid(c, opened.entry);
      await end(opened.entry);
    }
    clearCookies(c, opened);
    const ticket =
      opened.state === 'active' ? { idToken: opened.entry.session.tokens.idToken } : await consumeLogoutTicket(c);
    return c.redirect(await logoutRedirect(ticket), 302);
  }

  /** A fetch, answered with where to navigate; or a form, sent there. */
  async function post(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const opened = await sessions.open(headers.cookie);
    const entry = opened.state === 'active' ? opened.entry : undefined;
    if (entry !== undefined) await end(entry);
    clearCookies(c, opened);
    const location =
      entry === undefined ? config.logout.returnTo : await issueLogoutTicket(c, entry.session.tokens.idToken);
    if (headers['sec-fetch-mode'] !== 'navigate') return c.json({ location });
    return c.redirect(entry === undefined ? location : `${location}?${interstitialParameter}`, 303);
  }

  /**
   * Only what this very request showed is deleted: a link on another site comes without cookies and must not clear any.
   * And nothing is where a login has put another session in its place: the revocation may take that long.
   */
  function clearCookies(c: BffContext, opened: OpenedSession): void {
    if (opened.state !== 'absent' && opened.entry.replaced) return;
    appendCookies(c, sessions.clearCookies(headersOf(c).cookie));
  }

  async function end(entry: SessionEntry): Promise<void> {
    await sessions.end(entry, 'logout');
    const { refreshToken, accessToken } = entry.session.tokens;
    const revocation = (
      refreshToken === undefined
        ? provider.revoke(accessToken, 'access_token')
        : provider.revoke(refreshToken, 'refresh_token')
    ).catch((cause: unknown) => events.emit({ type: 'logout.revocation_failed', session: entry.label, cause }));
    await Promise.race([revocation, sleep(revocationPatienceMs, undefined, { ref: false })]);
  }

  /** Without a session there is nothing to end at the provider either: straight to the end. */
  async function logoutRedirect(ticket: Ticket | undefined): Promise<string> {
    const end = ticket === undefined ? undefined : await provider.endSessionUrl(ticket.idToken);
    return end ?? config.logout.returnTo;
  }

  /**
   * The provider's address carries the ID token as a hint, and no token may reach a script: it gets an address of ours,
   * and the ID token waits in a sealed cookie.
   */
  async function issueLogoutTicket(c: BffContext, idToken: string): Promise<string> {
    const line = await ticketCookie(idToken);
    // Without the hint the provider may ask the person; a cookie that the browser drops would leave them signed in there.
    appendCookies(c, [line.length <= maximumCookieBytes ? line : await ticketCookie(undefined)]);
    return `${config.basePath}/logout`;
  }

  async function ticketCookie(idToken: string | undefined): Promise<string> {
    const ticket = await sealer.seal(pack({ fields: nowSeconds(), tokens: [idToken] }));
    return `${names.logout}=${ticket}; Max-Age=${ticketSeconds}${ticketAttributes}`;
  }

  async function consumeLogoutTicket(c: BffContext): Promise<Ticket | undefined> {
    const tickets = [...cookiePairs(headersOf(c).cookie ?? '')].filter(([name]) => name === names.logout);
    const [ticket] = tickets;
    if (ticket === undefined) return undefined;
    appendCookies(c, [`${names.logout}=; Max-Age=0${ticketAttributes}`]);
    const opened = await sealer.unseal(ticket[1]);
    if (opened === undefined || tickets.length > 1) return undefined;
    const { fields: issuedAt, tokens = [] } = unpack(opened) ?? {};
    // A ticket of another version, without its time, is none.
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
