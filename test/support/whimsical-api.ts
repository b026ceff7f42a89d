/** An API whose answers, good and bad, are asked for by path; it takes WebSockets, too, and echoes what comes. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';
import { startListener, type Listener } from './listener.ts';

/** What `/large` answers. */
export const large = Buffer.alloc(256 * 1024, 'large ');

/** Starts it on a free loopback port, or on `port`. */
export async function startWhimsicalApi(port?: number): Promise<Listener> {
  const whims = createWhims();
  const listener = await startListener(
    (request, response) => (whims[pathOf(request)] ?? whims['/small'])?.(request, response),
    port,
  );
  const sockets = new WebSocketServer({ noServer: true });
  listener.server.on('upgrade', (request: IncomingMessage, socket, head) => {
    socket.on('error', () => socket.destroy());
    // A handshake that is never answered, one that is refused, and a connection that breaks.
    if (pathOf(request) === '/never') socket.once('end', () => socket.destroy()).resume();
    else if (pathOf(request) === '/reset') socket.destroy();
    else if (pathOf(request) === '/early') socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnone');
    else sockets.handleUpgrade(request, socket, head, (accepted) => sockets.emit('connection', accepted, request));
  });
  sockets.on('connection', (socket) => {
    socket.on('error', () => socket.terminate());
    socket.on('message', (bytes) => socket.send(bytes));
  });
  return listener;
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?')[0] ?? '';
}

type Whim = (request: IncomingMessage, response: ServerResponse) => void;

function createWhims(): Readonly<Record<string, Whim>> {
  let refusals = 0;
  return {
    '/small': (_, response) => response.end('small'),
    '/chunks': (_, response) => {
      response.write('some, ');
      setImmediate(() => response.end('more'));
    },
    '/large': (_, response) => response.end(large),
    '/sink': (request, response) => request.resume().once('end', () => response.end('taken')),
    '/early': (_, response) => response.writeHead(422).end('seen enough'),
    '/hints': (_, response) => {
      response.writeEarlyHints({ link: '</app.css>; rel=preload' });
      response.end('hinted');
    },
    '/events': (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const timer = setInterval(() => response.write('data: event\n\n'), 5);
      response.once('close', () => clearInterval(timer));
    },
    // Reads on: Node doesn't notice that a client has gone while something of it is unread.
    '/never': (request) => request.resume(),
    '/silent': (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
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
}
