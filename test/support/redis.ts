/**
 * A real redis-server on a free loopback port, with nothing on disk, that a test can kill, start again, stop for a while
 * and look into. Without the program the tests that need it fail: they are not passed over.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './listener.ts';

export interface TestRedis {
  readonly port: number;
  readonly url: string;
  /** Kills the server; connections break. */
  readonly down: () => Promise<void>;
  /** Starts it again on the same port. It has forgotten everything. */
  readonly up: () => Promise<void>;
  /** It takes connections and commands and answers nothing, until {@link TestRedis.resume}. */
  readonly freeze: () => void;
  readonly resume: () => void;
  /** The reply to a command, as text; arrays as their elements in lines. */
  readonly ask: (...command: string[]) => Promise<string>;
  /** Every key with its value. */
  readonly dump: () => Promise<ReadonlyMap<string, string>>;
  readonly close: () => Promise<void>;
}

export interface TestRedisOptions {
  readonly password?: string;
  /** Further arguments of redis-server. `--port` may be replaced. */
  readonly settings?: readonly string[];
}

const startTimeoutMs = 10_000;

export async function startRedis({ password, settings = [] }: TestRedisOptions = {}): Promise<TestRedis> {
  const port = await freePort();
  let server: ChildProcess | undefined;
  await up();

  async function up(): Promise<void> {
    const secret = password === undefined ? [] : ['--requirepass', password];
    const basics = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp'];
    server = spawn('redis-server', [...basics, ...secret, ...settings], { stdio: 'ignore' });
    const failed = once(server, 'error').then(([error]: unknown[]) => {
      throw error;
    });
    await Promise.race([failed, answering(port)]);
  }

  async function down(): Promise<void> {
    const ended = server;
    if (ended === undefined) return;
    server = undefined;
    const exit = once(ended, 'exit');
    ended.kill('SIGKILL');
    await exit;
  }

  async function ask(...command: string[]): Promise<string> {
    return talk(port, password === undefined ? [command] : [['AUTH', password], command]);
  }

  return {
    port,
    url: `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}`,
    up,
    down,
    ask,
    freeze: () => void server?.kill('SIGSTOP'),
    resume: () => void server?.kill('SIGCONT'),
    async dump() {
      const keys = (await ask('KEYS', '*')).split('\n').filter((key) => key !== '');
      return new Map(await Promise.all(keys.map(async (key) => [key, await ask('GET', key)] as const)));
    },
    close: down,
  };
}

async function answering(port: number): Promise<void> {
  for (const deadline = performance.now() + startTimeoutMs; performance.now() < deadline; await sleep(20)) {
    try {
      await talk(port, [['PING']]);
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  throw new Error(`redis-server did not answer on port ${port}`);
}

/** Sends the commands on one connection (RESP 2); answers the last one's reply. */
function talk(port: number, commands: readonly (readonly string[])[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.setEncoding('latin1').on('error', reject);
    socket.on('data', (text: string) => {
      received += text;
    });
    socket.on('end', () => {
      const replies = parseReplies(received);
      resolve(replies.at(-2) ?? '');
    });
    for (const command of [...commands, ['QUIT']]) {
      socket.write(`*${command.length}\r\n${command.map((part) => `$${part.length}\r\n${part}\r\n`).join('')}`);
    }
  });
}

/** Every reply of a RESP 2 stream, as text. */
function parseReplies(text: string): string[] {
  let at = 0;
  const replies: string[] = [];
  while (at < text.length) replies.push(next());
  return replies;

  function next(): string {
    const end = text.indexOf('\r\n', at);
    const [kind, rest] = [text[at], text.slice(at + 1, end)];
    at = end + 2;
    if (kind === '*') return Array.from({ length: Number(rest) }, next).join('\n');
    if (kind !== '$') return rest;
    const length = Number(rest);
    if (length === -1) return '';
    const value = text.slice(at, at + length);
    at += length + 2;
    return value;
  }
}
