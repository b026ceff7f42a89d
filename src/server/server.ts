/** A server of our own: the public listener with its limits, the listener for operations, the log, and the end of all. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { DestinationStream } from 'pino';
import { assembleBff, type Bff, type BffOptions } from '../bff.ts';
import type { Config } from '../config/config.ts';
import { createLog, logEvents, type Log } from '../telemetry/log.ts';
import { createRequestLog, logProblem } from '../telemetry/request-log.ts';
import { memoryWarnings } from './start-warnings.ts';
import { createOpsServer } from './ops.ts';
import { createOperatorApi } from './ops-sessions.ts';
import { createShutdown, type Shutdown } from './shutdown.ts';

export type { CloseLimits } from './shutdown.ts';

/** Four session cookies and what browsers add must fit. */
const maximumHeaderBytes = 32 * 1024;
const headersTimeoutMs = 15_000;
/** Long enough for a slow upload; without a limit, a client could hold a connection by sending a byte now and then. */
const requestTimeoutMs = 60 * 60 * 1000;
/** Longer than load balancers keep idle connections, so that the balancer closes them and never reuses a closed one. */
const keepAliveTimeoutMs = 65_000;

/**
 * What a program may give to {@link startServer} beside the configuration.
 *
 * @example
 * ```ts
 * import type { ServerOptions } from 'sallyport';
 *
 * const lines: string[] = [];
 *
 * export const options: ServerOptions = { logTo: { write: (line) => void lines.push(line) } };
 * ```
 */
export interface ServerOptions extends BffOptions {
  /** Where log lines go; default: standard output. */
  readonly logTo?: DestinationStream;
}

/**
 * A server that listens, with the addresses that it got.
 *
 * @example
 * ```ts
 * import type { RunningServer } from 'sallyport';
 *
 * export function closeOnSignal(server: RunningServer): void {
 *   process.once('SIGTERM', () => void server.close());
 * }
 * ```
 */
export interface RunningServer {
  readonly origin: string;
  readonly host: string;
  readonly port: number;
  readonly opsPort: number | undefined;
  readonly bff: Bff;
  readonly log: Log;
  /**
   * Turns unready, serves for another `drain.waitSeconds`, stops accepting, finishes what runs within `drainSeconds`, and
   * closes everything. Each call waits for the same end; a later one can bring it forward.
   */
  readonly close: Shutdown;
}

/**
 * Starts what `sallyport start` runs. Rejects if it cannot listen on a port.
 *
 * @example
 * ```ts
 * import { startServer } from 'sallyport';
 *
 * type ResolvedConfig = Parameters<typeof startServer>[0];
 *
 * export async function serve(config: ResolvedConfig): Promise<void> {
 *   const { origin, port } = await startServer(config);
 *   console.log(`${origin} on port ${port}`);
 * }
 * ```
 */
export function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  return startPlaced(config, options);
}

/** Where a server listens that is one of several workers. */
export interface WorkerPlace {
  readonly worker: number;
  /** The descriptor of the socket that the workers share. */
  readonly fd: number;
  /** Called before it listens. */
  readonly onServer: (server: Server) => void;
}

/** {@link startServer}, as one of several workers if `place` says so. */
export async function startPlaced(config: Config, options: ServerOptions, place?: WorkerPlace): Promise<RunningServer> {
  const { log, end: endLog } = createLog({
    level: config.logLevel,
    worker: place?.worker,
    sharesOutput: place !== undefined,
    ...(options.logTo === undefined ? {} : { to: options.logTo }),
  });
  const bff = assembleBff(config, options, (error, requestId, request) => logProblem(log, error, requestId, request));
  logEvents(log, bff.events);
  const server = createPublicServer();
  bff.attach(server, undefined, log.isLevelEnabled('info') ? createRequestLog(log, bff.requestIdOf) : undefined);
  const operator = createOperatorApi(config, {
    sessions: bff.sessions,
    onError: (error, request) => logProblem(log, error, bff.requestIdOf(request), request),
  });
  const ops = createOpsServer(() => (close.begun() ? 'stopping' : bff.ready() ? 'ready' : 'not ready'), operator);
  const running = { bff, server, connections: trackConnections(server), ops, log, endLog };
  const { drainSeconds, drain } = config;
  const close = createShutdown(running, { drainSeconds, waitSeconds: drain.waitSeconds });
  place?.onServer(server);
  try {
    await listen(
      server,
      place === undefined ? { port: config.listen.port, host: config.listen.host } : { fd: place.fd },
    );
    // That of workers is the first process's.
    if (place === undefined) await listenForOps(ops, config);
  } catch (error) {
    server.close();
    await bff.close();
    throw error;
  }
  // A connection that the system cannot accept, for example for lack of descriptors, must not end the process.
  for (const listener of [server, ops]) {
    listener.on('error', (cause) => bff.events.emit({ type: 'listener.failed', cause }));
  }
  const { port } = server.address() as AddressInfo;
  if (place === undefined) logStart(log, config, { port });
  if (bff.forgetsAtRestart) log.warn(memoryWarnings(config));

  return {
    origin: config.origin,
    host: config.listen.host,
    port,
    bff,
    log,
    close,
    opsPort: (ops.address() as AddressInfo | null)?.port,
  };
}

function createPublicServer(): Server {
  return createServer({
    maxHeaderSize: maximumHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
  });
}

/** The server's open connections. */
function trackConnections(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return open;
}

/** @param place the port that it got, and how many workers listen on it */
export function logStart(log: Log, config: Config, place: { readonly port: number; readonly workers?: number }): void {
  log.info({ origin: config.origin, path: config.home, host: config.listen.host, ...place }, 'listening');
}

export async function listenForOps(ops: Server, { listen: { host, opsPort } }: Pick<Config, 'listen'>): Promise<void> {
  if (opsPort !== undefined) await listen(ops, { port: opsPort, host });
}

function listen(server: Server, address: ListenOptions | { readonly fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
