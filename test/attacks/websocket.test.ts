/**
 * WebSockets have no preflight and no CORS: a page anywhere can ask the victim's browser to open one, and the browser
 * sends what cookies it may. Whoever gets one open speaks to the API as the victim. So the attacker, on a sibling
 * subdomain, in a script on the page or on the network in front of Sallyport, tries to open one from elsewhere, to have
 * the token sent elsewhere, to hide a second request behind the upgrade, or to bring the server down with broken ends.
 *
 * Must hold: a socket opens only for the app's own origin, the token goes only to the API of its route, nothing hides
 * behind an upgrade, and no broken end brings the server down.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { startApi } from '../support/api.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { rawRequest, rawStatuses, startRawServer } from '../support/raw.ts';
import {
  acceptWebSockets,
  beginSocket,
  closeOf,
  nextMessage,
  openSocket,
  refusalOf,
  startSocketWorld,
} from '../support/web-socket.ts';
import { within, type World } from '../support/world.ts';

interface RawUpgrade {
  readonly target?: string;
  readonly method?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** An upgrade request with the victim's cookies, by hand. */
function upgradeBytes(world: World, browser: BrowserClient, raw: RawUpgrade = {}): string {
  const { target = '/api/socket', method = 'GET', headers = ['Upgrade: websocket'], body = '' } = raw;
  return [
    `${method} ${target} HTTP/1.1`,
    `Host: ${new URL(world.origin).host}`,
    `Origin: ${world.origin}`,
    `Cookie: ${browser.cookieHeader() ?? ''}`,
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
    '',
    body,
  ].join('\r\n');
}

function portOf(world: World): number {
  return Number(new URL(world.origin).port);
}

/** Somewhere that must never hear of the victim. */
async function startElsewhere() {
  const elsewhere = await startRawServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'));
  onTestFinished(() => elsewhere.close());
  return elsewhere;
}

describe('a page of another origin', () => {
  test.each([
    ['another site', () => 'https://evil.test'],
    ['a sibling subdomain', (origin: string) => origin.replace('localhost', 'evil.localhost')],
    ['another port', () => 'http://localhost:1'],
    ['another scheme', (origin: string) => origin.replace('http', 'https')],
    ['a name that begins alike', (origin: string) => `${origin}.evil.test`],
    ['a name that ends alike', (origin: string) => origin.replace('//', '//evil-')],
    ['another case', (origin: string) => origin.toUpperCase()],
    ['a sandboxed frame', () => 'null'],
    ['nowhere', () => ''],
  ])('opens none from %s', async (_title, originOf) => {
    const world = await startSocketWorld();
    const refusal = await refusalOf(beginSocket(world, world.browser, { origin: originOf(world.origin) }));
    expect(refusal.status).toBe(403);
    expect(JSON.parse(refusal.body)).toMatchObject({ code: 'request_forbidden' });
    expect(refusal.setCookies).toEqual([]);
    expect(world.sockets.requests).toEqual([]);
  });

  test('opens none by its Sec-Fetch-Site, even beside the right origin', async () => {
    const world = await startSocketWorld();
    for (const site of ['cross-site', 'same-site', 'none', '', 'SAME-ORIGIN', 'same-origin, cross-site']) {
      const refusal = await refusalOf(beginSocket(world, world.browser, { headers: { 'sec-fetch-site': site } }));
      expect([site, refusal.status]).toEqual([site, 403]);
      expect(refusal.body).toContain('request_forbidden');
      expect(refusal.body).toContain(world.origin);
    }
    expect(world.sockets.requests).toEqual([]);
    const { socket } = await openSocket(world, world.browser, { headers: { 'sec-fetch-site': 'same-origin' } });
    socket.terminate();
  });

  test('opens none without any origin, or with two', async () => {
    const world = await startSocketWorld();
    const bytes = upgradeBytes(world, world.browser);
    const withNone = bytes.replace(/Origin: .*\r\n/, '');
    const withTwo = bytes.replace(/(Origin: .*\r\n)/, '$1Origin: https://evil.test\r\n');
    for (const request of [withNone, withTwo]) {
      expect(rawStatuses(await rawRequest(portOf(world), request))).toEqual([403]);
    }
    expect(world.sockets.requests).toEqual([]);
  });
});

describe('the token is sent nowhere else', () => {
  test('by a path that a URL parser takes for a host', async () => {
    const world = await startSocketWorld();
    const elsewhere = await startElsewhere();
    const host = `127.0.0.1:${elsewhere.port}`;
    for (const target of [`/api//${host}/x`, `/api/@${host}/x`, `/api///${host}`, `/api/http://${host}/`]) {
      expect(rawStatuses(await rawRequest(portOf(world), upgradeBytes(world, world.browser, { target }), 200))).toEqual(
        [101],
      );
      expect(world.sockets.requests.at(-1)?.url).toBe(target.slice('/api'.length));
    }
    expect(elsewhere.received).toEqual([]);
  });

  test('by a target in absolute form, or a path that leaves its route', async () => {
    const world = await startSocketWorld();
    const elsewhere = await startElsewhere();
    const targets = [
      `http://127.0.0.1:${elsewhere.port}/api/x`,
      `//127.0.0.1:${elsewhere.port}/api/x`,
      '/api/../admin',
      '/api/%2e%2e/admin',
      '/api/x%2f..%2fadmin',
      '/api/x\\..\\admin',
      '/apis/x',
    ];
    for (const target of targets) {
      const [status] = rawStatuses(
        await rawRequest(portOf(world), upgradeBytes(world, world.browser, { target }), 200),
      );
      expect([400, 404]).toContain(status);
    }
    expect(world.sockets.requests).toEqual([]);
    expect(elsewhere.received).toEqual([]);
  });

  test('nor is the dev server’s request steered, or given a token or a cookie', async () => {
    const devServer = await startApi();
    onTestFinished(() => devServer.close());
    const atDevServer = acceptWebSockets(devServer);
    const world = await startSocketWorld({ config: { spa: { devServer: devServer.url } } });
    const elsewhere = await startElsewhere();
    for (const target of [`//127.0.0.1:${elsewhere.port}/x`, `/\\127.0.0.1:${elsewhere.port}/x`]) {
      await rawRequest(portOf(world), upgradeBytes(world, world.browser, { target }), 200);
    }
    const absolute = upgradeBytes(world, world.browser, { target: `http://127.0.0.1:${elsewhere.port}/x` });
    expect(rawStatuses(await rawRequest(portOf(world), absolute, 200))).toEqual([404]);
    expect(elsewhere.received).toEqual([]);
    const { socket } = await openSocket(world, world.browser, { path: '/hmr', headers: { authorization: 'Bearer x' } });
    socket.terminate();
    expect(atDevServer.requests.at(-1)?.url).toBe('/hmr');
    for (const { headers } of atDevServer.requests) {
      expect([headers.cookie, headers.authorization]).toEqual([undefined, undefined]);
    }
  });
});

describe('nothing hides behind an upgrade', () => {
  test.each([
    ['a body with a length', { headers: ['Upgrade: websocket', 'Content-Length: 5'], body: 'hello' }],
    [
      'a body in chunks',
      { headers: ['Upgrade: websocket', 'Transfer-Encoding: chunked'], body: '5\r\nhello\r\n0\r\n\r\n' },
    ],
    ['another method', { method: 'POST' }],
    ['several protocols', { headers: ['Upgrade: websocket, h2c'] }],
  ])('%s', async (_title, raw: RawUpgrade) => {
    const world = await startSocketWorld();
    expect(rawStatuses(await rawRequest(portOf(world), upgradeBytes(world, world.browser, raw)))).toEqual([400]);
    expect(world.sockets.requests).toEqual([]);
  });

  test('a second request after one that the API refuses', async () => {
    const world = await startSocketWorld();
    world.sockets.handle((_, socket) => {
      socket.end('HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno');
      return 'taken';
    });
    const hidden = `GET /api/hidden HTTP/1.1\r\nHost: x\r\nX-CSRF: 1\r\nCookie: ${world.browser.cookieHeader() ?? ''}\r\n\r\n`;
    const answer = await rawRequest(portOf(world), upgradeBytes(world, world.browser) + hidden);
    expect(rawStatuses(answer)).toEqual([403]);
    expect(answer.toString()).toMatch(/no$/);
    expect(world.api.requests).toEqual([]);
  });

  test('a switch that Sallyport takes for one and the API does not', async () => {
    const world = await startSocketWorld();
    world.sockets.handle((_, socket) => {
      // Neither an upgrade nor the end: an informational answer without the protocol, then the real one.
      socket.end('HTTP/1.1 101 Maybe\r\n\r\nHTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno');
      return 'taken';
    });
    const [status] = rawStatuses(await rawRequest(portOf(world), upgradeBytes(world, world.browser)));
    expect([403, 502]).toContain(status);
  });
});

test('an API’s switch or refusal sets no cookie of Sallyport and speaks for no other origin', async () => {
  const world = await startSocketWorld();
  const headers = [
    `Set-Cookie: ${world.browser.own('session')}=stolen`,
    'Set-Cookie: __Host-Http-session=stolen',
    'Set-Cookie: theirs=1',
    'Clear-Site-Data: "*"',
    'Alt-Svc: h3="evil.test:443"',
    'Access-Control-Allow-Origin: *',
    'X-Theirs: yes',
  ].join('\r\n');
  const answers = [
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n\r\n`,
    `HTTP/1.1 403 No\r\nContent-Length: 0\r\n${headers}\r\n\r\n`,
  ];
  for (const answer of answers) {
    world.sockets.handle((_, socket) => {
      socket.end(answer);
      return 'taken';
    });
    const seen = (await rawRequest(portOf(world), upgradeBytes(world, world.browser))).toString().toLowerCase();
    expect(seen).toContain('set-cookie: theirs=1');
    expect(seen).toContain('x-theirs: yes');
    expect(seen).toContain('cache-control: no-store');
    expect(seen).not.toMatch(/stolen|clear-site-data|alt-svc|access-control/);
  }
});

test('a client that sends and sends before the API has answered is not read for ever', async () => {
  const world = await startSocketWorld();
  world.sockets.handle(() => 'taken');
  const socket = connect(portOf(world), '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.write(upgradeBytes(world, world.browser));
  await vi.waitFor(() => expect(world.sockets.requests).toHaveLength(1));
  for (let sent = 0; sent < 40; sent++) socket.write(Buffer.alloc(1_000_000));
  let stuckAt = -1;
  await vi.waitFor(
    () => {
      const before = stuckAt;
      stuckAt = socket.writableLength;
      expect(stuckAt).toBe(before);
    },
    { interval: 200, timeout: 5000 },
  );
  expect(stuckAt).toBeGreaterThan(20_000_000);
});

test('ends that break at any moment bring nothing down', async () => {
  const world = await startSocketWorld();
  const bytes = upgradeBytes(world, world.browser);
  const switched = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const apiEnds: ((socket: Duplex) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.write(switched.slice(0, 20), () => socket.destroy()),
    (socket) => socket.write(switched, () => socket.destroy()),
    (socket) => socket.write(`${switched}\x81`, () => socket.destroy()),
    (socket) => void socket.write(switched),
    (socket) => socket.write('HTTP/1.1 403 No\r\ncontent-length: 9\r\n\r\nno', () => socket.destroy()),
  ];
  let left = 0;
  for (const apiEnd of apiEnds) {
    world.sockets.handle((_, socket) => {
      apiEnd(socket);
      return 'taken';
    });
    for (const delayMs of [0, 1, 5, 20]) {
      const socket = connect(portOf(world), '127.0.0.1');
      socket.on('error', () => socket.destroy());
      socket.write(bytes);
      socket.write('\x81\x85');
      setTimeout(() => socket.resetAndDestroy(), delayMs);
      await within(3, once(socket, 'close'), 'a client socket is left');
      left++;
    }
  }
  expect(left).toBe(apiEnds.length * 4);
  world.sockets.handle(undefined);
  const { socket } = await openSocket(world, world.browser);
  const echoed = nextMessage(socket);
  socket.send('alive');
  expect((await echoed).toString()).toBe('alive');
  const closed = closeOf(socket);
  socket.close(1000);
  expect((await closed).code).toBe(1000);
  world.assertNoSecrets();
});
