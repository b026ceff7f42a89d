/**
 * Tokens beside those of a login: Sallyport's own (client credentials, RFC 6749 4.4), and those for which a session's token
 * is exchanged (RFC 8693). Hides the parameters on the wire and what an answer of the provider means. Whoever asks keeps
 * the result.
 */
import * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { DpopKey } from '../token-set.ts';
import type { OidcClient } from './client.ts';
import { legible } from './legible.ts';
import { exchangeGrant } from './policy-suitability.ts';
import { asNoToken } from './no-token.ts';
import { InvalidTokenResponse } from './provider-errors.ts';
import { withProvidersWords } from './refusal.ts';
import type { OidcFetch, TokenResponse } from './token-response.ts';

/** A token, and how it is sent. */
export interface FurtherToken {
  readonly token: string;
  /** Of `Authorization`; undefined for a token that is no access token (`N_A`, RFC 8693 2.2.1). */
  readonly scheme: 'Bearer' | 'DPoP' | undefined;
  /** In seconds since 1970; undefined if the provider names no lifetime. */
  readonly expiresAt: number | undefined;
}

/** For whom a token is, and what it allows. */
export interface TokenTarget {
  readonly audience?: readonly string[] | undefined;
  readonly resource?: readonly string[] | undefined;
  readonly scope?: string | undefined;
}

/** As a route's policy writes it: one or several of each. */
export interface TargetPolicy {
  readonly audience?: string | readonly string[] | undefined;
  readonly resource?: string | readonly string[] | undefined;
  readonly scope?: string | undefined;
}

export function targetOf({ audience, resource, scope }: TargetPolicy): TokenTarget {
  return {
    audience: audience === undefined ? undefined : [audience].flat(),
    resource: resource === undefined ? undefined : [resource].flat(),
    scope,
  };
}

export interface ExchangeRequest extends TokenTarget {
  readonly requestedTokenType?: string | undefined;
  /** The access token of who acts for the person; undefined where that isn't said. */
  readonly actorToken?: string | undefined;
}

/** What is exchanged: an access token of a session, and the key to which it is bound. */
export interface SubjectToken {
  readonly accessToken: string;
  readonly dpopKey?: DpopKey | undefined;
}

/** Thrown when the provider does not take the session's token any more: a newer one may help. */
export class StaleSubjectToken extends Error {}

const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token';

/** The kinds that an API may get. A refresh token in the hands of an API would be the person's whole session. */
const usableTokenTypes: readonly string[] = [
  accessTokenType,
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:txn_token',
];

/** Also the words for a subject token that is none any more (RFC 8693 2.2.2); `invalid_token` is Keycloak's. */
const staleErrors = new Set(['invalid_grant', 'invalid_request', 'invalid_token']);

export function createFurtherTokens({ configured, fetchOnce }: Pick<OidcClient, 'configured' | 'fetchOnce'>) {
  const tokenFetch = withoutOtherTokens(fetchOnce);

  /** Sallyport's own token. @throws {BffError} `provider_unavailable` */
  async function obtainClientToken(target: TokenTarget): Promise<FurtherToken> {
    try {
      const response = await configured({ fetch: tokenFetch }, (configuration) =>
        client.clientCredentialsGrant(configuration, parametersOf(target)),
      );
      return furtherTokenOf(response);
    } catch (error) {
      throw await asNoToken(error);
    }
  }

  /**
   * Another token in exchange for a session's.
   * @throws {StaleSubjectToken}
   * @throws {BffError} `provider_unavailable`
   */
  async function exchangeToken(subject: SubjectToken, request: ExchangeRequest): Promise<FurtherToken> {
    const parameters = parametersOf(request);
    parameters.set('subject_token', subject.accessToken);
    parameters.set('subject_token_type', accessTokenType);
    if (request.requestedTokenType !== undefined) parameters.set('requested_token_type', request.requestedTokenType);
    if (request.actorToken !== undefined) {
      parameters.set('actor_token', request.actorToken);
      parameters.set('actor_token_type', accessTokenType);
    }
    try {
      const response = await configured({ fetch: tokenFetch, dpopKey: subject.dpopKey }, (configuration) =>
        client.genericGrantRequest(configuration, exchangeGrant, parameters),
      );
      checkIssuedType(response, request.requestedTokenType);
      return furtherTokenOf(response);
    } catch (error) {
      if (isRefusal(error) && staleErrors.has(error.error)) {
        throw new StaleSubjectToken('The provider does not take the token that was to be exchanged.', {
          cause: await withProvidersWords(error),
        });
      }
      throw await asNoToken(error);
    }
  }

  return { obtainClientToken, exchangeToken };
}

function parametersOf({ audience = [], resource = [], scope }: TokenTarget): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const one of audience) parameters.append('audience', one);
  for (const one of resource) parameters.append('resource', one);
  if (scope !== undefined) parameters.set('scope', scope);
  return parameters;
}

function isRefusal(error: unknown): error is client.ResponseBodyError {
  return error instanceof client.ResponseBodyError;
}

function furtherTokenOf({ access_token: token, token_type: type, expires_in: lifetime }: TokenResponse): FurtherToken {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new InvalidTokenResponse('The token holds characters that no header can carry (RFC 6749 A.12).');
  }
  const scheme = type === 'dpop' ? 'DPoP' : type === 'bearer' ? 'Bearer' : undefined;
  return { token, scheme, expiresAt: lifetime === undefined ? undefined : nowSeconds() + Math.floor(lifetime) };
}

/** What was issued, whatever was asked for (RFC 8693 2.2.1). */
function checkIssuedType({ issued_token_type: issued }: TokenResponse, requested: string | undefined): void {
  const expected = requested === undefined ? usableTokenTypes : [requested];
  if (typeof issued === 'string' && expected.includes(issued)) return;
  throw new InvalidTokenResponse(
    `The exchange brought ${issued === undefined ? 'a token of no type' : `a token of the type ${legible(issued) ?? 'nothing'}`} (issued_token_type), not ${expected.join(' or ')}.`,
  );
}

const usedMembers = new Set(['access_token', 'token_type', 'expires_in', 'scope', 'issued_token_type']);

/**
 * A fetch whose token responses have no other tokens: an ID or refresh token that a provider sends along is never used,
 * and must not be validated either. Error responses stay as they are.
 */
function withoutOtherTokens(fetch: OidcFetch): OidcFetch {
  return async (url, options) => {
    const response = await fetch(url, options);
    if (!response.ok) return response;
    const body: unknown = await response.json().catch(undefinedIfUnreadable);
    const members = body instanceof Object && !Array.isArray(body) ? Object.entries(body) : [];
    const used = members.filter(([name, value]) => usedMembers.has(name) && !isOddLifetime(name, value));
    return Response.json(Object.fromEntries(used), { status: response.status });
  };
}

/** Some providers write the number as a text. What is none counts as absent (RFC 6749 5.1). */
function isOddLifetime(name: string, value: unknown): boolean {
  return name === 'expires_in' && !(Number(value) >= 1);
}

function undefinedIfUnreadable(error: unknown): undefined {
  if (!(error instanceof SyntaxError)) throw error;
}
