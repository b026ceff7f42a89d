/** How a failed command ends: a message that names the remedy on standard error, and exit code 1. */
import { ConfigError } from '../config/config.ts';
import { BffError } from '../http/errors.ts';
import { describeCause } from '../telemetry/log.ts';

/** The command line names something that does not exist, or not what it needs. */
export class UsageError extends Error {}

export function fail(error: unknown): never {
  console.error(messageOf(error));
  process.exit(1);
}

function messageOf(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof BffError) {
    const cause = describeCause(error.cause);
    return `fault: ${error.message}${cause === undefined ? '' : `\n  cause: ${chainOf(cause)}`}`;
  }
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
    return `The port is in use: ${error.message}. Stop the other program, or set SALLYPORT_PORT.`;
  }
  return error instanceof Error ? error.message : String(error);
}

function chainOf(cause: NonNullable<ReturnType<typeof describeCause>>): string {
  return cause.cause === undefined ? cause.message : `${cause.message}: ${chainOf(cause.cause)}`;
}
