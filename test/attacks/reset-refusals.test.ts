/**
 * The attacker's story: "I ask for what must be refused, and am gone before the refusal arrives. Servers write their
 * refusals past everything that would catch an error: somewhere among some hundred resets one finds nobody at home."
 *
 * Must hold: whoever is refused and resets the connection, however often and at whatever moment, ends nothing but it.
 */
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { startMeasured } from '../support/separate-server.ts';
import { signIn, startWorld } from '../support/world.ts';

const upgrading =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const rounds = 500;
const atOnce = 20;

test.each<[story: string, request: (host: string) => string]>([
  ['an upgrade with two hosts', (host) => `GET /api/x HTTP/1.1\r\nHost: ${host}\r\nHost: other\r\n${upgrading}\r\n`],
  ['an upgrade without a host', () => `GET /api/x HTTP/1.1\r\n${upgrading}\r\n`],
  ['an upgrade of HTTP/2', (host) => `GET /api/x HTTP/2.0\r\nHost: ${host}\r\n${upgrading}\r\n`],
  ['an upgrade of HTTP/1.0', (host) => `GET /api/x HTTP/1.0\r\nHost: ${host}\r\n${upgrading}\r\n`],
  ['an upgrade from nowhere', (host) => `GET /api/x HTTP/1.1\r\nHost: ${host}\r\n${upgrading}\r\n`],
  [
    'an upgrade to elsewhere',
    (host) => `GET /nowhere HTTP/1.1\r\nHost: ${host}\r\nOrigin: http://${host}\r\n${upgrading}\r\n`,
  ],
  [
    'an upgrade with a body',
    (host) => `POST /api/x HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\n${upgrading}\r\nhello`,
  ],
  [
    'an upgrade to h2c',
    (host) => `GET /api/x HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`,
  ],
  ['a call with two hosts', (host) => `GET /api/x HTTP/1.1\r\nHost: ${host}\r\nHost: other\r\n\r\n`],
  ['a CONNECT', (host) => `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`],
  ['nonsense', () => 'nonsense\r\n\r\n'],
  ['a head that is too large', (host) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
  [
    'an unknown expectation',
    (host) => `POST /api/x HTTP/1.1\r\nHost: ${host}\r\nExpect: cake\r\nContent-Length: 5\r\n\r\n`,
  ],
])('%s, reset some hundred times, harms nobody', async (_, requestTo) => {
  const world = await startWorld();
  await world.server.close();
  const server = await startMeasured(world.config);
  const browser = world.client();
  await signIn(browser);
  const request = Buffer.from(requestTo(new URL(world.origin).host), 'latin1');

  for (let round = 0; round < rounds && server.death === undefined; round += atOnce) {
    await Promise.all(Array.from({ length: atOnce }, (__, index) => sendAndReset(server.port, request, index)));
  }
  const next = await browser.fetch('/api/next').catch(() => undefined);
  expect(server.death).toBeUndefined();
  expect(next?.status).toBe(200);
  const { warnings, faults, resources } = await server.gauges();
  expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
  expect(resources['TCPSocketWrap'] ?? 0).toBeLessThan(10);
});

/** Resets when the bytes are written, or some turns of the loop later: before, while or after the refusal is written. */
function sendAndReset(port: number, request: Buffer, turns: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(request, () => wait(turns));
    });
    const wait = (left: number) => {
      if (left === 0) socket.resetAndDestroy();
      else setImmediate(() => wait(left - 1));
    };
    socket.on('error', () => socket.destroy());
    socket.once('close', () => resolve());
  });
}
