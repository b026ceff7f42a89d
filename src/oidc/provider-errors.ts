/**
 * What a failed call to the provider means. Two answers are final: a rejected grant (`token-response.ts`), and a token
 * response that breaks the rules (OpenID Connect Core 3.1.3.7). Every other error may pass, and becomes
 * `provider_unavailable`. Hides the error classes and codes of openid-client.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { isLoopback } from '../config/rules.ts';
import { BffError, codeOf, defaultRetrySeconds, retryAfter } from '../http/errors.ts';
import { UnusableMetadata } from './metadata-faults.ts';
import { responseOf } from './refusal.ts';

/** Thrown for a token response that was received and breaks a rule which openid-client doesn't check. */
export class InvalidTokenResponse extends Error {}

/** The codes of openid-client for a response or an ID token that breaks the specification. */
const invalidResponseCodes = new Set([
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
  'OAUTH_KEY_SELECTION_FAILED',
  'OAUTH_UNSUPPORTED_OPERATION',
]);

/** Whether a response was rejected for what it holds. It may still be no token response at all. */
export function isInvalidTokenResponse(error: unknown): boolean {
  return error instanceof InvalidTokenResponse || invalidResponseCodes.has(codeOf(error));
}

/** Whether no key verified the ID token's signature: the set lacks the key that the token names, or it is the wrong one. */
export function isKeyFault(error: unknown): boolean {
  if (codeOf(error) === 'OAUTH_KEY_SELECTION_FAILED') return true;
  // The failed verification, with what was verified, is inside openid-client's own error.
  const facts = error instanceof Error && error.cause instanceof Error ? error.cause.cause : undefined;
  return codeOf(error) === 'OAUTH_INVALID_RESPONSE' && facts instanceof Object && 'signature' in facts;
}

/**
 * The error of a call to the provider as `provider_unavailable`: it may pass, so the session stays.
 * @param cause the same error, with the provider's own words
 */
export function providerUnavailable(error: unknown, cause: unknown = error): BffError {
  if (error instanceof BffError) return error;
  // What the authentication of the client throws comes out of openid-client wrapped.
  if (error instanceof client.ClientError && error.cause instanceof BffError) return error.cause;
  const rejectsClient = isClientRejected(error);
  const detail = rejectsClient
    ? "The identity provider refuses Sallyport's own credentials. The operator must check the client id, the client's secret, key or certificate, and the authentication method."
    : isInvalidTokenResponse(error)
      ? "The identity provider's answer is no token response: it lacks what each must have. The log has the cause."
      : 'The identity provider cannot be reached or answers with an error. Try again in a moment.';
  return new BffError('provider_unavailable', detail, {
    cause,
    ...(rejectsClient ? { pageWording: 'setup' } : {}),
    headers: retryAfter(Math.ceil(retryAfterMs(error) / 1000) || defaultRetrySeconds),
  });
}

/**
 * The provider says no to a token for an API, or gives another one than was asked for: no news about whether it can be
 * reached, and maybe about this one person.
 */
export class RefusedToken extends BffError {
  constructor(cause: unknown) {
    super(
      'provider_unavailable',
      'The identity provider gives no token for this API. The operator finds the reason in the log.',
      { cause, pageWording: 'setup', headers: retryAfter() },
    );
  }
}

/**
 * The error where the provider's metadata can't be had. The reason is for whoever sets the app up: on a loopback origin it
 * is told, elsewhere it is in the log alone, because it may name an inner address.
 */
export function undiscovered(cause: unknown, { origin }: Pick<Config, 'origin'>): BffError {
  const reason = cause instanceof Error && isLoopback(new URL(origin).hostname) ? ` ${cause.message}` : '';
  const options = { cause, headers: retryAfter() };
  return cause instanceof UnusableMetadata
    ? new BffError(
        'provider_unavailable',
        `This app and its identity provider do not fit together; the operator finds the reason in the log.${reason}`,
        { ...options, pageWording: 'setup' },
      )
    : new BffError(
        'provider_unavailable',
        `The identity provider cannot be reached. Try again in a moment.${reason}`,
        options,
      );
}

/** Whether the provider rejected Sallyport's own authentication, not the grant. */
function isClientRejected(error: unknown): boolean {
  if (error instanceof client.WWWAuthenticateChallengeError) return true;
  return error instanceof client.ResponseBodyError && ['invalid_client', 'unauthorized_client'].includes(error.error);
}

const maximumRetryAfterSeconds = 300;

/** The provider's own `Retry-After` (RFC 9110 10.2.3: seconds or a date) behind an error, in milliseconds; 0 if none. */
export function retryAfterMs(error: unknown): number {
  const headers = responseOf(error instanceof BffError ? error.cause : error)?.headers;
  const value = headers?.get('retry-after') ?? '';
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return seconds > 0 ? Math.min(seconds, maximumRetryAfterSeconds) * 1000 : 0;
}
