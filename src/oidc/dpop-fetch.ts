/**
 * Calls to the provider with proofs of possession (RFC 9449 5, 7, 8): at the token endpoint, the pushed authorization
 * request endpoint and UserInfo. Hides the provider's nonces, the newest of each of its servers.
 *
 * A call that is refused for its nonce is made anew by the caller, and not repeated here: the client's assertion must not
 * be shown twice (RFC 7523 3).
 */
import { LRUCache } from 'lru-cache';
import type { CustomFetchOptions } from 'openid-client';
import type { DpopKey } from '../token-set.ts';
import { accessTokenHash, asksForNonce, nonceOf, proverOf } from './dpop.ts';
import type { OidcFetch } from './token-response.ts';

/** A provider's endpoints are on few servers. */
const maximumServers = 16;

export interface ProvingFetch {
  readonly fetch: OidcFetch;
  /** Whether the last answer refused its call for the nonce, and brought the one to use. */
  wasRefusedForNonce(): boolean;
}

export function createProvingFetches() {
  /** By origin. */
  const nonces = new LRUCache<string, string>({ max: maximumServers });

  /** A fetch for one call, which proves that it has the session's key. */
  return function provingFetch(fetch: OidcFetch, key: DpopKey): ProvingFetch {
    const prover = proverOf(key);
    let refused = false;

    function proof(url: URL, { method }: CustomFetchOptions, tokenHash?: string): string {
      const target = { method, url: `${url.origin}${url.pathname}`, nonce: nonces.get(url.origin) };
      return prover.prove({ ...target, tokenHash });
    }

    function withProof(url: URL, options: CustomFetchOptions): CustomFetchOptions {
      const { authorization } = options.headers;
      if (authorization?.startsWith('Bearer ') === true) {
        const token = authorization.slice('Bearer '.length);
        const dpop = proof(url, options, accessTokenHash(token));
        return { ...options, headers: { ...options.headers, authorization: `DPoP ${token}`, dpop } };
      }
      return { ...options, headers: { ...options.headers, dpop: proof(url, options) } };
    }

    return {
      wasRefusedForNonce: () => refused,
      async fetch(address, options) {
        const url = new URL(address);
        const response = await fetch(address, withProof(url, options));
        const nonce = nonceOf(response.headers.get('dpop-nonce'));
        if (nonce !== undefined) nonces.set(url.origin, nonce);
        refused = nonce !== undefined && (await isNonceRefusal(response));
        return response;
      },
    };
  };
}

/** Servers that issue tokens say it in the body (RFC 9449 8), those that take tokens in a challenge (9). */
async function isNonceRefusal(response: Response): Promise<boolean> {
  if (response.status !== 400 && response.status !== 401) return false;
  if (asksForNonce(response.headers.get('www-authenticate') ?? '')) return true;
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  return body instanceof Object && 'error' in body && body.error === 'use_dpop_nonce';
}
