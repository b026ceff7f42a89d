/** The limits of a route: what happens at them, that the answer names them, and that nobody else notices. */
import { createServer } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ConfigError, resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { changeTimers } from '../support/clock.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { callHead, chunked, exchange, finalOf, Wire } from '../support/wire.ts';
import { signIn, startWorld, within } from '../support/world.ts';

type Route = NonNullable<ConfigInput['api']>[number];

/** A world with the limits on `/api`, none on `/free`, and somebody signed in. */
async function startLimited(limits: Partial<Route>) {
  const world = await startWorld({
    config: (base) => {
      const target = String(base.api?.[0]?.target);
      return {
        ...base,
        api: [
          { path: '/api', target, ...limits },
          { path: '/free', target },
        ],
      };
    },
  });
  const browser = world.client();
  await signIn(browser);
  return Object.assign(world, { browser });
}

function problemOf(answer: { body: Buffer }): Record<string, unknown> {
  return JSON.parse(answer.body.toString()) as Record<string, unknown>;
}

describe('the size of a body', () => {
  const maxBodyBytes = 100_000;

  test.each([
    ['told', undefined],
    ['found out', [1000]],
    ['found out, within the replay limit', [1000], 10_000],
  ])('of one byte too much, %s, is 413 and names the limit', async (_, chunks, limit = maxBodyBytes) => {
    const { browser, server, api } = await startLimited({ maxBodyBytes: limit });
    const head = callHead(browser, 'POST', '/api/x');
    const body = Buffer.alloc(limit + 1);
    const bytes =
      chunks === undefined
        ? Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`), body])
        : Buffer.concat([
            Buffer.from(`${head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`),
            chunked(body, chunks),
          ]);
    const final = finalOf(await within(5, exchange(server.port, bytes), 'no answer'));
    expect(final.status).toBe(413);
    expect(problemOf(final)).toMatchObject({
      code: 'body_too_large',
      detail: expect.stringMatching(new RegExp(`${limit} bytes.*maxBodyBytes`)),
    });
    await browser.fetch('/bff/session');
    expect(api.requests).toEqual([]);
  });

  test.each([undefined, [1000]])('of exactly as much passes (chunks: %s)', async (chunks) => {
    const { browser, server, api } = await startLimited({ maxBodyBytes });
    const head = callHead(browser, 'POST', '/api/x');
    const body = Buffer.alloc(maxBodyBytes);
    const bytes =
      chunks === undefined
        ? Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`), body])
        : Buffer.concat([
            Buffer.from(`${head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`),
            chunked(body, chunks),
          ]);
    expect(finalOf(await within(5, exchange(server.port, bytes), 'no answer')).status).toBe(200);
    expect(api.last().body).toHaveLength(maxBodyBytes);
  });

  test('that announces too large a size is refused before its first byte, and the next call served', async () => {
    const { browser, server } = await startLimited({ maxBodyBytes });
    const wire = new Wire(server.port, 'POST');
    onTestFinished(() => void wire.socket.destroy());
    wire.write(`${callHead(browser, 'POST', '/api/x')}Content-Length: 10000000\r\n\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.some(({ complete }) => complete)),
      'no answer',
    );
    expect(wire.responses.map(({ status }) => status)).toEqual([413]);
    wire.write(Buffer.alloc(10_000_000));
    wire.write(`${callHead(browser, 'GET', '/api/next')}\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.length === 2),
      'the next call was not answered',
    );
    expect(wire.responses.map(({ status }) => status)).toEqual([413, 200]);
  });

  test('that grows too large on its way is cut off: the API never takes it for whole', async () => {
    const { browser, server, api } = await startLimited({ maxBodyBytes });
    const endings: boolean[] = [];
    api.handleRaw((request) => {
      request.resume();
      request.once('close', () => endings.push(request.complete));
    });
    const wire = new Wire(server.port, 'POST');
    onTestFinished(() => void wire.socket.destroy());
    wire.write(`${callHead(browser, 'POST', '/api/x')}Transfer-Encoding: chunked\r\n\r\n`);
    // The first is enough to be streamed, the last too much.
    for (const length of [80_000, 30_000]) wire.write(`${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.some(({ complete }) => complete)),
      'no answer',
    );
    expect(wire.responses.map(({ status }) => status)).toEqual([413]);
    await vi.waitFor(() => expect(endings).toEqual(api.requests.map(() => false)));
    // What the client still sends is read and thrown away.
    wire.write(`5\r\nhello\r\n0\r\n\r\n${callHead(browser, 'GET', '/bff/session')}\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.length === 2),
      'the next call was not answered',
    );
  });

  test.each([
    ['told too large', 'Content-Length: 10000000', ''],
    ['found too large', 'Transfer-Encoding: chunked', `${(200_000).toString(16)}\r\n${'x'.repeat(200_000)}\r\n`],
  ])('that is %s is not read for ever', async (_, framing, body) => {
    const { browser, server } = await startLimited({ maxBodyBytes });
    changeTimers(30_000, 100);
    const wire = new Wire(server.port, 'POST');
    wire.write(`${callHead(browser, 'POST', '/api/x')}${framing}\r\n\r\n${body}`);
    const got = await within(5, wire.ended(), 'the connection stayed open');
    expect(got.responses.map(({ status }) => status)).toEqual([413]);
  });

  test('does not concern other routes', async () => {
    const { browser } = await startLimited({ maxBodyBytes: 10 });
    expect((await browser.fetch('/free/x', { method: 'POST', body: 'x'.repeat(11) })).status).toBe(200);
    expect((await browser.fetch('/api/x', { method: 'POST', body: 'x'.repeat(11) })).status).toBe(413);
  });
});

describe('the time', () => {
  test('to a connection: 504 that names the limit', async () => {
    // Takes the connection and never says a word of TLS.
    const silent = createServer();
    const sockets = trackSockets(silent);
    const port = await listen(silent, 0);
    onTestFinished(() => closeNow(silent, sockets));
    const { browser } = await startLimited({ target: `https://localhost:${port}`, connectTimeoutSeconds: 0.2 });
    const answer = await within(5, browser.fetch('/api/x'), 'no answer');
    expect(answer.status).toBe(504);
    expect(answer.json()).toMatchObject({
      code: 'upstream_timeout',
      detail: expect.stringMatching(/0\.2 seconds.*connectTimeoutSeconds/),
    });
  });

  test('to the first byte: 504 that names the limit, and the API is told', async () => {
    const { browser, api } = await startLimited({ timeoutSeconds: 0.2 });
    let closed: Promise<void> | undefined;
    api.handleRaw((_, response) => {
      closed = new Promise((resolve) => response.once('close', () => resolve()));
    });
    const answer = await within(5, browser.fetch('/api/x'), 'no answer');
    expect(answer.status).toBe(504);
    expect(answer.json()).toMatchObject({
      code: 'upstream_timeout',
      detail: expect.stringMatching(/0\.2 seconds.*timeoutSeconds/),
    });
    await within(5, closed ?? Promise.reject(new Error('the API got nothing')), 'the API was not told');
  });

  test('to the first byte does not run while the client is slow to send', async () => {
    const { browser, server } = await startLimited({ timeoutSeconds: 0.3, replayBytes: 0 });
    const wire = new Wire(server.port, 'POST');
    onTestFinished(() => void wire.socket.destroy());
    wire.write(`${callHead(browser, 'POST', '/api/x')}Content-Length: 10\r\n\r\nhello`);
    await drip(wire, 1200, 'world');
    const final = finalOf(await within(5, wire.answered(), 'no answer'));
    expect(final.status).toBe(200);
  });

  test('to the first byte runs while the API is slow to read', async () => {
    const { browser, server, api } = await startLimited({ timeoutSeconds: 0.3 });
    api.handleRaw(() => undefined);
    const wire = new Wire(server.port, 'POST');
    onTestFinished(() => void wire.socket.destroy());
    wire.write(`${callHead(browser, 'POST', '/api/x')}Content-Length: 50000000\r\n\r\n`);
    wire.write(Buffer.alloc(50_000_000));
    await within(
      5,
      wire.until(({ responses }) => responses.some(({ complete }) => complete)),
      'no answer',
    );
    expect(wire.responses[0]).toMatchObject({ status: 504 });
  });

  test('between two chunks: a break, and a log line that names the limit; other streams go on', async () => {
    const { browser, server, api, logs } = await startLimited({ idleTimeoutSeconds: 0.2 });
    let sendMore: (() => void) | undefined;
    api.handleRaw((request, response) => {
      response.write('first;');
      if (request.url === '/free') sendMore = () => response.end('second');
    });
    const limited = new Wire(server.port);
    const free = new Wire(server.port);
    onTestFinished(() => void free.socket.destroy());
    free.write(`${callHead(browser, 'GET', '/free/free')}\r\n`);
    await free.until(({ bytes }) => bytes.includes('first;'));
    limited.write(`${callHead(browser, 'GET', '/api/x')}\r\n`);
    const broken = finalOf(await within(5, limited.ended(), 'the limit did not hold'));
    expect(broken.complete).toBe(false);
    expect(broken.body.toString()).toBe('first;');
    expect(logs.join('\n')).toMatch(/"code":"upstream_timeout".*0\.2 seconds.*idleTimeoutSeconds/);
    expect(free.end).toBe('open');
    sendMore?.();
    expect(finalOf(await within(5, free.answered(), 'no end')).body.toString()).toBe('first;second');
  });
});

describe('the number of calls at a time', () => {
  test('is 429 beyond the limit, which it names, without a call to the API; each end makes room', async () => {
    const { browser, server, api } = await startLimited({ maxConcurrent: 2 });
    const held: (() => void)[] = [];
    api.handleRaw((_, response) => {
      // A stream: it counts until it ends.
      response.write('held;');
      held.push(() => response.end());
    });
    const wires = [new Wire(server.port), new Wire(server.port)];
    for (const wire of wires) {
      wire.write(`${callHead(browser, 'GET', '/api/held')}\r\n`);
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes('held;')),
        'not held',
      );
    }
    api.handleRaw();
    const refused = await browser.fetch('/api/x');
    expect(refused.status).toBe(429);
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.json()).toMatchObject({
      code: 'too_many_requests',
      detail: expect.stringMatching(/2 calls.*maxConcurrent/),
    });
    expect(api.requests).toHaveLength(2);
    expect((await browser.fetch('/free/x')).status).toBe(200);

    // One ends, the other is left by its client: both places are free again.
    held[0]?.();
    await wires[0]?.answered();
    await vi.waitFor(async () => expect((await browser.fetch('/api/x')).status).toBe(200));
    wires[1]?.socket.destroy();
    await vi.waitFor(() => expect(api.inFlight).toBe(0));
    api.handleRaw((_, response) => {
      response.write('held;');
      held.push(() => response.end());
    });
    const again = [new Wire(server.port), new Wire(server.port)];
    for (const wire of again) {
      wire.write(`${callHead(browser, 'GET', '/api/held')}\r\n`);
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes('held;')),
        'a place was lost',
      );
      onTestFinished(() => void wire.socket.destroy());
    }
  });

  test('counts nobody without a session', async () => {
    const { browser, client, api } = await startLimited({ maxConcurrent: 1 });
    const strangers = await Promise.all(Array.from({ length: 5 }, () => client().fetch('/api/x')));
    expect(strangers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(api.requests).toHaveLength(1);
  });

  test('is given back by calls that fail', async () => {
    const { browser, api } = await startLimited({ maxConcurrent: 1, maxBodyBytes: 10 });
    await api.down();
    expect((await browser.fetch('/api/x')).status).toBe(502);
    expect((await browser.fetch('/api/x', { method: 'POST', body: 'x'.repeat(11) })).status).toBe(413);
    await api.up();
    expect((await browser.fetch('/api/x')).status).toBe(200);
  });
});

describe('a configuration with', () => {
  const base: ConfigInput = {
    origin: 'http://localhost:3000',
    issuer: 'https://login.example.com',
    client: { id: 'app', secret: 'secret' },
    secrets: ['kFq0V1hM8pXw3sJb7uYzRt5nLd2gAc9e'],
  };

  test.each<[string, Partial<Route>, string]>([
    ['TRACE, which would show the app its token', { methods: ['GET', 'TRACE'] }, 'api.0.methods.1'],
    ['CONNECT, which would make a tunnel', { methods: ['CONNECT'] }, 'api.0.methods.0'],
    ['a certificate authority for http', { caFile: 'package.json' }, 'api.0.caFile'],
    [
      'a certificate authority that is not there',
      { target: 'https://api.test', caFile: 'no/such.pem' },
      'api.0.caFile',
    ],
    ['half a call at a time', { maxConcurrent: 0.5 }, 'api.0.maxConcurrent'],
    ['no time to connect', { connectTimeoutSeconds: 0 }, 'api.0.connectTimeoutSeconds'],
    ['a negative silence', { idleTimeoutSeconds: -1 }, 'api.0.idleTimeoutSeconds'],
  ])('%s is refused', (_, route, path) => {
    const faulty = { ...base, api: [{ path: '/api', target: 'http://127.0.0.1:1', ...route }] };
    const faults = faultsOf(faulty);
    expect(faults.map((fault) => fault.path)).toEqual([path]);
  });

  test('nothing said has the documented limits', () => {
    const { api } = resolveConfig({ ...base, api: [{ path: '/api', target: 'http://127.0.0.1:1' }] });
    expect(api[0]).toMatchObject({
      connectTimeoutSeconds: 10,
      timeoutSeconds: 60,
      idleTimeoutSeconds: 0,
      maxConcurrent: 0,
      maxBodyBytes: 0,
      replayBytes: 65_536,
    });
  });
});

function faultsOf(config: ConfigInput): ConfigError['faults'] {
  try {
    resolveConfig(config);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

/** Sends the last bytes only after a while: a client on a poor line. */
function drip(wire: Wire, milliseconds: number, bytes: string): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(() => {
      wire.write(bytes);
      resolve();
    }, milliseconds);
  });
}
