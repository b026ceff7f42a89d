/** The commands: `sallyport start · demo · check · keygen · schema`, each in a file of its own. */
import { parseArgs } from 'node:util';
import { check } from './check.ts';
import { demo } from './demo.ts';
import { keygen } from './keygen.ts';
import { fail } from './messages.ts';
import { schema } from './schema.ts';
import { start } from './start.ts';

const usage = `sallyport: the backend-for-frontend token handler for single-page apps

  sallyport start  [--config FILE]   runs the server
  sallyport check  [--config FILE]   validates the configuration and reaches the provider
  sallyport demo                     runs the demo: an example app, API and provider (from a clone of the repository)
  sallyport keygen                   prints a sealing secret for SALLYPORT_SECRET
  sallyport schema                   prints the JSON Schema of the configuration file
`;

const commands: Readonly<Record<string, (file: string | undefined) => Promise<void> | void>> = {
  start,
  check,
  demo,
  keygen,
  schema,
};

/** Runs the command that the arguments name. A failure ends the process with 1, a wrong call with 2. */
export async function run(args: string[]): Promise<void> {
  try {
    await runCommand(args);
  } catch (error) {
    fail(error);
  }
}

async function runCommand(args: string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    options: { config: { type: 'string', short: 'c' }, help: { type: 'boolean', short: 'h' } },
  });
  const [name = ''] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command !== undefined && values.help !== true) return command(values.config);
  console.log(usage);
  if (values.help !== true) process.exitCode = 2;
}
