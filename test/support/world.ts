/**
 * A whole world on loopback for one test: a provider, an API, and Sallyport between them, in this process.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { BffOptions } from '../../src/bff.ts';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { startServer } from '../../src/server/server.ts';
import { startApi, type ApiOptions, type TestApi } from './api.ts';
import { BrowserClient, type BrowserClientOptions, type Exchange, type Navigation } from './browser-client.ts';
import type { BrowserProfile } from './cookie-jar.ts';
import { freePort } from './listener.ts';
import type { ProviderOptions, User } from './provider-configuration.ts';
import { startProvider, type TestProvider } from './provider.ts';
import { assertNoSecrets } from './secrets.ts';

export type RunningServer = Awaited<ReturnType<typeof startServer>>;

export interface WorldOptions {
  /** Keys that replace those of {@link World.config}, or a function of them. */
  config?: ConfigOverrides;
  provider?: Partial<ProviderOptions>;
  api?: ApiOptions;
  /** The defaultSpa's files: path to content. Default: an index page and a script. */
  spa?: Record<string, string>;
  /** `true`: an answer to a refresh gets lost, so that the provider sees its refresh token again. Default: a fault. */
  repeatsRefreshTokens?: boolean;
  /** The program's own store, of every instance: it must survive that one of them closes it. */
  store?: BffOptions['store'];
  /** The program's own selection of claims. */
  sessionView?: BffOptions['sessionView'];
  /** The provider sends logout tokens, and its ID tokens have a `sid`. */
  backchannelLogout?: boolean;
  /** `false`: the provider doesn't listen when Sallyport starts. */
  providerUp?: boolean;
  /** The public origin where it isn't `http://localhost:PORT`: clients then reach it as if through a TLS proxy. */
  origin?: string;
}

export type ConfigOverrides = Partial<ConfigInput> | ((base: ConfigInput) => ConfigInput);

export interface World {
  /** The app's origin, `http://localhost:PORT`. */
  readonly origin: string;
  readonly provider: TestProvider;
  readonly api: TestApi;
  /** The config that the server runs with, as the file would have it. */
  readonly config: ConfigInput;
  /** The server of this moment; {@link World.restart} replaces it. */
  readonly server: RunningServer;
  /** Every log line of every server of this world. */
  readonly logs: string[];
  /** A browser with an empty jar. */
  readonly client: (options?: Partial<BrowserClientOptions>) => BrowserClient;
  /** Stops the server and starts it with a changed config on the same port, as a deployment does. */
  readonly restart: (overrides?: ConfigOverrides) => Promise<void>;
  /** Starts one more instance for the same origin; `client.routeTo(instance.port)` sends a client there. */
  readonly addInstance: (overrides?: ConfigOverrides) => Promise<RunningServer>;
  /** Fails when a secret is in the logs or in anything that the clients saw. */
  readonly assertNoSecrets: (planted?: Readonly<Record<string, string>>) => void;
  /** Ends everything. Called by itself when the test is over. */
  readonly stop: () => Promise<void>;
}

const defaultSpa: Record<string, string> = {
  'index.html': '<!doctype html><title>App</title><div id="app"></div><script src="/assets/app.js"></script>',
  'assets/app.js': 'document.querySelector("#app").textContent = "ready";',
};

const stopSeconds = 10;

/**
 * Starts a world. Called inside a test it ends with the test, which fails if the provider was shown a refresh token twice;
 * in a `beforeAll` pass `{ scope: 'manual' }` and call
 * `stop()` in the `afterAll`.
 */
export async function startWorld(
  options: WorldOptions = {},
  { scope = 'test' }: { scope?: 'test' | 'manual' } = {},
): Promise<World> {
  const port = await freePort();
  const origin = options.origin ?? `http://localhost:${port}`;
  const api = await startApi(options.api);
  const provider = await startProvider({
    redirectUris: [`${origin}/bff/callback`],
    postLogoutRedirectUris: [`${origin}/`],
    ...(options.backchannelLogout === true ? { backchannelLogoutUri: `${origin}/bff/backchannel-logout` } : {}),
    ...options.provider,
  });
  if (options.providerUp === false) await provider.down();
  const spaFolder = await writeSpa(options.spa ?? defaultSpa);
  let config = override(baseConfig({ origin, port, provider, api, spaFolder }), options.config);

  const logs: string[] = [];
  const clients: BrowserClient[] = [];
  const instances = new Set<RunningServer>();
  let server = await start(config);
  let stopped = false;

  async function start(input: ConfigInput): Promise<RunningServer> {
    const started = await startServer(resolveConfig(input), {
      logTo: { write: (line: string) => void logs.push(line) },
      ...(options.sessionView === undefined ? {} : { sessionView: options.sessionView }),
      ...(options.store === undefined ? {} : { store: options.store }),
    });
    instances.add(started);
    return started;
  }

  async function end(instance: RunningServer): Promise<void> {
    instances.delete(instance);
    await within(stopSeconds, instance.close(), 'the server did not close');
  }

  const world: World = {
    origin,
    provider,
    api,
    logs,
    get config() {
      return config;
    },
    get server() {
      return server;
    },
    client(overrides = {}) {
      const client = new BrowserClient({ origin, ...overrides });
      client.routeTo(port, origin);
      if (provider.issuer.startsWith('https:')) client.routeTo(provider.port, provider.issuer);
      clients.push(client);
      return client;
    },
    async restart(overrides) {
      for (const client of clients) client.close();
      await end(server);
      config = override(config, overrides);
      server = await start(config);
    },
    async addInstance(overrides) {
      const instancePort = await freePort();
      return start(override({ ...config, listen: { port: instancePort } }, overrides));
    },
    assertNoSecrets: (planted = {}) => assertNoSecrets({ provider, logs, clients, origin, planted }),
    async stop() {
      if (stopped) return;
      stopped = true;
      for (const client of clients) client.close();
      try {
        for (const instance of instances) await end(instance);
      } finally {
        await Promise.all([provider.close(), api.close(), rm(spaFolder, { recursive: true })]);
      }
    },
  };
  if (scope === 'test') {
    onTestFinished(() => world.stop());
    onTestFinished(() => {
      if (options.repeatsRefreshTokens === true) return;
      expect(provider.reusedRefreshTokens, 'refresh tokens shown twice').toBe(0);
    });
  }
  return world;
}

export interface SignedInOptions extends WorldOptions {
  /** Who signs in. Default `alice`. */
  user?: User;
  /** The browser. Default: that of {@link BrowserClient}. */
  profile?: BrowserProfile;
}

export interface SignedInWorld extends World {
  readonly browser: BrowserClient;
}

/** Starts a world in which somebody has signed in with `browser`. */
export async function startSignedIn({ user, profile, ...options }: SignedInOptions = {}): Promise<SignedInWorld> {
  const world = await startWorld(options);
  const browser = world.client(profile === undefined ? {} : { profile });
  await signIn(browser, user);
  return Object.assign(world, { browser });
}

/** Starts a world in which so many people have signed in, each with a browser of their own. */
export async function startSignedInPeople(
  count: number,
  options: WorldOptions = {},
): Promise<World & { readonly browsers: BrowserClient[] }> {
  const world = await startWorld(options);
  const browsers = Array.from({ length: count }, () => world.client());
  for (const browser of browsers) await signIn(browser);
  return Object.assign(world, { browsers });
}

/** Signs a user in by a typed `/bff/login`, through the provider and back; fails where no session comes of it. */
export async function signIn(client: BrowserClient, user: User = 'alice', returnTo = '/'): Promise<Navigation> {
  const query = new URLSearchParams({ returnTo, login_hint: user });
  const navigation = await client.navigate(`/bff/login?${query.toString()}`);
  const session = await client.fetch('/bff/session');
  if (session.status !== 200 || session.json()['authenticated'] !== true) {
    const way = navigation.chain.map((hop) => `${hop.status} ${hop.url}`).join('\n  ');
    throw new Error(`not signed in: ${session.status} ${session.text}\n  ${way}\n${navigation.text.slice(0, 500)}`);
  }
  return navigation;
}

/**
 * Begins a login and goes through the provider, but not to the callback: answers the callback's URL, for a test to do
 * with it what it likes.
 */
export async function leadToCallback(client: BrowserClient, loginPath = '/bff/login'): Promise<URL> {
  const stopped = await client.navigate(loginPath, { stopBefore: (url) => url.pathname === '/bff/callback' });
  const { location } = stopped.headers;
  if (location === undefined)
    throw new Error(`no way to the callback: ${stopped.status} ${stopped.text.slice(0, 500)}`);
  return new URL(location, stopped.url);
}

/** What became of a call: its status, or the name of the error it failed with. Never rejects. */
export function outcomeOf(call: Promise<{ status: number }>): Promise<number | string> {
  return call.then(
    (answer) => answer.status,
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
}

/** Makes so many calls at the same time. */
export function inParallel(count: number, call: (index: number) => Promise<Exchange>): Promise<Exchange[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => call(index)));
}

/** The statuses of answers, each once. */
export function statusesOf(answers: readonly Exchange[]): number[] {
  return [...new Set(answers.map((answer) => answer.status))];
}

/** A promise's value, or a failure when it takes longer. */
export async function within<Value>(seconds: number, promise: Promise<Value>, message: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Parts {
  origin: string;
  port: number;
  provider: TestProvider;
  api: TestApi;
  spaFolder: string;
}

function baseConfig({ origin, port, provider, api, spaFolder }: Parts): ConfigInput {
  return {
    origin,
    listen: { port },
    issuer: provider.issuer,
    ...(provider.issuer.startsWith('https:') ? { discoveryUrl: `http://127.0.0.1:${provider.port}` } : {}),
    client: { id: provider.clientId, secret: provider.clientSecret },
    secrets: [randomBytes(32).toString('hex')],
    api: [{ path: '/api', target: api.url }],
    spa: { folder: spaFolder },
    drainSeconds: 1,
    logLevel: 'debug',
  };
}

function override(base: ConfigInput, overrides: ConfigOverrides = {}): ConfigInput {
  return typeof overrides === 'function' ? overrides(base) : { ...base, ...overrides };
}

async function writeSpa(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-spa-'));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}
