/**
 * The attacker's story: "One packet, no account: a request, and behind it, before anything was answered, another that
 * wants the connection for itself, or that must be refused. Most servers hand the connection over, or write the refusal at
 * once, and then have an answer left and nowhere to send it, or send it as the answer to something else."
 *
 * Must hold: what came first is answered first, and whole; an upgrade behind an unanswered request is a call like any
 * other; nothing is read from its middle; the process lives on, and the others see nothing of it.
 */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { startMeasured, type SeparateServer } from '../support/separate-server.ts';
import { callHead, Wire } from '../support/wire.ts';
import { outcomeOf, signIn, startWorld, within, type World } from '../support/world.ts';

let world: World;
let server: SeparateServer;
let browser: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  await world.server.close();
  server = await startMeasured(world.config, {}, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
});

afterEach(async () => {
  // The same process, without a fault of its own, and it serves those who are signed in.
  const next = await outcomeOf(browser.fetch('/api/next'));
  const { warnings, faults } = await server.gauges();
  if (next !== 200 || warnings.length > 0 || faults.length > 0)
    throw new Error([next, ...warnings, ...faults].join('\n'));
});

afterAll(async () => {
  await server.stop();
  await world.stop();
});

const upgrading =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

function strangersUpgrade(): string {
  return `GET /api/socket HTTP/1.1\r\nHost: ${new URL(world.origin).host}\r\nOrigin: ${world.origin}\r\n${upgrading}\r\n`;
}

function ownUpgrade(): string {
  return `${callHead(browser, 'GET', '/api/socket')}Origin: ${world.origin}\r\n${upgrading}\r\n`;
}

function strangersCall(target: string): string {
  const navigation = 'Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n';
  return `GET ${target} HTTP/1.1\r\nHost: ${new URL(world.origin).host}\r\n${navigation}\r\n`;
}

/** The statuses of what is answered to one packet. */
async function statusesOf(packet: string): Promise<number[]> {
  return rawStatuses(await rawRequest(server.port, packet, 400));
}

test('a sign-in is answered when a stranger’s upgrade follows in the same packet', async () => {
  // Now a call like any other, and one that doesn't say whence it comes.
  expect(await statusesOf(strangersCall('/bff/login') + strangersUpgrade())).toEqual([302, 403]);
});

test.each(['/bff/session', '/bff/nothing', '/api/orders', '/', '/missing.js'])(
  '%s is answered when an upgrade follows in the same packet',
  async (target) => {
    const [first] = await statusesOf(strangersCall(target));
    expect(await statusesOf(strangersCall(target) + strangersUpgrade())).toEqual([first, 403]);
  },
);

test('a call is answered when an upgrade follows in the same packet, and the upgrade is a call', async () => {
  expect(await statusesOf(`${callHead(browser, 'GET', '/api/first')}\r\n${ownUpgrade()}`)).toEqual([200, 200]);
  expect(world.api.requests.slice(-2).map(({ url }) => url)).toEqual(['/first', '/socket']);
  expect(world.api.last().headers).not.toHaveProperty('upgrade');
});

test('an upload is answered when an upgrade follows it in the same packet', async () => {
  for (const size of [10, 70_000]) {
    const upload = `${callHead(browser, 'POST', '/api/upload')}Content-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
    expect(await statusesOf(upload + ownUpgrade())).toEqual([200, 200]);
  }
});

test('two upgrades in one packet are one upgrade, whose first bytes are nonsense', async () => {
  expect(await statusesOf(strangersUpgrade() + strangersUpgrade())).toEqual([401]);
  expect((await statusesOf(ownUpgrade() + ownUpgrade())).length).toBeLessThan(2);
});

test('calls behind an upgrade that is none are answered, or the connection ends: nobody waits for ever', async () => {
  const session = strangersCall('/bff/session');
  const packet = session + strangersUpgrade() + session + strangersUpgrade() + session;
  const wire = new Wire(server.port);
  wire.write(packet);
  await within(
    5,
    wire.until(({ responses }) => responses.length >= 2),
    'no answers',
  );
  expect(wire.responses.slice(0, 2).map(({ status }) => status)).toEqual([200, 403]);
  const rest = wire.until(({ responses }) => responses.length === 5).catch(() => undefined);
  await within(5, rest, 'neither answers nor an end');
  wire.socket.destroy();
});

test.each([
  ['to h2c', false, 'Connection: Upgrade\r\nUpgrade: h2c\r\n'],
  ['behind a call', true, upgrading],
])('a request behind an upgrade (%s) that is none is never read from its middle', async (_, isPipelined, lines) => {
  const smuggled = `${callHead(browser, 'GET', '/api/smuggled')}\r\n`;
  const first = isPipelined ? `${callHead(browser, 'GET', '/api/first')}\r\n` : '';
  const noUpgrade = `${callHead(browser, 'GET', '/api/second')}${lines}\r\n`;
  const body = 'x'.repeat(10) + smuggled;
  const third = `${callHead(browser, 'POST', '/api/third')}Content-Length: ${body.length}\r\n\r\n`;
  const wire = new Wire(server.port);
  const seen = world.api.requests.length;
  const paths = () => world.api.requests.slice(seen).map(({ url }) => url);
  wire.write(`${first}${noUpgrade}${third}${body.slice(0, 10)}`);
  await vi.waitFor(() => expect(paths()).toContain('/second'));
  const answered = wire.until(({ responses }) => responses.length === (isPipelined ? 3 : 2));
  wire.write(smuggled);
  await within(5, Promise.race([wire.ended(), answered.catch(() => undefined)]), 'neither an answer nor an end');
  wire.socket.destroy();
  expect((await browser.fetch('/api/own')).status).toBe(200);
  expect(paths()).not.toContain('/smuggled');
});

test.each([
  ['a call', ''],
  ['an upgrade', upgrading],
])('what runs is answered, whole, before %s that is ambiguous is refused', async (_, lines) => {
  const go = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  world.api.handleRaw((_request, response) => {
    response.write('the first half, ');
    arrived.resolve();
    void go.promise.then(() => response.end('and the second'));
  });
  const wire = new Wire(server.port);
  wire.write(`${callHead(browser, 'GET', '/api/begun')}\r\n`);
  await within(5, arrived.promise, 'the call did not arrive');
  await within(
    5,
    wire.until(({ bytes }) => bytes.includes('half')),
    'no answer',
  );
  wire.write(`${callHead(browser, 'GET', '/api/x')}Host: elsewhere\r\n${lines}\r\n`);
  // The server has read it when it has answered another connection.
  await browser.fetch('/bff/session');
  world.api.handleRaw();
  go.resolve();
  const { responses, surplus } = await within(5, wire.ended(), 'the connection stays');
  expect(responses.map(({ status, complete }) => [status, complete])).toEqual([
    [200, true],
    [400, true],
  ]);
  expect(responses[0]?.body.toString()).toBe('the first half, and the second');
  expect(surplus).toHaveLength(0);
});

test('who leaves at once after such a packet harms nobody', async () => {
  const packets = [strangersCall('/bff/login'), `${callHead(browser, 'GET', '/api/first')}\r\n`, strangersCall('/')];
  for (let round = 0; round < 100; round += 1) {
    const packet = `${packets[round % packets.length]}${round % 2 === 0 ? ownUpgrade() : strangersUpgrade()}`;
    await rawRequest(server.port, packet, 1 + (round % 5));
  }
  expect(server.death).toBeUndefined();
});
