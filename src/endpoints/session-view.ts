/** `GET /bff/session` and `POST /bff/refresh`: what the SPA may know about its session. Never a token. */
import { BffError } from '../http/errors.ts';
import { loginUrl } from '../http/login-url.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import type { SessionView } from '../session-view.ts';
import { isReplaced, type OpenedSession, type SessionEntry } from '../session/sessions.ts';
import { idTokenClaims } from '../token-set.ts';
import { isoTime, nowSeconds } from '../clock.ts';
import { withoutTokens } from './claims-view.ts';
import { appendCookies, headersOf, type BffContext, type EndpointDeps } from './endpoint.ts';

export function createSessionEndpoints({ config, sessions, transactions, refresher, sessionView }: EndpointDeps) {
  /** Reading it never prolongs the session. */
  async function read(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config, true);
    const begunBefore = sessions.begun();
    const opened = await sessions.open(headers.cookie);
    // Delete the cookie of a session that has ended, unless this response could overtake a login's and delete the session
    // that has just begun: a login under way in this browser shows its transaction, one completed here is counted.
    const mayOvertake =
      sessions.begun() !== begunBefore ||
      isReplaced(opened) ||
      (opened.state === 'ended' && transactions.isUnderWay(headers.cookie));
    if (opened.state !== 'active' && !mayOvertake) appendCookies(c, sessions.clearCookies(headers.cookie));
    appendCookies(c, transactions.evictSurplus(headers.cookie));
    return sendView(c, opened);
  }

  async function refresh(c: BffContext): Promise<Response> {
    const headers = headersOf(c);
    requireSameOrigin(c.req.method, headers, config);
    const opened = await sessions.open(headers.cookie);
    if (opened.state === 'active') {
      await refreshOrEnd(opened.entry);
      await sessions.touch(opened.entry);
    }
    return sendView(c, opened);
  }

  /** A refresh that ends the session is not an error here: the response is `{ authenticated: false }`. */
  async function refreshOrEnd(entry: SessionEntry): Promise<void> {
    try {
      await refresher.refreshNow(entry);
    } catch (error) {
      if (!(error instanceof BffError) || error.code !== 'session_expired') throw error;
    }
  }

  function sendView(c: BffContext, opened: OpenedSession): Response {
    if (opened.state !== 'active' || opened.entry.ended !== undefined) {
      return c.json({ authenticated: false, loginUrl: loginUrl(config) } satisfies SessionView);
    }
    appendCookies(c, sessions.newCookies(opened, headersOf(c).cookie));
    return c.json(viewOf(opened.entry));
  }

  function viewOf(entry: SessionEntry): SessionView {
    const { createdAt, tokens, userInfo, id } = entry.session;
    const expiresAt = sessions.endsAt(entry);
    const idleExpiresAt = sessions.idleEndsAt(entry);
    return {
      authenticated: true,
      user: withoutTokens(sessionView({ ...userInfo, ...idTokenClaims(tokens.idToken) }), tokens),
      session: {
        createdAt: isoTime(createdAt),
        expiresAt: isoTime(expiresAt),
        expiresInSeconds: secondsUntil(expiresAt),
        idleExpiresAt: idleExpiresAt === undefined ? null : isoTime(idleExpiresAt),
        idleExpiresInSeconds: idleExpiresAt === undefined ? null : secondsUntil(idleExpiresAt),
      },
      accessToken: {
        expiresAt: tokens.accessTokenExpiresAt === undefined ? null : isoTime(tokens.accessTokenExpiresAt),
        expiresInSeconds: tokens.accessTokenExpiresAt === undefined ? null : secondsUntil(tokens.accessTokenExpiresAt),
        refreshable: tokens.refreshToken !== undefined,
      },
      logoutUrl: `${config.basePath}/logout?sid=${id}`,
    };
  }

  return { read, refresh };
}

function secondsUntil(at: number): number {
  return Math.max(0, at - nowSeconds());
}
