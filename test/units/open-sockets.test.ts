/** The register of open WebSockets: what it knows of a session that the cache forgot, and what it holds on to. */
import { once } from 'node:events';
import { duplexPair, type Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { createEvents } from '../../src/events.ts';
import { createOpenSockets } from '../../src/proxy/websocket/open-sockets.ts';
import { createSessionBoundList } from '../../src/session/session-bound.ts';
import { Tunnel } from '../../src/proxy/websocket/tunnel.ts';
import { createSessions } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { nowSeconds } from '../../src/clock.ts';
import { fakeDateAndIntervals } from '../support/clock.ts';
import { cookieOf } from '../support/two-instances.ts';

beforeEach(() => fakeDateAndIntervals());

function setUp() {
  const config = resolveConfig({
    origin: 'http://localhost:3000',
    issuer: 'http://localhost:4000',
    client: { id: 'app', secret: 'not much of one' },
    secrets: ['a sealing secret of more than 32 characters'],
    session: { idleSeconds: 100 },
  });
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  const events = createEvents();
  const sessions = createSessions(config, { store, events });
  const bound = createSessionBoundList({ sessions, events });
  return { sessions, events, bound, openSockets: createOpenSockets(bound) };
}

function begin(sessions: ReturnType<typeof setUp>['sessions'], accessToken: string) {
  const accessTokenExpiresAt = nowSeconds() + 3600;
  return sessions.begin(
    { accessToken, idToken: 'e30.e30.c2lnbmF0dXJl', refreshToken: 'refresh', accessTokenExpiresAt },
    undefined,
  );
}

/** The far ends of a client and an upstream, and the near ones. */
function ends(): { client: Duplex; upstream: Duplex; nearClient: Duplex; nearUpstream: Duplex } {
  const [client, nearClient] = duplexPair();
  const [upstream, nearUpstream] = duplexPair();
  for (const end of [client, upstream]) end.resume().on('end', () => end.end());
  return { client, upstream, nearClient, nearUpstream };
}

test('calls keep a socket open also when the cache has forgotten its session in between', async () => {
  const { sessions, openSockets } = setUp();
  const entry = await begin(sessions, 'small');
  const cookie = cookieOf(entry);
  const { client, nearClient, nearUpstream } = ends();
  openSockets.add(nearClient, nearUpstream, entry);
  // Sessions that fill the cache.
  for (let count = 0; count < 50; count++) await begin(sessions, 'x'.repeat(1_500_000));
  for (let call = 0; call < 3; call++) {
    vi.advanceTimersByTime(80_000);
    const opened = await sessions.open(cookie);
    if (opened.state !== 'active') throw new Error('the session is over');
    expect(opened.entry).toBe(entry);
    await sessions.touch(opened.entry);
  }
  vi.advanceTimersByTime(1200);
  await nextTurn();
  expect(client.readableEnded).toBe(false);
  const ended = once(client, 'end');
  await vi.advanceTimersByTimeAsync(101_000);
  await ended;
});

/** In a function of its own: what is on the stack counts as held. */
async function openAndClose(count: number, add: (client: Duplex, upstream: Duplex) => void): Promise<void> {
  const pairs = Array.from({ length: count }, ends);
  for (const { nearClient, nearUpstream } of pairs) add(nearClient, nearUpstream);
  expect(queryObjects(Tunnel, { format: 'count' })).toBeGreaterThanOrEqual(count);
  for (const { client } of pairs) client.end();
  await Promise.all(pairs.flatMap(({ client, upstream }) => [once(client, 'close'), once(upstream, 'close')]));
}

test('nothing is left of sockets that are closed', async () => {
  const { sessions, openSockets } = setUp();
  const entry = await begin(sessions, 'small');
  await openAndClose(20, (client, upstream) => openSockets.add(client, upstream, entry));
  await vi.waitFor(() => expect(queryObjects(Tunnel, { format: 'count' })).toBe(0));
});

test('a socket that opens when the server is stopping is told so at once', async () => {
  const { openSockets, bound } = setUp();
  bound.drain();
  const { client, nearClient, nearUpstream } = ends();
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  openSockets.add(nearClient, nearUpstream, undefined);
  await once(client, 'end');
  expect(Buffer.concat(chunks).toString('latin1')).toBe('\x88\x11\x03\xf4service restart');
});

test('the end of a session closes its sockets at once, and no others', async () => {
  const { sessions, events, openSockets } = setUp();
  const [ours, theirs] = [await begin(sessions, 'ours'), await begin(sessions, 'theirs')];
  const [closed, kept] = [ends(), ends()];
  openSockets.add(closed.nearClient, closed.nearUpstream, ours);
  openSockets.add(kept.nearClient, kept.nearUpstream, theirs);
  events.emit({ type: 'session.ended', session: ours.sessionHash, reason: 'logout', remote: false });
  await Promise.all([once(closed.client, 'close'), once(closed.upstream, 'close')]);
  expect([kept.client.readableEnded, kept.upstream.readableEnded]).toEqual([false, false]);
});

test('a session that turns out to have ended elsewhere closes its sockets soon', async () => {
  const { sessions, openSockets } = setUp();
  const entry = await begin(sessions, 'small');
  const { client, nearClient, nearUpstream } = ends();
  openSockets.add(nearClient, nearUpstream, entry);
  const ended = once(client, 'end');
  entry.ended = 'logout';
  vi.advanceTimersByTime(1000);
  await ended;
  expect(client.readableEnded).toBe(true);
});
