/**
 * The listener for operations, on a port of its own, so that probes neither need the public listener nor can be reached
 * through it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { OperatorApi } from './ops-sessions.ts';

/**
 * `/livez`: the process runs. `/readyz`: it can serve.
 * @param isReady whether it can sign people in and has not begun to stop
 * @param operator takes the calls of operators, where there are any
 */
export function createOpsServer(isReady: () => boolean, operator?: OperatorApi): Server {
  return createServer((request, response) => {
    if (operator?.takes(request) === true) operator.handle(request, response);
    else answer(request, response, isReady);
  });
}

function answer(request: IncomingMessage, response: ServerResponse, isReady: () => boolean): void {
  const status = request.url === '/livez' ? 200 : request.url !== '/readyz' ? 404 : isReady() ? 200 : 503;
  response.writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
  response.end(status === 200 ? 'ok\n' : status === 503 ? 'not ready\n' : 'not found\n');
}
