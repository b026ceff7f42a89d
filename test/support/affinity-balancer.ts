/** A load balancer with affinity: a cookie leads each client to the same replica, and one without it to the next in turn. */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { abortWith, startListener, type Listener } from './listener.ts';

/** The cookie is called `ROUTEID`. */
export function startBalancer(ports: readonly number[]): Promise<Listener> {
  let turn = 0;

  function pass(request: IncomingMessage, response: ServerResponse): void {
    const chosen = /(?:^|; )ROUTEID=(\d)/.exec(request.headers.cookie ?? '')?.[1];
    const index = Number(chosen ?? turn++ % ports.length);
    const { method, url: path, headers } = request;
    const onward = httpRequest({ host: '127.0.0.1', port: ports[index], method, path, headers }, (answer) => {
      const cookie = chosen === undefined ? { 'set-cookie': `ROUTEID=${index}; Path=/; HttpOnly` } : {};
      response.writeHead(answer.statusCode ?? 500, { ...answer.headers, ...cookie });
      answer.pipe(response);
    });
    onward.on('error', abortWith(response));
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  return startListener(pass);
}
