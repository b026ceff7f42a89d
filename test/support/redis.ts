/**
 * A real server on a free loopback port, with nothing on disk, that a test can kill, start again, stop for a while and look
 * into: Redis or Valkey, whatever this machine has. Without either the tests that need it fail: they are not passed over.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
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

/** The programs to try: those that the variables name, else those on the path. The first serves where one is enough. */
export const redisPrograms = findPrograms();

function findPrograms(): readonly [string, ...string[]] {
  const named = ['REDIS_SERVER_PATH', 'VALKEY_SERVER_PATH'].flatMap((name) => process.env[name] ?? []);
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const onPath = ['redis-server', 'valkey-server'].filter((name) =>
    folders.some((folder) => existsSync(join(folder, name))),
  );
  const [first = 'redis-server', ...others] = named.length > 0 ? named : onPath;
  return [first, ...others];
}

export interface TestRedisOptions {
  /** One of {@link redisPrograms}. */
  readonly program?: string;
  readonly password?: string;
  /** Further arguments of the program. `--port` may be replaced. */
  readonly settings?: readonly string[];
}

const startTimeoutMs = 10_000;

export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const { program = redisPrograms[0], password, settings = [] } = options;
  const port = await freePort();
  // A replica writes down what its master sent, and would read it when it is started again.
  const file = join(tmpdir(), `sallyport-${port}.rdb`);
  let server: ChildProcess | undefined;
  await up();

  async function up(): Promise<void> {
    const secret = password === undefined ? [] : ['--requirepass', password];
    const basics = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const place = ['--dir', dirname(file), '--dbfilename', basename(file)];
    server = spawn(program, [...basics, ...place, ...secret, ...settings], { stdio: 'ignore' });
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
    await rm(file, { force: true });
  }

  async function ask(...command: string[]): Promise<string> {
    return talk(port, password === undefined ? [command] : [['AUTH', password], command]);
  }

  async function valueOf(key: string): Promise<string> {
    const type = await ask('TYPE', key);
    if (type === 'hash') return ask('HGETALL', key);
    return type === 'zset' ? ask('ZRANGE', key, '0', '-1', 'WITHSCORES') : ask('GET', key);
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
      return new Map(await Promise.all(keys.map(async (key) => [key, await valueOf(key)] as const)));
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
  throw new Error(`The server did not answer on port ${port}.`);
}

/** Sends the commands on one connection (RESP 2); answers the last one's reply. */
export function talk(port: number, commands: readonly (readonly string[])[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.setEncoding('latin1').on('error', reject);
    socket.setTimeout(startTimeoutMs, () => socket.destroy(new Error(`The server on port ${port} does not answer.`)));
    socket.on('close', () => reject(new Error(`The server on port ${port} has closed the connection.`)));
    socket.on('data', (text: string) => {
      received += text;
      const replies = parseReplies(received);
      if (replies.length < commands.length) return;
      resolve(replies.at(-1) ?? '');
      socket.destroy();
    });
    for (const command of commands) {
      socket.write(`*${command.length}\r\n${command.map((part) => `$${part.length}\r\n${part}\r\n`).join('')}`);
    }
  });
}

/** Every reply of a RESP 2 stream that has come whole, as text. */
function parseReplies(text: string): string[] {
  let at = 0;
  const replies: string[] = [];
  for (let reply = next(); reply !== undefined; reply = next()) replies.push(reply);
  return replies;

  function next(): string | undefined {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const [kind, rest] = [text[at], text.slice(at + 1, end)];
    at = end + 2;
    if (kind === '*') {
      const parts = Array.from({ length: Number(rest) }, next);
      return parts.includes(undefined) ? undefined : parts.join('\n');
    }
    if (kind !== '$') return rest;
    const length = Number(rest);
    if (length === -1) return '';
    const value = text.slice(at, at + length);
    at += length + 2;
    return at > text.length ? undefined : value;
  }
}
