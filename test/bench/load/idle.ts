/**
 * Holds many idle Server-Sent-Event streams and WebSockets open and counts which of them get what is broadcast.
 *
 * Input over IPC: one {@link IdleOrder}, answered by `{ open }` once every connection stands; then `'count'`, answered
 * by an {@link IdleCount}.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

/** How many connections of each kind to open to `port`. */
export interface IdleOrder {
  readonly port: number;
  readonly eventStreams: number;
  readonly webSockets: number;
  readonly eventStreamPath: string;
  readonly webSocketPath: string;
  readonly headers: Record<string, string>;
  readonly origin: string;
  /** A file of cookies, one a line and one an event stream, in place of that of the headers. */
  readonly cookieFile?: string;
  /** What an event stream has said when it stands. Default: what that of the upstream says. */
  readonly greeting?: string;
}

/** How many connections have received a broadcast since the start, and how many have closed. */
export interface IdleCount {
  readonly alive: number;
  readonly closed: number;
}

const atOnce = 50;
const sockets: Socket[] = [];
let alive = 0;
let closed = 0;

process.on('message', (message: IdleOrder | 'count') => {
  if (message === 'count') {
    process.send?.({ alive, closed } satisfies IdleCount);
    return;
  }
  openAll(message).then(
    () => process.send?.({ open: sockets.length }),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});

async function openAll(order: IdleOrder): Promise<void> {
  const head = Object.entries(order.headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  const cookies = order.cookieFile === undefined ? [] : readFileSync(order.cookieFile, 'utf8').split('\n');
  const stream = (index: number): string => {
    const own = cookies[index] === undefined ? head : head.replace(/^cookie: .*$/im, `cookie: ${cookies[index]}`);
    return `GET ${order.eventStreamPath} HTTP/1.1\r\n${own}accept: text/event-stream\r\n\r\n`;
  };
  const greeting = order.greeting ?? ': open';
  const upgrade = (): string =>
    `GET ${order.webSocketPath} HTTP/1.1\r\n${head.replace(/connection: .*\r\n/i, '')}connection: Upgrade\r\n` +
    `upgrade: websocket\r\norigin: ${order.origin}\r\nsec-websocket-version: 13\r\n` +
    `sec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`;
  const jobs = [
    ...Array.from(
      { length: order.eventStreams },
      (_, index) => () => open(order.port, stream(index), 'HTTP/1.1 200', greeting),
    ),
    ...Array.from({ length: order.webSockets }, () => () => open(order.port, upgrade(), 'HTTP/1.1 101', '\r\n\r\n')),
  ];
  for (let index = 0; index < jobs.length; index += atOnce) {
    await Promise.all(jobs.slice(index, index + atOnce).map((job) => job()));
  }
}

/** Resolves once the answer starts with `status` and has come as far as `until`. */
function open(port: number, request: string, status: string, until: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    const onData = (chunk: string): void => {
      received += chunk;
      if (!received.startsWith(status.slice(0, received.length))) reject(new Error(received.slice(0, 500)));
      if (!received.includes('\r\n\r\n') || !received.includes(until)) return;
      socket.off('data', onData);
      watch(socket);
      resolve();
    };
    socket.setEncoding('latin1').on('data', onData);
    socket.on('error', reject);
    socket.once('close', () => reject(new Error(`closed after "${received.slice(0, 500)}"`)));
    socket.once('connect', () => socket.write(request));
  });
}

function watch(socket: Socket): void {
  sockets.push(socket);
  let isAlive = false;
  socket.on('data', (chunk: string) => {
    if (isAlive || !chunk.includes('alive')) return;
    isAlive = true;
    alive += 1;
  });
  socket.on('close', () => {
    closed += 1;
  });
}
