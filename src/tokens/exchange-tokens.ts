/** The policy `exchange`: calls carry a token for this API, for which the session's was exchanged (RFC 8693). */
import { monotonicMs, nowSeconds } from '../clock.ts';
import type { ApiRoute, Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { UnaskedError } from '../oidc/circuit-breaker.ts';
import { StaleSubjectToken, targetOf, type ExchangeRequest, type FurtherToken } from '../oidc/further-tokens.ts';
import { RefusedToken } from '../oidc/provider-errors.ts';
import type { Provider } from '../oidc/provider.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { TokenSet } from '../token-set.ts';
import type { ClientTokens } from './client-tokens.ts';
import { dueAhead, keyOf, unknownLifetimeSeconds, type ObtainedToken } from './kept-tokens.ts';
import { createObtainedTokens, type ObtainedTokensDeps } from './obtained-tokens.ts';
import { createQuestions } from './questions.ts';
import type { TokenPolicy } from './token-policy.ts';

export type ExchangePolicy = Extract<ApiRoute['token'], { readonly exchange: unknown }>['exchange'];

export interface ExchangeTokensDeps extends ObtainedTokensDeps {
  readonly config: Config;
  readonly provider: Pick<Provider, 'exchangeToken'>;
  readonly events: Events;
  readonly clientTokens: ClientTokens;
}

/** No more often: one person whose tokens the provider takes no more must not cost all others the actor's. */
const actorDoubtMs = 60_000;

export function createExchangeTokens(
  { header, actor, ...policy }: ExchangePolicy,
  { path }: ApiRoute,
  deps: ExchangeTokensDeps,
): TokenPolicy {
  const { config, provider, events, clientTokens } = deps;
  const request: ExchangeRequest = { ...targetOf(policy), requestedTokenType: policy.requestedTokenType };
  const ask = createQuestions();

  let actorDoubtedAt = -Infinity;

  /** The provider's refusal may also be about the actor's token, and does not say so. */
  function doubtActor(actorToken: string | undefined): void {
    if (actorToken === undefined || monotonicMs() < actorDoubtedAt + actorDoubtMs) return;
    actorDoubtedAt = monotonicMs();
    clientTokens.drop({}, actorToken);
  }

  async function obtain(tokens: TokenSet, { key, sessionHash }: SessionEntry): Promise<ObtainedToken | undefined> {
    let actorToken: string | undefined;
    try {
      actorToken = actor ? (await clientTokens.find({})).token : undefined;
      const { accessToken, dpopKey } = tokens;
      const made = await ask(key, () => provider.exchangeToken({ accessToken, dpopKey }, { ...request, actorToken }));
      return obtainedOf(made, tokens);
    } catch (cause) {
      if (cause instanceof UnaskedError) throw cause;
      events.emit({ type: 'token.obtain_failed', route: path, session: sessionHash, cause });
      if (!(cause instanceof StaleSubjectToken)) throw cause;
      doubtActor(actorToken);
      return undefined;
    }
  }

  function obtainedOf({ token, scheme, expiresAt: said }: FurtherToken, tokens: TokenSet): ObtainedToken {
    const expiresAt = said ?? nowSeconds() + unknownLifetimeSeconds;
    return {
      lines: linesOf(token, scheme, header),
      subject: tokens.accessToken,
      claims: undefined,
      expiresAt,
      dueAt: dueAhead(expiresAt, config.refresh.beforeSeconds),
    };
  }

  return createObtainedTokens(
    {
      route: path,
      headerName: header,
      keyOf: ({ accessToken }) => keyOf('exchange', accessToken, request, actor, header),
      obtain,
      refused: () => new RefusedToken(new StaleSubjectToken('The provider takes no token of this session.')),
      isAboutSubject: false,
    },
    deps,
  );
}

/** @throws {BffError} `provider_unavailable` for a token that is no access token, where one is to be sent as such */
function linesOf(token: string, scheme: FurtherToken['scheme'], header: string): readonly string[] {
  const name = header.toLowerCase();
  if (name !== 'authorization') return [name, token];
  if (scheme !== undefined) return [name, `${scheme} ${token}`];
  throw new RefusedToken(
    new Error('The exchange brought a token that is no access token (token_type N_A): choose another header for it.'),
  );
}
