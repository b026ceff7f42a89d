/**
 * The demo behind `npm start`: builds the example app where it has changed, then runs an identity provider, an API and
 * Sallyport between them. Everything listens on loopback and is gone when the process ends.
 *
 * The app's origin is `http://localhost:3000` and the provider's `http://127.0.0.1:9000`: to a browser these are
 * different sites, so the demo's cookies face what they would face in production.
 */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { resolveConfig } from '../src/config/config.ts';
import type { ConfigInput } from '../src/config/config.ts';
import { startServer } from '../src/server/server.ts';
import { createMemoryStore } from '../src/store/memory.ts';
import { startDemoApi } from './demo/api.ts';
import { closeServer, isPortBusy, listen } from './demo/listen.ts';
import { accessTokenSeconds, startDemoProvider } from './demo/provider.ts';
import { demoUsers } from './demo/users.ts';
import exampleConfig from './sallyport.config.ts';

export interface DemoOptions {
  /** The app's port. Default: `SALLYPORT_PORT`, else 3000. */
  port?: number;
  /** The app to put behind Sallyport: a folder or a dev server's URL. Default: `SALLYPORT_SPA`, else the example. */
  spa?: string;
  /** Replaces values of `sallyport.config.ts`. */
  overrides?: Partial<ConfigInput>;
}

export interface Demo {
  /** The app's origin. */
  origin: string;
  close(): Promise<void>;
}

const host = '127.0.0.1';
const defaultPort = 3000;
const providerPort = 9000;
const apiPort = 9100;
const apiAudience = 'urn:example:notes';

/** Runs the demo until SIGINT or SIGTERM, and tells on standard output what to try. */
export async function runDemo(options: DemoOptions = {}): Promise<void> {
  const port = options.port ?? portFromEnvironment(process.env['SALLYPORT_PORT']);
  const demo = await startDemo({ ...options, port }).catch((error: unknown) => {
    if (!isPortBusy(error)) throw error;
    console.error(`Port ${port} is taken. Stop what listens there, or choose another: SALLYPORT_PORT=3300 npm start`);
    process.exitCode = 1;
  });
  if (!demo) return;
  console.log(describeDemo(demo.origin));
  stopOnSignal(demo);
}

/** Starts the demo's servers; rejects with `EADDRINUSE` when the app's port is taken. */
export async function startDemo(options: DemoOptions = {}): Promise<Demo> {
  const port = options.port ?? defaultPort;
  await checkPort(port);
  const origin = `http://localhost:${port}`;
  const spa = await findSpa(options.spa ?? process.env['SALLYPORT_SPA']);
  const client = { id: 'spa-example', ...exampleConfig.client, secret: randomBytes(32).toString('base64url') };
  const running: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    // The last one started is the first one stopped, so nobody calls what is gone.
    for (const server of running.splice(0).toReversed()) await server.close();
  };

  try {
    const provider = await onPortOrAnother(providerPort, (port) =>
      startDemoProvider({
        host,
        port,
        clientId: client.id,
        clientSecret: client.secret,
        redirectUris: [`${origin}/bff/callback`],
        postLogoutRedirectUris: [`${origin}/`],
        apiAudience,
      }),
    );
    running.push(provider);
    // A proxy of the environment cannot reach this machine's loopback.
    process.env['NO_PROXY'] = [process.env['NO_PROXY'] ?? '', host].join(',');
    const api = await onPortOrAnother(apiPort, (port) =>
      startDemoApi({ host, port, issuer: provider.issuer, audience: apiAudience }),
    );
    running.push(api);
    const config = resolveConfig({
      ...exampleConfig,
      origin,
      issuer: provider.issuer,
      client,
      secrets: [randomBytes(32).toString('base64url')],
      api: [{ path: '/api', target: api.url }],
      spa,
      logLevel: 'warn',
      ...options.overrides,
    });
    // All of the demo is gone when it ends: memory is the store that it wants.
    running.push(await startServer(config, { store: createMemoryStore() }));
    return { origin, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Listens for a moment, so that a taken port is told before the app is built and anything else is started. */
async function checkPort(port: number): Promise<void> {
  const server = createServer();
  await listen(server, { host, port });
  await closeServer(server);
}

function portFromEnvironment(text: string | undefined): number {
  // Kubernetes sets SALLYPORT_PORT=tcp://… beside a service of that name; that is no port of ours.
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : defaultPort;
}

async function findSpa(spa: string | undefined): Promise<{ folder: string } | { devServer: string }> {
  if (spa === undefined || spa === '') return { folder: await buildExample() };
  return /^https?:\/\//.test(spa) ? { devServer: spa } : { folder: resolve(spa) };
}

/** Builds the example app unless its build is newer than everything it is made from; gives the folder. */
async function buildExample(): Promise<string> {
  const root = import.meta.dirname;
  const folder = join(root, 'dist');
  const sources = ['src', 'public', 'index.html', 'vite.config.ts', 'README.md', '../package-lock.json'];
  const changed = await Promise.all(sources.map((source) => lastChange(join(root, source))));
  const built = await lastChange(join(folder, 'index.html'));
  if (built > Math.max(...changed)) return folder;

  console.log('Building the example app …');
  const { build } = await import('vite');
  await build({ root, configFile: join(root, 'vite.config.ts'), logLevel: 'warn' });
  return folder;
}

/** The latest modification of a file or of anything in a folder; 0 when it doesn't exist. */
async function lastChange(path: string): Promise<number> {
  const found = await stat(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!found?.isDirectory()) return found?.mtimeMs ?? 0;
  const inside = await readdir(path);
  const changes = await Promise.all(inside.map((name) => lastChange(join(path, name))));
  return Math.max(found.mtimeMs, ...changes);
}

/** Starts on the usual port, or on a free one where somebody else has that. */
async function onPortOrAnother<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port);
  } catch (error) {
    if (!isPortBusy(error)) throw error;
    return start(0);
  }
}

function describeDemo(origin: string): string {
  const [user] = demoUsers;
  return `
  Sallyport is running:  ${origin}
  Sign in as:            ${user?.username} / ${user?.password}

  Try this:
    - Write a note, then press "Expire my token now" and write another: the token is renewed on the way.
    - Press "Fire 20 calls at once": twenty calls, one refresh, one token.
    - Look for a token in the browser's tools: cookies, storage, network. Scripts can see none.
    - Leave it for ${accessTokenSeconds} seconds: the access token ends, the next call works all the same.

  The tutorial is spa-example/README.md. Ctrl+C stops everything.
`;
}

function stopOnSignal(demo: Demo): void {
  const stop = (): void => {
    demo.close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error('The demo did not stop cleanly:', error);
        process.exit(1);
      },
    );
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
}
