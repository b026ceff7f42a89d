/** The policies `session` and `optional`: calls carry the session's own access token. */
import type { ApiRoute } from '../config/config.ts';
import { bearer } from './bearer.ts';
import type { Refresher } from './refresh.ts';
import type { RouteTokens } from './token-policy.ts';

export function createSessionTokens(
  session: 'required' | 'optional',
  { path }: ApiRoute,
  { refresher }: { readonly refresher: Refresher },
): RouteTokens {
  return {
    session,
    personal: true,
    headerNames: ['authorization'],
    headers(call) {
      if (call.entry === undefined) return [];
      const { generation, tokens } = call.entry.session;
      call.sentGeneration = generation;
      return bearer(tokens.accessToken);
    },
    mayRenew: ({ entry }) => entry !== undefined && refresher.canRefreshAfterRejection(entry, path),
    async renew({ entry, sentGeneration }) {
      if (entry !== undefined) await refresher.refreshAfterRejection(entry, sentGeneration);
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, path);
    },
  };
}
