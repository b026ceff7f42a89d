/**
 * Nothing is lost or changed on the way: what the API receives and what the client gets through Sallyport, compared
 * byte for byte with a direct call, over generated requests and answers and over the hard cases by hand.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { readBody, startListener, type Listener } from '../support/listener.ts';
import {
  callHead,
  chunked,
  exchange,
  finalOf,
  valuesOf,
  Wire,
  type Field,
  type WireExchange,
  type WireResponse,
} from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

/** Small, so that generated bodies are replayed, collected and streamed alike. */
const replayBytes = 1000;

/** What stands in a request, apart from what the call needs to be believed. */
interface Call {
  readonly method: string;
  /** Path and query below the route. */
  readonly target: string;
  readonly fields: readonly Field[];
  readonly body: Buffer;
  /** Lengths of the chunks; undefined: the length is told. */
  readonly chunks: readonly number[] | undefined;
}

/** What an API writes to its connection. */
interface Answer {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly Field[];
  readonly body: Buffer;
  readonly framing: 'length' | 'chunked' | 'close';
  readonly chunks: readonly number[];
}

interface Received {
  readonly method: string;
  readonly url: string;
  readonly fields: readonly Field[];
  readonly body: Buffer;
}

/** An API that records what it gets and writes back the bytes it was given. */
interface WireApi extends Listener {
  answer: Buffer;
  readonly received: Received[];
}

async function startWireApi(): Promise<WireApi> {
  const received: Received[] = [];
  const listener = await startListener((request, response) => {
    void recordAndAnswer(request, response.socket);
  });
  const api = Object.assign(listener, { answer: answerBytes(plainAnswer), received });
  return api;

  async function recordAndAnswer(request: IncomingMessage, socket: Socket | null): Promise<void> {
    received.push(await record(request));
    socket?.end(api.answer);
  }
}

async function record(request: IncomingMessage): Promise<Received> {
  const body = await readBody(request);
  return { method: request.method ?? '', url: request.url ?? '', fields: pairs(request.rawHeaders), body };
}

function pairs(raw: readonly string[]): Field[] {
  return raw.flatMap((name, index) => (index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as const] : []));
}

const plainCall: Call = { method: 'GET', target: '/x', fields: [], body: Buffer.alloc(0), chunks: undefined };
const plainAnswer: Answer = {
  status: 200,
  reason: 'OK',
  fields: [],
  body: Buffer.from('fine'),
  framing: 'length',
  chunks: [],
};

function answerBytes({ status, reason, fields, body, framing, chunks }: Answer, method = 'GET'): Buffer {
  const bodiless = status === 204 || status === 304 || method === 'HEAD';
  const length: Field[] = framing === 'length' && !bodiless ? [['Content-Length', String(body.length)]] : [];
  const coding: Field[] = framing === 'chunked' && !bodiless ? [['Transfer-Encoding', 'chunked']] : [];
  const head = `HTTP/1.1 ${status} ${reason}\r\n${lines([...fields, ...length, ...coding, ['Connection', 'close']])}\r\n`;
  const payload = bodiless ? Buffer.alloc(0) : framing === 'chunked' ? chunked(body, chunks) : body;
  return Buffer.concat([Buffer.from(head, 'latin1'), payload]);
}

function callBytes(head: string, { fields, body, chunks }: Call): Buffer {
  const framing: Field[] =
    chunks !== undefined
      ? [['Transfer-Encoding', 'chunked']]
      : body.length > 0
        ? [['Content-Length', String(body.length)]]
        : [];
  const whole = `${head}${lines([...fields, ...framing, ['Connection', 'close']])}\r\n`;
  return Buffer.concat([Buffer.from(whole, 'latin1'), chunks === undefined ? body : chunked(body, chunks)]);
}

function lines(fields: readonly Field[]): string {
  return fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
}

/** About the connection or the framing, or said by Sallyport in its own name: for other tests to look at. */
const requestOwn = new Set(
  words(`
    host connection content-length transfer-encoding cookie authorization
    x-forwarded-for x-forwarded-host x-forwarded-prefix x-forwarded-proto
  `),
);
const responseOwn = new Set(words('connection keep-alive content-length transfer-encoding date'));

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

/** By name, for the order of fields with different names means nothing (RFC 9110 5.3). */
function grouped(fields: readonly Field[], without: ReadonlySet<string>): Record<string, string[]> {
  const groups: Record<string, string[]> = {};
  for (const [name, value] of fields) {
    if (!without.has(name.toLowerCase())) (groups[name.toLowerCase()] ??= []).push(value);
  }
  return groups;
}

function seenByApi({ method, url, fields, body }: Received, prefix: string) {
  return { method, url: url.slice(prefix.length), fields: grouped(fields, requestOwn), body: body.toString('latin1') };
}

function seenByClient(response: WireResponse, { addsNoStore }: { addsNoStore: boolean }) {
  const fields = grouped(response.fields, responseOwn);
  if (addsNoStore) fields['cache-control'] = privately(fields['cache-control']);
  const { status, reason, body, complete, trailers } = response;
  return { status, reason, fields, body: body.toString('latin1'), complete, trailers };
}

/** What the proxy makes of the API's word about caches: one person's answers are for no shared cache. */
function privately(values: readonly string[] | undefined): string[] {
  if (values === undefined) return ['no-store'];
  if (/public|private|no-store/.test(values.join())) return [...values];
  const [first = '', ...rest] = values;
  return [`private, ${first}`, ...rest];
}

let world: World;
let browser: BrowserClient;
let api: WireApi;

beforeAll(async () => {
  api = await startWireApi();
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY', 'PROPFIND', 'REPORT', 'M-SEARCH', 'PURGE'];
  const route = { path: '/api', target: `http://127.0.0.1:${api.port}/v1`, methods, replayBytes };
  world = await startWorld({ config: { api: [route] } }, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
}, 60_000);

afterAll(async () => {
  await world.stop();
  await api.close();
});

/** Makes a call directly and through Sallyport; answers what each end saw. */
async function both(call: Call, answer: Buffer): Promise<{ direct: Sides; through: Sides }> {
  api.answer = answer;
  const direct = await oneWay(api.port, callHead(browser, call.method, `/v1${call.target}`), call, false);
  const through = await oneWay(world.server.port, callHead(browser, call.method, `/api${call.target}`), call, true);
  return { direct, through };
}

interface Sides {
  readonly api: ReturnType<typeof seenByApi>;
  readonly client: ReturnType<typeof seenByClient>;
  readonly whole: WireExchange;
}

async function oneWay(port: number, head: string, call: Call, isThrough: boolean): Promise<Sides> {
  api.received.length = 0;
  const whole = await within(5, exchange(port, callBytes(head, call)), 'no answer');
  const [received, ...more] = api.received;
  if (received === undefined) throw new Error(`the API got nothing: ${JSON.stringify(finalOf(whole))}`);
  expect(more).toEqual([]);
  expect(whole.surplus.toString('latin1')).toBe('');
  return {
    api: seenByApi(received, '/v1'),
    client: seenByClient(finalOf(whole), { addsNoStore: !isThrough }),
    whole,
  };
}

const statuses = [200, 201, 202, 203, 204, 205, 206, 207, 226, 300, 301, 302, 303, 304, 307, 308, 400, 500, 503];

describe('generated', () => {
  const printable = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
  /** What stands in field values: printable, space, tab, and bytes beyond ASCII. */
  const valueByte = fc.oneof(
    { weight: 8, arbitrary: printable },
    { weight: 1, arbitrary: fc.constantFrom(' ', '\t') },
    { weight: 1, arbitrary: fc.integer({ min: 0x80, max: 0xff }).map((code) => String.fromCharCode(code)) },
  );
  const value = fc.string({ unit: valueByte, maxLength: 60 }).map((text) => text.trim());
  const ownName = fc.string({
    unit: fc.constantFrom(...Array.from('abcXYZ019-_.~!#$%&')),
    minLength: 1,
    maxLength: 12,
  });
  /** `Z-` keeps generated names off the words of the header policy, which has tests of its own. */
  const field: fc.Arbitrary<Field> = fc.tuple(
    fc.oneof(
      ownName.map((name) => `Z-${name}`),
      fc.constantFrom('Z-a', 'z-A', 'Z-B'),
    ),
    value,
  );
  const requestField: fc.Arbitrary<Field> = fc.oneof(
    field,
    fc.constantFrom<Field>(
      ['Accept', 'application/json;q=0.9, */*'],
      ['Accept-Encoding', 'gzip, br, zstd'],
      ['Accept-Language', 'sv;q=0.5'],
      ['Content-Type', 'multipart/form-data; boundary="a b"'],
      ['Content-Encoding', 'gzip'],
      ['If-None-Match', 'W/"1", "2"'],
      ['If-Modified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['If-Range', '"1"'],
      ['Range', 'bytes=0-0,-1'],
      ['Prefer', 'return=minimal'],
      ['Traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
      ['Last-Event-ID', '17'],
      ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) "odd" \\ agent'],
      ['Accept', 'text/html'],
      ['Cache-Control', 'no-cache'],
    ),
  );
  const responseField: fc.Arbitrary<Field> = fc.oneof(
    field,
    fc.constantFrom<Field>(
      ['Content-Type', 'application/json; charset="utf-8"'],
      ['Content-Encoding', 'br'],
      ['Content-Language', 'de'],
      ['Content-Disposition', 'attachment; filename="na\u00efve.txt"'],
      ['Content-Range', 'bytes 0-0/10'],
      ['Accept-Ranges', 'bytes'],
      ['ETag', 'W/"1"'],
      ['Last-Modified', 'Thu, 01 Jan 1970 00:00:00 GMT'],
      ['Location', 'elsewhere?x=1#y'],
      ['Retry-After', '5'],
      ['Vary', 'Accept'],
      ['Vary', '*'],
      ['Link', '</a>; rel=next'],
      ['Set-Cookie', 'a=1; Path=/'],
      ['Set-Cookie', 'b=2, 3; HttpOnly'],
      ['Server', 'nginx'],
      ['Cache-Control', 'private, max-age=60'],
      ['WWW-Authenticate', 'Basic realm="a"'],
    ),
  );
  const pathByte = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...Array.from('abcXYZ019-_~!$&\'()*+,;=:@"<>^`{|}')) },
    { weight: 1, arbitrary: fc.constantFrom('%20', '%C3%A9', '%41', '%7e', '%ff', '%', '%zz', '.a', '/') },
  );
  const queryByte = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...Array.from('abcXYZ019&=?/+;,:@!$\'()*"<>[]{}|\\^`~.-_')) },
    { weight: 1, arbitrary: fc.constantFrom('%20', '%2F', '%2e%2e', '%00', '%', '%2', '%zz', '%23') },
  );
  const target = fc
    .tuple(fc.string({ unit: pathByte, maxLength: 30 }), fc.option(fc.string({ unit: queryByte, maxLength: 60 })))
    .map(([path, query]) => `/${path}${query === null ? '' : `?${query}`}`);
  const body = fc.oneof(
    fc.constant(Buffer.alloc(0)),
    fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    fc.integer({ min: replayBytes - 2, max: replayBytes + 2 }).map((length) => Buffer.alloc(length, 'body ')),
    fc.integer({ min: 1, max: 300_000 }).map((length) => Buffer.alloc(length, 'much more body ')),
  );
  const chunks = fc
    .array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 4 })
    .map((lengths) => lengths.concat(20_000));
  const call: fc.Arbitrary<Call> = fc.record({
    method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY', 'PROPFIND', 'M-SEARCH'),
    target,
    fields: fc.array(requestField, { maxLength: 12 }),
    body,
    chunks: fc.option(chunks, { nil: undefined }),
  });
  const answer: fc.Arbitrary<Answer> = fc.record({
    status: fc.oneof(fc.constantFrom(...statuses), fc.integer({ min: 402, max: 999 })),
    reason: fc.oneof(fc.constantFrom('OK', '', 'Not Found'), fc.string({ unit: printable, maxLength: 20 })),
    fields: fc.array(responseField, { maxLength: 12 }),
    body,
    framing: fc.constantFrom('length', 'chunked', 'close'),
    chunks,
  });

  test('calls and answers are the same as without Sallyport, byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(call, answer, async (madeCall, madeAnswer) => {
        const { direct, through } = await both(madeCall, answerBytes(madeAnswer, madeCall.method));
        expect(through.api).toEqual(direct.api);
        expect(through.client).toEqual(direct.client);
      }),
      { numRuns: Number(process.env['FIDELITY_RUNS'] ?? 200), endOnFailure: process.env['CI'] !== undefined },
    );
  }, 120_000);
});

describe('by hand', () => {
  test.each<[string, Partial<Call>, Partial<Answer>]>([
    ['a query alone', { target: '?a=1&a=2&&=&x' }, {}],
    ['an empty query', { target: '/x?' }, {}],
    ['a long query', { target: `/x?${'q=%20'.repeat(3000)}` }, {}],
    ['a body with a GET', { body: Buffer.from('odd, but allowed') }, {}],
    ['a body with a DELETE', { method: 'DELETE', body: Buffer.from('{"ids":[1]}') }, {}],
    ['a QUERY and its body', { method: 'QUERY', body: Buffer.from('select 1') }, {}],
    ['a POST without a body', { method: 'POST' }, {}],
    ['an upload in tiny chunks', { method: 'PUT', body: Buffer.alloc(3000, 'x'), chunks: [1] }, {}],
    ['an upload above the replay limit', { method: 'PUT', body: Buffer.alloc(3_000_000, 'abc') }, {}],
    ['the same in chunks', { method: 'PUT', body: Buffer.alloc(3_000_000, 'abc'), chunks: [65_535, 1, 1000] }, {}],
    ['20 kB of headers', { fields: Array.from({ length: 40 }, (_, n) => [`Z-${n}`, 'v'.repeat(500)] as const) }, {}],
    [
      'empty and repeated headers',
      {
        fields: [
          ['Z-Empty', ''],
          ['Z-Twice', '1'],
          ['z-twice', ''],
          ['Z-Twice', '1'],
        ],
      },
      {},
    ],
    ['a header in UTF-8', { fields: [['Z-Name', Buffer.from('Zoë ☃').toString('latin1')]] }, {}],
    ['an answer’s header in UTF-8', {}, { fields: [['Z-Name', Buffer.from('Zoë ☃').toString('latin1')]] }],
    ['an answer’s header that is empty', {}, { fields: [['Z-Empty', '']] }],
    ['a compressed body', {}, { fields: [['Content-Encoding', 'gzip']], body: gzipSync('compressed') }],
    [
      'a part of a body',
      { fields: [['Range', 'bytes=1-2']] },
      { status: 206, fields: [['Content-Range', 'bytes 1-2/9']], body: Buffer.from('bc') },
    ],
    [
      'an unsatisfiable range',
      { fields: [['Range', 'bytes=9-']] },
      { status: 416, fields: [['Content-Range', 'bytes */9']] },
    ],
    [
      'a 304',
      { fields: [['If-None-Match', '"1"']] },
      {
        status: 304,
        reason: 'Not Modified',
        fields: [
          ['ETag', '"1"'],
          ['Cache-Control', 'max-age=5'],
        ],
      },
    ],
    ['a 204', { method: 'DELETE' }, { status: 204, reason: 'No Content' }],
    ['a 205', {}, { status: 205, reason: 'Reset Content', body: Buffer.alloc(0) }],
    ['an empty body', {}, { body: Buffer.alloc(0) }],
    ['an empty body in chunks', {}, { body: Buffer.alloc(0), framing: 'chunked' }],
    ['a body in tiny chunks', {}, { body: Buffer.alloc(3000, 'x'), framing: 'chunked', chunks: [1] }],
    ['a large body that ends with the connection', {}, { body: Buffer.alloc(3_000_000, 'x'), framing: 'close' }],
    ['a body of every byte', {}, { body: Buffer.from(Array.from({ length: 256 }, (_, n) => n)) }],
    ['an unknown status', {}, { status: 799, reason: 'Whatever' }],
    [
      'a challenge for more scope',
      {},
      { status: 401, reason: 'Unauthorized', fields: [['WWW-Authenticate', 'Bearer error="insufficient_scope"']] },
    ],
    [
      'several cookies',
      {},
      {
        fields: [
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2; Path=/api'],
          ['Set-Cookie', 'a=3'],
        ],
      },
    ],
  ])('%s passes', async (_, call, answer) => {
    const { direct, through } = await both({ ...plainCall, ...call }, answerBytes({ ...plainAnswer, ...answer }));
    expect(through.api).toEqual(direct.api);
    expect(through.client).toEqual(direct.client);
  });

  test('a HEAD’s answer tells the length that a GET’s would have', async () => {
    const { direct, through } = await both({ ...plainCall, method: 'HEAD' }, headAnswer('Content-Length: 12345'));
    expect(through.client).toEqual(direct.client);
    expect(valuesOf(finalOf(through.whole).fields, 'content-length')).toEqual(['12345']);
  });

  test('a HEAD’s answer of unknown length has no body and holds up nobody', async () => {
    const { direct, through } = await both({ ...plainCall, method: 'HEAD' }, headAnswer('Transfer-Encoding: chunked'));
    expect(through.client).toEqual(direct.client);
  });

  test('a 304 tells the length of what the client has', async () => {
    const answer = Buffer.from(
      'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 99\r\nConnection: close\r\n\r\n',
    );
    const { through } = await both(plainCall, answer);
    expect(valuesOf(finalOf(through.whole).fields, 'content-length')).toEqual(['99']);
  });

  test('a reason that Node would refuse to send costs the reason alone', async () => {
    const { through } = await both(plainCall, answerBytes({ ...plainAnswer, status: 404, reason: 'N\u00e4\u00e4' }));
    expect(through.client).toMatchObject({ status: 404, reason: 'Not Found', body: 'fine' });
  });

  test('a client of HTTP/1.0 gets no chunks, and the end of the connection as the end of the body', async () => {
    api.answer = answerBytes({ ...plainAnswer, framing: 'chunked', chunks: [2] });
    const answer = await exchange(world.server.port, `${callHead(browser, 'GET', '/api/x', '1.0')}\r\n`);
    expect(finalOf(answer)).toMatchObject({ framing: 'close', complete: true });
    expect(finalOf(answer).body.toString()).toBe('fine');
  });

  test('early hints go ahead of the answer, without what the header policy drops', async () => {
    const hints =
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style, </b>; rel=x; y="a;b"\r\nSet-Cookie: a=1\r\nAccess-Control-Allow-Origin: *\r\n\r\n';
    const { through } = await both(plainCall, Buffer.concat([Buffer.from(hints), answerBytes(plainAnswer)]));
    const [early, final] = through.whole.responses;
    expect(early).toMatchObject({
      status: 103,
      fields: [['link', '</a.css>; rel=preload; as=style, </b>; rel=x; y="a;b"']],
    });
    expect(final).toMatchObject({ status: 200, complete: true });
  });

  test('early hints don’t reach a client of HTTP/1.0, which would take them for the answer', async () => {
    const hints = Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=x\r\n\r\n');
    api.answer = Buffer.concat([hints, answerBytes(plainAnswer)]);
    const answer = await exchange(world.server.port, `${callHead(browser, 'GET', '/api/x', '1.0')}\r\n`);
    expect(answer.responses.map(({ status }) => status)).toEqual([200]);
  });

  describe('trailers', () => {
    const trailers = 'X-Checksum: abc\r\nServer-Timing: db;dur=5\r\n';
    const withTrailers = (announcement: string) =>
      Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\n${announcement}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`),
        chunked(Buffer.from('fine'), [4], `${trailers}Set-Cookie: session=evil\r\nCache-Control: public\r\n`),
      ]);
    const passed = [
      ['x-checksum', 'abc'],
      ['server-timing', 'db;dur=5'],
    ];

    test('that are announced pass, but for those that may not come late', async () => {
      const { through } = await both(plainCall, withTrailers('Trailer: X-Checksum, Server-Timing, Set-Cookie\r\n'));
      const final = finalOf(through.whole);
      expect(valuesOf(final.fields, 'trailer')).toEqual(['X-Checksum, Server-Timing']);
      expect(final.trailers).toEqual(passed);
    });

    test('that the client asked for pass unannounced', async () => {
      const call = { ...plainCall, fields: [['TE', 'trailers'] as const] };
      expect(finalOf((await both(call, withTrailers(''))).through.whole).trailers).toEqual(passed);
    });

    test('that neither the API announced nor the client asked for are left off', async () => {
      const { through } = await both(plainCall, withTrailers(''));
      expect(finalOf(through.whole)).toMatchObject({ trailers: [], complete: true });
      expect(finalOf(through.whole).body.toString()).toBe('fine');
    });

    test('are left off where no chunks carry them', async () => {
      api.answer = withTrailers('Trailer: X-Checksum\r\n');
      const answer = await exchange(
        world.server.port,
        `${callHead(browser, 'GET', '/api/x', '1.0')}TE: trailers\r\n\r\n`,
      );
      expect(finalOf(answer)).toMatchObject({ status: 200, complete: true, trailers: [] });
      expect(finalOf(answer).body.toString()).toBe('fine');
    });

    test('of a request are read and left here, and its body arrives whole', async () => {
      api.answer = answerBytes(plainAnswer);
      api.received.length = 0;
      const head = `${callHead(browser, 'POST', '/api/x')}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n`;
      const bytes = Buffer.concat([Buffer.from(head), chunked(Buffer.from('body'), [2], 'X-Sum: 1\r\nHost: evil\r\n')]);
      expect(finalOf(await exchange(world.server.port, bytes)).status).toBe(200);
      const [received] = api.received;
      expect(received?.body.toString()).toBe('body');
      expect(received?.fields.map(([name]) => name.toLowerCase())).not.toContain('x-sum');
    });
  });

  describe('Expect: 100-continue', () => {
    test('is answered, and the body sent then arrives', async () => {
      api.answer = answerBytes(plainAnswer);
      api.received.length = 0;
      const wire = new Wire(world.server.port);
      wire.write(expecting('POST', '/api/x'));
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes('100 Continue\r\n\r\n')),
        'no 100',
      );
      expect(api.received).toEqual([]);
      wire.write('body');
      const answer = await within(5, wire.ended(), 'no answer');
      expect(answer.responses.map(({ status }) => status)).toEqual([100, 200]);
      expect(api.received.map(({ body }) => body.toString())).toEqual(['body']);
      expect(api.received[0]?.fields.map(([name]) => name.toLowerCase())).not.toContain('expect');
    });

    test('is refused without a 100 where the call is: nobody sends a body for nothing', async () => {
      const stranger = world.client();
      const noSession = await within(
        5,
        exchange(world.server.port, expecting('POST', '/api/x', stranger)),
        'no answer',
      );
      expect(noSession.responses.map(({ status }) => status)).toEqual([401]);
      const noSuchMethod = await within(5, exchange(world.server.port, expecting('LOCK', '/api/x')), 'no answer');
      expect(noSuchMethod.responses.map(({ status }) => status)).toEqual([405]);
    });

    test('is answered by our own endpoints, too', async () => {
      const wire = new Wire(world.server.port);
      wire.write(expecting('POST', '/bff/refresh'));
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes('100 Continue\r\n\r\n')),
        'no 100',
      );
      wire.write('body');
      const answer = await within(5, wire.ended(), 'no answer');
      expect(answer.responses.map(({ status }) => status)).toEqual([100, 200]);
    });
  });
});

function expecting(method: string, target: string, who = browser): string {
  return `${callHead(who, method, target)}Content-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`;
}

function headAnswer(field: string): Buffer {
  return Buffer.from(`HTTP/1.1 200 OK\r\n${field}\r\nConnection: close\r\n\r\n`);
}
