/**
 * openid-client, configured for one call: its fetch, its timeout, the metadata and signing keys of the moment. Also
 * hides the further validations of a response whose key was unknown.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';
import { createClientAuthentication } from './client-authentication.ts';
import type { DpopKey } from '../token-set.ts';
import type { Discovery } from './discovery.ts';
import { createProvingFetches } from './dpop-fetch.ts';
import { isKeyFault } from './provider-errors.ts';
import { withoutQuotedSecrets } from './refusal.ts';
import { createSigningKeys, maximumKeysTried, type Keys } from './signing-keys.ts';
import { signatureAlgorithms } from './suitability.ts';
import { idTokenHeader, type OidcFetch, type ReplayableFetch } from './token-response.ts';

interface ClientDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly discovery: Discovery;
  readonly events: Events;
}

/** How one call differs from the others. */
interface CallOptions {
  /** Remembers the token response, and answers with it from then on. */
  readonly recorder?: ReplayableFetch;
  /** In place of the fetch that every call has. */
  readonly fetch?: OidcFetch;
  readonly timeoutSeconds?: number;
  readonly keys?: Keys | undefined;
  /** Proved with each request of the call. */
  readonly dpopKey?: DpopKey | undefined;
}

type GrantOptions = CallOptions & { readonly recorder: ReplayableFetch };

type Call<T> = (configuration: client.Configuration) => Promise<T>;

/** Configurations that no call uses now, all of the same metadata and keys. */
interface IdleConfigurations {
  readonly metadata: client.ServerMetadata;
  readonly list: client.Configuration[];
}

const maximumIdle = 64;

/** openid-client makes milliseconds of it, and they must be whole: not every fraction times 1000 is. */
function inEighths(timeoutSeconds: number): number {
  return Math.ceil(timeoutSeconds * 8) / 8;
}

export type OidcClient = ReturnType<typeof createClient>;

export function createClient(config: Config, { fetch, addresses, discovery, events }: ClientDeps) {
  const { timeoutSeconds: callTimeoutSeconds, clockToleranceSeconds } = config.provider;
  const signingKeys = createSigningKeys({ fetch, discovery, timeoutSeconds: callTimeoutSeconds, events });
  const { authenticate, signClientJwt, publicKeys } = createClientAuthentication(config, events);

  const provingFetch = createProvingFetches();
  const idleByKeys = new WeakMap<Keys, IdleConfigurations>();

  const fetchOnce: OidcFetch = withoutQuotedSecrets((url, options) => fetch(url, options as RequestInit));

  /**
   * Makes a call with a configuration of its own, because fetch and timeout are fixed in it. When the call is over, the next
   * one gets it: openid-client copies the metadata into each, and imports the keys for each. A call whose proof lacked the
   * provider's nonce is made once more, with a client authentication of its own (RFC 9449 8).
   */
  async function configured<T>(options: CallOptions, call: Call<T>): Promise<T> {
    const { keys = signingKeys.current(), recorder, dpopKey } = options;
    const metadata = await discovery.fetchMetadata();
    const idle = keys === undefined ? [] : idleOf(metadata, keys);
    const configuration = idle.pop() ?? createConfiguration(metadata, keys);
    const callFetch = recorder?.fetch ?? options.fetch ?? fetchOnce;
    const proving = dpopKey === undefined ? undefined : provingFetch(callFetch, dpopKey);
    configuration[client.customFetch] = proving?.fetch ?? callFetch;
    configuration.timeout = inEighths(options.timeoutSeconds ?? callTimeoutSeconds);
    try {
      return await call(configuration).catch((error: unknown) => {
        if (proving?.wasRefusedForNonce() !== true) throw error;
        recorder?.forget();
        return call(configuration);
      });
    } finally {
      // The fetch of a grant remembers tokens.
      configuration[client.customFetch] = fetchOnce;
      if (idle.length < maximumIdle) idle.push(configuration);
    }
  }

  function idleOf(metadata: client.ServerMetadata, keys: Keys): client.Configuration[] {
    const known = idleByKeys.get(keys);
    if (known?.metadata === metadata) return known.list;
    const list: client.Configuration[] = [];
    idleByKeys.set(keys, { metadata, list });
    return list;
  }

  function createConfiguration(metadata: client.ServerMetadata, keys: Keys | undefined): client.Configuration {
    const algorithms = config.profile === undefined ? undefined : signatureAlgorithms(metadata, config);
    const configuration = new client.Configuration(
      algorithms === undefined ? metadata : { ...metadata, id_token_signing_alg_values_supported: algorithms },
      config.client.id,
      { [client.clockTolerance]: clockToleranceSeconds },
      authenticate,
    );
    if (addresses.plainHttp) client.allowInsecureRequests(configuration);
    client.enableNonRepudiationChecks(configuration);
    // Without an age, because openid-client would fetch older keys itself.
    if (keys !== undefined) client.setJwksCache(configuration, { jwks: keys, uat: Infinity });
    return configuration;
  }

  /**
   * Runs a grant. If no key verifies the ID token, fetches the JWKS and validates the same token response again, because
   * the code or refresh token cannot be used twice.
   * @param options with a recorder, which answers the further attempts with the first response
   */
  async function verifyWithFreshKeys<T>(options: GrantOptions, grant: Call<T>): Promise<T> {
    const { recorder } = options;
    const attempt = (keys: Keys) => configured({ ...options, keys }, grant);
    const tried = await signingKeys.requireUsable();
    try {
      return await attemptWithEachKey(tried, recorder, attempt);
    } catch (error) {
      if (!isKeyFault(error)) throw error;
      return await attemptWithEachKey(await signingKeys.refreshForUnknownKey(tried), recorder, attempt);
    }
  }

  return { fetchOnce, configured, verifyWithFreshKeys, signingKeys, signClientJwt, publicKeys };
}

/**
 * Tries the keys as they are, and then each of them whatever its id: the `kid` of a token is a hint (RFC 7515 4.1.4),
 * and some providers write an old one over a new key's signature, for as long as a session lasts. openid-client picks a
 * key by its id alone.
 */
async function attemptWithEachKey<T>(
  set: Keys,
  recorder: ReplayableFetch,
  attempt: (keys: Keys) => Promise<T>,
): Promise<T> {
  try {
    return await attempt(set);
  } catch (error) {
    if (!isKeyFault(error)) throw error;
    const { kid } = await idTokenHeader(recorder.response());
    for (const key of set.keys.slice(0, maximumKeysTried)) {
      try {
        return await attempt({ keys: [typeof kid === 'string' ? { ...key, kid } : key] });
      } catch {
        // Everything but the signature was right before: what fails is this key, which may be of another kind.
      }
    }
    throw error;
  }
}
