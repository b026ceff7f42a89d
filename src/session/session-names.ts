/**
 * The names under which a provider ends sessions: the person (`iss` and `sub`) and the provider's session (`iss` and
 * `sid`), as Back-Channel Logout 1.0 2.4 has them. The store gets hashes of them.
 */
import { hash } from 'node:crypto';
import { idTokenClaims } from '../token-set.ts';
import type { Session } from './session.ts';

/** 132 bits: short enough for a ticket. */
const nameLength = 22;

/** Of the person. */
export function personName(issuer: string, sub: string): string {
  return `sub:${hashOf(issuer, sub)}`;
}

/** Of the provider's session. */
export function providerSessionName(issuer: string, sid: string): string {
  return `sid:${hashOf(issuer, sid)}`;
}

/** The names of a session: the person's, and the provider's session's, by its last ID token and by the login's. */
export function namesOf({ tokens, providerSid }: Session, issuer: string): readonly string[] {
  const { sub, sid } = idTokenClaims(tokens.idToken) ?? {};
  const sids = new Set([sid, providerSid].filter((each) => typeof each === 'string'));
  return [
    ...(typeof sub === 'string' ? [personName(issuer, sub)] : []),
    ...Array.from(sids, (each) => providerSessionName(issuer, each)),
  ];
}

/** The person's among a session's names. */
export function personAmong(names: readonly string[]): string | undefined {
  return names.find((name) => name.startsWith('sub:'));
}

/** JSON keeps the parts apart, whatever is in them. */
function hashOf(issuer: string, value: string): string {
  return hash('sha256', JSON.stringify([issuer, value]), 'base64url').slice(0, nameLength);
}
