/** One stream of session events, towards a client that takes nothing, or has gone. */
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { EventStream, eventText } from '../../src/endpoints/event-stream.ts';

/** A connection whose other side takes so many writes, and then no more. */
class StuckSocket extends Socket {
  writesTaken: number;

  constructor(writesTaken: number) {
    super();
    this.writesTaken = writesTaken;
  }

  override _write(_chunk: unknown, _encoding: BufferEncoding, callback: () => void): void {
    if (this.writesTaken > 0) setImmediate(callback);
    this.writesTaken -= 1;
  }

  override _writev(_chunks: unknown[], callback: () => void): void {
    this._write(undefined, 'utf8', callback);
  }
}

function responseTo(socket: Socket): ServerResponse {
  const response = new ServerResponse(new IncomingMessage(socket));
  response.assignSocket(socket);
  // As the server of `node:http` does.
  socket.once('close', () => {
    response.destroyed = true;
    response.emit('close');
  });
  return response;
}

describe('a client that takes nothing', () => {
  test('is sent what fits, and is cut off by a heartbeat while the least of it waits', async () => {
    const socket = new StuckSocket(0);
    const onClose = vi.fn<() => void>();
    const stream = new EventStream(responseTo(socket), onClose);
    stream.send(eventText('session', {}));
    stream.send(eventText('session', {}));
    await nextTurn();
    expect(socket.destroyed).toBe(false);
    stream.sendLater(':\n\n');
    await vi.waitFor(() => expect(onClose).toHaveBeenCalledOnce());
    expect(socket.destroyed).toBe(true);
    // What comes now comes too late, and disturbs nobody.
    stream.send('late');
    stream.sendLater('late');
    stream.end('late');
  });

  test('is cut off by an event when 64 KiB wait', async () => {
    const socket = new StuckSocket(0);
    const onClose = vi.fn<() => void>();
    const stream = new EventStream(responseTo(socket), onClose);
    stream.send('x'.repeat(60 * 1024));
    stream.send('x'.repeat(10 * 1024));
    await nextTurn();
    expect(socket.destroyed).toBe(false);
    stream.send('x');
    await vi.waitFor(() => expect(onClose).toHaveBeenCalledOnce());
  });

  test('has a second for the last words', async () => {
    const socket = new StuckSocket(0);
    const onClose = vi.fn<() => void>();
    const stream = new EventStream(responseTo(socket), onClose);
    stream.send('x');
    const startedAt = performance.now();
    stream.end('bye');
    await vi.waitFor(() => expect(onClose).toHaveBeenCalledOnce(), { timeout: 3000 });
    expect(performance.now() - startedAt).toBeGreaterThan(900);
  });
});

test('a client that takes all is kept by heartbeats', async () => {
  const socket = new StuckSocket(Infinity);
  const onClose = vi.fn<() => void>();
  const stream = new EventStream(responseTo(socket), onClose);
  for (let beat = 0; beat < 3; beat += 1) {
    stream.sendLater(':\n\n');
    await vi.waitFor(() => expect(socket.writableLength).toBe(0));
  }
  expect([socket.destroyed, onClose.mock.calls.length]).toEqual([false, 0]);
  socket.destroy();
});

test('of a client that had left before, the end is told all the same', async () => {
  const response = responseTo(new StuckSocket(Infinity));
  response.destroy();
  await vi.waitFor(() => expect(response.destroyed).toBe(true));
  const onClose = vi.fn<() => void>();
  const stream = new EventStream(response, onClose);
  stream.send('late');
  await nextTurn();
  expect(onClose).toHaveBeenCalledOnce();
});
