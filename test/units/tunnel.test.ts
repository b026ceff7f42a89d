/** What a tunnel does about time: nobody holds half a connection for ever. */
import { duplexPair, type Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Tunnel } from '../../src/proxy/websocket/tunnel.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

const goodbye = { code: 4401, reason: 'session ended' };

interface Ends {
  readonly client: Duplex;
  readonly upstream: Duplex;
  readonly tunnel: Tunnel;
  /** How often the tunnel said that it is closed. */
  readonly closings: () => number;
}

function startTunnel(): Ends & { readonly nearUpstream: Duplex } {
  const [client, nearClient] = duplexPair();
  const [upstream, nearUpstream] = duplexPair();
  let closings = 0;
  const tunnel = new Tunnel(nearClient, nearUpstream, () => {
    closings += 1;
  });
  return { client, upstream, nearUpstream, tunnel, closings: () => closings };
}

/** One whose far ends read all that comes. */
function startReadTunnel(): Ends {
  const ends = startTunnel();
  for (const end of [ends.client, ends.upstream]) end.resume();
  return ends;
}

/** Lets what was written arrive. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
}

test('a direction that is silent for a minute after the other has ended is cut', async () => {
  const { client, upstream, closings } = startReadTunnel();
  client.end();
  await settle();
  expect(upstream.readableEnded).toBe(true);
  for (let minute = 0; minute < 3; minute++) {
    vi.advanceTimersByTime(59_000);
    upstream.write('still here');
    await settle();
  }
  expect(closings()).toBe(0);
  vi.advanceTimersByTime(59_000);
  await settle();
  expect(closings()).toBe(0);
  vi.advanceTimersByTime(2000);
  await settle();
  expect(closings()).toBe(1);
});

test('an open tunnel that is silent is not cut', async () => {
  const { client, upstream, closings } = startReadTunnel();
  vi.advanceTimersByTime(7 * 24 * 3600 * 1000);
  client.write('hello');
  await settle();
  expect([closings(), upstream.readableEnded]).toEqual([0, false]);
});

test('an end that was told to go and stays is cut after five seconds, whatever it sends', async () => {
  const { client, tunnel, closings } = startReadTunnel();
  tunnel.close(goodbye);
  tunnel.close({ code: 1001, reason: 'twice' });
  for (let second = 0; second < 4; second++) {
    vi.advanceTimersByTime(1000);
    client.write('more');
    await settle();
  }
  expect([client.readableEnded, closings()]).toEqual([true, 0]);
  vi.advanceTimersByTime(1100);
  await settle();
  expect(closings()).toBe(1);
});

test('a tunnel whose ends are both gone leaves no timer', async () => {
  const { client, upstream, closings } = startReadTunnel();
  client.end();
  upstream.end();
  await settle();
  expect(closings()).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});

test('what was read before the upstream broke is delivered, with an end', async () => {
  const { client, upstream, nearUpstream, closings } = startTunnel();
  upstream.write('last words');
  await settle();
  nearUpstream.destroy(new Error('reset'));
  await settle();
  expect(String(client.read())).toBe('last words');
  client.resume();
  client.end('answer to nobody');
  await settle();
  expect([client.readableEnded, closings()]).toEqual([true, 1]);
});

test('a client that was held back is heard again when the upstream has broken', async () => {
  const { client, nearUpstream, closings } = startTunnel();
  client.resume();
  for (let count = 0; count < 10; count++) client.write(Buffer.alloc(100_000));
  await settle();
  expect(client.writableLength).toBeGreaterThan(0);
  nearUpstream.destroy(new Error('reset'));
  client.end();
  await settle();
  expect(closings()).toBe(1);
});

test('a client that was held back is heard again when the tunnel is closed', async () => {
  const { client, upstream, tunnel } = startTunnel();
  client.resume();
  for (let count = 0; count < 10; count++) client.write(Buffer.alloc(100_000));
  await settle();
  expect(client.writableLength).toBeGreaterThan(0);
  tunnel.close(goodbye);
  await settle();
  expect([client.writableLength, client.readableEnded]).toEqual([0, true]);
  expect(upstream.readableEnded).toBe(false);
});

test('an upstream that was held back is heard again when the tunnel is closed', async () => {
  const { client, upstream, tunnel } = startTunnel();
  upstream.resume();
  // Whole frames, so that the tunnel need not wait for an end.
  const frame = Buffer.concat([Buffer.from([0x82, 126, 0xea, 0x60]), Buffer.alloc(60_000)]);
  for (let count = 0; count < 10; count++) upstream.write(frame);
  await settle();
  expect(upstream.writableLength).toBeGreaterThan(0);
  tunnel.close(goodbye);
  await settle();
  expect([upstream.writableLength, upstream.readableEnded]).toEqual([0, true]);
  expect(client.readableEnded).toBe(false);
});
