/** `GET /bff/session` and `POST /bff/refresh`: what the SPA may know about its session. */
import { BffError } from '../http/errors.ts';
import { requireSameOrigin } from '../http/same-origin.ts';
import { isReplaced, type OpenedSession, type SessionEntry } from '../session/sessions.ts';
import { appendCookies, headersOf, type BffContext, type EndpointDeps } from './endpoint.ts';
import type { SessionViews } from './session-view.ts';

export function createSessionEndpoints(
  { config, sessions, transactions, refresher }: EndpointDeps,
  views: SessionViews,
) {
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
    const view = views.of(opened);
    if (view.authenticated && opened.state === 'active') {
      appendCookies(c, sessions.newCookies(opened, headersOf(c).cookie));
    }
    return c.json(view);
  }

  return { read, refresh };
}
