/**
 * The log: JSON lines, readable ones on a terminal, and one line for each domain event. It holds no secret: events carry
 * none, and of an error's causes only names, codes and messages are written.
 */
import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino, symbols, type DestinationStream, type Logger } from 'pino';
import type { BffEvent, Events } from '../events.ts';
import { terminalLine } from './terminal-lines.ts';

export type Log = Logger;

export interface LogOptions {
  readonly level: string;
  /** Where the lines go; default: standard output. */
  readonly to?: DestinationStream;
  /** The number of the worker whose lines these are. */
  readonly worker?: number | undefined;
  /** Whether other processes write to the same standard output. */
  readonly sharesOutput?: boolean;
}

/**
 * Lines are written in blocks, because a write per line costs more than making the line. A process that is killed loses
 * the lines of the last {@link flushMs}.
 */
const blockBytes = 32 * 1024;
/** Where several processes write to one pipe: a larger block may be mixed with another's lines (pipe(7), PIPE_BUF). */
const sharedBlockBytes = 4096;
const flushMs = 500;

/** @returns the log, and a function that writes the lines that are still held back and ends it */
export function createLog(options: LogOptions): { log: Log; end: () => Promise<void> } {
  if (options.to !== undefined) return { log: pino(settings(options), options.to), end: async () => undefined };
  if (process.stdout.isTTY) {
    // A terminal that was closed must not end the process.
    process.stdout.on('error', () => undefined);
    const terminal = { write: (line: string) => process.stdout.write(terminalLine(line)) };
    return { log: pino(settings(options), terminal), end: async () => undefined };
  }
  const blocks = createBlocks(options.sharesOutput === true ? sharedBlockBytes : blockBytes);
  const timer = setInterval(blocks.flush, flushMs).unref();
  return {
    log: pino(settings(options), blocks),
    async end() {
      clearInterval(timer);
      await blocks.end();
    },
  };
}

interface ByteDestination extends EventEmitter {
  write(bytes: Buffer): boolean;
  destroy(): void;
}

/** How long the end of the process waits for its last lines to be written. */
const endMs = 1000;

/** Held in memory while the reader of the log is slow or the disk is full; lines beyond it are dropped. */
const maximumHeldBytes = 16 * 1024 * 1024;

/**
 * Standard output, through blocks of bytes. This costs 1 us a line under load; lines that are held as strings survive
 * several garbage collections and cost 10 us.
 */
function createBlocks(size: number) {
  // With `contentMode: 'buffer'` it takes bytes; its types don't know that.
  const settings = { fd: 1, sync: false, contentMode: 'buffer', maxLength: maximumHeldBytes, maxWrite: size } as const;
  const destination = pino.destination(settings) as unknown as ByteDestination;
  // A log that can't be written must not end the process, and there is no other place to report it.
  destination.on('error', () => undefined);
  let block = Buffer.allocUnsafe(size);
  let used = 0;
  let isWritten = true;
  let hasEnded = false;
  destination.on('drain', () => (isWritten = true));

  function send(bytes: Buffer): void {
    if (hasEnded) return;
    isWritten = false;
    destination.write(bytes);
  }

  function flush(): void {
    if (used === 0) return;
    send(block.subarray(0, used));
    block = Buffer.allocUnsafe(size);
    used = 0;
  }

  return {
    write(line: string): void {
      // A character takes three bytes of UTF-8 at most.
      if (used + line.length * 3 > size) flush();
      if (line.length * 3 > size) send(Buffer.from(line));
      else used += block.write(line, used);
    },
    flush,
    /** Not by `flushSync`, which tries for ever where the disk is full or nobody reads. */
    async end(): Promise<void> {
      flush();
      if (!isWritten) {
        const outcome = new Promise((resolve) => destination.once('drain', resolve).once('error', resolve));
        await Promise.race([outcome, sleep(endMs, undefined, { ref: false })]);
      }
      hasEnded = true;
      destination.destroy();
    },
  };
}

function settings({ level, worker }: LogOptions) {
  return { level, base: worker === undefined ? null : { worker }, serializers: { cause: describeCause } };
}

const levels: Readonly<Record<BffEvent['type'], 'info' | 'warn' | 'error' | 'fatal'>> = {
  'login.started': 'info',
  'login.restarted': 'info',
  'login.succeeded': 'info',
  'login.refresh_token_missing': 'warn',
  'login.failed': 'warn',
  'token.refreshed': 'info',
  'token.obtained': 'info',
  'token.refresh_failed': 'warn',
  'token.obtain_failed': 'warn',
  'token.inactive': 'warn',
  'access.denied': 'warn',
  'policy.failed': 'warn',
  'session.ended': 'info',
  'session.oversized': 'warn',
  'session.large': 'warn',
  'logout.revocation_failed': 'warn',
  'logout.token_refused': 'warn',
  'provider.discovered': 'info',
  'provider.discovery_failed': 'warn',
  'provider.keys_failed': 'warn',
  'provider.unsuitable': 'warn',
  'provider.push_refused': 'warn',
  'credentials.renewed': 'info',
  'credentials.unusable': 'error',
  'userinfo.failed': 'warn',
  'store.failed': 'warn',
  'store.emptied': 'error',
  'store.writes_lost': 'error',
  'listener.failed': 'error',
  'worker.started': 'info',
  'worker.stopped': 'info',
  'worker.failed': 'error',
  'config.replaced': 'info',
  'config.refused': 'error',
  'process.failed': 'fatal',
};

/** Writes a line that is made already, to where the other lines go. */
export function writeLine(log: Log, line: string): void {
  // pino's types don't have the field, whose symbol pino exports.
  (log as Log & { readonly [symbols.streamSym]: DestinationStream })[symbols.streamSym].write(line);
}

/** Writes every domain event to the log. */
export function logEvents(log: Log, events: Events): void {
  events.subscribe((event) => {
    const { type, ...fields } = event;
    log[levels[type]](fields, type);
  });
}

interface DescribedCause {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly error?: string;
  readonly description?: string;
  readonly uri?: string;
  readonly cause?: DescribedCause;
}

const maximumCauses = 5;

/** An error's chain of causes by name, message and a few texts: other properties may hold responses, and with them tokens. */
export function describeCause(error: unknown, depth = 0): DescribedCause | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = depth < maximumCauses ? describeCause(error.cause, depth + 1) : undefined;
  return {
    name: error.name,
    // JSON.parse quotes what it could not read, which may be a token.
    message: error instanceof SyntaxError ? 'not readable' : error.message,
    ...textsOf(error),
    ...(cause === undefined ? {} : { cause }),
  };
}

/** What an error may tell beside its message: its code, and a provider's words (`oidc/refusal.ts`). */
const loggedTexts = ['code', 'error', 'description', 'uri'] as const;

function textsOf(error: Error): Partial<Record<(typeof loggedTexts)[number], string>> {
  const values = error as Partial<Record<string, unknown>> & Error;
  return Object.fromEntries(
    loggedTexts.flatMap((name) => (typeof values[name] === 'string' ? [[name, values[name]]] : [])),
  );
}
