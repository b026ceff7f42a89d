/**
 * Whether a login brought the sign-in that it was begun for (OpenID Connect Core 3.1.2.1, 3.1.3.7; RFC 9470 4). A provider
 * that ignores `acr_values` or `max_age` would otherwise send the person back with what the API has just refused, and the
 * app would send them to it again. Hides when an `acr` and an `auth_time` are as asked.
 */
import { nowSeconds } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { legible } from '../oidc/legible.ts';
import type { LoginTransaction } from '../session/transactions.ts';
import { idTokenClaims } from '../token-set.ts';

type Asked = Pick<LoginTransaction, 'acrValues' | 'maxAge' | 'startedAt'>;

/** What an ID token lacks: for the log, in which `cause` names what was asked and what came, and for the person. */
export interface Shortfall {
  readonly reason: 'acr_unmet' | 'auth_time_unmet';
  readonly error: BffError;
}

/**
 * @param asked `acr_values` counts only where the app asked for it: those of `login.params` are the operator's preference,
 *   which a provider may answer with another sign-in (OpenID Connect Core 3.1.2.1)
 * @returns undefined if the sign-in is as asked
 */
export function shortfallOf(idToken: string, asked: Asked, clockToleranceSeconds: number): Shortfall | undefined {
  const { acr, auth_time: authTime, iat } = idTokenClaims(idToken) ?? {};
  const acrValues = asked.acrValues?.split(' ').filter((value) => value !== '') ?? [];
  if (acrValues.length > 0 && !acrValues.some((value) => value === acr)) {
    const cause = new Error(`Asked for acr ${legible(acrValues.join(' '))}; the ID token has ${wordsFor(acr)}.`);
    return { reason: 'acr_unmet', error: tooWeak('It is not of the kind that was asked for (acr).', cause) };
  }
  if (asked.maxAge === undefined || isRecent({ authTime, iat }, asked, clockToleranceSeconds)) return undefined;
  const cause = new Error(`Asked for max_age ${asked.maxAge}; the ID token has auth_time ${wordsFor(authTime)}.`);
  return { reason: 'auth_time_unmet', error: tooWeak('It is older than was asked for (auth_time).', cause) };
}

/** Times in tokens are whole seconds, and the provider answers a moment after it was asked. */
const roundingSeconds = 2;

/**
 * By the provider's clock alone, because it tells both times. A person who signs in during this very login does what was
 * asked, however long the provider's further pages take them after that.
 */
function isRecent(
  { authTime, iat }: { readonly authTime: unknown; readonly iat: unknown },
  { maxAge = Infinity, startedAt }: Asked,
  clockToleranceSeconds: number,
): boolean {
  if (typeof authTime !== 'number' || typeof iat !== 'number') return false;
  const age = iat - authTime;
  return age >= -clockToleranceSeconds && age <= Math.max(maxAge, nowSeconds() - startedAt) + roundingSeconds;
}

function wordsFor(claim: unknown): string {
  return claim === undefined ? 'none' : (legible(JSON.stringify(claim)) ?? 'none');
}

/** Without a link to sign in: it would lead through the same login to this page. */
function tooWeak(why: string, cause: Error): BffError {
  const detail = `The identity provider did not give the sign-in that was asked for. ${why} Nothing was changed.`;
  return new BffError('authorization_failed', detail, { cause, pageWording: 'sign_in_too_weak' });
}
