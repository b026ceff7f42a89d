/**
 * What a resource server checks of a sender-constrained token (RFC 9449 4.3, 7.1): the token's signature, the scheme, the
 * proof with everything that it must say, that no proof comes twice, and that the token is bound to its key. It answers
 * for what it received, and not for what was meant: the address is that of the request line and of `Host`.
 */
import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import {
  calculateJwkThumbprint,
  createRemoteJWKSet,
  EmbeddedJWK,
  jwtVerify,
  type JWTPayload,
  type JWTVerifyResult,
} from 'jose';
import type { ApiAnswer, ApiHandler } from './api.ts';

export interface ProvenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

export interface ResourceServer {
  /** Answers like the API of the tests, or with the 401 that the specification wants. */
  readonly answer: ApiHandler;
  /** Why a request is refused; undefined if it is not. */
  readonly faultOf: (request: ProvenRequest) => Promise<string | undefined>;
  /** The fault of each request that was refused. */
  readonly faults: string[];
  /** The nonce that proofs must carry from now on, and that each answer brings; undefined: none. */
  nonce: string | undefined;
}

export interface ResourceServerOptions {
  readonly issuer: string;
  /** Where the issuer's keys are. Default: at the provider of the tests. */
  readonly jwksUri?: string;
  /** Default: that of the tests' provider. */
  readonly audience?: string;
  /** The scheme that it is reached by. Default `http`. */
  readonly scheme?: 'http' | 'https';
}

const maximumAgeSeconds = 60;

export function createResourceServer(options: ResourceServerOptions): ResourceServer {
  const { issuer, jwksUri = `${issuer}/jwks`, audience = 'https://api.test', scheme = 'http' } = options;
  const keys = createRemoteJWKSet(new URL(jwksUri));
  const seen = new Set<string>();

  async function faultOf({ method, url, headers }: ProvenRequest): Promise<string | undefined> {
    const [, token = ''] = /^DPoP ([\w.~+/=-]+)$/.exec(headers.authorization ?? '') ?? [];
    if (token === '') return 'no bound token';
    const claims = await verified(() => jwtVerify(token, keys, { issuer, audience }));
    if (claims === undefined) return 'invalid token';
    const { dpop } = headers;
    // Node joins what stands more than once.
    if (typeof dpop !== 'string' || dpop.includes(',')) return 'not one proof';
    const proof = await verified(() =>
      jwtVerify(dpop, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256', 'EdDSA'] }),
    );
    if (proof === undefined) return 'invalid proof';
    const { protectedHeader, payload } = proof;
    const { jwk } = protectedHeader;
    if (jwk === undefined || 'd' in jwk) return 'no public key';
    const bound = claims.payload['cnf'] as { jkt?: unknown } | undefined;
    if (bound?.jkt !== (await calculateJwkThumbprint(jwk))) return 'another key';
    return claimFault(payload, { method, url: `${scheme}://${headers.host}${url}`, token });
  }

  function claimFault(
    { htm, htu, iat = 0, jti = '', ath, nonce }: JWTPayload,
    { method, url, token }: { readonly method: string; readonly url: string; readonly token: string },
  ): string | undefined {
    if (htm !== method) return 'another method';
    if (htu !== url.replace(/[?#].*$/s, '')) return 'another address';
    if (Math.abs(Date.now() / 1000 - iat) > maximumAgeSeconds) return 'another time';
    if (ath !== hash('sha256', token, 'base64url')) return 'another token';
    if (server.nonce !== undefined && nonce !== server.nonce) return 'another nonce';
    if (jti === '' || seen.has(jti)) return 'seen before';
    seen.add(jti);
    return undefined;
  }

  const server: ResourceServer = {
    faults: [],
    nonce: undefined,
    faultOf,
    async answer(request) {
      const fault = await faultOf(request);
      const offered: Record<string, string> = server.nonce === undefined ? {} : { 'dpop-nonce': server.nonce };
      if (fault === undefined) return { headers: offered, body: { sub: request.claims?.sub, path: request.url } };
      server.faults.push(fault);
      return refusal(fault, offered);
    },
  };
  return server;
}

function refusal(fault: string, headers: Record<string, string>): ApiAnswer {
  const error =
    fault === 'another nonce'
      ? 'use_dpop_nonce'
      : fault === 'invalid token'
        ? 'invalid_token'
        : fault === 'no bound token'
          ? undefined
          : 'invalid_dpop_proof';
  const challenge = `DPoP${error === undefined ? '' : ` error="${error}",`} algs="ES256 EdDSA"`;
  return { status: 401, headers: { ...headers, 'www-authenticate': challenge }, body: { fault } };
}

async function verified<Result extends JWTVerifyResult>(verify: () => Promise<Result>): Promise<Result | undefined> {
  return verify().catch(() => undefined);
}
