/**
 * openid-client, configured for one call: its fetch, its timeout, the metadata of the moment. Also hides how Sallyport
 * authenticates itself (OpenID Connect Core 9), and with which keys the ID token of a response is verified.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import type { Events } from '../events.ts';
import type { ProviderAddresses } from './addresses.ts';
import { clientAuthentication } from './client-authentication.ts';
import type { Discovery } from './discovery.ts';
import { InvalidTokenResponse } from './provider-errors.ts';
import { withoutQuotedSecrets } from './refusal.ts';
import { createSignatureVerifier } from './signatures.ts';
import { createSigningKeys } from './signing-keys.ts';
import type { OidcFetch, TokenResponse } from './token-response.ts';

interface ClientDeps {
  readonly fetch: typeof fetch;
  readonly addresses: ProviderAddresses;
  readonly discovery: Discovery;
  readonly events: Events;
}

/** How one call differs from the others. */
interface CallOptions {
  readonly fetch?: OidcFetch;
  readonly timeoutSeconds?: number;
}

type Call<T> = (configuration: client.Configuration) => Promise<T>;

const maximumIdle = 64;

/** openid-client makes milliseconds of it, and they must be whole: not every fraction times 1000 is. */
function inEighths(timeoutSeconds: number): number {
  return Math.ceil(timeoutSeconds * 8) / 8;
}

export function createClient(config: Config, { fetch, addresses, discovery, events }: ClientDeps) {
  const { timeoutSeconds: callTimeoutSeconds, clockToleranceSeconds } = config.provider;
  const signingKeys = createSigningKeys({ fetch, discovery, timeoutSeconds: callTimeoutSeconds, events });
  const authentication = clientAuthentication(config.client);

  /** Those that no call uses now. */
  const idleByMetadata = new WeakMap<client.ServerMetadata, client.Configuration[]>();
  const isSignedWith = createSignatureVerifier();

  const fetchOnce: OidcFetch = withoutQuotedSecrets((url, options) => fetch(url, options as RequestInit));

  /**
   * Makes a call with a configuration of its own, because fetch and timeout are fixed in it. When the call is over, the next
   * one gets it, because openid-client copies the metadata into each.
   */
  async function configured<T>(options: CallOptions, call: Call<T>): Promise<T> {
    const metadata = await discovery.fetchMetadata();
    const idle = idleOf(metadata);
    const configuration = idle.pop() ?? createConfiguration(metadata);
    configuration[client.customFetch] = options.fetch ?? fetchOnce;
    configuration.timeout = inEighths(options.timeoutSeconds ?? callTimeoutSeconds);
    try {
      return await call(configuration);
    } finally {
      // The fetch of a grant remembers tokens.
      configuration[client.customFetch] = fetchOnce;
      if (idle.length < maximumIdle) idle.push(configuration);
    }
  }

  function idleOf(metadata: client.ServerMetadata): client.Configuration[] {
    const list = idleByMetadata.get(metadata) ?? [];
    idleByMetadata.set(metadata, list);
    return list;
  }

  function createConfiguration(metadata: client.ServerMetadata): client.Configuration {
    const configuration = new client.Configuration(
      metadata,
      config.client.id,
      { [client.clockTolerance]: clockToleranceSeconds },
      authentication,
    );
    if (addresses.plainHttp) client.allowInsecureRequests(configuration);
    return configuration;
  }

  /** The signature of a UserInfo response that has one (OpenID Connect Core 5.3.2) is verified by openid-client. */
  async function fetchUserInfo(accessToken: string, subject: string): Promise<client.UserInfoResponse> {
    const configuration = createConfiguration(await discovery.fetchMetadata());
    const keys = signingKeys.current();
    configuration[client.customFetch] = fetchOnce;
    configuration.timeout = inEighths(callTimeoutSeconds);
    client.enableNonRepudiationChecks(configuration);
    // Without an age, because openid-client would fetch older keys itself.
    if (keys !== undefined) client.setJwksCache(configuration, { jwks: keys, uat: Infinity });
    return client.fetchUserInfo(configuration, accessToken, subject);
  }

  /**
   * Runs a grant and verifies the signature of its ID token, if need be with keys that are fetched anew: the code or
   * refresh token cannot be used twice.
   * @throws {InvalidTokenResponse} when no key verifies it
   */
  async function runVerified(options: CallOptions, grant: Call<TokenResponse>): Promise<TokenResponse> {
    const known = await signingKeys.requireUsable();
    const response = await configured(options, grant);
    const { id_token: idToken } = response;
    if (idToken === undefined || isSignedWith(known, idToken)) return response;
    if (isSignedWith(await signingKeys.refreshForUnknownKey(known), idToken)) return response;
    throw new InvalidTokenResponse('No key of the provider verifies the signature of the ID token.');
  }

  return { fetchOnce, configured, runVerified, fetchUserInfo, signingKeys };
}
