/** Calls that are under way when their session ends: they end with it, each in the way that its client understands. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { startRedis } from '../support/redis.ts';
import { callHead, finalOf, valuesOf, Wire, type WireExchange, type WireResponse } from '../support/wire.ts';
import {
  outcomeOf,
  signIn,
  startSignedIn,
  within,
  type SignedInWorld,
  type World,
  type WorldOptions,
} from '../support/world.ts';

const mebibyte = 1024 * 1024;

beforeEach(() => fakeDate());

/** A connection to Sallyport; its socket ends with the test. */
function openWire(port: number, method?: string): Wire {
  const wire = new Wire(port, method);
  onTestFinished(() => void wire.socket.destroy());
  return wire;
}

interface Running {
  readonly wire: Wire;
  /** The API's side. */
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Resolves when the API's side is over. */
  readonly closed: Promise<void>;
}

/** The next call that the API gets, as it comes in. */
function nextCall({ api }: World): Promise<Omit<Running, 'wire'>> {
  return new Promise((resolve) => {
    api.handleRaw((request, response) => {
      api.handleRaw();
      const closed = new Promise<void>((done) => response.once('close', () => done()));
      resolve({ request, response, closed });
    });
  });
}

interface CallOptions {
  readonly method?: string;
  readonly version?: string;
  /** Header lines and the empty one, and a body. */
  readonly rest?: string;
  readonly wire?: Wire;
}

/** A call that has reached the API and waits there for its answer. */
async function beginCall(world: World, browser: BrowserClient, options: CallOptions = {}): Promise<Running> {
  const { method = 'GET', version = '1.1', rest = '\r\n', wire = openWire(world.server.port, method) } = options;
  const arrived = nextCall(world);
  wire.write(`${callHead(browser, method, '/api/long', version)}${rest}`);
  return { wire, ...(await within(5, arrived, 'the API got no call')) };
}

/** The same, and the API has begun its answer. */
async function beginAnswer(
  world: World,
  browser: BrowserClient,
  headers: Record<string, string>,
  options?: CallOptions,
): Promise<Running> {
  const call = await beginCall(world, browser, options);
  call.response.writeHead(200, headers).write('data: 1\n\n');
  await within(
    5,
    call.wire.until(({ bytes }) => bytes.includes('data: 1\n\n')),
    'nothing of the answer came',
  );
  return call;
}

const events = { 'content-type': 'text/event-stream' };

function completed({ wire }: Running, message: string): Promise<void> {
  return within(
    5,
    wire.until(({ responses }) => responses.some(({ complete }) => complete)),
    message,
  );
}

/** What came of an answer that had begun, and whether it looks whole. */
function read({ wire }: Running): Pick<WireResponse, 'status' | 'complete'> & { readonly body: string } {
  const { status, complete, body } = finalOf({ responses: wire.responses, surplus: Buffer.alloc(0), end: wire.end });
  return { status, complete, body: body.toString() };
}

function problemOf(exchange: WireExchange): unknown {
  const { status, fields, body } = finalOf(exchange);
  return { status, code: JSON.parse(body.toString()).code, setCookies: valuesOf(fields, 'set-cookie') };
}

const sessionExpired = { status: 401, code: 'session_expired', setCookies: [] };

/** In another tab. */
function signOut({ browser }: SignedInWorld): Promise<unknown> {
  return browser.clone().fetch('/bff/logout', { method: 'POST' });
}

interface End {
  readonly how: string;
  readonly end: (world: SignedInWorld) => unknown;
  readonly options?: WorldOptions;
}

const ends: readonly End[] = [
  { how: 'a sign-out by a script in another tab', end: signOut },
  {
    how: 'a sign-out by the link',
    end: async ({ browser }) => browser.navigate(String((await browser.fetch('/bff/session')).at('logoutUrl'))),
  },
  { how: 'a new sign-in', end: ({ browser }) => browser.navigate('/bff/login', { initiator: browser.origin }) },
  {
    how: 'a refresh for a call that the provider refuses',
    end({ browser, provider }) {
      provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
      expireAccessToken();
      return browser.clone().fetch('/api/other');
    },
  },
  {
    how: 'a refresh on request that the provider refuses',
    end({ browser, provider }) {
      provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
      return browser.clone().fetch('/bff/refresh', { method: 'POST' });
    },
  },
  {
    how: 'a refresh that brings another person’s ID token',
    end({ browser, provider }) {
      provider.mutateIdToken((claims) => ({ claims: { ...claims, sub: 'mallory' } }), 'refresh');
      return browser.clone().fetch('/bff/refresh', { method: 'POST' });
    },
  },
  {
    how: 'its lifetime',
    options: { config: { session: { lifetimeSeconds: 1000 } } },
    end: () => vi.advanceTimersByTime(1001_000),
  },
  {
    how: 'the end of the only access token that it has',
    options: { provider: { settings: { refreshTokens: 'never' } } },
    end: expireAccessToken,
  },
];

describe.each(ends)('when a session ends by $how', ({ end, options }) => {
  test('event streams end in order, other answers break off, unanswered calls are refused', async () => {
    const world = await startSignedIn(options);
    const { browser } = world;
    const stream = await beginAnswer(world, browser, events);
    const download = await beginAnswer(world, browser, { 'content-length': '1000' });
    const chunks = await beginAnswer(world, browser, { 'content-type': 'application/json' });
    const waiting = await beginCall(world, browser);
    const all = [stream, download, chunks, waiting];

    await end(world);
    await within(3, Promise.all(all.map(({ closed }) => closed)), 'the API still answers');
    expect(all.map(({ response }) => response.writableFinished)).toEqual([false, false, false, false]);
    await completed(stream, 'the stream did not end');
    expect(read(stream)).toEqual({ status: 200, complete: true, body: 'data: 1\n\n' });
    for (const { wire } of [download, chunks]) {
      expect(finalOf(await within(5, wire.ended(), 'the answer goes on')).complete).toBe(false);
    }
    expect(problemOf(await within(5, waiting.wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
    expect(world.logs.join('')).not.toContain('internal_error');
  });
});

test('the idle timeout ends answers that have begun, but a call still waiting gets its answer', async () => {
  const world = await startSignedIn({ config: { session: { idleSeconds: 100 } } });
  const { browser } = world;
  const stream = await beginAnswer(world, browser, events);
  const download = await beginAnswer(world, browser, { 'content-length': '1000' });
  const waiting = await beginCall(world, browser);
  vi.advanceTimersByTime(101_000);
  await within(3, Promise.all([stream.closed, download.closed]), 'the API still answers');
  await completed(stream, 'the stream did not end');
  expect(read(stream)).toEqual({ status: 200, complete: true, body: 'data: 1\n\n' });
  expect(finalOf(await within(5, download.wire.ended(), 'the answer goes on')).complete).toBe(false);
  // A long report, say: to wait for it is not to be idle.
  waiting.response.end('done');
  expect(finalOf(await within(5, waiting.wire.answered(), 'no answer came'))).toMatchObject({ status: 200 });
  expect((await browser.fetch('/api/next')).at('code')).toBe('session_expired');
});

describe('those of other sessions go on', () => {
  test('of another person, on the same connection even, as behind a load balancer', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const bob = world.client();
    await signIn(bob, 'bob');
    const alices = await beginAnswer(world, browser, events);
    alices.response.end();
    await completed(alices, 'the stream did not end');
    const bobs = await beginAnswer(world, bob, events, { wire: alices.wire });
    await browser.fetch('/bff/logout', { method: 'POST' });
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    bobs.response.end('data: 2\n\n');
    await within(
      5,
      bobs.wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === 2),
      'the stream did not go on',
    );
    expect(bobs.wire.responses.at(-1)?.body.toString()).toBe('data: 1\n\ndata: 2\n\n');
  });

  test('of the same person in another browser, and of the session that took its place', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const phone = world.client();
    await signIn(phone, 'alice');
    const old = await beginAnswer(world, browser, events);
    const onPhone = await beginAnswer(world, phone, events);
    await browser.navigate('/bff/login', { initiator: browser.origin });
    await completed(old, 'the stream did not end');
    const next = await beginAnswer(world, browser, events);
    for (const stream of [onPhone, next]) {
      stream.response.end('data: 2\n\n');
      await completed(stream, 'the stream did not go on');
      expect(read(stream)).toEqual({ status: 200, complete: true, body: 'data: 1\n\ndata: 2\n\n' });
    }
  });

  test('of a session whose idle timeout other calls put off', async () => {
    const world = await startSignedIn({ config: { session: { idleSeconds: 100 } } });
    const { browser } = world;
    const bob = world.client();
    await signIn(bob, 'bob');
    const stream = await beginAnswer(world, browser, events);
    const idle = await beginAnswer(world, bob, events);
    for (let call = 0; call < 3; call += 1) {
      vi.advanceTimersByTime(80_000);
      expect((await browser.fetch('/api/x')).status).toBe(200);
    }
    await completed(idle, 'the stream outlived its idle timeout');
    stream.response.end('data: 2\n\n');
    await completed(stream, 'the stream did not go on');
    expect(read(stream).body).toBe('data: 1\n\ndata: 2\n\n');
  });

  test('of a session that got a new token meanwhile', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const stream = await beginAnswer(world, browser, events);
    expireAccessToken();
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
    stream.response.write('data: 2\n\n');
    await within(
      5,
      stream.wire.until(({ bytes }) => bytes.includes('data: 2')),
      'the stream did not go on',
    );
    await browser.fetch('/bff/logout', { method: 'POST' });
    await completed(stream, 'the stream outlived the sign-out');
  });
});

describe('the end of an event stream', () => {
  test.each(['text/event-stream; charset=utf-8', 'Text/Event-Stream', 'text/event-stream;x=y'])(
    'is in order with Content-Type: %s',
    async (type) => {
      const world = await startSignedIn();
      const stream = await beginAnswer(world, world.browser, { 'content-type': type });
      await signOut(world);
      await completed(stream, 'the stream did not end');
      expect(read(stream).complete).toBe(true);
    },
  );

  test('leaves the connection to the next call, which is refused', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const stream = await beginAnswer(world, browser, events);
    await signOut(world);
    await completed(stream, 'the stream did not end');
    stream.wire.write(`${callHead(browser, 'GET', '/api/next')}\r\n`);
    await within(
      5,
      stream.wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === 2),
      'no second answer',
    );
    expect(stream.wire.responses[1]?.body.toString()).toContain('session_expired');
    expect(world.api.requests.map(({ url }) => url)).toEqual(['/long']);
  });

  test('comes before the first event, too', async () => {
    const world = await startSignedIn();
    const stream = await beginCall(world, world.browser);
    stream.response.writeHead(200, events).flushHeaders();
    await stream.wire.until(({ responses }) => responses.length === 1);
    await signOut(world);
    await completed(stream, 'the stream did not end');
    expect(read(stream)).toEqual({ status: 200, complete: true, body: '' });
  });

  test('is in order for a client of HTTP/1.0, to which a download is reset', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const stream = await beginAnswer(world, browser, events, { version: '1.0' });
    const download = await beginAnswer(world, browser, {}, { version: '1.0' });
    await signOut(world);
    const ends = await within(5, Promise.all([stream.wire.ended(), download.wire.ended()]), 'an answer goes on');
    expect(ends.map(({ end }) => end)).toEqual(['closed', 'reset']);
  });

  test('is a break where a length was promised', async () => {
    const world = await startSignedIn();
    const stream = await beginAnswer(world, world.browser, { ...events, 'content-length': '1000' });
    await signOut(world);
    expect(finalOf(await within(5, stream.wire.ended(), 'the answer goes on')).complete).toBe(false);
  });

  test('reaches a client that had not read so far, and the API at once', async () => {
    const world = await startSignedIn();
    const stream = await beginAnswer(world, world.browser, events);
    const { response, wire } = stream;
    wire.socket.pause();
    response.on('drain', () => response.write(Buffer.alloc(mebibyte, 'x')));
    response.write(Buffer.alloc(mebibyte, 'x'));
    await vi.waitFor(() => expect(response.writableNeedDrain).toBe(true));
    await signOut(world);
    await within(3, stream.closed, 'the API still sends');
    wire.socket.resume();
    await completed(stream, 'the stream did not end');
  });
});

describe('a call that has not reached the API when its session ends', () => {
  test('is refused at once while its small upload comes in, and the API hears nothing of it', async () => {
    const world = await startSignedIn();
    const { browser, api, server } = world;
    const wire = openWire(server.port, 'POST');
    wire.write(`${callHead(browser, 'POST', '/api/x')}Content-Length: 1000\r\n\r\n${'x'.repeat(500)}`);
    // By the time that another call has been answered, this one waits for its body.
    await browser.fetch('/api/other');
    await signOut(world);
    expect(problemOf(await within(5, wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
    expect(api.requests.map(({ url }) => url)).toEqual(['/other']);
  });

  test.each([
    ['a sign-out', signOut, {}],
    ['the lifetime', () => vi.advanceTimersByTime(1001_000), { lifetimeSeconds: 1000 }],
    ['the idle timeout', () => vi.advanceTimersByTime(101_000), { idleSeconds: 100 }],
  ] as const)('does not reach it with the rest of its upload after %s', async (_how, end, session) => {
    const world = await startSignedIn({ config: { session } });
    const { browser, api, server } = world;
    const tab = browser.clone();
    const wire = openWire(server.port, 'POST');
    wire.write(`${callHead(tab, 'POST', '/api/x')}Content-Length: 1000\r\n\r\n${'x'.repeat(500)}`);
    await tab.fetch('/api/other');
    await end(world);
    wire.write('x'.repeat(500));
    expect(problemOf(await within(5, wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
    expect(api.requests.map(({ url }) => url)).toEqual(['/other']);
    const kept = openWire(server.port);
    kept.write(`${callHead(tab, 'GET', '/api/y')}\r\n`);
    expect(finalOf(await within(5, kept.answered(), 'no answer')).status).toBe(401);
  });

  test('is refused while it waits for a new token', async () => {
    const world = await startSignedIn();
    const { browser, api, provider, server } = world;
    expireAccessToken();
    const gate = provider.hold('refresh');
    const wire = openWire(server.port);
    wire.write(`${callHead(browser, 'GET', '/api/x')}\r\n`);
    await gate.arrived;
    await signOut(world);
    gate.release();
    expect(problemOf(await within(5, wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
    expect(api.requests).toEqual([]);
  });

  test('is not repeated with a new token that came too late', async () => {
    const world = await startSignedIn();
    const { browser, api, provider, server } = world;
    api.rejectTokens(1);
    const gate = provider.hold('refresh');
    const wire = openWire(server.port);
    wire.write(`${callHead(browser, 'GET', '/api/x')}\r\n`);
    await gate.arrived;
    await signOut(world);
    gate.release();
    expect(problemOf(await within(5, wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
    expect(api.requests).toHaveLength(1);
  });
});

test('an upload that is under way breaks off at the API, and its client is told why', async () => {
  const world = await startSignedIn();
  const { browser } = world;
  const rest = `Content-Length: ${mebibyte}\r\n\r\n${'x'.repeat(mebibyte / 2)}`;
  const upload = await beginCall(world, browser, { method: 'POST', rest });
  upload.request.resume();
  await signOut(world);
  expect(problemOf(await within(5, upload.wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
  await within(5, upload.closed, 'the API still waits');
  expect(upload.request.complete).toBe(false);
});

test('of pipelined calls each gets its own end, in their order', async () => {
  const world = await startSignedIn();
  const { browser } = world;
  const stream = await beginAnswer(world, browser, events);
  const asked = world.api.requests.length;
  // It waits for its turn, and the API hears nothing of it.
  stream.wire.write(`${callHead(browser, 'GET', '/api/second')}\r\n`);
  await signOut(world);
  await within(
    5,
    stream.wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === 2),
    'an end is missing',
  );
  expect(stream.wire.responses.map(({ status }) => status)).toEqual([200, 401]);
  expect(stream.wire.responses[1]?.body.toString()).toContain('session_expired');
  expect(world.api.requests).toHaveLength(asked);
});

test('a call that its client left is not missed', async () => {
  const world = await startSignedIn();
  const { browser } = world;
  const stream = await beginAnswer(world, browser, events);
  const waiting = await beginCall(world, browser);
  stream.wire.socket.destroy();
  waiting.wire.socket.resetAndDestroy();
  await within(5, Promise.all([stream.closed, waiting.closed]), 'the API still answers');
  await signOut(world);
  expect((await browser.fetch('/api/x')).at('code')).toBe('session_expired');
  expect(world.logs.join('')).not.toContain('request failed');
});

test('a session that ends gives back its places on a route that limits its calls', async () => {
  const world = await startSignedIn({
    config: (base) => ({
      ...base,
      api: (base.api ?? []).map((route) => Object.assign({}, route, { maxConcurrent: 2 })),
    }),
  });
  const { browser } = world;
  const bob = world.client();
  await signIn(bob, 'bob');
  const stream = await beginAnswer(world, browser, events);
  const waiting = await beginCall(world, browser);
  expect((await bob.fetch('/api/x')).status).toBe(429);
  await signOut(world);
  await within(5, Promise.all([stream.closed, waiting.closed]), 'the API still answers');
  await vi.waitFor(async () => {
    expect((await bob.fetch('/api/x')).status).toBe(200);
  });
});

test('a call that is over leaves nothing behind: its connection serves on after the sign-out', async () => {
  const warnings: string[] = [];
  const note = (warning: Error) => warnings.push(warning.message);
  process.on('warning', note);
  onTestFinished(() => void process.off('warning', note));
  const world = await startSignedIn();
  const { browser } = world;
  const wire = openWire(world.server.port);
  for (let call = 1; call <= 30; call += 1) {
    wire.write(`${callHead(browser, 'GET', `/api/${call}`)}\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === call),
      'no answer',
    );
  }
  await signOut(world);
  wire.write(`${callHead(browser, 'GET', '/api/after')}\r\n`);
  await within(
    5,
    wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === 31),
    'no answer',
  );
  expect(wire.responses.map(({ status }) => status)).toEqual([...Array.from({ length: 30 }, () => 200), 401]);
  expect(warnings).toEqual([]);
});

test('amid many short calls a sign-out leaves each with a whole answer or a refusal', async () => {
  const world = await startSignedIn();
  const { browser } = world;
  const tab = browser.clone();
  const outcomes: Promise<number | string>[] = [];
  for (let call = 0; call < 60; call += 1) {
    outcomes.push(outcomeOf(tab.fetch(`/api/${call}`)));
    if (call === 30) outcomes.push(outcomeOf(browser.fetch('/bff/logout', { method: 'POST' })));
    if (call % 10 === 9) await Promise.race(outcomes.slice(-5));
  }
  const settled = await Promise.all(outcomes);
  expect(settled.filter((outcome) => outcome !== 200 && outcome !== 401)).toEqual([]);
  expect(settled.at(-1)).toBe(401);
});

test('with Redis, a sign-out at another instance ends them at once, without another call here', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startSignedIn({ config: (base) => ({ ...base, redisUrl: redis.url }) });
  const { browser } = world;
  const other = await world.addInstance();
  const stream = await beginAnswer(world, browser, events);
  const waiting = await beginCall(world, browser);
  const there = browser.clone();
  there.routeTo(other.port, world.origin);
  expect((await there.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
  await completed(stream, 'the stream did not end');
  expect(problemOf(await within(5, waiting.wire.answered(), 'no refusal came'))).toEqual(sessionExpired);
});
