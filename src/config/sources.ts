/**
 * Where the configuration comes from: a file, and over it environment variables that start with `SALLYPORT_`. Every
 * scalar has a variable, every secret also one that ends in `_FILE`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  ConfigError,
  resolveConfig,
  type Config,
  type ConfigFault,
  type ConfigFile,
  type ConfigInput,
} from './config.ts';

/** A variable, the key it sets, and how its text becomes a value. */
export interface Variable {
  readonly name: string;
  /** Dotted path of the key. */
  readonly path: string;
  readonly parse: (text: string) => unknown;
  /** Also read from the file that `<name>_FILE` names. */
  readonly secret: boolean;
}

const text = (value: string) => value;
/** Whatever isn't a number stays a text, and the schema says what was expected. */
const number = (value: string) => (/^-?\d+(?:\.\d+)?$/.test(value.trim()) ? Number(value) : value);
const boolean = (value: string) => (value === 'true' ? true : value === 'false' ? false : value);
const list = (value: string) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
const query = (value: string) => Object.fromEntries(new URLSearchParams(value));
const routes = (value: string) =>
  value
    .split(/\s+/)
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      return equals === -1 ? { path: part } : { path: part.slice(0, equals), target: part.slice(equals + 1) };
    });

/** One of the two in place of whatever a file names. */
const spaSource = (value: string) =>
  /^https?:\/\//.test(value) ? { devServer: value, folder: undefined } : { folder: value, devServer: undefined };

function variable(name: string, path: string, parse: (text: string) => unknown = text, secret = false): Variable {
  return { name: `SALLYPORT_${name}`, path, parse, secret };
}

/** All variables, in the order of the reference. `SALLYPORT_SPA` is two keys in one and stands apart. */
export const variables: readonly Variable[] = [
  variable('ORIGIN', 'origin'),
  variable('HOST', 'listen.host'),
  variable('PORT', 'listen.port', number),
  variable('OPS_PORT', 'listen.opsPort', number),
  variable('ISSUER', 'issuer'),
  variable('DISCOVERY_URL', 'discoveryUrl'),
  variable('CLIENT_ID', 'client.id'),
  variable('CLIENT_SECRET', 'client.secret', text, true),
  variable('CLIENT_AUTH_METHOD', 'client.authMethod'),
  variable('CLIENT_RESPONSE_MODE', 'client.responseMode'),
  variable('SCOPE', 'scope'),
  variable('SECRET', 'secrets', list, true),
  variable('API', 'api', routes),
  variable('SPA', 'spa', spaSource),
  variable('SPA_REQUIRE_LOGIN', 'spa.requireLogin', boolean),
  variable('SESSION', 'session.mode'),
  variable('SESSION_LIFETIME', 'session.lifetimeSeconds', number),
  variable('SESSION_IDLE', 'session.idleSeconds', number),
  variable('REFRESH_BEFORE', 'refresh.beforeSeconds', number),
  variable('REFRESH_GRACE', 'refresh.graceSeconds', number),
  variable('LOGIN_ALLOW_PARAMS', 'login.allowParams', list),
  variable('LOGIN_PARAMS', 'login.params', query),
  variable('LOGIN_USERINFO', 'login.userInfo', boolean),
  variable('LOGOUT_RETURN_TO', 'logout.returnTo'),
  variable('CSRF_REQUIRE_HEADER', 'csrf.requireHeader', boolean),
  variable('UPSTREAM_TIMEOUT', 'upstream.timeoutSeconds', number),
  variable('MAX_BODY', 'upstream.maxBodyBytes', number),
  variable('REPLAY_LIMIT', 'upstream.replayBytes', number),
  variable('REDIS_URL', 'redisUrl', text, true),
  variable('TRUSTED_PROXIES', 'trustedProxies', list),
  variable('BASE_PATH', 'basePath'),
  variable('DRAIN', 'drainSeconds', number),
  variable('LOG', 'logLevel'),
];

/** The file that is read when none is named and it exists. */
const defaultFiles = ['sallyport.config.ts', 'sallyport.config.js', 'sallyport.config.json'];

export interface LoadedConfig {
  readonly config: Config;
  /** What is odd but no fault, for the log. */
  readonly warnings: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param file path of a `.ts`, `.js` or `.json` file; undefined: the default one, if there is one
 * @throws {ConfigError} with every fault, each under the name by which it was given
 */
export async function loadConfig(file: string | undefined, env: Environment): Promise<LoadedConfig> {
  const fromFile = await readFile(file ?? defaultFiles.find((name) => existsSync(name)));
  const { input, names, faults } = overlay(fromFile, env);
  const nameOf = (path: string) => {
    const name = names.get(path) ?? [...names].find(([known]) => path.startsWith(`${known}.`))?.[1];
    return name === undefined ? path : `${name} (${path})`;
  };
  try {
    const config = resolveConfig(input);
    if (faults.length > 0) throw new ConfigError(faults, nameOf);
    return { config, warnings: [...unknownVariables(env), ...risks(config)] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError([...faults, ...error.faults], nameOf);
  }
}

async function readFile(file: string | undefined): Promise<ConfigFile> {
  if (file === undefined) return {};
  const path = resolve(file);
  if (!existsSync(path)) {
    throw new ConfigError([{ path: '--config', reason: `the file "${path}" does not exist; correct the path` }]);
  }
  const content: unknown = extname(path) === '.json' ? parseJson(path) : await importDefault(path);
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content;
  throw new ConfigError([
    { path: '--config', reason: `"${path}" must hold one object; in code: export default defineConfig({ … })` },
  ]);
}

function parseJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    // Without the part that quotes the file: it may be a secret.
    const why = (cause as Error).message.replace(/,? ?(?:\.\.\.)?"[^]*$/, '');
    throw new ConfigError([{ path: '--config', reason: `"${path}" is not JSON: ${why}` }]);
  }
}

async function importDefault(path: string): Promise<unknown> {
  const module = (await import(pathToFileURL(path).href)) as { default?: unknown };
  return module.default;
}

/** Puts the variables over the file's content; symbol keys of the file stay. */
function overlay(file: ConfigFile, env: Environment) {
  const input: Record<string | symbol, unknown> = { ...file };
  const names = new Map<string, string>();
  const faults: ConfigFault[] = [];
  for (const { name, path, parse, secret } of variables) {
    const value = secret ? readSecret(name, path, env, faults) : given(name, env);
    if (value === undefined) continue;
    names.set(path, name);
    const [key = '', child] = path.split('.');
    const parsed: unknown = child === undefined ? parse(value) : { [child]: parse(value) };
    input[key] = isRecord(parsed) ? { ...(input[key] as object | undefined), ...parsed } : parsed;
  }
  return { input: input as unknown as ConfigInput, names, faults };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An empty variable counts as unset, as compose files and pipelines write it. */
function given(name: string, env: Environment): string | undefined {
  const value = env[name];
  return value === undefined || value === '' || isKubernetesService(name, value) ? undefined : value;
}

function readSecret(name: string, path: string, env: Environment, faults: ConfigFault[]): string | undefined {
  const direct = given(name, env);
  const file = given(`${name}_FILE`, env);
  if (file === undefined) return direct;
  if (direct !== undefined) faults.push({ path, reason: `${name} and ${name}_FILE are both set; keep one` });
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    faults.push({ path, reason: `${name}_FILE names "${file}", which cannot be read` });
    return direct;
  }
}

/** For a service called sallyport, Kubernetes sets `SALLYPORT_PORT=tcp://…`, `SALLYPORT_SERVICE_HOST` and more. */
function isKubernetesService(name: string, value: string): boolean {
  return (
    /^SALLYPORT_(?:SERVICE_(?:HOST|PORT)\w*|PORT_\d+_(?:TCP|UDP)\w*)$/.test(name) ||
    (name === 'SALLYPORT_PORT' && /^(?:tcp|udp):\/\//.test(value))
  );
}

function unknownVariables(env: Environment): string[] {
  const known = variables.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]));
  return Object.entries(env)
    .filter(
      ([name, value]) =>
        name.startsWith('SALLYPORT_') && !known.includes(name) && !isKubernetesService(name, value ?? ''),
    )
    .map(([name]) => `${name} is not a known variable and was ignored; did you mean ${nearest(name, known)}?`);
}

function nearest(name: string, known: readonly string[]): string {
  return known.toSorted((a, b) => distance(name, a) - distance(name, b))[0] ?? '';
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Choices that are allowed and yet worth a word. */
function risks(config: Config): string[] {
  const plain = config.api
    .filter(({ target }) => target.protocol === 'http:' && !/^(?:localhost|127\.|\[::1\])/.test(target.hostname))
    .map(
      ({ path, target }) =>
        `The route ${path} sends access tokens over plain http to ${target.host}; keep that network to yourself.`,
    );
  return config.discoveryUrl?.protocol === 'http:' && config.issuer.startsWith('https:')
    ? [...plain, "The provider's metadata is fetched over plain http; keep that network to yourself."]
    : plain;
}
