/** What a DPoP proof says (RFC 9449 4.2), unverified: the provider and the resource server of the tests verify them. */
import { hash } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, type JWK } from 'jose';

export interface Proof {
  readonly alg: unknown;
  readonly typ: unknown;
  readonly jwk: JWK | undefined;
  readonly htm: unknown;
  readonly htu: unknown;
  readonly jti: unknown;
  readonly ath: unknown;
  readonly nonce: unknown;
}

export function proofIn(headers: Readonly<Record<string, unknown>>): Proof {
  const { dpop } = headers;
  if (typeof dpop !== 'string') throw new Error('the request carries no proof');
  const { alg, typ, jwk } = decodeProtectedHeader(dpop);
  const { htm, htu, jti, ath, nonce } = decodeJwt(dpop);
  return { alg, typ, jwk, htm, htu, jti, ath, nonce };
}

/** `cnf.jkt` of an access token (RFC 9449 6.1). */
export function boundTo(accessToken: string | undefined): unknown {
  const { cnf } = decodeJwt(accessToken ?? '') as { cnf?: { jkt?: unknown } };
  return cnf?.jkt;
}

export function hashOf(accessToken: string | undefined): string {
  return hash('sha256', accessToken ?? '', 'base64url');
}
