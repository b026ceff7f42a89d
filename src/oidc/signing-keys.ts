/**
 * The provider's signing keys (JWKS, RFC 7517 5; OpenID Connect Core 10.1.1): one cached set, fetched as soon as the
 * metadata is known and kept fresh in the background, so that no login waits for it; and fetched for a token whose key it
 * lacks. Concurrent calls share one fetch, and the fetches for unknown keys are bounded, so that a flood of tokens with
 * invented keys is no flood of fetches: by a budget for those that the provider sends with an answer, and by a pause for
 * logout tokens, which anyone may send and nobody may use up the budget with.
 */
import type * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import { detach } from '../detached.ts';
import type { Events } from '../events.ts';
import type { Discovery } from './discovery.ts';
import { providerUnavailable } from './provider-errors.ts';

const refreshAfterSeconds = 300;
/** An older set is not trusted: the provider may have withdrawn a key that was stolen. */
const maximumAgeSeconds = 3600;
const firstRetryMs = 1000;
const lastRetryMs = 60_000;

const unknownKeyFetchesPerMinute = 5;
/** So old at most are the keys of this moment for a token that anyone may have sent. */
const pauseSeconds = 20;

/** More keys than a provider publishes; each costs a validation. */
export const maximumKeysTried = 20;

export type Keys = Parameters<typeof client.setJwksCache>[1]['jwks'];

interface FetchedKeys {
  readonly jwks: Keys;
  readonly fetchedAt: number;
}

interface SigningKeyDeps {
  readonly fetch: typeof fetch;
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly timeoutSeconds: number;
  readonly events: Events;
}

export type SigningKeys = ReturnType<typeof createSigningKeys>;

export function createSigningKeys(deps: SigningKeyDeps) {
  const { events } = deps;
  /** When keys were fetched for a token whose key was unknown, in milliseconds, within the last minute. */
  const unknownKeyFetches: number[] = [];
  let keys: FetchedKeys | undefined;
  let pendingFetch: Promise<Keys> | undefined;
  let lastFetchAt = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = firstRetryMs;
  let closed = false;

  events.subscribe(({ type }) => {
    if (type === 'provider.discovered') refreshInBackground();
  });

  function refreshInBackground(): void {
    detach(refresh(), (cause) => events.emit({ type: 'provider.keys_failed', cause }));
  }

  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (!closed) timer = setTimeout(refreshInBackground, delayMs).unref();
  }

  /**
   * Makes sure that there is a set that may be used. Called before a code or refresh token is redeemed, so that an outage
   * of the key set fails while the token is still unused.
   * @param fetchNow how a set is fetched where there is none
   * @throws {BffError} `provider_unavailable`
   */
  async function requireUsable(fetchNow = refresh): Promise<Keys> {
    const ageSeconds = keys === undefined ? Infinity : nowSeconds() - keys.fetchedAt;
    if (keys === undefined || ageSeconds >= maximumAgeSeconds) return fetchNow();
    // The timer of a machine that slept is late.
    if (ageSeconds >= 2 * refreshAfterSeconds && pendingFetch === undefined) refreshInBackground();
    return keys.jwks;
  }

  /**
   * Fetches the keys for a token whose key is not among `tried`, unless another call has replaced those already.
   * @throws {BffError} `provider_unavailable`, also when the budget is used up
   */
  async function refreshForUnknownKey(tried: Keys): Promise<Keys> {
    if (keys !== undefined && keys.jwks !== tried) return keys.jwks;
    if (pendingFetch === undefined) spendFetchBudget();
    return refresh();
  }

  function spendFetchBudget(): void {
    const now = Date.now();
    while (unknownKeyFetches[0] !== undefined && unknownKeyFetches[0] < now - 60_000) unknownKeyFetches.shift();
    if (unknownKeyFetches.length >= unknownKeyFetchesPerMinute) {
      throw providerUnavailable(new Error("The provider's signing keys were fetched too often in the last minute."));
    }
    unknownKeyFetches.push(now);
  }

  /**
   * The keys of this moment, for a token that anyone may have sent: whatever comes, they are fetched only after a pause.
   * @throws {BffError} `provider_unavailable`, also in the pause after a fetch that failed
   */
  async function refreshSparingly(): Promise<Keys> {
    if (pendingFetch !== undefined || nowSeconds() - lastFetchAt >= pauseSeconds) return refresh();
    if (keys !== undefined && keys.fetchedAt >= lastFetchAt) return keys.jwks;
    throw providerUnavailable(new Error("The provider's signing keys could not be fetched a moment ago."));
  }

  function refresh(): Promise<Keys> {
    return (pendingFetch ??= fetchKeys().finally(() => (pendingFetch = undefined)));
  }

  /** @throws {BffError} `provider_unavailable`: while no key can be looked up, the outcome of a grant is open */
  async function fetchKeys(): Promise<Keys> {
    lastFetchAt = nowSeconds();
    try {
      const { jwks_uri: address = '' } = await deps.discovery.fetchMetadata();
      const response = await deps.fetch(address, {
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(Math.ceil(deps.timeoutSeconds * 1000)),
      });
      keys = { jwks: await keySetIn(response, address), fetchedAt: nowSeconds() };
      retryMs = firstRetryMs;
      schedule(refreshAfterSeconds * 1000);
      return keys.jwks;
    } catch (error) {
      schedule(retryMs);
      retryMs = Math.min(lastRetryMs, retryMs * 2);
      throw providerUnavailable(error);
    }
  }

  return {
    /** The cached set; undefined until the first fetch. */
    current: () => keys?.jwks,
    requireUsable: () => requireUsable(),
    refreshForUnknownKey,
    requireUsableSparingly: () => requireUsable(refreshSparingly),
    refreshSparingly,
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}

async function keySetIn(response: Response, address: string): Promise<Keys> {
  const body: unknown = response.ok ? await response.json().catch(undefinedIfUnreadable) : undefined;
  const keys = body instanceof Object && 'keys' in body ? body.keys : undefined;
  if (!Array.isArray(keys)) throw new Error(`${address} answers ${response.status} without a key set (RFC 7517 5).`);
  // openid-client does without a set in which a key is no object.
  return { keys: keys.filter((key): key is Keys['keys'][number] => key instanceof Object) };
}

function undefinedIfUnreadable(error: unknown): undefined {
  if (!(error instanceof SyntaxError)) throw error;
}
