/**
 * The smuggler sends one request that two servers cut in two places, so that its second half is read as the start of
 * another person's request: both lengths at once, chunks that only one of them sees, line ends that only one believes.
 * Sallyport shares its connections to the API among all people, and may stand behind a balancer that does, too.
 * Whatever could be cut in two ways must end in 400 and a closed connection, and none of it may reach the API.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { callHead, exchange, finalOf } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

let world: World;
let browser: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
}, 60_000);

afterAll(() => world.stop());

/** What would be run in another's name. */
const smuggled = 'GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

function attempt(fields: string, body: string, version = '1.1') {
  const bytes = `${callHead(browser, 'POST', '/api/x', version)}${fields}\r\n${body}`;
  return within(5, exchange(world.server.port, bytes), 'the connection stayed open');
}

const refused = { statuses: [400], surplus: '', reachedApi: [] };

async function outcome(fields: string, body: string, version?: string) {
  world.api.requests.length = 0;
  const answer = await attempt(fields, body, version);
  return {
    statuses: answer.responses.map(({ status }) => status),
    surplus: answer.surplus.toString('latin1'),
    reachedApi: world.api.requests.map(({ url }) => url),
  };
}

const chunks = `5\r\nhello\r\n0\r\n\r\n`;

test('the plain form of all the below passes, once', async () => {
  world.api.requests.length = 0;
  const answer = await attempt('Transfer-Encoding: chunked\r\nConnection: close\r\n', chunks);
  expect(finalOf(answer).status).toBe(200);
  expect(world.api.requests.map(({ body }) => body.toString())).toEqual(['hello']);
});

describe('400 and a closed connection for', () => {
  test.each([
    ['both lengths', `Content-Length: ${chunks.length}\r\nTransfer-Encoding: chunked\r\n`],
    ['both lengths, the other way round', 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n'],
    ['both lengths, the coding in disguise', 'Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n'],
    ['another coding', 'Transfer-Encoding: gzip\r\n'],
    ['identity', 'Transfer-Encoding: identity\r\n'],
    ['a coding before chunked', 'Transfer-Encoding: gzip, chunked\r\n'],
    ['a coding after chunked', 'Transfer-Encoding: chunked, identity\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked, chunked\r\n'],
    ['chunked in two fields', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
    ['chunked and another field', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n'],
    ['chunked with a parameter', 'Transfer-Encoding: chunked;q=1\r\n'],
    ['chunked in quotes', 'Transfer-Encoding: "chunked"\r\n'],
    ['chunked after a vertical tab', 'Transfer-Encoding: \x0bchunked\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n'],
    ['a tab before the colon', 'Transfer-Encoding\t: chunked\r\n'],
    ['a space before the name', ' Transfer-Encoding: chunked\r\n'],
    ['obsolete folding', 'X-Folded: a\r\n Transfer-Encoding: chunked\r\n'],
    ['obsolete folding of the coding', 'Transfer-Encoding:\r\n chunked\r\n'],
    ['a bare LF after a field', 'X-A: 1\nTransfer-Encoding: chunked\r\n'],
    ['a bare CR in a field', 'X-A: 1\rTransfer-Encoding: chunked\r\n'],
    ['a NUL in a field', 'X-A: 1\0\r\nTransfer-Encoding: chunked\r\n'],
    ['a field without a name', ': x\r\nTransfer-Encoding: chunked\r\n'],
    ['a field without a colon', 'X-A\r\nTransfer-Encoding: chunked\r\n'],
  ])('%s', async (_, fields) => {
    expect(await outcome(fields, chunks + smuggled)).toEqual(refused);
  });

  test.each([
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['the same length twice', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
    ['a list of lengths', 'Content-Length: 5, 5\r\n'],
    ['a signed length', 'Content-Length: +5\r\n'],
    ['a negative length', 'Content-Length: -5\r\n'],
    ['a hexadecimal length', 'Content-Length: 0x5\r\n'],
    ['a length with a space in it', 'Content-Length: 5 0\r\n'],
    ['an empty length', 'Content-Length: \r\n'],
    ['a length beyond all bounds', 'Content-Length: 99999999999999999999999\r\n'],
  ])('%s', async (_, fields) => {
    expect(await outcome(fields, `hello${smuggled}`)).toEqual(refused);
  });

  test.each([
    ['chunk sizes that end with a bare LF', '5\nhello\n0\n\n'],
    ['chunks that end with a bare LF', '5\r\nhello\n0\r\n\r\n'],
    ['a chunk longer than its size', '5\r\nhello world\r\n0\r\n\r\n'],
    ['a chunk size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size that wraps round', '10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with spaces before it', ' 5\r\nhello\r\n0\r\n\r\n'],
    ['a bare LF in a chunk extension', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
    ['an empty chunk size', '\r\nhello\r\n0\r\n\r\n'],
  ])('%s', async (_, body) => {
    expect(await outcome('Transfer-Encoding: chunked\r\n', body + smuggled)).toEqual(refused);
  });

  test('chunks in HTTP/1.0', async () => {
    expect(await outcome('Transfer-Encoding: chunked\r\n', chunks + smuggled, '1.0')).toEqual(refused);
  });

  test('an upload that is already on its way to the API when it breaks the rules', async () => {
    const large = 'x'.repeat(100_000);
    const broken = `${large.length.toString(16)}\r\n${large}\r\n5\nhello\n0\n\n${smuggled}`;
    expect(await outcome('Transfer-Encoding: chunked\r\n', broken)).toEqual(refused);
  });

  test.each([
    ['no host', 'GET /api/x HTTP/1.1\r\n\r\n'],
    ['a bare LF after the request line', 'GET /api/x HTTP/1.1\nHost: a\r\n\r\n'],
    ['a space in the target', 'GET /api/x y HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a version of our own', 'GET /api/x HTTP/1.9\r\nHost: a\r\n\r\n'],
    ['an unknown method', 'SMUGGLE /api/x HTTP/1.1\r\nHost: a\r\n\r\n'],
  ])('%s', async (_, bytes) => {
    const answer = await within(5, exchange(world.server.port, bytes + smuggled), 'the connection stayed open');
    expect(answer.responses.map(({ status }) => status)).toEqual([400]);
  });
});

test('a body with a GET takes its own bytes and no more', async () => {
  world.api.requests.length = 0;
  const head = callHead(browser, 'GET', '/api/x');
  const next = `${callHead(browser, 'GET', '/api/next')}Connection: close\r\n\r\n`;
  const answer = await exchange(
    world.server.port,
    `${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}${next}`,
  );
  expect(answer.responses.map(({ status }) => status)).toEqual([200, 200]);
  const got = new Map(world.api.requests.map(({ url, body }) => [url, body.toString()]));
  // Each call has a connection of its own to the API, so they may overtake one another.
  expect(got).toEqual(
    new Map([
      ['/x', smuggled],
      ['/next', ''],
    ]),
  );
});

test('headers that a value tries to add stay a value', async () => {
  const answer = await browser.fetch(`/api/x?${encodeURIComponent('\r\nX-Injected: 1\r\n\r\nGET /api/smuggled')}`);
  expect(answer.status).toBe(200);
  expect(world.api.last().headers).not.toHaveProperty('x-injected');
});
