/**
 * Answers and uploads that take longer than an access token lives, such as a chat's: whoever refreshes the token meanwhile,
 * they go on, and only the end of their session cuts them. By the clock of the wall, with tokens of two seconds.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { decodeJwt } from 'jose';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { startRedis } from '../support/redis.ts';
import { callHead, Wire } from '../support/wire.ts';
import { startSignedIn, within, type SignedInWorld } from '../support/world.ts';

const lifetimes = { accessToken: 2, idToken: 300, refreshToken: 600, code: 60, session: 600 };

/** One that is under way, seen from both of its ends. */
interface LongCall {
  readonly wire: Wire;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly send: (piece: string) => void;
  /** What the other end has got. */
  readonly received: () => string;
  readonly finish: () => void;
}

/** The API answers what is below `/long` when the test does, and everything else at once. */
function holdLongCalls({ api }: SignedInWorld): void {
  api.handleRaw((request, response) => {
    if (request.url?.startsWith('/long/') === true) api.server.emit(`reached ${request.url}`, request, response);
    else response.end('{}');
  });
}

/** What each begins with, for an upload reaches the API with its first bytes. */
const firstPiece = 'first;';

let begun = 0;

async function beginCall({ api, browser }: SignedInWorld, port: number, method: string, rest: string) {
  const path = `/long/${++begun}`;
  const arrived = once(api.server, `reached ${path}`) as Promise<[IncomingMessage, ServerResponse]>;
  const wire = new Wire(port, method);
  onTestFinished(() => void wire.socket.destroy());
  wire.write(callHead(browser, method, `/api${path}`) + rest);
  const [request, response] = await within(5, arrived, `the API got no ${method}`);
  return { wire, request, response };
}

async function beginAnswer(world: SignedInWorld, port: number, type: string): Promise<LongCall> {
  const call = await beginCall(world, port, 'GET', '\r\n');
  const { wire, response } = call;
  response.writeHead(200, { 'content-type': type }).write(firstPiece);
  return {
    ...call,
    send: (piece) => void response.write(piece),
    received: () => wire.responses.at(-1)?.body.toString() ?? '',
    finish: () => void response.end(),
  };
}

/** Of unknown length, as a script's `fetch` with a stream, or a recording that is sent while it is made. */
async function beginUpload(world: SignedInWorld, port: number): Promise<LongCall> {
  const call = await beginCall(world, port, 'POST', `Transfer-Encoding: chunked\r\n\r\n${chunkOf(firstPiece)}`);
  const { wire, request } = call;
  let received = '';
  request.on('data', (bytes: Buffer) => (received += bytes.toString()));
  request.on('end', () => call.response.end('thanks'));
  return {
    ...call,
    send: (piece) => wire.write(chunkOf(piece)),
    received: () => received,
    finish: () => wire.write('0\r\n\r\n'),
  };
}

function chunkOf(piece: string): string {
  return `${piece.length.toString(16)}\r\n${piece}\r\n`;
}

interface LongCalls {
  readonly chat: LongCall;
  readonly answer: LongCall;
  readonly upload: LongCall;
}

async function beginLongCalls(world: SignedInWorld): Promise<LongCalls> {
  const { port } = world.server;
  const [chat, answer, upload] = await Promise.all([
    beginAnswer(world, port, 'text/event-stream'),
    beginAnswer(world, port, 'application/x-ndjson'),
    beginUpload(world, port),
  ]);
  return { chat, answer, upload };
}

/** Sends a piece each way and waits until all have come, whole and in their order. */
async function flow(calls: readonly LongCall[], soFar: string, piece: string): Promise<string> {
  for (const call of calls) call.send(piece);
  await vi.waitFor(() => expect(calls.map(({ received }) => received())).toEqual(calls.map(() => soFar + piece)));
  return soFar + piece;
}

/** All end as their senders end them, at the client that began them. */
async function expectWhole(calls: readonly LongCall[]): Promise<void> {
  for (const { finish } of calls) finish();
  for (const { wire } of calls) {
    const { responses } = await within(5, wire.answered(), 'no end came');
    expect(responses.map(({ status, complete }) => [status, complete])).toEqual([[200, true]]);
  }
}

/** What the person's own end of the session does to each. */
async function expectCut({ chat, answer, upload }: LongCalls): Promise<void> {
  // In order, so that an EventSource knows no error, and asks what has become of the session.
  await within(5, chat.wire.answered(), 'the chat goes on');
  expect((await within(5, answer.wire.ended(), 'the answer goes on')).responses[0]).toMatchObject({ complete: false });
  const refusal = (await within(5, upload.wire.answered(), 'the upload goes on')).responses[0];
  expect(refusal?.body.toString()).toContain('session_expired');
  await vi.waitFor(() => expect(upload.request.destroyed).toBe(true));
  expect(upload.request.complete).toBe(false);
}

function secondsOver(request: IncomingMessage): number {
  const { exp = Infinity } = decodeJwt(request.headers.authorization?.replace('Bearer ', '') ?? '');
  return Date.now() / 1000 - exp;
}

/** Who has the token refreshed. A request for it counts for nothing in the five seconds after another refresh. */
function renewals(here: number, there: number) {
  return [
    { port: here, method: 'POST', path: '/bff/refresh' },
    { port: here, method: 'GET', path: '/api/other' },
    { port: there, method: 'GET', path: '/api/other' },
    { port: there, method: 'POST', path: '/bff/refresh' },
  ];
}

const modes: readonly (readonly [string, Partial<ConfigInput>])[] = [
  ['cookie', {}],
  ['store', { session: { mode: 'store' } }],
];

test.each(modes)(
  'calls outlive their token, whoever refreshes it, until their session ends (session.mode: %s)',
  { timeout: 60_000 },
  async (_, config) => {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const world = await startSignedIn({
      // What a browser held when its streams began is soon served no more.
      config: { ...config, redisUrl: redis.url, refresh: { graceSeconds: 1 } },
      provider: { settings: { lifetimes } },
    });
    const { browser, provider, server, origin } = world;
    const other = await world.addInstance();
    holdLongCalls(world);
    const toEnd = await beginLongCalls(world);
    const toBeCut = await beginLongCalls(world);
    const all = [toEnd, toBeCut].flatMap((calls) => Object.values(calls) as LongCall[]);
    let sent = await flow(all, firstPiece, 'second;');

    for (const { port, method, path } of renewals(server.port, other.port)) {
      browser.routeTo(port, origin);
      const before = provider.calls.refresh;
      await vi.waitFor(
        async () => {
          expect((await browser.fetch(path, { method })).status).toBe(200);
          expect(provider.calls.refresh).toBe(before + 1);
        },
        { timeout: 10_000, interval: 100 },
      );
      sent = await flow(all, sent, `after ${method} ${path};`);
    }
    await vi.waitFor(() => all.forEach(({ request }) => expect(secondsOver(request)).toBeGreaterThan(1)), {
      timeout: 5000,
      interval: 100,
    });
    sent = await flow(all, sent, 'the token is over;');

    await expectWhole(Object.values(toEnd) as LongCall[]);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    await expectCut(toBeCut);
    // None was begun a second time.
    expect(world.api.requests.filter(({ url }) => url.startsWith('/long/'))).toHaveLength(all.length);
  },
);

test('calls outlive a token that nobody refreshes, the provider being away', async () => {
  const world = await startSignedIn({ provider: { settings: { lifetimes } } });
  const { browser, provider } = world;
  holdLongCalls(world);
  const calls = await beginLongCalls(world);
  const all = Object.values(calls) as LongCall[];
  await provider.down();
  let sent = await flow(all, firstPiece, 'second;');
  await vi.waitFor(() => expect(secondsOver(calls.upload.request)).toBeGreaterThan(0), {
    timeout: 5000,
    interval: 100,
  });
  expect((await browser.fetch('/api/other')).status).toBe(503);
  sent = await flow(all, sent, 'the token is over;');
  await expectWhole(all);
});

test('calls end with their token where it is all that the session has', async () => {
  const world = await startSignedIn({ provider: { settings: { lifetimes, refreshTokens: 'never' } } });
  holdLongCalls(world);
  const calls = await beginLongCalls(world);
  await expectCut(calls);
  expect(secondsOver(calls.chat.request)).toBeGreaterThanOrEqual(0);
});
