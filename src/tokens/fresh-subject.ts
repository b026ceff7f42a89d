/**
 * What is made of a session's access token where the provider may not take that token any more, although it has not
 * expired: it is refreshed once, and for a while not again, because each call would cost a refresh that changes nothing.
 */
import type { SessionEntry } from '../session/sessions.ts';
import type { TokenSet } from '../token-set.ts';
import type { Refresher } from './refresh.ts';
import { createRejections } from './rejections.ts';

export function createFreshSubject(route: string, refresher: Refresher) {
  const rejections = createRejections();

  /**
   * @param make yields undefined where the provider does not take the session's token
   * @returns undefined where it does not take a newer one either, or there can be none
   * @throws {BffError} whatever `make` throws, and `session_expired` if the refresh ends the session
   */
  return async function withFreshSubject<T>(
    entry: SessionEntry,
    make: (tokens: TokenSet) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const { tokens } = entry.session;
    const made = await make(tokens);
    if (made !== undefined) return made;
    if (tokens.refreshToken === undefined || rejections.isRecent(entry, route)) return undefined;
    await refresher.refreshAfterRejection(entry, tokens.accessToken);
    const second = await make(entry.session.tokens);
    if (second === undefined) rejections.record(entry, route);
    return second;
  };
}
