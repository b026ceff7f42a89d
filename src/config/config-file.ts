/**
 * The configuration file, in code or in JSON. Hides where a file in code finds `sallyport`, wherever it lies, and which
 * line of a broken file is to be corrected.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { dirname, extname, isAbsolute, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { codeOf } from '../http/errors.ts';
import { ConfigError, type ConfigFault } from './faults.ts';
import type { ConfigFile } from './schema.ts';

/**
 * Reads a `.ts`, `.js` or `.json` file. Relative paths in it become absolute: they are relative to the file.
 * @param label under which a fault of the file as a whole is reported
 * @param edition where a process reads a file in code again: another text than before, because Node runs a module once
 * @throws {ConfigError} that names the file and the line, if it is broken
 */
export async function readConfigFile(path: string, label: string, edition?: string): Promise<ConfigFile> {
  const isJson = extname(path) === '.json';
  const content: unknown = isJson ? parseJson(path, label) : await importDefault(path, edition);
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ConfigError([
      { path: label, reason: `"${path}" must hold one object; in code: export default defineConfig({ … })` },
    ]);
  }
  const keys = withAbsolutePaths(content, dirname(path));
  // Editors find the JSON Schema of the file by this key.
  if (isJson) delete keys['$schema'];
  return keys;
}

/** The keys whose value is a path. */
const pathKey = /(?:^folder|File|^socketPath)$/;

/** A copy; symbol keys stay. */
function withAbsolutePaths(node: object, folder: string): Record<string, unknown> {
  const entries = Object.entries(node).map(([key, value]: [string, unknown]): [string, unknown] => {
    if (typeof value === 'string' && pathKey.test(key)) return [key, absolutePath(value, folder)];
    if (Array.isArray(value)) return [key, value.map((member) => pathsMadeAbsolute(member, folder))];
    return [key, pathsMadeAbsolute(value, folder)];
  });
  return { ...node, ...Object.fromEntries(entries) };
}

function pathsMadeAbsolute(value: unknown, folder: string): unknown {
  const isPlain = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  return isPlain ? withAbsolutePaths(value, folder) : value;
}

/** An empty path is a fault of its own, and a name that begins with NUL is a socket without a file (Linux). */
function absolutePath(path: string, folder: string): string {
  return path === '' || path.startsWith('\0') || isAbsolute(path) ? path : resolve(folder, path);
}

function parseJson(path: string, label: string): unknown {
  const text = readText(path, label);
  try {
    return JSON.parse(text);
  } catch (cause) {
    // Cut the part of the message that quotes the file, because it may be a secret.
    const why = (cause as Error).message.replace(/,? ?(?:\.\.\.)?"[^]*$| in JSON at position[^]*$/, '');
    const before = text.slice(0, faultIndex(text)).split('\n');
    const place = `line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`;
    throw new ConfigError([{ path: label, reason: `"${path}" is not JSON: ${why} (${place})` }]);
  }
}

function readText(path: string, label: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/^\u{FEFF}/u, '');
  } catch (error) {
    const reason = `"${path}" cannot be read; correct its permissions (${codeOf(error)})`;
    throw new ConfigError([{ path: label, reason }]);
  }
}

/** Where a text stops being JSON (RFC 8259). `JSON.parse` says so in some of its messages only. */
function faultIndex(text: string): number {
  let at = 0;
  value();
  return at;

  function takes(pattern: RegExp): boolean {
    pattern.lastIndex = at;
    const found = pattern.test(text);
    if (found) at = pattern.lastIndex;
    takesSpace();
    return found;
  }

  function takesSpace(): void {
    while (/[ \t\r\n]/.test(text.charAt(at))) at += 1;
  }

  function value(): boolean {
    takesSpace();
    if (takes(/\{/y)) return members(/\}/y, () => takes(jsonText) && takes(/:/y) && value());
    if (takes(/\[/y)) return members(/\]/y, value);
    return takes(jsonText) || takes(/(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])/iy);
  }

  function members(end: RegExp, member: () => boolean): boolean {
    if (takes(end)) return true;
    do {
      if (!member()) return false;
    } while (takes(/,/y));
    return takes(end);
  }
}

// JSON texts hold no control characters as they are (RFC 8259 7): here they are what is looked for.
// oxlint-disable-next-line no-control-regex
const jsonText = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*"/iy;

/** The module that this process runs, so that its symbols are the same in the file: `src/index.ts` or `dist/index.js`. */
const ownIndex = new URL(`../index${extname(import.meta.url)}`, import.meta.url).href;

/**
 * The default export of a file in code. `sallyport` in it is this installation, also where none can be found from the
 * file, or another one.
 */
async function importDefault(path: string, edition: string | undefined): Promise<unknown> {
  const query = edition === undefined ? '' : `?edition=${edition}`;
  const loaded = new Set<string>();
  const hooks = registerHooks({
    resolve(specifier, context, nextResolve) {
      if (specifier === 'sallyport') return { url: ownIndex, shortCircuit: true };
      const resolved = nextResolve(specifier, context);
      loaded.add(resolved.url);
      return resolved;
    },
  });
  try {
    const module = (await import(pathToFileURL(path).href + query)) as { default?: unknown };
    return module.default;
  } catch (error) {
    throw new ConfigError([faultOfCode(error, path, loaded)]);
  } finally {
    hooks.deregister();
  }
}

function faultOfCode(error: unknown, path: string, loaded: ReadonlySet<string>): ConfigFault {
  if (!(error instanceof Error)) return { path, reason: 'throws something that is no error' };
  const { name, message, stack = '' } = error;
  const files = [...loaded].filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const place = placeAbove(stack) ?? placeIn(stack, files) ?? placeOfSyntaxError(error, files) ?? path;
  // JSON.parse quotes what it could not read, which may be a secret.
  const why = message.replace(/,? ?(?:\.\.\.)?"[^]*"(?:\.\.\.)? is not valid JSON$/, ' in JSON').split('\n')[0];
  return { path: place, reason: `${name}: ${why}` };
}

/** For most errors of syntax, the stack begins with the file and the line. */
function placeAbove(stack: string): string | undefined {
  const [, file = '', line] = /^(\S.*):(\d+)\n/.exec(stack) ?? [];
  return line === undefined ? undefined : `${pathOf(file)}:${line}`;
}

function pathOf(file: string): string {
  return file.startsWith('file:') ? fileURLToPath(file) : file;
}

/** For a module in JavaScript, Node prints the place and does not tell the program. */
function placeOfSyntaxError(error: Error, files: readonly string[]): string | undefined {
  if (!(error instanceof SyntaxError)) return undefined;
  for (const file of files.filter((each) => !each.includes('node_modules'))) {
    const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 10_000 });
    const place = placeAbove(stderr);
    if (place !== undefined) return place;
  }
  return undefined;
}

/** The innermost call that stands in one of the files. */
function placeIn(stack: string, files: readonly string[]): string | undefined {
  for (const [, file = '', line] of stack.matchAll(/^ +at (?:.*\()?(\S.*?):(\d+):\d+\)?$/gm)) {
    if (files.includes(pathOf(file))) return `${pathOf(file)}:${line}`;
  }
  return undefined;
}
