/** What an authorization response says (RFC 6749 4.1.2; OpenID Connect Core 3.1.2.6), before its code is redeemed. */
import { BffError, retryAfter } from '../http/errors.ts';
import { authorizationRefusal } from '../oidc/refusal.ts';
import { single } from './endpoint.ts';

const responseParameters = [
  'code',
  'state',
  'iss',
  'error',
  'error_description',
  'error_uri',
  'session_state',
  'response',
];

export function hasRepeatedParameter(parameters: URLSearchParams): boolean {
  return responseParameters.some((name) => single(parameters, name) === null);
}

/** The errors of a provider that would have to ask the person, to `prompt=none` (OpenID Connect Core 3.1.2.6). */
const interactionErrors = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

export function needsInteraction(parameters: URLSearchParams): boolean {
  return interactionErrors.has(parameters.get('error') ?? '');
}

/** How providers say that the person left their login page open for too long. There is no error code for it. */
const expirations: ReadonlyArray<{ readonly error: string; readonly description: RegExp }> = [
  // Keycloak, where the person signed in in another tab meanwhile. It asks clients to try again at once.
  { error: 'temporarily_unavailable', description: /^authentication_expired$/ },
  // Ory Hydra, for its login and its consent page.
  { error: 'request_unauthorized', description: /\b(?:login|consent) request has expired\b/ },
];

/** Whether the login expired on the provider's side: a new one may succeed at once. */
export function hasExpiredAtProvider(parameters: URLSearchParams): boolean {
  const description = parameters.get('error_description') ?? '';
  return expirations.some((known) => known.error === parameters.get('error') && known.description.test(description));
}

/**
 * The error that the provider answered with, for the person. A text from the URL is shown only if it looks like an error
 * code, and its description never.
 */
export function authorizationError(parameters: URLSearchParams): { readonly reason: string; readonly error: BffError } {
  const given = parameters.get('error') ?? '';
  const reason = /^[a-z_]{1,40}$/.test(given) ? given : 'unknown error';
  const cause = authorizationRefusal(parameters);
  const error =
    reason === 'server_error' || reason === 'temporarily_unavailable'
      ? new BffError('provider_unavailable', `The identity provider could not sign you in now (${reason}).`, {
          cause,
          headers: retryAfter(),
        })
      : new BffError('authorization_failed', `The identity provider did not sign you in (${reason}).`, { cause });
  return { reason, error };
}
