/**
 * What a route requires (`require`): scopes and claims, a sign-in of some kind or of the last minutes, and the decision of
 * a policy. Asked once the session is open and refreshed, before anything is sent, and again with a token that was renewed.
 * A refusal is remembered by the session itself, which never changes, so that a warm call costs a look-up.
 */
import type { ApiRoute, Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { ClientAddressResolver } from '../http/client-address.ts';
import { BffError, type BffErrorOptions } from '../http/errors.ts';
import { loginIssuedAt, type Session } from '../session/session.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { nowSeconds } from '../clock.ts';
import { idTokenClaims, jwtClaims, subjectOf, type Claims, type ResourceToken } from '../token-set.ts';
import { withoutTokens } from '../tokens/claims-without-tokens.ts';
import type { RouteTokens, TokenCall } from '../tokens/route-tokens.ts';
import { createPolicyDecisions, policyPath, type PolicyDecisions } from './policy-decision.ts';
import { createRequirements, scopesIn, wordsOf, type Held, type Missing, type Requirements } from './requirements.ts';
import { stepUpRequired } from './step-up.ts';

export interface RouteRules {
  /**
   * @returns undefined where the call may be sent; a promise only where somebody else has to be asked
   * @throws {BffError} `access_denied`, `step_up_required`, or `upstream_unavailable` for a policy that gives no decision
   */
  check(call: TokenCall, tokens: RouteTokens): Promise<void> | undefined;
}

interface RouteRulesDeps {
  readonly events: Events;
  readonly resolveClientAddress: ClientAddressResolver;
}

/** What is known of a person, and what they lack. */
interface Verdict {
  readonly missing: Missing | undefined;
  readonly claims: Claims;
}

export function createRouteRules(config: Config, deps: RouteRulesDeps) {
  const decisions: PolicyDecisions[] = [];
  const byRoute = new Map<ApiRoute, RouteRules>();
  for (const route of config.api) {
    const { require } = route;
    if (require === undefined) continue;
    const policy = require.opa === undefined ? undefined : createPolicyDecisions(require.opa);
    if (policy !== undefined) decisions.push(policy);
    byRoute.set(route, createRules({ route, require, policy }, config, deps));
  }
  return {
    /** The rules of a route; undefined for one that requires nothing. */
    of: (route: ApiRoute): RouteRules | undefined => byRoute.get(route),
    async close() {
      await Promise.all(decisions.map((policy) => policy.close()));
    },
  };
}

interface Ruled {
  readonly route: ApiRoute;
  readonly require: Requirements;
  readonly policy: PolicyDecisions | undefined;
}

function createRules({ route, require, policy }: Ruled, config: Config, deps: RouteRulesDeps): RouteRules {
  const { events, resolveClientAddress } = deps;
  const missingOf = createRequirements(require);
  const { acr: acrValues = [], maxAgeSeconds } = require;
  const needsSession = Object.keys(require).some((key) => key !== 'opa' && key !== 'from');
  /** By the session, or by what introspection said: neither changes. */
  const verdicts = new WeakMap<object, Verdict>();
  const signIns = new WeakMap<Session, number>();

  function check(call: TokenCall, tokens: RouteTokens): Promise<void> | undefined {
    const { entry } = call;
    if (entry === undefined) return checkStranger(call);
    const { from = tokens.introspected === undefined ? undefined : 'introspection' } = require;
    if (from !== 'introspection') return checkTokens(call, entry, tokens);
    const said = tokens.introspected?.(call) ?? {};
    const checkSaid = (claims: Claims) => checkPerson(call, entry, verdictOf(claims, introspectedHeld));
    return said instanceof Promise ? said.then(checkSaid) : checkSaid(said);
  }

  /** By the token that the call will carry. One that is for a resource is obtained first. */
  function checkTokens(call: TokenCall, entry: SessionEntry, tokens: RouteTokens): Promise<void> | undefined {
    const ofResource = tokens.ofResource?.(call);
    const checkWith = (token: ResourceToken | undefined) =>
      checkPerson(
        call,
        entry,
        verdictOf(entry.session, (session) => heldOf(session, token)),
      );
    return ofResource instanceof Promise ? ofResource.then(checkWith) : checkWith(ofResource);
  }

  function checkStranger(call: TokenCall): Promise<void> | undefined {
    if (needsSession) throw new BffError('login_required', 'Sign in first.');
    return policy === undefined ? undefined : askPolicy(call, policy, null);
  }

  function checkPerson(call: TokenCall, entry: SessionEntry, { missing, claims }: Verdict): Promise<void> | undefined {
    if (missing !== undefined) {
      const words = wordsOf(missing);
      report(call, words);
      throw denied(`The route requires what you do not have: ${words.join('; ')}.`, { missing: { ...missing } });
    }
    if (nowSeconds() > signInHoldsUntil(entry.session)) {
      const demand = { acrValues, maxAge: maxAgeSeconds };
      throw stepUpRequired(demand, 'The route requires a stronger or fresher sign-in.', config);
    }
    if (policy === undefined) return undefined;
    return askPolicy(call, policy, withoutTokens(claims, entry.session.tokens));
  }

  function verdictOf<Source extends object>(source: Source, held: (source: Source) => Held): Verdict {
    const known = verdicts.get(source);
    if (known !== undefined) return known;
    const found = held(source);
    const verdict = { missing: missingOf(found), claims: found.claims };
    verdicts.set(source, verdict);
    return verdict;
  }

  function heldOf({ tokens, userInfo }: Session, ofResource: ResourceToken | undefined): Held {
    const { accessToken, scope } = ofResource ?? tokens;
    const granted = scope ?? (ofResource === undefined ? (config.scope ?? scopesOfEveryLogin) : '');
    const ofToken = require.from === 'idToken' ? undefined : jwtClaims(accessToken);
    if (ofToken !== undefined)
      return { claims: ofToken, scopes: scopesIn(ofToken['scope'] ?? ofToken['scp'] ?? granted) };
    const claims = require.from === 'token' ? {} : { ...userInfo, ...idTokenClaims(tokens.idToken) };
    return { claims, scopes: scopesIn(granted) };
  }

  /** Until when the sign-in is as required: always, never, or until it is too long ago. */
  function signInHoldsUntil(session: Session): number {
    const known = signIns.get(session) ?? holdsUntil(session, { acrValues, maxAgeSeconds }, config);
    signIns.set(session, known);
    return known;
  }

  async function askPolicy(call: TokenCall, decider: PolicyDecisions, claims: Claims | null): Promise<void> {
    const { method = 'GET', socket, headers } = call.request;
    const { address } = resolveClientAddress(socket.remoteAddress, headers['x-forwarded-for']);
    const input = { method, path: policyPath(call.path, route), route: route.path, claims, client: { address } };
    const { allowed, reason, missing } = await decider.decide(input).catch((cause: unknown) => {
      events.emit({ type: 'policy.failed', route: route.path, cause });
      throw new BffError('upstream_unavailable', 'There is no decision about this call: it was not sent.', { cause });
    });
    if (allowed) return;
    report(call, ['policy'], reason);
    throw denied('The policy of this route refuses the call.', {
      ...(reason === undefined ? {} : { reason }),
      missing: { policy: missing ?? true },
    });
  }

  function report({ entry, request }: TokenCall, missing: readonly string[], reason?: string): void {
    events.emit({
      type: 'access.denied',
      session: entry?.sessionHash,
      subject: entry === undefined ? undefined : subjectOf(entry.session.tokens.idToken),
      route: route.path,
      method: request.method ?? 'GET',
      missing,
      ...(reason === undefined ? {} : { reason }),
    });
  }

  return { check };
}

/** Where neither the provider nor the operator names any: a login asks for these at least (`oidc/scope.ts`). */
const scopesOfEveryLogin = 'openid';

/** Introspection that names no scope says that there is none (RFC 7662 2.2). */
function introspectedHeld(claims: Claims): Held {
  return { claims, scopes: scopesIn(claims['scope']) };
}

function denied(detail: string, extensions: NonNullable<BffErrorOptions['extensions']>): BffError {
  return new BffError('access_denied', detail, { extensions });
}

type SignInRule = { readonly acrValues: readonly string[]; readonly maxAgeSeconds: number | undefined };

/**
 * A refreshed ID token may name another `acr`, which then counts; `auth_time` is that of the login (OpenID Connect Core
 * 12.2). How old the sign-in was when the session began is told by the provider's clock, and what came after by this one,
 * so that a difference between the two makes nobody sign in again and again.
 */
function holdsUntil(session: Session, { acrValues, maxAgeSeconds }: SignInRule, config: Config): number {
  const { acr: newest, auth_time: ofToken } = idTokenClaims(session.tokens.idToken) ?? {};
  const acr = typeof newest === 'string' ? newest : session.acr;
  if (acrValues.length > 0 && (acr === undefined || !acrValues.includes(acr))) return -Infinity;
  if (maxAgeSeconds === undefined) return Infinity;
  const authTime = session.authTime ?? ofToken;
  if (typeof authTime !== 'number') return -Infinity;
  const ageAtLogin = loginIssuedAt(session) - authTime;
  if (ageAtLogin < -config.provider.clockToleranceSeconds) return -Infinity;
  return session.createdAt + maxAgeSeconds - Math.max(0, ageAtLogin);
}
