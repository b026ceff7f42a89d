/** The policies `session` and `optional`: calls carry the session's own access token. */
import type { ApiRoute } from '../config/config.ts';
import { ownToken } from './bearer.ts';
import type { Refresher } from './refresh.ts';
import type { TokenPolicy } from './token-policy.ts';

export function createSessionTokens(
  session: 'required' | 'optional',
  { path }: ApiRoute,
  { refresher }: { readonly refresher: Refresher },
): TokenPolicy {
  return {
    session,
    usesSessionToken: true,
    personal: true,
    headerNames: ['authorization'],
    headers(call) {
      if (call.entry === undefined) return [];
      const { tokens } = call.entry.session;
      call.sentToken = tokens.accessToken;
      return ownToken(tokens);
    },
    mayRenew: ({ entry }) => entry !== undefined && refresher.canRefreshAfterRejection(entry, path),
    async renew({ entry, sentToken }) {
      if (entry !== undefined) await refresher.refreshAfterRejection(entry, sentToken);
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, path);
    },
  };
}
