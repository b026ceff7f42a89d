/**
 * A Sallyport in this process, as another client of the stack's Keycloak: one that has no secret, or more rights. Its
 * certificates are those of the tests; Keycloak's own port for TLS asks for them.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRemoteJWKSet, jwtVerify, type JWTPayload } from 'jose';
import type { Page } from 'playwright-core';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { startServer } from '../../src/server/server.ts';
import type { ApiRequest } from '../support/api.ts';
import { makePrivateKey, pemOf } from '../support/client-keys.ts';
import { freePort } from '../support/listener.ts';
import { createCertificate } from '../support/tls.ts';
import type { KeycloakAdmin } from './keycloak-admin.ts';
import { call, readSession, signIn } from './pages.ts';
import type { Stack } from './stack.ts';

export interface OwnClientFiles {
  readonly folder: string;
  /** Keycloak's. */
  readonly httpsPort: number;
  /** For Keycloak: its port for TLS, and the authority of the client's certificate. */
  readonly environment: Readonly<Record<string, string>>;
  readonly close: () => Promise<void>;
}

/** Keys and certificates in a folder. */
export async function makeClientFiles(): Promise<OwnClientFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-own-client-'));
  const [server, client] = [await createCertificate(['localhost']), await createCertificate(['client.example.test'])];
  const files: Record<string, string> = {
    'key.pem': pemOf(makePrivateKey('RSA')),
    'server.crt': server.cert,
    'server.key': server.key,
    'client.crt': client.cert,
    'client.key': client.key,
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  const httpsPort = await freePort();
  return {
    folder,
    httpsPort,
    environment: {
      KC_HTTPS_PORT: String(httpsPort),
      KC_HTTPS_CERTIFICATE_FILE: join(folder, 'server.crt'),
      KC_HTTPS_CERTIFICATE_KEY_FILE: join(folder, 'server.key'),
      KC_TRUSTSTORE_PATHS: join(folder, 'client.crt'),
      // Else the certificate is that of the port for health checks as well, and the file's own speaks http.
      KC_HTTP_MANAGEMENT_SCHEME: 'http',
    },
    close: () => rm(folder, { recursive: true }),
  };
}

export interface OwnClient {
  readonly origin: string;
  readonly logs: readonly string[];
  readonly close: () => Promise<void>;
}

export interface OwnClientWorld {
  readonly files: OwnClientFiles;
  readonly spaFolder: string;
  readonly stack: Pick<Stack, 'keycloakUrl' | 'demoPassword'>;
  readonly admin: Pick<KeycloakAdmin, 'addClient' | 'addRealm'>;
}

/** It signs assertions with a key that Keycloak fetches from it. */
export async function startClientWithKey({ files, spaFolder, stack, admin }: OwnClientWorld): Promise<OwnClient> {
  const port = await freePort();
  const registered = clientOf(port, 'client-jwt', {
    'use.jwks.url': 'true',
    'jwks.url': `${originOf(port)}/bff/jwks.json`,
    'token.endpoint.auth.signing.alg': 'PS256',
  });
  await admin.addClient(registered);
  return startOwnClient(port, {
    spa: { folder: spaFolder },
    issuer: `${stack.keycloakUrl}/realms/sallyport`,
    client: { id: registered.clientId, authMethod: 'private_key_jwt', keyFile: join(files.folder, 'key.pem') },
  });
}

/** Keycloak knows the subject of its certificate. Its realm is one whose addresses are those with TLS. */
export async function startClientWithCertificate({
  files,
  spaFolder,
  stack,
  admin,
}: OwnClientWorld): Promise<OwnClient> {
  const port = await freePort();
  const frontendUrl = `https://localhost:${files.httpsPort}`;
  const registered = clientOf(port, 'client-x509', { 'x509.subjectdn': 'CN=sallyport.test' });
  const names = { firstName: 'Alice', lastName: 'Archer', email: 'alice@example.com' };
  const credentials = [{ type: 'password', value: stack.demoPassword }];
  await admin.addRealm({
    realm: 'certificates',
    enabled: true,
    attributes: { frontendUrl },
    users: [{ username: 'alice', enabled: true, ...names, credentials }],
    clients: [registered],
  });
  return startOwnClient(port, {
    spa: { folder: spaFolder },
    issuer: `${frontendUrl}/realms/certificates`,
    provider: { caFile: join(files.folder, 'server.crt') },
    client: {
      id: registered.clientId,
      authMethod: 'tls_client_auth',
      certFile: join(files.folder, 'client.crt'),
      tlsKeyFile: join(files.folder, 'client.key'),
    },
  });
}

/**
 * It has a secret, and tokens that name these clients and this one itself. Keycloak must know each of them.
 * @param attributes of the client, which switch on what it may do
 */
export async function startClientWithAudiences(
  { spaFolder, stack, admin }: Omit<OwnClientWorld, 'files'>,
  { audiences, attributes, api }: AudiencesOptions,
): Promise<OwnClient> {
  const port = await freePort();
  const registered = clientOf(port, 'client-secret', attributes);
  const clientId = `${registered.clientId}-for-${audiences.join('-')}`;
  const secret = randomBytes(32).toString('base64url');
  for (const audience of audiences) await admin.addClient({ clientId: audience });
  await admin.addClient({
    ...registered,
    clientId,
    secret,
    protocolMappers: [...audiences, clientId].map(audienceMapper),
  });
  return startOwnClient(port, {
    spa: { folder: spaFolder },
    issuer: `${stack.keycloakUrl}/realms/sallyport`,
    client: { id: clientId, secret },
    api,
  });
}

export interface AudiencesOptions {
  readonly audiences: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
  readonly api: NonNullable<ConfigInput['api']>;
}

function audienceMapper(audience: string) {
  return {
    name: `${audience} audience`,
    protocol: 'openid-connect',
    protocolMapper: 'oidc-audience-mapper',
    config: {
      'included.client.audience': audience,
      'access.token.claim': 'true',
      'introspection.token.claim': 'true',
    },
  };
}

/** What `goThrough` finds where nothing fails. */
export const fullJourney = { landedAt: '/welcome', refreshed: 200, leftAt: '/', authenticated: false, faults: [] };

/** Signs in, refreshes and signs out, which redeems a code and a refresh token and revokes one. */
export async function goThrough(
  { origin, logs }: OwnClient,
  page: Page,
  password: string,
): Promise<Record<keyof typeof fullJourney, unknown>> {
  await signIn(page, { origin, username: 'alice', password, returnTo: '/welcome' });
  const landedAt = new URL(page.url()).pathname;
  const { status: refreshed } = await call(page, '/bff/refresh', { method: 'POST' });
  const { location } = (await call(page, '/bff/logout', { method: 'POST' })).body;
  await page.goto(new URL(String(location), origin).href);
  const { pathname: leftAt } = new URL(page.url());
  const { authenticated } = await readSession(page);
  return {
    landedAt,
    refreshed,
    leftAt,
    authenticated,
    faults: logs.filter((line) => /_failed|"level":[56]0/.test(line)),
  };
}

/** What the tokens say that an API received, after a look at their signatures. */
export function verifiedClaims(
  requests: readonly ApiRequest[],
  { keycloakUrl }: Pick<Stack, 'keycloakUrl'>,
): Promise<JWTPayload[]> {
  const issuer = `${keycloakUrl}/realms/sallyport`;
  const keys = createRemoteJWKSet(new URL(`${issuer}/protocol/openid-connect/certs`));
  return Promise.all(requests.map(async ({ token = '' }) => (await jwtVerify(token, keys, { issuer })).payload));
}

async function startOwnClient(
  port: number,
  config: Pick<ConfigInput, 'issuer' | 'client' | 'provider' | 'spa' | 'api'>,
): Promise<OwnClient> {
  const origin = originOf(port);
  const logs: string[] = [];
  const resolved = resolveConfig({
    ...config,
    origin,
    listen: { port },
    secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
    drainSeconds: 1,
  });
  const server = await startServer(resolved, { logTo: { write: (line: string) => void logs.push(line) } });
  return { origin, logs, close: () => server.close() };
}

function originOf(port: number): string {
  return `http://localhost:${port}`;
}

/** As Keycloak has it. */
function clientOf(port: number, authenticator: string, attributes: Readonly<Record<string, string>>) {
  const origin = originOf(port);
  return {
    clientId: `own-${authenticator}`,
    publicClient: false,
    standardFlowEnabled: true,
    clientAuthenticatorType: authenticator,
    redirectUris: [`${origin}/bff/callback`],
    attributes: { ...attributes, 'pkce.code.challenge.method': 'S256', 'post.logout.redirect.uris': `${origin}/` },
  };
}
