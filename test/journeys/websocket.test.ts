/** WebSockets of the app: opened with the session, passed on as they are, closed when the session ends. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { listen } from '../support/listener.ts';
import { makeCertificate } from '../support/tls.ts';
import {
  beginSocket,
  closeOf,
  nextMessage,
  openSocket,
  refusalOf,
  startSocketWorld,
  type SocketApi,
  type SocketWorld,
} from '../support/web-socket.ts';
import { signIn, startWorld, within, type World, type WorldOptions } from '../support/world.ts';

/** A world whose route to the API has these keys, too. */
function withRoute(keys: Partial<NonNullable<ConfigInput['api']>[number]>): WorldOptions {
  return { config: (base) => ({ ...base, api: (base.api ?? []).map((route) => Object.assign({}, route, keys)) }) };
}

function tokenOf(request: IncomingMessage | undefined): string {
  return request?.headers.authorization?.replace('Bearer ', '') ?? '';
}

/** Answers the next upgrades raw. */
function refuseUpgrades(sockets: SocketApi, answer: string, times = Infinity): void {
  let left = times;
  sockets.handle((_, socket) => {
    if (left-- <= 0) return undefined;
    socket.end(answer);
    return 'taken';
  });
}

/** The request id in a problem. */
function idOf({ body }: { body: string }): unknown {
  return (JSON.parse(body) as Record<string, unknown>)['instance'];
}

const invalidToken =
  'HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error="invalid_token"\r\ncontent-length: 7\r\n\r\nno good';

describe('an open socket', () => {
  test('carries messages of any kind and size both ways', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    for (const message of ['hello', Buffer.from([0, 255, 1]), '', Buffer.alloc(3_000_000, 'x')]) {
      const answer = nextMessage(socket);
      socket.send(message);
      expect((await answer).equals(Buffer.from(message))).toBe(true);
    }
    socket.terminate();
  });

  test('was opened with the access token, and without what the browser says about itself', async () => {
    const world = await startSocketWorld();
    await world.browser.fetch('/bff/session');
    const { socket } = await openSocket(world, world.browser, {
      path: '/api/rooms/1?x=%20y',
      headers: { authorization: 'Bearer forged', 'x-forwarded-for': '6.6.6.6', X_User: 'root', 'x-kept': 'yes' },
    });
    const { request } = await world.sockets.accepted();
    expect(request.url).toBe('/rooms/1?x=%20y');
    expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
    expect(request.headers).toMatchObject({
      'x-kept': 'yes',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': new URL(world.origin).host,
      'x-forwarded-proto': 'http',
      host: new URL(world.api.url).host,
      origin: world.origin,
    });
    expect(Object.keys(request.headers)).not.toContain('cookie');
    expect(Object.keys(request.headers)).not.toContain('x_user');
    socket.terminate();
    world.assertNoSecrets();
  });

  test('has the sub-protocol and the extensions that both ends agree on', async () => {
    const world = await startSocketWorld(
      {},
      { perMessageDeflate: { threshold: 0 }, handleProtocols: (offered) => [...offered].at(-1) ?? false },
    );
    const { socket, answer } = await openSocket(world, world.browser, { protocols: ['graphql-ws', 'chat.v2'] });
    const { socket: atApi } = await world.sockets.accepted();
    expect([socket.protocol, atApi.protocol]).toEqual(['chat.v2', 'chat.v2']);
    expect([socket.extensions, atApi.extensions]).toEqual(['permessage-deflate', 'permessage-deflate']);
    expect(answer.headers['set-cookie']).toBeUndefined();
    const echoed = nextMessage(socket);
    socket.send('x'.repeat(100_000));
    expect((await echoed).length).toBe(100_000);
    socket.terminate();
  });

  test('is closed with the code and reason that either end gives', async () => {
    const world = await startSocketWorld();
    const first = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const seenByApi = closeOf(atApi);
    first.socket.close(4000, 'enough');
    expect(await seenByApi).toEqual({ code: 4000, reason: 'enough' });

    const second = await openSocket(world, world.browser);
    const seenByClient = closeOf(second.socket);
    (await world.sockets.accepted()).socket.close(1008, 'policy');
    expect(await seenByClient).toEqual({ code: 1008, reason: 'policy' });
  });

  test('passes pings and pongs untouched', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const answers = Promise.all([once(socket, 'pong'), once(atApi, 'pong')]);
    socket.ping('from the client');
    atApi.ping('from the API');
    const [[toClient], [toApi]] = (await within(5, answers, 'no pong')) as [[Buffer], [Buffer]];
    expect([toClient.toString(), toApi.toString()]).toEqual(['from the client', 'from the API']);
    socket.terminate();
  });

  test('is let go by the API when the client vanishes, and by the client when the API does', async () => {
    const world = await startSocketWorld();
    const first = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const seenByApi = closeOf(atApi);
    first.socket.terminate();
    expect((await seenByApi).code).toBe(1006);

    const second = await openSocket(world, world.browser);
    const seenByClient = closeOf(second.socket);
    (await world.sockets.accepted()).socket.terminate();
    expect((await seenByClient).code).toBe(1006);
  });

  test('holds a fast API back when the client reads slowly', async () => {
    const world = await startSocketWorld({}, { echo: false });
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    socket.pause();
    const message = Buffer.alloc(1_000_000, 'x');
    const count = 40;
    for (let sent = 0; sent < count; sent++) atApi.send(message);
    await vi.waitFor(async () => {
      const before = atApi.bufferedAmount;
      await sleep(200);
      expect(atApi.bufferedAmount).toBe(before);
    });
    // What the kernel's buffers don't hold waits at the API, and not in Sallyport.
    expect(atApi.bufferedAmount).toBeGreaterThan(20_000_000);
    let received = 0;
    const all = new Promise<void>((resolve) => {
      socket.on('message', () => {
        if (++received === count) resolve();
      });
    });
    socket.resume();
    await within(10, all, 'not everything came');
    socket.terminate();
  });
});

describe('the upgrade', () => {
  test('refreshes a token that is about to expire first, and brings the new cookie', async () => {
    fakeDate();
    const world = await startSocketWorld();
    expireAccessToken();
    const { socket, answer } = await openSocket(world, world.browser);
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.sockets.requests).toHaveLength(1);
    const setCookies = answer.headers['set-cookie'] ?? [];
    expect(setCookies.join()).toMatch(/^session=.*HttpOnly.*SameSite=Strict/);
    for (const line of setCookies) world.browser.cookies.store(line, new URL(world.origin), 'same-site');
    expect((await world.browser.fetch('/api/x')).setCookies).toEqual([]);
    expect(world.provider.calls.refresh).toBe(1);
    socket.terminate();
  });

  test('is tried again with a new token when the API refuses the first one', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, invalidToken, 1);
    const { socket, answer } = await openSocket(world, world.browser);
    expect(world.provider.calls.refresh).toBe(1);
    const [first, second] = world.sockets.requests.map(tokenOf);
    expect(second).not.toBe(first);
    expect(answer.headers['set-cookie']?.join()).toContain('session=');
    expect(answer.headers['cache-control']).toBe('no-store');
    socket.terminate();
  });

  test('shows the refusal of a new token as it was, with the new cookie, and refreshes no more for the next', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, invalidToken);
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal).toMatchObject({ status: 401, body: 'no good' });
    expect(refusal.headers['www-authenticate']).toBe('Bearer error="invalid_token"');
    expect(refusal.setCookies.join()).toContain('session=');
    expect(world.sockets.requests).toHaveLength(2);
    await refusalOf(beginSocket(world, world.browser));
    expect(world.sockets.requests).toHaveLength(3);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('is answered 503 when the token cannot be renewed now', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, invalidToken);
    world.provider.fail('refresh', { status: 503 });
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal.status).toBe(503);
    expect(JSON.parse(refusal.body)).toMatchObject({ code: 'provider_unavailable' });
    world.assertNoSecrets();
  });

  test.each(['insufficient_scope', 'insufficient_user_authentication'])(
    'refreshes nothing for a 401 about %s',
    async (error) => {
      const world = await startSocketWorld();
      refuseUpgrades(world.sockets, invalidToken.replace('invalid_token', error));
      const refusal = await refusalOf(beginSocket(world, world.browser));
      expect(refusal).toMatchObject({ status: 401, body: 'no good' });
      expect(world.provider.calls.refresh).toBe(0);
    },
  );

  test.each([
    ['with a length', 'HTTP/1.1 403 Nope\r\ncontent-type: text/x\r\ncontent-length: 3\r\n\r\nabc', 403, 'abc'],
    ['in chunks', 'HTTP/1.1 429 Slow\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n', 429, 'abc'],
    ['until the end', 'HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\nabc', 500, 'abc'],
    ['without a body', 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n', 404, ''],
    ['that is no refusal at all', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok', 200, 'ok'],
    ['that leads elsewhere', 'HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n', 302, ''],
  ])('shows the refusal of the API as it was: %s', async (_title, answer, status, body) => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, answer);
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal).toMatchObject({ status, body });
    expect(refusal.headers.connection).toBe('close');
  });

  test('shows a long refusal whole to a client that reads slowly', async () => {
    const world = await startSocketWorld();
    const body = 'x'.repeat(10_000_000);
    refuseUpgrades(world.sockets, `HTTP/1.1 403 Nope\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    const socket = beginSocket(world, world.browser);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    await sleep(200);
    let length = 0;
    for await (const chunk of response) length += Buffer.from(chunk).length;
    expect(length).toBe(body.length);
  });

  test.each([
    ['is down', async (world: SocketWorld) => world.api.down(), 502, 'upstream_unavailable'],
    [
      'hangs up',
      async (world: SocketWorld) => world.sockets.handle((_, socket) => (socket.destroy(), 'taken')),
      502,
      'upstream_unavailable',
    ],
    ['never answers', async (world: SocketWorld) => world.sockets.handle(() => 'taken'), 504, 'upstream_timeout'],
    [
      'speaks no HTTP',
      async (world: SocketWorld) => refuseUpgrades(world.sockets, 'SSH-2.0-x\r\n\r\n'),
      502,
      'upstream_unavailable',
    ],
    [
      'switches to another protocol',
      async (world: SocketWorld) =>
        refuseUpgrades(world.sockets, 'HTTP/1.1 101 Hi\r\nconnection: Upgrade\r\nupgrade: tls/1.0\r\n\r\n'),
      502,
      'upstream_unavailable',
    ],
  ])('is answered with a problem when the API %s', async (_title, breakIt, status, code) => {
    const world = await startSocketWorld(withRoute({ timeoutSeconds: 0.5 }));
    await breakIt(world);
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal.status).toBe(status);
    expect(refusal.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(refusal.body)).toMatchObject({ code, status });
  });

  test('brings the new cookie also with a problem', async () => {
    fakeDate();
    const world = await startSocketWorld();
    expireAccessToken();
    await world.api.down();
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal.status).toBe(502);
    expect(refusal.setCookies.join()).toContain('session=');
    expect(refusal.headers['cache-control']).toBe('no-store');
  });

  test('is answered 401 with the way to sign in where there is no session', async () => {
    const world = await startSocketWorld();
    const stranger = world.client();
    const refusal = await refusalOf(beginSocket(world, stranger));
    expect(JSON.parse(refusal.body)).toMatchObject({ code: 'login_required', loginUrl: '/bff/login' });
    const old = world.browser.clone();
    await world.browser.fetch('/bff/logout', { method: 'POST' });
    const late = await refusalOf(beginSocket(world, old));
    expect(JSON.parse(late.body)).toMatchObject({ code: 'session_expired' });
    expect(world.sockets.requests).toEqual([]);
  });

  test('is answered 404 where no route takes it', async () => {
    const world = await startSocketWorld({
      config: (base) => ({
        ...base,
        api: (base.api ?? []).flatMap((route) => [route, { ...route, path: '/plain', websocket: false }]),
      }),
    });
    for (const path of ['/plain/socket', '/elsewhere', '/bff/session']) {
      const refusal = await refusalOf(beginSocket(world, world.browser, { path }));
      expect(JSON.parse(refusal.body)).toMatchObject({ code: 'route_not_found' });
    }
    expect(world.sockets.requests).toEqual([]);
  });

  test('to another protocol, which some clients offer with every call, is left alone', async () => {
    const world = await startSocketWorld();
    const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' };
    const answer = await world.browser.fetch('/api/orders', { headers });
    expect(answer.status).toBe(200);
    expect(world.api.last().headers).not.toHaveProperty('upgrade');
  });

  test('has its line in the request log: 101 where it was accepted, the refusal’s status where it was not', async () => {
    const world = await startSocketWorld();
    const lines = () =>
      world.logs
        .map((line): Record<string, unknown> => JSON.parse(line))
        .filter(({ msg, path }) => msg === 'request' && String(path).includes('socket'))
        .map(({ method, path, status, requestId }) => ({ method, path, status, requestId }));
    const { socket } = await openSocket(world, world.browser, { path: '/api/socket?token=hidden' });
    socket.terminate();
    const stranger = await refusalOf(beginSocket(world, world.client(), { path: '/api/socket/anonymous' }));
    const foreign = await refusalOf(
      beginSocket(world, world.browser, { path: '/api/socket/foreign', origin: 'https://evil.test' }),
    );
    refuseUpgrades(world.sockets, 'HTTP/1.1 429 Slow\r\ncontent-length: 0\r\n\r\n');
    await refusalOf(beginSocket(world, world.browser, { path: '/api/socket/refused' }));
    await refusalOf(beginSocket(world, world.browser, { path: '/nowhere/socket' }));
    const requestId = expect.any(String);
    await vi.waitFor(() => expect(lines()).toHaveLength(5));
    expect(lines().toSorted((one, two) => String(one.path).localeCompare(String(two.path)))).toEqual([
      { method: 'GET', path: '/api/socket', status: 101, requestId },
      { method: 'GET', path: '/api/socket/anonymous', status: 401, requestId: idOf(stranger) },
      { method: 'GET', path: '/api/socket/foreign', status: 403, requestId: idOf(foreign) },
      { method: 'GET', path: '/api/socket/refused', status: 429, requestId },
      { method: 'GET', path: '/nowhere/socket', status: 404, requestId },
    ]);
    expect(world.logs.join('')).not.toContain('hidden');
  });

  test('counts as a call against the idle timeout', async () => {
    fakeDate();
    const world = await startSocketWorld({ config: { session: { idleSeconds: 100 } } });
    vi.advanceTimersByTime(80_000);
    const { socket, answer } = await openSocket(world, world.browser);
    for (const line of answer.headers['set-cookie'] ?? [])
      world.browser.cookies.store(line, new URL(world.origin), 'same-site');
    vi.advanceTimersByTime(80_000);
    expect((await world.browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    socket.terminate();
  });

  test('is dropped at the API, too, when the client goes away meanwhile', async () => {
    const world = await startSocketWorld();
    for (const leave of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const taken = nextUpgrade(world.sockets);
      const client = rawClient(world);
      const toApi = everything(await taken);
      leave(client);
      await within(3, toApi.ended, 'the API still waits');
      expect(toApi.text()).toBe('');
    }
  });
});

/** A client that speaks by hand: the upgrade request with the browser's cookies, and what follows it in one write. */
function rawClient(world: World & { readonly browser: BrowserClient }, following: Buffer = Buffer.alloc(0)): Socket {
  const { port } = new URL(world.origin);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => socket.destroy());
  const head = [
    'GET /api/raw HTTP/1.1',
    `host: ${new URL(world.origin).host}`,
    `origin: ${world.origin}`,
    `cookie: ${world.browser.cookieHeader() ?? ''}`,
    'connection: keep-alive, Upgrade',
    'upgrade: WebSocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
  ].join('\r\n');
  socket.write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), following]));
  return socket;
}

const switched = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

/** The connection of the next upgrade, unanswered. */
function nextUpgrade(sockets: SocketApi): Promise<Duplex> {
  const taken = new Promise<Duplex>((resolve) => {
    sockets.handle((_, socket) => {
      resolve(socket);
      return 'taken';
    });
  });
  return within(5, taken, 'the API had no upgrade');
}

/** Whether the other end of a connection is gone altogether: then it is reset by what is still sent there. */
async function isCut(socket: Duplex): Promise<boolean> {
  if (socket.destroyed) return true;
  const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
  const writing = setInterval(() => socket.write('x'), 20);
  await within(2, closed, 'the connection is still there').finally(() => clearInterval(writing));
  return true;
}

/** Joins a raw client with a raw API. `early` comes from the API in one write with its answer. */
async function rawPair(world: SocketWorld, following?: Buffer, early = ''): Promise<{ client: Socket; atApi: Duplex }> {
  const taken = nextUpgrade(world.sockets);
  const client = rawClient(world, following);
  const atApi = await taken;
  atApi.write(`${switched}${early}`);
  return { client, atApi };
}

/** Collects what comes until the end. */
function everything(socket: Duplex): { readonly text: () => string; readonly ended: Promise<unknown> } {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { text: () => Buffer.concat(chunks).toString('latin1'), ended: once(socket, 'end') };
}

test('an API behind TLS is reached with the route’s own authority, half-closes included', async () => {
  const { key, cert, file } = await makeCertificate();
  const world = await startWorld();
  const server = createServer({ key, cert, allowHalfOpen: true });
  const port = await listen(server, 0);
  onTestFinished(() => void server.close());
  await world.restart({ api: [{ path: '/api', target: `https://127.0.0.1:${port}`, caFile: file }] });
  const browser = world.client();
  await signIn(browser);
  const taken = once(server, 'upgrade') as Promise<[IncomingMessage, Duplex]>;
  const client = rawClient(Object.assign(world, { browser }));
  const toClient = everything(client);
  const [request, atApi] = await within(5, taken, 'the API had no upgrade');
  expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
  const toApi = everything(atApi);
  atApi.write(`${switched}hello`);
  await vi.waitFor(() => expect(toClient.text()).toMatch(/hello$/));
  client.end('last words');
  await within(3, toApi.ended, 'the end did not come through');
  expect(toApi.text()).toBe('last words');
  atApi.end('x'.repeat(300_000));
  await within(3, toClient.ended, 'the answer did not come through');
  expect(toClient.text().endsWith('x'.repeat(300_000))).toBe(true);
});

describe('bytes', () => {
  test('that the client sent along with its request reach the API', async () => {
    const world = await startSocketWorld();
    const { atApi } = await rawPair(world, Buffer.from('early bird'));
    const seen = everything(atApi);
    await vi.waitFor(() => expect(seen.text()).toBe('early bird'));
  });

  test('that the API sent along with its answer reach the client', async () => {
    const world = await startSocketWorld();
    const { client } = await rawPair(world, undefined, 'first words');
    const seen = everything(client);
    await vi.waitFor(() => expect(seen.text()).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\nfirst words$/));
  });

  test('go on to the client when it has ended its side', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    client.end('last words');
    await within(3, toApi.ended, 'the end did not come through');
    expect(toApi.text()).toBe('last words');
    await sleep(100);
    atApi.end('x'.repeat(500_000));
    await within(3, toClient.ended, 'the answer did not come through');
    expect(toClient.text().length).toBeGreaterThan(500_000);
  });

  test('go on to the API when it has ended its side', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    atApi.end('last words');
    await within(3, toClient.ended, 'the end did not come through');
    expect(toClient.text()).toMatch(/last words$/);
    await sleep(100);
    client.end('x'.repeat(500_000));
    await within(3, toApi.ended, 'the answer did not come through');
    expect(toApi.text().length).toBe(500_000);
  });

  test('that were under way are delivered when the API breaks off', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    await vi.waitFor(() => expect(toClient.text()).toContain('101'));
    client.pause();
    atApi.write('x'.repeat(300_000), () => atApi.destroy());
    await once(atApi, 'close');
    client.resume();
    await within(5, toClient.ended, 'no end came');
    expect(toClient.text().endsWith('x'.repeat(300_000))).toBe(true);
  });
});

describe('when its session ends, a socket is closed with 4401', () => {
  const ended = { code: 4401, reason: 'session ended' };

  test('by a sign-out in another tab, at both ends, and that of another person is not', async () => {
    const world = await startSocketWorld();
    const bob = world.client();
    await signIn(bob, 'bob');
    const bobs = await openSocket(world, bob);
    await world.sockets.accepted();
    const otherTab = world.browser.clone();
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const both = Promise.all([closeOf(socket, 2), closeOf(atApi, 2)]);
    await otherTab.fetch('/bff/logout', { method: 'POST' });
    expect(await both).toEqual([ended, ended]);
    const echoed = nextMessage(bobs.socket);
    bobs.socket.send('still here');
    expect((await echoed).toString()).toBe('still here');
    bobs.socket.terminate();
  });

  test('by a new sign-in that takes its place', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const closed = closeOf(socket, 5);
    await world.browser.navigate('/bff/login', { initiator: world.origin });
    expect(await closed).toEqual(ended);
  });

  test('by a refresh that the provider rejects', async () => {
    fakeDate();
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const closed = closeOf(socket, 3);
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
    expireAccessToken();
    await world.browser.fetch('/api/x');
    expect(await closed).toEqual(ended);
  });

  test.each([
    ['lifetime', { lifetimeSeconds: 1000 }, 999_000],
    ['idle timeout, whatever frames pass,', { idleSeconds: 1000 }, 999_000],
  ])('by its %s', async (_title, session, almostMs) => {
    fakeDate();
    const world = await startSocketWorld({ config: { session } });
    const { socket } = await openSocket(world, world.browser);
    vi.advanceTimersByTime(almostMs - 100_000);
    const echoed = nextMessage(socket);
    socket.send('alive');
    await echoed;
    // Two looks of the sweep later.
    await sleep(2100);
    expect(socket.readyState).toBe(socket.OPEN);
    const closed = closeOf(socket, 3);
    vi.advanceTimersByTime(102_000);
    expect(await closed).toEqual(ended);
  });

  test('but not by the idle timeout while calls are made', async () => {
    fakeDate();
    const world = await startSocketWorld({ config: { session: { idleSeconds: 100 } } });
    const { socket } = await openSocket(world, world.browser);
    for (let call = 0; call < 3; call++) {
      vi.advanceTimersByTime(80_000);
      expect((await world.browser.fetch('/api/x')).status).toBe(200);
    }
    await sleep(1100);
    expect(socket.readyState).toBe(socket.OPEN);
    socket.terminate();
  });

  test('even while it was still being opened, and no refresh on the way revives it', async () => {
    fakeDate();
    const world = await startSocketWorld();
    expireAccessToken();
    const taken = nextUpgrade(world.sockets);
    const socket = beginSocket(world, world.browser);
    const refusal = refusalOf(socket);
    const atApi = await taken;
    const toApi = everything(atApi);
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    atApi.write(switched);
    expect(JSON.parse((await refusal).body)).toMatchObject({ code: 'session_expired' });
    expect(world.provider.calls.refresh).toBe(1);
    expect((await refusal).setCookies).toEqual([]);
    await within(3, toApi.ended, 'the API still waits');
  });

  test('after the frame that was under way', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    const frame = Buffer.concat([Buffer.from([0x82, 126, 0, 200]), Buffer.alloc(200, 'm')]);
    atApi.write(frame.subarray(0, 50));
    await vi.waitFor(() => expect(toClient.text()).toContain('mmm'));
    client.write(Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x61]));
    await vi.waitFor(() => expect(toApi.text()).toContain('a'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    // The client's frame is not brought to its end: nothing of hers reaches the API any more.
    await within(2, toApi.ended, 'the API was not told');
    client.write('bc');
    expect(toClient.text()).not.toContain('session ended');
    atApi.write(Buffer.concat([frame.subarray(50), Buffer.from([0x81, 5]), Buffer.from('later')]));
    await within(2, toClient.ended, 'the client was not told');
    const [, frames] = toClient.text().split('\r\n\r\n');
    expect(frames).toBe(
      `${frame.toString('latin1')}\x88\x0f${String.fromCharCode(4401 >> 8, 4401 & 255)}session ended`,
    );
    expect(toApi.text()).not.toContain('b');
  });

  test('also where the API never ends the frame, and both ends hold on', { timeout: 15_000 }, async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    atApi.write(Buffer.from([0x82, 126, 0, 200, 1, 2, 3]));
    await vi.waitFor(() => expect(toClient.text()).toContain('\x01\x02\x03'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    await within(1, toApi.ended, 'the API was not told');
    await within(8, toClient.ended, 'the client was not let go');
    expect(await Promise.all([isCut(client), isCut(atApi)])).toEqual([true, true]);
  });

  test('but gets no second Close frame where it has had one', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    atApi.write(Buffer.from([0x88, 2, 0x03, 0xe8]));
    await vi.waitFor(() => expect(toClient.text()).toContain('\x88\x02\x03\xe8'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    await within(2, toClient.ended, 'the client was not told');
    expect(toClient.text()).not.toContain('session ended');
  });
});

describe('a server that stops', () => {
  test('tells both ends with 1001, and does not wait longer than they take', async () => {
    const world = await startSocketWorld({ config: { drainSeconds: 9 } });
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const both = Promise.all([closeOf(socket), closeOf(atApi)]);
    const startedAt = performance.now();
    await world.server.close();
    expect(performance.now() - startedAt).toBeLessThan(3000);
    const away = { code: 1001, reason: 'server is stopping' };
    expect(await both).toEqual([away, away]);
  });

  test('cuts what does not let go', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    await vi.waitFor(() => expect(toClient.text()).toContain('101'));
    client.pause();
    atApi.resume();
    await world.server.close();
    client.resume();
    expect(await Promise.all([isCut(client), isCut(atApi)])).toEqual([true, true]);
  });
});

describe('a client that was refused', () => {
  test('and hangs up is forgotten at once, also when it had sent more', async () => {
    const world = await startSocketWorld({ config: { drainSeconds: 9 } });
    refuseUpgrades(world.sockets, 'HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno');
    const client = rawClient(world, Buffer.alloc(300_000));
    const toClient = everything(client);
    await within(3, toClient.ended, 'the refusal did not end');
    expect(toClient.text()).toMatch(/\r\n\r\nno$/);
    client.end();
    const startedAt = performance.now();
    await world.server.close();
    expect(performance.now() - startedAt).toBeLessThan(1500);
  });

  test('and holds on is cut', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, 'HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno');
    const client = rawClient(world);
    await within(3, everything(client).ended, 'the refusal did not end');
    await sleep(2100);
    expect(await isCut(client)).toBe(true);
  });
});

describe('websocketTokenProtocol', () => {
  test('offers the token to the API beside the protocols of the client', async () => {
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: 'bearer.' }), {
      handleProtocols: () => 'chat',
    });
    const { socket } = await openSocket(world, world.browser, { protocols: ['chat', 'Bearer.forged'] });
    const { request } = await world.sockets.accepted();
    expect(request.headers['sec-websocket-protocol']).toBe(`chat, bearer.${tokenOf(request)}`);
    expect(socket.protocol).toBe('chat');
    socket.terminate();
  });

  test('writes it in base64url where the prefix says so', async () => {
    const prefix = 'base64url.bearer.authorization.k8s.io.';
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: prefix }), {
      handleProtocols: () => false,
    });
    const { socket } = await openSocket(world, world.browser);
    const { request } = await world.sockets.accepted();
    const offered = request.headers['sec-websocket-protocol'] ?? '';
    expect(Buffer.from(offered.slice(prefix.length), 'base64url').toString()).toBe(tokenOf(request));
    expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
    socket.terminate();
  });

  test('never shows it to the client, also when the API chooses it or refuses', async () => {
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: 'bearer.' }), {
      handleProtocols: (offered) => [...offered].at(-1) ?? false,
    });
    const { socket, answer } = await openSocket(world, world.browser);
    expect((await world.sockets.accepted()).socket.protocol).toMatch(/^bearer\.eyJ/);
    expect(answer.headers['sec-websocket-protocol']).toBeUndefined();
    socket.terminate();
    world.sockets.handle((request, at) => {
      at.end(`HTTP/1.1 403 No\r\nsec-websocket-protocol: BEARER.${tokenOf(request)}\r\ncontent-length: 0\r\n\r\n`);
      return 'taken';
    });
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal.status).toBe(403);
    expect(refusal.headers['sec-websocket-protocol']).toBeUndefined();
  });
});
