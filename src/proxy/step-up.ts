/**
 * A call that needs a stronger or fresher sign-in than the session had (RFC 9470), whether the API says so or the route.
 * The answer names what is needed, and has the address of the login that asks for it.
 */
import type { Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import { loginUrl } from '../http/login-url.ts';

/** The sign-in that a call needs. */
export interface SignInDemand {
  /** Any of these will do, the first is preferred; empty where any will. */
  readonly acrValues: readonly string[];
  /** How many seconds ago it may have been at most. */
  readonly maxAge: number | undefined;
}

export function stepUpRequired(demand: SignInDemand, detail: string, config: Config): BffError {
  const { acrValues, maxAge } = demand;
  return new BffError('step_up_required', detail, {
    extensions: {
      ...(acrValues.length === 0 ? {} : { acrValues }),
      ...(maxAge === undefined ? {} : { maxAge }),
      loginUrl: loginUrl(config, loginParameters(demand).toString()),
    },
  });
}

/** As parameters of an authorization request (RFC 9470 4). */
function loginParameters({ acrValues, maxAge }: SignInDemand): URLSearchParams {
  const parameters = new URLSearchParams();
  if (acrValues.length > 0) parameters.set('acr_values', acrValues.join(' '));
  if (maxAge !== undefined) parameters.set('max_age', String(maxAge));
  // Without either, a provider would answer from its own session, with what has just been refused.
  if (parameters.size === 0) parameters.set('prompt', 'login');
  return parameters;
}
