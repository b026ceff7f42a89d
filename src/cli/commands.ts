/** The command line: `sallyport start · demo · check · keygen · schema`. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/sources.ts';
import { ConfigError } from '../config/config.ts';
import { configJsonSchema } from '../config/reference.ts';
import { detach } from '../detached.ts';
import { BffError } from '../http/errors.ts';
import { drainOnProcessFault } from '../server/process-faults.ts';
import { startServer } from '../server/server.ts';
import { describeCause } from '../telemetry/log.ts';
import { createEvents } from '../events.ts';
import { createProvider } from '../oidc/provider.ts';
import { createProviderFetch } from '../upstream/provider-fetch.ts';

const usage = `sallyport: the backend-for-frontend token handler for single-page apps

  sallyport start  [--config FILE]   runs the server
  sallyport check  [--config FILE]   validates the configuration and reaches the provider
  sallyport demo                     runs the demo: an example app, API and provider (from a clone of the repository)
  sallyport keygen                   prints a sealing secret for SALLYPORT_SECRET
  sallyport schema                   prints the JSON Schema of the configuration file
`;

const commands: Readonly<Record<string, (file: string | undefined) => Promise<void>>> = {
  start,
  check,
  demo,
  async keygen() {
    console.log(randomBytes(32).toString('base64url'));
  },
  async schema() {
    console.log(JSON.stringify(configJsonSchema(), undefined, 2));
  },
};

async function start(file: string | undefined): Promise<void> {
  const { config, warnings } = await loadConfig(file, process.env);
  const server = await startServer(config);
  for (const warning of warnings) server.log.warn(warning);
  // Node would write it at its end only, which a server that is killed doesn't reach.
  flushCompileCache();
  drainOnProcessFault(server, config.drainSeconds);
  stopOnSignal(server.close);
}

function stopOnSignal(close: () => Promise<void>): void {
  const stop = () =>
    detach(
      close().then(() => process.exit()),
      fail,
    );
  process.once('SIGTERM', stop).once('SIGINT', stop);
}

async function check(file: string | undefined): Promise<void> {
  const { config, warnings } = await loadConfig(file, process.env);
  for (const warning of warnings) console.log(`warning: ${warning}`);
  console.log('ok: the configuration is valid');
  const providerFetch = createProviderFetch();
  const provider = createProvider(config, { fetch: providerFetch.fetch, events: createEvents() });
  try {
    await provider.discover();
    console.log(`ok: the provider ${config.issuer} answers`);
    console.log(`    to be registered with it: redirect URI ${provider.redirectUri}`);
    console.log(`    and post-logout redirect URI ${config.origin}${config.logout.returnTo}`);
  } finally {
    provider.close();
    await providerFetch.close();
  }
}

async function demo(): Promise<void> {
  const module = new URL('../../spa-example/demo.ts', import.meta.url);
  if (!existsSync(module)) {
    throw new Error('The demo is part of the repository, not of the package: clone it and run `npm start`.');
  }
  const { runDemo } = (await import(module.href)) as { runDemo: () => Promise<unknown> };
  await runDemo();
}

function fail(error: unknown): never {
  console.error(messageOf(error));
  process.exit(1);
}

function messageOf(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof BffError) {
    const cause = describeCause(error.cause);
    return `fault: ${error.message}${cause === undefined ? '' : `\n  cause: ${innermost(cause)}`}`;
  }
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
    return `The port is in use: ${error.message}. Stop the other program, or set SALLYPORT_PORT.`;
  }
  return error instanceof Error ? error.message : String(error);
}

function innermost(cause: NonNullable<ReturnType<typeof describeCause>>): string {
  return cause.cause === undefined ? cause.message : `${cause.message}: ${innermost(cause.cause)}`;
}

/** Runs the command that the arguments name; a failure is told on standard error and ends the process with 1. */
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
