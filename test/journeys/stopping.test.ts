/** Stopping: load balancers get time to notice, what runs is finished, and nothing that never ends holds the end up. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { accepts, freePort } from '../support/listener.ts';
import { callHead, finalOf, valuesOf, Wire } from '../support/wire.ts';
import { startSignedIn, within, type SignedInWorld } from '../support/world.ts';
import { holdCall } from '../support/held-call.ts';

/** A call that has reached the API. */
interface HeldCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The next call that the API gets, as it comes in. */
function nextCall({ api }: SignedInWorld): Promise<HeldCall> {
  return new Promise((resolve) => {
    api.handleRaw((request, response) => {
      api.handleRaw();
      resolve({ request, response });
    });
  });
}

function openWire({ server }: SignedInWorld): Wire {
  const wire = new Wire(server.port);
  onTestFinished(() => void wire.socket.destroy());
  return wire;
}

/** A call whose bytes on the wire are seen, and the API's side of it. */
async function beginCall(world: SignedInWorld, lines = '', wire = openWire(world)): Promise<HeldCall & { wire: Wire }> {
  const arrived = nextCall(world);
  wire.write(`${callHead(world.browser, 'GET', '/api/held')}${lines}\r\n`);
  return { wire, ...(await within(5, arrived, 'the API got no call')) };
}

async function readinessOf({ server }: SignedInWorld): Promise<unknown> {
  const [live, ready] = await Promise.all(
    ['/livez', '/readyz?verbose'].map(async (path) => fetch(`http://127.0.0.1:${server.opsPort}${path}`)),
  );
  return { live: live?.status, ready: ready?.status, says: await ready?.text() };
}

async function startWithOps(config: Readonly<Record<string, unknown>> = {}): Promise<SignedInWorld> {
  const opsPort = await freePort();
  return startSignedIn({ config: (base) => ({ ...base, listen: { ...base.listen, opsPort }, ...config }) });
}

const closes = { connection: ['close'] };

function connectionOf(wire: Wire, index: number): unknown {
  return { connection: valuesOf(wire.responses[index]?.fields ?? [], 'connection') };
}

describe('while load balancers may still send calls, a server that stops', () => {
  test('says that it is not ready, and serves, also on new connections', async () => {
    const world = await startWithOps({ drainSeconds: 9, drain: { waitSeconds: 1.5 } });
    expect(await readinessOf(world)).toEqual({ live: 200, ready: 200, says: 'ok\n' });
    const startedAt = performance.now();
    const stopped = world.server.close();
    expect(await readinessOf(world)).toEqual({ live: 200, ready: 503, says: 'stopping\n' });
    while (performance.now() - startedAt < 1200) {
      expect((await world.browser.clone().fetch('/api/late')).status).toBe(200);
    }
    await within(3, stopped, 'the server did not stop');
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1500);
    expect(await accepts(world.server.port)).toBe(false);
  });

  test('ends each connection with its next answer, and leaves new ones no second call', async () => {
    const world = await startWithOps({ drainSeconds: 9, drain: { waitSeconds: 2 } });
    const used = openWire(world);
    const head = `${callHead(world.browser, 'GET', '/bff/session')}\r\n`;
    used.write(head);
    await used.until(({ responses }) => responses.length === 1);
    const { wire: running, response } = await beginCall(world);
    const stopped = world.server.close();

    used.write(head);
    expect((await within(1, used.ended(), 'stayed open')).responses).toHaveLength(2);
    expect(connectionOf(used, 0)).toEqual({ connection: ['keep-alive'] });
    expect(connectionOf(used, 1)).toEqual(closes);
    response.end('finished');
    expect(finalOf(await within(1, running.ended(), 'stayed open')).body.toString()).toBe('finished');
    expect(connectionOf(running, 0)).toEqual(closes);
    const fresh = openWire(world);
    fresh.write(head);
    await within(1, fresh.ended(), 'stayed open');
    expect(connectionOf(fresh, 0)).toEqual(closes);
    await within(5, stopped, 'the server did not stop');
  });

  test('ends the connection of an upload that it has read, and reads off one that it refuses before its end', async () => {
    const world = await startWithOps({ drainSeconds: 9, drain: { waitSeconds: 1.5 } });
    const [read, refused] = [openWire(world), openWire(world)];
    const stopped = world.server.close();
    read.write(`${callHead(world.browser, 'POST', '/api/upload')}Content-Length: 4\r\n\r\nbody`);
    expect((await within(1, read.ended(), 'stayed open')).responses[0]?.status).toBe(200);
    expect(connectionOf(read, 0)).toEqual(closes);
    refused.write('POST /api/upload HTTP/1.1\r\nHost: elsewhere\r\nX-CSRF: 1\r\nContent-Length: 100000\r\n\r\nbegin');
    await within(
      1,
      refused.until(({ responses }) => responses.some(({ complete }) => complete)),
      'no answer came',
    );
    refused.write(Buffer.alloc(99_995));
    expect(refused.responses[0]?.status).toBe(401);
    expect(connectionOf(refused, 0)).toEqual({ connection: ['keep-alive'] });
    await within(5, stopped, 'the server did not stop');
  });

  test('keeps WebSockets and event streams, whose clients would come back to it', async () => {
    const world = await startWithOps({ drainSeconds: 9, drain: { waitSeconds: 1 } });
    const { wire, response } = await beginCall(world, 'Accept: text/event-stream\r\n');
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    const stopped = world.server.close();
    await sleep(500);
    response.write('data: 2\n\n');
    await within(
      1,
      wire.until(({ bytes }) => bytes.includes('data: 2\n\n')),
      'the stream was over',
    );
    await within(5, stopped, 'the server did not stop');
    expect(wire.responses[0]?.complete).toBe(true);
  });

  test('stops earlier when a later call says so', async () => {
    const world = await startWithOps({ drainSeconds: 30, drain: { waitSeconds: 30 } });
    const stopped = world.server.close();
    expect(await accepts(world.server.port)).toBe(true);
    await within(2, world.server.close({ waitSeconds: 0 }), 'the server did not stop');
    await within(1, stopped, 'the first caller was not told');
  });
});

test('a server stopped twice has stopped, for both callers, when the running call is answered', async () => {
  const { browser, server, api } = await startSignedIn({ config: { drainSeconds: 10 } });
  const held = await holdCall(api, browser);

  const stopped = [server.close(), server.close()].map((closing) => closing.then(() => 'stopped'));
  const states = () => Promise.all(stopped.map((closing) => Promise.race([closing, nextTurn('running')])));
  expect(await states()).toEqual(['running', 'running']);
  held.finish();
  expect((await held.answer).text).toBe('finished');
  await within(5, Promise.all(stopped), 'the server did not stop');
  await within(1, server.close(), 'a stopped server did not say so');
});

test('a call that never ends is cut when the time is up, or at once when a later call says so', async () => {
  const world = await startSignedIn({ config: { drainSeconds: 30 } });
  const { wire } = await beginCall(world);
  const stopped = world.server.close();
  await sleep(200);
  expect(wire.end).toBe('open');
  await within(2, world.server.close({ drainSeconds: 0 }), 'the server did not stop');
  await within(1, stopped, 'the first caller was not told');
  expect((await wire.ended()).responses).toEqual([]);
});

test('connections without a call hold nothing up: idle ones, and those that a browser has opened ahead', async () => {
  const world = await startSignedIn({ config: { drainSeconds: 20 } });
  const idle = openWire(world);
  idle.write(`${callHead(world.browser, 'GET', '/bff/session')}\r\n`);
  await idle.until(({ responses }) => responses.length === 1);
  const ahead = openWire(world);
  await new Promise((resolve) => ahead.socket.once('connect', resolve));
  await within(2, world.server.close(), 'the server did not stop');
  const ends = (await within(1, Promise.all([idle.ended(), ahead.ended()]), 'stayed open')).map(({ end }) => end);
  expect(ends).toEqual(['closed', 'closed']);
});

test('a call that has arrived on an idle connection is answered, also where the server is late to read it', async () => {
  const world = await startSignedIn();
  const wire = openWire(world);
  const head = `${callHead(world.browser, 'GET', '/api/late')}\r\n`;
  wire.write(head);
  await wire.until(({ responses }) => responses.length === 1);
  const stopped = world.server.close({ waitSeconds: 0.2 });
  await nextTurn();
  // The process is busy at the moment at which idle connections are closed.
  const busyUntil = performance.now() + 400;
  while (performance.now() < busyUntil);
  wire.write(head);
  expect((await within(2, wire.ended(), 'stayed open')).responses.map(({ status }) => status)).toEqual([200, 200]);
  await within(2, stopped, 'the server did not stop');
});

test('a connection made just before still gets its call answered', async () => {
  const world = await startSignedIn({ config: { drainSeconds: 9 } });
  const wire = openWire(world);
  await new Promise((resolve) => wire.socket.once('connect', resolve));
  // The server has taken it.
  await world.browser.fetch('/bff/session');
  const stopped = world.server.close();
  await sleep(150);
  wire.write(`${callHead(world.browser, 'GET', '/bff/session')}\r\n`);
  expect(finalOf(await within(2, wire.ended(), 'no end came')).status).toBe(200);
  await within(3, stopped, 'the server did not stop');
});

describe('an event stream of a client that comes again by itself', () => {
  const events = { 'content-type': 'text/event-stream' };
  const asEventSource = 'Accept: text/event-stream\r\n';

  async function beginStream(headers: Record<string, string>, first: string, lines = asEventSource) {
    const world = await startSignedIn({ config: { drainSeconds: 9 } });
    const call = await beginCall(world, lines);
    call.response.writeHead(200, headers).write(first);
    await within(
      5,
      call.wire.until(({ bytes }) => bytes.includes(first)),
      'nothing of the stream came',
    );
    const upstreamClosed = new Promise<void>((resolve) => call.response.once('close', () => resolve()));
    const stopped = world.server.close();
    const ended = async () => {
      const { complete, body } = finalOf(await within(3, call.wire.ended(), 'the stream did not end'));
      await within(2, upstreamClosed, 'the API was not told');
      await within(2, stopped, 'the server did not stop');
      return { complete, body: body.toString('latin1') };
    };
    return { ...call, ended };
  }

  test('ends between two events, with a hint when to come', async () => {
    const { ended } = await beginStream(events, 'id: 1\ndata: 1\n\n');
    const { complete, body } = await ended();
    expect(complete).toBe(true);
    expect(body).toMatch(/^id: 1\ndata: 1\n\nretry: \d{4}\n\n$/);
  });

  test('ends behind the event under way, and not before', async () => {
    const { response, wire, ended } = await beginStream(events, 'data: 1\n\ndata: half');
    await sleep(300);
    expect(wire.end).toBe('open');
    response.write(' and half\n\ndata: 3\n\n');
    const { complete, body } = await ended();
    expect(complete).toBe(true);
    expect(body).toMatch(/^data: 1\n\ndata: half and half\n\nretry: \d{4}\n\n$/);
  });

  test('ends at once where it is compressed, without words that would not be understood', async () => {
    const { ended } = await beginStream({ ...events, 'content-encoding': 'gzip' }, 'compressed');
    expect(await ended()).toEqual({ complete: true, body: 'compressed' });
  });

  test('ends as it begins, where the API begins it late', async () => {
    const world = await startSignedIn({ config: { drainSeconds: 9 } });
    const { wire, response } = await beginCall(world, asEventSource);
    const stopped = world.server.close();
    await sleep(100);
    response.writeHead(200, events).flushHeaders();
    const { complete, body } = finalOf(await within(3, wire.ended(), 'the stream did not end'));
    expect(complete).toBe(true);
    expect(body.toString()).toMatch(/^retry: \d{4}\n\n$/);
    await within(2, stopped, 'the server did not stop');
  });

  test.each([
    ['a script reads it as an answer', events, 'Accept: */*\r\n'],
    ['it is no event stream', { 'content-type': 'text/plain' }, asEventSource],
  ])('is finished instead where %s', async (_why, headers, lines) => {
    const { response, wire, ended } = await beginStream(headers, 'data: 1\n\n', lines);
    await sleep(300);
    expect(wire.end).toBe('open');
    response.end('data: 2\n\n');
    expect(await ended()).toEqual({ complete: true, body: 'data: 1\n\ndata: 2\n\n' });
  });
});

test('a stopped server has no listener left', async () => {
  const world = await startWithOps();
  const { port, opsPort = 0 } = world.server;
  expect(await Promise.all([port, opsPort].map((each) => accepts(each)))).toEqual([true, true]);
  await world.server.close();
  expect(await Promise.all([port, opsPort].map((each) => accepts(each)))).toEqual([false, false]);
});
