/** What can be said of the compose files without running them. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { DCLinter } from 'dclint';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config/sources.ts';
import { projectFolder, readComposeFile, serviceOf } from './compose-file.ts';
import { keycloakVersion } from './keycloak-distribution.ts';

const composeFiles = ['docker-compose.yml', 'deploy/docker-compose.production.yml'];

/** The part of a result that is used here; the types of dclint do not resolve under `nodenext`. */
interface LintResult {
  readonly messages: readonly unknown[];
}

/** What dclint finds; the order of keys and the quotes are left to Prettier and the author. */
const linter = new DCLinter({
  rules: {
    'no-quotes-in-volumes': 0,
    'service-dependencies-alphabetical-order': 0,
    'service-keys-order': 0,
    'services-alphabetical-order': 0,
    'top-level-properties-order': 0,
    // The balancer is what the production set-up publishes; the demo has a test of its own.
    'no-unbound-port-interfaces': 0,
  },
  quiet: true,
  debug: false,
  exclude: [],
});

test.each(composeFiles)('%s obeys the schema of the Compose Specification and the rules of dclint', async (path) => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-compose-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const faulty = join(folder, 'faulty.yml');
  await writeFile(faulty, 'services: { app: { image: "app:1", healthcheck: { test: [1] } } }');

  const results: LintResult[] = linter.lintFiles([join(projectFolder, path), faulty], false);

  expect(results[0]?.messages).toEqual([]);
  expect(results[1]?.messages, 'the schema sees faults').toMatchObject([{ rule: 'invalid-schema' }]);
});

test.each(composeFiles)('%s gives secrets as files that are never committed', async (path) => {
  const file = await readComposeFile(path);

  for (const service of Object.values(file.services)) {
    const names = Object.keys(service.environment ?? {});
    expect(names.filter((name) => /(?:SECRET|PASSWORD|TOKEN)$/.test(name))).toEqual([]);
    expect(Object.keys(file.secrets)).toEqual(expect.arrayContaining(service.secrets ?? []));
  }
  for (const { file: secret } of Object.values(file.secrets)) expect(secret).toMatch(/^\.\/secrets\//);
  expect(await readFile(join(projectFolder, '.gitignore'), 'utf8')).toMatch(/^\/secrets\/$/m);
  expect(await readFile(join(projectFolder, 'deploy/.gitignore'), 'utf8')).toMatch(/^\/secrets\/$/m);
});

test.each([
  // The demo's API is next door in a network of its own.
  ['docker-compose.yml', [expect.stringContaining('plain http to api:9100')]],
  ['deploy/docker-compose.production.yml', []],
])('%s configures Sallyport without a fault or an unexpected warning', async (path, expectedWarnings) => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-compose-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = await readComposeFile(path);
  await mkdir(join(folder, 'secrets'));
  for (const name of Object.keys(file.secrets)) {
    await writeFile(join(folder, 'secrets', name), '1f0e2d3c4b5a69788796a5b4c3d2e1f01f0e2d3c4b5a6978\n');
  }
  await writeFile(join(folder, 'index.html'), '<!doctype html>');
  const variables = parseEnv(await readFile(join(projectFolder, 'deploy/app.env.example'), 'utf8'));
  const values = Object.entries(serviceOf(file, 'sallyport').environment ?? {}).map(([name, value]) => [
    name,
    interpolate(value, variables).replace('/run/secrets', join(folder, 'secrets')).replace('/srv/spa', folder),
  ]);

  const { config, warnings } = await loadConfig(undefined, Object.fromEntries(values));

  expect(warnings).toEqual(expectedWarnings);
  expect(config.redisUrl).toBe('redis://valkey:6379');
  expect(config.api.map((route) => route.path)).toEqual(['/api']);
});

test('the production set-up runs two replicas behind https on a domain of your own', async () => {
  const file = await readComposeFile('deploy/docker-compose.production.yml');
  const sallyport = serviceOf(file, 'sallyport');
  const balancer = serviceOf(file, 'balancer');

  expect(sallyport).toMatchObject({ deploy: { replicas: 2 }, read_only: true });
  expect(sallyport.ports).toBeUndefined();
  expect(sallyport.environment).toMatchObject({ SALLYPORT_ORIGIN: 'https://${APP_DOMAIN}' });
  expect(balancer.networks).toMatchObject({
    app: { ipv4_address: sallyport.environment?.['SALLYPORT_TRUSTED_PROXIES'] },
  });
  expect(balancer.ports).toEqual(expect.arrayContaining(['443:443']));
});

test('the demo is published on loopback only', async () => {
  const file = await readComposeFile();

  const ports = Object.values(file.services).flatMap((service) => service.ports ?? []);

  expect(ports.toSorted()).toEqual(['127.0.0.1:3000:3000', '127.0.0.1:8080:8080']);
});

test('names the release of Keycloak that the journeys run against', async () => {
  const keycloak = serviceOf(await readComposeFile(), 'keycloak');

  expect(keycloak.image).toBe(`quay.io/keycloak/keycloak:${keycloakVersion}`);
});

test("Keycloak's realm holds no secret, demands PKCE, and knows exact addresses only", async () => {
  const text = await readFile(join(projectFolder, 'deploy/keycloak/sallyport-realm.json'), 'utf8');
  const realm: unknown = JSON.parse(text);

  expect(realm).toMatchObject({
    accessTokenLifespan: 300,
    revokeRefreshToken: true,
    refreshTokenMaxReuse: 0,
    clients: [
      {
        secret: '${SALLYPORT_CLIENT_SECRET}',
        publicClient: false,
        directAccessGrantsEnabled: false,
        redirectUris: ['${SALLYPORT_ORIGIN}/bff/callback'],
        attributes: {
          'pkce.code.challenge.method': 'S256',
          'post.logout.redirect.uris': '${SALLYPORT_ORIGIN}/',
          'backchannel.logout.url': '${SALLYPORT_INTERNAL_URL}/bff/backchannel-logout',
        },
      },
    ],
  });
  expect(text).not.toContain('*');
  const values = [...text.matchAll(/"(?:secret|value)": "([^"]*)"/g)].map(([, value]) => value);
  for (const value of values) expect(value).toMatch(/^\$\{\w+\}$/);
});

/** Compose's interpolation, as far as the files use it: `${NAME}`, `${NAME:?message}` and `${NAME:-default}`. */
function interpolate(text: string, variables: NodeJS.Dict<string>): string {
  return text.replaceAll(/\$\{(\w+)(?::([?-])([^}]*))?\}/g, (_all, name: string, kind?: string, rest = '') => {
    const value = variables[name];
    if (value !== undefined && value !== '') return value;
    if (kind === '-') return rest;
    throw new Error(`${name} is not set.`);
  });
}
