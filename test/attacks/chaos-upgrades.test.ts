/**
 * The vandal's story: "A connection that is to become a WebSocket changes hands three times on its way. I let go of it at
 * every hand-over: before the handshake is whole, while the token is being refreshed, before the API has answered, with
 * frames already behind it, with another request before it in the same packet."
 *
 * Must hold: the process lives on, other people's sockets go on echoing, and no half of a broken pair stays open.
 */
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { assaultWith, oneOf, type Random } from '../support/assault.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { chaosSeconds, chaosSeed, startSiege, type Siege } from '../support/siege.ts';
import { within } from '../support/world.ts';

const patienceMs = (chaosSeconds + 90) * 1000;

let siege: Siege;

beforeAll(async () => {
  siege = await startSiege();
});

afterAll(() => siege.stop());

/** A masked text frame, a ping, a Close frame, a frame that says it is huge, nonsense. */
const frames = [
  Buffer.from([0x81, 0x82, 1, 2, 3, 4, 0x69, 0x6b]),
  Buffer.from([0x89, 0x80, 1, 2, 3, 4]),
  Buffer.from([0x88, 0x82, 1, 2, 3, 4, 2, 0xea]),
  Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4, 5]),
  Buffer.from('nonsense'),
];

function handshake(random: Random): Buffer {
  const target = oneOf(random, ['/api/socket', '/api/socket', '/api/never', '/api/early', '/api/reset', '/nowhere']);
  const upgrading = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n';
  const lines = `Origin: ${siege.world.origin}\r\n${upgrading}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
  return Buffer.from(`${siege.head(random, oneOf(random, ['GET', 'GET', 'GET', 'POST']), target, lines)}\r\n`);
}

function withFrames(random: Random): Buffer {
  return Buffer.concat([handshake(random), oneOf(random, frames), oneOf(random, frames)]);
}

/** Behind something else, or before it, in one packet. */
function inCompany(random: Random): Buffer {
  const others = [
    handshake(random),
    Buffer.from(`${siege.head(random, 'GET', '/bff/login')}\r\n`),
    Buffer.from(`${siege.head(random, 'GET', '/api/small')}\r\n`),
    Buffer.from(`${siege.head(random, 'GET', '/api/events')}\r\n`),
    Buffer.from(`${siege.head(random, 'POST', '/api/sink', 'Content-Length: 5\r\n')}\r\nhello`),
    Buffer.from(`${siege.head(random, 'POST', '/api/sink', 'Content-Length: 70000\r\n')}\r\n${'x'.repeat(70_000)}`),
    Buffer.from(`${siege.head(random, 'POST', '/api/sink', 'Expect: cake\r\nContent-Length: 5\r\n')}\r\nhello`),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  ];
  const company = [oneOf(random, others), handshake(random), oneOf(random, others)];
  return Buffer.concat(random() < 0.8 ? company : company.toReversed());
}

/** Two hosts, another version, another protocol, a body. */
function ambiguous(random: Random): Buffer {
  const text = handshake(random).toString('latin1');
  const [pattern, replacement] = oneOf(random, [
    ['Host: ', 'Host: other\r\nHost: '],
    ['HTTP/1.1', 'HTTP/2.0'],
    ['HTTP/1.1', 'HTTP/1.0'],
    ['Upgrade: websocket', 'Upgrade: h2c'],
    ['Upgrade: websocket', 'Upgrade: h2c, websocket'],
    ['Origin: ', 'Transfer-Encoding: chunked\r\nOrigin: '],
    ['Origin: ', 'Origin: http://other\r\nOrigin: '],
  ] as const);
  return Buffer.from(text.replace(pattern, replacement), 'latin1');
}

test.each<[story: string, of: (random: Random) => Buffer]>([
  ['handshakes', handshake],
  ['sockets', withFrames],
  ['handshakes in company', inCompany],
  ['ambiguous handshakes', ambiguous],
])(
  `%s that break off anywhere harm nobody else (seed ${chaosSeed})`,
  async (_, bytesOf) => {
    const sockets = siege.browsers.map((browser) => openEcho(siege, browser));
    await siege.storm((random) => assaultWith(random, bytesOf(random)), chaosSeconds / 2);
    // Open all the time.
    for (const socket of sockets) {
      expect(await echoOf(await socket)).toBe('still here');
      (await socket).terminate();
    }
    expect(await siege.harm()).toEqual([]);
  },
  patienceMs,
);

async function openEcho({ world, server }: Siege, browser: BrowserClient): Promise<WebSocket> {
  const headers = { cookie: browser.cookieHeader() ?? '', host: new URL(world.origin).host };
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/api/socket`, { origin: world.origin, headers });
  await within(5, once(socket, 'open'), 'the socket did not open');
  return socket;
}

async function echoOf(socket: WebSocket): Promise<string> {
  socket.send('still here');
  const [bytes] = (await within(5, once(socket, 'message'), 'the socket is dead')) as [Buffer];
  return bytes.toString();
}
