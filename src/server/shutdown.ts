/**
 * How a server ends: on request, or after an error that nothing caught. Such an error may leave something half done, so
 * the process does not go on; but the calls in flight are not part of the fault, so it does not stop at once either. It
 * logs the cause, takes no new work, finishes what runs, and ends with 1, so that its supervisor starts a fresh one.
 */
import type { Server, ServerResponse } from 'node:http';
import { Server as TcpServer, type Socket } from 'node:net';
import { setImmediate as afterReading, setTimeout as sleep } from 'node:timers/promises';
import type { Bff } from '../bff.ts';
import type { Log } from '../telemetry/log.ts';

/** What {@link shutDown} ends, in the order in which it does. */
export interface Running {
  readonly bff: Bff;
  /** The public listener. */
  readonly server: Server;
  /** Its open connections. */
  readonly connections: ReadonlySet<Socket>;
  /** The listener for operations; it answers until the end. */
  readonly ops: Server;
  readonly log: Log;
  /** Writes the log lines that are still held back. */
  readonly endLog: () => Promise<void>;
}

/**
 * How long a shutdown may take. Both count from the call that gives them.
 *
 * @example
 * ```ts
 * import type { CloseLimits, RunningServer } from 'sallyport';
 *
 * const atOnce: CloseLimits = { drainSeconds: 0 };
 *
 * export function closeOnSignals(server: RunningServer): void {
 *   process.once('SIGTERM', () => void server.close());
 *   process.once('SIGINT', () => void server.close(atOnce));
 * }
 * ```
 */
export interface CloseLimits {
  /** Seconds in which new calls are still served, because a load balancer sends some. At most `drainSeconds`. */
  readonly waitSeconds?: number;
  /** Seconds until what still runs is cut. */
  readonly drainSeconds?: number;
}

/** Shuts a server down. Each call waits for the same end; a later one can bring it forward, but not put it off. */
export type Shutdown = (limits?: CloseLimits) => Promise<void>;

/** @param configured limits where a call gives none */
export function createShutdown(running: Running, configured: Required<CloseLimits>): Shutdown & { begun(): boolean } {
  const until = { stop: Infinity, cut: Infinity };
  let ended: Promise<void> | undefined;

  function close(limits: CloseLimits = {}): Promise<void> {
    const { waitSeconds, drainSeconds } = { ...configured, ...limits };
    const now = performance.now();
    until.cut = Math.min(until.cut, now + drainSeconds * 1000);
    until.stop = Math.min(until.stop, now + waitSeconds * 1000, until.cut);
    return (ended ??= shutDown(running, until));
  }

  return Object.assign(close, { begun: () => ended !== undefined });
}

/** Times of `performance.now()`, which may come forward while they are awaited. */
interface Deadlines {
  /** Until then new calls are served. */
  readonly stop: number;
  /** Until then calls may finish. */
  readonly cut: number;
}

/**
 * Goes on serving for as long as load balancers may send calls; then takes no more, ends what would never end by itself,
 * waits for the calls in flight, and closes everything, the store last.
 */
async function shutDown({ bff, server, connections, ops, log, endLog }: Running, until: Deadlines): Promise<void> {
  log.info('stopping');
  endConnectionsAfterAnswers(server, connections);
  await reached(() => until.stop);
  const closed = stopListening(server);
  bff.drain();
  await drainConnections(server, connections, { closed, cutAt: () => until.cut });
  await bff.close();
  ops.close();
  ops.closeAllConnections();
  log.info('stopped');
  await endLog();
}

const pollMs = 50;

async function reached(time: () => number): Promise<void> {
  for (let left = time() - performance.now(); left > 0; left = time() - performance.now()) {
    await sleep(Math.min(left, pollMs));
  }
}

/** `node:http` keeps the response that is under way in this undocumented field, until the last of its bytes has left. */
type ServingSocket = Socket & { readonly _httpMessage?: ServerResponse | null };

/**
 * From now on each answer ends its connection (RFC 9112 9.6). Clients and load balancers open the next one where it is
 * served, and are left with no idle connection that ends in the very moment in which they send a call.
 */
function endConnectionsAfterAnswers(server: Server, connections: ReadonlySet<ServingSocket>): void {
  server.prependListener('request', (_, response) => endConnectionAfter(response));
  for (const { _httpMessage: response } of connections) {
    if (response?.headersSent === false) endConnectionAfter(response);
  }
}

/** Not before an upload has been read: the system resets a connection that ends earlier, and its answer may get lost. */
function endConnectionAfter(response: ServerResponse): void {
  const { req } = response;
  const end = () => void (response.shouldKeepAlive = false);
  const hasBody = req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
  if (hasBody && !req.readableEnded) req.once('end', end);
  else end();
}

/**
 * Takes no new connections. Not by the `close` of `node:http`, which also destroys connections that are idle to its mind:
 * those with an answer, too, whose last bytes a slow client has not taken yet.
 * @returns when the last connection has ended
 */
function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    TcpServer.prototype.close.call(server, () => resolve());
  });
}

/** For what a client may have sent before it could know. A connection without a request isn't idle to `node:http`. */
const firstBytesMs = 500;

/** Connections with a call in flight stay until it ends or the time is up. */
async function drainConnections(
  server: Server,
  connections: ReadonlySet<ServingSocket>,
  { closed, cutAt }: { readonly closed: Promise<void>; readonly cutAt: () => number },
): Promise<void> {
  const unusedUntil = performance.now() + firstBytesMs;
  const isClosed = closed.then(() => true);
  while (performance.now() < cutAt()) {
    // Calls that have arrived are read first: on a busy machine this turn may be late, and a connection that was idle
    // in the turn before has one.
    await afterReading();
    if (![...connections].some(isSendingLastBytes)) server.closeIdleConnections();
    // Browsers open connections ahead, and may never use them.
    if (performance.now() > unusedUntil) for (const socket of connections) if (socket.bytesRead === 0) socket.destroy();
    if (await Promise.race([isClosed, sleep(pollMs, false)])) break;
  }
  // Ends the server's timer for slow requests as well.
  server.close();
  server.closeAllConnections();
}

function isSendingLastBytes({ _httpMessage: response }: ServingSocket): boolean {
  return response?.writableEnded === true;
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
  { bff, close }: { readonly bff: Pick<Bff, 'events'>; readonly close: Shutdown },
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
    // No wait for load balancers: what the fault has left behind should get no more calls.
    close({ waitSeconds: 0 }).then(exit, exit);
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
