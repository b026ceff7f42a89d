/**
 * The unlucky user's story: "I sent a photo, saw that it was the wrong one, and closed the tab. For a second nobody at my
 * company could work." Her access token was just being renewed; some of the photo had arrived, and waited for that.
 *
 * Must hold: a client that goes away before its upload is on its way upstream ends its own call, and nothing else.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Wire, callHead } from '../support/wire.ts';
import { startMeasured } from '../support/separate-server.ts';
import { outcomeOf, signIn, startWorld, within } from '../support/world.ts';

const size = 70_000;
const lifetimes = { accessToken: 300, idToken: 86_400, refreshToken: 86_400, code: 60, session: 86_400 };
const framings = {
  length: (sent: number) => `Content-Length: ${size}\r\n\r\n${'x'.repeat(sent)}`,
  chunks: (sent: number) => `Transfer-Encoding: chunked\r\n\r\n${sent.toString(16)}\r\n${'x'.repeat(sent)}`,
};
const leavings = {
  'resets the connection': ({ socket }: Wire) => socket.resetAndDestroy(),
  'closes the connection': ({ socket }: Wire) => socket.destroy(),
  'says that no more will come': ({ socket }: Wire) => socket.end(),
};

test.each<[framing: keyof typeof framings, leaving: keyof typeof leavings, sent: readonly number[]]>([
  ['length', 'resets the connection', [0, 1, 1000, 16_000, 60_000]],
  ['length', 'closes the connection', [0, 1, 1000, 16_000, 60_000]],
  ['length', 'says that no more will come', [1, 60_000]],
  // Of an unknown length: streamed when so much has come.
  ['chunks', 'resets the connection', [65_537, 80_000]],
  ['chunks', 'closes the connection', [65_537, 80_000]],
])('an upload (%s) whose client %s while the token is renewed ends alone', async (framing, leaving, amounts) => {
  const world = await startWorld({ provider: { settings: { lifetimes } } });
  await world.server.close();
  const server = await startMeasured(world.config);
  const browser = world.client();
  await signIn(browser);

  for (const sent of amounts) {
    // The access token is over: the upload waits for a new one.
    await server.advance(lifetimes.accessToken * 1000);
    const refresh = world.provider.hold('refresh', { times: 1 });
    const wire = new Wire(server.port);
    wire.write(`${callHead(browser, 'POST', '/api/photos')}${framings[framing](sent)}`);
    await within(5, refresh.arrived, 'no refresh');
    const closed = once(wire.socket, 'close');
    leavings[leaving](wire);
    await within(5, closed, 'the connection stays');
    refresh.release();
    const next = await browser.fetch('/api/next').catch(() => undefined);
    expect(server.death, `after ${sent} bytes`).toBeUndefined();
    expect(next?.status).toBe(200);
  }
  const { warnings, faults } = await server.gauges();
  expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
  expect(server.death).toBeUndefined();
  expect(world.api.requests.filter(({ url }) => url === '/photos')).toEqual([]);
});

/** A server that listens and accepts nobody: beyond a handful, connections to it stay under way. */
const deafServer = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.send(server.address().port, () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
  });
`;

test('uploads whose clients leave while they wait for a connection to the API end alone', async () => {
  const deaf = spawn(process.execPath, ['-e', deafServer], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  onTestFinished(() => void deaf.kill('SIGKILL'));
  const [port] = (await within(5, once(deaf, 'message'), 'no server')) as [number];
  const world = await startWorld();
  await world.server.close();
  const server = await startMeasured({
    ...world.config,
    api: [
      { path: '/api/deaf', target: `http://127.0.0.1:${port}`, connectTimeoutSeconds: 5 },
      { path: '/api', target: world.api.url },
    ],
  });
  const browser = world.client();
  await signIn(browser);
  const { descriptors: before } = await server.gauges();

  // More than Sallyport opens connections at a time.
  const wires = Array.from({ length: 200 }, () => new Wire(server.port));
  for (const wire of wires) wire.write(`${callHead(browser, 'POST', '/api/deaf')}${framings.length(1000)}`);
  await vi.waitFor(async () => expect((await server.gauges()).descriptors - before).toBeGreaterThan(300), {
    timeout: 10_000,
  });
  for (const { socket } of wires) socket.resetAndDestroy();
  expect(await outcomeOf(browser.fetch('/api/next'))).toBe(200);
  const { warnings, faults } = await server.gauges();
  expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
  await vi.waitFor(async () => expect((await server.gauges()).descriptors - before).toBeLessThan(10), {
    timeout: 10_000,
  });
  expect(server.death).toBeUndefined();
});
