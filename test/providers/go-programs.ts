/** Providers that are Go programs: built once from the versions in the module's go.mod, and kept in the user's cache. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { run } from '../keycloak/processes.ts';

export interface GoProgram {
  /** The folder here that has the module, and the program's name. */
  readonly name: string;
  /** The package of `main`. */
  readonly package: string;
  /** SQLite is C. */
  readonly sqlite?: boolean;
}

/** The program's executable. */
export async function buildGoProgram(program: GoProgram): Promise<string> {
  const folder = join(import.meta.dirname, program.name);
  const digest = createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) digest.update(await readFile(join(folder, file)));
  digest.update(JSON.stringify(program));
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sallyport');
  const home = join(cache, `${program.name}-${digest.digest('hex').slice(0, 12)}`);
  const executable = join(home, program.name);
  if (existsSync(executable)) return executable;
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, 'building-'));
  try {
    const tags = program.sqlite ? ['-tags', 'sqlite'] : [];
    const output = join(staging, program.name);
    await run(process.env['GO_COMMAND'] ?? 'go', ['build', ...tags, '-o', output, program.package], {
      cwd: folder,
      env: { ...definedVariables(), CGO_ENABLED: program.sqlite ? '1' : '0' },
    });
    // Renamed at the end only, so that a build that was cut short is never taken for the whole.
    await rename(staging, home);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return executable;
}

/** A proxy or a mirror for Go's modules is set by variables. */
function definedVariables(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value ? [[name, value]] : [])));
}
