/** The end of an open WebSocket: with its session, and when the server stops. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { expireAccessToken, fakeDate, fakeDateAndIntervals } from '../support/clock.ts';
import { beginSocket, closeOf, nextMessage, openSocket, refusalOf, startSocketWorld } from '../support/web-socket.ts';
import { switched, nextUpgrade, isCut, rawPair, everything } from '../support/raw-web-socket.ts';
import type { WebSocket } from 'ws';
import { signIn, within } from '../support/world.ts';

/** What is sent through the socket comes back. */
async function expectEcho(socket: WebSocket): Promise<void> {
  const echoed = nextMessage(socket);
  socket.send('alive');
  expect((await echoed).toString()).toBe('alive');
}

describe('when its session ends, a socket is closed with 4401', () => {
  const ended = { code: 4401, reason: 'session ended' };

  test('by a sign-out in another tab, at both ends, and that of another person is not', async () => {
    const world = await startSocketWorld();
    const bob = world.client();
    await signIn(bob, 'bob');
    const bobs = await openSocket(world, bob);
    await world.sockets.accepted();
    const otherTab = world.browser.clone();
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const both = Promise.all([closeOf(socket, 2), closeOf(atApi, 2)]);
    await otherTab.fetch('/bff/logout', { method: 'POST' });
    expect(await both).toEqual([ended, ended]);
    const echoed = nextMessage(bobs.socket);
    bobs.socket.send('still here');
    expect((await echoed).toString()).toBe('still here');
    bobs.socket.terminate();
  });

  test('by a new sign-in that takes its place', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const closed = closeOf(socket, 5);
    await world.browser.navigate('/bff/login', { initiator: world.origin });
    expect(await closed).toEqual(ended);
  });

  test('by a refresh that the provider rejects', async () => {
    fakeDate();
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const closed = closeOf(socket, 3);
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
    expireAccessToken();
    await world.browser.fetch('/api/x');
    expect(await closed).toEqual(ended);
  });

  test.each([
    ['lifetime', { lifetimeSeconds: 1000 }, 999_000],
    ['idle timeout, whatever frames pass,', { idleSeconds: 1000 }, 999_000],
  ])('by its %s', async (_title, session, almostMs) => {
    fakeDateAndIntervals();
    const world = await startSocketWorld({ config: { session } });
    const { socket } = await openSocket(world, world.browser);
    vi.advanceTimersByTime(almostMs - 100_000);
    await expectEcho(socket);
    // Two looks of the sweep later.
    vi.advanceTimersByTime(2100);
    await expectEcho(socket);
    expect(socket.readyState).toBe(socket.OPEN);
    const closed = closeOf(socket, 3);
    await vi.advanceTimersByTimeAsync(102_000);
    expect(await closed).toEqual(ended);
  });

  test('but not by the idle timeout while calls are made', async () => {
    fakeDateAndIntervals();
    const world = await startSocketWorld({ config: { session: { idleSeconds: 100 } } });
    const { socket } = await openSocket(world, world.browser);
    for (let call = 0; call < 3; call++) {
      vi.advanceTimersByTime(80_000);
      expect((await world.browser.fetch('/api/x')).status).toBe(200);
    }
    vi.advanceTimersByTime(1100);
    await expectEcho(socket);
    expect(socket.readyState).toBe(socket.OPEN);
    socket.terminate();
  });

  test('even while it was still being opened, and no refresh on the way revives it', async () => {
    fakeDate();
    const world = await startSocketWorld();
    expireAccessToken();
    const taken = nextUpgrade(world.sockets);
    const socket = beginSocket(world, world.browser);
    const refusal = refusalOf(socket);
    const atApi = await taken;
    const toApi = everything(atApi);
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    atApi.write(switched);
    expect(JSON.parse((await refusal).body)).toMatchObject({ code: 'session_expired' });
    expect(world.provider.calls.refresh).toBe(1);
    expect((await refusal).setCookies).toEqual([]);
    await within(3, toApi.ended, 'the API still waits');
  });

  test('after the frame that was under way', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    const frame = Buffer.concat([Buffer.from([0x82, 126, 0, 200]), Buffer.alloc(200, 'm')]);
    atApi.write(frame.subarray(0, 50));
    await vi.waitFor(() => expect(toClient.text()).toContain('mmm'));
    client.write(Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x61]));
    await vi.waitFor(() => expect(toApi.text()).toContain('a'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    // The client's frame is not brought to its end: nothing of hers reaches the API any more.
    await within(2, toApi.ended, 'the API was not told');
    client.write('bc');
    expect(toClient.text()).not.toContain('session ended');
    atApi.write(Buffer.concat([frame.subarray(50), Buffer.from([0x81, 5]), Buffer.from('later')]));
    await within(2, toClient.ended, 'the client was not told');
    const [, frames] = toClient.text().split('\r\n\r\n');
    expect(frames).toBe(
      `${frame.toString('latin1')}\x88\x0f${String.fromCharCode(4401 >> 8, 4401 & 255)}session ended`,
    );
    expect(toApi.text()).not.toContain('b');
  });

  test('also where the API never ends the frame, and both ends hold on', { timeout: 15_000 }, async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    atApi.write(Buffer.from([0x82, 126, 0, 200, 1, 2, 3]));
    await vi.waitFor(() => expect(toClient.text()).toContain('\x01\x02\x03'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    await within(1, toApi.ended, 'the API was not told');
    await within(8, toClient.ended, 'the client was not let go');
    expect(await Promise.all([isCut(client), isCut(atApi)])).toEqual([true, true]);
  });

  test('and its connection ends when it has answered, so that no proxy in between cuts the answer off', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    await vi.waitFor(() => expect(toClient.text()).toContain('101'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    await vi.waitFor(() => expect(toClient.text()).toContain('session ended'));
    expect(await Promise.race([toClient.ended, sleep(200, 'still open')])).toBe('still open');
    client.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x11, 0x31]));
    await within(1, toClient.ended, 'the connection did not end');
    // The answer was for Sallyport; the API got a Close frame of its own.
    await within(1, toApi.ended, 'the API was not told');
    expect(toApi.text().slice(-21, -19)).toBe('\x88\x8f');
  });

  test('but gets no second Close frame where it has had one', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    atApi.write(Buffer.from([0x88, 2, 0x03, 0xe8]));
    await vi.waitFor(() => expect(toClient.text()).toContain('\x88\x02\x03\xe8'));
    await world.browser.clone().fetch('/bff/logout', { method: 'POST' });
    await within(2, toClient.ended, 'the client was not told');
    expect(toClient.text()).not.toContain('session ended');
  });
});

describe('a server that stops', () => {
  test('tells its clients with 1012 and the API with 1001, and does not wait longer than they take', async () => {
    const world = await startSocketWorld({ config: { drainSeconds: 9 } });
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const both = Promise.all([closeOf(socket), closeOf(atApi)]);
    const startedAt = performance.now();
    await world.server.close();
    expect(performance.now() - startedAt).toBeLessThan(3000);
    expect(await both).toEqual([
      { code: 1012, reason: 'service restart' },
      { code: 1001, reason: 'going away' },
    ]);
  });

  test('cuts what does not let go', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    await vi.waitFor(() => expect(toClient.text()).toContain('101'));
    client.pause();
    atApi.resume();
    await world.server.close();
    client.resume();
    expect(await Promise.all([isCut(client), isCut(atApi)])).toEqual([true, true]);
  });
});
