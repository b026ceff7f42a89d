/**
 * The smuggler's second attempt, where the first (smuggling.test.ts) meets a strict parser: codings that the parser takes
 * for well-formed, and of which a proxy removes only a part. The API would get a body whose bounds or content are other
 * than what was sent; with two servers that each undo another part, its rest is the next person's request.
 *
 * Must hold: only plain chunks pass, and only from clients that may send them; all else ends in 400 and a closed
 * connection.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { callHead, exchange } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

let world: World;
let browser: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
}, 60_000);

beforeEach(() => {
  world.api.requests.length = 0;
});

afterAll(() => world.stop());

const chunks = '5\r\nhello\r\n0\r\n\r\n';
/** What would be run in the next one's name. */
const smuggled = 'GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
const refused = { statuses: [400], surplus: '', reachedApi: [] };

async function outcomeOf(fields: string, body: string, version = '1.1') {
  const bytes = `${callHead(browser, 'POST', '/api/x', version)}${fields}\r\n${body}`;
  const { responses, surplus } = await within(5, exchange(world.server.port, bytes), 'the connection stayed open');
  return {
    statuses: responses.map(({ status }) => status),
    surplus: surplus.toString('latin1'),
    reachedApi: world.api.requests.map((request) => `${request.url} ${request.body.toString()}`),
  };
}

test('plain chunks pass, once', async () => {
  const fields = 'Transfer-Encoding: chunked\r\nConnection: close\r\n';
  expect(await outcomeOf(fields, chunks)).toEqual({ ...refused, statuses: [200], reachedApi: ['/x hello'] });
});

test.each([
  ['compressed chunks', 'Transfer-Encoding: gzip, chunked\r\n'],
  ['compression alone', 'Transfer-Encoding: gzip\r\n'],
  ['chunks in chunks', 'Transfer-Encoding: chunked, chunked\r\n'],
  ['chunks in chunks, in two fields', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
  ['compressed chunks, in two fields', 'Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n'],
  ['identity before chunks', 'Transfer-Encoding: identity, chunked\r\n'],
  ['an empty coding before chunks', 'Transfer-Encoding: , chunked\r\n'],
  ['chunks with a parameter', 'Transfer-Encoding: chunked;q=1\r\n'],
  ['a coding nobody knows, and a length', 'Transfer-Encoding: cow\r\nContent-Length: 5\r\n'],
])('%s are refused', async (_, fields) => {
  expect(await outcomeOf(fields, chunks + smuggled)).toEqual(refused);
});

test('chunks from a client of HTTP/1.0 are refused: whoever stands before us may not see them', async () => {
  expect(await outcomeOf('Transfer-Encoding: chunked\r\n', chunks + smuggled, '1.0')).toEqual(refused);
});

test('an upload that is on its way to the API when it breaks the rules never becomes whole there', async () => {
  const large = 'x'.repeat(100_000);
  const broken = `${large.length.toString(16)}\r\n${large}\r\n5\nhello\n0\n\n${smuggled}`;
  expect(await outcomeOf('Transfer-Encoding: chunked\r\n', broken)).toEqual(refused);
});
