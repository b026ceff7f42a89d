/**
 * Environment variables: which key each one sets, how its text becomes a value, and which unknown ones to warn of. Every
 * scalar of the schema has a variable; every secret also has one that ends in `_FILE` and names a file with the secret.
 */
import { readFileSync } from 'node:fs';
import type { ConfigFault } from './faults.ts';
import type { ConfigFile, ConfigInput } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

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
/** A value that is no number stays a text, so that the schema's message says what is expected. */
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

/** Sets one of the two keys and clears the other, which a file may have set. */
const spaSource = (value: string) =>
  /^https?:\/\//.test(value) ? { devServer: value, folder: undefined } : { folder: value, devServer: undefined };

function variable(name: string, path: string, parse: (text: string) => unknown = text, secret = false): Variable {
  return { name: `SALLYPORT_${name}`, path, parse, secret };
}

/** All variables, in the order of the reference. `SALLYPORT_SPA` sets one of two keys, `spa.folder` or `spa.devServer`. */
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
  variable('LOGIN_LIFETIME', 'login.lifetimeSeconds', number),
  variable('LOGOUT_RETURN_TO', 'logout.returnTo'),
  variable('CSRF_REQUIRE_HEADER', 'csrf.requireHeader', boolean),
  variable('UPSTREAM_TIMEOUT', 'upstream.timeoutSeconds', number),
  variable('MAX_BODY', 'upstream.maxBodyBytes', number),
  variable('REPLAY_LIMIT', 'upstream.replayBytes', number),
  variable('DROP_HEADERS', 'upstream.dropHeaders', list),
  variable('REDIS_URL', 'redisUrl', text, true),
  variable('TRUSTED_PROXIES', 'trustedProxies', list),
  variable('PATH', 'path'),
  variable('BASE_PATH', 'basePath'),
  variable('DRAIN', 'drainSeconds', number),
  variable('LOG', 'logLevel'),
];

/** A file's content with the variables over it. */
interface Overlay {
  readonly input: ConfigInput;
  /** The variable that set a key, by the key's dotted path. */
  readonly names: ReadonlyMap<string, string>;
  readonly faults: readonly ConfigFault[];
}

/** Puts the variables over the file's content; symbol keys of the file stay. */
export function overlay(file: ConfigFile, env: Environment): Overlay {
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

/** An empty variable counts as unset, because Compose files and pipelines write absent values that way. */
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

/** A warning for each unknown `SALLYPORT_` variable, with the name that was probably meant. Never holds a value. */
export function unknownVariables(env: Environment): string[] {
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
