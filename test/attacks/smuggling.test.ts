/**
 * The attacker's story: "Between the victim's browser and the API stand two or three programs that must agree where one
 * request ends and the next begins. I write a head that they read differently; what one takes for my body is to the next
 * a request of its own, and it goes out on a connection that others use, with a token that isn't mine."
 *
 * Must hold: whatever is ambiguous (RFC 9112 6.3, 11.2) gets a 400 and a closed connection, and the API hears nothing of it.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { rawCall } from '../support/raw-call.ts';
import { rawRequest, rawStatuses, startRawServer } from '../support/raw.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  alice = world.client();
  await signIn(alice);
});

beforeEach(() => {
  world.api.requests.length = 0;
  world.logs.length = 0;
});

afterAll(() => world.stop());

/** Stands for a whole call with a session: taken for a request of its own, it would reach the API. */
const smuggled = '<smuggled>';

/** Answers come, and then either the server hangs up (`closed`) or nothing more. */
async function talk(bytes: string | Buffer): Promise<{ statuses: number[]; closed: boolean; ms: number }> {
  const startedAt = performance.now();
  const quietMilliseconds = 2000;
  const answer = await rawRequest(world.server.port, bytes, quietMilliseconds);
  const ms = performance.now() - startedAt;
  return { statuses: rawStatuses(answer), closed: ms < quietMilliseconds - 200, ms };
}

function post(lines: readonly string[], body = '', target = '/api/orders'): Buffer {
  const own = rawCall(world, alice, { target: '/api/smuggled' }).toString('latin1');
  return rawCall(world, alice, { method: 'POST', target, lines, body: body.replace(smuggled, own) });
}

const refused = { statuses: [400], closed: true, ms: expect.any(Number) };
const chunk = '5\r\nhello\r\n0\r\n\r\n';

describe('a 400 and a closed connection for', () => {
  test.each<[story: string, lines: string[], body: string]>([
    ['both lengths (CL.TE)', ['Content-Length: 5', 'Transfer-Encoding: chunked'], `0\r\n\r\n${smuggled}`],
    ['both lengths (TE.CL)', ['Transfer-Encoding: chunked', 'Content-Length: 4'], `5c\r\n${smuggled}\r\n0\r\n\r\n`],
    ['both lengths, with length 0', ['Content-Length: 0', 'Transfer-Encoding: chunked'], `${chunk}${smuggled}`],
    ['two different lengths', ['Content-Length: 5', 'Content-Length: 6'], `hello!${smuggled}`],
    ['the same length twice', ['Content-Length: 5', 'Content-Length: 5'], `hello${smuggled}`],
    ['a list of lengths', ['Content-Length: 5, 5'], `hello${smuggled}`],
    ['a list of different lengths', ['Content-Length: 5, 6'], `hello!${smuggled}`],
    ['a signed length', ['Content-Length: +5'], `hello${smuggled}`],
    ['a negative length', ['Content-Length: -5'], `hello${smuggled}`],
    ['a hexadecimal length', ['Content-Length: 0x5'], `hello${smuggled}`],
    ['a length with a fraction', ['Content-Length: 5.0'], `hello${smuggled}`],
    ['a length with a space in it', ['Content-Length: 5 0'], `hello${smuggled}`],
    ['a length with letters', ['Content-Length: 5abc'], `hello${smuggled}`],
    ['an empty length', ['Content-Length: '], `hello${smuggled}`],
    ['a length beyond any number', ['Content-Length: 99999999999999999999999'], `hello${smuggled}`],
    ['a space before the colon of a length', ['Content-Length : 5'], `hello${smuggled}`],
    ['a space before the colon of the encoding', ['Transfer-Encoding : chunked'], `${chunk}${smuggled}`],
    ['a tab before the colon of the encoding', ['Transfer-Encoding\t: chunked'], `${chunk}${smuggled}`],
    ['chunked, identity', ['Transfer-Encoding: chunked, identity'], `${chunk}${smuggled}`],
    ['identity', ['Transfer-Encoding: identity'], `${chunk}${smuggled}`],
    ['an unknown encoding', ['Transfer-Encoding: xchunked'], `${chunk}${smuggled}`],
    ['chunked with a dot', ['Transfer-Encoding: chunked.'], `${chunk}${smuggled}`],
    ['chunked in quotes', ['Transfer-Encoding: "chunked"'], `${chunk}${smuggled}`],
    ['an encoding that is not last', ['Transfer-Encoding: chunked, gzip'], `${chunk}${smuggled}`],
    ['an empty encoding', ['Transfer-Encoding: '], `${chunk}${smuggled}`],
    [
      'two encodings that disagree',
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
      `${chunk}${smuggled}`,
    ],
    ['an encoding behind a vertical tab', ['Transfer-Encoding: \x0bchunked'], `${chunk}${smuggled}`],
    ['an encoding folded onto the next line', ['Transfer-Encoding:', ' chunked'], `${chunk}${smuggled}`],
    ['a header folded onto the next line', ['X-Fold: a', ' b'], smuggled],
    ['a header folded with a tab', ['X-Fold: a', '\tTransfer-Encoding: chunked'], smuggled],
    ['a folded first header', [' X-Fold: a'], smuggled],
    ['a line without a colon', ['Transfer-Encoding chunked'], smuggled],
    ['a header without a name', [': chunked'], smuggled],
    ['a header’s name with a space', ['X Y: z'], smuggled],
    ['a NUL in a value', ['X-Nul: a\0b'], smuggled],
    ['a NUL in a name', ['X-N\0ul: a'], smuggled],
    ['a bare LF between headers', ['X-A: a\nTransfer-Encoding: chunked'], `${chunk}${smuggled}`],
    ['a bare CR between headers', ['X-A: a\rTransfer-Encoding: chunked'], `${chunk}${smuggled}`],
    ['a bare CR in a value', ['X-A: a\rb'], smuggled],
    ['a doubled Host', ['Host: evil.test'], smuggled],
    ['the same Host twice', ['Host: localhost'], smuggled],
  ])('%s', async (_story, lines, body) => {
    expect(await talk(post(lines, body))).toEqual(refused);
    expect(world.api.requests).toEqual([]);
    expect(world.logs.filter((line) => line.includes('smuggled'))).toEqual([]);
  });

  test.each<[story: string, change: (call: string) => string]>([
    ['bare LFs throughout', (call) => call.replaceAll('\r\n', '\n')],
    ['a bare LF behind the request line', (call) => call.replace('HTTP/1.1\r\n', 'HTTP/1.1\n')],
    ['a bare LF at the end of the head', (call) => call.replace('\r\n\r\n', '\r\n\n')],
    ['a tab in the request line', (call) => call.replace('POST /', 'POST\t/')],
    ['another HTTP version', (call) => call.replace('HTTP/1.1', 'HTTP/1.2')],
    ['HTTP/2’s name', (call) => call.replace('HTTP/1.1', 'HTTP/2.0')],
    ['HTTP/0.9', (call) => call.replace(' HTTP/1.1', '')],
    ['no Host', (call) => call.replace(/Host: [^\r]*\r\n/, '')],
    ['a method in small letters', (call) => call.replace('POST ', 'post ')],
    ['a method of its own', (call) => call.replace('POST ', 'STEAL ')],
  ])('%s', async (_story, change) => {
    const call = post(['Content-Length: 5'], `hello${smuggled}`).toString('latin1');
    expect(await talk(Buffer.from(change(call), 'latin1'))).toEqual(refused);
    expect(world.api.requests).toEqual([]);
    expect(world.logs.filter((line) => line.includes('smuggled'))).toEqual([]);
  });

  test.each([
    ['a chunk size that is no number', 'xyz\r\nhello\r\n0\r\n\r\n'],
    ['a negative chunk size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size behind a space', ' 5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size beyond any number', 'fffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
    ['a chunk longer than its size', '5\r\nhelloGET / HTTP/1.1\r\n0\r\n\r\n'],
    ['a bare LF behind a chunk size', '5\nhello\r\n0\r\n\r\n'],
    ['a bare LF behind a chunk', '5\r\nhello\n0\r\n\r\n'],
    ['a bare CR in a chunk extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF in a chunk extension', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF at the end', '5\r\nhello\r\n0\n\n'],
  ])('%s', async (_story, body) => {
    const { statuses, closed } = await talk(post(['Transfer-Encoding: chunked'], body + smuggled));
    expect(statuses.filter((status) => status !== 400)).toEqual([]);
    expect(closed).toBe(true);
    expect(world.api.requests.filter(({ method, body: got }) => method !== 'POST' || got.length > 0)).toEqual([]);
    expect(world.api.requests).toEqual([]);
    expect(world.logs.filter((line) => line.includes('smuggled'))).toEqual([]);
  });
});

describe('what is framed well', () => {
  test.each([
    ['with a length', ['Content-Length: 5'], 'hello'],
    ['with chunks', ['Transfer-Encoding: chunked'], chunk],
    ['with chunks, in capitals', ['TRANSFER-ENCODING: Chunked'], chunk],
    ['with blanks around the value', ['Transfer-Encoding:   chunked  '], chunk],
    ['with an extension and a trailer', ['Transfer-Encoding: chunked'], '5;a=b\r\nhello\r\n0\r\nX-Trailer: x\r\n\r\n'],
  ])('%s is one request, and what follows is the next', async (_story, lines, body) => {
    const next = rawCall(world, alice, { target: '/api/next', lines: ['Connection: close'] });
    const { statuses } = await talk(Buffer.concat([post(lines, body), next]));
    expect(statuses).toEqual([200, 200]);
    const got = world.api.requests.map((request) => `${request.method} ${request.url} ${request.body.toString()}`);
    expect(new Set(got)).toEqual(new Set(['POST /orders hello', 'GET /next ']));
    const posted = world.api.requests.find((request) => request.method === 'POST');
    const framing = posted?.rawHeaders.filter((name) => /^(?:content-length|transfer-encoding)$/i.test(name));
    expect(framing).toHaveLength(1);
  });

  test('but names a header Transfer_Encoding or Content_Length: it stops here', async () => {
    const lines = ['Transfer_Encoding: chunked', 'Content_Length: 99', 'Content-Length: 5', 'Connection: close'];
    expect((await talk(post(lines, 'hello'))).statuses).toEqual([200]);
    expect(world.api.last().body.toString()).toBe('hello');
    expect(world.api.last().rawHeaders.join('\n')).not.toMatch(/_encoding|_length/i);
  });

  test('with a smaller body than it says keeps the API waiting for nothing of the next person’s', async () => {
    const api = await startRawServer(() => undefined);
    const own = await startWorld({ config: { api: [{ path: '/api', target: api.url }] } });
    const browser = own.client();
    await signIn(browser);
    const call = rawCall(own, browser, {
      method: 'POST',
      target: '/api/x',
      lines: ['Content-Length: 100'],
      body: 'short',
    });
    await rawRequest(own.server.port, call, 300);
    await api.close();
    expect(api.received.map((bytes) => bytes.toString()).join('')).not.toContain('short');
  });

  test('as HTTP/1.0 is answered and the connection closed', async () => {
    const call = rawCall(world, alice, { target: '/api/old' }).toString('latin1').replace('HTTP/1.1', 'HTTP/1.0');
    expect(await talk(call)).toMatchObject({ statuses: [200], closed: true });
  });
});

describe('a body for one of our own endpoints', () => {
  test('is not read as the next request', async () => {
    const { length } = rawCall(world, alice, { target: '/api/smuggled' });
    for (const target of ['/bff/refresh', '/bff/session', '/bff/login', '/assets/app.js', '/nowhere']) {
      await talk(post([`Content-Length: ${length}`, 'Connection: close'], smuggled, target));
      await talk(post([`Content-Length: ${length}`], smuggled, target));
    }
    expect(world.api.requests).toEqual([]);
    expect(world.logs.filter((line) => line.includes('smuggled'))).toEqual([]);
  });
});

describe('an API that answers ambiguously', () => {
  test.each([
    [
      'both lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\nhello'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok'],
    [
      'a header split by a bare CR',
      'HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: session=evil\r\nContent-Length: 2\r\n\r\nok',
    ],
    [
      'two answers to one question',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged',
    ],
  ])('%s: never passes it on as somebody else’s answer', async (_story, bytes) => {
    const api = await startRawServer((socket) => socket.end(bytes));
    const own = await startWorld({ config: { api: [{ path: '/api', target: api.url }] } });
    const browser = own.client();
    await signIn(browser);
    for (let call = 0; call < 3; call += 1) {
      const answer = await browser.fetch(`/api/${call}`);
      expect([200, 502]).toContain(answer.status);
      expect(answer.text).not.toContain('forged');
      expect(answer.setCookies).toEqual([]);
    }
    await api.close();
  });
});
