/**
 * openid-client, configured for one operation: its fetch, its timeout, the metadata and signing keys of the moment. Also
 * hides how Sallyport authenticates itself (OpenID Connect Core 9), and the further validations of a response whose key
 * was unknown.
 */
import * as client from 'openid-client';
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';
import { clientAuthentication } from './client-authentication.ts';
import type { Discovery } from './discovery.ts';
import { isKeyFault } from './provider-errors.ts';
import { withoutQuotedSecrets } from './refusal.ts';
import { createSigningKeys, maximumKeysTried, type Keys } from './signing-keys.ts';
import { idTokenHeader, type OidcFetch, type ReplayableFetch } from './token-response.ts';

interface ClientDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly discovery: Discovery;
  readonly events: Events;
}

/** How one operation differs from the others. */
interface Operation {
  readonly fetch?: OidcFetch;
  readonly timeoutSeconds?: number;
  readonly keys?: Keys | undefined;
}

type Grant<T> = (configuration: client.Configuration) => Promise<T>;

/** openid-client makes milliseconds of it, and they must be whole: not every fraction times 1000 is. */
function inEighths(timeoutSeconds: number): number {
  return Math.ceil(timeoutSeconds * 8) / 8;
}

export function createClient(config: Config, { fetch, addresses, discovery, events }: ClientDeps) {
  const { timeoutSeconds: callTimeoutSeconds, clockToleranceSeconds } = config.provider;
  const signingKeys = createSigningKeys({ fetch, discovery, timeoutSeconds: callTimeoutSeconds, events });
  const authentication = clientAuthentication(config.client);

  const fetchOnce: OidcFetch = withoutQuotedSecrets((url, options) => fetch(url, options as RequestInit));

  /** A configuration for one operation, because fetch and keys are fixed in it. */
  async function configure(operation: Operation = {}): Promise<client.Configuration> {
    const { keys = signingKeys.current() } = operation;
    const metadata = await discovery.fetchMetadata();
    const configuration = new client.Configuration(
      metadata,
      config.client.id,
      { [client.clockTolerance]: clockToleranceSeconds },
      authentication,
    );
    configuration[client.customFetch] = operation.fetch ?? fetchOnce;
    configuration.timeout = inEighths(operation.timeoutSeconds ?? callTimeoutSeconds);
    if (addresses.plainHttp) client.allowInsecureRequests(configuration);
    client.enableNonRepudiationChecks(configuration);
    // As of now, because openid-client would fetch older keys itself.
    if (keys !== undefined) client.setJwksCache(configuration, { jwks: keys, uat: nowSeconds() });
    return configuration;
  }

  /**
   * Runs a grant. If no key verifies the ID token, fetches the JWKS and validates the same token response again, because
   * the code or refresh token cannot be used twice.
   * @param recorder a replayable fetch: it answers the further attempts with the first response
   */
  async function verifyWithFreshKeys<T>(
    recorder: ReplayableFetch,
    timeoutSeconds: number,
    grant: Grant<T>,
  ): Promise<T> {
    const attempt = async (keys: Keys) => grant(await configure({ fetch: recorder.fetch, timeoutSeconds, keys }));
    const tried = await signingKeys.requireUsable();
    try {
      return await attemptWithEachKey(tried, recorder, attempt);
    } catch (error) {
      if (!isKeyFault(error)) throw error;
      return await attemptWithEachKey(await signingKeys.refreshForUnknownKey(tried), recorder, attempt);
    }
  }

  return { fetchOnce, configure, verifyWithFreshKeys, signingKeys };
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
