/** What a tunnel does about time: nobody holds half a connection for ever. */
import { duplexPair, type Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Tunnel } from '../../src/proxy/tunnel.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

interface Ends {
  readonly client: Duplex;
  readonly upstream: Duplex;
  readonly tunnel: Tunnel;
  /** How often the tunnel said that it is closed. */
  readonly closings: () => number;
}

function startTunnel(): Ends {
  const [client, nearClient] = duplexPair();
  const [upstream, nearUpstream] = duplexPair();
  for (const end of [client, upstream]) end.resume();
  let closings = 0;
  const tunnel = new Tunnel(nearClient, nearUpstream, () => {
    closings += 1;
  });
  return { client, upstream, tunnel, closings: () => closings };
}

/** Lets what was written arrive. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await nextTurn();
}

test('a direction that is silent for a minute after the other has ended is cut', async () => {
  const { client, upstream, closings } = startTunnel();
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
  const { client, upstream, closings } = startTunnel();
  vi.advanceTimersByTime(7 * 24 * 3600 * 1000);
  client.write('hello');
  await settle();
  expect([closings(), upstream.readableEnded]).toEqual([0, false]);
});

test('an end that was told to go and stays is cut after five seconds, whatever it sends', async () => {
  const { client, tunnel, closings } = startTunnel();
  tunnel.close({ code: 4401, reason: 'session ended' });
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
  const { client, upstream, closings } = startTunnel();
  client.end();
  upstream.end();
  await settle();
  expect(closings()).toBe(1);
  expect(vi.getTimerCount()).toBe(0);
});
