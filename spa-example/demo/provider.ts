/**
 * The demo's OpenID provider: oidc-provider on loopback, with two users, pages of its own and access tokens that live
 * for a minute, so that a refresh is never far away. It is configured as a production provider would be for a
 * confidential client: PKCE required, refresh tokens rotated with reuse detection (RFC 9700 section 4.14), JWT access
 * tokens for one API (RFC 9068, RFC 8707), revocation (RFC 7009) and RP-initiated logout.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFile } from 'node:fs/promises';
import { exportJWK, generateKeyPair } from 'jose';
import type { AccountClaims, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { closeServer, listen } from './listen.ts';
import type { ListenAddress } from './listen.ts';
import { handleInteraction, pinMissing, pinSignIn } from './provider-interaction.ts';
import {
  contentSecurityPolicy,
  pageFiles,
  renderFailure,
  renderSignOut,
  renderSignedOut,
  submitScript,
} from './provider-pages.ts';
import { createProviderStore } from './provider-store.ts';
import { findUser } from './users.ts';

export interface DemoProviderOptions extends ListenAddress {
  clientId: string;
  clientSecret: string;
  /** The app's callback URLs, compared exactly. */
  redirectUris: string[];
  /** Where a browser may be sent after signing out, compared exactly. */
  postLogoutRedirectUris: string[];
  /** The `aud` of the access tokens: a URI that names the API. */
  apiAudience: string;
}

export interface DemoProvider {
  issuer: string;
  /** Where the keys are with which it signs access tokens. */
  jwksUrl: string;
  close(): Promise<void>;
}

/** Seconds an access token lives: long enough to look at, short enough to see it renewed. */
export const accessTokenSeconds = 60;
const hourSeconds = 3600;
const daySeconds = 24 * hourSeconds;
/** What an access token allows. */
export const apiScope = 'notes';
/** With what it is signed. */
export const signingAlgorithm = 'RS256';

/** Starts the provider; rejects with `EADDRINUSE` when the port is taken. */
export async function startDemoProvider(options: DemoProviderOptions): Promise<DemoProvider> {
  const { Provider, interactionPolicy } = await importProviderQuietly();
  const configuration = await configure(options, policyWithPin(interactionPolicy));
  const files = await loadPageFiles();
  const server = createServer();
  const port = await listen(server, options);
  const issuer = `http://${options.host}:${port}`;
  const provider = new Provider(issuer, configuration);
  provider.on('server_error', (_context, error) => console.error('The demo provider failed:', error));
  const answer = createHandler(provider, files, pageHeaders(options));
  server.on('request', (request, response) => {
    answer(request, response).catch((error: unknown) => {
      console.error('The demo provider failed:', error);
      response.destroy();
    });
  });
  return { issuer, jwksUrl: provider.urlFor('jwks'), close: () => closeServer(server) };
}

/**
 * oidc-provider greets every Node that isn't a long-term release with 'Unsupported runtime', at import and with no
 * option against it. The demo brings its own Node, so the notice would tell its reader nothing; only that line is held
 * back, and only while the module loads.
 */
async function importProviderQuietly(): Promise<typeof import('oidc-provider')> {
  const warn = console.warn;
  console.warn = (...parts: unknown[]) => {
    if (!String(parts[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...parts);
  };
  try {
    return await import('oidc-provider');
  } finally {
    console.warn = warn;
  }
}

type Policies = typeof import('oidc-provider').interactionPolicy;
type Policy = ReturnType<Policies['base']>;

/** When people are asked: as OpenID Connect says, and for a PIN where the app asks for the sign-in with one. */
function policyWithPin({ base, Check }: Policies): Policy {
  const policy = base();
  policy.get('login')?.checks.add(
    new Check(pinMissing, 'a sign-in with a PIN is asked for', ({ oidc }) => {
      const asked = oidc.params?.['acr_values'];
      return typeof asked === 'string' && asked.split(' ').includes(pinSignIn) && oidc.acr !== pinSignIn;
    }),
  );
  return policy;
}

async function configure(options: DemoProviderOptions, policy: Policy): Promise<Configuration> {
  const { privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true });
  const signingKey = {
    ...(await exportJWK(privateKey)),
    kid: randomBytes(8).toString('hex'),
    alg: signingAlgorithm,
    use: 'sig',
  };
  const headers = pageHeaders(options);
  return {
    adapter: createProviderStore(),
    jwks: { keys: [signingKey] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    clients: [
      {
        client_id: options.clientId,
        client_secret: options.clientSecret,
        client_name: 'Sallyport example',
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        redirect_uris: options.redirectUris,
        post_logout_redirect_uris: options.postLogoutRedirectUris,
      },
    ],
    // The API's own scope belongs to the API's resource below.
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    claims: {
      profile: ['name', 'given_name', 'family_name', 'preferred_username'],
      email: ['email', 'email_verified'],
    },
    // The access token is for the API, not for the userinfo endpoint, so the ID token carries the person's claims.
    conformIdTokenClaims: false,
    findAccount: (_context, subject) => findAccount(subject),
    loadExistingGrant: (context) => loadFirstPartyGrant(context, options.apiAudience),
    acrValues: [pinSignIn],
    // The API reads from its token how and when the person signed in (RFC 9470 section 5).
    extraTokenClaims({ oidc }) {
      const { acr, authTime } = oidc.entities.AuthorizationCode ?? oidc.entities.RefreshToken ?? {};
      return { acr, auth_time: authTime };
    },
    interactions: { policy, url: (_context, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    // A browser app behind a token handler is always allowed to stay signed in, whether or not it asked for consent.
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
    clientBasedCORS: () => false,
    renderError: (context, out) =>
      sendPage(context, headers, renderFailure('That did not work', out.error_description ?? out.error)),
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      IdToken: hourSeconds,
      RefreshToken: daySeconds,
      Interaction: hourSeconds,
      Session: daySeconds,
      Grant: daySeconds,
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: (_context, client, token) => token.clientId === client.clientId },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => options.apiAudience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: options.apiAudience,
          scope: apiScope,
          accessTokenFormat: 'jwt',
          accessTokenTTL: accessTokenSeconds,
          jwt: { sign: { alg: signingAlgorithm } },
        }),
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => {
          // Only an ID token proves that the app asks on this person's behalf; without one the person decides.
          const confirmed = context.oidc.entities.IdTokenHint !== undefined;
          return sendPage(context, headers, renderSignOut(form, confirmed));
        },
        postLogoutSuccessSource: (context) => sendPage(context, headers, renderSignedOut()),
      },
    },
  };
}

async function findAccount(subject: string): Promise<{ accountId: string; claims(): AccountClaims } | undefined> {
  const user = findUser(subject);
  if (!user) return undefined;
  return {
    accountId: user.username,
    claims: () => ({
      sub: user.username,
      name: user.name,
      given_name: user.givenName,
      family_name: user.familyName,
      preferred_username: user.username,
      email: user.email,
      email_verified: true,
    }),
  };
}

type Grant = InstanceType<Provider['Grant']>;

/** Grants the first-party app all it may ask for, so that nobody is asked to consent to their own company's app. */
async function loadFirstPartyGrant(context: KoaContextWithOIDC, apiAudience: string): Promise<Grant | undefined> {
  const { account, client, provider, session } = context.oidc;
  if (!account || !client) return undefined;
  const grantId = session?.grantIdFor(client.clientId);
  const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  if (existing) return existing;
  const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  grant.addOIDCScope('openid profile email offline_access');
  grant.addResourceScope(apiAudience, apiScope);
  await grant.save();
  return grant;
}

type Files = ReadonlyMap<string, { type: string; body: string }>;

/** The provider borrows the example app's style sheet; only its accent colour differs. */
async function loadPageFiles(): Promise<Files> {
  const style = await readFile(new URL('../src/styles.css', import.meta.url), 'utf8');
  const icon = await readFile(new URL('../public/favicon.svg', import.meta.url), 'utf8');
  return new Map([
    [pageFiles.style, { type: 'text/css; charset=utf-8', body: style }],
    [pageFiles.icon, { type: 'image/svg+xml', body: icon }],
    [pageFiles.submit, { type: 'text/javascript; charset=utf-8', body: submitScript }],
  ]);
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;
type Headers = Readonly<Record<string, string>>;

function createHandler(provider: Provider, files: Files, headers: Headers): Handler {
  const handleProtocol = provider.callback();
  return async function handle(request, response) {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const file = files.get(path);
    if (file) {
      response.writeHead(200, { 'content-type': file.type, 'x-content-type-options': 'nosniff' }).end(file.body);
      return;
    }
    if (path.startsWith('/interaction/')) {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      await handleInteraction(provider, request, response);
      return;
    }
    await handleProtocol(request, response);
  };
}

function pageHeaders(options: DemoProviderOptions): Headers {
  const appUrls = [...options.redirectUris, ...options.postLogoutRedirectUris];
  const appOrigins = [...new Set(appUrls.map((url) => new URL(url).origin))];
  return {
    'content-security-policy': contentSecurityPolicy(appOrigins),
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
}

async function sendPage(context: KoaContextWithOIDC, headers: Headers, page: Promise<string>): Promise<void> {
  context.set({ ...headers });
  context.type = 'html';
  context.body = await page;
}
