/**
 * What the operator sees: on a terminal one line a request that a person can read, and at the start what they must know.
 * The log of a terminal is written to by strangers, too: what they send moves no cursor and makes no line.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { freePort } from '../support/listener.ts';
import { rawRequest } from '../support/raw.ts';
import { startRedis } from '../support/redis.ts';
import { callHead, exchange, Wire } from '../support/wire.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const cli = join(import.meta.dirname, '../../src/cli/main.ts');

interface OnTerminal {
  readonly world: World;
  readonly port: number;
  /** All that was printed. */
  readonly screen: () => string;
  /** The line that holds the text, without colours; waits for it. */
  readonly line: (text: string) => Promise<string>;
}

/** `sallyport start` as a person runs it. */
async function startOnTerminal(change: Partial<ConfigInput> = {}): Promise<OnTerminal> {
  const world = await startWorld();
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-terminal-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'config.json');
  const config = { ...world.config, listen: { port }, logLevel: 'info', ...change };
  await writeFile(file, JSON.stringify(config));
  // `script` gives the program a terminal.
  const command = `${process.execPath} ${cli} start --config ${file}`;
  const terminal = spawn('script', ['-qefc', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(terminal, 'exit');
  onTestFinished(async () => {
    // The program in it is hung up on.
    terminal.kill('SIGKILL');
    await ended;
  });
  let screen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
  });
  const line = (text: string) =>
    vi.waitFor(
      () => {
        const found = screen.split('\n').find((each) => each.includes(text) && each.endsWith('\r'));
        if (found === undefined) throw new Error(`no line with ${JSON.stringify(text)} in:\n${screen}`);
        return stripVTControlCharacters(found).trimEnd();
      },
      { timeout: 10_000, interval: 20 },
    );
  await line('listening');
  await line('provider.discovered');
  return { world, port, screen: () => screen, line };
}

// Of the terminal's own language only colours may come, and line ends.
// oxlint-disable-next-line no-control-regex
const colours = /\u001b\[[\d;]*m/g;
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

describe('on a terminal', () => {
  test('each request is one line with time, level, method, path, status, duration, code and id', async () => {
    const { world, port, line } = await startOnTerminal();
    const browser = world.client();
    browser.routeTo(port);
    const refused = await browser.fetch('/api/refused?secret=x');
    const told = await line('/api/refused');
    expect(told).toMatch(/\d\d:\d\d:\d\d/);
    expect(told).toMatch(/info|warn/i);
    expect(told).toContain('GET /api/refused');
    expect(told).toMatch(/\b401\b/);
    expect(told).toMatch(/\d+(?:\.\d+)? ?ms/);
    expect(told).toContain('login_required');
    expect(told).toContain(String(refused.at('instance')));
    expect(told).not.toContain('secret');

    await signIn(browser);
    expect((await browser.fetch('/api/served')).status).toBe(200);
    const served = await line('/api/served');
    expect(served).toMatch(/GET \/api\/served.*\b200\b/);
    expect(served).not.toMatch(/undefined|null|\[object|\{/);

    await world.api.down();
    expect((await browser.fetch('/api/failed', { method: 'POST' })).status).toBe(502);
    expect(await line('POST /api/failed')).toContain('upstream_unavailable');
    await world.api.up();
    expect((await browser.fetch('/bff/nowhere')).status).toBe(404);
    expect(await line('/bff/nowhere')).toContain('route_not_found');
  });

  test('the start says which address to open', async () => {
    const { world, port, line } = await startOnTerminal({ path: '/shop' });
    expect(await line('listening')).toContain(`listening on 127.0.0.1:${port}; open ${world.origin}/shop/`);
  });

  test('a call that its client left says so', async () => {
    const { world, port, line } = await startOnTerminal();
    const browser = world.client();
    browser.routeTo(port);
    await signIn(browser);
    world.api.handleRaw(() => undefined);
    const wire = new Wire(port);
    wire.write(`${callHead(browser, 'GET', '/api/left')}\r\n`);
    await vi.waitFor(() => expect(world.api.inFlight).toBe(1));
    wire.socket.resetAndDestroy();
    expect(await line('/api/left')).toContain('aborted');
  });

  test('every request has exactly one line, in the order of their ends', async () => {
    const { world, port, screen, line } = await startOnTerminal();
    const browser = world.client();
    browser.routeTo(port);
    for (let count = 0; count < 20; count += 1) await browser.fetch(`/api/number-${count}-`);
    await line('/api/number-19-');
    const lines = screen()
      .split('\n')
      .filter((each) => each.includes('/api/number-'));
    expect(lines.map((each) => /number-(\d+)-/.exec(each)?.[1])).toEqual(
      Array.from({ length: 20 }, (_, count) => String(count)),
    );
  });

  test.each([
    ['escapes of eight bits', '/api/\x9b2J\x9b31mred'],
    ['C1 controls', '/api/\x84\x85\x8d\x90\x9d0;title\x9c'],
    ['bytes that are no UTF-8', '/api/\xff\xfe\xc3('],
    ['a backspace that is encoded', '/api/%08%1b%5b2J'],
    ['directions', `/api/${Buffer.from('\u202egnp.exe\u2066').toString('latin1')}`],
    ['line ends of other kinds', `/api/${Buffer.from('\u2028\u2029\u0085').toString('latin1')}next`],
    ['8 kB', `/api/${'a'.repeat(8000)}`],
  ])('a path with %s moves no cursor and begins no line', async (_, path) => {
    const { port, screen, line } = await startOnTerminal();
    const { length } = screen();
    await rawRequest(port, Buffer.from(`GET ${path}/end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, 'latin1'));
    await exchange(port, 'GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await line('/after');
    const printed = screen().slice(length).replaceAll(colours, '').replaceAll('\r\n', '\n');
    expect(printed).not.toMatch(controls);
    // What is no HTTP to Node has no line at all.
    const about = printed.trim().split('\n');
    expect(about.filter((each) => !/(?:\/end|\/after) \d{3} /.test(each))).toEqual([]);
    expect(about.length).toBeLessThanOrEqual(2);
  });

  test.each([
    ['a method', '\x1b[2J /x HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a version', 'GET /x HTTP/\x1b[2J\r\nHost: x\r\n\r\n'],
    ['a host', 'GET /x HTTP/1.1\r\nHost: \x9b2J\r\nConnection: close\r\n\r\n'],
    [
      'a callback',
      'GET /bff/callback?state=%1b[2J&code=%0a%0d&error=%1b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    ],
  ])('no control character of %s reaches the terminal', async (_, bytes) => {
    const { port, screen, line } = await startOnTerminal();
    const { length } = screen();
    await rawRequest(port, Buffer.from(bytes, 'latin1'));
    await exchange(port, 'GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await line('/after');
    expect(screen().slice(length).replaceAll(colours, '').replaceAll('\r\n', '\n')).not.toMatch(controls);
  });
});

describe('where the log goes to a file or a collector', () => {
  test('each request is one line of JSON', async () => {
    const world = await startWorld();
    const browser = world.client();
    const refused = await browser.fetch('/api/refused');
    await vi.waitFor(() => expect(world.logs.join('')).toContain('/api/refused'));
    const lines = world.logs.map((each) => JSON.parse(each) as Record<string, unknown>);
    const [told, ...more] = lines.filter(({ path }) => path === '/api/refused');
    expect(more).toEqual([]);
    expect(told).toMatchObject({
      method: 'GET',
      status: 401,
      requestId: refused.at('instance'),
    });
    expect(told?.['ms']).toBeGreaterThanOrEqual(0);
  });
});

function warnings({ logs }: World): string[] {
  const lines = logs.map((each) => JSON.parse(each) as { level: number; msg: string });
  return lines.filter(({ level }) => level === 40).map(({ msg }) => msg);
}

describe('at the start', () => {
  test('the log warns that a restart forgets sign-outs where the store is this process’s memory', async () => {
    const world = await startWorld();
    expect(warnings(world)).toEqual([expect.stringMatching(/restart/i)]);
    expect(warnings(world)[0]).toMatch(/sign-?outs?/i);
    await world.restart();
    expect(warnings(world)).toHaveLength(2);
  });

  test('and says nothing of it where instances share a store', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const world = await startWorld({ config: { redisUrl: redis.url } });
    expect(warnings(world)).toEqual([]);
  });
});
