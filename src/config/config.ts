/**
 * The configuration: `resolveConfig` takes what a file or a program gives and returns a {@link Config} that the rest
 * trusts, or throws one {@link ConfigError} that names every fault with its remedy. What can be set is in `schema.ts`;
 * reading files and variables is in `sources.ts`.
 */
import { ConfigError, faultsOf, unknownKey, type ConfigFault } from './faults.ts';
import { readLogo } from './logo.ts';
import { withProfileDefaults } from './profile.ts';
import { crossFaults, isLoopback } from './rules.ts';
import { returnToPlaceholder } from './schema/sign-in.ts';
import { dangerouslyAllowHttpIssuer, schema, type ConfigFile, type ConfigInput, type ParsedConfig } from './schema.ts';

export { ConfigError, type ConfigFault } from './faults.ts';
export { dangerouslyAllowHttpIssuer, type ConfigFile, type ConfigInput } from './schema.ts';

type ParsedRoute = Readonly<ParsedConfig['api'][number]>;

/** What a route takes from `upstream` if it sets none of its own. */
type RouteLimits = Readonly<ParsedConfig['upstream']>;

/** An API route, complete. */
export interface ApiRoute extends Required<Omit<ParsedRoute, 'target' | 'methods' | keyof RouteLimits>>, RouteLimits {
  readonly target: URL;
  readonly methods: ReadonlySet<string>;
}

/** A validated configuration. Everything in it may be trusted. Its paths are whole ones, from the origin's root on. */
export interface Config extends Omit<
  ParsedConfig,
  'api' | 'drain' | 'errorDocs' | 'listen' | 'discoveryUrl' | 'spa' | 'pages'
> {
  /** The path below which everything lives, without a slash at its end: `/shop`, or '' for the whole origin. */
  readonly path: string;
  /** The app's first page: `/shop/`, or `/`. */
  readonly home: string;
  /** Longest path first. */
  readonly api: readonly ApiRoute[];
  /** The page to whose fragments the `type` of a problem leads. */
  readonly errorDocs: string;
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly opsPort: number | undefined;
    readonly opsToken: string | undefined;
  };
  /** Within `drainSeconds`. */
  readonly drain: { readonly waitSeconds: number };
  readonly discoveryUrl: URL | undefined;
  readonly spa: NonNullable<ParsedConfig['spa']> | undefined;
  readonly pages: Omit<ParsedConfig['pages'], 'logoFile'> & {
    /** A `data:` URL. */
    readonly logoUrl: string | undefined;
  };
  /** True on an https origin: cookies are `Secure` and carry the `__Host-Http-` prefix. */
  readonly secure: boolean;
}

/**
 * Types a configuration file; returns its argument.
 *
 * @example
 * ```ts
 * import { defineConfig } from 'sallyport';
 *
 * export default defineConfig({
 *   origin: 'https://app.example.com',
 *   api: [{ path: '/api', target: 'http://orders:9100/v1' }],
 * });
 * ```
 */
export function defineConfig(config: ConfigFile): ConfigFile {
  return config;
}

/**
 * Validates and completes a configuration.
 * @throws {ConfigError} with every fault
 */
export function resolveConfig(input: ConfigInput): Config {
  const { parsed, faults } = parseEachKey(withProfileDefaults(input));
  faults.push(...crossFaults(parsed, input[dangerouslyAllowHttpIssuer] === true));
  if (faults.length > 0) throw new ConfigError(faults);
  return complete(parsed as ParsedConfig);
}

/** Key by key, so that a fault in one hides no fault in another. */
function parseEachKey(input: ConfigInput): { parsed: Partial<ParsedConfig>; faults: ConfigFault[] } {
  const parsed: Record<string, unknown> = {};
  const faults: ConfigFault[] = [];
  const given = input as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(schema.shape, key)) faults.push(unknownKey([key]));
  }
  for (const [key, field] of Object.entries(schema.shape)) {
    const result = field.safeParse(given[key]);
    if (result.success) parsed[key] = result.data;
    else faults.push(...faultsOf(result.error.issues, key, given[key]));
  }
  return { parsed, faults };
}

/**
 * Of the drain: five seconds by default, in which Kubernetes and common health checks notice, and within the whole, so that
 * the time that a supervisor must allow is one number.
 */
const shareOfWaiting = 1 / 5;

function complete(parsed: ParsedConfig): Config {
  const origin = new URL(parsed.origin);
  const loopback = isLoopback(origin.hostname);
  const originPort = Number(origin.port || (origin.protocol === 'https:' ? 443 : 80));
  const path = parsed.path === '/' ? '' : parsed.path;
  return {
    ...parsed,
    path,
    home: `${path}/`,
    basePath: path + parsed.basePath,
    errorDocs: parsed.errorDocs ?? `${path}${parsed.basePath}/errors`,
    logout: completeLogout(parsed.logout, { origin: parsed.origin, path }),
    discoveryUrl: parsed.discoveryUrl === undefined ? undefined : new URL(parsed.discoveryUrl),
    listen: {
      host: parsed.listen.host ?? (loopback ? '127.0.0.1' : '0.0.0.0'),
      port: parsed.listen.port ?? (loopback ? originPort : 3000),
      opsPort: parsed.listen.opsPort,
      opsToken: parsed.listen.opsToken,
    },
    drain: { waitSeconds: parsed.drain.waitSeconds ?? (loopback ? 0 : parsed.drainSeconds * shareOfWaiting) },
    api: parsed.api
      .map((route) => completeRoute({ ...route, path: path + route.path }, parsed.upstream))
      .toSorted((a, b) => b.path.length - a.path.length),
    spa: parsed.spa,
    pages: completePages(parsed.pages),
    secure: origin.protocol === 'https:',
  };
}

const defaultMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'];

function completeLogout(
  logout: ParsedConfig['logout'],
  { origin, path }: { readonly origin: string; readonly path: string },
): Config['logout'] {
  const returnTo = path + logout.returnTo;
  const params = Object.entries(logout.params).map(([name, value]) => [
    name,
    value.replaceAll(returnToPlaceholder, () => origin + returnTo),
  ]);
  return { ...logout, returnTo, params: Object.fromEntries(params) };
}

function completePages({ logoFile, ...pages }: ParsedConfig['pages']): Config['pages'] {
  const logo = logoFile === undefined ? { url: undefined } : readLogo(logoFile);
  // It was read before, and may have changed since.
  if ('fault' in logo) throw new ConfigError([{ path: 'pages.logoFile', reason: logo.fault }]);
  return { ...pages, logoUrl: logo.url };
}

function completeRoute(route: ParsedRoute, upstream: RouteLimits): ApiRoute {
  return {
    ...route,
    target: new URL(route.target),
    methods: new Set(route.methods ?? defaultMethods),
    timeoutSeconds: route.timeoutSeconds ?? upstream.timeoutSeconds,
    maxBodyBytes: route.maxBodyBytes ?? upstream.maxBodyBytes,
    replayBytes: route.replayBytes ?? upstream.replayBytes,
    dropHeaders: [...upstream.dropHeaders, ...route.dropHeaders],
    // The schema leaves out what is absent.
    websocketTokenProtocol: route.websocketTokenProtocol,
    require: route.require,
    caFile: route.caFile,
    certFile: route.certFile,
    keyFile: route.keyFile,
    socketPath: route.socketPath,
  };
}
