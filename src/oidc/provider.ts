/**
 * The OpenID provider as the rest sees it: a login URL, a code redeemed, a token refreshed or revoked, a way out. Hides
 * discovery, client authentication, signing keys and the verification of ID tokens (OpenID Connect Core 3.1.3.7, 12.2).
 * The one importer of openid-client; wire names such as `access_token` stay in here.
 */
import { LRUCache } from 'lru-cache';
import * as client from 'openid-client';
import type { Config } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import type { Events } from '../events.ts';
import { idTokenClaims, type Claims, type TokenSet } from '../token-set.ts';
import { nowSeconds } from '../clock.ts';
import { createProviderAddresses } from './addresses.ts';
import { createCircuitBreaker } from './circuit-breaker.ts';
import { createDiscovery } from './discovery.ts';

/**
 * Providers and the servers before them answer longer addresses with an error page, and the person stays signed in there:
 * an ID token beyond it is left out as a hint. The provider then knows the client by its id, and may ask.
 */
const maximumAddressLength = 2000;

/** Seconds after which a call to the provider is given up. */
const callTimeoutSeconds = 10;
/** A refresh goes on for longer than its callers wait, for its result must not be lost: the token is spent. */
const refreshTimeoutSeconds = 30;
const clockToleranceSeconds = 30;

/** How often keys may be fetched afresh for a token whose key is unknown: so many times a minute. */
const keyRefetchesPerMinute = 5;

/** openid-client fetches older keys anew, for each grant by itself: they are renewed before. */
const jwksMaxAgeSeconds = 300;
const jwksRefreshAfterSeconds = 240;

/** Beyond what is in flight, token responses that could not be verified yet are kept for this long. */
const unverifiedMs = 10 * 60 * 1000;

/** What a login transaction holds against the provider's answer. */
export interface LoginChecks {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  readonly maxAge: number | undefined;
}

export interface Grant {
  readonly tokens: TokenSet;
  readonly userInfo: Claims | undefined;
  readonly subject: string;
}

/** A refresh that the provider answered: new tokens, or a definitive no. Anything else is thrown. */
export type RefreshAnswer =
  | { readonly granted: true; readonly grant: Grant }
  | {
      readonly granted: false;
      readonly reason: 'refresh_rejected' | 'refresh_id_token_invalid';
      readonly cause: unknown;
    };

export type Provider = ReturnType<typeof createProvider>;

type KeySet = Parameters<typeof client.setJwksCache>[1];
type Fetch = (url: string, options: client.CustomFetchOptions) => Promise<Response>;
type TokenResponse = Awaited<ReturnType<typeof client.refreshTokenGrant>>;

export function createProvider(config: Config, deps: { readonly fetch: typeof fetch; readonly events: Events }) {
  const { events } = deps;
  const redirectUri = `${config.origin}${config.basePath}/callback`;
  const addresses = createProviderAddresses(config);
  const providerFetch = addresses.guard(deps.fetch);
  const discovery = createDiscovery(config, {
    fetch: providerFetch,
    addresses,
    events,
    timeoutSeconds: callTimeoutSeconds,
  });
  const authentication =
    config.client.authMethod === 'client_secret_post'
      ? client.ClientSecretPost(config.client.secret)
      : client.ClientSecretBasic(config.client.secret);
  const unverified = new LRUCache<string, Response>({ max: 1000, ttl: unverifiedMs });
  const breaker = createCircuitBreaker(retryAfterMs);
  const unknownKeyFetches: number[] = [];
  let keys: KeySet | undefined;
  let renewal: Promise<void> | undefined;

  /** The URL that starts the code flow with PKCE (RFC 7636). @param asked further authorization parameters */
  async function loginUrl(asked: Readonly<Record<string, string>>, checks: LoginChecks): Promise<URL> {
    return client.buildAuthorizationUrl(await configuration(fetchOnce), {
      ...asked,
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: config.scope,
      state: checks.state,
      nonce: checks.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(checks.verifier),
      code_challenge_method: 'S256',
      ...(config.client.responseMode === 'form_post' ? { response_mode: 'form_post' } : {}),
    });
  }

  /** Whether an authorization response names this provider (RFC 9207 2.4). */
  async function hasExpectedIssuer(parameters: URLSearchParams): Promise<boolean> {
    const metadata = await discovery.metadata();
    const issuer = parameters.get('iss');
    return issuer === null
      ? metadata.authorization_response_iss_parameter_supported !== true
      : issuer === metadata.issuer;
  }

  /**
   * Redeems the code of an authorization response.
   * @throws {BffError} `authorization_failed` when the provider or the ID token says no, else `provider_unavailable`
   */
  async function redeem(parameters: URLSearchParams, checks: LoginChecks): Promise<Grant> {
    const currentUrl = new URL(`${redirectUri}?${parameters.toString()}`);
    const recorder = replayableTokenFetch();
    try {
      const response = await retryWithFreshKeys(recorder.fetch, callTimeoutSeconds, (configuration) =>
        client.authorizationCodeGrant(configuration, currentUrl, {
          expectedState: checks.state,
          expectedNonce: checks.nonce,
          pkceCodeVerifier: checks.verifier,
          idTokenExpected: true,
          ...(checks.maxAge === undefined ? {} : { maxAge: checks.maxAge }),
        }),
      );
      return await grantOf(response, undefined);
    } catch (error) {
      if (isInvalidGrant(error) || (isInvalidTokenResponse(error) && (await isTokenResponse(recorder.response())))) {
        throw new BffError('authorization_failed', 'The identity provider did not confirm the sign-in.', {
          cause: error,
        });
      }
      throw unavailable(error);
    }
  }

  /**
   * Redeems a refresh token (OAuth 2.1 4.3).
   * @param key of this redemption: one session, one refresh token
   * @throws {BffError} `provider_unavailable` when the outcome is open: the session stays
   */
  function refresh(tokens: TokenSet, userInfo: Claims | undefined, key: string): Promise<RefreshAnswer> {
    return breaker.run(key, () => redeemRefreshToken(tokens, userInfo, key));
  }

  async function redeemRefreshToken(
    tokens: TokenSet,
    userInfo: Claims | undefined,
    key: string,
  ): Promise<RefreshAnswer> {
    const refreshToken = tokens.refreshToken ?? '';
    // A response that came but couldn't be verified (the keys' address was down) is looked at again: its token is spent.
    const recorder = replayableTokenFetch(unverified.get(key));
    try {
      const response = await retryWithFreshKeys(recorder.fetch, refreshTimeoutSeconds, (configuration) =>
        client.refreshTokenGrant(configuration, refreshToken),
      );
      unverified.delete(key);
      const grant = await grantOf(response, { tokens, userInfo });
      return { granted: true, grant };
    } catch (error) {
      if (isInvalidGrant(error)) return { granted: false, reason: 'refresh_rejected', cause: error };
      const response = recorder.response();
      const complete = await isTokenResponse(response);
      if (isInvalidTokenResponse(error) && complete) {
        unverified.delete(key);
        return { granted: false, reason: 'refresh_id_token_invalid', cause: error };
      }
      if (complete && response !== undefined) unverified.set(key, response);
      throw unavailable(error);
    }
  }

  /** Revokes a token (RFC 7009); does nothing where the provider has no such endpoint. */
  async function revoke(token: string, hint: 'refresh_token' | 'access_token'): Promise<void> {
    const metadata = await discovery.metadata();
    if (metadata.revocation_endpoint === undefined) return;
    await client.tokenRevocation(await configuration(fetchOnce), token, { token_type_hint: hint });
  }

  /** The provider's end-session URL (RP-Initiated Logout 2), undefined where it has none or isn't known yet. */
  async function endSessionUrl(idToken: string | undefined): Promise<string | undefined> {
    const metadata = discovery.known();
    if (metadata?.end_session_endpoint === undefined) return undefined;
    const configured = await configuration(fetchOnce);
    const parameters = { post_logout_redirect_uri: `${config.origin}${config.logout.returnTo}` };
    const plain = client.buildEndSessionUrl(configured, parameters).href;
    if (idToken === undefined || plain.length + idToken.length > maximumAddressLength) return plain;
    return client.buildEndSessionUrl(configured, { ...parameters, id_token_hint: idToken }).href;
  }

  /** Turns a verified token response into a grant; `previous` is what a refresh started from. */
  async function grantOf(
    response: TokenResponse,
    previous: { readonly tokens: TokenSet; readonly userInfo: Claims | undefined } | undefined,
  ): Promise<Grant> {
    if (response.token_type.toLowerCase() !== 'bearer') {
      throw new InvalidTokenResponse(`The token type is ${JSON.stringify(response.token_type)}, not Bearer.`);
    }
    if (!/^[\x20-\x7e]+$/.test(response.access_token)) {
      throw new InvalidTokenResponse('The access token holds characters that no header can carry (RFC 6749 A.12).');
    }
    const claims = response.claims();
    if (claims !== undefined) checkIdTokenClaims(claims, previous?.tokens);
    const idToken = response.id_token ?? previous?.tokens.idToken;
    if (idToken === undefined) throw new InvalidTokenResponse('The token response has no ID token.');
    const subject = String(idTokenClaims(idToken)?.['sub']);
    return {
      subject,
      tokens: {
        accessToken: response.access_token,
        accessTokenExpiresAt: expiryOf(response.expires_in),
        refreshToken: response.refresh_token ?? previous?.tokens.refreshToken,
        idToken,
      },
      userInfo: config.login.userInfo
        ? ((await userInfoOf(response.access_token, subject)) ?? previous?.userInfo)
        : undefined,
    };
  }

  /** UserInfo claims are an addition: where they can't be had, or name somebody else, the ID token's must do. */
  async function userInfoOf(accessToken: string, subject: string): Promise<Claims | undefined> {
    try {
      return { ...(await client.fetchUserInfo(await configuration(fetchOnce), accessToken, subject)) };
    } catch (cause) {
      events.emit({ type: 'userinfo.failed', cause });
      return undefined;
    }
  }

  /**
   * Runs a grant; if the ID token's key is unknown, fetches the keys afresh and looks at the same response once more,
   * for the code or the refresh token is spent by then. Bounded, so that a flood of odd tokens is no flood of fetches.
   */
  async function retryWithFreshKeys<T>(
    fetch: Fetch,
    timeoutSeconds: number,
    grant: (configuration: client.Configuration) => Promise<T>,
  ): Promise<T> {
    await refreshKeysIfStale();
    const known = keys;
    try {
      return await grant(await configuration(fetch, timeoutSeconds));
    } catch (error) {
      if (codeOf(error) !== 'OAUTH_KEY_SELECTION_FAILED') throw error;
      // Unless somebody has renewed them since: then these are the keys to look among.
      if (keys === known) {
        if (renewal === undefined) spendFetchBudget();
        await renewKeys();
      }
      return await grant(await configuration(fetch, timeoutSeconds));
    }
  }

  /** Before the code or the refresh token is spent: if the keys can't be had, nothing is lost by then. */
  async function refreshKeysIfStale(): Promise<void> {
    const age = keys === undefined ? Infinity : nowSeconds() - keys.uat;
    if (age < jwksRefreshAfterSeconds) return;
    try {
      await renewKeys();
    } catch (error) {
      // openid-client takes them for as long as this.
      if (age >= jwksMaxAgeSeconds) throw error;
    }
  }

  function spendFetchBudget(): void {
    const now = Date.now();
    while (unknownKeyFetches[0] !== undefined && unknownKeyFetches[0] < now - 60_000) unknownKeyFetches.shift();
    if (unknownKeyFetches.length >= keyRefetchesPerMinute) {
      throw unavailable(new Error("The provider's signing keys were fetched too often in the last minute."));
    }
    unknownKeyFetches.push(now);
  }

  /** One fetch for all who need it. */
  function renewKeys(): Promise<void> {
    return (renewal ??= fetchKeys().finally(() => (renewal = undefined)));
  }

  /** @throws {BffError} `provider_unavailable`: where nobody could look for a key, the answer is open */
  async function fetchKeys(): Promise<void> {
    const { jwks_uri: address = '' } = await discovery.metadata();
    try {
      const response = await providerFetch(address, {
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(callTimeoutSeconds * 1000),
      });
      const jwks = (await response.json()) as KeySet['jwks'];
      if (!response.ok || !Array.isArray(jwks.keys)) throw new Error(`${address} answers with no key set.`);
      keys = { jwks, uat: nowSeconds() };
    } catch (error) {
      throw unavailable(error);
    }
  }

  /** A configuration of openid-client for one operation, for its fetch and its keys are that operation's. */
  async function configuration(fetch: Fetch, timeoutSeconds = callTimeoutSeconds): Promise<client.Configuration> {
    const metadata = await discovery.metadata();
    const created = new client.Configuration(
      metadata,
      config.client.id,
      { [client.clockTolerance]: clockToleranceSeconds },
      authentication,
    );
    created[client.customFetch] = fetch;
    created.timeout = timeoutSeconds;
    if (addresses.plainHttp) client.allowInsecureRequests(created);
    client.enableNonRepudiationChecks(created);
    if (keys !== undefined) client.setJwksCache(created, keys);
    return created;
  }

  const fetchOnce: Fetch = (url, options) => providerFetch(url, options as RequestInit);

  /** A fetch that keeps the token response, to answer with it again instead of asking twice. */
  function replayableTokenFetch(known?: Response): { fetch: Fetch; response(): Response | undefined } {
    let recorded = known;
    return {
      response: () => recorded,
      fetch: async (url, options) => {
        if (options.method !== 'POST') return fetchOnce(url, options);
        recorded ??= await fetchOnce(url, options);
        return recorded.clone();
      },
    };
  }

  return {
    loginUrl,
    hasExpectedIssuer,
    redeem,
    refresh,
    revoke,
    endSessionUrl,
    redirectUri,
    /** Begins discovery in the background; never throws. */
    start: discovery.start,
    /** Whether the provider's metadata is known. */
    ready: () => discovery.known() !== undefined,
    /** Discovers now. @throws {BffError} `provider_unavailable` */
    reach: async () => void (await discovery.metadata()),
    close: discovery.close,
  };
}

/** Beyond this a number is no lifetime, and not every time can be written as a date. */
const maximumLifetimeSeconds = 10 * 365 * 24 * 3600;

/** When a token expires, in seconds since 1970; undefined where the provider names no lifetime that makes sense. */
function expiryOf(lifetimeSeconds: number | undefined): number | undefined {
  if (lifetimeSeconds === undefined || !(lifetimeSeconds >= 1)) return undefined;
  return nowSeconds() + Math.floor(Math.min(lifetimeSeconds, maximumLifetimeSeconds));
}

/** What openid-client accepts and the specification doesn't (Core 2, 12.2). */
function checkIdTokenClaims(claims: Claims, previous: TokenSet | undefined): void {
  if (typeof claims['sub'] !== 'string' || claims['sub'] === '')
    throw new InvalidTokenResponse('The ID token has no subject.');
  if (typeof claims['iat'] === 'number' && claims['iat'] > nowSeconds() + clockToleranceSeconds) {
    throw new InvalidTokenResponse('The ID token was issued in the future; check the clocks.');
  }
  if (previous === undefined) return;
  const before = idTokenClaims(previous.idToken) ?? {};
  for (const name of ['iss', 'sub', 'aud', 'azp'] as const) {
    if (audience(claims[name]) !== audience(before[name])) {
      throw new InvalidTokenResponse(`The refreshed ID token has another "${name}".`);
    }
  }
  if (claims['nonce'] !== undefined && before['nonce'] !== undefined && claims['nonce'] !== before['nonce']) {
    throw new InvalidTokenResponse('The refreshed ID token has another "nonce".');
  }
}

/** A claim as one comparable text; an audience may be a text or a list in any order. */
function audience(value: unknown): string {
  return JSON.stringify(Array.isArray(value) ? value.map(String).toSorted() : value === undefined ? [] : [value]);
}

class InvalidTokenResponse extends Error {}

const idTokenFaultCodes = new Set([
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
  'OAUTH_KEY_SELECTION_FAILED',
  'OAUTH_UNSUPPORTED_OPERATION',
]);

function isInvalidTokenResponse(error: unknown): boolean {
  return error instanceof InvalidTokenResponse || idTokenFaultCodes.has(codeOf(error));
}

/** Whether a token endpoint's answer has what every grant has (RFC 6749 5.1): else it is no answer, whatever it lacks. */
async function isTokenResponse(response: Response | undefined): Promise<boolean> {
  if (response?.ok !== true) return false;
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => undefined);
  const required = new Map(Object.entries(body instanceof Object ? body : {}));
  return typeof required.get('access_token') === 'string' && typeof required.get('token_type') === 'string';
}

function isInvalidGrant(error: unknown): boolean {
  return error instanceof client.ResponseBodyError && error.error === 'invalid_grant';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** What is said of a failure that may be over soon. */
const momentSeconds = 2;

/** The provider's failure as ours: it may pass, so the session stays. */
function unavailable(error: unknown): BffError {
  if (error instanceof BffError) return error;
  const refused =
    error instanceof client.WWWAuthenticateChallengeError ||
    (error instanceof client.ResponseBodyError && ['invalid_client', 'unauthorized_client'].includes(error.error));
  const detail = refused
    ? "The identity provider refuses Sallyport's own credentials. The operator must check the client id, the client secret and the authentication method."
    : 'The identity provider cannot be reached or answers with an error. Try again in a moment.';
  return new BffError('provider_unavailable', detail, {
    cause: error,
    headers: { 'retry-after': String(Math.ceil(retryAfterMs(error) / 1000) || momentSeconds) },
  });
}

const maximumRetryAfterSeconds = 300;

/** The provider's own `Retry-After` (RFC 9110 10.2.3: seconds or a date) behind a failure, in milliseconds; 0: none. */
export function retryAfterMs(error: unknown): number {
  const cause = error instanceof BffError ? error.cause : error;
  const response =
    cause instanceof client.ResponseBodyError ? cause.response : cause instanceof Error ? cause.cause : undefined;
  // Not by class: undici's responses are of its own.
  const headers = response instanceof Object && 'headers' in response ? (response.headers as Headers) : undefined;
  const value = headers?.get('retry-after') ?? '';
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return seconds > 0 ? Math.min(seconds, maximumRetryAfterSeconds) * 1000 : 0;
}
