/**
 * The unlucky operator's story: "I gave the container 512 MB. The manual says that the cache of sessions takes 64 MB at
 * most, and counts. But our domain has a shop, analytics and three experiments on it: browsers send 28 kB of cookies with
 * every call, of which one kilobyte is the session. At noon, with ten thousand people, the container is killed." A few
 * characters that are cut out of a header keep the whole header alive.
 *
 * Must hold: a session that is kept costs about what its own cookie is long, whatever came along with it.
 */
import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import { cookieNames, writeSessionCookie } from '../../src/session/cookies.ts';
import { createSealer } from '../../src/session/seal.ts';
import { writeSession } from '../../src/session/session.ts';
import { BrowserClient } from '../support/browser-client.ts';
import { startMeasured, type SeparateServer } from '../support/separate-server.ts';
import { acceptWebSockets } from '../support/web-socket.ts';
import { Wire } from '../support/wire.ts';
import { startWorld, within, type World } from '../support/world.ts';

const warmUp = 150;
const visits = 400;

interface Measured {
  readonly world: World;
  readonly server: SeparateServer;
  readonly client: BrowserClient;
}

async function startMeasuredWorld(session: Record<string, unknown> = {}): Promise<Measured> {
  const world = await startWorld();
  const server = await startMeasured({
    ...world.config,
    listen: { port: 0 },
    api: [{ path: '/api', target: world.api.url, websocket: true }],
    session,
  });
  const client = world.client();
  client.routeTo(server.port);
  return { world, server, client };
}

/** What a browser sends beside the session: of everybody something else. */
function otherCookies(bytes: number): string {
  let header = '';
  for (let index = 0; header.length < bytes; index += 1) header += `_shop${index}=${randomBytes(60).toString('hex')}; `;
  return header.slice(0, bytes);
}

/** The cookies of somebody's session, of `tokenBytes` that don't compress. */
async function sessionCookies(world: World, tokenBytes: number): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const sealer = createSealer(world.config.secrets, 'session');
  const sealed = await sealer.seal(
    writeSession({
      id: randomBytes(16).toString('base64url'),
      generation: 0,
      createdAt: now,
      sealedActivityAt: now,
      tokensIssuedAt: now,
      userInfo: undefined,
      tokens: {
        accessToken: randomBytes(tokenBytes).toString('base64url'),
        idToken: `e30.${Buffer.from('{"sub":"alice"}').toString('base64url')}.c2ln`,
        refreshToken: randomBytes(32).toString('base64url'),
        accessTokenExpiresAt: now + 3600,
      },
    }),
  );
  const lines = writeSessionCookie(sealed, 3600, undefined, cookieNames(resolveConfig(world.config))) ?? [];
  return lines.map((line) => line.split(';')[0]).join('; ');
}

/** The bytes that are kept for each of many visits. */
async function keptOf({ server }: Measured, visit: () => Promise<void>): Promise<number> {
  const held = async () => {
    const { heap, buffers } = await server.gauges();
    return heap + buffers;
  };
  for (let count = 0; count < warmUp; count += 1) await visit();
  const before = await held();
  for (let count = 0; count < visits; count += 1) await visit();
  return ((await held()) - before) / visits;
}

type Ask = (client: BrowserClient, headers: Record<string, string>) => Promise<{ status: number }>;

const asks: [string, Ask][] = [
  ['a call of the API', (client, headers) => client.fetch('/api/me', { headers })],
  ['a read of the session', (client, headers) => client.fetch('/bff/session', { headers })],
  ['a sign-in', (client, headers) => client.navigate('/bff/login', { headers, follow: false })],
];

test.each(asks)(
  'a session that comes with %s',
  async (_, ask) => {
    const measured = await startMeasuredWorld();
    const { world, client } = measured;
    let length = 0;
    const kept = await keptOf(measured, async () => {
      const cookies = await sessionCookies(world, 500);
      length = cookies.length;
      const cookie = `${otherCookies(26_000)}; ${cookies}; ${otherCookies(500)}`;
      const { status } = await ask(client, { cookie });
      if (status >= 400) throw new Error(`refused: ${status}`);
      client.seen.length = 0;
    });
    expect(length).toBeGreaterThan(800);
    expect(kept).toBeLessThan(4 * length + 3000);
  },
  60_000,
);

test.each([
  ['in several cookies', 3500, {}],
  ['whose idle time is counted', 500, { idleSeconds: 1800 }],
] as const)(
  'a session %s',
  async (_, tokenBytes, session) => {
    const measured = await startMeasuredWorld(session);
    const { world, client } = measured;
    let length = 0;
    const kept = await keptOf(measured, async () => {
      const cookies = await sessionCookies(world, tokenBytes);
      length = cookies.length;
      const cookie = `${otherCookies(29_000 - length)}; ${cookies}; ${otherCookies(500)}`;
      const { status } = await client.fetch('/api/me', { headers: { cookie } });
      if (status !== 200) throw new Error(`refused: ${status}`);
      client.seen.length = 0;
    });
    expect(length).toBeGreaterThan(tokenBytes * 1.3);
    expect(kept).toBeLessThan(4 * length + 3000);
  },
  60_000,
);

test('a stranger’s cookies, which open nothing, are not kept at all', async () => {
  const measured = await startMeasuredWorld();
  const { world, client } = measured;
  const kept = await keptOf(measured, async () => {
    const cookies = await sessionCookies(world, 500);
    const spoilt = cookies.replace(/.{20}$/, randomBytes(10).toString('hex'));
    const { status } = await client.fetch('/api/me', { headers: { cookie: `${spoilt}; ${otherCookies(26_000)}` } });
    if (status !== 401) throw new Error(`taken: ${status}`);
    client.seen.length = 0;
  });
  expect(kept).toBeLessThan(3000);
}, 60_000);

test('an open WebSocket keeps no header of the request that opened it', async () => {
  const measured = await startMeasuredWorld();
  const { world, server } = measured;
  acceptWebSockets(world.api);
  const cookies = await sessionCookies(world, 500);

  async function heldBy(count: number, cookie: () => string): Promise<number> {
    const before = await server.gauges();
    for (let opened = 0; opened < count; opened += 1) {
      const wire = new Wire(server.port);
      onTestFinished(() => void wire.socket.destroy());
      wire.write(
        `GET /api/socket HTTP/1.1\r\nHost: ${new URL(world.origin).host}\r\nOrigin: ${world.origin}\r\n` +
          `Cookie: ${cookie()}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes('101 Switching Protocols')),
        'the socket did not open',
      );
    }
    const after = await server.gauges();
    return (after.heap + after.buffers - before.heap - before.buffers) / count;
  }

  await heldBy(100, () => cookies);
  const small = await heldBy(300, () => cookies);
  const large = await heldBy(300, () => `${otherCookies(26_000)}; ${cookies}`);
  expect(large - small).toBeLessThan(5000);
}, 60_000);
