/**
 * The policies that ask the provider about the session's access token: `introspect`, whose calls carry that token if it is
 * active, and `phantom`, whose calls carry the JWT that stands for it.
 */
import { nowSeconds } from '../clock.ts';
import type { ApiRoute, Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import { UnaskedError } from '../oidc/circuit-breaker.ts';
import { isBoundTo } from '../oidc/dpop.ts';
import type { ActiveToken, Introspection, PhantomToken } from '../oidc/introspection.ts';
import type { Provider } from '../oidc/provider.ts';
import { sessionExpired } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import type { TokenSet } from '../token-set.ts';
import { bearer, ownToken } from './bearer.ts';
import { keyOf, type ObtainedToken } from './kept-tokens.ts';
import { createObtainedTokens, type ObtainedTokensDeps } from './obtained-tokens.ts';
import { createQuestions } from './questions.ts';
import type { TokenPolicy } from './token-policy.ts';

export interface IntrospectedTokensDeps extends ObtainedTokensDeps {
  readonly config: Config;
  readonly provider: Pick<Provider, 'introspect' | 'obtainPhantomToken'>;
  readonly events: Events;
}

/** What is asked, and what an active token becomes. */
interface Question<Answer extends ActiveToken> {
  readonly name: string;
  readonly cacheSeconds: number;
  readonly ask: (accessToken: string) => Promise<Answer | Exclude<Introspection, ActiveToken>>;
  readonly linesOf: (answer: Answer, tokens: TokenSet) => readonly string[];
}

export function createIntrospectTokens(
  { cacheSeconds }: { readonly cacheSeconds: number },
  route: ApiRoute,
  deps: IntrospectedTokensDeps,
): TokenPolicy {
  const { introspect } = deps.provider;
  return createIntrospected({ name: 'introspect', cacheSeconds, ask: introspect, linesOf: own }, route, deps);
}

function own(_answer: ActiveToken, tokens: TokenSet): readonly string[] {
  return ownToken(tokens);
}

export function createPhantomTokens(
  { cacheSeconds, audience }: { readonly cacheSeconds: number; readonly audience?: string | undefined },
  route: ApiRoute,
  deps: IntrospectedTokensDeps,
): TokenPolicy {
  const expected = audience ?? deps.config.client.id;
  const question: Question<PhantomToken> = {
    name: `phantom ${expected}`,
    cacheSeconds,
    ask: (accessToken) => deps.provider.obtainPhantomToken(accessToken, expected),
    // The JWT says to which key the token is bound that it stands for.
    linesOf: ({ jwt, claims }, { dpopKey }) =>
      isBoundTo(claims, dpopKey) ? ownToken({ accessToken: jwt, dpopKey }) : bearer(jwt),
  };
  return createIntrospected(question, route, deps);
}

function createIntrospected<Answer extends ActiveToken>(
  { name, cacheSeconds, ask, linesOf }: Question<Answer>,
  { path }: ApiRoute,
  deps: IntrospectedTokensDeps,
): TokenPolicy {
  const { events } = deps;
  const askProvider = createQuestions();

  async function obtain(tokens: TokenSet, { key, sessionHash }: SessionEntry): Promise<ObtainedToken | undefined> {
    const answer = await askProvider(key, () => ask(tokens.accessToken)).catch((cause: unknown) => {
      if (!(cause instanceof UnaskedError)) {
        events.emit({ type: 'token.obtain_failed', route: path, session: sessionHash, cause });
      }
      throw cause;
    });
    if (answer.active) return obtainedOf(answer, tokens);
    events.emit({ type: 'token.inactive', route: path, session: sessionHash });
    return undefined;
  }

  function obtainedOf(answer: Answer, tokens: TokenSet): ObtainedToken {
    const lifetimeSeconds = Math.min(cacheSeconds, answer.maxAgeSeconds ?? Infinity);
    // Beyond that nobody knows whether the token is still active: there is nothing to fall back on.
    const until = Math.min(nowSeconds() + lifetimeSeconds, answer.expiresAt ?? Infinity);
    return {
      lines: linesOf(answer, tokens),
      subject: tokens.accessToken,
      claims: answer.claims,
      dueAt: until,
      expiresAt: until,
    };
  }

  const { find, ...policy } = createObtainedTokens(
    {
      route: path,
      headerName: 'authorization',
      keyOf: ({ accessToken }) => keyOf(name, accessToken, cacheSeconds),
      obtain,
      refused: sessionExpired,
      isAboutSubject: true,
    },
    deps,
  );
  return {
    ...policy,
    introspected(call) {
      const found = call.entry === undefined ? undefined : find(call, call.entry);
      if (found === undefined) return {};
      return found instanceof Promise ? found.then(({ claims = {} }) => claims) : (found.claims ?? {});
    },
  };
}
