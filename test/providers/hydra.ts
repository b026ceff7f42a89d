/**
 * Ory Hydra: the token service alone. Who people are, what they consent to and how they leave is asked of an app of one's
 * own, which answers by Hydra's admin API; here it has a form with a name.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { startProcess, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { abortWith, freePort, readBody, startListener, type Listener } from '../support/listener.ts';
import { buildGoProgram } from './go-programs.ts';
import { introspect, isAnswering, type Person, type RealProvider } from './real-provider.ts';

export interface Hydra extends RealProvider {
  /** Takes back all that the person has granted, as an administrator does. */
  readonly revokeGrants: (person: Person) => Promise<void>;
  /** Adds a signing key, with which it signs from now on. */
  readonly rotateKeys: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface HydraOptions {
  /** The app's origin. */
  readonly origin: string;
  readonly postLogoutRedirectUris: readonly string[];
}

const withRedirect = z.looseObject({ redirect_to: z.string() });
const loginRequest = z.looseObject({ subject: z.string(), skip: z.boolean() });
const consentRequest = z.looseObject({ requested_scope: z.array(z.string()), subject: z.string() });
const createdClient = z.looseObject({ client_id: z.string(), client_secret: z.string() });

type Admin = (method: string, path: string, body?: unknown) => Promise<unknown>;

export async function startHydra(options: HydraOptions): Promise<Hydra> {
  const program = await buildGoProgram({ name: 'hydra', package: 'github.com/ory/hydra/v2', sqlite: true });
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-hydra-'));
  const [port, adminPort] = [await freePort(), await freePort()];
  const issuer = `http://127.0.0.1:${port}`;
  const admin = createAdmin(`http://127.0.0.1:${adminPort}/admin`);
  const app = await startLoginApp(admin);
  const file = join(folder, 'hydra.json');
  await writeFile(file, JSON.stringify(configuration({ issuer, port, adminPort, appPort: app.port })));
  const server: ServerProcess = startProcess(program, ['serve', 'all', '--dev', '--config', file], {
    cwd: folder,
    env: {},
  });
  await untilReady(server, () => isAnswering(`http://127.0.0.1:${adminPort}/health/ready`), 120);
  const client = createdClient.parse(
    await admin('POST', '/clients', {
      client_name: 'Notes',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [`${options.origin}/bff/callback`],
      post_logout_redirect_uris: options.postLogoutRedirectUris,
    }),
  );

  return {
    issuer,
    client: { id: client.client_id, secret: client.client_secret },
    isActive: (token) => introspect(`http://127.0.0.1:${adminPort}/admin/oauth2/introspect`, token),
    credentials: (person) => ({ name: person }),
    alice: { sub: 'alice', name: 'alice of Hydra', email: 'alice@example.com' },
    revokes: true,
    unregisteredPage: /post_logout_redirect_uri is not a whitelisted/,
    async revokeGrants(person) {
      await admin('DELETE', `/oauth2/auth/sessions/consent?subject=${person}&all=true`);
    },
    async rotateKeys() {
      await admin('POST', '/keys/hydra.openid.id-token', { alg: 'RS256', use: 'sig', kid: `rotated-${Date.now()}` });
    },
    async close() {
      await server.stop();
      await app.close();
      await rm(folder, { recursive: true });
    },
  };
}

interface Places {
  readonly issuer: string;
  readonly port: number;
  readonly adminPort: number;
  readonly appPort: number;
}

function configuration({ issuer, port, adminPort, appPort }: Places): Record<string, unknown> {
  const app = `http://127.0.0.1:${appPort}`;
  return {
    dsn: 'memory',
    log: { level: 'error' },
    sqa: { opt_out: true },
    secrets: { system: ['a secret of at least 16 characters'] },
    serve: { public: { host: '127.0.0.1', port }, admin: { host: '127.0.0.1', port: adminPort } },
    ttl: { access_token: '5s', id_token: '5s' },
    urls: {
      self: { issuer },
      login: `${app}/login`,
      consent: `${app}/consent`,
      logout: `${app}/logout`,
      error: `${app}/error`,
      post_logout_redirect: `${app}/signed-out`,
    },
  };
}

function createAdmin(url: string): Admin {
  return async (method, path, body) => {
    const isForm = body instanceof URLSearchParams;
    const response = await fetch(`${url}${path}`, {
      method,
      ...(isForm ? { body } : { headers: { 'content-type': 'application/json' } }),
      ...(isForm || body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answers ${response.status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
}

function startLoginApp(admin: Admin): Promise<Listener> {
  return startListener((request, response) => {
    answer(admin, request, response).catch(abortWith(response));
  });
}

async function answer(admin: Admin, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://app');
  const challenge = (kind: string) => encodeURIComponent(searchParams.get(`${kind}_challenge`) ?? '');
  const redirect = (location: string) => response.writeHead(302, { location }).end();
  const show = (html: string) => response.writeHead(200, { 'content-type': 'text/html' }).end(html);

  if (pathname === '/login' && request.method === 'POST') {
    const name = new URLSearchParams((await readBody(request)).toString()).get('name') ?? '';
    redirect(await acceptLogin(admin, challenge('login'), name));
  } else if (pathname === '/login') {
    const { skip, subject } = loginRequest.parse(await requestOf(admin, 'login', challenge('login')));
    if (skip) redirect(await acceptLogin(admin, challenge('login'), subject));
    else show(`<!doctype html><form method="post" action="${request.url}"><input name="name"></form>`);
  } else if (pathname === '/consent') {
    redirect(await acceptConsent(admin, challenge('consent')));
  } else if (pathname === '/logout') {
    redirect(await accept(admin, 'logout', challenge('logout')));
  } else {
    show(
      `<!doctype html><title>${pathname}</title><p>${searchParams.get('error_description')?.replaceAll('<', '&lt;')}`,
    );
  }
}

function acceptLogin(admin: Admin, challenge: string, subject: string): Promise<string> {
  return accept(admin, 'login', challenge, { subject, remember: true, remember_for: 3600 });
}

async function acceptConsent(admin: Admin, challenge: string): Promise<string> {
  const { requested_scope, subject } = consentRequest.parse(await requestOf(admin, 'consent', challenge));
  return accept(admin, 'consent', challenge, {
    grant_scope: requested_scope,
    remember: true,
    remember_for: 3600,
    session: { id_token: { name: `${subject} of Hydra`, email: `${subject}@example.com` } },
  });
}

function requestOf(admin: Admin, kind: string, challenge: string): Promise<unknown> {
  return admin('GET', `/oauth2/auth/requests/${kind}?${kind}_challenge=${challenge}`);
}

/** Accepts the request, and answers the address where Hydra goes on. */
async function accept(admin: Admin, kind: string, challenge: string, body?: unknown): Promise<string> {
  const path = `/oauth2/auth/requests/${kind}/accept?${kind}_challenge=${challenge}`;
  return withRedirect.parse(await admin('PUT', path, body ?? {})).redirect_to;
}
