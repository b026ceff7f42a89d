/**
 * Proofs of possession at the APIs (RFC 9449 7): beside each token that is bound to its session's key goes a proof for this
 * one request. Hides the nonces of the APIs. Wraps any token policy; what carries no bound token passes as it is.
 */
import { accessTokenHash, asksForNonce, nonceOf, proverOf } from '../oidc/dpop.ts';
import type { DpopKey } from '../token-set.ts';
import { isBound, tokenIn } from './bearer.ts';
import type { RouteTokens, TokenCall, TokenPolicy } from './token-policy.ts';

/** What an API gave for the next proofs: the newest nonce, whoever's call brought it. One is kept, however many come. */
interface ApiNonce {
  newest: string | undefined;
}

export type ApiNonces = ReturnType<typeof createApiNonces>;

/** The nonces of all APIs, each server's apart: one must not decide what another is sent. */
export function createApiNonces() {
  const byServer = new Map<string, ApiNonce>();

  /** @param server names the server: routes to the same one share its nonce */
  return function nonceOfServer(server: string): ApiNonce {
    const known = byServer.get(server);
    if (known !== undefined) return known;
    const nonce = { newest: undefined };
    byServer.set(server, nonce);
    return nonce;
  };
}

/** Where a route's calls arrive. */
export interface ProofAudience {
  /** As the API sees it: scheme, and the host that it is addressed by. */
  readonly origin: string;
  readonly nonce: ApiNonce;
}

export function withProofs(policy: TokenPolicy, { origin, nonce }: ProofAudience): RouteTokens {
  /** Of the token that a session last sent here. */
  const hashes = new WeakMap<DpopKey, { readonly token: string; readonly hash: string }>();

  function hashOf(key: DpopKey, token: string): string {
    const known = hashes.get(key);
    if (known?.token === token) return known.hash;
    const hash = accessTokenHash(token);
    hashes.set(key, { token, hash });
    return hash;
  }

  function proven(call: TokenCall, lines: readonly string[]): readonly string[] {
    if (!isBound(lines)) return lines;
    const key = call.entry?.session.tokens.dpopKey;
    const token = tokenIn(lines);
    if (key === undefined || token === undefined) throw new Error('A bound token has no key.');
    const proof = proverOf(key).prove({
      method: call.request.method ?? 'GET',
      url: origin + withoutQuery(call.path),
      nonce: nonce.newest,
      tokenHash: hashOf(key, token),
    });
    return [lines[0] ?? '', lines[1] ?? '', 'dpop', proof];
  }

  return {
    ...policy,
    headers(call) {
      const lines = policy.headers(call);
      return lines instanceof Promise ? lines.then((made) => proven(call, made)) : proven(call, lines);
    },
    provenAnew: proven,
    noteAnswer(headers) {
      const offered = headers['dpop-nonce'];
      if (offered !== undefined) nonce.newest = nonceOf(offered) ?? nonce.newest;
    },
    mayProveAnew(call, challenge, headers) {
      if (call.wasAskedForNonce || call.entry?.session.tokens.dpopKey === undefined) return false;
      call.wasAskedForNonce = asksForNonce(challenge) && nonceOf(headers['dpop-nonce']) !== undefined;
      return call.wasAskedForNonce;
    },
    mayRenew: (call, challenge) => !isAboutProof(challenge) && policy.mayRenew(call, challenge),
  };
}

/** Whether the proof was refused, and not the token: another token changes nothing (RFC 9449 7.1). */
function isAboutProof(challenge: string): boolean {
  return asksForNonce(challenge) || challenge.includes('invalid_dpop_proof');
}

function withoutQuery(path: string): string {
  const end = path.indexOf('?');
  return end === -1 ? path : path.slice(0, end);
}
