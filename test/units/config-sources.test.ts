/**
 * Where the configuration comes from, and how faults of it are told: each once, with what was probably meant, and never
 * with a value.
 */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { ConfigError } from '../../src/config/faults.ts';
import { configJsonSchema } from '../../src/config/reference.ts';
import { loadConfig } from '../../src/config/sources.ts';
import { variables } from '../../src/config/variables.ts';

const secret = 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u';
const complete = {
  SALLYPORT_ORIGIN: 'https://app.example.com',
  SALLYPORT_ISSUER: 'https://login.example.com',
  SALLYPORT_CLIENT_ID: 'app',
  SALLYPORT_CLIENT_SECRET: 'client-secret',
  SALLYPORT_SECRET: secret,
};
const inFile = {
  origin: 'https://app.example.com',
  issuer: 'https://login.example.com',
  client: { id: 'app', secret: 'client-secret' },
  secrets: [secret],
};

let folder: string;
let startedIn: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-sources-'));
  startedIn = process.cwd();
  process.chdir(folder);
});

afterEach(async () => {
  process.chdir(startedIn);
  await rm(folder, { recursive: true });
});

type Variables = Readonly<Record<string, string>>;

/** The lines of a fault's message without the first, which counts them. */
async function faultsOf(env: Variables, file?: string): Promise<string[]> {
  const error: unknown = await loadConfig(file, env).catch((thrown: unknown) => thrown);
  if (!(error instanceof ConfigError)) throw new Error(`no ConfigError but ${String(error)}`);
  const [, ...lines] = error.message.split('\n');
  return lines;
}

function without(...names: ReadonlyArray<keyof typeof complete>): Variables {
  return Object.fromEntries(
    Object.entries(complete).filter(([name]) => !names.includes(name as keyof typeof complete)),
  );
}

describe('a misspelt variable is named together with what is missing for it:', () => {
  test.each([
    ['SALLYPORT_ISSUR', 'SALLYPORT_ISSUER', 'issuer'],
    ['SALLYPORT_CLIENTID', 'SALLYPORT_CLIENT_ID', 'client.id'],
    ['SALLYPORT_CLIENT_SECRET_FIEL', 'SALLYPORT_CLIENT_SECRET_FILE', 'client.secret'],
    ['SALLPORT_ISSUER', 'SALLYPORT_ISSUER', 'issuer'],
    ['sallyport_origin', 'SALLYPORT_ORIGIN', 'origin'],
    ['SALLYPORT_SECRETS', 'SALLYPORT_SECRET', 'secrets'],
  ])('%s', async (name, meant, path) => {
    const known = meant.replace('_FILE', '') as keyof typeof complete;
    const [missing, ...more] = await faultsOf({ ...without(known), [name]: 'canary' });
    expect(missing).toMatch(`  - ${path}: is missing: `);
    expect(more).toEqual([
      'This may be why:',
      `  - ${name} is not a known variable and was ignored; did you mean ${meant}?`,
    ]);
  });

  test('nothing is said of variables that are nobody’s mistake', async () => {
    const others = {
      SALLYPORTS_PORT: 'tcp://10.0.0.1:80',
      SALLYPORTS_SERVICE_HOST: 'x',
      MY_ISSUER: 'x',
      SALLY_API: 'x',
    };
    expect((await loadConfig(undefined, { ...complete, ...others })).warnings).toEqual([]);
    expect(await faultsOf({ ...without('SALLYPORT_ISSUER'), ...others })).toHaveLength(1);
  });
});

describe('an unknown key', () => {
  test.each<readonly [key: string, content: Record<string, unknown>, meant: string]>([
    ['orgin', { orgin: 'x' }, 'origin'],
    ['secret', { secret: 'x' }, 'secrets'],
    ['client.sceret', { client: { ...inFile.client, sceret: 'x' } }, 'client.secret'],
    ['client.clientId', { client: { ...inFile.client, clientId: 'x' } }, 'client.id'],
    ['clientSecret', { clientSecret: 'x' }, 'client.secret'],
    ['port', { port: 3000 }, 'listen.port'],
    ['idleSeconds', { idleSeconds: 1 }, 'session.idleSeconds'],
    ['redis', { redis: 'x' }, 'redisUrl'],
    ['discovery_url', { discovery_url: 'x' }, 'discoveryUrl'],
    ['session.idle', { session: { idle: 1 } }, 'session.idleSeconds'],
    ['api.0.timeout', { api: [{ path: '/api', target: 'http://localhost:1', timeout: 1 }] }, 'api[].timeoutSeconds'],
    ['api.0.targte', { api: [{ path: '/api', target: 'http://localhost:1', targte: 1 }] }, 'api[].target'],
  ])('%s is told with what was meant', async (key, content, meant) => {
    await writeFile('a.json', JSON.stringify({ ...inFile, ...content }));
    expect(await faultsOf({}, 'a.json')).toEqual([`  - ${key}: is not a known key: did you mean "${meant}"?`]);
  });

  test.each(['colour', '__proto__', 'constructor', '', 'x', '0'])(
    '%j, which resembles none, is told as before',
    async (key) => {
      await writeFile('a.json', JSON.stringify(inFile).replace('{', `{${JSON.stringify(key)}: 1,`));
      expect(await faultsOf({}, 'a.json')).toEqual([expect.stringMatching(/is not a known key; remove it or correct/)]);
    },
  );
});

describe('one mistake is one fault:', () => {
  const secrets = variables.filter((variable) => variable.secret).map(({ name }) => name);

  test.each(secrets)('%s beside its _FILE, whatever either holds', async (name) => {
    await writeFile('secret', secret);
    for (const value of [secret, 'short']) {
      for (const file of ['secret', '/nowhere/secret']) {
        const faults = await faultsOf({ ...complete, [name]: value, [`${name}_FILE`]: file });
        expect(faults).toEqual([expect.stringContaining(`${name} and ${name}_FILE are both set; keep one`)]);
      }
    }
  });

  test('a _FILE that cannot be read', async () => {
    for (const name of ['SALLYPORT_CLIENT_SECRET', 'SALLYPORT_SECRET'] as const) {
      expect(await faultsOf({ ...without(name), [`${name}_FILE`]: '/nowhere/x' })).toEqual([
        expect.stringMatching(new RegExp(`${name}_FILE names "/nowhere/x", which cannot be read; correct the path`)),
      ]);
    }
    const alone = {
      ...without('SALLYPORT_CLIENT_SECRET', 'SALLYPORT_CLIENT_ID'),
      SALLYPORT_CLIENT_SECRET_FILE: '/x/y',
    };
    const [unreadable, id, ...more] = await faultsOf(alone);
    expect([unreadable, id]).toEqual([
      expect.stringContaining('which cannot be read'),
      expect.stringMatching(/^ {2}- client\.id: is missing/),
    ]);
    expect(more).toEqual([]);
  });

  test('a _FILE whose content is wrong, under its own name', async () => {
    await writeFile('empty', ' \n');
    for (const name of ['SALLYPORT_CLIENT_SECRET', 'SALLYPORT_SECRET'] as const) {
      expect(await faultsOf({ ...without(name), [`${name}_FILE`]: 'empty' })).toEqual([
        expect.stringMatching(new RegExp(`^ {2}- ${name}_FILE \\([\\w.]+\\): must`)),
      ]);
    }
  });

  test.each(['', 'a', 'aaaa', 'change-me', '<your-secret>', 'x1y2z3w4'])('the short secret %j', async (value) => {
    await writeFile('a.json', JSON.stringify({ ...inFile, secrets: [value] }));
    expect(await faultsOf({}, 'a.json')).toEqual([expect.stringMatching(/^ {2}- secrets\.0: is too short/)]);
  });

  test('every value that breaks several rules of its key', async () => {
    const empty = { path: '', target: '', methods: [''], caFile: '', socketPath: '' };
    const content = { ...inFile, scope: '', redisUrl: '', basePath: '', api: [empty], logout: { returnTo: '' } };
    await writeFile('a.json', JSON.stringify(content));
    const places = (await faultsOf({}, 'a.json')).map((line) => line.split(': ')[0]);
    expect(places.length).toBeGreaterThan(7);
    expect(places).toEqual([...new Set(places)]);
  });
});

describe('routes in SALLYPORT_API', () => {
  const form = '"/api=http://127.0.0.1:9100/v1"';

  test.each([
    ['separated by a comma', '/api=http://a:1,/files=http://b:2', /separated by a comma/],
    ['separated by a comma behind a path', '/api=http://a/v1,/files=http://b', /separated by a comma/],
    ['separated by a comma and a space', '/api=http://a:1, /files=http://b:2', /separated by a comma/],
    ['separated by a semicolon', '/api=http://a/v1;/files=http://b', /separated by a comma/],
    ['without a prefix', 'http://127.0.0.1:9100/v1', /without a prefix/],
    ['without a prefix, with a query', 'http://127.0.0.1:9100/?a=b', /without a prefix/],
    ['without an address', '/api', /is not a list of routes/],
    ['without an address behind the sign', '/api=', /is not a list of routes/],
    ['with spaces around the sign', '/api = http://a:1', /without a prefix/],
    ['without the first slash', 'api=http://a:1', /is not a list of routes/],
    ['in quotation marks', '"/api=http://a:1"', /is not a list of routes/],
    ['in JSON', '[{"path":"/api","target":"http://a:1"}]', /is not a list of routes/],
  ])('%s: one fault, which shows the form', async (_story, value, told) => {
    const [fault, ...more] = await faultsOf({ ...complete, SALLYPORT_API: value });
    expect(fault).toMatch(/^ {2}- SALLYPORT_API \(api\): /);
    expect(fault).toMatch(told);
    expect(fault).toContain(form);
    expect(more).toEqual([]);
  });

  test.each([
    '/api=http://a/v1,2',
    '/api=http://a/x;y=z',
    '/api=http://a/v=1\n\t/files=https://b.test/',
    '  /api=http://127.0.0.1:9100/v1  ',
  ])('%j are taken', async (value) => {
    const { config } = await loadConfig(undefined, { ...complete, SALLYPORT_API: value });
    expect(config.api.length).toBe(value.trim().split(/\s+/).length);
  });

  test('whose address lacks its scheme are told so', async () => {
    for (const target of ['localhost:9100', '127.0.0.1:9100/v1', 'orders:9100', 'api.example.com', '[::1]:80']) {
      const faults = await faultsOf({ ...complete, SALLYPORT_API: `/api=${target}` });
      expect(faults).toHaveLength(1);
      expect(faults[0]).toMatch(/^ {2}- SALLYPORT_API \(api\.0\.target\): must be the address of the API/);
      expect(faults[0]).toMatch(/; begin it with "http:\/\/" or "https:\/\/"$/);
    }
  });
});

test.each([
  ['SALLYPORT_ORIGIN', 'localhost:3000'],
  ['SALLYPORT_ORIGIN', 'app.example.com'],
  ['SALLYPORT_ISSUER', 'login.example.com/realms/x'],
  ['SALLYPORT_DISCOVERY_URL', 'keycloak:8080/realms/x'],
])('%s=%s lacks its scheme, and is told so', async (name, value) => {
  const faults = await faultsOf({ ...complete, [name]: value });
  expect(faults).toEqual([expect.stringMatching(/; begin it with "http:\/\/" or "https:\/\/"$/)]);
});

const spaFault = async (value: string) => (await faultsOf({ ...complete, SALLYPORT_SPA: value })).join('\n');
const script = (source: string) =>
  `<!doctype html><div id="root"></div><script type="module" src="${source}"></script>`;

describe('SALLYPORT_SPA', () => {
  test.each(['localhost:5173', '127.0.0.1:5173', '[::1]:5173', 'vite.test:5173'])(
    '%s, a dev server without its scheme',
    async (value) => {
      expect(await spaFault(value)).toContain(`"http://${value}"`);
    },
  );

  test('a dev server without its scheme in a file', async () => {
    await writeFile('a.json', JSON.stringify({ ...inFile, spa: { folder: 'localhost:5173' } }));
    expect(await faultsOf({}, 'a.json')).toEqual([
      expect.stringMatching(/^ {2}- spa\.folder: .*"http:\/\/localhost:5173", as SALLYPORT_SPA or spa\.devServer$/),
    ]);
  });

  const sources: ReadonlyArray<readonly [story: string, files: Readonly<Record<string, string>>, told: RegExp]> = [
    ['of Vite and React', { 'package.json': '{}', 'index.html': script('/src/main.tsx') }, /loads \/src\/main\.tsx/],
    ['of Vite and Vue', { 'package.json': '{}', 'index.html': script('/src/main.ts') }, /loads \/src\/main\.ts/],
    [
      'of Vite without types',
      { 'package.json': '{}', 'index.html': script('./src/main.js') },
      /loads \.\/src\/main\.js/,
    ],
    ['of Parcel', { 'index.html': "<script type=module src='app.jsx'></script>" }, /loads app\.jsx/],
    ['of Angular', { 'index.html': '<app-root></app-root>', 'main.ts': '' }, /holds main\.ts/],
    ['of Create React App', { 'index.html': '<link href="%PUBLIC_URL%/x.ico">' }, /placeholder %PUBLIC_URL%/],
    ['of Vue CLI', { 'index.html': '<link href="<%= BASE_URL %>x.ico">' }, /placeholder <%= BASE_URL/],
    ['of SvelteKit', { 'index.html': '<head>%sveltekit.head%</head>' }, /placeholder %sveltekit\.head%/],
  ];

  test.each(sources)('the source folder %s is no build', async (_story, files, told) => {
    await mkdir('app');
    for (const [name, content] of Object.entries(files)) await writeFile(join('app', name), content);
    const fault = await spaFault('app');
    expect(fault).toMatch(/holds the source of an app, not its build/);
    expect(fault).toMatch(told);
    expect(fault.split('\n')).toHaveLength(1);
  });

  test('where the build lies beside the source, it is named', async () => {
    await mkdir('app/dist', { recursive: true });
    await writeFile('app/package.json', '{}');
    await writeFile('app/index.html', script('/src/main.tsx'));
    await writeFile('app/dist/index.html', script('/assets/index-1.js'));
    expect(await spaFault('app')).toContain(`name "${join(folder, 'app/dist')}"; to develop, name the dev server`);
    expect((await loadConfig(undefined, { ...complete, SALLYPORT_SPA: 'app/dist' })).config.spa?.folder).toBe(
      'app/dist',
    );

    await mkdir('shop/dist/shop/browser', { recursive: true });
    await writeFile('shop/dist/shop/browser/index.html', script('main-1.js'));
    for (const path of ['shop', 'shop/dist']) {
      expect(await spaFault(path)).toContain(`holds no index.html; name "${join(folder, 'shop/dist/shop/browser')}"`);
    }
  });

  test.each([
    ['a build', script('/assets/main-4f.js')],
    ['a page without scripts', '<p>hello</p>'],
    ['an app that needs no build', script('/lib/main.js')],
    ['a page with a template of its own', '<script type="text/template"><%= name %></script>'],
    ['a source that is only in a comment', `<!-- ${script('/src/main.tsx')} -->${script('/a.js')}`],
    ['a script whose address only looks like it', script('https://cdn.test/x.ts.js')],
  ])('%s is served', async (_story, document) => {
    await mkdir('app');
    await writeFile('app/index.html', document);
    await writeFile('app/package.json', '{}');
    expect((await loadConfig(undefined, { ...complete, SALLYPORT_SPA: 'app' })).config.spa?.folder).toBe('app');
  });
});

describe('.env', () => {
  const dotEnv = Object.entries(complete)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n');

  test('is read in the working directory, if there is no file', async () => {
    await writeFile('.env', dotEnv);
    expect((await loadConfig(undefined, {})).config.origin).toBe('https://app.example.com');
  });

  test('is read beside the file, and nowhere else then', async () => {
    await mkdir('app');
    await writeFile('app/.env', 'SALLYPORT_BASE_PATH=/beside');
    await writeFile('.env', 'SALLYPORT_BASE_PATH=/elsewhere\nSALLYPORT_DRAIN=7');
    await writeFile('app/sallyport.config.json', JSON.stringify(inFile));
    const { config } = await loadConfig('app/sallyport.config.json', {});
    expect([config.basePath, config.drainSeconds]).toEqual(['/beside', 25]);
  });

  test('stands over the file and under the variables of the process', async () => {
    await writeFile('.env', 'SALLYPORT_BASE_PATH=/dotenv\nSALLYPORT_DRAIN=7\nSALLYPORT_SCOPE=openid email\n');
    await writeFile('sallyport.config.json', JSON.stringify({ ...inFile, basePath: '/file', drainSeconds: 8 }));
    const { config } = await loadConfig(undefined, { SALLYPORT_BASE_PATH: '/process', SALLYPORT_SCOPE: '' });
    expect([config.basePath, config.drainSeconds, config.scope]).toEqual([
      '/process',
      7,
      resolveConfig(inFile as ConfigInput).scope,
    ]);
  });

  test('gives no secret beside the one that the process has in the other way', async () => {
    await writeFile('secret', `${secret}-from-a-file`);
    await writeFile('.env', `${dotEnv}\nSALLYPORT_SECRET=${secret}-from-dotenv`);
    const { config } = await loadConfig(undefined, { SALLYPORT_SECRET_FILE: 'secret' });
    expect(config.secrets).toEqual([`${secret}-from-a-file`]);
    await writeFile('.env', 'SALLYPORT_SECRET_FILE=secret');
    expect((await loadConfig(undefined, complete)).config.secrets).toEqual([secret]);
  });

  test('is written as usual: comments, quotation marks, export, line ends of Windows', async () => {
    await writeFile(
      '.env',
      `\u{FEFF}# mine\r\nexport SALLYPORT_CLIENT_SECRET="a # b"\r\nSALLYPORT_API='/api=http://localhost:1 /b=http://localhost:2'\r\n`,
    );
    const { config } = await loadConfig(undefined, without('SALLYPORT_CLIENT_SECRET'));
    expect([config.client.secret, config.api.length]).toEqual(['a # b', 2]);
  });

  test('sets nothing else, here or in the process', async () => {
    await writeFile('.env', `${dotEnv}\nNODE_TLS_REJECT_UNAUTHORIZED=0\nPORT=1`);
    const before = { ...process.env };
    await loadConfig(undefined, {});
    expect(process.env).toEqual(before);
  });

  test('is told of a misspelt name like any variable, and never of a value', async () => {
    await writeFile('.env', 'SALLYPORT_ISSUR=canary\nSALLYPORT_SECRET=canary-short');
    const faults = await faultsOf(without('SALLYPORT_ISSUER', 'SALLYPORT_SECRET'));
    expect(faults.join('\n')).toContain('did you mean SALLYPORT_ISSUER?');
    expect(faults.join('\n')).not.toContain('canary');
  });

  test('that is a folder, or that cannot be read, is the one fault', async () => {
    await mkdir('.env');
    expect(await faultsOf({})).toEqual([
      `  - .env: "${join(folder, '.env')}" is a folder; remove or rename it (EISDIR)`,
    ]);
    await rm('.env', { recursive: true });
    // A loop of links cannot be read by anybody, not even by root.
    await symlink('.env', '.env');
    expect(await faultsOf({})).toEqual([
      expect.stringMatching(/^ {2}- \.env: ".*" cannot be read; correct its perm.*ELOOP/),
    ]);
  });
});

describe('a file in JSON', () => {
  test('may name its schema, as editors want it', async () => {
    await writeFile('sallyport.config.json', JSON.stringify({ $schema: './sallyport.schema.json', ...inFile }));
    expect((await loadConfig(undefined, {})).config.origin).toBe(inFile.origin);
    await writeFile('a.json', JSON.stringify({ ...inFile, client: { ...inFile.client, $schema: 'x' } }));
    expect(await faultsOf({}, 'a.json')).toEqual([expect.stringMatching(/client\.\$schema: is not a known key/)]);
  });

  test('may begin with the mark that Windows writes', async () => {
    await writeFile('sallyport.config.json', `\u{FEFF}${JSON.stringify(inFile)}`);
    expect((await loadConfig(undefined, {})).config.origin).toBe(inFile.origin);
  });

  test('needs no secret and nothing else that a variable can give, says its schema', () => {
    const schema = configJsonSchema() as { properties: Record<string, Record<string, unknown>> };
    expect(schema).not.toHaveProperty('required');
    expect(schema.properties['client']).not.toHaveProperty('required');
    expect(schema.properties).toHaveProperty('$schema');
    expect(schema.properties).toHaveProperty('secrets');
    expect(JSON.stringify(schema.properties['api'])).toContain('"required":["path","target"]');
  });

  test.each([
    ['a word', '{"a": true,\n "b": maybe}', 2, 7],
    ['a comma too many in a list', '{"a": [1,\n2,\n]}', 3, 1],
    ['a comma too many', '{"a": 1,\n}', 2, 1],
    ['a comma that is missing', '{\n"a": "x"\n"b": 1}', 3, 1],
    ['a comment', '{\n// why\n"a": 1}', 2, 1],
    ['quotes of another kind', "{'a': 1}", 1, 2],
    ['an end too early', '{"a": {\n"b": 1', 2, 7],
    ['something behind the end', '{"a": 1}\n\n}', 3, 1],
    ['a number that is none', '{"a": 1.2.3}', 1, 7],
    ['a line end in a text', '{"a": "b\n"}', 1, 7],
    ['nothing', '', 1, 1],
  ])('with %s: the place is told', async (_story, content, line, column) => {
    await writeFile('a.json', content);
    expect(await faultsOf({}, 'a.json')).toEqual([expect.stringContaining(`(line ${line}, column ${column})`)]);
  });
});

test('a file that is a folder is told under the name by which it was found', async () => {
  await mkdir('sallyport.config.json');
  expect(await faultsOf({})).toEqual([
    expect.stringMatching(/^ {2}- sallyport\.config\.json: ".*" is a folder; name a/),
  ]);
  expect(await faultsOf({}, 'sallyport.config.json')).toEqual([expect.stringMatching(/^ {2}- --config: /)]);
});

describe('errorDocs', () => {
  test.each(['https://docs.example.com', 'http://localhost:1/x?y=z', '/', '/help/errors'])(
    'may be %s',
    async (errorDocs) => {
      const { config } = await loadConfig(undefined, { ...complete, SALLYPORT_ERROR_DOCS: errorDocs });
      expect(config.errorDocs).toBe(errorDocs);
    },
  );

  test.each([
    'errors',
    '//evil.test',
    '/\\evil.test',
    'javascript:alert(1)',
    'https://x.test/#a',
    'https://me:canary@x.test/',
    '/a b',
    'about:blank',
  ])('may not be %s', async (errorDocs) => {
    expect(await faultsOf({ ...complete, SALLYPORT_ERROR_DOCS: errorDocs })).toEqual([
      expect.stringMatching(/^ {2}- SALLYPORT_ERROR_DOCS \(errorDocs\): must be the address or the path of a page/),
    ]);
  });
});
