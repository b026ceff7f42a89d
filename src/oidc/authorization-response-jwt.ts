/**
 * Signed authorization responses (JWT Secured Authorization Response Mode for OAuth 2.0, JARM): one parameter, `response`,
 * a JWT that holds the others. The browser brings it, so nothing of it is used before it is verified (JARM 2.4).
 */
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Claims } from '../token-set.ts';
import type { Discovery } from './discovery.ts';
import { createSignatureCheck, isEncrypted, readJwt, sparingly, type JwtHeader } from './provider-jwt.ts';
import { authorizationRefusal } from './refusal.ts';
import { expectsSignedResponse } from './response-mode.ts';
import type { SigningKeys } from './signing-keys.ts';
import { responseAlgorithms } from './suitability.ts';

/** Why a response is refused. `message` may be shown: it holds nothing of the response. */
export class InvalidAuthorizationResponse extends Error {
  readonly reason: 'response_unsigned' | 'response_invalid';

  constructor(reason: InvalidAuthorizationResponse['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'InvalidAuthorizationResponse';
    this.reason = reason;
  }
}

interface ReaderDeps {
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly signingKeys: Pick<SigningKeys, 'requireUsableSparingly' | 'refreshSparingly'>;
}

export function createAuthorizationResponseReader(config: Config, { discovery, signingKeys }: ReaderDeps) {
  const isSignedByProvider = createSignatureCheck(sparingly(signingKeys));

  /**
   * The parameters of an authorization response.
   * @param received what the browser brought
   * @throws {InvalidAuthorizationResponse} where it must be signed, and isn't or not rightly
   * @throws {BffError} `provider_unavailable` while it can't be told
   */
  return async function readAuthorizationResponse(received: URLSearchParams): Promise<URLSearchParams> {
    if (!expectsSignedResponse(config)) return received;
    const [token, ...others] = received.getAll('response');
    if (token === undefined) throw unsigned(received);
    if (others.length > 0) throw invalid('The answer holds a parameter twice.');
    if (isEncrypted(token)) throw invalid('The answer is encrypted: register this client without that.');
    const parts = readJwt(token);
    if (parts === undefined) throw invalid('The answer is not a signed JWT.');
    checkClaims(parts.claims, config);
    const algorithms = responseAlgorithms(await discovery.fetchMetadata(), config);
    checkHeader(parts.header, algorithms);
    if (!(await isSignedByProvider(token, parts.header, algorithms))) {
      throw invalid('No key of the identity provider verifies the signature of the answer.');
    }
    return parametersIn(parts.claims);
  };
}

/** Its own error tells the operator why it came so, and decides nothing. */
function unsigned(received: URLSearchParams): InvalidAuthorizationResponse {
  return new InvalidAuthorizationResponse(
    'response_unsigned',
    'The answer of the identity provider must be signed, and is not.',
    received.has('error') ? authorizationRefusal(received) : undefined,
  );
}

function invalid(message: string): InvalidAuthorizationResponse {
  return new InvalidAuthorizationResponse('response_invalid', message);
}

/** JARM 2.1: `iss`, `aud` and `exp` are in every response. */
function checkClaims({ iss, aud, exp, nbf }: Claims, { issuer, client, provider }: Config): void {
  if (iss !== issuer) throw invalid('The answer comes from another provider.');
  if (aud !== client.id && !(Array.isArray(aud) && aud.includes(client.id))) {
    throw invalid('The answer is for another client.');
  }
  const now = nowSeconds();
  const { clockToleranceSeconds } = provider;
  if (typeof exp !== 'number') throw invalid('The answer does not say how long it is valid.');
  if (exp <= now - clockToleranceSeconds) throw invalid('The answer has expired.');
  if (nbf !== undefined && (typeof nbf !== 'number' || nbf > now + clockToleranceSeconds)) {
    throw invalid('The answer is from the future; check the clocks.');
  }
}

/** `none` and the HMACs are never among the algorithms (JARM 2.4, 3). */
function checkHeader({ alg, crit }: JwtHeader, algorithms: readonly string[]): void {
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw invalid(`The answer must be signed with ${algorithms.join(', ') || 'a public key'}.`);
  }
  // None is understood here, and those that are not must not be accepted (RFC 7515 4.1.11).
  if (crit !== undefined) throw invalid('The answer demands an extension (crit) that is not understood.');
}

/** The members that a plain response could have. */
function parametersIn(claims: Claims): URLSearchParams {
  const texts = Object.entries(claims).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return new URLSearchParams(texts.filter(([name]) => name !== 'aud'));
}
