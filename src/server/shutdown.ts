/**
 * How a server ends: on request, or after an error that nothing caught. Such an error may leave something half done, so
 * the process does not go on; but the calls in flight are not part of the fault, so it does not stop at once either. It
 * logs the cause, takes no new work, finishes what runs, and ends with 1, so that its supervisor starts a fresh one.
 */
import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bff } from '../bff.ts';
import type { Log } from '../telemetry/log.ts';

/** What {@link shutDown} ends, in the order in which it does. */
export interface Running {
  readonly bff: Bff;
  /** The public listener. */
  readonly server: Server;
  /** The listener for operations; it answers until the end. */
  readonly ops: Server;
  readonly log: Log;
  /** Writes the log lines that are still held back. */
  readonly endLog: () => Promise<void>;
}

/** Stops accepting, finishes what runs within `drainSeconds`, closes everything. */
export async function shutDown({ bff, server, ops, log, endLog }: Running, drainSeconds: number): Promise<void> {
  bff.drain();
  await drainConnections(server, drainSeconds);
  await bff.close();
  ops.close();
  ops.closeAllConnections();
  log.info('stopped');
  await endLog();
}

const drainPollMs = 50;

/** Takes no new connections; those with a call in flight stay until it ends or the time is up. */
async function drainConnections(server: Server, seconds: number): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  const closed = new Promise<true>((resolve) => server.close(() => resolve(true)));
  while (Date.now() < deadline) {
    server.closeIdleConnections();
    if (await Promise.race([closed, sleep(drainPollMs, false)])) return;
  }
  server.closeAllConnections();
}

/** Time to close what draining leaves open, before the process exits in any case. */
const exitMarginSeconds = 5;
/** A fault that repeats itself must not fill the disk. */
const maximumReports = 20;
const maximumFrames = 12;

/**
 * Ends the process after an error that nothing caught. For a process that runs only this server: in a program that runs
 * other code too, faults of that code are not this server's to handle.
 */
export function drainOnProcessFault(
  { bff, close }: { readonly bff: Pick<Bff, 'events'>; readonly close: () => Promise<void> },
  drainSeconds: number,
): void {
  let count = 0;
  // Node reports unhandled rejections here as well; `origin` tells which of the two it was.
  process.on('uncaughtException', (cause: unknown, origin) => {
    count++;
    if (count <= maximumReports) {
      bff.events.emit({ type: 'process.failed', count, origin, stack: framesOf(cause), cause });
    }
    if (count > 1) return;
    process.exitCode = 1;
    setTimeout(exit, (drainSeconds + exitMarginSeconds) * 1000);
    close().then(exit, exit);
  });
}

function exit(): void {
  process.exit();
}

/** The stack without its first line, the message, which the log writes by its own rules. */
function framesOf(error: unknown): string[] {
  const lines = error instanceof Error ? (error.stack ?? '').split('\n') : [];
  return lines
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, maximumFrames);
}
