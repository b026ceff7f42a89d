/** django-oauth-toolkit on Django, with a database in a file, so that a restart loses nothing. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, startProcess, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { freePort } from '../support/listener.ts';
import { cachedFolder } from '../support/user-cache.ts';
import { introspect, isAnswering, type RealProvider } from './real-provider.ts';

export interface Django extends RealProvider {
  readonly revokeGrants: () => Promise<void>;
  /** Starts it anew with another key; the one before is still published. */
  readonly rotateKeys: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const folder = join(import.meta.dirname, 'django');
const python = process.env['PYTHON_COMMAND'] ?? 'python3';
const client = { id: 'notes-app', secret: 'notes-app-secret' };

/** Starts it for the app at `origin`. */
export async function startDjango(origin: string): Promise<Django> {
  const libraries = await pythonLibraries();
  const scratch = await mkdtemp(join(tmpdir(), 'sallyport-django-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const issuer = `${url}/o`;
  const keys = [makeKey()];
  const secretKey = randomBytes(32).toString('hex');
  let server = await start();

  async function start(): Promise<ServerProcess> {
    const [inactiveKeys, key] = [keys.slice(0, -1), keys.at(-1)];
    const file = join(scratch, 'settings.json');
    const places = { database: join(scratch, 'django.sqlite'), port, secretKey };
    const addresses = { redirectUri: `${origin}/bff/callback`, postLogoutRedirectUri: `${origin}/` };
    await writeFile(file, JSON.stringify({ client, key, inactiveKeys, ...places, ...addresses }));
    const env = { PYTHONPATH: libraries, PYTHONDONTWRITEBYTECODE: '1' };
    const started = startProcess(python, ['server.py', file], { cwd: folder, env });
    await untilReady(started, () => isAnswering(`${issuer}/.well-known/openid-configuration`), 60);
    return started;
  }

  return {
    issuer,
    client,
    isActive: (token) => introspect(`${issuer}/introspect/`, token, client),
    credentials: (person) => ({ username: person, password: 'password' }),
    alice: { sub: '1' },
    revokes: true,
    unregisteredPage: /doesn.t match any|mismatch|redirect/i,
    async revokeGrants() {
      await fetch(`${url}/test/revoke-grants/`);
    },
    async rotateKeys() {
      keys.push(makeKey());
      await server.stop();
      server = await start();
    },
    async close() {
      await server.stop();
      await rm(scratch, { recursive: true });
    },
  };
}

function makeKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  return privateKey;
}

function pythonLibraries(): Promise<string> {
  const requirements = join(folder, 'requirements.txt');
  return cachedFolder('django', [requirements], async (target) => {
    const options = ['--quiet', '--disable-pip-version-check', '--root-user-action=ignore'];
    await run(python, ['-m', 'pip', 'install', ...options, '--target', target, '-r', requirements], { cwd: folder });
  });
}
