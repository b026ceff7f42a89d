/**
 * The attacker's story: "The API behind Sallyport is mine, or I found a request that makes it send what I like. It
 * answers with '103 Early Hints', and again, and never with anything else: a few dozen bytes each, as fast as the line
 * takes them. My browser doesn't read a single one, so they all wait in Sallyport's memory: a gigabyte in three seconds,
 * and then it ends for everybody."
 *
 * Must hold: of one call, at most 128 interim responses are taken, then it is 502 and the API's connection ends; none is
 * kept for a client that doesn't read; memory stays where it was; and the next call is served.
 */
import type { Socket } from 'node:net';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { startRawServer, type RawServer } from '../support/raw.ts';
import { startMeasured, type SeparateServer } from '../support/separate-server.ts';
import { callHead, exchange, finalOf, Wire, type WireExchange } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

const mebibyte = 1024 * 1024;
const mostInterim = 128;
const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n';
const fine = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine';
/** The same by an API that keeps no connection: what it does is decided when a connection's first request has come. */
const fineAndGone = fine.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');

interface Flooded {
  readonly world: World;
  readonly browser: BrowserClient;
  readonly server: SeparateServer;
  readonly api: RawServer;
  /** What the API does on a connection when a request has come. */
  behave: (socket: Socket, request: Buffer) => void;
  /** How many bytes of interim responses left the API. */
  sent: number;
}

let it: Flooded;

beforeEach(async () => {
  const api = await startRawServer((socket, request) => it.behave(socket, request));
  onTestFinished(() => api.close());
  const world = await startWorld();
  const server = await startMeasured(
    {
      ...world.config,
      listen: { port: 0 },
      api: [{ path: '/api', target: api.url, websocket: true, timeoutSeconds: 20 }],
      spa: { devServer: api.url },
    },
    { heapMegabytes: 256 },
  );
  const browser = world.client();
  await signIn(browser);
  it = { world, browser, server, api, behave: (socket) => socket.end(fineAndGone), sent: 0 };
});

/** Sends `what` again and again, as fast as it is taken, until Sallyport hangs up or `bytes` have left. */
function flood(what: string, bytes = 200 * mebibyte) {
  const block = Buffer.from(what.repeat(Math.ceil(65_536 / what.length)), 'latin1');
  const hungUp = Promise.withResolvers<void>();
  const behave = (socket: Socket) => {
    let left = bytes;
    const more = () => {
      while (left > 0 && !socket.destroyed) {
        left -= block.length;
        it.sent += block.length;
        if (!socket.write(block)) break;
      }
    };
    socket.on('drain', more);
    socket.once('close', () => hungUp.resolve());
    more();
  };
  return { behave, hungUp: hungUp.promise };
}

function head(target = '/api/x', method = 'GET', version = '1.1'): string {
  return callHead(it.browser, method, target, version);
}

/** A client that asks and then reads nothing of the answer. */
function deafClient(bytes: string): Wire {
  const wire = new Wire(it.server.port);
  wire.socket.pause();
  wire.write(bytes);
  onTestFinished(() => void wire.socket.destroy());
  return wire;
}

async function call(bytes = `${head()}Connection: close\r\n\r\n`): Promise<WireExchange> {
  return within(10, exchange(it.server.port, bytes), 'the call hangs');
}

async function serves(): Promise<void> {
  it.behave = (socket) => socket.end(fineAndGone);
  expect(finalOf(await call()).body.toString()).toBe('fine');
  expect(it.server.death).toBeUndefined();
}

function interimOf({ responses }: WireExchange): number[] {
  return responses.filter(({ status }) => status < 200).map(({ status }) => status);
}

const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

/** Every way to an upstream. */
const ways: [string, () => string][] = [
  ['a call', () => head()],
  ['an upload', () => `${head('/api/x', 'POST')}Content-Length: 5\r\n\r\nhello`.slice(0, -2)],
  ['a call by HTTP/1.0', () => head('/api/x', 'GET', '1.0')],
  ['an upgrade', () => `${head()}Origin: ${it.world.origin}\r\n${upgrade}`],
  ['the dev server', () => head('/page')],
  ['an upgrade of the dev server', () => `${head('/page')}Origin: ${it.world.origin}\r\n${upgrade}`],
];

describe('a flood of interim responses', () => {
  test.each(ways)(
    'of %s takes no memory while the client reads nothing, and ends',
    async (_, ask) => {
      await serves();
      const before = await it.server.gauges();
      const { behave, hungUp } = flood(hint);
      it.behave = behave;
      const wires = Array.from({ length: 8 }, () => deafClient(`${ask()}\r\n`));
      await within(10, hungUp, 'the API may go on');
      const after = await it.server.gauges();
      // Most of it is what the system's sockets take before anybody reads.
      expect(it.sent).toBeLessThan(100 * mebibyte);
      expect(after.peak - before.peak).toBeLessThan(100 * mebibyte);
      expect(after.heap - before.heap).toBeLessThan(16 * mebibyte);
      for (const wire of wires) {
        wire.socket.resume();
        await within(
          10,
          wire.until(({ responses }) => responses.some(({ status, complete }) => status >= 200 && complete)),
          'no answer',
        );
        expect(wire.responses.at(-1)?.status).toBe(502);
        expect(wire.responses.length).toBeLessThanOrEqual(mostInterim + 1);
      }
      await serves();
      expect((await it.server.gauges()).faults).toEqual([]);
    },
    60_000,
  );

  test.each(ways)(
    'of %s is 502 for a client that reads, and the connections are free again',
    async (_, ask) => {
      await serves();
      const { behave, hungUp } = flood(hint);
      it.behave = behave;
      const wire = new Wire(it.server.port);
      onTestFinished(() => void wire.socket.destroy());
      wire.write(`${ask()}\r\n`);
      await within(
        10,
        wire.until(({ responses }) => responses.some(({ status, complete }) => status >= 200 && complete)),
        'no answer',
      );
      await within(10, hungUp, 'the API may go on');
      const final = wire.responses.at(-1);
      expect(final?.status).toBe(502);
      expect(final?.body.toString()).toContain('upstream_unavailable');
      expect(wire.responses.length).toBeLessThanOrEqual(mostInterim + 1);
      await serves();
    },
    60_000,
  );

  test.each([
    ['102s', 'HTTP/1.1 102 Processing\r\n\r\n'],
    ['statuses that nobody knows', 'HTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 142 Odder\r\n\r\n'],
    ['hints of 14 kB', `HTTP/1.1 103 Early Hints\r\nLink: </${'a'.repeat(14_000)}>; rel=preload\r\n\r\n`],
    ['hints with cookies', 'HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nSet-Cookie: session=x\r\n\r\n'],
    ['leave to send a body', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ])('of %s is 502, too', async (_, what) => {
    await serves();
    const before = await it.server.gauges();
    const { behave, hungUp } = flood(what);
    it.behave = behave;
    const got = await call();
    expect(finalOf(got).status).toBe(502);
    expect(interimOf(got).length).toBeLessThanOrEqual(mostInterim);
    expect(got.surplus.toString('latin1')).toBe('');
    await within(10, hungUp, 'the API may go on');
    expect((await it.server.gauges()).peak - before.peak).toBeLessThan(100 * mebibyte);
    await serves();
  });

  test('is counted by call, not by connection: kept connections have no memory of it', async () => {
    it.behave = (socket) => {
      const answer = () => socket.write(hint.repeat(100) + fine);
      answer();
      socket.on('data', answer);
    };
    const wire = new Wire(it.server.port);
    onTestFinished(() => void wire.socket.destroy());
    for (let round = 1; round <= 5; round += 1) {
      wire.write(`${head()}\r\n`);
      await within(
        5,
        wire.until(({ responses }) => responses.filter(({ status }) => status === 200).length === round),
        'no answer',
      );
    }
    expect(interimOf({ responses: wire.responses, surplus: Buffer.alloc(0), end: 'open' })).toHaveLength(500);
    expect(it.api.received).toHaveLength(1);
  });

  test('in which the API refuses the token is counted for each of the two tries', async () => {
    const refused =
      'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n';
    let tries = 0;
    it.behave = (socket) => {
      const answer = () => {
        tries += 1;
        socket.write(hint.repeat(100) + (tries === 1 ? refused : fine));
      };
      answer();
      socket.on('data', answer);
    };
    const got = await call();
    expect(finalOf(got).status).toBe(200);
    expect(tries).toBe(2);
    expect(it.world.provider.calls.refresh).toBe(1);
  });
});

describe('as many as are taken', () => {
  test.each([1, 2, 127, 128])('%i, come to a client that reads, in their order, before the answer', async (count) => {
    it.behave = (socket) => {
      const hints = Array.from(
        { length: count },
        (_, index) => `HTTP/1.1 103 Early Hints\r\nLink: </${index}>\r\n\r\n`,
      );
      socket.write(hints.join('') + fine);
    };
    const got = await call();
    const links = got.responses.filter(({ status }) => status === 103).map(({ fields }) => fields.at(0)?.[1]);
    expect(links).toEqual(Array.from({ length: count }, (_, index) => `</api/${index}>`));
    expect(finalOf(got).body.toString()).toBe('fine');
  });

  test('one more than the limit is 502', async () => {
    it.behave = (socket) => void socket.write(hint.repeat(mostInterim + 1) + fine);
    const got = await call();
    expect(finalOf(got).status).toBe(502);
    expect(finalOf(got).body.toString()).toContain('upstream_unavailable');
    await serves();
  });

  test('but a client of HTTP/1.0, which knows none, gets the answer alone', async () => {
    it.behave = (socket) => void socket.write(hint.repeat(100) + fine);
    const got = await call(`${head('/api/x', 'GET', '1.0')}\r\n`);
    expect(got.responses.map(({ status }) => status)).toEqual([200]);
  });
});
