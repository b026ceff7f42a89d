/** What a tunnel does about time: nobody holds half a connection for ever. */
import { duplexPair, type Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { closeFrame } from '../../src/proxy/websocket/frames.ts';
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

function bye(towardsServer: boolean): Buffer {
  return closeFrame(1000, 'bye', towardsServer);
}

async function isEnded(side: Duplex): Promise<boolean> {
  await settle();
  return side.readableEnded;
}

describe('the connection to a side that was told to close', () => {
  test('ends with its answer, and not before that is whole', async () => {
    const { client, upstream, tunnel } = startReadTunnel();
    tunnel.close(goodbye);
    const answer = bye(true);
    client.write(answer.subarray(0, 4));
    expect([await isEnded(client), await isEnded(upstream)]).toEqual([false, false]);
    client.write(answer.subarray(4));
    expect([await isEnded(client), await isEnded(upstream)]).toEqual([true, false]);
    upstream.write(bye(false));
    expect(await isEnded(upstream)).toBe(true);
  });

  test('ends with an answer that was on its way already', async () => {
    const { client, upstream, tunnel } = startReadTunnel();
    client.write(bye(true));
    upstream.write(bye(false));
    await settle();
    tunnel.close(goodbye);
    expect([await isEnded(client), await isEnded(upstream)]).toEqual([true, true]);
  });

  test('ends without an answer a moment later, the near one sooner', async () => {
    const { client, upstream, tunnel } = startReadTunnel();
    tunnel.close(goodbye);
    vi.advanceTimersByTime(499);
    expect([await isEnded(upstream), await isEnded(client)]).toEqual([false, false]);
    vi.advanceTimersByTime(2);
    expect([await isEnded(upstream), await isEnded(client)]).toEqual([true, false]);
    vi.advanceTimersByTime(1000);
    expect(await isEnded(client)).toBe(true);
  });

  test('waits also where the other side told it, and has gone', async () => {
    const { client, upstream, closings } = startReadTunnel();
    upstream.end(bye(false));
    expect([await isEnded(client), closings()]).toEqual([false, 0]);
    let atUpstream = '';
    upstream.on('data', (chunk: Buffer) => (atUpstream += chunk.toString('latin1')));
    const answer = bye(true);
    client.write(answer);
    expect([await isEnded(client), atUpstream]).toEqual([true, answer.toString('latin1')]);
    client.end();
    expect([await isEnded(upstream), closings()]).toEqual([true, 1]);
  });

  test('waits also where the other side has broken', async () => {
    const { client, upstream, nearUpstream, closings } = startTunnel();
    client.resume();
    upstream.write(bye(false));
    await settle();
    nearUpstream.destroy(new Error('reset'));
    expect(await isEnded(client)).toBe(false);
    client.end(bye(true));
    expect([await isEnded(client), closings()]).toEqual([true, 1]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does not wait for a side that has ended', async () => {
    const { client, upstream, tunnel, closings } = startReadTunnel();
    client.end();
    upstream.end();
    tunnel.close(goodbye);
    await settle();
    expect([client.readableEnded, upstream.readableEnded, closings()]).toEqual([true, true, 1]);
    expect(vi.getTimerCount()).toBe(0);
  });
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
  expect(client.writableLength).toBe(0);
  client.write(closeFrame(4401, '', true));
  await settle();
  expect([client.readableEnded, upstream.readableEnded]).toEqual([true, false]);
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
  expect(upstream.writableLength).toBe(0);
  upstream.write(closeFrame(4401, '', false));
  await settle();
  expect([upstream.readableEnded, client.readableEnded]).toEqual([true, false]);
});
