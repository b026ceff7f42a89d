/**
 * The configuration: one schema is the type, the validation, the JSON Schema and the README's table. `resolveConfig`
 * takes what a file or a program gives and answers a {@link Config} that the rest trusts, or throws one
 * {@link ConfigError} that names every fault with its remedy. Reading files and variables is in `config-sources.ts`.
 */
import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { isWithin } from '../http/paths.ts';

/** Symbol-keyed, so that no JSON file and no environment variable can set it: allows an `http:` issuer off loopback. */
export const dangerouslyAllowHttpIssuer: unique symbol = Symbol('dangerouslyAllowHttpIssuer');

const seconds = (minimum: number, maximum: number) =>
  z
    .number('must be a number of seconds')
    .min(minimum, `must be at least ${minimum} seconds`)
    .max(maximum, `must be at most ${maximum} seconds`);
const bytes = z.int('must be a whole number of bytes').min(0, 'must not be negative');
const port = z.int('must be a port number').min(0, 'must be 0 to 65535').max(65535, 'must be 0 to 65535');
const text = z.string('must be a text').min(1, 'must not be empty');

const maximumLifetimeSeconds = 400 * 24 * 3600;

const apiRoute = z.strictObject({
  path: text
    .regex(/^(?:\/[A-Za-z0-9._~-]+)+$/, 'must be a path such as "/api": letters, digits, "-._~", no "/" at its end')
    .refine(
      (path) => !path.split('/').some((segment) => segment === '.' || segment === '..'),
      'must not hold "." or ".." segments',
    )
    .meta({ description: 'The prefix, on whole path segments; the longest one that fits wins.' }),
  target: httpUrl('the address of the API, e.g. "http://127.0.0.1:9100/v1"').meta({
    description: "The API's address; its path replaces the prefix.",
  }),
  methods: z
    .array(
      z
        .string()
        .regex(/^[A-Z][A-Z0-9-]*$/, 'must be a method in capital letters')
        // A TRACE is answered with the request, access token included; a CONNECT would make a tunnel of us.
        .refine((method) => method !== 'TRACE' && method !== 'CONNECT', 'must not be TRACE or CONNECT'),
    )
    .min(1, 'must name a method')
    .optional()
    .meta({ description: 'Methods that may pass. Default: GET, HEAD, POST, PUT, PATCH, DELETE, QUERY.' }),
  timeoutSeconds: seconds(0.1, 3600).optional().meta({ description: "Seconds to the API's first byte." }),
  connectTimeoutSeconds: seconds(0.1, 600)
    .default(10)
    .meta({ description: 'Seconds to a connection with the API, the TLS handshake included.' }),
  idleTimeoutSeconds: seconds(0, 86_400).default(0).meta({
    description: "Seconds between two chunks of the API's answer; 0: no limit, as streams need.",
  }),
  maxConcurrent: z
    .int('must be a whole number of calls')
    .min(0, 'must not be negative')
    .default(0)
    .meta({ description: 'Calls that this process makes at a time; beyond it 429. 0: no limit.' }),
  maxBodyBytes: bytes.optional().meta({ description: 'Largest request body; 0: no limit.' }),
  replayBytes: bytes.optional().meta({ description: 'Bytes of a request body kept for a replay after a 401.' }),
  navigations: z
    .boolean('must be true or false')
    .default(false)
    .meta({
      description:
        'Lets a GET pass that no page caused (`Sec-Fetch-Site: none`), for documents opened from a bookmark. Other ' +
        'sites can cause one by a redirect, with the session: only for an API whose GETs change nothing.',
    }),
  websocket: z.boolean('must be true or false').default(true).meta({ description: 'WebSocket upgrades may pass.' }),
  websocketTokenProtocol: text
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the beginning of a sub-protocol, e.g. "bearer."')
    .optional()
    .meta({
      description:
        'For an API that reads the token from the WebSocket sub-protocols, too: what the token follows there, ' +
        'e.g. `bearer.`. After a `base64url.…` it is encoded, as Kubernetes wants.',
    }),
  allowEncodedSlashes: z
    .boolean('must be true or false')
    .default(false)
    .meta({ description: 'Lets %2F and %5C in paths pass, for an API that needs them.' }),
  caFile: text.optional().meta({
    description: "A PEM file with the certificate authorities of an `https:` target, instead of the system's.",
  }),
  socketPath: text.optional().meta({
    description: "A Unix socket on which the API listens; the target's host is then a mere name.",
  }),
});

const schema = z.strictObject({
  origin: originText().meta({
    description: 'The public origin of the app. Redirects, cookies and the origin check are built on it.',
  }),
  listen: z
    .strictObject({
      host: text
        .optional()
        .meta({ description: 'Listening address. Default: `127.0.0.1` on a loopback origin, else `0.0.0.0`.' }),
      port: port
        .optional()
        .meta({ description: "Listening port. Default: the origin's for a loopback origin, else 3000." }),
      opsPort: port.optional().meta({ description: 'A second listener for `/livez` and `/readyz`. Default: off.' }),
    })
    .prefault({}),
  issuer: httpUrl('the issuer of your identity provider, e.g. "https://login.example.com"').meta({
    description: 'The issuer, exactly as the provider writes it. `http:` only on loopback.',
  }),
  discoveryUrl: httpUrl('the address of the provider’s metadata document').optional().meta({
    description: "Where to fetch the provider's metadata when the server can't reach the issuer's own address.",
  }),
  client: z.strictObject({
    id: text.meta({ description: 'The client id that the provider gave you.' }),
    secret: text.meta({ description: 'The client secret.' }),
    authMethod: z
      .enum(['client_secret_basic', 'client_secret_post'], 'must be "client_secret_basic" or "client_secret_post"')
      .default('client_secret_basic')
      .meta({ description: 'How the secret is sent to the token endpoint.' }),
    responseMode: z
      .enum(['query', 'form_post'], 'must be "query" or "form_post"')
      .default('query')
      .meta({ description: 'How the provider answers the login.' }),
  }),
  scope: text
    .refine((scope) => scope.split(' ').includes('openid'), 'must contain "openid"')
    .default('openid profile email offline_access')
    .meta({ description: 'Scopes asked for at login.' }),
  secrets: z.array(sealingSecret()).min(1, 'must hold a sealing secret; make one with `sallyport keygen`').meta({
    description: 'Sealing secrets of at least 32 characters. The first seals, all unseal: so secrets rotate.',
  }),
  api: z.array(apiRoute).default([]).meta({ description: 'API routes: prefix and target.' }),
  spa: z
    .strictObject({
      folder: text.optional().meta({ description: 'A folder of built files.' }),
      devServer: httpUrl('the address of a dev server, e.g. "http://localhost:5173"')
        .optional()
        .meta({ description: 'The address of a dev server to proxy, hot module replacement included.' }),
      requireLogin: z
        .boolean('must be true or false')
        .default(false)
        .meta({ description: "Sends people who aren't signed in to the login before the SPA loads." }),
      sourceMaps: z
        .boolean('must be true or false')
        .default(false)
        .meta({ description: 'Serves `*.map` files, which hold your source code.' }),
      symlinks: z
        .boolean('must be true or false')
        .default(false)
        .meta({ description: 'Follows links that stay in the folder, as a mounted Kubernetes ConfigMap needs.' }),
      headers: z
        .record(z.string(), z.union([z.string(), z.literal(false)]))
        .default({})
        .meta({ description: 'Security headers to replace (a text) or to leave out (`false`).' }),
    })
    .optional(),
  session: z
    .strictObject({
      mode: z.enum(['cookie', 'store'], 'must be "cookie" or "store"').default('cookie').meta({
        description:
          '`cookie`: the tokens travel in the sealed cookie. `store`, where they stay in the store, is not available yet.',
      }),
      lifetimeSeconds: seconds(1, maximumLifetimeSeconds)
        .default(28_800)
        .meta({ description: 'Seconds from login to the end.' }),
      idleSeconds: seconds(0, maximumLifetimeSeconds)
        .default(0)
        .meta({ description: 'Seconds without a call to the end; 0: off.' }),
    })
    .prefault({}),
  refresh: z
    .strictObject({
      beforeSeconds: seconds(0, 3600).default(30).meta({
        description: 'Seconds before expiry at which a token is refreshed; never more than half its lifetime.',
      }),
      graceSeconds: seconds(0, 600).default(60).meta({
        description: "Seconds for which a refresh's result is replayed to calls that still carry the old cookie.",
      }),
    })
    .prefault({}),
  login: z
    .strictObject({
      allowParams: z.array(parameterName()).default([]).meta({
        description: 'Further authorization parameters that the SPA may pass to the login, e.g. `kc_idp_hint`.',
      }),
      params: z
        .record(parameterName(), z.string())
        .default({})
        .meta({ description: 'Authorization parameters sent with every login, e.g. `audience`.' }),
      userInfo: z
        .boolean('must be true or false')
        .default(false)
        .meta({ description: "Adds the UserInfo endpoint's claims to the ID token's." }),
    })
    .prefault({}),
  logout: z
    .strictObject({
      returnTo: text
        .regex(/^\/(?![/\\])[^\\\s]*$/, 'must be a path on the own origin, e.g. "/"')
        .default('/')
        .meta({ description: 'Where the provider sends the browser after sign-out; register origin + path with it.' }),
    })
    .prefault({}),
  csrf: z
    .strictObject({
      requireHeader: z
        .boolean('must be true or false')
        .default(false)
        .meta({ description: 'Demands the header `X-CSRF: 1` on every call besides the origin check.' }),
    })
    .prefault({}),
  upstream: z
    .strictObject({
      timeoutSeconds: seconds(0.1, 3600).default(60).meta({ description: "Seconds to the API's first byte." }),
      maxBodyBytes: bytes.default(0).meta({ description: 'Largest request body in bytes; 0: no limit.' }),
      replayBytes: bytes
        .default(65_536)
        .meta({ description: 'Bytes of a request body kept for a replay after a 401.' }),
    })
    .prefault({}),
  redisUrl: text
    .refine(
      (url) => /^(?:rediss?|unix):\/\//.test(url) && URL.canParse(url),
      'must be a URL such as "redis://127.0.0.1:6379"; percent-encode what is special in its password',
    )
    .optional()
    .meta({ description: 'Redis or Valkey: shared sessions, refresh coordination and revocation.' }),
  trustedProxies: z
    .array(z.string().refine(isNetwork, 'must be an IP address or a network such as "10.0.0.0/8"'))
    .default([])
    .meta({ description: 'Addresses or networks of the proxies whose forwarded headers are believed.' }),
  basePath: text
    .regex(/^(?:\/[A-Za-z0-9_-]+)+$/, 'must be a path such as "/bff", without "/" at its end')
    .default('/bff')
    .meta({ description: "Base path of Sallyport's own endpoints." }),
  drainSeconds: seconds(0, 3600).default(25).meta({ description: 'Seconds that SIGTERM gives to what runs.' }),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], 'must be debug, info, warn, error or silent')
    .default('info')
    .meta({ description: 'JSON lines on standard output; readable lines on a terminal.' }),
});

/** A whole configuration, as a program gives it. */
export type ConfigInput = z.input<typeof schema> & { readonly [dangerouslyAllowHttpIssuer]?: boolean };

/** What a configuration file holds: whatever is absent may come from environment variables, secrets above all. */
export type ConfigFile = Partial<Omit<ConfigInput, 'client'>> & { readonly client?: Partial<ConfigInput['client']> };

/** An API route, complete. */
export interface ApiRoute {
  readonly path: string;
  readonly target: URL;
  readonly methods: ReadonlySet<string>;
  readonly timeoutSeconds: number;
  readonly connectTimeoutSeconds: number;
  readonly idleTimeoutSeconds: number;
  readonly maxConcurrent: number;
  readonly maxBodyBytes: number;
  readonly replayBytes: number;
  readonly navigations: boolean;
  readonly websocket: boolean;
  readonly websocketTokenProtocol: string | undefined;
  readonly allowEncodedSlashes: boolean;
  readonly caFile: string | undefined;
  readonly socketPath: string | undefined;
}

type Parsed = z.output<typeof schema>;

/** A validated configuration. Everything in it may be trusted. */
export interface Config extends Omit<Parsed, 'api' | 'listen' | 'issuer' | 'discoveryUrl' | 'spa'> {
  /** Longest path first. */
  readonly api: readonly ApiRoute[];
  readonly listen: { readonly host: string; readonly port: number; readonly opsPort: number | undefined };
  readonly issuer: string;
  readonly discoveryUrl: URL | undefined;
  readonly spa: NonNullable<Parsed['spa']> | undefined;
  /** True on an https origin: cookies are `Secure` and carry the `__Host-Http-` prefix. */
  readonly secure: boolean;
}

/** One thing that is wrong: where, why, and what to do. */
export interface ConfigFault {
  /** Dotted path of the key, e.g. `client.secret`. */
  readonly path: string;
  readonly reason: string;
}

/** Thrown with all faults at once. Never holds a configured value that may be secret. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[];

  constructor(faults: readonly ConfigFault[], nameOf: (path: string) => string = (path) => path) {
    super(
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n` +
        faults.map((fault) => `  - ${nameOf(fault.path)}: ${fault.reason}`).join('\n'),
    );
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/** Types a configuration file; returns its argument. */
export function defineConfig(config: ConfigFile): ConfigFile {
  return config;
}

const defaultMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'];

/**
 * Validates and completes a configuration.
 * @throws {ConfigError} with every fault
 */
export function resolveConfig(input: ConfigInput): Config {
  const { parsed, faults } = parseEachKey(input);
  faults.push(...crossFaults(parsed, input[dangerouslyAllowHttpIssuer] === true));
  if (faults.length > 0) throw new ConfigError(faults);
  return complete(parsed as Parsed);
}

/** The JSON Schema of a configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
}

/** One row of the reference: the key's dotted path, its meaning and its default as JSON. */
export interface ConfigKey {
  readonly path: string;
  readonly description: string;
  readonly defaultValue: string | undefined;
}

/** Every key of the configuration, in the schema's order. */
export function configKeys(): readonly ConfigKey[] {
  return keysBelow(configJsonSchema(), '');
}

interface SchemaNode {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Record<string, SchemaNode>;
  readonly items?: SchemaNode;
}

function keysBelow(node: SchemaNode, prefix: string): readonly ConfigKey[] {
  const keys: ConfigKey[] = [];
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const path = `${prefix}${key}`;
    const defaultValue = child.default === undefined ? undefined : JSON.stringify(child.default);
    if (child.description !== undefined) keys.push({ path, description: child.description, defaultValue });
    keys.push(...keysBelow(child, `${path}.`), ...keysBelow(child.items ?? {}, `${path}[].`));
  }
  return keys;
}

/** Key by key, so that a fault in one hides no fault in another. */
function parseEachKey(input: ConfigInput): { parsed: Partial<Parsed>; faults: ConfigFault[] } {
  const parsed: Record<string, unknown> = {};
  const faults: ConfigFault[] = [];
  const given = input as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(schema.shape, key)) faults.push(unknownKey([key]));
  }
  for (const [key, field] of Object.entries(schema.shape)) {
    const result = field.safeParse(given[key]);
    if (result.success) parsed[key] = result.data;
    else for (const issue of result.error.issues) faults.push(...faultsOf(issue, key, given[key]));
  }
  return { parsed, faults };
}

function faultsOf(issue: z.core.$ZodIssue, key: string, value: unknown): ConfigFault[] {
  const path = [key, ...issue.path.map(String)];
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => ({ path: path.join('.'), reason: message }));
  }
  if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => unknownKey([...path, name]));
  const missing = issue.code === 'invalid_type' && valueAt(value, issue.path) === undefined;
  return [
    {
      path: path.join('.'),
      reason: missing ? `is missing: ${remedies[path.join('.')] ?? issue.message}` : issue.message,
    },
  ];
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((inner, key) => (inner instanceof Object ? Reflect.get(inner, key) : undefined), value);
}

const remedies: Readonly<Record<string, string>> = {
  origin: 'set the public origin of your app, e.g. SALLYPORT_ORIGIN=https://app.example.com',
  issuer: 'set the issuer of your identity provider, e.g. SALLYPORT_ISSUER=https://login.example.com',
  client: 'set SALLYPORT_CLIENT_ID and SALLYPORT_CLIENT_SECRET as the provider gave them to you',
  'client.id': 'set SALLYPORT_CLIENT_ID as the provider gave it to you',
  'client.secret': 'set SALLYPORT_CLIENT_SECRET (or SALLYPORT_CLIENT_SECRET_FILE) as the provider gave it to you',
  secrets: 'set SALLYPORT_SECRET (or SALLYPORT_SECRET_FILE) to the output of `sallyport keygen`',
};

function unknownKey(path: readonly string[]): ConfigFault {
  return {
    path: path.join('.'),
    reason: 'is not a known key; remove it or correct its spelling (`sallyport schema` lists all)',
  };
}

/** Rules that span keys. Each looks only at keys that are valid in themselves. */
function crossFaults(parsed: Partial<Parsed>, httpIssuerAllowed: boolean): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const { origin, issuer, spa, session } = parsed;
  if (origin !== undefined && isPlainHttp(origin) && !isLoopback(new URL(origin).hostname)) {
    faults.push({ path: 'origin', reason: 'must be https: http is only for localhost, 127.0.0.1 and [::1]' });
  }
  if (issuer !== undefined && isPlainHttp(issuer) && !httpIssuerAllowed && !isLoopback(new URL(issuer).hostname)) {
    faults.push({
      path: 'issuer',
      reason: 'must be https: over http, anybody on the way could sign people in as anyone',
    });
  }
  if (spa !== undefined) faults.push(...spaFaults(spa));
  if (session?.mode === 'store') {
    const reason = 'store sessions are not available yet; use "cookie", which shares sessions over SALLYPORT_REDIS_URL';
    faults.push({ path: 'session.mode', reason });
  }
  if (parsed.api !== undefined) faults.push(...routeFaults(parsed.api, parsed.basePath));
  if (parsed.login !== undefined) faults.push(...loginFaults(parsed.login.params));
  if (parsed.logout !== undefined) faults.push(...logoutFaults(parsed.logout.returnTo, parsed));
  return faults;
}

/** Parameters that would make every login fail. */
function loginFaults({ max_age: maxAge, prompt = '' }: Readonly<Record<string, string>>): ConfigFault[] {
  const faults: ConfigFault[] = [];
  if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge)) {
    faults.push({ path: 'login.params.max_age', reason: 'must be a whole number of seconds, e.g. "3600"' });
  }
  // OpenID Connect Core 3.1.2.1.
  if (prompt !== 'none' && prompt.split(' ').includes('none')) {
    faults.push({
      path: 'login.params.prompt',
      reason: 'must not name "none" beside others: every provider refuses that',
    });
  }
  return faults;
}

function logoutFaults(returnTo: string, { basePath = '/bff', api = [] }: Partial<Parsed>): ConfigFault[] {
  const { pathname } = new URL(returnTo, 'https://app.invalid');
  const path = pathname.replace(/%[0-7][0-9a-f]/gi, (escape) => decodeURIComponent(escape));
  const prefix = [basePath, ...api.map((route) => route.path)].find((own) => isWithin(path, own));
  if (prefix === undefined) return [];
  return [{ path: 'logout.returnTo', reason: `must be a page of the app, and not below "${prefix}"` }];
}

function spaFaults(spa: NonNullable<Parsed['spa']>): ConfigFault[] {
  if (spa.folder !== undefined && spa.devServer !== undefined) {
    return [{ path: 'spa', reason: 'has both a folder and a dev server; keep one' }];
  }
  if (spa.folder === undefined || existsSync(join(spa.folder, 'index.html'))) return [];
  const reason = existsSync(spa.folder)
    ? `the folder "${spa.folder}" holds no index.html; name the folder that your build writes`
    : `the folder "${spa.folder}" does not exist; build your SPA first, or correct the path`;
  return [{ path: 'spa.folder', reason }];
}

function routeFaults(routes: Parsed['api'], basePath = '/bff'): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const seen = new Map<string, number>();
  const base = basePath.toLowerCase();
  for (const [index, route] of routes.entries()) {
    const path = `api.${index}.path`;
    const folded = route.path.toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) {
      faults.push({ path, reason: `"${route.path}" stands twice (also api.${twin}.path); keep one` });
    }
    seen.set(folded, index);
    faults.push(...caFaults(route, `api.${index}.caFile`));
    if (isWithin(folded, base) || isWithin(base, folded)) {
      faults.push({
        path,
        reason: `"${route.path}" overlaps the base path "${basePath}"; choose another prefix or basePath`,
      });
    }
  }
  return faults;
}

function caFaults({ caFile, target }: Parsed['api'][number], path: string): ConfigFault[] {
  if (caFile === undefined) return [];
  if (isPlainHttp(target)) return [{ path, reason: 'is for an https: target; remove it, or correct the target' }];
  return existsSync(caFile) ? [] : [{ path, reason: `the file "${caFile}" does not exist; correct the path` }];
}

function complete(parsed: Parsed): Config {
  const origin = new URL(parsed.origin);
  const loopback = isLoopback(origin.hostname);
  const originPort = Number(origin.port || (origin.protocol === 'https:' ? 443 : 80));
  return {
    ...parsed,
    discoveryUrl: parsed.discoveryUrl === undefined ? undefined : new URL(parsed.discoveryUrl),
    listen: {
      host: parsed.listen.host ?? (loopback ? '127.0.0.1' : '0.0.0.0'),
      port: parsed.listen.port ?? (loopback ? originPort : 3000),
      opsPort: parsed.listen.opsPort,
    },
    api: parsed.api
      .map((route) => ({
        ...route,
        target: new URL(route.target),
        methods: new Set(route.methods ?? defaultMethods),
        timeoutSeconds: route.timeoutSeconds ?? parsed.upstream.timeoutSeconds,
        maxBodyBytes: route.maxBodyBytes ?? parsed.upstream.maxBodyBytes,
        replayBytes: route.replayBytes ?? parsed.upstream.replayBytes,
        websocketTokenProtocol: route.websocketTokenProtocol,
        caFile: route.caFile,
        socketPath: route.socketPath,
      }))
      .toSorted((a, b) => b.path.length - a.path.length),
    spa: parsed.spa,
    secure: origin.protocol === 'https:',
  };
}

/** Whether a URL's host name is loopback: `localhost`, `127.0.0.1` or `[::1]`. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]';
}

function isPlainHttp(url: string): boolean {
  return url.startsWith('http:');
}

function isNetwork(value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}

function httpUrl(what: string) {
  return z.string(`must be ${what}`).superRefine((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
      context.addIssue({ code: 'custom', message: `must be ${what}` });
    } else if (url.username !== '' || url.password !== '') {
      context.addIssue({ code: 'custom', message: 'must not hold a user name or password' });
    } else if (url.search !== '' || url.hash !== '') {
      context.addIssue({ code: 'custom', message: 'must not hold a query or fragment' });
    }
  });
}

function originText() {
  return z.string('must be an origin such as "https://app.example.com"').superRefine((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
      context.addIssue({ code: 'custom', message: 'must be an origin such as "https://app.example.com"' });
    } else if (url.origin !== value) {
      context.addIssue({
        code: 'custom',
        message: `must be a bare origin: write "${url.origin}", without path, query or "/" at its end`,
      });
    }
  });
}

/** What Sallyport itself says to the provider: said by others, it would undo what protects the login. */
const ownParameters = new Set(
  (
    'client_id redirect_uri response_type response_mode scope state nonce ' +
    'code_challenge code_challenge_method request request_uri'
  ).split(' '),
);

function parameterName() {
  return z
    .string()
    .regex(/^[A-Za-z0-9_.:-]+$/, 'must be a parameter name')
    .refine((name) => !ownParameters.has(name), 'is a parameter that Sallyport sets itself; remove it');
}

const placeholder =
  /change.?(?:me|this|it)|replace.?(?:me|this|it)|placeholder|your.?(?:own.?)?(?:sealing.?)?(?:secret|key)|^<|^todo/i;

function sealingSecret() {
  return z
    .string('must be a text of at least 32 characters')
    .min(32, 'is too short: at least 32 characters; make one with `sallyport keygen`')
    .refine(
      (secret) => !placeholder.test(secret) && new Set(secret).size > 4,
      'looks like a placeholder; make a real one with `sallyport keygen`',
    );
}
