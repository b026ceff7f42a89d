/**
 * Where Keycloak comes from: `KEYCLOAK_HOME`, or the distribution of the release that docker-compose.yml names, fetched
 * once with Maven and kept in the user's cache.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { freePort } from '../support/listener.ts';
import { run, startProcess, untilReady } from './processes.ts';

/** The release that the tests run against; docker-compose.yml must name the same. */
export const keycloakVersion = '26.7.3';
const archiveSha256 = '77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47';

/**
 * What Keycloak compiles into itself. A start with other values compiles anew, which takes longer than all the rest of it.
 * `request`: its port for TLS asks clients for a certificate.
 */
export const buildEnvironment = { KC_HEALTH_ENABLED: 'true', KC_HTTPS_CLIENT_AUTH: 'request' };

/** A copy of Keycloak's folder that a test may write to. Copies share nothing. */
export async function copyKeycloak(): Promise<string> {
  const original = process.env['KEYCLOAK_HOME'] ?? (await cachedDistribution());
  const copy = join(await mkdtemp(join(tmpdir(), 'sallyport-keycloak-')), 'keycloak');
  await cp(original, copy, { recursive: true });
  return copy;
}

async function cachedDistribution(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sallyport');
  const home = join(cache, `keycloak-${keycloakVersion}-mutual-tls`);
  if (existsSync(home)) return home;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, 'fetching-'));
  try {
    await fetchInto(staging);
    // Renamed at the end only, so that a download that was cut short is never taken for a distribution.
    await rename(join(staging, `keycloak-${keycloakVersion}`), home);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return home;
}

async function fetchInto(folder: string): Promise<void> {
  const artifact = `org.keycloak:keycloak-quarkus-dist:${keycloakVersion}:tar.gz`;
  const copyGoal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
  await run('mvn', ['-q', '-B', copyGoal, `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`], { cwd: folder });
  const archive = join(folder, `keycloak-quarkus-dist-${keycloakVersion}.tar.gz`);
  const hash = createHash('sha256');
  await pipeline(createReadStream(archive), hash);
  const digest = hash.digest('hex');
  if (digest !== archiveSha256) throw new Error(`${archive} has the SHA-256 ${digest}, not ${archiveSha256}.`);
  await run('tar', ['-xzf', archive, '-C', folder], { cwd: folder });
  await warmUp(join(folder, `keycloak-${keycloakVersion}`));
}

/** The first start compiles Keycloak's configuration into its folder, which takes longer than all later starts. */
async function warmUp(home: string): Promise<void> {
  const env = {
    KC_HTTP_HOST: '127.0.0.1',
    KC_HTTP_PORT: String(await freePort()),
    KC_HTTP_MANAGEMENT_PORT: String(await freePort()),
    ...buildEnvironment,
  };
  const keycloak = startProcess(join(home, 'bin/kc.sh'), ['start-dev'], { cwd: home, env });
  await untilReady(keycloak, () => Promise.resolve(keycloak.output().includes('Listening on:')), 240);
  await keycloak.stop();
  await rm(join(home, 'data'), { recursive: true });
}
