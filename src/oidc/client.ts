/**
 * openid-client, configured for one operation: its fetch, its timeout, the metadata and signing keys of the moment. Also
 * hides how Sallyport authenticates itself (OpenID Connect Core 9), and the second validation of a response whose key
 * was unknown.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import type { ProviderAddresses } from './addresses.ts';
import type { Discovery } from './discovery.ts';
import { clockToleranceSeconds } from './id-token.ts';
import { isUnknownKey } from './provider-errors.ts';
import { withoutQuotedSecrets } from './refusal.ts';
import { createSigningKeys } from './signing-keys.ts';
import type { OidcFetch } from './token-response.ts';

/** The time limit of a call to the provider. */
export const callTimeoutSeconds = 10;

interface ClientDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly discovery: Discovery;
}

export function createClient(config: Config, { fetch, addresses, discovery }: ClientDeps) {
  const signingKeys = createSigningKeys({ fetch, discovery, timeoutSeconds: callTimeoutSeconds });
  const authentication =
    config.client.authMethod === 'client_secret_post'
      ? client.ClientSecretPost(config.client.secret)
      : client.ClientSecretBasic(config.client.secret);

  const fetchOnce: OidcFetch = withoutQuotedSecrets((url, options) => fetch(url, options as RequestInit));

  /** A configuration for one operation, because fetch and keys are fixed in it. */
  async function configure(operationFetch = fetchOnce, timeoutSeconds = callTimeoutSeconds) {
    const metadata = await discovery.fetchMetadata();
    const configuration = new client.Configuration(
      metadata,
      config.client.id,
      { [client.clockTolerance]: clockToleranceSeconds },
      authentication,
    );
    configuration[client.customFetch] = operationFetch;
    configuration.timeout = timeoutSeconds;
    if (addresses.plainHttp) client.allowInsecureRequests(configuration);
    client.enableNonRepudiationChecks(configuration);
    const keys = signingKeys.current();
    if (keys !== undefined) client.setJwksCache(configuration, keys);
    return configuration;
  }

  /**
   * Runs a grant. If the ID token's key is unknown, fetches the JWKS and validates the same token response again, because
   * the code or refresh token cannot be used twice.
   * @param tokenFetch a replayable fetch: it answers the second attempt with the first response
   */
  async function retryWithFreshKeys<T>(
    tokenFetch: OidcFetch,
    timeoutSeconds: number,
    grant: (configuration: client.Configuration) => Promise<T>,
  ): Promise<T> {
    await signingKeys.refreshIfStale();
    const tried = signingKeys.current();
    try {
      return await grant(await configure(tokenFetch, timeoutSeconds));
    } catch (error) {
      if (!isUnknownKey(error)) throw error;
      await signingKeys.refreshForUnknownKey(tried);
      return await grant(await configure(tokenFetch, timeoutSeconds));
    }
  }

  return { fetchOnce, configure, retryWithFreshKeys };
}
