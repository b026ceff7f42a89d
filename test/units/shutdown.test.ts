/** The end of a server: in which order, and what a slow client still gets. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createShutdown, type Running } from '../../src/server/shutdown.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { finalOf, Wire } from '../support/wire.ts';
import { within } from '../support/world.ts';

interface Ending {
  readonly port: number;
  readonly ops: Server;
  readonly close: ReturnType<typeof createShutdown>;
  /** What has happened so far. */
  readonly steps: string[];
}

/** A server of `node:http` alone, so that the moment of each byte is the test's. */
async function startEnding(listener: RequestListener, drainSeconds: number): Promise<Ending> {
  const steps: string[] = [];
  const server = createServer(listener);
  const ops = createServer();
  const connections: ReadonlySet<Socket> = trackSockets(server);
  const port = await listen(server, 0);
  await listen(ops, 0);
  onTestFinished(async () => {
    await closeNow(server, new Set(connections));
    await closeNow(ops, new Set());
  });
  server.once('close', () => steps.push('the last connection has ended'));
  const bff = {
    drain: () => void steps.push(`streams end, ${server.listening ? 'listening' : 'no longer listening'}`),
    close: async () => void steps.push('the store is closed'),
  };
  const log = { info: (line: string) => void steps.push(line) };
  const running = { bff, server, connections, ops, log, endLog: async () => void steps.push('the log is closed') };
  // As much of these as a shutdown asks for.
  const close = createShutdown(running as unknown as Running, { waitSeconds: 0, drainSeconds });
  return { port, ops, close, steps };
}

test('the streams end first, then the calls, the store after the last of them, and the log last', async () => {
  const answer = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const { port, ops, close, steps } = await startEnding((_, response) => {
    arrived.resolve();
    void answer.promise.then(() => response.end('finished'));
  }, 9);
  const wire = new Wire(port);
  wire.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  await arrived.promise;
  expect(close.begun()).toBe(false);
  const closed = close();
  expect(close.begun()).toBe(true);
  await sleep(200);
  expect(steps).toEqual(['stopping', 'streams end, no longer listening']);
  answer.resolve();
  await within(3, closed, 'the server did not stop');
  expect(finalOf(await wire.ended()).body.toString()).toBe('finished');
  expect(steps.slice(2)).toEqual([
    'the last connection has ended',
    'the store is closed',
    'stopped',
    'the log is closed',
  ]);
  await vi.waitFor(() => expect(ops.listening).toBe(false));
});

test('an answer is sent to its end, also when a slow client has not taken its last bytes yet', async () => {
  const body = Buffer.alloc(16 * 1024 * 1024, 'x');
  const { port, close } = await startEnding((_, response) => void response.end(body), 9);
  const wire = new Wire(port);
  wire.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  await wire.until(({ bytes }) => bytes.length > 0);
  wire.socket.pause();
  const closed = close();
  await sleep(300);
  wire.socket.resume();
  const answer = finalOf(await within(8, wire.ended(), 'the answer did not end'));
  expect(answer.complete).toBe(true);
  expect(answer.body.equals(body)).toBe(true);
  await within(2, closed, 'the server did not stop');
});

test('what is left when the time is up is cut', async () => {
  const { port, close, steps } = await startEnding(() => undefined, 0.3);
  const wire = new Wire(port);
  wire.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  await sleep(100);
  await within(2, close(), 'the server did not stop');
  expect((await within(1, wire.ended(), 'the connection stayed')).responses).toEqual([]);
  expect(steps).toContain('the store is closed');
});

test('a later call brings the end forward, and puts it off by nothing', async () => {
  const { port, close } = await startEnding(() => undefined, 0.4);
  const wire = new Wire(port);
  wire.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  await sleep(100);
  const startedAt = performance.now();
  const first = close();
  await within(3, close({ waitSeconds: 60, drainSeconds: 60 }), 'the server did not stop');
  await first;
  expect(performance.now() - startedAt).toBeLessThan(2000);
});
