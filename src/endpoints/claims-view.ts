/**
 * Which claims a script may see. Providers put more into ID tokens and UserInfo than what is about the person: password
 * hashes (Casdoor), tokens for other servers (OpenID Connect Core 5.6.2), signed credentials. So only listed claims are
 * shown, and whatever is a token is cut from them, at any depth, also from what a program's own view selects.
 */
import { namesToken, type Claims, type TokenSet } from '../token-set.ts';

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

/** No claim about a person is nested more deeply. */
const maximumDepth = 16;

/** What is left of a view as JSON, without anything that is a token. @param tokens of the session, which may be opaque */
export function withoutTokens(view: Claims, { accessToken, refreshToken, idToken }: TokenSet): Claims {
  const own = [accessToken, refreshToken, idToken].filter((token) => token !== undefined);
  // A program's view may hold what only serialises to JSON, such as dates.
  const json: unknown = JSON.parse(JSON.stringify(view));
  return cutTokens(json, own, 0) as Claims;
}

/** @returns undefined for what must not be shown */
function cutTokens(value: unknown, own: readonly string[], depth: number): unknown {
  if (typeof value === 'string') return isToken(value, own) ? undefined : value;
  if (!(value instanceof Object)) return value;
  if (depth === maximumDepth) return undefined;
  if (Array.isArray(value)) return value.map((item) => cutTokens(item, own, depth + 1)).filter(isDefined);
  const members = Object.entries(value)
    .filter(([name, member]) => !isToken(name, own) && !(namesToken(name) && mayHoldToken(member)))
    .map(([name, member]) => [name, cutTokens(member, own, depth + 1)] as const);
  return Object.fromEntries(members.filter(([, member]) => isDefined(member)));
}

function isDefined(value: unknown): boolean {
  return value !== undefined;
}

/** A flag such as `has_api_token` tells no token. */
function mayHoldToken(value: unknown): boolean {
  return typeof value === 'string' || value instanceof Object;
}

/** A token in a query, a fragment or a JSON text: its name tells it. */
const namedToken = /(?:access|refresh|id)[_-]?token["']?\s*[:=]/i;

function isToken(text: string, own: readonly string[]): boolean {
  if (namedToken.test(text) || own.some((token) => text.includes(token))) return true;
  // By the dots of a JWT (RFC 7515 3.1, RFC 7516 3.1). A regular expression with a loop needs stack for each letter of a
  // long word, and passes over a token behind words with dots, such as the name of a host.
  const parts = text.split('.');
  return parts.some((part, at) => {
    const [payload, rest] = parts.slice(at + 1, at + 3);
    if (payload === undefined || rest === undefined || notInSegment.test(payload)) return false;
    return isJoseHeader(part.split(notInSegment).at(-1) ?? '');
  });
}

/** A character that base64url does not have. */
const notInSegment = /[^\w-]/;

/** Words that may stand before a token in one run of letters, as in `my_token_eyJ…`. */
const maximumPrefixes = 4;
/** An object with a member has more. */
const shortestHeader = 4;

/** Whether a segment, or what follows a prefix in it, is a JSON object in base64url. */
function isJoseHeader(segment: string): boolean {
  let rest = segment;
  for (let prefixes = 0; prefixes <= maximumPrefixes && rest.length >= shortestHeader; prefixes++) {
    if (isEncodedObject(rest)) return true;
    const end = rest.search(/[_-]/);
    if (end === -1) return false;
    rest = rest.slice(end + 1);
  }
  return false;
}

function isEncodedObject(text: string): boolean {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) instanceof Object;
  } catch {
    return false;
  }
}
