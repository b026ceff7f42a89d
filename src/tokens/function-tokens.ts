/** The policy that is a function of the program: what it throws, and that it may hang, is answered for here. */
import type { ApiRoute, Config } from '../config/config.ts';
import type { TokenFunction, TokenRequest, TokenSession } from '../config/token-function.ts';
import { BffError, retryAfter } from '../http/errors.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { withTimeout } from '../timeout.ts';
import { idTokenClaims } from '../token-set.ts';
import { bearer, ownToken } from './bearer.ts';
import type { Refresher } from './refresh.ts';
import type { TokenPolicy, TokenCall } from './token-policy.ts';

interface FunctionTokensDeps {
  readonly config: Config;
  readonly refresher: Refresher;
}

export function createFunctionTokens(
  choose: TokenFunction,
  { path }: ApiRoute,
  { config, refresher }: FunctionTokensDeps,
): TokenPolicy {
  const timeoutMs = config.provider.timeoutSeconds * 1000;

  async function headers(call: TokenCall, entry: SessionEntry): Promise<readonly string[]> {
    const { tokens } = entry.session;
    const abort = new AbortController();
    const chosen = (async () => choose(viewOf(entry), requestOf(call, path, abort.signal)))();
    try {
      const token: unknown = await withTimeout(chosen, timeoutMs, tooSlow);
      requireToken(token);
      call.sentToken = token;
      if (token === tokens.accessToken) return ownToken(tokens);
      return token === undefined ? [] : bearer(token);
    } catch (error) {
      if (error instanceof BffError) throw error;
      throw new BffError('internal_error', "The program's own choice of a token failed.", { cause: error });
    } finally {
      abort.abort();
    }
  }

  return {
    session: 'required',
    usesSessionToken: true,
    personal: true,
    headerNames: ['authorization'],
    headers: (call) => (call.entry === undefined ? [] : headers(call, call.entry)),
    mayRenew: ({ entry }) => entry !== undefined && refresher.mayRetryAfterRejection(entry, path),
    /** The function is asked again. Where it had passed on the session's own token, that one is refreshed before. */
    async renew({ entry, sentToken }) {
      if (entry?.session.tokens.refreshToken !== undefined) await refresher.refreshAfterRejection(entry, sentToken);
    },
    recordRejection({ entry }) {
      if (entry !== undefined) refresher.recordRejection(entry, path);
    },
  };
}

function viewOf({ key, session: { tokens, userInfo } }: SessionEntry): TokenSession {
  return {
    id: key,
    claims: { ...userInfo, ...idTokenClaims(tokens.idToken) },
    accessToken: tokens.accessToken,
    accessTokenExpiresAt: tokens.accessTokenExpiresAt,
  };
}

function requestOf({ request, sentToken }: TokenCall, route: string, signal: AbortSignal): TokenRequest {
  const { cookie: _, authorization: __, ...headers } = request.headers;
  const { method = 'GET', url = '/' } = request;
  return { method, route, url, headers, rejectedToken: sentToken, signal };
}

/** What else it may hold, a line break above all, would become another header. */
function requireToken(token: unknown): asserts token is string | undefined {
  if (token === undefined || (typeof token === 'string' && /^[\x21-\x7e]+$/.test(token))) return;
  throw new TypeError('The token function returned something that cannot be sent as a token.');
}

function tooSlow(): never {
  throw new BffError('provider_unavailable', 'The token for this API takes too long. Try again in a moment.', {
    headers: retryAfter(),
  });
}
