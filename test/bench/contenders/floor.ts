/**
 * The floor of this stack, under the plain proxy: one `Pool` of 64 connections instead of an `Agent`, and no listener a
 * call. It notices neither a client that leaves nor one that reads slowly, so it is a measure and no proxy to use.
 *
 * `TOKEN` is the access token to attach, `API` the upstream's origin.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

import { Pool } from 'undici';

import { clientHeaders, upstreamHeaders } from './plain-headers.ts';

const authorization = `Bearer ${process.env['TOKEN']}`;
const pool = new Pool(`${process.env['API']}`, {
  allowH2: false,
  bodyTimeout: 0,
  headersTimeout: 0,
  connections: 64,
  pipelining: 1,
});

const server = createServer({ maxHeaderSize: 65_536, requestTimeout: 0 }, forward);
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`READY ${address.port}`);
});

function forward(request: IncomingMessage, response: ServerResponse): void {
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
  pool.dispatch(
    {
      path: `/v1${(request.url ?? '/').slice('/api'.length)}`,
      method: request.method ?? 'GET',
      headers: upstreamHeaders(request, authorization),
      body: hasBody ? request : null,
    },
    {
      // undici demands the method, also where there is nothing to do.
      onRequestStart() {},
      onResponseStart(controller, status, headers) {
        response.writeHead(status, clientHeaders(controller.rawHeaders ?? headers));
      },
      onResponseData(_controller, chunk) {
        response.write(chunk);
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

// An orderly end, so that `--cpu-prof` can write what it saw.
process.once('SIGTERM', () => process.exit());
