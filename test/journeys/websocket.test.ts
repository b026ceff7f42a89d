/** WebSockets of the app: what an open one carries, and with which token it is opened. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { listen } from '../support/listener.ts';
import { makeCertificate } from '../support/tls.ts';
import {
  beginSocket,
  closeOf,
  nextMessage,
  openSocket,
  refusalOf,
  startSocketWorld,
  withRoute,
  tokenOf,
} from '../support/web-socket.ts';
import { rawClient, switched, rawPair, everything } from '../support/raw-web-socket.ts';
import { signIn, startWorld, within } from '../support/world.ts';

describe('an open socket', () => {
  test('carries messages of any kind and size both ways', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    for (const message of ['hello', Buffer.from([0, 255, 1]), '', Buffer.alloc(3_000_000, 'x')]) {
      const answer = nextMessage(socket);
      socket.send(message);
      expect((await answer).equals(Buffer.from(message))).toBe(true);
    }
    socket.terminate();
  });

  test('was opened with the access token, and without what the browser says about itself', async () => {
    const world = await startSocketWorld();
    await world.browser.fetch('/bff/session');
    const { socket } = await openSocket(world, world.browser, {
      path: '/api/rooms/1?x=%20y',
      headers: { authorization: 'Bearer forged', 'x-forwarded-for': '6.6.6.6', X_User: 'root', 'x-kept': 'yes' },
    });
    const { request } = await world.sockets.accepted();
    expect(request.url).toBe('/rooms/1?x=%20y');
    expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
    expect(request.headers).toMatchObject({
      'x-kept': 'yes',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': new URL(world.origin).host,
      'x-forwarded-proto': 'http',
      host: new URL(world.api.url).host,
      origin: world.origin,
    });
    expect(Object.keys(request.headers)).not.toContain('cookie');
    expect(Object.keys(request.headers)).not.toContain('x_user');
    socket.terminate();
    world.assertNoSecrets();
  });

  test('has the sub-protocol and the extensions that both ends agree on', async () => {
    const world = await startSocketWorld(
      {},
      { perMessageDeflate: { threshold: 0 }, handleProtocols: (offered) => [...offered].at(-1) ?? false },
    );
    const { socket, answer } = await openSocket(world, world.browser, { protocols: ['graphql-ws', 'chat.v2'] });
    const { socket: atApi } = await world.sockets.accepted();
    expect([socket.protocol, atApi.protocol]).toEqual(['chat.v2', 'chat.v2']);
    expect([socket.extensions, atApi.extensions]).toEqual(['permessage-deflate', 'permessage-deflate']);
    expect(answer.headers['set-cookie']).toBeUndefined();
    const echoed = nextMessage(socket);
    socket.send('x'.repeat(100_000));
    expect((await echoed).length).toBe(100_000);
    socket.terminate();
  });

  test('is closed with the code and reason that either end gives', async () => {
    const world = await startSocketWorld();
    const first = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const seenByApi = closeOf(atApi);
    first.socket.close(4000, 'enough');
    expect(await seenByApi).toEqual({ code: 4000, reason: 'enough' });

    const second = await openSocket(world, world.browser);
    const seenByClient = closeOf(second.socket);
    (await world.sockets.accepted()).socket.close(1008, 'policy');
    expect(await seenByClient).toEqual({ code: 1008, reason: 'policy' });
  });

  test('passes pings and pongs untouched', async () => {
    const world = await startSocketWorld();
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const answers = Promise.all([once(socket, 'pong'), once(atApi, 'pong')]);
    socket.ping('from the client');
    atApi.ping('from the API');
    const [[toClient], [toApi]] = (await within(5, answers, 'no pong')) as [[Buffer], [Buffer]];
    expect([toClient.toString(), toApi.toString()]).toEqual(['from the client', 'from the API']);
    socket.terminate();
  });

  test('is let go by the API when the client vanishes, and by the client when the API does', async () => {
    const world = await startSocketWorld();
    const first = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    const seenByApi = closeOf(atApi);
    first.socket.terminate();
    expect((await seenByApi).code).toBe(1006);

    const second = await openSocket(world, world.browser);
    const seenByClient = closeOf(second.socket);
    (await world.sockets.accepted()).socket.terminate();
    expect((await seenByClient).code).toBe(1006);
  });

  test('holds a fast API back when the client reads slowly', async () => {
    const world = await startSocketWorld({}, { echo: false });
    const { socket } = await openSocket(world, world.browser);
    const atApi = (await world.sockets.accepted()).socket;
    socket.pause();
    const message = Buffer.alloc(1_000_000, 'x');
    const count = 40;
    for (let sent = 0; sent < count; sent++) atApi.send(message);
    await vi.waitFor(async () => {
      const before = atApi.bufferedAmount;
      await sleep(200);
      expect(atApi.bufferedAmount).toBe(before);
    });
    // What the kernel's buffers don't hold waits at the API, and not in Sallyport.
    expect(atApi.bufferedAmount).toBeGreaterThan(20_000_000);
    let received = 0;
    const all = new Promise<void>((resolve) => {
      socket.on('message', () => {
        if (++received === count) resolve();
      });
    });
    socket.resume();
    await within(10, all, 'not everything came');
    socket.terminate();
  });
});

test('an API behind TLS is reached with the route’s own authority, half-closes included', async () => {
  const { key, cert, file } = await makeCertificate();
  const world = await startWorld();
  const server = createServer({ key, cert, allowHalfOpen: true });
  const port = await listen(server, 0);
  onTestFinished(() => void server.close());
  await world.restart({ api: [{ path: '/api', target: `https://127.0.0.1:${port}`, caFile: file }] });
  const browser = world.client();
  await signIn(browser);
  const taken = once(server, 'upgrade') as Promise<[IncomingMessage, Duplex]>;
  const client = rawClient(Object.assign(world, { browser }));
  const toClient = everything(client);
  const [request, atApi] = await within(5, taken, 'the API had no upgrade');
  expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
  const toApi = everything(atApi);
  atApi.write(`${switched}hello`);
  await vi.waitFor(() => expect(toClient.text()).toMatch(/hello$/));
  client.end('last words');
  await within(3, toApi.ended, 'the end did not come through');
  expect(toApi.text()).toBe('last words');
  atApi.end('x'.repeat(300_000));
  await within(3, toClient.ended, 'the answer did not come through');
  expect(toClient.text().endsWith('x'.repeat(300_000))).toBe(true);
});

describe('bytes', () => {
  test('that the client sent along with its request reach the API', async () => {
    const world = await startSocketWorld();
    const { atApi } = await rawPair(world, Buffer.from('early bird'));
    const seen = everything(atApi);
    await vi.waitFor(() => expect(seen.text()).toBe('early bird'));
  });

  test('that the API sent along with its answer reach the client', async () => {
    const world = await startSocketWorld();
    const { client } = await rawPair(world, undefined, 'first words');
    const seen = everything(client);
    await vi.waitFor(() => expect(seen.text()).toMatch(/^HTTP\/1\.1 101 [^]*\r\n\r\nfirst words$/));
  });

  test('go on to the client when it has ended its side', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    client.end('last words');
    await within(3, toApi.ended, 'the end did not come through');
    expect(toApi.text()).toBe('last words');
    await sleep(100);
    atApi.end('x'.repeat(500_000));
    await within(3, toClient.ended, 'the answer did not come through');
    expect(toClient.text().length).toBeGreaterThan(500_000);
  });

  test('go on to the API when it has ended its side', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const [toClient, toApi] = [everything(client), everything(atApi)];
    atApi.end('last words');
    await within(3, toClient.ended, 'the end did not come through');
    expect(toClient.text()).toMatch(/last words$/);
    await sleep(100);
    client.end('x'.repeat(500_000));
    await within(3, toApi.ended, 'the answer did not come through');
    expect(toApi.text().length).toBe(500_000);
  });

  test('that were under way are delivered when the API breaks off', async () => {
    const world = await startSocketWorld();
    const { client, atApi } = await rawPair(world);
    const toClient = everything(client);
    await vi.waitFor(() => expect(toClient.text()).toContain('101'));
    client.pause();
    atApi.write('x'.repeat(300_000), () => atApi.destroy());
    await once(atApi, 'close');
    client.resume();
    await within(5, toClient.ended, 'no end came');
    expect(toClient.text().endsWith('x'.repeat(300_000))).toBe(true);
  });
});

describe('websocketTokenProtocol', () => {
  test('offers the token to the API beside the protocols of the client', async () => {
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: 'bearer.' }), {
      handleProtocols: () => 'chat',
    });
    const { socket } = await openSocket(world, world.browser, { protocols: ['chat', 'Bearer.forged'] });
    const { request } = await world.sockets.accepted();
    expect(request.headers['sec-websocket-protocol']).toBe(`chat, bearer.${tokenOf(request)}`);
    expect(socket.protocol).toBe('chat');
    socket.terminate();
  });

  test('writes it in base64url where the prefix says so', async () => {
    const prefix = 'base64url.bearer.authorization.k8s.io.';
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: prefix }), {
      handleProtocols: () => false,
    });
    const { socket } = await openSocket(world, world.browser);
    const { request } = await world.sockets.accepted();
    const offered = request.headers['sec-websocket-protocol'] ?? '';
    expect(Buffer.from(offered.slice(prefix.length), 'base64url').toString()).toBe(tokenOf(request));
    expect(world.provider.secrets.get(tokenOf(request))).toBe('accessToken');
    socket.terminate();
  });

  test('never shows it to the client, also when the API chooses it or refuses', async () => {
    const world = await startSocketWorld(withRoute({ websocketTokenProtocol: 'bearer.' }), {
      handleProtocols: (offered) => [...offered].at(-1) ?? false,
    });
    const { socket, answer } = await openSocket(world, world.browser);
    expect((await world.sockets.accepted()).socket.protocol).toMatch(/^bearer\.eyJ/);
    expect(answer.headers['sec-websocket-protocol']).toBeUndefined();
    socket.terminate();
    world.sockets.handle((request, at) => {
      at.end(`HTTP/1.1 403 No\r\nsec-websocket-protocol: BEARER.${tokenOf(request)}\r\ncontent-length: 0\r\n\r\n`);
      return 'taken';
    });
    const refusal = await refusalOf(beginSocket(world, world.browser));
    expect(refusal.status).toBe(403);
    expect(refusal.headers['sec-websocket-protocol']).toBeUndefined();
  });
});
