/** The end of a session by its own person, with the revocation of its tokens (RFC 7009). */
import { setTimeout as sleep } from 'node:timers/promises';
import { revokeAccessToken, revokeRefreshToken } from '../oidc/revocation.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { EndpointDeps } from './endpoint.ts';

/** The answer waits no longer than this for the revocation. */
const revocationTimeoutMs = 2000;

export function createSignOut({ events, provider, sessions }: EndpointDeps) {
  /** Calls and WebSockets of the session end by the event that `sessions.end` emits (`session/session-bound.ts`). */
  return async function signOut(entry: SessionEntry): Promise<void> {
    await sessions.end(entry, 'logout');
    const { refreshToken, accessToken } = entry.session.tokens;
    const revocation =
      refreshToken === undefined
        ? revokeAccessToken(accessToken, entry.sessionHash, { provider, events })
        : revokeRefreshToken(refreshToken, entry.sessionHash, { provider, events });
    await Promise.race([revocation, sleep(revocationTimeoutMs, undefined, { ref: false })]);
  };
}
