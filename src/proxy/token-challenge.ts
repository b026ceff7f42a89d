/** What an API asks for with a 401: reads `WWW-Authenticate` as far as OAuth defines it (RFC 6750 3, RFC 9470 3). */
import type { IncomingHttpHeaders } from 'node:http';

/** The challenges of a response. undici turns a repeated header into a list, which its types don't say. */
export function challengeOf(headers: IncomingHttpHeaders): string {
  return [headers['www-authenticate'] ?? ''].flat().join(', ');
}

/** Whether the token has too little scope, which a refresh doesn't change (RFC 6750 3.1). */
export function isAboutScope(challenge: string): boolean {
  return challenge.includes('insufficient_scope');
}

/** Whether the API asks for a stronger or more recent sign-in, which a refresh doesn't bring (RFC 9470 3). */
export function isStepUp(challenge: string): boolean {
  return challenge.includes('insufficient_user_authentication');
}

/** The sign-in that a step-up challenge asks for, as parameters of an authorization request (RFC 9470 4). */
export function stepUpParameters(challenge: string): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const name of ['acr_values', 'max_age']) {
    const value = new RegExp(`\\b${name}="?([^",]+)`).exec(challenge)?.[1];
    if (value !== undefined) parameters.set(name, value);
  }
  // Without either, a provider would answer from its own session, with what the API has just refused.
  if (parameters.size === 0) parameters.set('prompt', 'login');
  return parameters;
}
