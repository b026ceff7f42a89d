/**
 * A plain proxy of this stack: `node:http` in, undici `dispatch` out, written to the raw response. It forwards the same
 * headers as Sallyport with an `Authorization` of the same size, and does nothing else: no session, no check, no log.
 *
 * `TOKEN` is the access token to attach, `API` and `STREAM` the upstream origins behind `/api` and `/stream`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import { Agent, type Dispatcher } from 'undici';

import { clientHeaders, upstreamHeaders } from './plain-headers.ts';

const authorization = `Bearer ${process.env['TOKEN']}`;
const api = `${process.env['API']}`;
const stream = `${process.env['STREAM']}`;
const agent = new Agent({ allowH2: false, bodyTimeout: 0, headersTimeout: 0 });
const server = createServer({ maxHeaderSize: 65_536, requestTimeout: 0 }, forward);
server.on('upgrade', upgrade);
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`READY ${address.port}`);
});

function forward(request: IncomingMessage, response: ServerResponse): void {
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
  let controller: Dispatcher.DispatchController | undefined;
  response.on('drain', () => controller?.resume());
  response.on('close', () => {
    if (!response.writableFinished) controller?.abort(new Error('the client went away'));
  });
  agent.dispatch(
    {
      ...target(request),
      method: methodOf(request),
      headers: upstreamHeaders(request, authorization),
      body: hasBody ? request : null,
    },
    {
      onRequestStart(started) {
        controller = started;
      },
      onResponseStart(started, status, headers) {
        response.writeHead(status, clientHeaders(started.rawHeaders ?? headers));
      },
      onResponseData(started, chunk) {
        if (!response.write(chunk)) started.pause();
      },
      onResponseEnd() {
        response.end();
      },
      onResponseError() {
        if (response.headersSent) response.destroy();
        else response.writeHead(502).end();
      },
    },
  );
}

function upgrade(request: IncomingMessage, client: Duplex, head: Buffer): void {
  agent.dispatch(
    { ...target(request), method: 'GET', headers: upstreamHeaders(request, authorization), upgrade: 'websocket' },
    {
      // undici demands the method, also where there is nothing to do.
      onRequestStart() {},
      onRequestUpgrade(_controller, status, headers, socket) {
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
        client.write(`HTTP/1.1 ${status} Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
        if (head.length > 0) socket.write(head);
        socket.pipe(client);
        client.pipe(socket);
        socket.on('error', () => client.destroy());
        client.on('error', () => socket.destroy());
      },
      onResponseStart(controller) {
        controller.abort(new Error('no upgrade'));
      },
      onResponseError() {
        client.destroy();
      },
    },
  );
}

function target(request: IncomingMessage): { origin: string; path: string } {
  const url = request.url ?? '/';
  if (url.startsWith('/api/')) return { origin: api, path: `/v1${url.slice(4)}` };
  return { origin: stream, path: url.slice('/stream'.length) };
}

function methodOf(request: IncomingMessage): Dispatcher.HttpMethod {
  return request.method ?? 'GET';
}

// An orderly end, so that `--cpu-prof` can write what it saw.
process.once('SIGTERM', () => process.exit());
