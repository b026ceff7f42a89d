/**
 * The upstream process for what nginx can't do: a sink for large uploads, idle Server-Sent-Event streams and idle
 * WebSockets. `POST /broadcast` writes one event to each of them, which is how the benchmark knows that they live.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

const eventStreams = new Set<ServerResponse>();
const webSockets = new Set<Duplex>();

const server = createServer(
  { keepAliveTimeout: 600_000, maxHeaderSize: 65_536, requestTimeout: 0 },
  (request, response) => {
    if (request.url === '/sink') sink(request, response);
    else if (request.url === '/events') openEventStream(response);
    else if (request.url === '/broadcast') broadcast(response);
    else response.writeHead(404).end();
  },
);
server.on('upgrade', openWebSocket);
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`READY ${address.port}`);
});

function sink(request: IncomingMessage, response: ServerResponse): void {
  let received = 0;
  request.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  request.on('end', () =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ received })),
  );
}

function openEventStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': open\n\n');
  eventStreams.add(response);
  response.on('close', () => eventStreams.delete(response));
}

function openWebSocket(request: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  webSockets.add(socket);
  socket.on('close', () => webSockets.delete(socket));
  // A reset is how the load generator leaves; `close` follows.
  socket.on('error', () => {});
  socket.resume();
}

function broadcast(response: ServerResponse): void {
  for (const stream of eventStreams) stream.write('data: alive\n\n');
  // A final text frame of five bytes, unmasked, as a server sends it.
  for (const socket of webSockets) socket.write(Buffer.from('\x81\x05alive', 'latin1'));
  response.writeHead(200).end(JSON.stringify({ eventStreams: eventStreams.size, webSockets: webSockets.size }));
}
