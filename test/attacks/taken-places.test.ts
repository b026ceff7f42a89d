/**
 * The attacker's story: "The export takes two calls at a time (`maxConcurrent`), for it is heavy. I sign in, announce two
 * uploads of ten bytes and send five. The API is idle and has heard of neither, but everybody else is told 'too many
 * requests', for as long as I like: it costs me two sockets. And where my places really count, I take more of them than
 * there are: by WebSockets, which nobody counts."
 *
 * Must hold: what counts is what is under way at the API, from the moment it is sent there until its end, WebSockets as
 * long as they are open; whoever merely keeps Sallyport waiting takes nobody's place; and every place comes back once,
 * whatever ended the call.
 */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { WebSocket } from 'ws';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import {
  acceptWebSockets,
  beginSocket,
  closeOf,
  nextMessage,
  openSocket,
  refusalOf,
  type SocketApi,
} from '../support/web-socket.ts';
import { callHead, Wire } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

const places = 2;

interface Crowded {
  readonly world: World;
  readonly alice: BrowserClient;
  readonly bob: BrowserClient;
  readonly sockets: SocketApi;
}

async function startCrowded(): Promise<Crowded> {
  const world = await startWorld({
    config: (base) => {
      const target = String(base.api?.[0]?.target);
      return { ...base, api: [{ path: '/api', target, websocket: true, maxConcurrent: places, timeoutSeconds: 5 }] };
    },
  });
  const [alice, bob] = [world.client(), world.client()];
  await signIn(alice, 'alice');
  await signIn(bob, 'bob');
  return { world, alice, bob, sockets: acceptWebSockets(world.api) };
}

let crowd: Crowded;

beforeEach(async () => {
  fakeDate();
  crowd = await startCrowded();
});

function wireOf(bytes: string): Wire {
  const wire = new Wire(crowd.world.server.port);
  onTestFinished(() => void wire.socket.destroy());
  wire.write(bytes);
  return wire;
}

/** What came was read, and whatever it leads to at once has happened: a later request on its own way was answered. */
async function settled(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await crowd.bob.fetch('/bff/session');
}

/** Calls that are under way at the API until `release`; fails where the API doesn't get all of them. */
async function hold(count: number): Promise<{ release: () => Promise<void> }> {
  const { api } = crowd.world;
  const ends: (() => void)[] = [];
  api.handleRaw((_, response) => {
    response.write('held;');
    ends.push(() => response.end());
  });
  const wires = Array.from({ length: count }, () => wireOf(`${callHead(crowd.bob, 'GET', '/api/held')}\r\n`));
  for (const wire of wires) {
    await within(
      5,
      wire.until(({ bytes }) => bytes.includes('held;')),
      'a place was lost',
    );
  }
  api.handleRaw();
  return {
    async release() {
      for (const end of ends) end();
      for (const wire of wires) await within(5, wire.answered(), 'no end');
    },
  };
}

/** That all places are free, and no more than those. */
async function expectAllPlaces(): Promise<void> {
  await vi.waitFor(async () => expect((await crowd.bob.fetch('/api/free')).status).toBe(200));
  const held = await hold(places);
  const refused = await crowd.bob.fetch('/api/one-more');
  expect([refused.status, refused.headers['retry-after']]).toEqual([429, '1']);
  await held.release();
  await vi.waitFor(async () => expect((await crowd.bob.fetch('/api/free')).status).toBe(200));
}

const unsent: [string, string][] = [
  ['announced and half sent', 'Content-Length: 10\r\n\r\nhello'],
  ['announced and not begun', 'Content-Length: 10\r\n\r\n'],
  ['that asks whether it may be sent', 'Content-Length: 10\r\nExpect: 100-continue\r\n\r\n'],
  ['just small enough to be repeated', `Content-Length: 65536\r\n\r\n${'x'.repeat(60_000)}`],
];

describe('twenty uploads of one person,', () => {
  test.each(unsent)('%s, take nobody’s place', async (_, rest) => {
    const wires = Array.from({ length: 20 }, () => wireOf(`${callHead(crowd.alice, 'POST', '/api/slow')}${rest}`));
    await settled();
    expect(crowd.world.api.requests).toEqual([]);
    expect((await crowd.bob.fetch('/api/quick')).status).toBe(200);
    await expectAllPlaces();
    for (const wire of wires) {
      expect(wire.bytes.toString()).not.toContain('429');
      wire.socket.resetAndDestroy();
    }
    await expectAllPlaces();
  });

  test('are refused when they are whole and the places are taken, and the API hears of none', async () => {
    const held = await hold(places);
    const before = crowd.world.api.requests.length;
    const wires = Array.from({ length: 20 }, () =>
      wireOf(`${callHead(crowd.alice, 'POST', '/api/slow')}Content-Length: 10\r\n\r\nhello`),
    );
    await settled();
    for (const wire of wires) wire.write('world');
    for (const wire of wires) {
      const { responses } = await within(5, wire.answered(), 'no answer');
      expect(responses.at(-1)?.status).toBe(429);
      expect(responses.at(-1)?.body.toString()).toContain('too_many_requests');
    }
    expect(crowd.world.api.requests).toHaveLength(before);
    await held.release();
    await expectAllPlaces();
  });

  test('are served as places come free', async () => {
    const wires = Array.from({ length: places }, () =>
      wireOf(`${callHead(crowd.alice, 'POST', '/api/slow')}Content-Length: 10\r\n\r\nhello`),
    );
    await settled();
    for (const wire of wires) wire.write('world');
    for (const wire of wires) {
      const { responses } = await within(5, wire.answered(), 'no answer');
      expect(responses.at(-1)?.status).toBe(200);
    }
    await expectAllPlaces();
  });
});

describe('calls that wait for the identity provider', () => {
  test('take nobody’s place', async () => {
    const { world, alice, bob } = crowd;
    expireAccessToken();
    expect((await bob.fetch('/api/refreshes')).status).toBe(200);
    const gate = world.provider.hold('refresh');
    const waiting = Array.from({ length: 10 }, () => alice.fetch('/api/waits'));
    await gate.arrived;
    await settled();
    await expectAllPlaces();
    gate.release();
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    // They come free together, and there are two places.
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(places);
    expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([]);
    await expectAllPlaces();
  });

  test('because the API refused their token take nobody’s place either', async () => {
    const { world, alice, bob } = crowd;
    await alice.fetch('/api/known');
    const refused = world.api.last().token;
    world.api.rejectTokens((token) => token === refused);
    const gate = world.provider.hold('refresh');
    const waiting = Array.from({ length: places }, () => alice.fetch('/api/waits'));
    await gate.arrived;
    await settled();
    expect((await bob.fetch('/api/quick')).status).toBe(200);
    gate.release();
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([]);
    await expectAllPlaces();
  });

  test('and whose clients leave meanwhile give back no place that they never had', async () => {
    const { world, alice } = crowd;
    expireAccessToken();
    const gate = world.provider.hold('refresh');
    const wires = Array.from({ length: 10 }, () => wireOf(`${callHead(alice, 'GET', '/api/waits')}\r\n`));
    await gate.arrived;
    for (const wire of wires) wire.socket.resetAndDestroy();
    gate.release();
    await expectAllPlaces();
    expect((await alice.fetch('/api/me')).status).toBe(200);
  });
});

describe('a WebSocket', () => {
  test('takes a place as long as it is open: calls and upgrades beyond are refused', async () => {
    const { world, alice, bob, sockets } = crowd;
    const open: WebSocket[] = [];
    for (let count = 0; count < places; count += 1) {
      open.push((await openSocket(world, alice)).socket);
      await sockets.accepted();
    }
    const call = await bob.fetch('/api/call');
    expect([call.status, call.at('code')]).toEqual([429, 'too_many_requests']);
    const refusal = await refusalOf(beginSocket(world, bob));
    expect([refusal.status, refusal.headers['retry-after']]).toEqual([429, '1']);
    expect(sockets.requests).toHaveLength(places);
    // Those that are open notice nothing.
    for (const socket of open) {
      const echo = nextMessage(socket);
      socket.send('still here');
      expect((await echo).toString()).toBe('still here');
    }
    const [first, ...others] = open;
    first?.close();
    await vi.waitFor(async () => expect((await bob.fetch('/api/call')).status).toBe(200));
    for (const socket of others) socket.terminate();
    await expectAllPlaces();
  });

  test('is refused where calls have taken the places', async () => {
    const held = await hold(places);
    const refusal = await refusalOf(beginSocket(crowd.world, crowd.alice));
    expect(refusal.status).toBe(429);
    expect(crowd.sockets.requests).toEqual([]);
    await held.release();
    const { socket } = await openSocket(crowd.world, crowd.alice);
    socket.close();
    await closeOf(socket);
    await expectAllPlaces();
  });

  test.each<[string, (crowd: Crowded, socket: WebSocket) => Promise<unknown>]>([
    ['its client closes it', async (_, socket) => socket.close()],
    ['its client is gone', async (_, socket) => socket.terminate()],
    ['the API closes it', async ({ sockets }) => (await sockets.accepted()).socket.close()],
    ['the API is gone', async ({ sockets }) => (await sockets.accepted()).socket.terminate()],
    ['the person signs out', ({ alice }) => alice.fetch('/bff/logout', { method: 'POST' })],
  ])('gives its place back once when %s', async (_, end) => {
    for (let count = 0; count < places + 1; count += 1) {
      await signIn(crowd.alice, 'alice');
      const { socket } = await openSocket(crowd.world, crowd.alice);
      const closed = closeOf(socket);
      await end(crowd, socket);
      await closed;
      await vi.waitFor(async () => expect((await crowd.bob.fetch('/api/free')).status).toBe(200));
    }
    await expectAllPlaces();
  });

  test.each<[string, (crowd: Crowded) => void]>([
    [
      'refuses',
      ({ sockets }) =>
        sockets.handle((_, socket) => {
          socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
          return 'taken';
        }),
    ],
    [
      'breaks off',
      ({ sockets }) =>
        sockets.handle((_, socket) => {
          socket.destroy();
          return 'taken';
        }),
    ],
    [
      'switches to something else',
      ({ sockets }) =>
        sockets.handle((_, socket) => {
          socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n');
          return 'taken';
        }),
    ],
    [
      'refuses the token',
      ({ sockets }) =>
        sockets.handle((_, socket) => {
          socket.end(
            'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
          );
          return 'taken';
        }),
    ],
  ])('that the API %s takes no place', async (_, answer) => {
    answer(crowd);
    for (let count = 0; count < places + 1; count += 1) {
      const refusal = await refusalOf(beginSocket(crowd.world, crowd.alice));
      expect([401, 403, 502]).toContain(refusal.status);
    }
    expect(crowd.sockets.requests.length).toBeGreaterThan(places);
    await expectAllPlaces();
  });

  test('that the API refuses takes no place, though its client stays', async () => {
    const { world, alice, bob, sockets } = crowd;
    sockets.handle((_, socket) => {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return 'taken';
    });
    for (let count = 0; count < places; count += 1) {
      const wire = wireOf(
        `${callHead(alice, 'GET', '/api/socket')}Origin: ${world.origin}\r\nConnection: Upgrade\r\n` +
          'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
      await within(
        5,
        wire.until(({ responses }) => responses.some(({ status }) => status === 403)),
        'no answer',
      );
    }
    await settled();
    expect((await bob.fetch('/api/quick')).status).toBe(200);
    await expectAllPlaces();
  });

  test('of a stranger, of another origin, or to nowhere takes none', async () => {
    const { world, alice, client } = { ...crowd, client: crowd.world.client() };
    for (let count = 0; count < places + 1; count += 1) {
      expect((await refusalOf(beginSocket(world, client))).status).toBe(401);
      expect((await refusalOf(beginSocket(world, alice, { origin: 'https://evil.test' }))).status).toBe(403);
      expect((await refusalOf(beginSocket(world, alice, { path: '/nowhere' }))).status).toBe(404);
    }
    await expectAllPlaces();
  });

  test('whose client leaves before the API has answered takes none', async () => {
    const { world, alice, sockets } = crowd;
    const asked = Promise.withResolvers<void>();
    sockets.handle(() => {
      asked.resolve();
      return 'taken';
    });
    for (let count = 0; count < places; count += 1) {
      const socket = beginSocket(world, alice);
      socket.on('error', () => undefined);
      await vi.waitFor(() => expect(sockets.requests).toHaveLength(count + 1));
      socket.terminate();
    }
    await asked.promise;
    await expectAllPlaces();
  });
});

describe('every place comes back, and once, after', () => {
  const ends: [string, (crowd: Crowded) => Promise<unknown>][] = [
    ['an answer', ({ alice }) => alice.fetch('/api/x')],
    ['an answer without a body', ({ alice }) => alice.fetch('/api/x', { method: 'HEAD' })],
    [
      'a second try with a new token',
      async ({ world, alice }) => {
        vi.advanceTimersByTime(61_000);
        world.api.rejectTokens(1);
        expect((await alice.fetch('/api/x')).status).toBe(200);
      },
    ],
    [
      'a second try that is refused, too',
      async ({ world, alice }) => {
        vi.advanceTimersByTime(61_000);
        world.api.rejectTokens(2);
        expect((await alice.fetch('/api/x')).status).toBe(401);
        world.api.rejectTokens(0);
      },
    ],
    [
      'an upload too large to be sent twice',
      async ({ world, alice }) => {
        vi.advanceTimersByTime(61_000);
        world.api.rejectTokens(1);
        expect((await alice.fetch('/api/x', { method: 'PUT', body: 'x'.repeat(100_000) })).status).toBe(401);
      },
    ],
    [
      'an API that is down',
      async ({ world, alice }) => {
        await world.api.down();
        expect((await alice.fetch('/api/x')).status).toBe(502);
        await world.api.up();
      },
    ],
    [
      'a client that left in the middle of the answer',
      async ({ world, alice }) => {
        world.api.handleRaw((_, response) => void response.write('first;'));
        const wire = wireOf(`${callHead(alice, 'GET', '/api/x')}\r\n`);
        await within(
          5,
          wire.until(({ bytes }) => bytes.includes('first;')),
          'no answer',
        );
        wire.socket.resetAndDestroy();
        world.api.handleRaw();
      },
    ],
    [
      'a client that left in the middle of its upload',
      async ({ world, alice }) => {
        const wire = wireOf(`${callHead(alice, 'PUT', '/api/x')}Content-Length: 200000\r\n\r\n${'x'.repeat(70_000)}`);
        await vi.waitFor(() => expect(world.api.inFlight).toBe(1));
        wire.socket.resetAndDestroy();
      },
    ],
    [
      'a refusal before anything was asked of the API',
      async ({ alice }) => {
        const wire = wireOf(`${callHead(alice, 'POST', '/api/../x')}Content-Length: 5\r\n\r\nhello`);
        expect((await within(5, wire.answered(), 'no answer')).responses.at(-1)?.status).toBe(400);
      },
    ],
  ];

  test.each(ends)('%s', async (_, run) => {
    for (let count = 0; count < places + 1; count += 1) {
      await run(crowd);
      await vi.waitFor(async () => expect((await crowd.bob.fetch('/api/free')).status).toBe(200));
    }
    await expectAllPlaces();
  });
});
