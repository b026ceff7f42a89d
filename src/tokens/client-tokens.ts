/**
 * The policy `client`: Sallyport's own tokens (client credentials, RFC 6749 4.4), shared by all calls that ask for the same.
 */
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { ApiRoute, Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { UnaskedError } from '../oidc/circuit-breaker.ts';
import { targetOf, type FurtherToken, type TokenTarget } from '../oidc/further-tokens.ts';
import { RefusedToken } from '../oidc/provider-errors.ts';
import type { Provider } from '../oidc/provider.ts';
import { bearer } from './bearer.ts';
import { createKeptTokens, dueAhead, keyOf, unknownLifetimeSeconds, type Kept } from './kept-tokens.ts';
import type { TokenPolicy, TokenCall } from './token-policy.ts';

/** A token for the routes that ask for the same. */
interface ClientToken extends Kept {
  readonly token: string;
  readonly lines: readonly string[];
}

interface ClientTokensDeps {
  readonly provider: Pick<Provider, 'obtainClientToken'>;
  readonly events: Events;
}

/** As many as the configuration has, and no more. */
const maximumBytes = 1024 * 1024;
/** After a new token was rejected as well, for so long the 401s of the route pass to the app at once. */
const rejectionMs = 60_000;

export type ClientTokens = ReturnType<typeof createClientTokens>;

export function createClientTokens(config: Config, { provider, events }: ClientTokensDeps) {
  const kept = createKeptTokens<ClientToken>(maximumBytes, ({ token }) => 2 * token.length);

  async function obtain(target: TokenTarget): Promise<ClientToken> {
    try {
      return clientTokenOf(await provider.obtainClientToken(target));
    } catch (cause) {
      if (!(cause instanceof UnaskedError)) {
        events.emit({ type: 'token.obtain_failed', route: undefined, session: undefined, cause });
      }
      throw cause;
    }
  }

  function clientTokenOf({ token, scheme, expiresAt: said }: FurtherToken): ClientToken {
    if (scheme !== 'Bearer') throw new RefusedToken(new Error('The token of the client is no bearer token.'));
    const expiresAt = said ?? nowSeconds() + unknownLifetimeSeconds;
    const dueAt = dueAhead(expiresAt, config.refresh.beforeSeconds);
    return { token, lines: bearer(token), dueAt, expiresAt };
  }

  return {
    find: (target: TokenTarget) => kept.find(keyOf(target), () => obtain(target)),
    /** A token that an API has rejected is not used again. */
    drop(target: TokenTarget, rejected: string | undefined) {
      const now = kept.peek(keyOf(target));
      if (now !== undefined && now.token === rejected) kept.drop(keyOf(target), now);
    },
  };
}

export type ClientPolicy = Extract<ApiRoute['token'], { readonly client: unknown }>['client'];

export function createClientTokenPolicy({ session, ...policy }: ClientPolicy, tokens: ClientTokens): TokenPolicy {
  const target = targetOf(policy);
  let warm: ClientToken | undefined;
  let rejectedUntil = -Infinity;

  function send(call: TokenCall, found: ClientToken): readonly string[] {
    warm = found;
    call.sentToken = found.token;
    return found.lines;
  }

  return {
    session: session ? 'required' : 'unused',
    // So that a person whose access has ended at the provider is noticed.
    usesSessionToken: session,
    // Shared caches store nothing that was asked with credentials (RFC 9111 3.5): the browser's request has none.
    personal: true,
    headerNames: ['authorization'],
    headers(call) {
      if (warm !== undefined && nowSeconds() < warm.dueAt) return send(call, warm);
      const found = tokens.find(target);
      return found instanceof Promise ? found.then((made) => send(call, made)) : send(call, found);
    },
    mayRenew: () => monotonicMs() >= rejectedUntil,
    async renew({ sentToken }) {
      tokens.drop(target, sentToken);
    },
    recordRejection() {
      rejectedUntil = monotonicMs() + rejectionMs;
    },
  };
}
