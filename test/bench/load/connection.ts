/**
 * One keep-alive HTTP/1.1 connection of a load generator: writes ready-made requests and reads just enough of each
 * answer to know its status and its end. A fraction of the cost of `node:http`, so that the generator isn't what is
 * measured.
 */
import { connect, type Socket } from 'node:net';

/** Called once per request: the status, or 0 when the connection broke first. */
export type OnAnswer = (status: number) => void;

/** Sends one request at a time. */
export interface Connection {
  send(request: Buffer, onAnswer: OnAnswer): void;
  close(): void;
}

/** Opens a connection to a port on loopback. */
export function openConnection(port: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(connectionOver(socket));
    });
  });
}

function connectionOver(socket: Socket): Connection {
  let waiting: OnAnswer | undefined;
  let received = '';
  let closing = false;
  const answer = (status: number): void => {
    const done = waiting;
    waiting = undefined;
    received = '';
    done?.(status);
  };
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    received += chunk;
    const status = completeStatus(received);
    if (status !== undefined) answer(status);
  });
  socket.on('error', () => answer(0));
  socket.on('close', () => {
    if (!closing) answer(0);
  });
  return {
    send(request, onAnswer) {
      waiting = onAnswer;
      if (socket.destroyed) answer(0);
      else socket.write(request);
    },
    close() {
      closing = true;
      socket.destroy();
    },
  };
}

/** The status when `text` is one whole response, by `Content-Length` or chunks. */
function completeStatus(text: string): number | undefined {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, headEnd))?.[1];
  const isComplete =
    length === undefined ? text.endsWith('\r\n0\r\n\r\n') : text.length >= headEnd + 4 + Number(length);
  return isComplete ? Number(text.slice(9, 12)) : undefined;
}
