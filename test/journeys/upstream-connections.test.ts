/** How Sallyport connects to an API: connections kept and lost, TLS, Unix sockets. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { startRawServer } from '../support/raw.ts';
import { makeCertificate } from '../support/tls.ts';
import { signIn, startWorld } from '../support/world.ts';

type RouteInput = Partial<NonNullable<ConfigInput['api']>[number]>;

describe('kept connections', () => {
  test('serve call after call, whatever the calls were', async () => {
    const connections = new Set<unknown>();
    const { own } = await startOwn(
      createHttpServer((request, response) => {
        connections.add(request.socket);
        request.resume().once('end', () => response.end('fine'));
      }),
    );
    for (const [method, body] of [['GET'], ['POST', 'x'], ['GET'], ['PUT', 'x'.repeat(100_000)], ['GET']] as const) {
      expect((await own.fetch('/api/x', { method, ...(body === undefined ? {} : { body }) })).status).toBe(200);
    }
    expect(connections.size).toBe(1);
  });

  test('that end just when they are used again cost a safe call nothing', async () => {
    const target = await forgetful();
    onTestFinished(() => target.close());
    const { own } = await startOwn(target);
    expect((await own.fetch('/api/first')).status).toBe(200);
    expect((await own.fetch('/api/second')).status).toBe(200);
    expect(target.received.map((bytes) => bytes.toString().match(/^GET \S+/gm))).toEqual([
      ['GET /first', 'GET /second'],
      ['GET /second'],
    ]);
  });

  test('that end so under an unsafe call are not retried: the problem says the outcome is unknown', async () => {
    const target = await forgetful();
    onTestFinished(() => target.close());
    const { own } = await startOwn(target);
    expect((await own.fetch('/api/first')).status).toBe(200);
    const answer = await own.fetch('/api/second', { method: 'POST', body: 'x' });
    expect(answer.status).toBe(502);
    expect(answer.json()).toMatchObject({
      code: 'upstream_unavailable',
      detail: expect.stringContaining('may or may not'),
    });
    expect(target.received.map((bytes) => bytes.toString().match(/^(?:GET|POST) \S+/gm))).toEqual([
      ['GET /first', 'POST /second'],
    ]);
  });

  test('that end under every try end the call after the second', async () => {
    const target = await startRawServer((socket) => socket.destroy());
    onTestFinished(() => target.close());
    const { own } = await startOwn(target);
    expect((await own.fetch('/api/x')).status).toBe(502);
    expect(target.received).toHaveLength(2);
  });
});

describe('ways to the API', () => {
  test('https with an own certificate authority', async () => {
    const certificate = await makeCertificate();
    const { own } = await startOwn(
      createHttpsServer(certificate, (request, response) => response.end(`${request.httpVersion} ${request.url}`)),
      { caFile: certificate.file },
      'https',
    );
    expect((await own.fetch('/api/x')).text).toBe('1.1 /x');
  });

  test('https without it is refused, and the token is not sent', async () => {
    const requests: unknown[] = [];
    const server = createHttpsServer(await makeCertificate(), (request, response) => {
      requests.push(request.url);
      response.end();
    });
    const { own } = await startOwn(server, {}, 'https');
    expect((await own.fetch('/api/x')).status).toBe(502);
    expect(requests).toEqual([]);
  });

  test('HTTP/1.1, also where the API offers HTTP/2', async () => {
    const certificate = await makeCertificate();
    const server = createSecureServer({ ...certificate, allowHTTP1: true }, (request, response) => {
      response.end(`${request.httpVersion} ${request.url}`);
    });
    const { own } = await startOwn(server, { caFile: certificate.file }, 'https');
    expect((await own.fetch('/api/x')).text).toBe('1.1 /x');
  });

  test('a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-socket-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const socketPath = join(folder, 'api.sock');
    const server = createHttpServer((request, response) => response.end(`${request.headers.host} ${request.url}`));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const sockets = trackSockets(server);
    onTestFinished(() => closeNow(server, sockets));
    const { own } = await startOwn({ url: 'http://orders/v1' }, { socketPath });
    expect((await own.fetch('/api/x')).text).toBe('orders /v1/x');
  });
});

/** Answers each connection's first request and hangs up on its second without a word. */
function forgetful() {
  return startRawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    socket.once('data', () => socket.destroy());
  });
}

/** A world whose API is the given server, and somebody signed in. */
async function startOwn(target: Server | { url: string }, route: RouteInput = {}, scheme = 'http') {
  let port = 0;
  let url: string;
  if ('url' in target) url = target.url;
  else {
    const sockets = trackSockets(target);
    port = await listen(target, 0);
    url = `${scheme}://localhost:${port}`;
    onTestFinished(() => closeNow(target, sockets));
  }
  const started = await startWorld({ config: { api: [{ path: '/api', target: url, ...route }] } });
  const own = started.client();
  await signIn(own);
  return { own, started, port };
}
