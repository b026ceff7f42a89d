/**
 * How the provider of the tests is configured: its clients, users, claims, lifetimes and features, its login page, and
 * grants without a consent page. Settings that a test changes take effect with the next request.
 */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  interactionPolicy,
  Provider,
  type AuthorizationDetail,
  type Configuration,
  type KoaContextWithOIDC,
} from 'oidc-provider';
import type { JWK } from 'jose';
import { readBody } from './listener.ts';
import { exchangeGrant, registerTokenExchange, type IntrospectionForm } from './provider-further-tokens.ts';
import {
  certificateFeatures,
  clientAuthMethods,
  credentialsOf,
  requireStrictAssertion,
  type ClientAuthMethod,
} from './provider-clients.ts';
import type { SigningKey } from './provider-keys.ts';
import type { ProviderStorage } from './provider-storage.ts';
import type { WorkloadPlatform } from './workload-platform.ts';

export type User = 'alice' | 'bob';

export interface ProviderOptions {
  /** Where codes may be sent. */
  redirectUris: string[];
  /** The issuer, where browsers reach the provider through something that ends TLS: `https://login.provider.test`. */
  publicOrigin?: string;
  postLogoutRedirectUris?: string[];
  /** Where logout tokens are sent. The provider then knows back-channel logout, and its ID tokens have a `sid`. */
  backchannelLogoutUri?: string;
  clientId?: string;
  clientSecret?: string;
  /**
   * How the client authenticates. With a key or a certificate of its own, the provider fetches its keys from `jwks.json`
   * beside the callback; with one of an authority, it must be for `client.example.test`.
   */
  authMethod?: ClientAuthMethod;
  /** In place of the client's secret the provider takes the tokens of this platform. */
  workloads?: WorkloadPlatform;
  /** FAPI 2.0: what it signs for its client it signs with PS256, and it holds the client to the profile. Default: no. */
  fapi?: boolean;
  /** Pushed authorization requests (RFC 9126). Default: not offered. */
  pushedRequests?: 'offered' | 'required';
  /** Signed requests (RFC 9101), of a client that authenticates with a key. Default: not taken. */
  signedRequests?: 'taken' | 'required';
  /** The types of `authorization_details` that it knows (RFC 9396). Default: it knows none of them. */
  detailTypes?: readonly string[];
  /** It signs the responses of introspection for whoever asks for that (RFC 9701), and says so. Default: it does not. */
  signedIntrospection?: boolean;
  /** More clients, as oidc-provider takes them. */
  clients?: NonNullable<Configuration['clients']>;
  settings?: Partial<ProviderSettings>;
  /** Deviations of well-known providers; there is only the standard so far. */
  flavour?: 'standard';
}

/** What a test may change while the provider runs. */
export interface ProviderSettings {
  /** `auto`: the login page answers itself, for HTTP clients; `form`: a form, for browsers. Default `auto`. */
  login: 'auto' | 'form';
  /** Who signs in automatically where the request has no `login_hint`. Default `alice`. */
  user: User;
  /** Access tokens are JWTs for the audience `https://api.test` (default) or opaque strings. */
  accessTokens: 'jwt' | 'opaque';
  /** A refresh token is used once, and a second use revokes its whole family. Default true. */
  rotateRefreshTokens: boolean;
  /** Who gets a refresh token: everybody, only after `prompt=consent`, nobody. Default `always`. */
  refreshTokens: 'always' | 'with-consent' | 'never';
  /** Lifetimes in seconds. */
  lifetimes: { accessToken: number; idToken: number; refreshToken: number; code: number; session: number };
  /** The same of tokens that come of an exchange, and of Sallyport's own. Default 300. */
  furtherTokenLifetime: number;
  /** Whether proofs of possession must carry the provider's nonce (RFC 9449 8). Default false. */
  requireDpopNonce: boolean;
  /** Binds JWT access tokens to a certificate by its thumbprint (RFC 8705 3.1). Default: to none. */
  boundCertificate: string | undefined;
  /** So many incompressible characters are added to every JWT access token. Default 0. */
  accessTokenPadding: number;
  /** Claims added to the ID token (and userinfo) of every user. */
  extraClaims: Record<string, unknown>;
  /** Claims added to every JWT access token. */
  accessTokenClaims: Record<string, unknown>;
  /** How introspection gives a JWT to who asks for `application/jwt`. Default `json`: not at all. */
  introspectionForm: IntrospectionForm;
  /** The audience of that JWT. Default `https://api.test`. */
  phantomAudience: string;
  /** Whether a login has the first `acr` that it asks for. Default true. */
  heedsAcrValues: boolean;
}

/** A provider, and what its login page heeds. */
export interface RunningProvider {
  readonly provider: Provider;
  readonly settings: ProviderSettings;
}

/** What a provider is made of that outlives a rotation of its keys. */
export interface ProviderParts {
  readonly settings: ProviderSettings;
  readonly storage: ProviderStorage;
  readonly clientId: string;
  readonly clientSecret: string;
}

const audience = 'https://api.test';

const users: Readonly<Record<User, Record<string, unknown>>> = {
  alice: { name: 'Alice Adams', preferred_username: 'alice', email: 'alice@example.test', email_verified: true },
  bob: { name: 'Bob Brown', preferred_username: 'bob', email: 'bob@example.test', email_verified: true },
};

/** Settings with their defaults. */
export function completeSettings(settings: Partial<ProviderSettings> = {}): ProviderSettings {
  return {
    login: 'auto',
    user: 'alice',
    accessTokens: 'jwt',
    rotateRefreshTokens: true,
    refreshTokens: 'always',
    requireDpopNonce: false,
    furtherTokenLifetime: 300,
    introspectionForm: 'json',
    phantomAudience: audience,
    boundCertificate: undefined,
    accessTokenPadding: 0,
    extraClaims: {},
    accessTokenClaims: {},
    heedsAcrValues: true,
    ...settings,
    lifetimes: {
      accessToken: 300,
      idToken: 300,
      refreshToken: 86_400,
      code: 60,
      session: 86_400,
      ...settings.lifetimes,
    },
  };
}

export function createProvider(
  issuer: string,
  options: ProviderOptions,
  parts: ProviderParts,
  keys: SigningKey[],
): Provider {
  const { settings } = parts;
  const provider: Provider = new Provider(issuer, {
    adapter: (model) => parts.storage.adapter(model),
    jwks: { keys: keys.flatMap(({ jwk, kid }) => (options.fapi === true ? [...psKeys(jwk, kid), jwk] : [jwk])) },
    cookies: { keys: ['the provider signs its own cookies with this'] },
    clients: [
      {
        client_id: parts.clientId,
        redirect_uris: options.redirectUris,
        post_logout_redirect_uris: options.postLogoutRedirectUris ?? [],
        grant_types: ['authorization_code', 'refresh_token', 'client_credentials', exchangeGrant],
        response_types: ['code'],
        ...credentialsOf(options, parts.clientSecret),
        ...(options.fapi === true
          ? { id_token_signed_response_alg: 'PS256', authorization_signed_response_alg: 'PS256' }
          : {}),
        ...(options.detailTypes === undefined ? {} : { authorization_details_types: [...options.detailTypes] }),
        ...(options.backchannelLogoutUri === undefined
          ? {}
          : { backchannel_logout_uri: options.backchannelLogoutUri, backchannel_logout_session_required: true }),
      },
      ...(options.clients ?? []),
    ],
    fetch: (url, options) => {
      // oidc-provider's own sends no logout token to loopback.
      Reflect.deleteProperty(options ?? {}, 'dispatcher');
      return fetch(url, options);
    },
    pkce: { required: () => true },
    assertJwtClientAuthClaimsAndHeader: requireStrictAssertion,
    clientAuthMethods: [...clientAuthMethods],
    conformIdTokenClaims: false,
    acrValues: ['urn:test:silver', 'urn:test:gold'],
    claims: {
      openid: ['sub'],
      profile: ['name', 'preferred_username', ...Object.keys(settings.extraClaims)],
      email: ['email', 'email_verified'],
    },
    findAccount: (_ctx, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, ...(isUser(accountId) ? users[accountId] : {}), ...settings.extraClaims }),
    }),
    interactions: { policy: policyWithAcr(settings), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: (ctx) => grantEverything(ctx, settings),
    issueRefreshToken: (ctx) => grantsRefreshToken(ctx, settings),
    expiresWithSession: () => false,
    rotateRefreshToken: () => settings.rotateRefreshTokens,
    ttl: {
      AccessToken: () => settings.lifetimes.accessToken,
      ClientCredentials: () => settings.furtherTokenLifetime,
      IdToken: () => settings.lifetimes.idToken,
      RefreshToken: () => settings.lifetimes.refreshToken,
      AuthorizationCode: () => settings.lifetimes.code,
      Session: () => settings.lifetimes.session,
      Grant: () => settings.lifetimes.refreshToken,
      Interaction: () => 3600,
    },
    formats: {
      customizers: {
        jwt: (_ctx, _token, token) => {
          const { boundCertificate } = settings;
          if (boundCertificate !== undefined) token.payload['cnf'] = { 'x5t#S256': boundCertificate };
          if (settings.accessTokenPadding > 0) token.payload['padding'] = randomCharacters(settings.accessTokenPadding);
          Object.assign(token.payload, settings.accessTokenClaims);
        },
      },
    },
    features: {
      devInteractions: { enabled: false },
      dPoP: {
        enabled: true,
        nonceSecret: Buffer.alloc(32, 'nonces of the provider'),
        requireNonce: () => settings.requireDpopNonce,
      },
      pushedAuthorizationRequests: {
        enabled: options.pushedRequests !== undefined,
        requirePushedAuthorizationRequests: options.pushedRequests === 'required',
      },
      richAuthorizationRequests: detailsFeature(options.detailTypes),
      fapi: options.fapi === true ? { enabled: true, profile: '2.0' } : { enabled: false },
      requestObjects: {
        enabled: options.signedRequests !== undefined,
        requireSignedRequestObject: options.signedRequests === 'required',
      },
      jwtResponseModes: { enabled: true },
      revocation: { enabled: true },
      introspection: { enabled: true },
      jwtIntrospection: { enabled: options.signedIntrospection === true },
      clientCredentials: { enabled: true },
      mTLS: certificateFeatures,
      userinfo: { enabled: true },
      backchannelLogout: { enabled: options.backchannelLogoutUri !== undefined },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => (settings.accessTokens === 'jwt' ? audience : []),
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => resourceServer(resource, settings),
      },
      rpInitiatedLogout: { enabled: true, logoutSource: (ctx, form) => renderLogout(ctx, form, settings) },
    },
  });
  registerTokenExchange(provider, {
    issuer,
    signingKey: () => keys[0] ?? missingKey(),
    lifetimeSeconds: () => settings.furtherTokenLifetime,
  });
  // The host that browsers ask for is behind TLS, whose end says so in no header.
  provider.proxy = options.publicOrigin !== undefined;
  provider.on('server_error', (_ctx, error) => process.stderr.write(`provider: ${String(error.stack)}\n`));
  return provider;
}

/** The same key for PS256. Its access tokens are signed with RS256 all the same: they are no business of the client's. */
function psKeys(jwk: JWK, kid: string): JWK[] {
  return [{ ...jwk, alg: 'PS256', kid: `${kid}-ps` }];
}

/** Whatever is asked for is granted, and comes with the access token. */
function detailsFeature(types: readonly string[] | undefined) {
  if (types === undefined) return { enabled: false as const };
  const known = Object.fromEntries(types.map((type) => [type, { validate: () => undefined }]));
  return {
    enabled: true as const,
    types: known,
    authorizationDetailsForGrantSource: ({ oidc }: KoaContextWithOIDC) =>
      JSON.parse(String(oidc.params?.['authorization_details'])) as AuthorizationDetail[],
    authorizationDetailsForAccessToken: (_ctx: unknown, _token: unknown, source: unknown) =>
      (source as { readonly rar?: AuthorizationDetail[] }).rar,
    authorizationDetailsForIntrospection: () => undefined,
  };
}

/** Asks the person where their session is none of those that the login asks for. */
function policyWithAcr(settings: ProviderSettings): ReturnType<typeof interactionPolicy.base> {
  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('acr_missing', 'another sign-in is asked for', ({ oidc }) => {
      const asked = acrValuesOf(oidc.params ?? {});
      return settings.heedsAcrValues && asked.length > 0 && !asked.includes(oidc.acr);
    }),
  );
  return policy;
}

function acrValuesOf({ acr_values: asked }: Readonly<Record<string, unknown>>): string[] {
  return typeof asked === 'string' ? asked.split(' ') : [];
}

function missingKey(): never {
  throw new Error('the provider has no key');
}

/** What the provider knows of an API, by the address that clients ask for (RFC 8707). */
function resourceServer(resource: string, { lifetimes }: ProviderSettings) {
  return {
    scope: 'api orders stock openid profile email offline_access',
    audience: resource,
    accessTokenFormat: 'jwt',
    accessTokenTTL: lifetimes.accessToken,
  } as const;
}

/** No consent page: what the client asks for is granted. The session's own token stays one for {@link audience}. */
async function grantEverything(
  ctx: KoaContextWithOIDC,
  settings: ProviderSettings,
): Promise<InstanceType<Provider['Grant']> | undefined> {
  const { client, session, provider, params, resourceServers = {} } = ctx.oidc;
  if (!client || !session?.accountId) return undefined;
  const known = session.grantIdFor(client.clientId);
  const grant =
    (known === undefined ? undefined : await provider.Grant.find(known)) ??
    new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  const scope = typeof params?.['scope'] === 'string' ? params['scope'] : '';
  grant.addOIDCScope(scope);
  if (settings.accessTokens === 'jwt') {
    resourceServers[audience] ??= new provider.ResourceServer(audience, resourceServer(audience, settings));
  }
  for (const resource of [audience, ...Object.keys(resourceServers)]) grant.addResourceScope(resource, scope);
  await grant.save();
  return grant;
}

function grantsRefreshToken(ctx: KoaContextWithOIDC, settings: ProviderSettings): boolean {
  if (settings.refreshTokens !== 'with-consent') return settings.refreshTokens === 'always';
  return ctx.oidc.entities.AuthorizationCode?.scopes.has('offline_access') ?? false;
}

function renderLogout(ctx: KoaContextWithOIDC, form: string, settings: ProviderSettings): void {
  const button = '<button name="logout" value="yes">Sign out</button>';
  const hidden = '<input type="hidden" name="logout" value="yes"/>';
  const submit = '<script>document.forms[0].submit()</script>';
  ctx.body =
    settings.login === 'auto'
      ? `<!doctype html><body>${form.replace('</form>', `${hidden}</form>`)}${submit}</body>`
      : `<!doctype html><title>Sign out</title><body>${form.replace('</form>', `${button}</form>`)}</body>`;
}

/** Answers a request: the login page, and what oidc-provider does itself. */
export async function answerRequest(
  inner: RunningProvider,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!request.url?.startsWith('/interaction/')) {
    await inner.provider.callback()(request, response);
    return;
  }
  const { params, uid } = await inner.provider.interactionDetails(request, response);
  const hint = params['login_hint'];
  const suggested = isUser(hint) ? hint : inner.settings.user;
  if (request.method === 'POST') {
    const chosen = new URLSearchParams((await readBody(request)).toString()).get('user');
    await finishInteraction(inner, request, response, signInOf(isUser(chosen) ? chosen : suggested));
  } else if (inner.settings.login === 'auto') {
    await finishInteraction(inner, request, response, signInOf(suggested));
  } else {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(loginPage(uid, suggested));
  }

  function signInOf(accountId: User): SignIn {
    const [acr] = inner.settings.heedsAcrValues ? acrValuesOf(params) : [];
    return acr === undefined ? { accountId } : { accountId, acr };
  }
}

interface SignIn {
  accountId: User;
  acr?: string;
}

function finishInteraction(
  inner: RunningProvider,
  request: IncomingMessage,
  response: ServerResponse,
  login: SignIn,
): Promise<void> {
  const result = { login: { ...login }, consent: {} };
  return inner.provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function loginPage(uid: string, suggested: User): string {
  return `<!doctype html><title>Sign in</title><body><h1>Sign in</h1>
<form method="post" action="/interaction/${uid}"><input name="user" value="${suggested}"><button>Sign in</button></form>
</body>`;
}

function isUser(value: unknown): value is User {
  return value === 'alice' || value === 'bob';
}

function randomCharacters(count: number): string {
  return randomBytes(count).toString('base64url').slice(0, count);
}
