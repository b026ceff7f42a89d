/**
 * The listener for operations, on a port of its own, so that probes neither need the public listener nor can be reached
 * through it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { OperatorApi } from './ops-sessions.ts';

/**
 * `ready`: it can sign people in and open their sessions. `not ready`: something that it needs is missing. `stopping`: a
 * load balancer should send nothing more, though what it sends is still served for a while.
 */
export type Readiness = 'ready' | 'not ready' | 'stopping';

/**
 * `/livez`: the process runs. `/readyz`: it can serve. The text of the answer says why not.
 * @param operator takes the calls of operators
 */
export function createOpsServer(readiness: () => Readiness, operator?: OperatorApi): Server {
  return createServer((request, response) => {
    if (operator?.takes(request) === true) operator.handle(request, response);
    else answer(request, response, readiness);
  });
}

function answer({ url = '/' }: IncomingMessage, response: ServerResponse, readiness: () => Readiness): void {
  const [path] = url.split('?', 1);
  if (path === '/livez') send(response, 200, 'ok');
  else if (path !== '/readyz') send(response, 404, 'not found');
  else if (readiness() === 'ready') send(response, 200, 'ok');
  else send(response, 503, readiness());
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain', 'cache-control': 'no-store' });
  response.end(`${text}\n`);
}
