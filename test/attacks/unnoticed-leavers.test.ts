/**
 * The vandal's story: "One connection, three requests, one behind the other: a stream that says nothing, something large,
 * anything. While the large answer waits for its turn, the server stops reading from me; so it doesn't notice that I have
 * gone, and goes on holding two connections to the API, and two of the places that the route has for everybody."
 *
 * "Or simpler: two small uploads of which I send nothing."
 *
 * Must hold: who has left is noticed soon, whatever was asked for, and the places are free; who sends nothing takes none.
 */
import { once } from 'node:events';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startWhimsicalApi } from '../support/whimsical-api.ts';
import { callHead, Wire } from '../support/wire.ts';
import { outcomeOf, signIn, startWorld, within } from '../support/world.ts';

test.each<[first: string, leaving: 'resets' | 'closes']>([
  ['/api/silent', 'resets'],
  ['/api/silent', 'closes'],
  ['/api/never', 'resets'],
  ['/api/never', 'closes'],
])('a client that pipelines behind %s and %s the connection holds no place for long', async (first, leaving) => {
  const api = await startWhimsicalApi();
  onTestFinished(() => api.close());
  const paths: (string | undefined)[] = [];
  api.server.prependListener('request', ({ url }) => paths.push(url));
  const route = { path: '/api', target: `http://127.0.0.1:${api.port}`, maxConcurrent: 2 };
  const world = await startWorld({ config: { api: [route] } });
  const [vandal, other] = [world.client(), world.client()];
  await signIn(vandal);
  await signIn(other, 'bob');

  const { socket } = new Wire(world.server.port);
  socket.write(`${callHead(vandal, 'GET', first)}\r\n${callHead(vandal, 'GET', '/api/large')}\r\n`);
  await vi.waitFor(() => expect(paths).toEqual([first.slice(4)]), { timeout: 5000 });
  socket.write(`${callHead(vandal, 'GET', '/api/small')}\r\n`.repeat(2));
  // Whatever becomes of them has become of them when another connection has been served.
  await other.fetch('/bff/session');
  const closed = once(socket, 'close');
  if (leaving === 'resets') socket.resetAndDestroy();
  else socket.destroy();
  await within(5, closed, 'the connection stays');

  await vi.waitFor(async () => expect(await outcomeOf(other.fetch('/api/small'))).toBe(200), {
    timeout: 8000,
    interval: 200,
  });
  // What waits for its turn asks the API for nothing.
  expect(paths).not.toContain('/large');
});

test.each([
  ['with a length', `Content-Length: 200000\r\n\r\n${'x'.repeat(150_000)}`],
  ['in chunks', `Transfer-Encoding: chunked\r\n\r\n30000\r\n${'x'.repeat(0x20000)}`],
])('a client that sends an upload (%s) behind a stream and leaves holds no place for long', async (_, upload) => {
  const api = await startWhimsicalApi();
  onTestFinished(() => api.close());
  const arrived = new Promise((resolve) => api.server.once('request', resolve));
  const route = { path: '/api', target: `http://127.0.0.1:${api.port}`, maxConcurrent: 1 };
  const world = await startWorld({ config: { api: [route] } });
  const [vandal, other] = [world.client(), world.client()];
  await signIn(vandal);
  await signIn(other, 'bob');

  const { socket } = new Wire(world.server.port);
  socket.write(`${callHead(vandal, 'GET', '/api/silent')}\r\n`);
  await within(5, arrived, 'the call did not arrive');
  socket.write(`${callHead(vandal, 'POST', '/api/sink')}${upload}`);
  await other.fetch('/bff/session');
  const closed = once(socket, 'close');
  socket.resetAndDestroy();
  await within(5, closed, 'the connection stays');
  await vi.waitFor(async () => expect(await outcomeOf(other.fetch('/api/small'))).toBe(200), {
    timeout: 8000,
    interval: 200,
  });
});

test.each<[story: string, lines: string]>([
  ['send nothing of it', 'Content-Length: 10\r\n'],
  ['ask whether they may', 'Content-Length: 10\r\nExpect: 100-continue\r\n'],
])('clients that announce a small upload and then %s take no place, and leave none behind', async (_, lines) => {
  const world = await startWorld({
    config: ({ api = [], ...base }) => ({ ...base, api: api.map((route) => ({ ...route, maxConcurrent: 2 })) }),
  });
  const [vandal, other] = [world.client(), world.client()];
  await signIn(vandal);
  await signIn(other, 'bob');
  const wires = Array.from({ length: 4 }, () => new Wire(world.server.port));
  for (const wire of wires) wire.write(`${callHead(vandal, 'POST', '/api/x')}${lines}\r\n`);
  if (lines.includes('Expect')) {
    await Promise.all(
      wires.map((wire) =>
        within(
          5,
          wire.until(({ bytes }) => bytes.includes(' 100 ')),
          'not asked',
        ),
      ),
    );
  }
  const upload = () => outcomeOf(other.fetch('/api/y', { method: 'POST', body: 'small' }));
  expect(await Promise.all([upload(), upload()])).toEqual([200, 200]);
  for (const { socket } of wires) socket.resetAndDestroy();
  expect(await Promise.all([upload(), upload()])).toEqual([200, 200]);
});
