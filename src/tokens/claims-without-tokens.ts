/**
 * Claims without anything that is a token, at any depth: for scripts, and for whoever else is to know the person but must
 * not act as them.
 */
import { namesToken, type Claims, type TokenSet } from '../token-set.ts';

/** No claim about a person is nested more deeply. */
const maximumDepth = 16;

/** What is left of claims as JSON, without anything that is a token. @param tokens of the session, which may be opaque */
export function withoutTokens(claims: Claims, { accessToken, refreshToken, idToken }: TokenSet): Claims {
  const own = [accessToken, refreshToken, idToken].filter((token) => token !== undefined);
  // A program's view may hold what only serialises to JSON, such as dates.
  const json: unknown = JSON.parse(JSON.stringify(claims));
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
