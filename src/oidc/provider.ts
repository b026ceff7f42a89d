/**
 * The OpenID provider as the rest sees it: an authorization URL, a code redeemed, a token refreshed or revoked, an
 * end-session URL, a logout token verified. Hides discovery, client authentication, signing keys and the verification of
 * ID tokens (OpenID Connect Core 3.1.3.7, 12.2). openid-client and wire names such as `access_token` stay in this folder.
 */
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { Events } from '../events.ts';
import { subjectOf, type Claims, type DpopKey, type TokenSet } from '../token-set.ts';
import { createProviderAddresses } from './addresses.ts';
import { createAuthorizationRequest, type LoginChecks } from './authorization-request.ts';
import { createAuthorizationResponseReader } from './authorization-response-jwt.ts';
import { createClient } from './client.ts';
import { createDiscovery } from './discovery.ts';
import { examineProvider } from './examination.ts';
import { createFurtherTokens } from './further-tokens.ts';
import { createIntrospection } from './introspection.ts';
import { createLogoutTokenVerifier } from './logout-token.ts';
import { isInvalidTokenResponse, providerUnavailable } from './provider-errors.ts';
import { withProvidersWords } from './refusal.ts';
import { createRefreshGrant } from './refresh-grant.ts';
import {
  isGrantRejected,
  isTokenResponse,
  replayableTokenFetch,
  tokensOf,
  type Grant,
  type PreviousGrant,
  type TokenResponse,
} from './token-response.ts';

export type { RefreshResult } from './refresh-grant.ts';
export type { Grant } from './token-response.ts';

/**
 * Providers, and servers in front of them, answer longer addresses with an error page, which leaves the person signed in
 * at the provider. A longer ID token is left out as a hint: the provider then knows the client by its id, and may ask.
 */
const maximumAddressLength = 2000;

export type Provider = ReturnType<typeof createProvider>;

export function createProvider(config: Config, deps: { readonly fetch: typeof fetch; readonly events: Events }) {
  const { events } = deps;
  const { timeoutSeconds, clockToleranceSeconds } = config.provider;
  const redirectUri = `${config.origin}${config.basePath}/callback`;
  const addresses = createProviderAddresses(config);
  const providerFetch = addresses.guard(deps.fetch);
  const discovery = createDiscovery(config, {
    fetch: providerFetch,
    addresses,
    events,
    timeoutSeconds,
  });
  const oidc = createClient(config, { fetch: providerFetch, addresses, discovery, events });
  const { fetchOnce, configured, verifyWithFreshKeys } = oidc;

  /** Whether an authorization response names this provider: the defence against mix-up attacks (RFC 9207 2.4). */
  async function checkIssuer(parameters: URLSearchParams): Promise<'right' | 'other' | 'missing'> {
    const metadata = await discovery.fetchMetadata();
    const issuer = parameters.get('iss');
    if (issuer !== null) return issuer === metadata.issuer ? 'right' : 'other';
    return metadata.authorization_response_iss_parameter_supported === true ? 'missing' : 'right';
  }

  /**
   * Redeems the code of an authorization response.
   * @throws {BffError} `authorization_failed` when the provider rejects the code or the ID token is invalid, else
   *   `provider_unavailable`
   */
  async function redeemCode(parameters: URLSearchParams, checks: LoginChecks): Promise<Grant> {
    const currentUrl = new URL(`${redirectUri}?${parameters.toString()}`);
    const recorder = replayableTokenFetch(fetchOnce);
    const { dpopKey } = checks;
    try {
      const response = await verifyWithFreshKeys({ recorder, timeoutSeconds, dpopKey }, (configuration) =>
        client.authorizationCodeGrant(configuration, currentUrl, {
          expectedState: checks.state,
          expectedNonce: checks.nonce,
          pkceCodeVerifier: checks.verifier,
          idTokenExpected: true,
        }),
      );
      return await grantOf(response, undefined, dpopKey);
    } catch (error) {
      const response = recorder.response();
      const cause = await withProvidersWords(error);
      const isInvalid = isInvalidTokenResponse(error) && (await isTokenResponse(response));
      if (isInvalid || (await isGrantRejected(response))) {
        throw new BffError('authorization_failed', 'The identity provider did not confirm the sign-in.', { cause });
      }
      throw providerUnavailable(error, cause);
    }
  }

  /** Revokes a token (RFC 7009); does nothing if the provider has no such endpoint. */
  async function revoke(token: string, hint: 'refresh_token' | 'access_token'): Promise<void> {
    const metadata = await discovery.fetchMetadata();
    if (metadata.revocation_endpoint === undefined) return;
    await configured({}, (configuration) => client.tokenRevocation(configuration, token, { token_type_hint: hint }));
  }

  /**
   * The provider's end-session URL (RP-Initiated Logout 2); undefined if it has none or isn't known yet.
   * @param state to be sent back, where the way back is expected
   */
  async function endSessionUrl(idToken: string | undefined, state: string | undefined): Promise<string | undefined> {
    if (discovery.cachedMetadata()?.end_session_endpoint === undefined) return undefined;
    return configured({}, async (configuration) => endSessionAddress(configuration, config, { idToken, state }));
  }

  /** @param previous what a refresh started from; undefined at login */
  async function grantOf(
    response: TokenResponse,
    previous: PreviousGrant | undefined,
    dpopKey: DpopKey | undefined,
  ): Promise<Grant> {
    const tokens = tokensOf(response, { clockToleranceSeconds, previous: previous?.tokens, dpopKey });
    const subject = subjectOf(tokens.idToken);
    if (!config.login.userInfo) return { subject, tokens, userInfo: undefined };
    return { subject, tokens, userInfo: (await fetchUserInfo(tokens, subject)) ?? previous?.userInfo };
  }

  /** UserInfo claims are an addition: if they are unavailable or about another person, the ID token's must do. */
  async function fetchUserInfo({ accessToken, dpopKey }: TokenSet, subject: string): Promise<Claims | undefined> {
    try {
      const claims = await configured({ dpopKey }, (configuration) =>
        client.fetchUserInfo(configuration, accessToken, subject),
      );
      return { ...claims };
    } catch (error) {
      events.emit({ type: 'userinfo.failed', cause: await withProvidersWords(error) });
      return undefined;
    }
  }

  return {
    authorizationUrl: createAuthorizationRequest(config, { discovery, client: oidc, events, redirectUri }),
    readAuthorizationResponse: createAuthorizationResponseReader(config, { discovery, signingKeys: oidc.signingKeys }),
    checkIssuer,
    redeemCode,
    ...createRefreshGrant(config, { client: oidc, grantOf }),
    revoke,
    endSessionUrl,
    ...createFurtherTokens(oidc),
    ...createIntrospection(config, { ...oidc, discovery }),
    verifyLogoutToken: createLogoutTokenVerifier(config, { discovery, signingKeys: oidc.signingKeys }),
    redirectUri,
    /** The client's own JWK Set; undefined where it has no keys. */
    publicKeys: oidc.publicKeys,
    /** Begins discovery in the background; never throws. */
    start: discovery.start,
    /** Whether the provider's metadata is known. */
    ready: () => discovery.cachedMetadata() !== undefined,
    /** Asks the provider now. @throws {BffError} `provider_unavailable` */
    examine: () => examineProvider(config, { discovery, usableKeys: oidc.signingKeys.requireUsable }),
    close: () => {
      discovery.close();
      oidc.signingKeys.close();
    },
  };
}

function endSessionAddress(
  configuration: client.Configuration,
  { origin, logout }: Config,
  { idToken, state }: { readonly idToken: string | undefined; readonly state: string | undefined },
): string {
  const parameters = {
    ...logout.params,
    post_logout_redirect_uri: `${origin}${logout.returnTo}`,
    ...(state === undefined ? {} : { state }),
  };
  const withoutHint = client.buildEndSessionUrl(configuration, parameters).href;
  if (idToken === undefined || !logout.idTokenHint) return withoutHint;
  if (withoutHint.length + idToken.length > maximumAddressLength) return withoutHint;
  return client.buildEndSessionUrl(configuration, { ...parameters, id_token_hint: idToken }).href;
}
