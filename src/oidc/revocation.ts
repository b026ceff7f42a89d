/**
 * Revoking the tokens of a session that has ended or never began. The session is over for Sallyport whether or not the
 * provider takes part, so an error is an event and never stops the caller.
 */
import type { Events } from '../events.ts';
import type { Provider } from './provider.ts';
import { withProvidersWords } from './refusal.ts';

export interface RevocationDeps {
  readonly provider: Pick<Provider, 'revoke'>;
  readonly events: Events;
}

/**
 * Revokes a refresh token, if there is one. Never rejects.
 * @param session its hash, for the event
 */
export async function revokeRefreshToken(
  token: string | undefined,
  session: string,
  deps: RevocationDeps,
): Promise<void> {
  if (token !== undefined) await revokeOrReport(token, 'refresh_token', session, deps);
}

/**
 * Revokes an access token: only where there is no refresh token, whose revocation usually ends the access token as well
 * (RFC 7009 2.1). Never rejects.
 * @param session its hash, for the event
 */
export async function revokeAccessToken(token: string, session: string, deps: RevocationDeps): Promise<void> {
  await revokeOrReport(token, 'access_token', session, deps);
}

async function revokeOrReport(
  token: string,
  kind: 'refresh_token' | 'access_token',
  session: string,
  { provider, events }: RevocationDeps,
): Promise<void> {
  try {
    await provider.revoke(token, kind);
  } catch (error) {
    events.emit({ type: 'logout.revocation_failed', session, cause: await withProvidersWords(error) });
  }
}
