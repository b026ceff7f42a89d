/**
 * Introspection of access tokens (RFC 7662), and the JWT that stands for an opaque one (a phantom token): as a signed
 * response (RFC 9701), or in a vendor's form, `application/jwt` (Curity) or a member `jwt` beside the JSON (Keycloak).
 * A JWT is verified before anybody gets it. Whoever asks keeps the result.
 */
import * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { allowedAlgorithms } from '../config/profile.ts';
import type { Claims } from '../token-set.ts';
import type { OidcClient } from './client.ts';
import type { Discovery } from './discovery.ts';
import { legible } from './legible.ts';
import { listOf } from './metadata.ts';
import { asNoToken } from './no-token.ts';
import { InvalidTokenResponse, RefusedToken } from './provider-errors.ts';
import { createSignatureCheck, isJsonObject, readJwt, type JwtHeader } from './provider-jwt.ts';
import { isPublicKeyAlgorithm } from './suitability.ts';
import type { OidcFetch } from './token-response.ts';

/** What the provider says of an access token. */
export type Introspection = InactiveToken | ActiveToken;

export interface InactiveToken {
  readonly active: false;
}

export interface ActiveToken {
  readonly active: true;
  /** The members of the response (RFC 7662 2.2), or the claims of the JWT. */
  readonly claims: Claims;
  /** In seconds since 1970; undefined if it doesn't say. */
  readonly expiresAt: number | undefined;
  /** How long the response may be kept (`max-age`, RFC 9111 5.2.2.1); undefined if it doesn't say. */
  readonly maxAgeSeconds: number | undefined;
}

/** An active token with the JWT that stands for it. */
export interface PhantomToken extends ActiveToken {
  readonly jwt: string;
}

/** The typ of a signed response (RFC 9701 5). */
const signedResponse = 'token-introspection+jwt';

/** The typ of a JWT that is an access token (RFC 9068 2.1); older ones say `JWT` or nothing. */
const accessTokenTyp = /^(?:application\/)?(?:at\+)?jwt$/i;

/** The forms in which a provider gives the JWT, by the `Accept` that asks for each. */
const forms = [`application/${signedResponse}`, 'application/jwt'] as const;

interface IntrospectionDeps extends Pick<OidcClient, 'configured' | 'fetchOnce' | 'signingKeys'> {
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
}

export function createIntrospection(config: Config, deps: IntrospectionDeps) {
  const { configured, fetchOnce, signingKeys, discovery } = deps;
  // The provider itself has sent the JWT.
  const { requireUsable: known, refreshForUnknownKey: newer } = signingKeys;
  const isSignedByProvider = createSignatureCheck({ known, newer });
  /** The one that brought a JWT last. */
  let form: (typeof forms)[number] | undefined;

  /** @throws {BffError} `provider_unavailable` while it can't be told */
  async function introspect(accessToken: string): Promise<Introspection> {
    try {
      return introspectionOf(await ask(accessToken, 'application/json'));
    } catch (error) {
      throw await asNoToken(error);
    }
  }

  /**
   * @param audience whose the JWT must be
   * @throws {BffError} `provider_unavailable` while it can't be told, and where the JWT is not what it should be
   */
  async function obtainPhantomToken(accessToken: string, audience: string): Promise<InactiveToken | PhantomToken> {
    try {
      for (const accept of await formsInOrder()) {
        const answer = await ask(accessToken, accept);
        const jwt = jwtIn(answer);
        if (jwt !== undefined) {
          form = accept;
          return await verified(jwt, audience, answer.maxAgeSeconds);
        }
        if (isInactive(answer)) return { active: false };
      }
    } catch (error) {
      throw await asNoToken(error);
    }
    throw new RefusedToken(new Error(noJwt));
  }

  /** A provider that signs its responses says so (RFC 9701 7). */
  async function formsInOrder(): Promise<readonly (typeof forms)[number][]> {
    const algorithms = listOf(await discovery.fetchMetadata(), 'introspection_signing_alg_values_supported');
    const first = form ?? (algorithms === undefined ? forms[1] : forms[0]);
    return [first, ...forms.filter((other) => other !== first)];
  }

  /** openid-client authenticates the call; the answer has forms that it doesn't know. */
  async function ask(accessToken: string, accept: string): Promise<Answer> {
    const received: { answer?: Answer } = {};
    const fetch: OidcFetch = async (url, options) => {
      const response = await fetchOnce(url, { ...options, headers: { ...options.headers, accept } });
      // A form that the provider doesn't have (RFC 9110 15.5.7) is no fault.
      if (!response.ok && response.status !== 406) return response;
      received.answer = await answerOf(response);
      return Response.json({ active: false });
    };
    await configured({ fetch }, (configuration) =>
      client.tokenIntrospection(configuration, accessToken, { token_type_hint: 'access_token' }),
    );
    if (received.answer === undefined) throw new InvalidTokenResponse('The introspection has no answer.');
    return received.answer;
  }

  async function verified(
    jwt: string,
    audience: string,
    maxAgeSeconds: number | undefined,
  ): Promise<InactiveToken | PhantomToken> {
    const parts = readJwt(jwt);
    if (parts === undefined) throw invalid('is encrypted, or no JWT');
    const claims = checkedClaims(parts, { issuer: config.issuer, clientId: config.client.id, audience });
    await checkSignature(jwt, parts.header);
    if (claims === undefined) return { active: false };
    const expiresAt = timeOf(claims['exp']);
    if (expiresAt !== undefined && expiresAt <= nowSeconds()) throw invalid('has expired');
    return { active: true, claims, expiresAt, maxAgeSeconds, jwt };
  }

  async function checkSignature(jwt: string, header: JwtHeader): Promise<void> {
    const { alg, crit } = header;
    if (typeof alg !== 'string' || !isPublicKeyAlgorithm(alg)) throw invalid('is not signed with a public key');
    if (allowedAlgorithms([alg], config.profile).length === 0) throw invalid(`is signed with ${alg}`);
    // None is understood here (RFC 7515 4.1.11).
    if (crit !== undefined) throw invalid('demands an extension (crit) that is not understood');
    if (!(await isSignedByProvider(jwt, header, [alg]))) {
      throw invalid('is signed with a key that is none of the provider’s');
    }
  }

  return { introspect, obtainPhantomToken };
}

const noJwt =
  'The introspection brought no JWT, neither as application/token-introspection+jwt (RFC 9701) nor as application/jwt. Let the provider give this client one.';

/** A response, read. */
interface Answer {
  readonly status: number;
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>> | undefined;
  readonly maxAgeSeconds: number | undefined;
}

async function answerOf(response: Response): Promise<Answer> {
  const text = (await response.text()).trim();
  const [, maxAge] = /(?:^|[\s,])max-age\s*=\s*"?(\d{1,9})/i.exec(response.headers.get('cache-control') ?? '') ?? [];
  return {
    status: response.status,
    text,
    json: jsonIn(text),
    maxAgeSeconds: maxAge === undefined ? undefined : Number(maxAge),
  };
}

function jsonIn(text: string): Answer['json'] {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function introspectionOf({ json, maxAgeSeconds }: Answer): Introspection {
  if (json === undefined || typeof json['active'] !== 'boolean') {
    throw new InvalidTokenResponse('The introspection does not say whether the token is active (RFC 7662 2.2).');
  }
  const expiresAt = timeOf(json['exp']);
  if (!json['active'] || (expiresAt !== undefined && expiresAt <= nowSeconds())) return { active: false };
  return { active: true, claims: json, expiresAt, maxAgeSeconds };
}

/** Curity answers 204 for a token that is none. */
function isInactive({ status, json }: Answer): boolean {
  return status === 204 || json?.['active'] === false;
}

function jwtIn({ text, json }: Answer): string | undefined {
  if (json === undefined) return /^[\w-]+\.[\w-]+\./.test(text) ? text : undefined;
  const { active, jwt } = json;
  return active === true && typeof jwt === 'string' ? jwt : undefined;
}

interface JwtExpectations {
  readonly issuer: string;
  readonly clientId: string;
  readonly audience: string;
}

/** @returns what the JWT says of the access token; undefined if it says that the token is not active */
function checkedClaims(
  { header, claims }: { readonly header: JwtHeader; readonly claims: Claims },
  { issuer, clientId, audience }: JwtExpectations,
): Claims | undefined {
  const { typ = 'JWT' } = header;
  if (typeof typ !== 'string') throw invalid('has a typ that is no text');
  if (claims['iss'] !== issuer) throw invalid(`is from ${quoted(claims['iss'])}, not from the issuer`);
  if (typ.replace(/^application\//i, '').toLowerCase() === signedResponse) {
    // It is for who asked (RFC 9701 5), and says what it is about inside.
    requireAudience(claims, clientId);
    if (timeOf(claims['iat']) === undefined) throw invalid('has no iat');
    const { token_introspection: inner } = claims;
    if (!isJsonObject(inner) || typeof inner['active'] !== 'boolean') throw invalid('is about no token');
    return inner['active'] ? inner : undefined;
  }
  // An ID token, or a logout token, must never pass for an access token.
  if (!accessTokenTyp.test(typ) || 'at_hash' in claims || 'events' in claims) throw invalid('is no access token');
  requireAudience(claims, audience);
  return claims;
}

function requireAudience({ aud }: Claims, expected: string): void {
  if (aud === expected || (Array.isArray(aud) && aud.includes(expected))) return;
  throw invalid(`is for ${quoted(aud)}, not for ${JSON.stringify(expected)} (token.phantom.audience)`);
}

/** A claim for a message. */
function quoted(claim: unknown): string {
  return claim === undefined ? 'nobody' : (legible(JSON.stringify(claim)) ?? 'somebody');
}

function invalid(fault: string): InvalidTokenResponse {
  return new InvalidTokenResponse(`The JWT of the introspection ${fault}.`);
}

function timeOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? Math.floor(value) : undefined;
}
