/**
 * A while of everything at once: calls, uploads, streams, WebSockets, refreshes, aborts and failing APIs. Afterwards the
 * server holds what it held before: no memory, socket, timer or listener more.
 *
 * `SOAK_SECONDS=300 npm test -- journeys/soak` runs it for longer; by default it is short enough for every run.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { BrowserClient } from '../support/browser-client.ts';
import { freePort, startListener, type Listener } from '../support/listener.ts';
import type { Gauges } from '../support/measured-server.ts';
import { signIn, startWorld, within } from '../support/world.ts';

const seconds = Number(process.env['SOAK_SECONDS'] ?? 8);
/** Long enough for code to be compiled, pools and caches to fill. */
const warmUpSeconds = Math.min(seconds, 5);
const workers = 16;
const mebibyte = 1024 * 1024;

test(
  'after a while under mixed load the server holds what it held before',
  async () => {
    const api = await startWhimsicalApi();
    const world = await startWorld();
    const port = await freePort();
    const server = await startMeasured({
      ...world.config,
      listen: { port },
      logLevel: 'info',
      api: [{ path: '/api', target: `http://127.0.0.1:${api.port}`, timeoutSeconds: 5, maxBodyBytes: mebibyte }],
    });
    const browser = world.client();
    browser.routeTo(port);
    await signIn(browser);

    const warmUp = await load(browser, port, warmUpSeconds);
    const before = await gaugesWhenQuiet(server, api);
    const loaded = await load(browser, port, seconds);
    const after = await gaugesWhenQuiet(server, api);

    // The load was what it says, and every kind of call came to the end that it should.
    expect(Object.keys(loaded.counts).toSorted((a, b) => a.localeCompare(b))).toEqual(
      Object.keys(calls).toSorted((a, b) => a.localeCompare(b)),
    );
    expect({ ...warmUp.surprises, ...loaded.surprises }).toEqual({});

    expect(after.heap - before.heap).toBeLessThan(Math.max(mebibyte, 100 * loaded.total));
    expect(after.buffers - before.buffers).toBeLessThan(mebibyte);
    expect(after.warnings).toEqual([]);
    expect(after.resources).toEqual(before.resources);
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  },
  (seconds + 60) * 1000,
);

/** An API whose answers are asked for by path. */
async function startWhimsicalApi(): Promise<Listener> {
  const listener = await startListener((request, response) =>
    (whims[pathOf(request)] ?? whims['/small'])?.(request, response),
  );
  const sockets = new WebSocketServer({ server: listener.server });
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
  onTestFinished(() => listener.close());
  return listener;
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?')[0] ?? '';
}

const large = Buffer.alloc(mebibyte / 4, 'large ');
let refusals = 0;

const whims: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
  '/small': (_, response) => response.end('small'),
  '/chunks': (_, response) => {
    response.write('some, ');
    setImmediate(() => response.end('more'));
  },
  '/large': (_, response) => response.end(large),
  '/sink': (request, response) => request.resume().once('end', () => response.end('taken')),
  '/early': (_, response) => response.writeHead(422).end('seen enough'),
  '/events': (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const timer = setInterval(() => response.write('data: event\n\n'), 5);
    response.once('close', () => clearInterval(timer));
  },
  '/never': () => undefined,
  '/reset': (request) => request.socket.resetAndDestroy(),
  '/broken': (_, response) => {
    response.writeHead(200, { 'content-length': '1000' }).write('broken');
    setImmediate(() => response.destroy());
  },
  '/refusal': (_, response) => {
    refusals += 1;
    if (refusals % 2 === 0) response.end('taken again');
    else response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
  },
};

interface Visit {
  readonly browser: BrowserClient;
  readonly port: number;
  readonly agent: Agent;
}

/** Each kind of call, and what becomes of it. */
const calls: Readonly<Record<string, { run: (visit: Visit) => Promise<string>; expected: readonly string[] }>> = {
  small: { run: (visit) => send(visit, 'GET', '/api/small'), expected: ['200 small'] },
  chunks: { run: (visit) => send(visit, 'GET', '/api/chunks'), expected: ['200 some, more'] },
  head: { run: (visit) => send(visit, 'HEAD', '/api/small'), expected: ['200 '] },
  large: { run: (visit) => send(visit, 'GET', '/api/large'), expected: [`200 ${large.length} bytes`] },
  post: { run: (visit) => send(visit, 'POST', '/api/sink', Buffer.alloc(10_000)), expected: ['200 taken'] },
  upload: { run: (visit) => send(visit, 'PUT', '/api/sink', large), expected: ['200 taken'] },
  tooLarge: { run: (visit) => send(visit, 'PUT', '/api/sink', Buffer.alloc(mebibyte + 1)), expected: ['413 problem'] },
  early: { run: (visit) => send(visit, 'PUT', '/api/early', large), expected: ['422 seen enough'] },
  reset: { run: (visit) => send(visit, 'POST', '/api/reset', Buffer.alloc(10)), expected: ['502 problem'] },
  broken: { run: (visit) => send(visit, 'GET', '/api/broken'), expected: ['aborted'] },
  abandoned: { run: (visit) => abandon(visit, 'GET', '/api/never'), expected: ['abandoned'] },
  leftStream: { run: (visit) => abandon(visit, 'GET', '/api/events'), expected: ['abandoned'] },
  leftUpload: { run: (visit) => abandon(visit, 'PUT', '/api/sink', large), expected: ['abandoned'] },
  webSocket: { run: echo, expected: ['echo'] },
  refused: { run: (visit) => send(visit, 'GET', '/api/../x'), expected: ['400 problem'] },
  forged: { run: (visit) => send(visit, 'GET', '/api/small', undefined, 'cross-site'), expected: ['403 problem'] },
  session: { run: async ({ browser }) => String((await browser.fetch('/bff/session')).status), expected: ['200'] },
  page: { run: async ({ browser }) => String((await browser.navigate('/')).status), expected: ['200'] },
  // The cookie of before a refresh goes on working; refreshes that come too soon pass the 401 on.
  refusal: {
    run: async ({ browser }) => String((await browser.fetch('/api/refusal')).status),
    expected: ['200', '401'],
  },
};

async function load(browser: BrowserClient, port: number, forSeconds: number) {
  const agent = new Agent({ keepAlive: true });
  const kinds = Object.entries(calls);
  const counts: Record<string, number> = {};
  const surprises: Record<string, string> = {};
  const endsAt = performance.now() + forSeconds * 1000;
  let total = 0;
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (performance.now() < endsAt) {
        const [kind, { run, expected }] = kinds[total++ % kinds.length] ?? ['none', { run: never, expected: [] }];
        const outcome = await within(20, run({ browser, port, agent }), `${kind} hangs`);
        counts[kind] = (counts[kind] ?? 0) + 1;
        if (!expected.includes(outcome)) surprises[kind] = outcome;
      }
    }),
  );
  agent.destroy();
  browser.close();
  return { counts, surprises, total };
}

function never(): Promise<string> {
  return Promise.reject(new Error('no such call'));
}

function start({ browser, port, agent }: Visit, method: string, path: string, site = 'same-origin') {
  const headers = { host: new URL(browser.origin).host, cookie: browser.cookieHeader() ?? '', 'sec-fetch-site': site };
  return httpRequest({ host: '127.0.0.1', port, agent, method, path, headers });
}

function send(visit: Visit, method: string, path: string, body?: Buffer, site?: string): Promise<string> {
  return new Promise((resolve) => {
    const request = start(visit, method, path, site);
    request.once('error', () => resolve('aborted'));
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', () => resolve('aborted'));
      response.once('end', () => resolve(`${response.statusCode} ${summaryOf(response, Buffer.concat(chunks))}`));
    });
    request.end(body);
  });
}

function summaryOf({ headers }: IncomingMessage, body: Buffer): string {
  if (headers['content-type'] === 'application/problem+json') return 'problem';
  return body.length > 1000 ? `${body.length} bytes` : body.toString();
}

/** Leaves when the answer has begun, or after a moment. */
function abandon(visit: Visit, method: string, path: string, body?: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const request = start(visit, method, path);
    const leave = () => {
      request.destroy();
      resolve('abandoned');
    };
    request.once('error', leave);
    request.once('response', (response) => response.on('error', leave).once('data', leave));
    if (body !== undefined) request.write(body.subarray(0, body.length / 2));
    else request.end();
    setTimeout(leave, 20);
  });
}

async function echo({ browser, port }: Visit): Promise<string> {
  const headers = { cookie: browser.cookieHeader() ?? '', host: new URL(browser.origin).host };
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/socket`, { origin: browser.origin, headers });
  await once(socket, 'open');
  socket.send('echo');
  const [data] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  await once(socket, 'close');
  return data.toString();
}

async function startMeasured(config: unknown): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, '../support/measured-server.ts'), { execArgv: ['--expose-gc'] });
  onTestFinished(() => void child.kill());
  child.send(config as object);
  await within(20, once(child, 'message'), 'the server did not start');
  return child;
}

async function gaugesOf(server: ChildProcess): Promise<Gauges> {
  server.send('gauges');
  const [gauges] = (await within(10, once(server, 'message'), 'no gauges')) as [Gauges];
  return gauges;
}

/** What the server holds when its clients have gone and the connections that it kept for the next call have ended. */
async function gaugesWhenQuiet(server: ChildProcess, api: Listener): Promise<Gauges> {
  await vi.waitFor(
    async () => {
      const { resources } = await gaugesOf(server);
      const open = [resources['TCPSocketWrap'] ?? 0, await connectionsOf(api)];
      if (open.some((count) => count > 0)) throw new Error(`connections of clients and to the API: ${open.join(', ')}`);
    },
    { timeout: 15_000, interval: 250 },
  );
  // One look may catch what the next collection frees: the least of several is what is held.
  const looks: Gauges[] = [];
  while (looks.length < 4) looks.push(await gaugesOf(server));
  return looks.reduce((least, look) => (look.heap < least.heap ? look : least));
}

function connectionsOf({ server }: Listener): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}
