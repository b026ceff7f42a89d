/** The `.env` file beside the configuration. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { codeOf } from '../http/errors.ts';
import { ConfigError } from './faults.ts';
import type { Environment } from './variables.ts';

/**
 * The `SALLYPORT_` variables of the folder's `.env` file and, over them, the process's own. One that the process has,
 * empty or not, is not taken from the file, nor is its partner with or without `_FILE`.
 * @throws {ConfigError} if there is such a file, and it cannot be read
 */
export function withEnvFile(folder: string, env: Environment): Environment {
  const text = readIfThere(join(folder, '.env'));
  if (text === undefined) return env;
  const added = Object.entries(parseEnv(text)).filter(
    ([name]) => name.startsWith('SALLYPORT_') && env[name] === undefined && !env[partnerOf(name)],
  );
  return { ...Object.fromEntries(added), ...env };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/^\u{FEFF}/u, '');
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return undefined;
    const why = code === 'EISDIR' ? 'is a folder; remove or rename it' : 'cannot be read; correct its permissions';
    throw new ConfigError([{ path: '.env', reason: `"${path}" ${why} (${code})` }]);
  }
}

/** Of `SALLYPORT_SECRET` it is `SALLYPORT_SECRET_FILE`, and the other way round. */
function partnerOf(name: string): string {
  return name.endsWith('_FILE') ? name.slice(0, -'_FILE'.length) : `${name}_FILE`;
}
