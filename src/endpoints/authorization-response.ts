/** What an authorization response says (RFC 6749 4.1.2; OpenID Connect Core 3.1.2.6), before its code is redeemed. */
import { BffError, retryAfter } from '../http/errors.ts';
import { InvalidAuthorizationResponse } from '../oidc/authorization-response-jwt.ts';
import { authorizationRefusal } from '../oidc/refusal.ts';
import { single, type EndpointDeps } from './endpoint.ts';

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

/** Why a response is refused: for the log, and for the person. */
interface Fault {
  readonly reason: string;
  readonly detail: string;
}

/** What is wrong with the form of a response; undefined if it is as the specification wants it. */
function faultOf(parameters: URLSearchParams): Fault | undefined {
  if (responseParameters.some((name) => single(parameters, name) === null)) {
    return { reason: 'parameter_repeated', detail: 'The answer holds a parameter twice.' };
  }
  if (parameters.has('error') || parameters.get('code')) return undefined;
  return { reason: 'code_missing', detail: 'The answer carries no code.' };
}

/** By what `provider.checkIssuer` found (RFC 9207 2.4). */
const issuerFaults: Readonly<Record<'right' | 'other' | 'missing', Fault | undefined>> = {
  right: undefined,
  other: { reason: 'issuer_other', detail: 'The answer comes from another provider.' },
  missing: {
    reason: 'issuer_missing',
    detail: 'The identity provider promises to name itself (iss) in each answer, and did not in this one.',
  },
};

export function createResponseChecks({ provider, events }: Pick<EndpointDeps, 'provider' | 'events'>) {
  /** What the answer says. Where it must be signed, nothing of it is used before that is verified. */
  async function readParameters(received: URLSearchParams): Promise<URLSearchParams> {
    try {
      return await provider.readAuthorizationResponse(received);
    } catch (error) {
      if (!(error instanceof InvalidAuthorizationResponse)) throw error;
      const { reason, message, cause = error } = error;
      events.emit({ type: 'login.failed', reason, cause });
      throw invalidLogin(message, cause);
    }
  }

  /** Refuses what no provider would answer, or another one. The answer's own error tells the operator why it came so. */
  async function requireGenuine(parameters: URLSearchParams): Promise<void> {
    const fault = faultOf(parameters) ?? issuerFaults[await provider.checkIssuer(parameters)];
    if (fault === undefined) return;
    const cause = parameters.has('error') ? authorizationRefusal(parameters) : undefined;
    events.emit({ type: 'login.failed', reason: fault.reason, cause });
    throw invalidLogin(fault.detail, cause);
  }

  return { readParameters, requireGenuine };
}

export function invalidLogin(detail: string, cause?: unknown): BffError {
  return new BffError('login_transaction_invalid', `${detail} Nothing was changed; sign in again.`, { cause });
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
  // A pushed request lives for some sixty seconds, and once (RFC 9126 2.2; the code is of RFC 9101 7).
  { error: 'invalid_request_uri', description: /^/ },
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
