/**
 * Sallyport in a process of its own, seen from outside: what it holds, and whether it is still the process that it was.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { onTestFinished, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { Demand, Gauges, Started } from './measured-server.ts';
import { within } from './world.ts';

export interface SeparateServer extends Started {
  readonly pid: number;
  /** How the process ended, and its last words on standard error; undefined while it runs. */
  readonly death: string | undefined;
  /** What it holds at this moment. */
  readonly gauges: () => Promise<Gauges>;
  /**
   * What it holds when its clients have gone and the connections that it keeps for the next call have ended. Fails where
   * some stay.
   * @param upstreams its API, its provider and the like, with the connections that they have
   */
  readonly gaugesWhenQuiet: (upstreams: readonly Server[]) => Promise<Gauges>;
  /** Puts the clock of the process forward; that of the test and the provider stays. */
  readonly advance: (milliseconds: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface SeparateServerOptions {
  /** File descriptors that the process may have (`ulimit -n`). */
  readonly descriptors?: number;
  /** What its heap may hold: a leak then ends that process rather than this machine's patience. */
  readonly heapMegabytes?: number;
}

/** Longer than Sallyport keeps a connection for the next call, or lets a refused client linger. */
const quietWithinMs = 20_000;

/** Starts {@link file://./measured-server.ts}. It ends with the test, or, `scope: 'manual'`, with `stop()`. */
export async function startMeasured(
  config: ConfigInput,
  { descriptors, heapMegabytes }: SeparateServerOptions = {},
  { scope = 'test' }: { scope?: 'test' | 'manual' } = {},
): Promise<SeparateServer> {
  const limit = descriptors === undefined ? '' : `ulimit -n ${descriptors}; `;
  const heap = heapMegabytes === undefined ? [] : [`--max-old-space-size=${heapMegabytes}`];
  const program = [process.execPath, '--expose-gc', ...heap, join(import.meta.dirname, 'measured-server.ts')];
  const child = spawn('sh', ['-c', `${limit}exec "$0" "$@"`, ...program], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const words = keepLast(child.stderr);
  let death: string | undefined;
  child.once('exit', (code, signal) => {
    death = `the process ended with ${signal ?? code}: ${words()}`;
  });
  const stop = async (): Promise<void> => {
    if (death !== undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  if (scope === 'test') onTestFinished(stop);

  /** Sends a message and waits for the answer; a process that has ended gives none. */
  async function ask(message: ConfigInput | Demand): Promise<unknown> {
    if (death !== undefined) throw new Error(death);
    const over = new AbortController();
    const ended = once(child, 'exit', { signal: over.signal }).then(() => {
      throw new Error(death);
    });
    ended.catch(() => undefined);
    try {
      const answered = once(child, 'message', { signal: over.signal });
      child.send(message);
      const [answer] = (await within(20, Promise.race([answered, ended]), 'no answer from the process')) as [unknown];
      return answer;
    } finally {
      over.abort();
    }
  }

  const started = (await ask(config)) as Started;
  const gauges = async () => (await ask({})) as Gauges;
  return {
    ...started,
    pid: child.pid ?? 0,
    get death() {
      return death;
    },
    gauges,
    async gaugesWhenQuiet(upstreams) {
      await vi.waitFor(
        async () => {
          const { resources } = await gauges();
          const open = [resources['TCPSocketWrap'] ?? 0, ...(await Promise.all(upstreams.map(connectionsOf)))];
          if (open.some((count) => count > 0)) throw new Error(`connections stay open: ${open.join(', ')}`);
        },
        { timeout: quietWithinMs, interval: 250 },
      );
      // One look may catch what the next collection frees: the least of several is what is held.
      const looks: Gauges[] = [];
      while (looks.length < 4) looks.push(await gauges());
      return looks.reduce((least, look) => (look.heap < least.heap ? look : least));
    },
    advance: async (advanceMs) => void (await ask({ advanceMs })),
    stop,
  };
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

/** The last 2,000 characters of a stream. */
function keepLast(stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-2000);
  });
  return () => text.trim();
}
