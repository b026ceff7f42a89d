/** The upgrade to a WebSocket: what it brings with it, and what is answered where it is refused. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { changeTimers, expireAccessToken, fakeDate } from '../support/clock.ts';
import {
  beginSocket,
  openSocket,
  refusalOf,
  startSocketWorld,
  type SocketWorld,
  withRoute,
  tokenOf,
  refuseUpgrades,
} from '../support/web-socket.ts';
import { rawClient, nextUpgrade, isCut, everything } from '../support/raw-web-socket.ts';
import { within } from '../support/world.ts';

/** The request id in a problem. */
function idOf({ body }: { body: string }): unknown {
  return (JSON.parse(body) as Record<string, unknown>)['instance'];
}

const invalidToken =
  'HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error="invalid_token"\r\ncontent-length: 7\r\n\r\nno good';

describe('the upgrade', () => {
  test('refreshes a token that is about to expire first, and brings the new cookie', async () => {
    fakeDate();
    const world = await startSocketWorld();
    expireAccessToken();
    const { socket, answer } = await openSocket(world, world.browser);
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.sockets.requests).toHaveLength(1);
    const setCookies = answer.headers['set-cookie'] ?? [];
    expect(setCookies.join()).toMatch(/^session-\d+=.*HttpOnly.*SameSite=Strict/);
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
    expect(answer.headers['set-cookie']?.join()).toMatch(/session-\d+=/);
    expect(answer.headers['cache-control']).toBe('no-store');
    socket.terminate();
  });

  test('shows the refusal of a new token with the new cookie, and refreshes no more for the next', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, invalidToken);
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal).toMatchObject({ status: 401, body: 'no good' });
    expect(refusal.headers['www-authenticate']).toBe('Bearer error="invalid_token"');
    expect(refusal.setCookies.join()).toMatch(/session-\d+=/);
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
    expect(refusal.setCookies.join()).toMatch(/session-\d+=/);
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

  test('has its line in the request log, with status 101 or that of the refusal', async () => {
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

describe('a client that was refused', () => {
  test('that hangs up after a refusal is forgotten at once, also when it had sent more', async () => {
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

  test('that keeps its connection open after a refusal is cut', async () => {
    const world = await startSocketWorld();
    refuseUpgrades(world.sockets, 'HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno');
    const timers = changeTimers(2000, 10);
    const client = rawClient(world);
    await within(3, everything(client).ended, 'the refusal did not end');
    timers.mockRestore();
    expect(await isCut(client)).toBe(true);
  });
});
