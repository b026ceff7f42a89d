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
import { join } from 'node:path';
import type { ConfigFile, ConfigInput } from '../src/config/config.ts';
import { withVariables } from '../src/config/sources.ts';
import { unknownVariables, variables, type Environment } from '../src/config/variables.ts';
import { startServer } from '../src/server/server.ts';
import { stopOnSignal } from '../src/server/stop-signals.ts';
import { createMemoryStore } from '../src/store/memory.ts';
import { startDemoApi } from './demo/api.ts';
import { closeServer, isPortBusy, listen } from './demo/listen.ts';
import { accessTokenSeconds, apiScope, signingAlgorithm, startDemoProvider } from './demo/provider.ts';
import { createTimeline, recordEvents } from './demo/timeline.ts';
import { demoUsers } from './demo/users.ts';
import exampleConfig from './sallyport.config.ts';

export interface DemoOptions {
  /** The app's port. Default: `SALLYPORT_PORT`, else 3000. */
  port?: number;
  /** The app to put behind Sallyport: a folder or a dev server's URL. Default: `SALLYPORT_SPA`, else the example. */
  spa?: string | undefined;
  /** The APIs to put behind Sallyport, in the form of `SALLYPORT_API`. Default: that variable, else the demo's API. */
  api?: string | undefined;
  /** Replaces values of `sallyport.config.ts`. */
  overrides?: Partial<ConfigInput>;
}

export interface Demo {
  /** The app's origin. */
  origin: string;
  /** The APIs in place of the demo's, in the form of `SALLYPORT_API`. */
  api: string | undefined;
  /** What an API must check in the access tokens that it gets. */
  tokens: { issuer: string; audience: string; jwksUrl: string };
  close(): Promise<void>;
}

const host = '127.0.0.1';
const defaultPort = 3000;
const providerPort = 9000;
const apiPort = 9100;
const apiAudience = 'urn:example:notes';

/** Runs the demo until it is told to stop, and tells on standard output what to try. */
export async function runDemo(options: DemoOptions = {}): Promise<void> {
  const port = options.port ?? portFromEnvironment(process.env['SALLYPORT_PORT']);
  const demo = await startDemo({ ...options, port }).catch((error: unknown) => {
    if (!isPortBusy(error)) throw error;
    console.error(`Port ${port} is taken. Stop what listens there, or choose another: SALLYPORT_PORT=3300 npm start`);
    process.exitCode = 1;
  });
  if (!demo) return;
  console.log(describeDemo(demo, noticesOf(process.env)));
  stopOnSignal(
    () => demo.close(),
    (error) => {
      console.error('The demo did not stop cleanly:', error);
      process.exit(1);
    },
  );
}

/** Starts the demo's servers; rejects with `EADDRINUSE` when the app's port is taken. */
export async function startDemo(options: DemoOptions = {}): Promise<Demo> {
  const port = options.port ?? defaultPort;
  await checkPort(port);
  const origin = `http://localhost:${port}`;
  const own = {
    SALLYPORT_SPA: options.spa ?? process.env['SALLYPORT_SPA'],
    SALLYPORT_API: options.api ?? process.env['SALLYPORT_API'],
  };
  const example = own.SALLYPORT_SPA ? undefined : { folder: await buildExample() };
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
    // The spelling that counts where both are set.
    process.env['no_proxy'] = [process.env['no_proxy'] ?? process.env['NO_PROXY'] ?? '', host].join(',');
    const timeline = createTimeline();
    const api = await onPortOrAnother(apiPort, (port) =>
      startDemoApi({ host, port, issuer: provider.issuer, audience: apiAudience, timeline }),
    );
    running.push(api);
    const file: ConfigFile = {
      ...exampleConfig,
      origin,
      issuer: provider.issuer,
      client,
      secrets: [randomBytes(32).toString('base64url')],
      api: [{ path: '/api', target: api.url }],
      spa: example,
      logLevel: 'warn',
      ...options.overrides,
    };
    const { config, warnings } = withVariables(file, own);
    // All of the demo is gone when it ends: memory is the store that it wants.
    const server = await startServer(config, { store: createMemoryStore() });
    running.push(server);
    recordEvents(timeline, server.bff.events);
    for (const warning of warnings) server.log.warn(warning);
    const { issuer, jwksUrl } = provider;
    return { origin, api: own.SALLYPORT_API, tokens: { issuer, audience: apiAudience, jwksUrl }, close };
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

/** Builds the example app unless its build is newer than everything it is made from; gives the folder. */
async function buildExample(): Promise<string> {
  const root = import.meta.dirname;
  const folder = join(root, 'dist');
  const sources = [
    'src',
    '../src/browser',
    'public',
    'index.html',
    'vite.config.ts',
    'README.md',
    '../package-lock.json',
  ];
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

function describeDemo({ origin, api, tokens }: Demo, notices: readonly string[]): string {
  const [user] = demoUsers;
  const head = `
  Sallyport is running:  ${origin}
  Sign in as:            ${user?.username} / ${user?.password}
`;
  return `${head}${api ? describeTokens(api, tokens) : tour}${notices.map((notice) => `\n  ${notice}\n`).join('')}
  The tutorial is spa-example/README.md. Ctrl+C stops everything.
`;
}

const tour = `
  Try this:
    - Write a note, then press "Expire my token now" and write another: the token is renewed on the way.
    - Press "Fire 20 calls at once": twenty calls, one refresh, one token.
    - Press "Look for a token": the page tries everything that a script can reach, and shows what it found.
    - Sign in with a second browser, and end that session from the first.
    - Leave it for ${accessTokenSeconds} seconds: the access token ends, the next call works all the same.
`;

function describeTokens(routes: string, { issuer, audience, jwksUrl }: Demo['tokens']): string {
  return `  Your API:              ${routes.trim().replaceAll(/\s+/g, '\n                         ')}

  It gets access tokens of the demo's provider, for ${accessTokenSeconds} seconds each, and must check:
    issuer (iss)         ${issuer}
    audience (aud)       ${audience}
    signature            ${signingAlgorithm}, with the keys at ${jwksUrl}
    scope                holds "${apiScope}"
    expiry (exp)         is not past

  The example app speaks to the demo's API only. SALLYPORT_SPA puts your own app in its place.
`;
}

/** What else is set and has no effect here, so that nobody waits for one. */
function noticesOf(env: Environment): string[] {
  const taken = new Set(['SALLYPORT_PORT', 'SALLYPORT_SPA', 'SALLYPORT_API']);
  const known = variables.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]));
  const ignored = known.filter((name) => env[name] && !taken.has(name));
  const notice = `The demo ignores ${ignored.join(', ')}: \`npm run serve\` takes them.`;
  return ignored.length === 0 ? unknownVariables(env) : [...unknownVariables(env), notice];
}
