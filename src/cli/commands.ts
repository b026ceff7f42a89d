/** The commands: `sallyport start · demo · check · sessions · keygen · schema`, each in a file of its own. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { distance, nearestOf } from '../config/spelling.ts';
import { check } from './check.ts';
import { demo } from './demo.ts';
import { keygen } from './keygen.ts';
import { fail, UsageError } from './messages.ts';
import { schema } from './schema.ts';
import { sessions } from './sessions.ts';
import { start } from './start.ts';

const usage = `sallyport: the backend-for-frontend token handler for single-page apps

  sallyport start  [--config FILE]   runs the server
  sallyport check  [--config FILE]   validates the configuration and asks the provider; ends with 1 after a fault,
                   [--strict]        and with 3 after a warning if that is asked for
  sallyport sessions list            shows where a person is signed in (--sub SUB), or the sessions that one session at
                                     the provider has begun (--sid SID)
  sallyport sessions end             ends these (--sub, --sid), or one by the handle of the list (--handle HANDLE)
                   [--config FILE]   asks a running server at the port and with the token of the configuration
                   [--url URL]       asks the listener for operations at another address
                   [--json]          prints JSON
  sallyport demo                     runs the demo: an example app, API and provider (from a clone of the repository)
  sallyport keygen                   prints a sealing secret for SALLYPORT_SECRET, or a token for SALLYPORT_OPS_TOKEN
  sallyport schema                   prints the JSON Schema of the configuration file
  sallyport --version                prints the version
`;

/** What the command line says beside the command. */
export interface Options {
  readonly config?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
  readonly sub?: string;
  readonly sid?: string;
  readonly handle?: string;
  readonly url?: string;
}

interface Command {
  /** @param action one of `actions` */
  readonly run: (options: Options, action: string) => Promise<void> | void;
  readonly options: ReadonlyArray<keyof Options>;
  /** What stands behind the command's name, where something must. */
  readonly actions?: readonly string[];
}

const commands: Readonly<Record<string, Command>> = {
  start: { run: ({ config }) => start(config), options: ['config'] },
  check: { run: ({ config, strict }) => check(config, { strict: strict === true }), options: ['config', 'strict'] },
  sessions: {
    run: (options, action) => sessions(action === 'end' ? 'end' : 'list', options),
    options: ['config', 'url', 'json', 'sub', 'sid', 'handle'],
    actions: ['list', 'end'],
  },
  demo: { run: () => demo(), options: [] },
  keygen: { run: () => keygen(), options: [] },
  schema: { run: () => schema(), options: [] },
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

async function runCommand(args: string[]): Promise<void> {
  const { names, given, asks } = readArguments(args);
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
  const { action, rest } = takeAction(name, command, more);
  if (rest.length > 0) {
    const hint = command.options.includes('config')
      ? ` For a configuration file: ${called(name)} --config ${rest[0]}`
      : '';
    throw new UsageError(`"sallyport ${name}" takes no "${rest[0]}".${hint}`);
  }
  for (const option of Object.keys(given) as Array<keyof Options>) {
    if (!command.options.includes(option)) throw new UsageError(`"sallyport ${name}" takes no --${option}.`);
  }
  await command.run(given, action);
}

function takeAction(
  name: string,
  { actions }: Command,
  words: readonly string[],
): { readonly action: string; readonly rest: readonly string[] } {
  if (actions === undefined) return { action: '', rest: words };
  const [action = '', ...rest] = words;
  if (actions.includes(action)) return { action, rest };
  throw new UsageError(`"sallyport ${name}" does one of these: ${actions.join(', ')}.`);
}

/** How the command was run. npm keeps options for itself unless they stand behind `--`. */
function called(name: string): string {
  const script = process.env['npm_lifecycle_event'];
  return script === undefined ? `sallyport ${name}` : `npm run ${script} --`;
}

interface Arguments {
  readonly names: readonly string[];
  readonly given: Options;
  readonly asks: 'help' | 'version' | undefined;
}

const options = {
  config: { type: 'string', short: 'c' },
  url: { type: 'string' },
  sub: { type: 'string' },
  sid: { type: 'string' },
  handle: { type: 'string' },
  strict: { type: 'boolean' },
  json: { type: 'boolean' },
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
  for (const token of tokens) if (token.kind === 'option') requireForm(token);
  const { help, version: asksVersion, ...given } = values;
  return {
    names: positionals,
    // Their form has been checked.
    given: given as Options,
    asks: help === true ? 'help' : asksVersion === true ? 'version' : undefined,
  };
}

interface GivenOption {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
}

/** @throws {UsageError} for an option that does not exist, or that has no value where it needs one, or one too many */
function requireForm({ name, rawName, value }: GivenOption): void {
  const found = Object.hasOwn(options, name) ? options[name as keyof typeof options] : undefined;
  if (found === undefined) {
    const known = Object.keys(options).map((each) => `--${each}`);
    throw new UsageError(`There is no option ${rawName}.${suggestion(rawName, known)}`);
  }
  if (found.type === 'boolean' && value !== undefined) throw new UsageError(`${rawName} takes no value.`);
  if (found.type === 'boolean' || (value !== undefined && value !== '')) return;
  throw new UsageError(`${rawName} needs ${name === 'config' ? 'the path of a file' : 'a value'}.`);
}

function suggestion(name: string, known: readonly string[]): string {
  const nearest = nearestOf(name, known);
  return distance(name, nearest) <= nearest.replace('--', '').length / 2 ? ` Did you mean ${nearest}?` : '';
}

function version(): string {
  const manifest = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
