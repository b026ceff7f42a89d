/**
 * Where the configuration comes from: a file (`config-file.ts`), and over it environment variables that start with
 * `SALLYPORT_` (`variables.ts`), those of an `.env` file included (`env-file.ts`).
 */
import { existsSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { clientWarnings } from './client-rules.ts';
import { readConfigFile } from './config-file.ts';
import { resolveConfig, type Config } from './config.ts';
import { withEnvFile } from './env-file.ts';
import { ConfigError, type ConfigFault } from './faults.ts';
import { isLoopback } from './rules.ts';
import type { ConfigFile, ConfigInput } from './schema.ts';
import { overlay, unknownVariables, type Environment } from './variables.ts';

/** Read if `--config` names no file; the first one that exists. */
const defaultFiles = ['sallyport.config.ts', 'sallyport.config.js', 'sallyport.config.json'];

export interface LoadedConfig {
  readonly config: Config;
  /** What `config` was resolved from, for a process that is to run with the same. */
  readonly input: ConfigInput;
  /** Settings that are valid but probably not meant, or risky. For the log. */
  readonly warnings: readonly string[];
}

/**
 * Reads the file, the `.env` beside it (without a file: in the working directory), and the variables. The variables stand
 * over those of `.env`, and these over the file.
 * @param file path of a `.ts`, `.js` or `.json` file; undefined: the default one, if there is one
 * @throws {ConfigError} with every fault, each under the name by which it was given
 */
export async function loadConfig(file: string | undefined, env: Environment): Promise<LoadedConfig> {
  const found = file ?? defaultFilesIn('').find((path) => existsSync(path));
  if (found === undefined) return withVariables({}, withEnvFile(resolve(), env));
  const path = resolve(found);
  const label = file === undefined ? found : '--config';
  const kind = statSync(path, { throwIfNoEntry: false });
  if (kind === undefined) {
    throw new ConfigError([{ path: label, reason: `the file "${path}" does not exist; correct the path` }]);
  }
  if (kind.isDirectory()) {
    const reason = `"${path}" is a folder; name a file (Docker makes a folder of a mounted file that does not exist)`;
    throw new ConfigError([{ path: label, reason }]);
  }
  const given = withEnvFile(dirname(path), env);
  return withVariables(await readConfigFile(path, label), given);
}

/** Where a folder may have its configuration file: the first one that exists is read. */
export function defaultFilesIn(folder: string): string[] {
  return defaultFiles.map((name) => join(folder, name));
}

/**
 * Puts the variables over what a file holds, and resolves the whole.
 * @throws {ConfigError} with every fault, and with the variables that are not known
 */
export function withVariables(file: ConfigFile, env: Environment): LoadedConfig {
  const { input, names, faults } = overlay(file, env);
  const unknown = unknownVariables(env);
  const nameOf = (path: string) => {
    const name = names.get(path) ?? [...names].find(([known]) => path.startsWith(`${known}.`))?.[1];
    return name === undefined ? path : `${name} (${path})`;
  };
  const { config, faults: others } = tryToResolve(input);
  const isTold = (path: string) => faults.some((fault) => path === fault.path || path.startsWith(`${fault.path}.`));
  const all = [...faults, ...others.filter(({ path }) => !isTold(path))];
  if (config === undefined || all.length > 0) throw new ConfigError(all, nameOf, unknown);
  return { config, input, warnings: [...unknown, ...risksOf(config)] };
}

function tryToResolve(input: ConfigInput): { readonly config?: Config; readonly faults: readonly ConfigFault[] } {
  try {
    return { config: resolveConfig(input), faults: [] };
  } catch (error) {
    if (error instanceof ConfigError) return { faults: error.faults };
    throw error;
  }
}

/** Valid settings that send secrets or trust over plain http, let injected scripts run, or lack credentials for now. */
function risksOf(config: Config): string[] {
  return [...plainHttpOf(config), ...scriptsOfAnybody(config), ...clientWarnings(config.client)];
}

function plainHttpOf(config: Config): string[] {
  const plain = config.api
    .filter(({ target, token }) => token !== 'none' && target.protocol === 'http:' && !isLoopback(target.hostname))
    .map(
      ({ path, target }) =>
        `The route ${path} sends access tokens over plain http to ${target.host}; keep that network to yourself.`,
    );
  return config.discoveryUrl?.protocol === 'http:' && config.issuer.startsWith('https:')
    ? [...plain, "The provider's metadata is fetched over plain http; keep that network to yourself."]
    : plain;
}

/** Sources that stand for scripts which nobody of the app's developers wrote. */
const anybodys = new Set([
  "'unsafe-inline'",
  "'unsafe-eval'",
  "'unsafe-hashes'",
  '*',
  'http:',
  'https:',
  'data:',
  'blob:',
]);

function scriptsOfAnybody({ spa }: Config): string[] {
  return Object.entries(spa?.csp ?? {}).flatMap(([directive, sources]) => {
    const risky = directive.startsWith('script-src')
      ? sources.filter((source) => anybodys.has(source.toLowerCase()))
      : [];
    if (risky.length === 0) return [];
    return [
      `The policy lets injected scripts run (spa.csp: ${directive} ${risky.join(' ')}), and each calls the APIs as the ` +
        'person who is signed in.',
    ];
  });
}
