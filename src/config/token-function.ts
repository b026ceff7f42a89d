/** A token policy that is a function of the program: what it gets, and what it answers. */
import type { Claims } from '../token-set.ts';

/**
 * What a {@link TokenFunction} gets to know of the session. It holds the access token: treat it as a secret.
 *
 * @example
 * ```ts
 * import type { TokenSession } from 'sallyport';
 *
 * export function tenantOf({ claims }: TokenSession): string {
 *   return String(claims['tenant'] ?? 'none');
 * }
 * ```
 */
export interface TokenSession {
  /** A hash that stands for this session alone, for a cache of the program's own. It opens nothing. */
  readonly id: string;
  /** The person's claims: those of the ID token, and of UserInfo where that is asked. */
  readonly claims: Claims;
  /** The session's access token, refreshed where it was due. */
  readonly accessToken: string;
  /** In seconds since 1970; undefined if the provider names no lifetime. */
  readonly accessTokenExpiresAt: number | undefined;
}

/**
 * What a {@link TokenFunction} gets to know of the call.
 *
 * @example
 * ```ts
 * import type { TokenRequest } from 'sallyport';
 *
 * export function isWrite({ method }: TokenRequest): boolean {
 *   return method !== 'GET' && method !== 'HEAD';
 * }
 * ```
 */
export interface TokenRequest {
  readonly method: string;
  /** The `path` of the route. */
  readonly route: string;
  /** Path and query, as the browser sent them. */
  readonly url: string;
  /** The browser's headers in lower case, without `Cookie` and `Authorization`. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The token that the API has just answered 401 to; undefined on a call's first attempt. */
  readonly rejectedToken: string | undefined;
  /** Aborted when nobody waits for the token any more. */
  readonly signal: AbortSignal;
}

/**
 * Chooses the token of one attempt to call an API; undefined for none. It has `provider.timeoutSeconds`. A `BffError` that
 * it throws is the answer to the call; anything else is a 500, and is logged.
 *
 * @example
 * ```ts
 * import { defineConfig, type TokenFunction } from 'sallyport';
 *
 * const forTenant: TokenFunction = async ({ claims }, { signal }) => {
 *   const response = await fetch(`https://tokens.internal/${String(claims['tenant'])}`, { signal });
 *   return response.ok ? response.text() : undefined;
 * };
 *
 * export default defineConfig({ api: [{ path: '/api', target: 'http://orders:9100', token: forTenant }] });
 * ```
 */
export type TokenFunction = (
  session: TokenSession,
  request: TokenRequest,
) => string | undefined | Promise<string | undefined>;
