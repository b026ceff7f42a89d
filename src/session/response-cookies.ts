/** Which `Set-Cookie` lines a response carries for its session: the one place that decides it. */
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { BffError } from '../http/errors.ts';
import { createSizeWatch } from './cookie-sizes.ts';
import { clearSessionCookie, cookieNames, cookiesUnknown, writeSessionCookie } from './cookies.ts';
import { isNewer, remainingSeconds } from './session.ts';
import { hasEnded, hasNewestGeneration, type SessionEntry } from './session-entry.ts';
import type { OpenSession } from './session-opener.ts';
import type { SharedSessions } from './shared-sessions.ts';

interface ResponseCookieDeps {
  readonly shared: SharedSessions;
  readonly events: Events;
}

export function createResponseCookies(config: Config, { shared, events }: ResponseCookieDeps) {
  const names = cookieNames(config);
  const newlyLarge = createSizeWatch();

  /**
   * The lines for a response to a request that showed this session. Call it when the response's head is written,
   * because a response may take long: by then the browser may have a newer form, or the session may have ended, and the
   * cookie of the next one must not be overwritten.
   * @param header the request's Cookie header
   */
  function newCookies({ entry, shown }: OpenSession, header: string | undefined): string[] {
    const { cookieText } = entry;
    const isToWrite = cookieText !== undefined && isNewer(entry.session, shown) && mayWrite(entry);
    return isToWrite ? setCookies(entry, cookieText, header) : [];
  }

  /**
   * Whether the form that this process has is the newest one of a session that goes on, for all that is known. While
   * other processes may have done something unheard, the browser keeps its older cookie, which leads to the newest form
   * as well. While the store is down, others can neither refresh nor be told: then this process knows best.
   */
  function mayWrite(entry: SessionEntry): boolean {
    if (!hasNewestGeneration(entry) || hasEnded(entry, config.session)) return false;
    return shared.isCurrent(entry.knownAsOf) || shared.isDown();
  }

  /** The lines of a new session. @throws {BffError} when four cookies can't hold it */
  function loginCookies(entry: SessionEntry): string[] {
    const { cookieText = '' } = entry;
    const lines = setCookies(entry, cookieText, cookiesUnknown);
    if (lines.length > 0) return lines;
    throw sessionTooLarge(cookieText.length);
  }

  /**
   * The lines that give the browser the newest form of the session. A session that has outgrown the cookies stays in
   * this process's memory and is served from there; the event tells the operator.
   */
  function setCookies(entry: SessionEntry, text: string, header: string | undefined | typeof cookiesUnknown): string[] {
    const lines = writeSessionCookie(text, remainingSeconds(entry.session, config.session), header, names);
    const large = newlyLarge(entry, text.length);
    if (large !== undefined) events.emit({ type: 'session.large', session: entry.sessionHash, ...large });
    if (lines !== undefined) return lines;
    events.emit({ type: 'session.oversized', session: entry.sessionHash, bytes: text.length });
    return [];
  }

  /** The lines that delete the session cookies that a request showed. */
  function clearCookies(header: string | undefined): string[] {
    return clearSessionCookie(header, names);
  }

  return { newCookies, loginCookies, clearCookies };
}

export function sessionTooLarge(bytes: number, cause?: unknown): BffError {
  return new BffError(
    'internal_error',
    `The session takes ${bytes} bytes, more than four cookies can hold. ` +
      'The operator must shorten the tokens (fewer roles and groups), or keep sessions in the store, which has no such ' +
      'limit: SALLYPORT_SESSION=store.',
    { cause },
  );
}
