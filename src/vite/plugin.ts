/**
 * The Vite plugin: Sallyport inside Vite's own server, on Vite's own port, for `vite` and `vite preview`. Vite is the SPA:
 * what is neither Sallyport's nor an API's goes on to it, its WebSocket and its `server.proxy` included.
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, resolve } from 'node:path';
import type { Plugin, PreviewServer, ResolvedConfig, UserConfig, ViteDevServer } from 'vite';
import { assembleBff, type Bff } from '../bff.ts';
import type { ConfigFile } from '../config/config.ts';
import { readConfigFile } from '../config/config-file.ts';
import { withEnvFile } from '../config/env-file.ts';
import { isLoopback } from '../config/rules.ts';
import { defaultFilesIn, withVariables, type LoadedConfig } from '../config/sources.ts';
import { overlay, type Environment } from '../config/variables.ts';
import { createMemoryStore } from '../store/memory.ts';
import { createLog, logEvents } from '../telemetry/log.ts';
import { logProblem } from '../telemetry/request-log.ts';
import { terminalLine } from '../telemetry/terminal-lines.ts';
import { expectedDemo, requireProviderPackage, startDemo, type DemoConfig } from './demo.ts';

/** What `sallyport()` takes. */
export interface SallyportPluginOptions {
  /** In place of the configuration file. Variables of the environment and of `.env` are put over it, as over the file. */
  readonly config?: ConfigFile;
  /**
   * Runs the OpenID provider of the demo, with the users alice and bob, in place of the configured one, and its API below
   * `/api` where no API is configured. It needs the package `oidc-provider`.
   */
  readonly demo?: boolean;
}

/** Where the configuration comes from. */
interface Settings {
  readonly file: ConfigFile;
  readonly env: Environment;
  /** The files that may hold it, whether or not they exist, as they were right before they were read. */
  readonly files: readonly KnownFile[];
}

interface KnownFile {
  readonly path: string;
  /** Another one after each edit; empty while there is no file. */
  readonly edition: string;
}

/** Seals where no secret is configured. The process keeps it, so that people stay signed in when Vite restarts. */
const processSecret = randomBytes(32).toString('base64url');
/** Four session cookies and what browsers add must fit. */
const maximumHeaderBytes = 32 * 1024;

/**
 * Runs Sallyport in Vite's dev server and in `vite preview`. Does nothing in builds and in Vitest.
 *
 * @example
 * ```ts
 * import { sallyport } from 'sallyport/vite';
 * import { defineConfig } from 'vite';
 *
 * export default defineConfig({ plugins: [sallyport({ demo: true })] });
 * ```
 */
export function sallyport(options: SallyportPluginOptions = {}): Plugin {
  const isDemo = options.demo === true;
  let settings: Settings | undefined;
  return {
    name: 'sallyport',
    apply: (_, { command }) => command === 'serve' && process.env['VITEST'] === undefined,
    async config(user) {
      // Frameworks and tools that run Vite inside a server of theirs read the same file.
      if (user.server?.middlewareMode !== undefined && user.server.middlewareMode !== false) return undefined;
      const root = resolve(user.root ?? '');
      settings = isDemo ? demoSettings(await readSettings(options, root)) : await readSettings(options, root);
      // Served as it is: bundled ahead, its first import would make Vite reload the page.
      return { optimizeDeps: { exclude: ['sallyport'] }, ...placeOf(originOf(settings), user) };
    },
    configResolved({ configFileDependencies, server, preview }) {
      // Vite restarts when one of these comes, changes or goes.
      const files = settings?.files ?? [];
      configFileDependencies.push(...files.map(({ path }) => path.replaceAll('\\', '/')));
      speakHttp1(server);
      speakHttp1(preview);
    },
    configureServer(vite) {
      mount(vite, settings, { isDemo, isHttps: vite.config.server.https !== undefined });
      restartOnMissedEdit(vite, settings?.files ?? []);
    },
    configurePreviewServer: (vite) =>
      mount(vite, settings, { isDemo, isHttps: vite.config.preview.https !== undefined }),
  };
}

async function readSettings({ config }: SallyportPluginOptions, root: string): Promise<Settings> {
  const paths = [...(config === undefined ? defaultFilesIn(root) : []), resolve(root, '.env')];
  const files = paths.map((path) => ({ path, edition: editionOf(path) }));
  const used = files.find(({ path, edition }) => edition !== '' && basename(path) !== '.env');
  const given = withEnvFile(root, process.env);
  // Vite is the SPA, whatever is served in production.
  const env = Object.fromEntries(Object.entries(given).filter(([name]) => !/^SALLYPORT_SPA(?:_|$)/.test(name)));
  const read = used === undefined ? {} : await readConfigFile(used.path, basename(used.path), used.edition);
  return { file: { secrets: [processSecret], ...read, ...config, spa: undefined }, env, files };
}

function editionOf(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.mtimeMs}-${stats.size}`;
}

/** Only what a demo has no values of its own for. */
function demoSettings({ file, env, files }: Settings): Settings {
  const kept = new Set(['SALLYPORT_API', 'SALLYPORT_BASE_PATH', 'SALLYPORT_LOG_LEVEL']);
  const { api, basePath, logLevel, pages, session } = overlay(file, env).input;
  const given = Object.entries({ api, basePath, logLevel, pages, session }).filter(([, value]) => value !== undefined);
  return {
    file: { ...(Object.fromEntries(given) as ConfigFile), secrets: [processSecret] },
    env: Object.fromEntries(Object.entries(env).filter(([name]) => kept.has(name))),
    files,
  };
}

/** The configured origin. Without one, the origin is where Vite listens. */
function originOf({ file, env }: Settings): URL | undefined {
  const { origin } = overlay(file, env).input as Partial<LoadedConfig['input']>;
  // Anything else than an origin is a fault that the whole configuration's check tells.
  return typeof origin === 'string' && URL.canParse(origin) ? new URL(origin) : undefined;
}

/** An origin on this machine says where Vite must listen, because the provider knows no other callback. */
function placeOf(origin: URL | undefined, { server, preview }: UserConfig): UserConfig | undefined {
  if (origin === undefined || !isLoopback(origin.hostname)) return undefined;
  const port = Number(origin.port === '' ? { 'http:': 80, 'https:': 443 }[origin.protocol] : origin.port);
  const other = [server?.port, preview?.port].find((given) => given !== undefined && given !== port);
  if (other !== undefined) {
    const remedy = 'make both the same, or configure no origin, which is then where Vite listens';
    throw new Error(`Vite is to listen on port ${other}, and Sallyport's origin is ${origin.origin}: ${remedy}.`);
  }
  return { server: { port, strictPort: true }, preview: { port, strictPort: true } };
}

/** Over https, Vite's server speaks HTTP/2 as well, which has no WebSocket upgrades and which Sallyport does not speak. */
function speakHttp1({ https }: ResolvedConfig['server'] | ResolvedConfig['preview']): void {
  if (https === undefined) return;
  https.ALPNCallback = ({ protocols }) => protocols.find((protocol) => protocol === 'http/1.1');
}

/**
 * Vite begins to watch the files some time after they were read, and takes no notice of edits in between. They show once
 * it listens and watches, whichever comes last. The next server, with files read anew, looks for itself.
 */
function restartOnMissedEdit(vite: ViteDevServer, files: readonly KnownFile[]): void {
  const { httpServer, watcher, config } = vite;
  let isRestarting = false;
  httpServer?.once('listening', look);
  watcher.once('ready', () => {
    if (httpServer?.listening) look();
  });

  function look(): void {
    if (isRestarting) return;
    restartIfEdited().catch((error: unknown) => config.logger.error(`Sallyport: ${String(error)}`));
  }

  async function restartIfEdited(): Promise<void> {
    const edited = files.filter(({ path, edition }) => editionOf(path) !== edition);
    if (edited.length === 0) return;
    isRestarting = true;
    const names = edited.map(({ path }) => basename(path)).join(', ');
    config.logger.info(`${names} changed while it was read, restarting server...`, { timestamp: true });
    await vite.restart();
  }
}

type Vite = ViteDevServer | PreviewServer;

function mount(vite: Vite, settings: Settings | undefined, how: { isDemo: boolean; isHttps: boolean }): void {
  const { logger } = vite.config;
  if (vite.httpServer === null || settings === undefined) {
    logger.warn('Sallyport has no part in middleware mode: give the server createBff() and attach (docs/library.md).');
    return;
  }
  const server = vite.httpServer as Server & { maxHeaderSize?: number };
  const origin = originOf(settings);
  const protocol = how.isHttps ? 'https:' : 'http:';
  if (origin !== undefined && isLoopback(origin.hostname) && origin.protocol !== protocol) {
    throw new Error(`Vite listens on ${protocol} and Sallyport's origin is ${origin.origin}: make both the same.`);
  }
  if (how.isDemo) requireProviderPackage();
  // Faults end the start, or the restart, before anything of it runs.
  settle(settings, origin?.origin ?? `${protocol}//localhost`, how.isDemo ? expectedDemo : {});
  server.maxHeaderSize = maximumHeaderBytes;
  const release = holdRequests(server);
  const closed = new Promise<void>((done) => void server.once('close', () => done()));
  server.once('listening', () => {
    const own = origin?.origin ?? `${protocol}//localhost:${(server.address() as AddressInfo).port}`;
    run(settings, own, how.isDemo).catch(async (error: unknown) => {
      logger.error(`Sallyport: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
      await vite.close();
    });
  });

  async function run(given: Settings, ownOrigin: string, isDemo: boolean): Promise<void> {
    const { input } = settle(given, ownOrigin, isDemo ? expectedDemo : {});
    const app = { origin: ownOrigin, basePath: input.basePath ?? '/bff' };
    const demo = isDemo ? await startDemo(app, input.api === undefined) : undefined;
    try {
      const { config, warnings } = settle(given, ownOrigin, demo?.config ?? {});
      for (const warning of warnings) logger.warn(warning);
      const { log } = createLog({ level: input.logLevel ?? 'warn', to: { write } });
      const options = isDemo ? { store: createMemoryStore() } : {};
      const bff = assembleBff(config, options, (error, id, request) => logProblem(log, error, id, request));
      logEvents(log, bff.events);
      release(bff);
      logger.info(`  ➜  Sallyport: ${ownOrigin}${isDemo ? ', sign in as alice / alice' : ''}`);
      await closed.then(() => bff.close());
    } finally {
      await demo?.close();
    }
  }

  function write(line: string): void {
    logger.warn(terminalLine(line).trimEnd());
  }
}

/** @throws {ConfigError} with every fault */
function settle({ file, env }: Settings, origin: string, demo: Partial<DemoConfig>): LoadedConfig {
  return withVariables({ ...file, ...demo, origin }, env);
}

/**
 * Keeps what arrives before Sallyport runs, which takes the demo a moment.
 * @returns puts Sallyport before Vite
 */
function holdRequests(server: Server): (bff: Bff) => void {
  const ofVite = server.listeners('request');
  const held: [IncomingMessage, ServerResponse][] = [];
  const hold = (request: IncomingMessage, response: ServerResponse): void => void held.push([request, response]);
  server.removeAllListeners('request');
  server.on('request', hold);
  return (bff) => {
    server.off('request', hold);
    bff.attach(server, (request, response) => {
      for (const listener of ofVite) listener.call(server, request, response);
    });
    for (const [request, response] of held) server.emit('request', request, response);
  };
}
