/**
 * Which claims a script may see. Providers put more into ID tokens and UserInfo than what is about the person: password
 * hashes (Casdoor), tokens for other servers (OpenID Connect Core 5.6.2), signed credentials. So only listed claims are
 * shown; whatever is a token is cut from them, and from what a program's own view selects (`tokens/claims-without-tokens.ts`).
 */
import type { Claims } from '../token-set.ts';

/** OpenID Connect Core 5.1, and the two names that providers use for memberships. */
const standardClaims = (
  'sub name given_name family_name middle_name nickname preferred_username profile picture website email ' +
  'email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at groups roles'
).split(' ');

/** The default of `sessionView`. @param further names of claims beside the standard ones */
export function createClaimsSelection(further: readonly string[]): (claims: Claims) => Claims {
  const names = [...new Set([...standardClaims, ...further])];
  return (claims) =>
    Object.fromEntries(names.flatMap((name) => (Object.hasOwn(claims, name) ? [[name, claims[name]]] : [])));
}
