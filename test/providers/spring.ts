/** Spring Authorization Server as Spring Boot sets it up: everything in memory, the signing key made at the start. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProcess, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { freePort } from '../support/listener.ts';
import { javaLibraries } from '../support/user-cache.ts';
import { introspect, isAnswering, type RealProvider } from './real-provider.ts';

export interface Spring extends RealProvider {
  /** Ends it and starts it anew: with another key, and without any memory of tokens and people. */
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const folder = join(import.meta.dirname, 'spring');
const client = { id: 'notes-app', secret: 'notes-app-secret' };

/** Starts it for the app at `origin`. */
export async function startSpring(origin: string): Promise<Spring> {
  const libraries = await javaLibraries('spring', join(folder, 'pom.xml'));
  const scratch = await mkdtemp(join(tmpdir(), 'sallyport-spring-'));
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const file = join(scratch, 'application.yaml');
  // JSON is YAML.
  await writeFile(file, JSON.stringify(configuration({ issuer, port, origin })));
  const args = ['-cp', join(libraries, '*'), 'Server.java', `--spring.config.location=file:${file}`];
  let server = await start();

  async function start(): Promise<ServerProcess> {
    const started = startProcess('java', ['-XX:TieredStopAtLevel=1', ...args], { cwd: folder });
    await untilReady(started, () => isAnswering(`${issuer}/.well-known/openid-configuration`), 120);
    return started;
  }

  return {
    issuer,
    client,
    isActive: (token) => introspect(`${issuer}/oauth2/introspect`, token, client),
    credentials: () => ({ username: 'alice', password: 'password' }),
    alice: { sub: 'alice' },
    revokes: true,
    unregisteredPage: /"status":400|Bad Request/,
    async restart() {
      await server.stop();
      server = await start();
    },
    async close() {
      await server.stop();
      await rm(scratch, { recursive: true });
    },
  };
}

interface Places {
  readonly issuer: string;
  readonly port: number;
  readonly origin: string;
}

function configuration({ issuer, port, origin }: Places): Record<string, unknown> {
  const registration = {
    'client-id': client.id,
    'client-secret': `{noop}${client.secret}`,
    'client-authentication-methods': ['client_secret_basic'],
    'authorization-grant-types': ['authorization_code', 'refresh_token'],
    'redirect-uris': [`${origin}/bff/callback`],
    'post-logout-redirect-uris': [`${origin}/`],
    scopes: ['openid'],
  };
  const token = { 'access-token-time-to-live': '5s', 'reuse-refresh-tokens': false };
  return {
    server: { address: '127.0.0.1', port },
    spring: {
      main: { 'banner-mode': 'off' },
      security: {
        user: { name: 'alice', password: '{noop}password' },
        oauth2: {
          authorizationserver: { issuer, client: { notes: { registration, token, 'require-proof-key': true } } },
        },
      },
    },
  };
}
