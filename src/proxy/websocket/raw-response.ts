/**
 * The response to an upgrade request, for which `node:http` hands over a bare socket: takes it over, frames every response
 * but the switch (RFC 9110 7.8), and closes the connection so that the client still reads the response.
 */
import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** How long a client may keep its connection open after the response. */
const lingerMs = 2000;

/** A request for an upgrade, whose socket was taken over. */
export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** For every response but the switch. */
  readonly response: ServerResponse;
  /** Detaches the socket from the response, so that a tunnel can use it. */
  readonly detach: () => void;
}

/**
 * Takes a socket over from the server.
 * @returns undefined if a response to an earlier, pipelined request still uses the socket
 */
export function takeOverSocket(request: IncomingMessage, duplex: Duplex, head: Buffer): UpgradeRequest | undefined {
  // `node:http` hands over the connection itself; its types promise only a Duplex.
  const socket = duplex as Socket;
  if (head.length > 0) socket.unshift(head);
  const response = new ServerResponse(request);
  try {
    response.assignSocket(socket);
  } catch {
    return undefined;
  }
  response.shouldKeepAlive = false;
  // A client that half-closes during the handshake has disconnected. Early bytes stay in the socket's buffer for the
  // tunnel.
  const onEnd = () => socket.destroy();
  // `node:http` no longer forwards `drain` from a socket that it has handed over.
  const onDrain = () => response.emit('drain');
  const removeListeners = () => socket.off('end', onEnd).off('drain', onDrain);
  socket.on('end', onEnd).on('drain', onDrain);
  response.once('finish', () => {
    removeListeners();
    closeAfterResponse(socket);
  });
  return {
    request,
    socket,
    response,
    detach() {
      removeListeners();
      response.detachSocket(socket);
    },
  };
}

/** Keeps reading for a while: with unread bytes the system would reset the connection, and the response might be lost. */
function closeAfterResponse(socket: Socket): void {
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.once('close', () => clearTimeout(timer));
}
