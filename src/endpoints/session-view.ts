/** What the SPA may know about its session: who it is, until when, or why it is over. Never a token. */
import { isoTime, nowSeconds } from '../clock.ts';
import type { SessionEnd } from '../events.ts';
import { loginUrl } from '../http/login-url.ts';
import type { SessionView, SignedOutReason } from '../session-view.ts';
import type { OpenedSession, SessionEntry } from '../session/sessions.ts';
import { idTokenClaims } from '../token-set.ts';
import { withoutTokens } from '../tokens/claims-without-tokens.ts';
import type { EndpointDeps } from './endpoint.ts';

/** What its person gets to know of why a session ended before its time. */
const reasons: Readonly<Record<SessionEnd, SignedOutReason>> = {
  logout: 'logout',
  other_session: 'logout',
  new_login: 'replaced',
  backchannel: 'backchannel',
  frontchannel: 'backchannel',
  operator: 'operator',
  refresh_rejected: 'refused',
  refresh_id_token_invalid: 'refused',
  refresh_interrupted: 'refused',
  store_lost: 'refused',
};

export type SessionViews = ReturnType<typeof createSessionViews>;

export function createSessionViews({
  config,
  sessions,
  sessionView,
}: Pick<EndpointDeps, 'config' | 'sessions' | 'sessionView'>) {
  /** Of a session that may have ended since it was opened. */
  function of(opened: OpenedSession): SessionView {
    const isOver = opened.state !== 'active' || opened.entry.ended !== undefined;
    return isOver ? signedOut(reasonAsOpened(opened)) : signedIn(opened.entry);
  }

  function signedOut(reason: SignedOutReason | undefined): SessionView {
    return { authenticated: false, loginUrl: loginUrl(config), ...(reason === undefined ? {} : { reason }) };
  }

  function signedIn(entry: SessionEntry): SessionView {
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

  /** Undefined without a session, and where the session goes on under a newer cookie. */
  function reasonAsOpened(opened: OpenedSession): SignedOutReason | undefined {
    if (opened.state === 'absent') return undefined;
    if (opened.entry !== undefined) return sessions.hasEnded(opened.entry) ? reasonOf(opened.entry) : undefined;
    return opened.state === 'ended' && opened.reason !== undefined ? reasons[opened.reason] : undefined;
  }

  /** Why a session is over that is over. */
  function reasonOf(entry: SessionEntry): SignedOutReason {
    if (entry.ended !== undefined) return reasons[entry.ended];
    return (sessions.idleEndsAt(entry) ?? Infinity) < sessions.endsAt(entry) ? 'idle' : 'expired';
  }

  return { of, signedIn, reasonOf };
}

function secondsUntil(at: number): number {
  return Math.max(0, at - nowSeconds());
}
