/** The commands: `sallyport start · demo · check · keygen · schema`, each in a file of its own. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { distance, nearestOf } from '../config/spelling.ts';
import { check } from './check.ts';
import { demo } from './demo.ts';
import { keygen } from './keygen.ts';
import { fail } from './messages.ts';
import { schema } from './schema.ts';
import { start } from './start.ts';

const usage = `sallyport: the backend-for-frontend token handler for single-page apps

  sallyport start  [--config FILE]   runs the server
  sallyport check  [--config FILE]   validates the configuration and asks the provider; ends with 1 after a fault,
                   [--strict]        and with 3 after a warning if that is asked for
  sallyport demo                     runs the demo: an example app, API and provider (from a clone of the repository)
  sallyport keygen                   prints a sealing secret for SALLYPORT_SECRET
  sallyport schema                   prints the JSON Schema of the configuration file
  sallyport --version                prints the version
`;

interface Command {
  readonly run: (file: string | undefined, options: { readonly strict: boolean }) => Promise<void> | void;
  /** Whether it reads a configuration. */
  readonly configurable: boolean;
  /** Whether it takes `--strict`. */
  readonly graded?: boolean;
}

const commands: Readonly<Record<string, Command>> = {
  start: { run: start, configurable: true },
  check: { run: check, configurable: true, graded: true },
  demo: { run: () => demo(), configurable: false },
  keygen: { run: keygen, configurable: false },
  schema: { run: schema, configurable: false },
};

/** Runs the command that the arguments name. A failure ends the process with 1, a wrong call with 2. */
export async function run(args: string[]): Promise<void> {
  try {
    await runCommand(args);
  } catch (error) {
    if (!(error instanceof UsageError)) fail(error);
    console.error(`${error.message}\n\n${usage}`);
    process.exitCode = 2;
  }
}

/** The command line names something that does not exist. */
class UsageError extends Error {}

async function runCommand(args: string[]): Promise<void> {
  const { names, file, strict, asks } = readArguments(args);
  if (asks !== undefined) {
    console.log(asks === 'version' ? version() : usage);
    return;
  }
  const [name = '', ...more] = names;
  if (name === '') throw new UsageError('Which command?');
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new UsageError(`There is no command "${name}".${suggestion(name, Object.keys(commands))}`);
  }
  if (more.length > 0) {
    const hint = command.configurable ? ` For a configuration file: ${called(name)} --config ${more[0]}` : '';
    throw new UsageError(`"sallyport ${name}" takes no "${more[0]}".${hint}`);
  }
  if (file !== undefined && !command.configurable) throw new UsageError(`"sallyport ${name}" takes no --config.`);
  if (strict && command.graded !== true) throw new UsageError(`"sallyport ${name}" takes no --strict.`);
  await command.run(file, { strict });
}

/** How the command was run. npm keeps options for itself unless they stand behind `--`. */
function called(name: string): string {
  const script = process.env['npm_lifecycle_event'];
  return script === undefined ? `sallyport ${name}` : `npm run ${script} --`;
}

interface Arguments {
  readonly names: readonly string[];
  readonly file: string | undefined;
  readonly strict: boolean;
  readonly asks: 'help' | 'version' | undefined;
}

const options = {
  config: { type: 'string', short: 'c' },
  strict: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

/** Not in the strict mode of `parseArgs`, whose messages speak to programmers. */
function readArguments(args: string[]): Arguments {
  const { positionals, values, tokens } = parseArgs({
    args,
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    if (!Object.hasOwn(options, token.name)) {
      const known = Object.keys(options).map((name) => `--${name}`);
      throw new UsageError(`There is no option ${token.rawName}.${suggestion(token.rawName, known)}`);
    }
    if (token.name !== 'config' && token.value !== undefined) throw new UsageError(`${token.rawName} takes no value.`);
    if (token.name === 'config' && !token.value) throw new UsageError(`${token.rawName} needs the path of a file.`);
  }
  const { config, strict, help, version: asksVersion } = values;
  return {
    names: positionals,
    file: typeof config === 'string' ? config : undefined,
    strict: strict === true,
    asks: help === true ? 'help' : asksVersion === true ? 'version' : undefined,
  };
}

function suggestion(name: string, known: readonly string[]): string {
  const nearest = nearestOf(name, known);
  return distance(name, nearest) <= nearest.replace('--', '').length / 2 ? ` Did you mean ${nearest}?` : '';
}

function version(): string {
  const manifest = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
