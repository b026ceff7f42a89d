/**
 * Sallyport inside somebody else's server: its app in another Hono app, with that one's middleware around it, or attached
 * to a server of `node:http` beside what it serves already. Everything works as in the server of its own, the protection
 * of the raw connection included, and nothing is printed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { cors } from 'hono/cors';
import { etag } from 'hono/etag';
import { poweredBy } from 'hono/powered-by';
import { prettyJSON } from 'hono/pretty-json';
import { requestId } from 'hono/request-id';
import { secureHeaders } from 'hono/secure-headers';
import { timing } from 'hono/timing';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { Bff } from '../../src/bff.ts';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { readBody } from '../support/listener.ts';
import { mountBff } from '../support/mounted.ts';
import { follow } from '../support/session-events.ts';
import { acceptWebSockets, closeOf, nextMessage, refusalOf } from '../support/web-socket.ts';
import { callHead, chunked, exchange, finalOf, valuesOf, Wire } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

/** All that anything printed or warned of. */
let said: string[];

beforeEach(() => {
  said = [];
  const note = (text: unknown) => void said.push(text instanceof Error ? String(text.stack) : String(text));
  for (const method of ['error', 'warn'] as const) vi.spyOn(console, method).mockImplementation(note);
  const write = (text: string | Uint8Array) => {
    note(text);
    return true;
  };
  vi.spyOn(process.stderr, 'write').mockImplementation(write);
  process.on('warning', note);
  onTestFinished(() => void process.off('warning', note));
});

afterEach(() => {
  if (said.length > 0) throw new Error(`printed: ${said.join('\n')}`);
});

interface Mounted {
  readonly world: World;
  readonly bff: Bff;
  readonly server: Server;
  readonly port: number;
  readonly browser: BrowserClient;
}

/** A world whose people reach it through `serverOf`'s server. */
async function mount(
  serverOf: (bff: Bff) => Server,
  change: (base: ConfigInput) => ConfigInput = (base) => base,
): Promise<Mounted> {
  const world = await startWorld({
    config: (base) =>
      change({ ...base, api: [{ path: '/api', target: String(base.api?.[0]?.target), websocket: true }] }),
  });
  const { bff, server, port } = await mountBff(world.config, serverOf);
  const browser = world.client();
  browser.routeTo(port);
  return { world, bff, server, port, browser };
}

/** What a whole life of a session asks of a server. */
async function expectToWork({ world, port, browser }: Mounted): Promise<void> {
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.fetch('/api/me')).at('code')).toBe('login_required');
  await signIn(browser, 'alice', '/bye');
  for (const method of ['GET', 'POST', 'DELETE']) {
    const answer = await browser.fetch('/api/me?a=b', { method });
    expect([answer.status, answer.at('sub'), answer.at('method'), answer.at('path')]).toEqual([
      200,
      'alice',
      method,
      '/me?a=b',
    ]);
  }
  const head = await browser.fetch('/api/me', { method: 'HEAD' });
  expect([head.status, head.body.length]).toEqual([200, 0]);
  expect(world.api.last().method).toBe('HEAD');
  for (const path of ['/bff/session', '/bff/login', '/bff/logout']) {
    expect((await browser.fetch(path, { method: 'HEAD' })).status).toBe(405);
  }
  expect((await browser.fetch('/api/me', { method: 'OPTIONS' })).status).toBe(204);
  const body = Buffer.alloc(300_000, 'upload ');
  expect((await browser.fetch('/api/upload', { method: 'PUT', body })).status).toBe(200);
  expect(world.api.last().body.equals(body)).toBe(true);
  world.api.answer({ status: 418, headers: { 'x-own': 'teapot' }, body: 'short and stout' });
  const teapot = await browser.fetch('/api/tea');
  expect([teapot.status, teapot.headers['x-own'], teapot.text]).toEqual([418, 'teapot', 'short and stout']);
  world.api.answer({ status: 204 });
  expect((await browser.fetch('/api/nothing')).status).toBe(204);
  world.api.answer();
  await expectToStream({ world, port, browser });
  await world.api.down();
  expect((await browser.fetch('/api/me')).at('code')).toBe('upstream_unavailable');
  await world.api.up();
  expect((await browser.fetch('/bff/nowhere')).at('code')).toBe('route_not_found');
  expect((await browser.fetch('/bff/refresh', { method: 'POST' })).at('authenticated')).toBe(true);
  const tab = await follow(browser, { port });
  expect((await tab.event(0)).content).toMatchObject({ authenticated: true });
  expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
  expect([(await tab.signedOut()).content, tab.end]).toEqual([{ reason: 'logout' }, 'complete']);
  expect((await browser.fetch('/api/me')).status).toBe(401);
  const stranger = await follow(browser, { port });
  expect((await stranger.event(0)).content).toMatchObject({ authenticated: false });
  await stranger.until(({ end }) => end === 'complete');
}

/** Events leave as they come, and a client that goes is told to the API. */
async function expectToStream({ world, port, browser }: Pick<Mounted, 'world' | 'port' | 'browser'>): Promise<void> {
  const left = Promise.withResolvers<void>();
  world.api.handleRaw((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    response.once('close', () => left.resolve());
  });
  const wire = new Wire(port);
  wire.write(`${callHead(browser, 'GET', '/api/events')}\r\n`);
  await within(
    5,
    wire.until(({ bytes }) => bytes.includes('data: 1')),
    'the event did not come',
  );
  wire.socket.destroy();
  await within(5, left.promise, 'the API was not told');
  world.api.handleRaw();
}

/** Somebody's app with a middleware, and Sallyport's in it. */
function outerOf(bff: Bff): Server {
  const outer = new Hono();
  outer.use(async (c, next) => {
    await next();
    c.header('x-served-by', 'outer');
  });
  outer.route('/', bff.app);
  return createAdaptorServer(outer) as Server;
}

describe('the app in another Hono app', () => {
  test('signs in, calls the API and signs out', async () => {
    await expectToWork(
      await mount((bff) => {
        const outer = new Hono();
        outer.get('/bye', (c) => c.text('bye'));
        outer.route('/', bff.app);
        return createAdaptorServer(outer) as Server;
      }),
    );
    expect(said).toEqual([]);
  });

  test('works within middleware that sets headers when everything is done', async () => {
    const mounted = await mount((bff) => {
      const outer = new Hono();
      outer.use(async (c, next) => {
        await next();
        c.header('x-served-by', 'outer');
        c.header('x-took', '1', { append: true });
      });
      outer.use(async (c, next) => {
        const started = performance.now();
        await next();
        c.res.headers.append('server-timing', `app;dur=${performance.now() - started}`);
      });
      outer.get('/bye', (c) => c.text('bye'));
      outer.route('/', bff.app);
      return createAdaptorServer(outer) as Server;
    });
    await expectToWork(mounted);
    expect((await mounted.browser.fetch('/bff/session')).headers['x-served-by']).toBe('outer');
    expect(said).toEqual([]);
  });

  test('works within middleware that makes another response of it', async () => {
    await expectToWork(
      await mount((bff) => {
        const outer = new Hono();
        outer.use(async (c, next) => {
          await next();
          c.res = new Response(c.res.body, c.res);
        });
        outer.get('/bye', (c) => c.text('bye'));
        outer.route('/', bff.app);
        return createAdaptorServer(outer) as Server;
      }),
    );
    expect(said).toEqual([]);
  });

  test('works within Hono’s own middleware, and keeps nothing that one call’s adds for the next', async () => {
    const seen: string[][] = [];
    const mounted = await mount((bff) => {
      const outer = new Hono();
      outer.use(async (c, next) => {
        await next();
        if (c.req.path === '/api/again') seen.push([...c.res.headers.keys()]);
      });
      outer.use(compress(), etag(), secureHeaders(), timing(), cors(), prettyJSON(), poweredBy(), requestId());
      outer.get('/bye', (c) => c.text('bye'));
      outer.route('/', bff.app);
      return createAdaptorServer(outer) as Server;
    });
    await signIn(mounted.browser, 'alice', '/bye');
    for (let call = 0; call < 3; call += 1) {
      expect((await mounted.browser.fetch('/api/again?pretty')).at('sub')).toBe('alice');
    }
    expect(seen[0]).toContain('server-timing');
    expect(seen[2]).toEqual(seen[0]);
    const shared = [...RESPONSE_ALREADY_SENT.headers.keys()];
    expect(shared).toHaveLength(1);
    expect(said).toEqual([]);
  });

  test('works within middleware that has set headers before', async () => {
    const mounted = await mount((bff) => {
      const outer = new Hono();
      outer.use(async (c, next) => {
        c.header('x-before', 'outer');
        await next();
      });
      outer.get('/bye', (c) => c.text('bye'));
      outer.route('/', bff.app);
      return createAdaptorServer(outer) as Server;
    });
    await expectToWork(mounted);
    expect(said).toEqual([]);
  });

  test('serves the SPA, HEAD included, and passes a dev server through', async () => {
    const { browser } = await mount(outerOf);
    for (const method of ['GET', 'HEAD']) expect((await browser.fetch('/assets/app.js', { method })).status).toBe(200);
    const developing = await mount(outerOf, (base) => ({ ...base, spa: { devServer: String(base.api?.[0]?.target) } }));
    for (const method of ['GET', 'HEAD']) {
      expect((await developing.browser.fetch('/src/main.ts', { method })).status).toBe(200);
      expect(developing.world.api.last().url).toBe('/src/main.ts');
    }
  });
});

/** A server of `node:http` that says what it was asked for, with Sallyport attached. */
function attached(asked: string[] = []): (bff: Bff) => Server {
  return (bff) => {
    const server = createServer();
    bff.attach(server, (request: IncomingMessage, response: ServerResponse) => {
      asked.push(`${request.method} ${request.url}`);
      void readBody(request).then((body) => response.end(`own ${request.url} ${body.toString()}`));
    });
    return server;
  };
}

function withoutSpa(base: ConfigInput): ConfigInput {
  const entries = Object.entries(base).filter(([name]) => name !== 'spa');
  return Object.fromEntries(entries) as unknown as ConfigInput;
}

function upgradeLines(origin: string, path = '/api/socket', more = ''): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: ${new URL(origin).host}\r\nOrigin: ${origin}\r\n${more}Connection: Upgrade\r\n` +
    'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  );
}

describe('attached to a server of node:http', () => {
  test('signs in, calls the API and signs out without serving the app', async () => {
    await expectToWork(await mount(attached(), withoutSpa));
    expect(said).toEqual([]);
  });

  test('leads a person who has signed out to where they wanted, and passes on what only looks like that', async () => {
    const asked: string[] = [];
    const { browser, world, port } = await mount(attached(asked), withoutSpa);
    await signIn(browser);
    const link = String((await browser.fetch('/bff/session')).at('logoutUrl'));
    const page = await browser.navigate(`${link}&returnTo=/bye`, { initiator: browser.origin });
    expect([page.url, page.text]).toEqual([`${world.origin}/bye`, 'own /bye ']);
    const cookie = `logout-${new URL(world.origin).port}-return-x=y`;
    for (const target of ['/?state=x', '/?state=', '//[?state=x', '/bye?state=x', '/?state=%']) {
      const head = `GET ${target} HTTP/1.1\r\nHost: x\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`;
      const { responses } = await exchange(port, head);
      expect([target, responses.map(({ status }) => status)]).toEqual([target, [200]]);
    }
    expect(asked).toContain('GET /bye');
    expect(said).toEqual([]);
  });

  test('works where the app is served, too', async () => {
    const asked: string[] = [];
    const mounted = await mount(attached(asked));
    await expectToWork(mounted);
    expect((await mounted.browser.fetch('/assets/app.js')).text).toContain('ready');
    expect(said).toEqual([]);
  });

  test('leaves to the server what is not its own, as it came', async () => {
    const asked: string[] = [];
    const { browser, port, world } = await mount(attached(asked), withoutSpa);
    expect((await browser.fetch('/own?a=b')).text).toBe('own /own?a=b ');
    expect((await browser.fetch('/own', { method: 'POST', body: 'hello' })).text).toBe('own /own hello');
    expect((await browser.fetch('/own', { method: 'HEAD' })).status).toBe(200);
    for (const path of ['/apix', '/bffx', '/', '/API', '/favicon.ico']) {
      expect((await browser.fetch(path)).text).toBe(`own ${path} `);
    }
    const large = Buffer.alloc(1_000_000, 'x');
    const head = `POST /own HTTP/1.1\r\nHost: ${new URL(world.origin).host}\r\nConnection: close\r\n`;
    const got = await within(
      5,
      exchange(
        port,
        Buffer.concat([Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`), chunked(large, [10_000])]),
      ),
      'no answer',
    );
    expect(finalOf(got).body.length).toBe(large.length + 'own /own '.length);
    expect(asked).toEqual([
      'GET /own?a=b',
      'POST /own',
      'HEAD /own',
      'GET /apix',
      'GET /bffx',
      'GET /',
      'GET /API',
      'GET /favicon.ico',
      'POST /own',
    ]);
    for (const path of ['/bff/nowhere', '/api/nowhere', '/bff/', '/api']) await browser.fetch(path);
    expect(asked).toHaveLength(9);
  });

  test('answers what is nobody’s where nothing else is served', async () => {
    const { browser } = await mount((bff) => {
      const server = createServer();
      bff.attach(server);
      return server;
    }, withoutSpa);
    expect((await browser.fetch('/own')).status).toBe(404);
    await signIn(browser, 'alice', '/own');
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test.each(['/api/me', '/bff/session', '/own', '/bff/logout'])(
    'refuses a request with two Host fields, and all that comes after it: %s',
    async (path) => {
      const asked: string[] = [];
      const { port, world, browser } = await mount(attached(asked), withoutSpa);
      await signIn(browser, 'alice', '/bye');
      asked.length = 0;
      const calls = world.api.requests.length;
      const smuggled = `${callHead(browser, 'GET', path).replace('\r\n', '\r\nHost: evil.test\r\n')}\r\n`;
      const got = await within(
        5,
        exchange(port, `${smuggled}${callHead(browser, 'GET', '/own')}\r\n`),
        'it stayed open',
      );
      expect(got.responses.map(({ status }) => status)).toEqual([400]);
      expect(got.surplus.toString()).toBe('');
      expect(asked).toEqual([]);
      expect(world.api.requests).toHaveLength(calls);
    },
  );

  test('invites an upload when it is wanted, and one that is refused not at all', async () => {
    const { port, world, browser } = await mount(attached(), withoutSpa);
    const host = new URL(world.origin).host;
    const stranger = new Wire(port, 'POST');
    stranger.write(
      `POST /api/x HTTP/1.1\r\nHost: ${host}\r\nSec-Fetch-Site: same-origin\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
    );
    await within(
      5,
      stranger.until(({ responses }) => responses.some(({ complete, status }) => complete && status >= 200)),
      'no answer',
    );
    expect(stranger.responses.map(({ status }) => status)).toEqual([401]);
    stranger.socket.destroy();
    await signIn(browser, 'alice', '/bye');
    for (const [path, answer] of [
      ['/api/x', 200],
      ['/own', 200],
    ] as const) {
      const wire = new Wire(port, 'POST');
      wire.write(`${callHead(browser, 'POST', path)}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
      await within(
        5,
        wire.until(({ responses }) => responses.length === 1),
        `${path} did not invite`,
      );
      expect(wire.responses[0]?.status).toBe(100);
      wire.write('hello');
      expect(finalOf(await within(5, wire.answered(), 'no answer')).status).toBe(answer);
    }
    expect(world.api.last().body.toString()).toBe('hello');
  });

  test('passes WebSockets, and refuses those that it must', async () => {
    const { port, world, browser } = await mount(attached(), withoutSpa);
    const sockets = acceptWebSockets(world.api);
    const open = (headers: Record<string, string>, origin = world.origin) =>
      new WebSocket(`ws://127.0.0.1:${port}/api/socket`, { origin, headers });
    expect((await refusalOf(open({}))).status).toBe(401);
    await signIn(browser, 'alice', '/bye');
    const cookie = browser.cookieHeader() ?? '';
    expect((await refusalOf(open({ cookie }, 'https://evil.test'))).status).toBe(403);
    const socket = open({ cookie });
    await new Promise((resolve) => socket.once('open', resolve));
    const echo = nextMessage(socket);
    socket.send('hello');
    expect((await echo).toString()).toBe('hello');
    expect(sockets.requests).toHaveLength(1);
    // Ends with its session.
    const closed = closeOf(socket);
    await browser.fetch('/bff/logout', { method: 'POST' });
    expect((await closed).code).toBe(4401);
  });

  test('leaves the server its own WebSockets, and answers for those that are nobody’s', async () => {
    const own = new WebSocketServer({ noServer: true });
    const { port, world, browser, server } = await mount(attached(), withoutSpa);
    const nobodys = await refusalOf(new WebSocket(`ws://127.0.0.1:${port}/own`, { origin: world.origin }));
    expect(nobodys.status).toBe(404);
    server.on('upgrade', (request, socket, head) => {
      if (request.url === '/own') own.handleUpgrade(request, socket, head, (accepted) => accepted.send('own'));
    });
    acceptWebSockets(world.api);
    await signIn(browser, 'alice', '/bye');
    const cookie = browser.cookieHeader() ?? '';
    const socket = new WebSocket(`ws://127.0.0.1:${port}/own`, { origin: world.origin, headers: { cookie } });
    expect((await nextMessage(socket)).toString()).toBe('own');
    socket.close();
    await closeOf(socket);
    const proxied = new WebSocket(`ws://127.0.0.1:${port}/api/socket`, { origin: world.origin, headers: { cookie } });
    await new Promise((resolve) => proxied.once('open', resolve));
    proxied.close();
    await closeOf(proxied);
  });

  test('answers a call that merely offers another protocol', async () => {
    const asked: string[] = [];
    const { port, browser } = await mount(attached(asked), withoutSpa);
    await signIn(browser, 'alice', '/bye');
    const offer = 'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n';
    for (const path of ['/api/me', '/own']) {
      const got = await within(5, exchange(port, callHead(browser, 'GET', path) + offer), 'no answer');
      expect(finalOf(got).status).toBe(200);
    }
    expect(asked).toContain('GET /own');
  });

  test('survives upgrades that come behind others, with two hosts, or are broken off', async () => {
    const { port, world, browser } = await mount(attached(), withoutSpa);
    await signIn(browser, 'alice', '/bye');
    const cookie = `Cookie: ${browser.cookieHeader()}\r\n`;
    const host = new URL(world.origin).host;
    const behind = `GET /bff/login HTTP/1.1\r\nHost: ${host}\r\n\r\n${upgradeLines(world.origin, '/api/socket', cookie)}`;
    const twice = upgradeLines(world.origin, '/api/socket', `${cookie}Host: evil.test\r\n`);
    for (let round = 0; round < 60; round += 1) {
      const wire = new Wire(port);
      wire.write(round % 2 === 0 ? behind : twice);
      if (round % 3 === 0) wire.socket.resetAndDestroy();
      else {
        await within(
          5,
          wire.until(({ responses }) => responses.length > 0),
          'no answer',
        ).finally(() => wire.socket.resetAndDestroy());
      }
    }
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('sends what it promises: no header twice, and its own protection', async () => {
    const { port, browser } = await mount(attached(), withoutSpa);
    await signIn(browser, 'alice', '/bye');
    const { fields } = finalOf(
      await exchange(port, `${callHead(browser, 'GET', '/bff/session')}Connection: close\r\n\r\n`),
    );
    expect(valuesOf(fields, 'cache-control')).toEqual(['no-store']);
    expect(valuesOf(fields, 'x-content-type-options')).toEqual(['nosniff']);
  });
});
