/** What the tests download or build once, and keep in the user's cache for the runs to come. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from '../keycloak/processes.ts';

/** The folder that `fill` fills, for these inputs: file names, whose content counts, or any other words. */
export async function cachedFolder(
  name: string,
  inputs: readonly string[],
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const digest = createHash('sha256');
  for (const input of inputs) digest.update(existsSync(input) ? await readFile(input) : input).update('\0');
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sallyport');
  const home = join(cache, `${name}-${digest.digest('hex').slice(0, 12)}`);
  if (existsSync(home)) return home;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, 'filling-'));
  try {
    await fill(staging);
    // Renamed at the end only, so that what was cut short is never taken for the whole.
    await rename(staging, home).catch((error: unknown) => {
      // Another process of the test run was faster.
      if (!existsSync(home)) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return home;
}

/** The libraries of a pom.xml, fetched with Maven. */
export function javaLibraries(name: string, pom: string): Promise<string> {
  return cachedFolder(name, [pom], async (folder) => {
    const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
    await run(process.env['MAVEN_COMMAND'] ?? 'mvn', ['-q', '-B', '-f', pom, goal, `-DoutputDirectory=${folder}`], {
      cwd: dirname(pom),
    });
  });
}
