/**
 * A Sallyport in this process, as another client of the stack's Keycloak: one that has no secret. Its certificates are
 * those of the tests; Keycloak's own port for TLS asks for them.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { startServer } from '../../src/server/server.ts';
import { makePrivateKey, pemOf } from '../support/client-keys.ts';
import { freePort } from '../support/listener.ts';
import { createCertificate } from '../support/tls.ts';

export interface OwnClientFiles {
  readonly folder: string;
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
    },
    close: () => rm(folder, { recursive: true }),
  };
}

export interface OwnClient {
  readonly origin: string;
  readonly logs: readonly string[];
  readonly close: () => Promise<void>;
}

/** @param config what this client has of its own */
export async function startOwnClient(
  port: number,
  config: Pick<ConfigInput, 'issuer' | 'client' | 'provider'>,
): Promise<OwnClient> {
  const origin = `http://localhost:${port}`;
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

/** A client that Keycloak knows by what is no secret. */
export function clientOf(origin: string, authenticator: string, attributes: Readonly<Record<string, string>>) {
  return {
    clientId: `own-${authenticator}`,
    publicClient: false,
    standardFlowEnabled: true,
    clientAuthenticatorType: authenticator,
    redirectUris: [`${origin}/bff/callback`],
    attributes: { ...attributes, 'pkce.code.challenge.method': 'S256', 'post.logout.redirect.uris': `${origin}/` },
  };
}
