/**
 * The eavesdropper's story: "A page that is open on another site, or on a sibling subdomain whose requests carry even
 * Strict cookies, opens the stream of session events and learns who the victim is and when they leave."
 *
 * The hoarder's: "A stream never ends by itself. With one stolen cookie I open hundreds, read none of them, and hold the
 * server's descriptors and memory; or I open them and go in the very moment in which something is written."
 *
 * The squatter's: "With a stream open, the session that its owner forgot lives for ever."
 *
 * Must hold: nobody but the app's own origin is told anything; a session has twenty streams; what is not read is cut off
 * and not kept; a client that goes takes nothing along; and an open stream is no call (`journeys/session-events.test.ts`).
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { SessionView } from '../../src/session-view.ts';
import { expireAccessToken, fakeDate, fakeDateAndIntervals } from '../support/clock.ts';
import { startMeasured } from '../support/separate-server.ts';
import { follow } from '../support/session-events.ts';
import { callHead, Wire } from '../support/wire.ts';
import { signIn, startSignedIn, startWorld, type SignedInWorld } from '../support/world.ts';

describe('who is not the app', () => {
  let world: SignedInWorld;

  beforeAll(async () => {
    const started = await startWorld({}, { scope: 'manual' });
    const browser = started.client();
    await signIn(browser);
    world = Object.assign(started, { browser });
  });
  afterAll(() => world.stop());

  test.each<[story: string, headers: Record<string, string | null>]>([
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }],
    ['another site, without an Origin', { 'sec-fetch-site': 'cross-site' }],
    ['a sibling subdomain', { 'sec-fetch-site': 'same-site' }],
    ['what no page caused, or a sibling has loaded ahead', { 'sec-fetch-site': 'none' }],
    ['another origin that says same-origin', { origin: 'https://evil.test' }],
    ['no browser, without a proof', { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null }],
  ])('is told nothing: %s', async (_story, headers) => {
    const tab = await follow(world.browser, { port: world.server.port, headers });
    await tab.until(({ end }) => end !== undefined);
    expect([tab.status, JSON.parse(tab.text)]).toMatchObject([403, { code: 'request_forbidden' }]);
    expect(tab.text).not.toContain('alice');
    expect(tab.headers).not.toHaveProperty('access-control-allow-origin');
  });

  test.each<[story: string, headers: Record<string, string | null>]>([
    ['an older browser, by its Referer', { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null }],
    ['a script with X-CSRF', { 'sec-fetch-site': null, 'x-csrf': '1' }],
  ])('but the app is: %s', async (_story, headers) => {
    const referer = `${world.origin}/page`;
    const tab = await follow(world.browser, { port: world.server.port, headers: { referer, ...headers } });
    expect((await tab.event(0)).content).toMatchObject({ user: { sub: 'alice' } });
    tab.leave();
  });

  test('a cookie that was tampered with opens a stranger’s stream, which ends at once', async () => {
    const cookie = world.browser.cookieHeader() ?? '';
    const middle = Math.floor(cookie.length / 2);
    const tampered = `${cookie.slice(0, middle)}${cookie[middle] === 'a' ? 'b' : 'a'}${cookie.slice(middle + 1)}`;
    const tab = await follow(world.browser, { port: world.server.port, headers: { cookie: tampered } });
    await tab.until(({ end }) => end === 'complete');
    expect(tab.events.map(({ content }) => content)).toEqual([{ authenticated: false, loginUrl: '/bff/login' }]);
  });
});

test('where each call must have the header, a stream must have it, too', async () => {
  const { client, server } = await startWorld({ config: { csrf: { requireHeader: true } } });
  const browser = client();
  await browser.navigate('/bff/login?login_hint=alice');
  expect((await follow(browser, { port: server.port })).status).toBe(403);
  expect((await follow(browser, { port: server.port, headers: { 'x-csrf': '1' } })).status).toBe(200);
});

test('hundreds of streams of one cookie hold the descriptors of twenty', async () => {
  const world = await startWorld();
  await world.server.close();
  const server = await startMeasured(world.config, { descriptors: 120 });
  const [thief, other] = [world.client(), world.client()];
  await signIn(thief);
  await signIn(other, 'bob');
  for (let round = 0; round < 15; round += 1) {
    const opened = await Promise.all(Array.from({ length: 20 }, () => follow(thief, { port: server.port })));
    for (const stream of opened) await stream.event(0);
  }
  // The connections of those that were ended stay for a next call, until the client closes them.
  const { descriptors } = await server.gauges();
  expect(descriptors).toBeLessThan(80);
  expect((await other.fetch('/bff/session')).at('authenticated')).toBe(true);
  expect(server.death).toBeUndefined();
});

test('a client that does not read is cut off, and who reads hears on', { timeout: 60_000 }, async () => {
  fakeDate();
  // An event fills more than a connection takes unread.
  const groups = [' '.repeat(8_000_000)];
  const { browser, server, logs } = await startSignedIn({ sessionView: () => ({ groups }) });
  const tab = await follow(browser, { port: server.port });
  await tab.event(0, 15);
  const wire = new Wire(server.port);
  onTestFinished(() => void wire.socket.destroy());
  wire.socket.pause();
  wire.write(`${callHead(browser, 'GET', '/bff/events')}\r\n`);
  await browser.fetch('/bff/session');
  const isCut = () => logs.some((line) => line.includes('/bff/events') && line.includes('"aborted":true'));
  expect(isCut()).toBe(false);
  expireAccessToken();
  await browser.fetch('/api/me');
  await vi.waitFor(() => expect(isCut()).toBe(true), { timeout: 15_000 });
  await tab.event(1, 15);
  expect(tab.end).toBeUndefined();
});

test('a client that has not taken what came before is cut off by the next heartbeat', async () => {
  fakeDateAndIntervals();
  const groups = [' '.repeat(8_000_000)];
  const { browser, server, logs } = await startSignedIn({ sessionView: () => ({ groups }) });
  const wire = new Wire(server.port);
  onTestFinished(() => void wire.socket.destroy());
  wire.socket.pause();
  wire.write(`${callHead(browser, 'GET', '/bff/events')}\r\n`);
  await browser.fetch('/bff/session');
  vi.advanceTimersByTime(25_000);
  await vi.waitFor(() =>
    expect(logs.some((line) => line.includes('/bff/events') && line.includes('"aborted":true'))).toBe(true),
  );
});

test('clients that go at any moment leave nothing behind, and end nobody else’s stream', async () => {
  const world = await startWorld();
  await world.server.close();
  const server = await startMeasured(world.config);
  const browser = world.client();
  await signIn(browser);
  const head = `${callHead(browser, 'GET', '/bff/events')}\r\n`;
  const leavings = [
    ({ socket }: Wire) => socket.resetAndDestroy(),
    ({ socket }: Wire) => socket.destroy(),
    ({ socket }: Wire) => socket.end(),
  ];
  const kept = await follow(browser, { port: server.port });
  await kept.event(0);
  for (let round = 0; round < 60; round += 1) {
    const wire = new Wire(server.port);
    wire.write(head.slice(0, round % 2 === 0 ? head.length : head.length - 2));
    if (round % 4 === 0) await wire.until(({ bytes }) => bytes.includes('event: session'));
    leavings[round % leavings.length]?.(wire);
    if (round % 4 === 0) await browser.fetch('/bff/refresh', { method: 'POST' });
  }
  expect(kept.end).toBeUndefined();
  await browser.fetch('/bff/logout', { method: 'POST' });
  expect((await kept.signedOut()).content).toEqual({ reason: 'logout' });
  const { warnings, faults, descriptors } = await server.gauges();
  expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
  expect(descriptors).toBeLessThan(60);
  expect(server.death).toBeUndefined();
});

test('a program’s view of the claims that fails ends streams, and no process', async () => {
  let fails = false;
  const sessionView = ({ sub }: Readonly<Record<string, unknown>>) => {
    if (fails) throw new Error('the view fails');
    return { sub };
  };
  const { browser, server } = await startSignedIn({ sessionView });
  const tab = await follow(browser, { port: server.port });
  const { user } = (await tab.event(0)).content as Extract<SessionView, { authenticated: true }>;
  expect(user).toEqual({ sub: 'alice' });
  fails = true;
  await browser.fetch('/bff/refresh', { method: 'POST' });
  await tab.until(({ end }) => end === 'complete');
  expect(tab.events).toHaveLength(1);
  const late = await follow(browser, { port: server.port });
  expect([late.status, late.headers['content-type']]).toEqual([500, 'application/problem+json']);
  fails = false;
  await (await follow(browser, { port: server.port })).event(0);
});
