/**
 * Dex (dexidp.io) with people in its own password database. Its administration is a gRPC API, of which dex-admin.ts
 * speaks what the tests need. It stores in etcd, because this release locks itself out of its embedded stores (memory,
 * SQLite) at the first refresh: it reads anew inside of a transaction.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startProcess, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { freePort } from '../support/listener.ts';
import { createDexAdmin, type DexAdmin } from './dex-admin.ts';
import { buildGoProgram } from './go-programs.ts';
import { introspect, isAnswering, type RealProvider } from './real-provider.ts';

export interface Dex extends RealProvider {
  readonly admin: DexAdmin;
  /** The `sub` of her ID tokens, which is what the admin API calls a person. */
  readonly subjectOfAlice: string;
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface DexOptions {
  /** The app's origin. */
  readonly origin: string;
  /** Dex's own sessions, and so its end-session endpoint: off unless a variable switches them on. Default false. */
  readonly sessions?: boolean;
  /** Default: it lists none. */
  readonly postLogoutRedirectUris?: readonly string[];
}

const clientId = 'notes-app';
const clientSecret = 'notes-app-secret';
/** A message of two strings: the person's id, and the connector `local`. */
const subjectOfAlice = Buffer.from('\n\vid-of-alice\u0012\u0005local').toString('base64url');
/** Of `password`, by bcrypt. */
const passwordHash = '$2a$10$2b2cU8CPhOTaGrs1HRQuAueS7JTT5ZHsHSzYiFPm1leZck7Mc8T4W';

export async function startDex(options: DexOptions): Promise<Dex> {
  const program = await buildGoProgram({ name: 'dex', package: 'github.com/dexidp/dex/cmd/dex' });
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-dex-'));
  const [port, grpcPort] = [await freePort(), await freePort()];
  const etcd = await startEtcd(join(folder, 'etcd'));
  const issuer = `http://127.0.0.1:${port}/dex`;
  const file = join(folder, 'dex.json');
  await writeFile(file, JSON.stringify(configuration(options, { issuer, port, grpcPort, etcdUrl: etcd.url })));
  const env: Record<string, string> = options.sessions ? { DEX_SESSIONS_ENABLED: 'true' } : {};
  let server = await start();

  async function start(): Promise<ServerProcess> {
    const started = startProcess(program, ['serve', file], { cwd: folder, env });
    await untilReady(started, () => isAnswering(`${issuer}/.well-known/openid-configuration`), 60);
    return started;
  }

  return {
    issuer,
    client: { id: clientId, secret: clientSecret },
    admin: createDexAdmin(grpcPort),
    subjectOfAlice,
    isActive: (token) => introspect(`${issuer}/token/introspect`, token),
    credentials: (person) => ({ login: `${person}@example.com`, password: 'password' }),
    alice: { sub: subjectOfAlice, name: 'alice', email: 'alice@example.com' },
    revokes: false,
    unregisteredPage: /Unregistered post_logout_redirect_uri/,
    down: async () => void (await server.stop()),
    async up() {
      server = await start();
    },
    async close() {
      await server.stop();
      await etcd.server.stop();
      await rm(folder, { recursive: true });
    },
  };
}

async function startEtcd(folder: string): Promise<{ readonly server: ServerProcess; readonly url: string }> {
  const [url, peerUrl] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const addresses = Object.entries({
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `default=${peerUrl}`,
  }).flatMap(([option, value]) => [`--${option}`, value]);
  const command = process.env['ETCD_COMMAND'] ?? 'etcd';
  const server = startProcess(command, ['--data-dir', folder, ...addresses], { cwd: dirname(folder), env: {} });
  await untilReady(server, () => isAnswering(`${url}/health`), 60);
  return { server, url };
}

interface Places {
  readonly issuer: string;
  readonly port: number;
  readonly grpcPort: number;
  readonly etcdUrl: string;
}

function configuration(options: DexOptions, { issuer, port, grpcPort, etcdUrl }: Places): Record<string, unknown> {
  return {
    issuer,
    storage: { type: 'etcd', config: { endpoints: [etcdUrl] } },
    web: { http: `127.0.0.1:${port}` },
    grpc: { addr: `127.0.0.1:${grpcPort}` },
    // Dex looks every 30 seconds for keys that are due. Each refresh token is good once.
    expiry: { signingKeys: '1s', idTokens: '5s', refreshTokens: { reuseInterval: '0s' } },
    oauth2: { skipApprovalScreen: true },
    enablePasswordDB: true,
    staticPasswords: ['alice', 'bob'].map((person) => ({
      email: `${person}@example.com`,
      hash: passwordHash,
      username: person,
      userID: `id-of-${person}`,
    })),
    staticClients: [
      {
        id: clientId,
        name: 'Notes',
        secret: clientSecret,
        redirectURIs: [`${options.origin}/bff/callback`],
        postLogoutRedirectURIs: options.postLogoutRedirectUris ?? [],
      },
    ],
    ...(options.sessions ? { sessions: { rememberMeCheckedByDefault: true } } : {}),
  };
}
