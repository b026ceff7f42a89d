/** What an API asks for with a 401: reads `WWW-Authenticate` as far as OAuth defines it (RFC 6750 3, RFC 9470 3). */
import type { IncomingHttpHeaders } from 'node:http';
import type { SignInDemand } from './step-up.ts';

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

/** The sign-in that a step-up challenge asks for (RFC 9470 3). */
export function signInDemand(challenge: string): SignInDemand {
  const [acrValues = '', maxAge = ''] = ['acr_values', 'max_age'].map(
    (name) => new RegExp(`\\b${name}="?([^",]+)`).exec(challenge)?.[1],
  );
  return {
    acrValues: acrValues.split(' ').filter((value) => value !== ''),
    // As many digits as a login takes.
    maxAge: /^\d{1,9}$/.test(maxAge) ? Number(maxAge) : undefined,
  };
}
