/**
 * Where the configuration comes from: a file, and over it environment variables that start with `SALLYPORT_`
 * (`variables.ts`).
 */
import { existsSync, readFileSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { resolveConfig, type Config } from './config.ts';
import { ConfigError } from './faults.ts';
import { isLoopback } from './rules.ts';
import type { ConfigFile } from './schema.ts';
import { overlay, unknownVariables, type Environment } from './variables.ts';

/** Read if `--config` names no file; the first one that exists. */
const defaultFiles = ['sallyport.config.ts', 'sallyport.config.js', 'sallyport.config.json'];

export interface LoadedConfig {
  readonly config: Config;
  /** Settings that are valid but probably not meant, or risky. For the log. */
  readonly warnings: readonly string[];
}

/**
 * Reads the file and the variables.
 * @param file path of a `.ts`, `.js` or `.json` file; undefined: the default one, if there is one
 * @throws {ConfigError} with every fault, each under the name by which it was given
 */
export async function loadConfig(file: string | undefined, env: Environment): Promise<LoadedConfig> {
  const fromFile = await readFile(file ?? defaultFiles.find((name) => existsSync(name)));
  const { input, names, faults } = overlay(fromFile, env);
  const nameOf = (path: string) => {
    const name = names.get(path) ?? [...names].find(([known]) => path.startsWith(`${known}.`))?.[1];
    return name === undefined ? path : `${name} (${path})`;
  };
  try {
    const config = resolveConfig(input);
    if (faults.length > 0) throw new ConfigError(faults, nameOf);
    return { config, warnings: [...unknownVariables(env), ...risksOf(config)] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError([...faults, ...error.faults], nameOf);
  }
}

async function readFile(file: string | undefined): Promise<ConfigFile> {
  if (file === undefined) return {};
  const path = resolve(file);
  if (!existsSync(path)) {
    throw new ConfigError([{ path: '--config', reason: `the file "${path}" does not exist; correct the path` }]);
  }
  const content: unknown = extname(path) === '.json' ? parseJson(path) : await importDefault(path);
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content;
  throw new ConfigError([
    { path: '--config', reason: `"${path}" must hold one object; in code: export default defineConfig({ … })` },
  ]);
}

function parseJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    // Cut the part of the message that quotes the file, because it may be a secret.
    const why = (cause as Error).message.replace(/,? ?(?:\.\.\.)?"[^]*$/, '');
    throw new ConfigError([{ path: '--config', reason: `"${path}" is not JSON: ${why}` }]);
  }
}

async function importDefault(path: string): Promise<unknown> {
  const module = (await import(pathToFileURL(path).href)) as { default?: unknown };
  return module.default;
}

/** Valid settings that send secrets or trust over plain http. */
function risksOf(config: Config): string[] {
  const plain = config.api
    .filter(({ target }) => target.protocol === 'http:' && !isLoopback(target.hostname))
    .map(
      ({ path, target }) =>
        `The route ${path} sends access tokens over plain http to ${target.host}; keep that network to yourself.`,
    );
  return config.discoveryUrl?.protocol === 'http:' && config.issuer.startsWith('https:')
    ? [...plain, "The provider's metadata is fetched over plain http; keep that network to yourself."]
    : plain;
}
