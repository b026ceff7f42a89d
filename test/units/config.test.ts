/** The configuration: what is refused and how it is said, what a variable does, what is only warned of. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ConfigError,
  dangerouslyAllowHttpIssuer,
  defineConfig,
  resolveConfig,
  type Config,
  type ConfigInput,
} from '../../src/config/config.ts';
import { configJsonSchema, configKeys } from '../../src/config/reference.ts';
import { loadConfig } from '../../src/config/sources.ts';
import { variables } from '../../src/config/variables.ts';

const secret = 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u';

const minimal: ConfigInput = {
  origin: 'https://app.example.com',
  issuer: 'https://login.example.com',
  client: { id: 'app', secret: 'client-secret' },
  secrets: [secret],
};

const minimalEnv = {
  SALLYPORT_ORIGIN: 'https://app.example.com',
  SALLYPORT_ISSUER: 'https://login.example.com',
  SALLYPORT_CLIENT_ID: 'app',
  SALLYPORT_CLIENT_SECRET: 'client-secret',
  SALLYPORT_SECRET: secret,
};

let folder: string;
let startedIn: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-config-'));
  await mkdir(join(folder, 'spa'));
  await mkdir(join(folder, 'empty'));
  await writeFile(join(folder, 'spa/index.html'), '<!doctype html>');
  await writeFile(join(folder, 'large.svg'), `<svg>${'x'.repeat(32_768)}</svg>`);
  await writeFile(join(folder, 'comments.svg'), '<!-- a -->'.repeat(32));
  await writeFile(join(folder, 'drawing.html'), '<!doctype html><svg></svg>');
  startedIn = process.cwd();
  // Here no default file lies about.
  process.chdir(folder);
});

afterAll(async () => {
  process.chdir(startedIn);
  await rm(folder, { recursive: true });
});

/** What is warned of a policy. */
async function warningsOfPolicy(policy: string): Promise<readonly string[]> {
  return (await loadConfig(undefined, { ...minimalEnv, SALLYPORT_SPA_CSP: policy })).warnings;
}

/** The faults of a configuration, as `path: reason`. */
function faultsOf(input: unknown): string[] {
  try {
    resolveConfig(input as ConfigInput);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.faults.map(({ path, reason }) => `${path}: ${reason}`);
  }
  return [];
}

async function messageOf(env: Record<string, string>, file?: string): Promise<string> {
  const error: unknown = await loadConfig(file, env).catch((thrown: unknown) => thrown);
  if (error instanceof ConfigError) return error.message;
  throw new Error(`no ConfigError but ${String(error)}`);
}

async function loaded(env: Record<string, string>, file?: string): Promise<Config> {
  return (await loadConfig(file, env)).config;
}

async function fileOf(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

const refusals: ReadonlyArray<readonly [story: string, change: Record<string, unknown>, fault: RegExp]> = [
  ['an unknown key', { colour: 'red' }, /^colour: is not a known key/],
  ['an unknown key inside', { client: { ...minimal.client, sceret: 'x' } }, /^client\.sceret: is not a known key/],
  [
    'an unknown key of a route',
    { api: [{ path: '/api', target: 'http://localhost:1', url: 'x' }] },
    /^api\.0\.url: is not/,
  ],
  ['no origin', { origin: undefined }, /^origin: is missing: .*SALLYPORT_ORIGIN=/],
  ['no issuer', { issuer: undefined }, /^issuer: is missing: .*SALLYPORT_ISSUER=/],
  ['no client', { client: undefined }, /^client: is missing: .*SALLYPORT_CLIENT_ID/],
  ['no client secret', { client: { id: 'x' } }, /^client\.secret: is missing: .*SALLYPORT_CLIENT_SECRET_FILE/],
  ['no sealing secret', { secrets: undefined }, /^secrets: is missing: .*sallyport keygen/],
  ['an empty list of sealing secrets', { secrets: [] }, /^secrets: must hold a sealing secret/],
  [
    'a short sealing secret',
    { secrets: ['short-but-otherwise-fine-secret'] },
    /^secrets\.0: is too short: at least 32/,
  ],
  ['a short second one', { secrets: [secret, 'x1y2z3'] }, /^secrets\.1: is too short/],
  ['a placeholder', { secrets: ['change-me-change-me-change-me-change-me'] }, /^secrets\.0: looks like a placeholder/],
  [
    'another placeholder',
    { secrets: ['your-own-secret-goes-here-at-least-32'] },
    /^secrets\.0: looks like a placeholder/,
  ],
  ['one character over and over', { secrets: ['a'.repeat(40)] }, /^secrets\.0: looks like a placeholder/],
  [
    'an http origin that isn’t loopback',
    { origin: 'http://app.example.com' },
    /^origin: must be https: http is only for/,
  ],
  ['an http origin that looks like loopback', { origin: 'http://localhost.example.com' }, /^origin: must be https/],
  ['an http origin whose name ends like loopback', { origin: 'http://mylocalhost:3000' }, /^origin: must be https/],
  ['an http origin of a local network', { origin: 'http://192.168.1.2:3000' }, /^origin: must be https/],
  [
    'an origin with a path',
    { origin: 'https://app.example.com/shop' },
    /^origin: must be a bare origin: write "https:\/\/app\.example\.com".*SALLYPORT_PATH=\/shop$/,
  ],
  ['an origin with a slash', { origin: 'https://app.example.com/' }, /^origin: must be a bare origin/],
  ['an origin with its default port', { origin: 'https://app.example.com:443' }, /^origin: must be a bare origin/],
  ['an origin in capitals', { origin: 'https://App.example.com' }, /^origin: must be a bare origin/],
  ['an origin without scheme', { origin: 'app.example.com' }, /^origin: must be an origin such as/],
  ['an origin of another scheme', { origin: 'ftp://app.example.com' }, /^origin: must be an origin such as/],
  ['an http issuer that isn’t loopback', { issuer: 'http://login.example.com' }, /^issuer: must be https: over http/],
  ['an issuer with a user name', { issuer: 'https://me:pw@login.example.com' }, /^issuer: must not hold a user name/],
  ['an issuer with a query', { issuer: 'https://login.example.com?realm=x' }, /^issuer: must not hold a query/],
  [
    'authorities of the provider in a file that isn’t there',
    { provider: { caFile: '/nowhere/ca.pem' } },
    /^provider\.caFile: the file "\/nowhere\/ca\.pem" does not exist/,
  ],
  [
    'authorities of the provider in a file without any',
    { provider: { caFile: 'spa/index.html' } },
    /^provider\.caFile: the file "spa\/index\.html" holds no certificate/,
  ],
  [
    'authorities of the provider in a folder',
    { provider: { caFile: 'empty' } },
    /^provider\.caFile: the file "empty" cannot be read/,
  ],
  [
    'authorities of a provider that speaks no TLS',
    { issuer: 'http://localhost:8080', provider: { caFile: 'spa/index.html' } },
    /^provider\.caFile: is for an https: issuer/,
  ],
  [
    'authorities of an API in a file without any',
    { api: [{ path: '/api', target: 'https://localhost:1', caFile: 'spa/index.html' }] },
    /^api\.0\.caFile: the file "spa\/index\.html" holds no certificate/,
  ],
  [
    "a store's file in a folder that isn’t there",
    { store: { file: '/nowhere/store.db' } },
    /^store\.file: the folder "\/nowhere" does not exist; create it, or mount the volume/,
  ],
  [
    "a store's file beside Redis",
    { store: { file: 'store.db' }, redisUrl: 'redis://localhost:6379' },
    /^store\.file: stands beside redisUrl; keep one/,
  ],
  ['a scope without openid', { scope: 'profile email' }, /^scope: must contain "openid"/],
  [
    'an unknown way to authenticate',
    { client: { ...minimal.client, authMethod: 'none' } },
    /^client\.authMethod: must be "client_secret_basic"/,
  ],
  [
    'a route that is the base path',
    { api: [{ path: '/bff', target: 'http://localhost:1' }] },
    /^api\.0\.path: .*overlaps the base path "\/bff"/,
  ],
  [
    'a route below the base path',
    { api: [{ path: '/BFF/api', target: 'http://localhost:1' }] },
    /^api\.0\.path: .*overlaps the base path/,
  ],
  [
    'a base path below a route',
    { basePath: '/api/bff', api: [{ path: '/api', target: 'http://localhost:1' }] },
    /^api\.0\.path: .*overlaps the base path "\/api\/bff"/,
  ],
  [
    'a route twice',
    {
      api: [
        { path: '/api', target: 'http://localhost:1' },
        { path: '/api', target: 'http://localhost:2' },
      ],
    },
    /^api\.1\.path: "\/api" stands twice \(also api\.0\.path\)/,
  ],
  [
    'a route twice but for capitals',
    {
      api: [
        { path: '/api', target: 'http://localhost:1' },
        { path: '/API', target: 'http://localhost:2' },
      ],
    },
    /^api\.1\.path: "\/API" stands twice/,
  ],
  [
    'a route that ends in a slash',
    { api: [{ path: '/api/', target: 'http://localhost:1' }] },
    /^api\.0\.path: must be a path such as "\/api"/,
  ],
  [
    'a route for everything',
    { api: [{ path: '/', target: 'http://localhost:1' }] },
    /^api\.0\.path: must be a path such as/,
  ],
  ['a route with dots', { api: [{ path: '/api/..', target: 'http://localhost:1' }] }, /^api\.0\.path: must not hold/],
  [
    'a route without target',
    { api: [{ path: '/api' }] },
    /^api\.0\.target: is missing: must be the address of the API/,
  ],
  [
    'a target of another scheme',
    { api: [{ path: '/api', target: 'file:///etc' }] },
    /^api\.0\.target: must be the address of the API/,
  ],
  [
    'a target with a query',
    { api: [{ path: '/api', target: 'http://localhost:1/?x' }] },
    /^api\.0\.target: must not hold a query/,
  ],
  [
    'a method in small letters',
    { api: [{ path: '/api', target: 'http://localhost:1', methods: ['get'] }] },
    /^api\.0\.methods\.0: must be a method in capital/,
  ],
  [
    'a header to drop that is none',
    { api: [{ path: '/api', target: 'http://localhost:1', dropHeaders: ['X-*-User'] }] },
    /^api\.0\.dropHeaders\.0: must be the name of a header, or its beginning and "\*"/,
  ],
  [
    'everything among the headers to drop',
    { upstream: { dropHeaders: ['*'] } },
    /^upstream\.dropHeaders\.0: must be the name of a header/,
  ],
  ...['Remote-User', 'X_Forwarded_For', 'Authorization', 'Cookie', 'X-Anything', 'x-user-*'].map(
    (name) =>
      [
        `${name} among the headers to keep`,
        { api: [{ path: '/api', target: 'http://localhost:1', keepHeaders: [name] }] },
        /^api\.0\.keepHeaders\.0: is not a name that a route may keep; those are x-http-method, /,
      ] as const,
  ),
  [
    'a missing SPA folder',
    { spa: { folder: '/nowhere/dist' } },
    /^spa\.folder: the folder "\/nowhere\/dist" does not exist; build your SPA first/,
  ],
  ['an SPA folder without a document', { spa: { folder: 'empty' } }, /^spa\.folder: .*holds no index\.html/],
  [
    'two sources of the SPA',
    { spa: { folder: 'spa', devServer: 'http://localhost:5173' } },
    /^spa: has both a folder and a dev server/,
  ],
  ...(
    [
      ['connect', ['https://a.test'], /^spa\.csp\.connect: is no directive; those are default-src, script-src, /],
      ['connect-src', ['self'], /^spa\.csp\.connect-src\.0: must be written 'self', in quotation marks$/],
      ['connect-src', ["'Self'"], /^spa\.csp\.connect-src\.0: must be written 'self', in quotation marks$/],
      ['style-src', ['unsafe-inline'], /^spa\.csp\.style-src\.0: must be written 'unsafe-inline'/],
      ['style-src', ["'unsafe-inlin'"], /^spa\.csp\.style-src\.0: is no keyword; those are 'self', /],
      ['script-src', ["'nonce-abc'"], /^spa\.csp\.script-src\.0: is a nonce that never changes.* use spa\.nonce$/],
      [
        'script-src',
        ['sha256-abc'],
        /^spa\.csp\.script-src\.0: must be a hash such as 'sha256-…', in quotation marks$/,
      ],
      ['img-src', ['https://a.test; script-src *'], /^spa\.csp\.img-src\.0: must be one source, without spaces/],
      ['img-src', ['https://a.test,https://b.test'], /^spa\.csp\.img-src\.0: must be one source/],
      ['report-uri', ['/r\r\nx: y'], /^spa\.csp\.report-uri\.0: must be one source/],
      ['img-src', ['https://a.test/x?y'], /^spa\.csp\.img-src\.0: must be a source such as .* without a query$/],
      ['img-src', ['https://'], /^spa\.csp\.img-src\.0: must be a source such as/],
      ['img-src', ['a.*.test'], /^spa\.csp\.img-src\.0: must be a source such as/],
      ['img-src', [], /^spa\.csp\.img-src: names no source/],
      ['font-src', ["'none'", 'data:'], /^spa\.csp\.font-src: must not name 'none' beside others$/],
      ['upgrade-insecure-requests', ['x'], /^spa\.csp\.upgrade-insecure-requests: takes no value/],
    ] as const
  ).map(
    ([directive, sources, reason]) =>
      [`${directive} ${sources.join(' ')} in the policy`, { spa: { csp: { [directive]: sources } } }, reason] as const,
  ),
  [
    'a policy that is added to and replaced',
    { spa: { csp: { 'img-src': ['*'] }, headers: { 'Content-Security-Policy': "default-src 'self'" } } },
    /^spa\.csp: has no effect beside spa\.headers\["Content-Security-Policy"\]/,
  ],
  [
    'a nonce without a policy',
    { spa: { nonce: '__CSP_NONCE__', headers: { 'content-security-policy': false } } },
    /^spa\.nonce: has no effect beside spa\.headers/,
  ],
  [
    'a placeholder in no document',
    { spa: { folder: 'spa', nonce: '__CSP_NONCE__' } },
    /^spa\.nonce: .*not in the folder/,
  ],
  ...['nonce', 'a"placeholder"', '<placeholder>', 'x'.repeat(65)].map(
    (nonce) =>
      [`the placeholder ${nonce}`, { spa: { nonce } }, /^spa\.nonce: must be 8 to 64 letters, digits or/] as const,
  ),
  ...['ngCspNonce', 'csp-nonce', 'CspNonce'].map(
    (nonce) => [`the placeholder ${nonce}`, { spa: { nonce } }, /^spa\.nonce: is the name of an attribute/] as const,
  ),
  ...(
    [
      ['no colour', { accentColor: 'red' }, /^pages\.accentColor: must be a colour such as "#1f5eff"/],
      ['half a colour', { accentColor: '#fff' }, /^pages\.accentColor: must be a colour/],
      ['a rule of CSS', { accentColor: '#1f5eff;}body{}' }, /^pages\.accentColor: must be a colour/],
      ['a long name', { appName: 'x'.repeat(61) }, /^pages\.appName: must have at most 60 characters/],
      ['a name of two lines', { appName: 'a\nb' }, /^pages\.appName: must be one line/],
      ['a name that turns what follows', { appName: 'a\u202eb' }, /^pages\.appName: must be one line/],
      ['no logo', { logoFile: 'nowhere.svg' }, /^pages\.logoFile: "\/.*nowhere\.svg" cannot be read \(ENOENT\)/],
      ['a folder as logo', { logoFile: 'empty' }, /^pages\.logoFile: .* cannot be read \(EISDIR\)/],
      ['a page as logo', { logoFile: 'spa/index.html' }, /^pages\.logoFile: .* is no SVG, PNG, JPEG or WebP image/],
      ['comments as logo', { logoFile: 'comments.svg' }, /^pages\.logoFile: .* is no SVG, PNG, JPEG or WebP image/],
      ['a document with a drawing as logo', { logoFile: 'drawing.html' }, /^pages\.logoFile: .* is no SVG, PNG/],
      ['a large logo', { logoFile: 'large.svg' }, /^pages\.logoFile: .* has 32779 bytes; a logo has at most 32768/],
      ['an unknown language', { language: 'pl' }, /^pages\.language: "pl" has no texts; .* choose one of de, en, es, /],
      ['no language', { language: 'german!' }, /^pages\.language: must be a language such as "de" or "pt-BR"/],
      ['texts of no language', { texts: { de_AT: {} } }, /^pages\.texts\.de_AT: must be a language/],
      ['a language in other letters', { texts: { 'DE-at': {} } }, /^pages\.texts\.DE-at: must be a language/],
      ['an unknown text', { texts: { de: { login: 'x' } } }, /^pages\.texts\.de\.login: is not a known key/],
      ['an unknown code', { texts: { de: { errors: { oops: {} } } } }, /^pages\.texts\.de\.errors\.oops: is not/],
      ['an empty text', { texts: { de: { signIn: '' } } }, /^pages\.texts\.de\.signIn: must not be empty/],
    ] as const
  ).map(([what, pages, fault]) => [`${what} for pages`, { pages }, fault] as const),
  [
    'a lifetime of nothing',
    { session: { lifetimeSeconds: 0 } },
    /^session\.lifetimeSeconds: must be at least 1 seconds/,
  ],
  ...['', 'a b', 'a;b', 'a=b', 'session.1', '__Host-x', '-x', 'x'.repeat(41), 'é'].map(
    (cookieName): [string, Record<string, unknown>, RegExp] => [
      `a cookie name of ${JSON.stringify(cookieName)}`,
      { session: { cookieName } },
      /^session\.cookieName: must be a word of at most 40/,
    ],
  ),
  ...['login', 'logout', 'Login-x'].map((cookieName): [string, Record<string, unknown>, RegExp] => [
    `the cookie name ${cookieName}`,
    { session: { cookieName } },
    /^session\.cookieName: is a name of another cookie/,
  ]),
  ['a lifetime for ever', { session: { lifetimeSeconds: 1e12 } }, /^session\.lifetimeSeconds: must be at most/],
  [
    'a lifetime in words',
    { session: { lifetimeSeconds: '8h' } },
    /^session\.lifetimeSeconds: must be a number of seconds/,
  ],
  ['a port that is none', { listen: { port: 65_536 } }, /^listen\.port: must be 0 to 65535/],
  [
    'a proxy that is no address',
    { trustedProxies: ['proxy.local'] },
    /^trustedProxies\.0: must be an IP address or a network/,
  ],
  [
    'a network that is none',
    { trustedProxies: ['10.0.0.0/33'] },
    /^trustedProxies\.0: must be an IP address or a network/,
  ],
  [
    'a claim that holds tokens of other servers',
    { session: { claims: ['realm_access', '_claim_sources'] } },
    /^session\.claims\.1: holds tokens, which no script may see/,
  ],
  ['a Redis of another scheme', { redisUrl: 'http://localhost:6379' }, /^redisUrl: must be a URL such as "redis:/],
  [
    'several Redis servers that nothing joins',
    { redisUrl: 'redis://10.0.0.1,10.0.0.2' },
    /^redisUrl: names several servers; write "redis\+sentinel:\/\/" or/,
  ],
  [
    'a prefix that would tie keys together',
    { store: { prefix: '{shop}:' } },
    /^store\.prefix: must be up to 64 letters/,
  ],
  [
    'an authority of Redis that is not there',
    { redisUrl: 'rediss://localhost', store: { caFile: '/nowhere/ca.pem' } },
    /^store\.caFile: the file "\/nowhere\/ca\.pem" does not exist/,
  ],
  [
    'an authority of a Redis without TLS',
    { redisUrl: 'redis+cluster://localhost', store: { caFile: 'spa/index.html' } },
    /^store\.caFile: is for an address with "rediss"/,
  ],
  ['a path that ends with a slash', { path: '/shop/' }, /^path: must be a path such as "\/shop"/],
  ['a path that climbs', { path: '/shop/..' }, /^path: must not hold "\." or "\.\." segments/],
  ['a base path without a slash', { basePath: 'bff' }, /^basePath: must be a path such as "\/bff"/],
  [
    'a sign-out that leads elsewhere',
    { logout: { returnTo: '//evil.test' } },
    /^logout\.returnTo: must be a path on the own origin/,
  ],
  [
    'a sign-out that leads back into the sign-out',
    { logout: { returnTo: '/bff/logout' } },
    /^logout\.returnTo: must be a page of the app.*"\/bff"/,
  ],
  [
    'a placeholder that the sign-out does not know',
    { logout: { params: { logout_uri: '{origin}/' } } },
    /^logout\.params\.logout_uri: has one placeholder only: "\{returnTo\}"/,
  ],
  [
    'back-channel logout for several machines, and nothing that they share',
    { logout: { backchannel: 'shared' } },
    /^logout\.backchannel: is "shared".*set SALLYPORT_REDIS_URL, or write true if there is one machine only/,
  ],
  [
    'back-channel logout in another word',
    { logout: { backchannel: 'everywhere' } },
    /^logout\.backchannel: must be true, false or "shared"/,
  ],
  [
    'a sign-in whose age is no number',
    { login: { params: { max_age: 'abc' } } },
    /^login\.params\.max_age: must be a whole number of seconds/,
  ],
  [
    'a sealing secret that stands twice',
    { secrets: [secret, `${secret}2`, secret] },
    /^secrets\.2: is the same as secrets\.0; keep one/,
  ],
  [
    'a wait for load balancers that is longer than the drain that it is a part of',
    { drainSeconds: 5, drain: { waitSeconds: 5.5 } },
    /^drain\.waitSeconds: must not be longer than drainSeconds \(5\)/,
  ],
  [
    'details without a type',
    { login: { authorizationDetails: [{ actions: ['read'] }] } },
    /^login\.authorizationDetails\.0\.type: /,
  ],
  [
    'signed requests without a key',
    { login: { requestObject: true } },
    /^login\.requestObject: needs a key to sign with: set SALLYPORT_CLIENT_KEY_FILE/,
  ],
  ['a push that is none of the three', { login: { pushed: true } }, /^login\.pushed: must be "auto", "required"/],
  ['a log level that is none', { logLevel: 'verbose' }, /^logLevel: must be debug, info/],
  ['a truth that is none', { csrf: { requireHeader: 'yes' } }, /^csrf\.requireHeader: must be true or false/],
];

describe('is refused:', () => {
  test.each(refusals)('%s', (_story, change, fault) => {
    expect(faultsOf({ ...minimal, ...change })).toEqual([expect.stringMatching(fault)]);
  });

  test.each(
    `client_id redirect_uri state nonce response_type scope code_challenge code_challenge_method request
    request_uri response_mode authorization_details dpop_jkt client_secret client_assertion
    client_assertion_type sub`.split(/\s+/),
  )('%s among the parameters of a login, which the flow itself sets', (name) => {
    const reason = 'is a parameter that Sallyport sets itself';
    expect(faultsOf({ ...minimal, login: { params: { audience: 'x', [name]: 'fixed' } } })).toEqual([
      expect.stringContaining(`login.params.${name}: ${reason}`),
    ]);
    expect(faultsOf({ ...minimal, login: { allowParams: ['audience', name] } })).toEqual([
      expect.stringContaining(`login.allowParams.1: ${reason}`),
    ]);
  });

  test.each(['client_id', 'id_token_hint', 'post_logout_redirect_uri', 'state'])(
    '%s among the parameters of a logout, which Sallyport sets itself',
    (name) => {
      expect(faultsOf({ ...minimal, logout: { params: { logout_hint: 'x', [name]: 'fixed' } } })).toEqual([
        expect.stringContaining(`logout.params.${name}: is a parameter that Sallyport sets itself`),
      ]);
    },
  );

  test.each(['abc', '-1', '+1', '1.5', '1e3', '0x10', ' 60', '60 ', '', 'Infinity', '60s', '9'.repeat(20)])(
    'max_age=%s with every login, which no sign-in could ever meet',
    (maxAge) => {
      expect(faultsOf({ ...minimal, login: { params: { max_age: maxAge } } })).toEqual([
        expect.stringMatching(/^login\.params\.max_age: must be a whole number of seconds/),
      ]);
    },
  );

  test.each(['none login', 'login none', 'consent none'])('prompt=%s, which every provider refuses', (prompt) => {
    expect(faultsOf({ ...minimal, login: { params: { prompt } } })).toEqual([
      expect.stringMatching(/^login\.params\.prompt: /),
    ]);
  });

  test.each([
    '/bff',
    '/bff/',
    '/bff?x',
    '/bff#x',
    '/bff/login',
    '/bff/logout?sid=x',
    '/%62ff/logout',
    '/bff%2flogout',
    '/./bff/logout',
    '/orders/../bff/logout',
    '/orders/%2e%2e/bff/logout',
    '/api',
    '/api/',
    '/api?x',
    '/api/orders',
    '/%61pi/orders',
    '/orders/../api/orders',
  ])('a sign-out that comes back to %s, which is no page of the app', (returnTo) => {
    const api = [{ path: '/api', target: 'http://localhost:1' }];
    expect(faultsOf({ ...minimal, api, logout: { returnTo } })).toEqual([
      expect.stringMatching(/^logout\.returnTo: must be a page of the app/),
    ]);
  });

  test('a sign-out that comes back below a base path or a route of another name', () => {
    const api = [{ path: '/orders/submit', target: 'http://localhost:1' }];
    for (const returnTo of ['/auth/logout', '/orders/submit', '/orders/submit/now']) {
      expect(faultsOf({ ...minimal, basePath: '/auth', api, logout: { returnTo } })).toHaveLength(1);
    }
    expect(faultsOf({ ...minimal, basePath: '/auth', api, logout: { returnTo: '/bff/logout' } })).toEqual([]);
  });

  test('all faults at once, each once', () => {
    const independent = refusals.filter(([, change]) => Object.keys(change).length === 1);
    const merged: Record<string, unknown> = {};
    const expected: RegExp[] = [];
    for (const [, change, fault] of independent) {
      const [[key, value] = ['', undefined]] = Object.entries(change);
      if (key in merged) continue;
      merged[key] = value;
      expected.push(fault);
    }
    const faults = faultsOf({ ...minimal, ...merged });
    expect(expected.length).toBeGreaterThan(15);
    expect(faults).toHaveLength(expected.length);
    for (const fault of expected) expect(faults).toContainEqual(expect.stringMatching(fault));
  });

  test('whatever isn’t what it should be, with a fault for every required key and never another error', () => {
    for (const value of [null, 1, true, 'text', [], {}, Number.NaN, () => undefined]) {
      const keys = configKeys().map(({ path }) => path.split(/[.[]/)[0] ?? '');
      for (const key of new Set(keys)) {
        const faults = faultsOf({ ...minimal, [key]: value });
        expect(faults.every((fault) => fault.startsWith(key))).toBe(true);
      }
    }
    expect(faultsOf({})).toHaveLength(4);
  });

  test('in words that hold no secret', async () => {
    const canaries = {
      ...minimalEnv,
      SALLYPORT_SECRET: 'canary-short,change-me-canary-change-me-canary-x',
      SALLYPORT_ISSUER: 'https://user:canary@login.example.com',
      SALLYPORT_API: '/api=http://user:canary@localhost /bff=http://localhost:1',
      SALLYPORT_REDIS_URL: 'http://:canary@localhost',
    };
    const message = await messageOf(canaries);
    expect(message.split('\n').length).toBeGreaterThan(5);
    expect(message).not.toContain('canary');
  });
});

describe('is accepted:', () => {
  test('the least there can be, with every default', () => {
    const config = resolveConfig(minimal);
    expect(config).toMatchObject({
      secure: true,
      listen: { host: '0.0.0.0', port: 3000, opsPort: undefined },
      scope: undefined,
      session: {
        mode: 'cookie',
        cookieName: 'session',
        lifetimeSeconds: 28_800,
        idleSeconds: 0,
        cacheMegabytes: 512,
        claims: [],
      },
      refresh: { beforeSeconds: 30, graceSeconds: 60 },
      login: { lifetimeSeconds: 600 },
      upstream: { timeoutSeconds: 60, maxBodyBytes: 0, replayBytes: 65_536, dropHeaders: [] },
      csrf: { requireHeader: false },
      path: '',
      home: '/',
      basePath: '/bff',
      logout: { returnTo: '/', params: {}, idTokenHint: true, backchannel: true, frontchannel: false },
      drainSeconds: 25,
      drain: { waitSeconds: 5 },
      logLevel: 'info',
      trustedProxies: [],
      api: [],
      pages: { accentColor: '#1f5eff', language: 'en', texts: {}, logoUrl: undefined },
      spa: undefined,
    });
  });

  test.each([
    ['logo.svg', '<?xml version="1.0"?>\n<!-- a mark -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml'],
    [
      'logo.svg',
      '\uFEFF<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd" [\n<!ENTITY a "b">\n]>\n<svg/>',
      'image/svg+xml',
    ],
    // By what it is, not by its name.
    ['logo.svg', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0]), 'image/png'],
    ['logo', Buffer.from([0xff, 0xd8, 0xff, 0xe0]), 'image/jpeg'],
    ['logo.png', 'RIFF\x00\x00\x00\x00WEBPVP8 ', 'image/webp'],
  ])('a logo beside the file, %s (%#)', async (name, content, mediaType) => {
    await mkdir(join(folder, 'config'), { recursive: true });
    await writeFile(join(folder, 'config', name), content);
    const file = await fileOf('config/app.json', JSON.stringify({ ...minimal, pages: { logoFile: name } }));
    const { logoUrl } = (await loaded({}, file)).pages;
    expect(logoUrl).toBe(`data:${mediaType};base64,${Buffer.from(content).toString('base64')}`);
  });

  test.each([
    ['http://localhost:8080', '127.0.0.1', 8080],
    ['http://127.0.0.1:8080', '127.0.0.1', 8080],
    ['http://[::1]:8080', '127.0.0.1', 8080],
    ['http://app.localhost:8080', '127.0.0.1', 8080],
    ['http://one.app.localhost:8080', '127.0.0.1', 8080],
    ['http://localhost', '127.0.0.1', 80],
    ['https://localhost', '127.0.0.1', 443],
    ['https://app.example.com:8443', '0.0.0.0', 3000],
  ])('the origin %s, which listens on %s:%i', (origin, host, port) => {
    expect(resolveConfig({ ...minimal, origin }).listen).toMatchObject({ host, port });
  });

  test.each([
    ['http://localhost:8080', {}, 0],
    ['https://app.example.com', {}, 5],
    ['https://app.example.com', { drainSeconds: 1 }, 0.2],
    ['https://app.example.com', { drain: { waitSeconds: 25 } }, 25],
    ['http://localhost:8080', { drain: { waitSeconds: 3 } }, 3],
  ])('the origin %s, where a server that stops with %j waits for load balancers for %d s', (origin, change, wait) => {
    expect(resolveConfig({ ...minimal, origin, ...change }).drain.waitSeconds).toBe(wait);
  });

  test('an http issuer on loopback, and elsewhere only by a symbol that no file and no variable can spell', async () => {
    const issuer = 'http://login.example.com';
    expect(faultsOf({ ...minimal, issuer: 'http://localhost:8080/realms/x' })).toEqual([]);
    expect(resolveConfig({ ...minimal, issuer, [dangerouslyAllowHttpIssuer]: true }).issuer).toBe(issuer);
    expect(faultsOf({ ...minimal, issuer, [dangerouslyAllowHttpIssuer]: 'yes' })).toHaveLength(1);
    const names = ['dangerouslyAllowHttpIssuer', 'Symbol(dangerouslyAllowHttpIssuer)', '@@dangerouslyAllowHttpIssuer'];
    for (const name of names) {
      expect(faultsOf({ ...minimal, issuer, [name]: true })).toHaveLength(2);
      const file = await fileOf('dangerous.json', JSON.stringify({ ...minimal, issuer, [name]: true }));
      expect(await messageOf({}, file)).toContain('issuer: must be https');
    }
    const env = { ...minimalEnv, SALLYPORT_ISSUER: issuer, SALLYPORT_DANGEROUSLY_ALLOW_HTTP_ISSUER: 'true' };
    expect(await messageOf(env)).toContain('must be https');
    const source = new URL('../../src/config/config.ts', import.meta.url).href;
    const code = `import { dangerouslyAllowHttpIssuer } from '${source}';
      export default { ...${JSON.stringify({ ...minimal, issuer })}, [dangerouslyAllowHttpIssuer]: true };`;
    expect((await loaded({}, await fileOf('dangerous.config.ts', code))).issuer).toBe(issuer);
  });

  test('an address after sign-out, in the parameters that a provider wants it in', () => {
    const logout = { returnTo: '/bye?$&=1', params: { logout_uri: '{returnTo}', both: '{returnTo},{returnTo}' } };
    const address = 'https://app.example.com/shop/bye?$&=1';
    expect(resolveConfig({ ...minimal, path: '/shop', logout }).logout.params).toEqual({
      logout_uri: address,
      both: `${address},${address}`,
    });
  });

  test.each([
    '/',
    '/goodbye?x=1',
    '/?signed-out#top',
    '/bffs',
    '/api-docs',
    '/apis',
    '/orders/api',
    '/x?then=/bff/logout',
  ])('a sign-out that comes back to %s', (returnTo) => {
    const api = [{ path: '/api', target: 'http://localhost:1' }];
    expect(resolveConfig({ ...minimal, api, logout: { returnTo } }).logout.returnTo).toBe(returnTo);
  });

  test.each([{ max_age: '0' }, { max_age: '86400' }, { prompt: 'login' }, { prompt: 'consent select_account' }])(
    '%o with every login',
    (params) => {
      expect(faultsOf({ ...minimal, login: { params } })).toEqual([]);
    },
  );

  test('a route, with every default', () => {
    const [route] = resolveConfig({ ...minimal, api: [{ path: '/api', target: 'http://localhost:1' }] }).api;
    expect(route).toEqual({
      path: '/api',
      target: new URL('http://localhost:1/'),
      token: 'session',
      methods: new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY']),
      timeoutSeconds: 60,
      connectTimeoutSeconds: 10,
      idleTimeoutSeconds: 0,
      maxConcurrent: 0,
      maxBodyBytes: 0,
      replayBytes: 65_536,
      navigations: false,
      websocket: true,
      websocketTokenProtocol: undefined,
      allowEncodedSlashes: false,
      preserveHost: false,
      cookies: [],
      dropHeaders: [],
      keepHeaders: [],
      caFile: undefined,
      socketPath: undefined,
    });
  });

  test('an SPA, with every default', () => {
    expect(resolveConfig({ ...minimal, spa: { folder: 'spa' } }).spa).toEqual({
      folder: 'spa',
      requireLogin: false,
      sourceMaps: false,
      symlinks: false,
      csp: {},
      headers: {},
    });
  });

  test('routes inside one another: the longest is asked first', () => {
    const paths = ['/api', '/api/admin/users', '/apis', '/api/admin'];
    const config = resolveConfig({ ...minimal, api: paths.map((path) => ({ path, target: 'http://localhost:1' })) });
    expect(config.api.map(({ path }) => path)).toEqual(['/api/admin/users', '/api/admin', '/apis', '/api']);
  });
});

describe('variables', () => {
  test('alone are enough', async () => {
    const config = await loaded({
      ...minimalEnv,
      SALLYPORT_API: ' /api=http://127.0.0.1:9100/v1\n/files=https://files.example.com/?'.replace('?', ''),
      SALLYPORT_SPA: 'spa',
      SALLYPORT_TRUSTED_PROXIES: '10.0.0.0/8, ::1',
      SALLYPORT_SECRET: `${secret}, ${secret}2`,
      SALLYPORT_LOGIN_PARAMS: 'audience=https%3A%2F%2Fapi&prompt=login',
      SALLYPORT_LOGOUT_PARAMS: 'logout_uri={returnTo}&ui_locales=de%20en',
      SALLYPORT_LOGOUT_ID_TOKEN_HINT: 'false',
      SALLYPORT_LOGOUT_BACKCHANNEL: 'shared',
      SALLYPORT_LOGOUT_FRONTCHANNEL: 'true',
      SALLYPORT_REDIS_URL: 'redis://127.0.0.1:6379',
      SALLYPORT_LOGIN_LIFETIME: '1800',
      SALLYPORT_SESSION_CLAIMS: 'realm_access, https://app.example.com/roles',
      SALLYPORT_CSRF_REQUIRE_HEADER: 'true',
      SALLYPORT_UPSTREAM_TIMEOUT: '2.5',
      SALLYPORT_DROP_HEADERS: 'X-Acme-User, X-Acme-Role-*',
      SALLYPORT_DRAIN: '50',
      SALLYPORT_DRAIN_WAIT: '12.5',
    });
    expect(config).toMatchObject({
      client: { id: 'app', secret: 'client-secret' },
      secrets: [secret, `${secret}2`],
      spa: { folder: 'spa' },
      trustedProxies: ['10.0.0.0/8', '::1'],
      login: { params: { audience: 'https://api', prompt: 'login' }, lifetimeSeconds: 1800 },
      logout: {
        params: { logout_uri: 'https://app.example.com/', ui_locales: 'de en' },
        idTokenHint: false,
        backchannel: 'shared',
        frontchannel: true,
      },
      session: { claims: ['realm_access', 'https://app.example.com/roles'] },
      csrf: { requireHeader: true },
      upstream: { timeoutSeconds: 2.5, dropHeaders: ['X-Acme-User', 'X-Acme-Role-*'] },
      drainSeconds: 50,
      drain: { waitSeconds: 12.5 },
    });
    expect(config.api.map(({ path, target }) => [path, target.href])).toEqual([
      ['/files', 'https://files.example.com/'],
      ['/api', 'http://127.0.0.1:9100/v1'],
    ]);
  });

  test('hold a policy in its own form', async () => {
    const { spa } = await loaded({
      ...minimalEnv,
      SALLYPORT_SPA_CSP:
        'connect-src https://maps.example.com wss://maps.example.com; IMG-SRC https://*.tile.example.org;; ' +
        "style-src 'unsafe-inline';img-src https://b.test:* ; upgrade-insecure-requests;",
      SALLYPORT_SPA_NONCE: '__CSP_NONCE__',
    });
    expect(spa?.csp).toEqual({
      'connect-src': ['https://maps.example.com', 'wss://maps.example.com'],
      'img-src': ['https://*.tile.example.org', 'https://b.test:*'],
      'style-src': ["'unsafe-inline'"],
      'upgrade-insecure-requests': [],
    });
    expect(spa?.nonce).toBe('__CSP_NONCE__');
    expect(await messageOf({ ...minimalEnv, SALLYPORT_SPA_CSP: 'connect-src self' })).toContain(
      "SALLYPORT_SPA_CSP (spa.csp.connect-src.0): must be written 'self'",
    );
  });

  test('stand over the file, and the rest of the file stays', async () => {
    const file = await fileOf(
      'over.json',
      JSON.stringify({
        ...minimal,
        session: { lifetimeSeconds: 60, idleSeconds: 30 },
        spa: { devServer: 'http://localhost:5173', requireLogin: true, headers: { 'x-frame-options': false } },
      }),
    );
    const config = await loaded(
      { SALLYPORT_SESSION_LIFETIME: '120', SALLYPORT_CLIENT_ID: 'other', SALLYPORT_SPA: 'spa' },
      file,
    );
    expect(config.session).toMatchObject({ lifetimeSeconds: 120, idleSeconds: 30 });
    expect(config.client).toMatchObject({ id: 'other', secret: 'client-secret' });
    expect(config.spa).toMatchObject({ folder: 'spa', requireLogin: true, headers: { 'x-frame-options': false } });
    expect(config.spa?.devServer).toBeUndefined();
  });

  test('that are empty count as unset', async () => {
    const empty = Object.fromEntries(variables.map(({ name }) => [name, '']));
    expect(await loaded({ ...empty, ...minimalEnv })).toEqual(await loaded(minimalEnv));
  });

  test('each have a key of the schema, and each scalar of the schema has a variable', () => {
    const keys = configKeys();
    const known = new Set([...keys.map(({ path }) => path), 'spa']);
    expect(variables.filter(({ path }) => !known.has(path)).map(({ name }) => name)).toEqual([]);
    expect(new Set(variables.map(({ name }) => name)).size).toBe(variables.length);
    const given = new Set(variables.map(({ path }) => path));
    // In the file only: what is about one route, the texts of pages, and the finer points of hosting the SPA (whose source
    // is one variable).
    const withoutVariable = keys.map(({ path }) => path).filter((path) => !given.has(path) && !path.includes('[]'));
    expect(withoutVariable).toEqual(expect.arrayContaining(['spa.folder', 'spa.devServer', 'spa.headers']));
    const others = withoutVariable.filter((path) => !path.startsWith('spa.') && !path.startsWith('upstream.'));
    expect(others).toEqual(['pages.texts']);
  });

  test('name themselves in a fault', async () => {
    const message = await messageOf({ ...minimalEnv, SALLYPORT_PORT: 'eighty', SALLYPORT_SECRET: 'short' });
    expect(message).toContain('SALLYPORT_PORT (listen.port): must be a port number');
    expect(message).toContain('SALLYPORT_SECRET (secrets.0): is too short');
    expect(message).toMatch(/^The configuration has 2 faults:\n {2}- /);
  });

  test('that are secret come from a file as well: trimmed, one of the two, and readable', async () => {
    const file = await fileOf('secret', ` ${secret}\n`);
    const { SALLYPORT_SECRET: _, ...others } = minimalEnv;
    expect((await loaded({ ...others, SALLYPORT_SECRET_FILE: file })).secrets).toEqual([secret]);
    for (const { name } of variables.filter((variable) => variable.secret)) {
      const both = await messageOf({ ...minimalEnv, [name]: secret, [`${name}_FILE`]: file });
      expect(both).toContain(`${name} and ${name}_FILE are both set; keep one`);
    }
    const missing = await messageOf({ ...others, SALLYPORT_SECRET_FILE: '/nowhere/secret' });
    expect(missing).toContain('SALLYPORT_SECRET_FILE names "/nowhere/secret", which cannot be read');
    const names = variables.filter((variable) => variable.secret).map(({ name }) => name);
    expect(names).toEqual([
      'SALLYPORT_OPS_TOKEN',
      'SALLYPORT_CLIENT_SECRET',
      'SALLYPORT_SECRET',
      'SALLYPORT_REDIS_URL',
    ]);
  });

  test('that nobody knows are warned of with the nearest known one, not their value', async () => {
    const { warnings } = await loadConfig(undefined, {
      ...minimalEnv,
      SALLYPORT_SESION_LIFETIME: 'canary',
      SALLYPORT_CLIENT_SECRETS: 'canary',
      SALLYPORT_API_URL: 'canary',
      OTHER: 'x',
    });
    expect(warnings).toEqual([
      'SALLYPORT_SESION_LIFETIME is not a known variable and was ignored; did you mean SALLYPORT_SESSION_LIFETIME?',
      'SALLYPORT_CLIENT_SECRETS is not a known variable and was ignored; did you mean SALLYPORT_CLIENT_SECRET?',
      expect.stringMatching(/^SALLYPORT_API_URL is not a known variable/),
    ]);
  });

  test('that Kubernetes makes for a service called sallyport are ignored', async () => {
    const kubernetes = {
      SALLYPORT_PORT: 'tcp://10.0.0.7:3000',
      SALLYPORT_SERVICE_HOST: '10.0.0.7',
      SALLYPORT_SERVICE_PORT: '3000',
      SALLYPORT_SERVICE_PORT_HTTP: '3000',
      SALLYPORT_PORT_3000_TCP: 'tcp://10.0.0.7:3000',
      SALLYPORT_PORT_3000_TCP_PROTO: 'tcp',
      SALLYPORT_PORT_3000_TCP_PORT: '3000',
      SALLYPORT_PORT_3000_TCP_ADDR: '10.0.0.7',
      SALLYPORT_PORT_53_UDP: 'udp://10.0.0.7:53',
    };
    const { config, warnings } = await loadConfig(undefined, { ...minimalEnv, ...kubernetes });
    expect([config.listen.port, warnings]).toEqual([3000, []]);
  });

  test('that send tokens over plain http off loopback are warned of', async () => {
    const api =
      '/api=http://orders.internal/v1 /local=http://127.0.0.1:9100 /name=http://api.localhost:1 /safe=https://api.example.com ' +
      '/alike=http://localhost.example.com';
    const { warnings } = await loadConfig(undefined, { ...minimalEnv, SALLYPORT_API: api });
    expect(warnings).toEqual([
      expect.stringMatching(/^The route \/alike sends access tokens over plain http to localhost\.example\.com/),
      expect.stringMatching(/^The route \/api sends access tokens over plain http to orders\.internal/),
    ]);
  });
});

describe('files', () => {
  test('a policy that lets injected scripts run', async () => {
    expect(
      await warningsOfPolicy("script-src 'unsafe-inline' https://cdn.test https:; script-src-attr 'unsafe-hashes'"),
    ).toEqual([
      expect.stringContaining("lets injected scripts run (spa.csp: script-src 'unsafe-inline' https:)"),
      expect.stringContaining("(spa.csp: script-src-attr 'unsafe-hashes')"),
    ]);
    expect(await warningsOfPolicy("script-src 'unsafe-eval'")).toHaveLength(1);
    expect(
      await warningsOfPolicy("style-src 'unsafe-inline'; script-src https://cdn.test 'wasm-unsafe-eval'; img-src *"),
    ).toEqual([]);
  });

  test('in TypeScript, JavaScript and JSON say the same', async () => {
    const code = `export default ${JSON.stringify(minimal)}`;
    const paths = [
      await fileOf('a.config.ts', `${code} as { origin: string };`),
      await fileOf('a.config.mjs', `${code};`),
      await fileOf('a.config.json', JSON.stringify(minimal)),
    ];
    for (const path of paths) expect(await loaded({}, path)).toEqual(resolveConfig(minimal));
    expect(defineConfig(minimal)).toBe(minimal);
  });

  test('are found by their name in the working directory', async () => {
    await writeFile('sallyport.config.json', JSON.stringify({ ...minimal, basePath: '/found' }));
    expect((await loaded({})).basePath).toBe('/found');
    await rm('sallyport.config.json');
  });

  test.each([
    ['that isn’t there', 'nowhere.json', undefined, /the file ".*nowhere\.json" does not exist/],
    ['that isn’t JSON', 'broken.json', '{"origin":', /broken\.json" is not JSON: Unexpected end of JSON input/],
    ['that holds a list', 'list.json', '[]', /must hold one object/],
    ['that holds null', 'null.json', 'null', /must hold one object/],
    [
      'without a default export',
      'named.mjs',
      'export const config = {};',
      /must hold one object; in code: export default/,
    ],
  ])('%s: said so', async (_story, name, content, message) => {
    const path = content === undefined ? join(folder, name) : await fileOf(name, content);
    expect(await messageOf(minimalEnv, path)).toMatch(message);
  });

  test('can’t put keys where none are looked for', async () => {
    const content = JSON.stringify(minimal).replace('{', '{"__proto__":{"basePath":"/evil"},');
    expect(await messageOf({}, await fileOf('proto.json', content))).toContain('__proto__: is not a known key');
  });
});

test('the JSON Schema describes every key', () => {
  const schema = JSON.stringify(configJsonSchema());
  for (const { path, description } of configKeys()) {
    expect(schema).toContain(JSON.stringify(path.split('.').at(-1)?.replace('[]', '')));
    expect(description.length).toBeGreaterThan(10);
  }
});
