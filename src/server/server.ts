/** The listeners: the public one, the one for operations, their limits, the request log and the graceful end. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DestinationStream } from 'pino';
import { assembleBff, type AssembledBff, type Bff, type BffOptions } from '../bff.ts';
import type { Config } from '../config/config.ts';
import { createLog, logEvents, type Log } from '../telemetry/log.ts';

/** Four session cookies and what browsers add must fit. */
const maximumHeaderBytes = 32 * 1024;
const headersTimeoutMs = 15_000;
/** An upload may take long, but not for ever. */
const requestTimeoutMs = 60 * 60 * 1000;
/** Longer than load balancers keep their connections, so that they and not we end an idle one. */
const keepAliveTimeoutMs = 65_000;
const drainPollMs = 50;

const memoryOnly =
  "Sign-outs and the results of refreshes are in this process's memory only. A restart forgets them: a copied cookie of a " +
  'session that was signed out works again, and an answer lost on its way may end a session. Set SALLYPORT_REDIS_URL.';

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
  /** Stops accepting, finishes what runs within `drainSeconds`, closes everything. */
  readonly close: () => Promise<void>;
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
export async function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const { log, flush } = createLog({
    level: config.logLevel,
    ...(options.logTo === undefined ? {} : { to: options.logTo }),
  });
  const bff = assembleBff(config, options, (error, requestId, request: CodedRequest | undefined) => {
    if (request !== undefined) request[problemCode] = error.code;
    if (error.status < 500) log.debug({ requestId, code: error.code, cause: error.cause }, 'request refused');
    else log.warn({ requestId, code: error.code, detail: error.message, cause: error.cause }, 'request failed');
  });
  logEvents(log, bff.events);
  const server = publicServer(bff, log);
  let draining = false;
  const ops = createServer((request, response) => answerOps(request, response, () => bff.ready() && !draining));
  try {
    await listen(server, config.listen.port, config.listen.host);
    if (config.listen.opsPort !== undefined) await listen(ops, config.listen.opsPort, config.listen.host);
  } catch (error) {
    server.close();
    await bff.close();
    throw error;
  }
  // A connection that the system couldn't accept, for want of descriptors say, must not end the process.
  for (const listener of [server, ops]) {
    listener.on('error', (cause) => bff.events.emit({ type: 'listener.failed', cause }));
  }
  const { port } = server.address() as AddressInfo;
  log.info({ origin: config.origin, host: config.listen.host, port }, 'listening');
  if (bff.forgetsAtRestart) log.warn(memoryOnly);

  let closing: Promise<void> | undefined;
  async function stop(): Promise<void> {
    draining = true;
    bff.drain();
    await drain(server, config.drainSeconds);
    await bff.close();
    ops.close();
    ops.closeAllConnections();
    log.info('stopped');
    flush();
  }
  /** Whoever asks once more waits for the same end. */
  const close = () => (closing ??= stop());

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

const problemCode: unique symbol = Symbol('problemCode');
type CodedRequest = IncomingMessage & { [problemCode]?: string };

const startedAt: unique symbol = Symbol('startedAt');
type TimedResponse = ServerResponse & { [startedAt]?: number };

function publicServer(bff: AssembledBff, log: Log): Server {
  const server = createServer({
    maxHeaderSize: maximumHeaderBytes,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
  });
  const observer = {
    onRequest(_: IncomingMessage, response: TimedResponse): void {
      response[startedAt] = performance.now();
      response.on('close', logRequest);
    },
    onUpgrade(request: IncomingMessage, status: number | undefined, sinceMs: number): void {
      logLine(request, status, sinceMs, status === undefined);
    },
  };
  bff.attach(server, undefined, log.isLevelEnabled('info') ? observer : undefined);
  return server;

  /** One function for all responses: a closure for each costs the garbage collector more than the look-ups. */
  function logRequest(this: TimedResponse): void {
    logLine(this.req, this.statusCode, this[startedAt] ?? 0, !this.writableFinished);
  }

  /** @param status undefined where the client left before there was one */
  function logLine(request: CodedRequest, status: number | undefined, since: number, aborted: boolean): void {
    const { url = '', method } = request;
    const query = url.indexOf('?');
    log.info(
      {
        requestId: bff.requestIdOf(request),
        method,
        path: query === -1 ? url : url.slice(0, query),
        status,
        ms: Math.round((performance.now() - since) * 10) / 10,
        ...(request[problemCode] === undefined ? undefined : { code: request[problemCode] }),
        ...(aborted ? { aborted } : undefined),
      },
      'request',
    );
  }
}

/** `/livez`: the process runs. `/readyz`: it can sign people in, and isn't about to stop. */
function answerOps(request: IncomingMessage, response: ServerResponse, isReady: () => boolean): void {
  const status = request.url === '/livez' ? 200 : request.url !== '/readyz' ? 404 : isReady() ? 200 : 503;
  response.writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
  response.end(status === 200 ? 'ok\n' : status === 503 ? 'not ready\n' : 'not found\n');
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** No new connections; those that run go on until they end or the time is up. */
async function drain(server: Server, seconds: number): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  const closed = new Promise<true>((resolve) => server.close(() => resolve(true)));
  while (Date.now() < deadline) {
    server.closeIdleConnections();
    if (await Promise.race([closed, sleep(drainPollMs, false)])) return;
  }
  server.closeAllConnections();
}
