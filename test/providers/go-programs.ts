/** Providers that are Go programs, built once from the versions in the module's go.mod. */
import { join } from 'node:path';
import { run } from '../keycloak/processes.ts';
import { cachedFolder } from '../support/user-cache.ts';

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
  const { name, sqlite = false } = program;
  const module = join(import.meta.dirname, name);
  const inputs = [join(module, 'go.mod'), join(module, 'go.sum'), JSON.stringify(program)];
  const folder = await cachedFolder(name, inputs, async (staging) => {
    const tags = sqlite ? ['-tags', 'sqlite'] : [];
    await run(process.env['GO_COMMAND'] ?? 'go', ['build', ...tags, '-o', join(staging, name), program.package], {
      cwd: module,
      env: { ...definedVariables(), CGO_ENABLED: sqlite ? '1' : '0' },
    });
  });
  return join(folder, name);
}

/** A proxy or a mirror for Go's modules is set by variables. */
function definedVariables(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value ? [[name, value]] : [])));
}
