/**
 * Environment variables: which key each one sets, how its text becomes a value, and which unknown ones to warn of. Every
 * scalar of the schema has a variable; every secret also has one that ends in `_FILE` and names a file with the secret.
 */
import { readFileSync } from 'node:fs';
import type { ConfigFault } from './faults.ts';
import type { ConfigFile, ConfigInput } from './schema.ts';
import { distance, nearestOf } from './spelling.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable, the key it sets, and how its text becomes a value. */
export interface Variable {
  readonly name: string;
  /** Dotted path of the key. */
  readonly path: string;
  readonly parse: (text: string) => unknown;
  /** Also read from the file that `<name>_FILE` names. */
  readonly secret: boolean;
  /** Why the text has none of the variable's form, where the schema's message for the key would not say so. */
  readonly faultOf?: (text: string) => string | undefined;
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
/** What is no JSON stays a text, so that the schema's message says what is expected. */
const json = (value: string): unknown => {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};
/** A Content-Security-Policy in its own form: `connect-src https://maps.example.com; img-src data:`. */
const policy = (value: string) => {
  const directives = new Map<string, string[]>();
  for (const directive of value.split(';')) {
    const [name, ...sources] = words(directive);
    const key = name?.toLowerCase();
    if (key !== undefined) directives.set(key, [...(directives.get(key) ?? []), ...sources]);
  }
  return Object.fromEntries(directives);
};
const routes = (value: string) =>
  words(value).map((word) => {
    const equals = word.indexOf('=');
    return { path: word.slice(0, equals), target: word.slice(equals + 1) };
  });

const words = (value: string) => value.split(/\s+/).filter((word) => word !== '');

const formOfRoutes =
  'write "/api=http://127.0.0.1:9100/v1", which is a prefix, "=" and the address of the API; white space separates ' +
  'several routes';

/** Why a text cannot be meant as routes. */
function faultOfRoutes(value: string): string | undefined {
  const all = words(value);
  // A comma may also stand in an address.
  if (all.some((word) => /[,;]$|[,;]\/[^=]*=/.test(word))) return `has routes separated by a comma: ${formOfRoutes}`;
  if (all.some((word) => /^https?:/.test(word))) return `has an address without a prefix: ${formOfRoutes}`;
  return all.every((word) => /^\/[^=]*=./.test(word)) ? undefined : `is not a list of routes: ${formOfRoutes}`;
}

/** Sets one of the two keys and clears the other, which a file may have set. */
const spaSource = (value: string) =>
  /^https?:\/\//i.test(value) ? { devServer: value, folder: undefined } : { folder: value, devServer: undefined };

function variable(name: string, path: string, parse: (text: string) => unknown = text, secret = false): Variable {
  return { name: `SALLYPORT_${name}`, path, parse, secret };
}

/** All variables, in the order of the reference. `SALLYPORT_SPA` sets one of two keys, `spa.folder` or `spa.devServer`. */
export const variables: readonly Variable[] = [
  variable('ORIGIN', 'origin'),
  variable('HOST', 'listen.host'),
  variable('PORT', 'listen.port', number),
  variable('OPS_PORT', 'listen.opsPort', number),
  variable('OPS_TOKEN', 'listen.opsToken', text, true),
  variable('WORKERS', 'workers', number),
  variable('ISSUER', 'issuer'),
  variable('DISCOVERY_URL', 'discoveryUrl'),
  variable('PROVIDER_TIMEOUT', 'provider.timeoutSeconds', number),
  variable('PROVIDER_CLOCK_TOLERANCE', 'provider.clockToleranceSeconds', number),
  variable('PROVIDER_CA_FILE', 'provider.caFile'),
  variable('PROFILE', 'profile'),
  variable('CLIENT_ID', 'client.id'),
  variable('CLIENT_SECRET', 'client.secret', text, true),
  variable('CLIENT_AUTH_METHOD', 'client.authMethod'),
  variable('CLIENT_KEY_FILE', 'client.keyFile'),
  variable('CLIENT_CERT_FILE', 'client.certFile'),
  variable('CLIENT_TLS_KEY_FILE', 'client.tlsKeyFile'),
  variable('CLIENT_SIGNING_ALGORITHM', 'client.signingAlgorithm'),
  variable('CLIENT_TOKEN_FILE', 'client.tokenFile'),
  variable('CLIENT_DPOP', 'client.dpop'),
  variable('CLIENT_RESPONSE_MODE', 'client.responseMode'),
  variable('SCOPE', 'scope'),
  variable('SECRET', 'secrets', list, true),
  { ...variable('API', 'api', routes), faultOf: faultOfRoutes },
  variable('SPA', 'spa', spaSource),
  variable('SPA_REQUIRE_LOGIN', 'spa.requireLogin', boolean),
  variable('SPA_CSP', 'spa.csp', policy),
  variable('SPA_NONCE', 'spa.nonce'),
  variable('SESSION', 'session.mode'),
  variable('SESSION_COOKIE_NAME', 'session.cookieName'),
  variable('SESSION_LIFETIME', 'session.lifetimeSeconds', number),
  variable('SESSION_IDLE', 'session.idleSeconds', number),
  variable('SESSION_REGISTRY', 'session.registry', boolean),
  variable('CACHE_MB', 'session.cacheMegabytes', number),
  variable('SESSION_CLAIMS', 'session.claims', list),
  variable('REFRESH_BEFORE', 'refresh.beforeSeconds', number),
  variable('REFRESH_GRACE', 'refresh.graceSeconds', number),
  variable('LOGIN_ALLOW_PARAMS', 'login.allowParams', list),
  variable('LOGIN_PARAMS', 'login.params', query),
  variable('LOGIN_PUSHED', 'login.pushed'),
  variable('LOGIN_REQUEST_OBJECT', 'login.requestObject', boolean),
  variable('LOGIN_AUTHORIZATION_DETAILS', 'login.authorizationDetails', json),
  variable('LOGIN_ALLOW_AUTHORIZATION_DETAILS', 'login.allowAuthorizationDetails', list),
  variable('LOGIN_USERINFO', 'login.userInfo', boolean),
  variable('LOGIN_LIFETIME', 'login.lifetimeSeconds', number),
  variable('LOGOUT_RETURN_TO', 'logout.returnTo'),
  variable('LOGOUT_PARAMS', 'logout.params', query),
  variable('LOGOUT_ID_TOKEN_HINT', 'logout.idTokenHint', boolean),
  variable('LOGOUT_BACKCHANNEL', 'logout.backchannel', boolean),
  variable('LOGOUT_FRONTCHANNEL', 'logout.frontchannel', boolean),
  variable('CSRF_REQUIRE_HEADER', 'csrf.requireHeader', boolean),
  variable('UPSTREAM_TIMEOUT', 'upstream.timeoutSeconds', number),
  variable('MAX_BODY', 'upstream.maxBodyBytes', number),
  variable('REPLAY_LIMIT', 'upstream.replayBytes', number),
  variable('DROP_HEADERS', 'upstream.dropHeaders', list),
  variable('REDIS_URL', 'redisUrl', text, true),
  variable('STORE_FILE', 'store.file'),
  variable('STORE_PREFIX', 'store.prefix'),
  variable('STORE_CA_FILE', 'store.caFile'),
  variable('STORE_RECHECK', 'store.recheckSeconds', number),
  variable('STORE_WHEN_DOWN', 'store.whenDown'),
  variable('TRUSTED_PROXIES', 'trustedProxies', list),
  variable('PATH', 'path'),
  variable('BASE_PATH', 'basePath'),
  variable('ERROR_DOCS', 'errorDocs'),
  variable('PAGES_APP_NAME', 'pages.appName'),
  variable('PAGES_ACCENT_COLOR', 'pages.accentColor'),
  variable('PAGES_LOGO_FILE', 'pages.logoFile'),
  variable('PAGES_LANGUAGE', 'pages.language'),
  variable('DRAIN', 'drainSeconds', number),
  variable('DRAIN_WAIT', 'drain.waitSeconds', number),
  variable('LOG', 'logLevel'),
];

/** A file's content with the variables over it. */
interface Overlay {
  readonly input: ConfigInput;
  /** The variable that set a key, by the key's dotted path. */
  readonly names: ReadonlyMap<string, string>;
  /** Faults of the variables' form. What the schema says of these keys is no news. */
  readonly faults: readonly ConfigFault[];
}

/** Puts the variables over the file's content; symbol keys of the file stay. */
export function overlay(file: ConfigFile, env: Environment): Overlay {
  const input: Record<string | symbol, unknown> = { ...file };
  const names = new Map<string, string>();
  const faults: ConfigFault[] = [];
  for (const variable of variables) {
    const { path, parse } = variable;
    const { name, value, fault } = read(variable, env);
    const [key = '', child] = path.split('.');
    if (fault !== undefined) {
      faults.push({ path, reason: fault });
      names.set(path, name);
      // So that what is missing beside it is told by itself.
      if (child !== undefined) input[key] ??= {};
    }
    if (value === undefined) continue;
    const parsed: unknown = child === undefined ? parse(value) : { [child]: parse(value) };
    input[key] = isRecord(parsed) ? { ...(input[key] as object | undefined), ...parsed } : parsed;
    const set = child === undefined && isRecord(parsed) ? Object.keys(parsed).map((each) => `${path}.${each}`) : [path];
    for (const each of set) names.set(each, name);
  }
  return { input: input as unknown as ConfigInput, names, faults };
}

/** What a variable says. `fault`: why it says nothing that can be used. */
interface Reading {
  /** With `_FILE`, if the value comes from a file. */
  readonly name: string;
  readonly value: string | undefined;
  readonly fault?: string | undefined;
}

function read({ name, secret, faultOf }: Variable, env: Environment): Reading {
  const value = given(name, env);
  const file = secret ? given(`${name}_FILE`, env) : undefined;
  if (file === undefined) {
    const fault = value === undefined ? undefined : faultOf?.(value);
    return { name, value: fault === undefined ? value : undefined, fault };
  }
  if (value !== undefined) return unusable(`${name} and ${name}_FILE are both set; keep one`);
  try {
    return { name: `${name}_FILE`, value: readFileSync(file, 'utf8').trim() };
  } catch {
    return unusable(`${name}_FILE names "${file}", which cannot be read; correct the path or its permissions`);
  }

  function unusable(fault: string): Reading {
    return { name, value: undefined, fault };
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An empty variable counts as unset, because Compose files and pipelines write absent values that way. */
function given(name: string, env: Environment): string | undefined {
  const value = env[name];
  return value === undefined || value === '' || isKubernetesService(name, value) ? undefined : value;
}

/** For a service called sallyport, Kubernetes sets `SALLYPORT_PORT=tcp://…`, `SALLYPORT_SERVICE_HOST` and more. */
function isKubernetesService(name: string, value: string): boolean {
  return (
    /^SALLYPORT_(?:SERVICE_(?:HOST|PORT)\w*|PORT_\d+_(?:TCP|UDP)\w*)$/.test(name) ||
    (name === 'SALLYPORT_PORT' && /^(?:tcp|udp):\/\//.test(value))
  );
}

/** A warning for each unknown variable of ours, with the name that was probably meant. Never holds a value. */
export function unknownVariables(env: Environment): string[] {
  const known = variables.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]));
  return Object.entries(env).flatMap(([name, value = '']) => {
    const meant = known.includes(name) ? undefined : variableMeantBy(name, value, known);
    return meant === undefined ? [] : [`${name} is not a known variable and was ignored; did you mean ${meant}?`];
  });
}

const prefix = 'SALLYPORT_';

/** @returns undefined for a variable that is none of ours */
function variableMeantBy(name: string, value: string, known: readonly string[]): string | undefined {
  if (name.startsWith(prefix)) return isKubernetesService(name, value) ? undefined : nearestOf(name, known);
  // `SALLPORT_ISSUER`, `sallyport_issuer`.
  const [, first = '', rest = ''] = /^([a-z]+_)(\w+)$/i.exec(name) ?? [];
  const corrected = `${prefix}${rest.toUpperCase()}`;
  const isOurs = known.includes(corrected) && distance(first.toUpperCase(), prefix) <= 2;
  return isOurs && !isKubernetesService(corrected, value) ? corrected : undefined;
}
