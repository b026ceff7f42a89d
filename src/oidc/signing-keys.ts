/**
 * The provider's signing keys (JWKS, RFC 7517 5; OpenID Connect Core 10.1.1): one cached set, refreshed before it is
 * stale, and fetched for a token whose key it lacks. Concurrent calls share one fetch, and a budget bounds the fetches
 * for unknown keys, so that a flood of tokens with invented keys is no flood of fetches.
 */
import type * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { Discovery } from './discovery.ts';
import { providerUnavailable } from './provider-errors.ts';

/** After this many seconds openid-client fetches the keys itself, once for each grant: they are refreshed before. */
const jwksMaxAgeSeconds = 300;
const jwksRefreshAfterSeconds = 240;

const unknownKeyFetchesPerMinute = 5;

/** The key set in the form of openid-client's cache: `uat` is the time of the fetch. */
export type KeySet = Parameters<typeof client.setJwksCache>[1];

export type SigningKeys = ReturnType<typeof createSigningKeys>;

export function createSigningKeys(deps: {
  readonly fetch: typeof fetch;
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly timeoutSeconds: number;
}) {
  /** When keys were fetched for a token whose key was unknown, in milliseconds, within the last minute. */
  const unknownKeyFetches: number[] = [];
  let keys: KeySet | undefined;
  let pendingFetch: Promise<void> | undefined;

  /**
   * Refreshes the keys if they are about to become stale. Called before a code or refresh token is redeemed, so that an
   * outage of the key set fails while the token is still unused.
   */
  async function refreshIfStale(): Promise<void> {
    const ageSeconds = keys === undefined ? Infinity : nowSeconds() - keys.uat;
    if (ageSeconds < jwksRefreshAfterSeconds) return;
    try {
      await refresh();
    } catch (error) {
      if (ageSeconds >= jwksMaxAgeSeconds) throw error;
    }
  }

  /**
   * Fetches the keys for a token whose key is not among `tried`, unless another call has replaced those already.
   * @throws {BffError} `provider_unavailable`, also when the budget is used up
   */
  async function refreshForUnknownKey(tried: KeySet | undefined): Promise<void> {
    if (keys !== tried) return;
    if (pendingFetch === undefined) spendFetchBudget();
    await refresh();
  }

  function spendFetchBudget(): void {
    const now = Date.now();
    while (unknownKeyFetches[0] !== undefined && unknownKeyFetches[0] < now - 60_000) unknownKeyFetches.shift();
    if (unknownKeyFetches.length >= unknownKeyFetchesPerMinute) {
      throw providerUnavailable(new Error("The provider's signing keys were fetched too often in the last minute."));
    }
    unknownKeyFetches.push(now);
  }

  function refresh(): Promise<void> {
    return (pendingFetch ??= fetchKeys().finally(() => (pendingFetch = undefined)));
  }

  /** @throws {BffError} `provider_unavailable`: while no key can be looked up, the outcome of a grant is open */
  async function fetchKeys(): Promise<void> {
    const { jwks_uri: address = '' } = await deps.discovery.fetchMetadata();
    try {
      const response = await deps.fetch(address, {
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(deps.timeoutSeconds * 1000),
      });
      const jwks = (await response.json()) as KeySet['jwks'];
      if (!response.ok || !Array.isArray(jwks.keys)) throw new Error(`${address} answers with no key set.`);
      keys = { jwks, uat: nowSeconds() };
    } catch (error) {
      throw providerUnavailable(error);
    }
  }

  return {
    /** The cached set; undefined until the first fetch. */
    current: () => keys,
    refreshIfStale,
    refreshForUnknownKey,
  };
}
