/** What flows: events at once, back-pressure and aborts both ways, uploads that the API answers before their end. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createHash } from 'node:crypto';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';
import { callHead, chunked, finalOf, valuesOf, Wire } from '../support/wire.ts';
import { signIn, startSignedIn, within, type World } from '../support/world.ts';

/** A connection to Sallyport; its socket ends with the test. */
function openWire({ server }: World, method?: string): Wire {
  const wire = new Wire(server.port, method);
  onTestFinished(() => void wire.socket.destroy());
  return wire;
}

/** The next call that the API gets, as it comes in. */
function nextCall({ api }: World): Promise<{ request: IncomingMessage; response: ServerResponse }> {
  return new Promise((resolve) => {
    api.handleRaw((request, response) => {
      api.handleRaw();
      resolve({ request, response });
    });
  });
}

/** What a call of a fast API costs on a busy machine: the limits of the issue are far above it, and some. */
const atOnceMs = 100;

/** Milliseconds from the first look until the condition holds. */
async function timeUntil(promise: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await within(5, promise, 'nothing happened');
  return performance.now() - startedAt;
}

function closeOf(stream: IncomingMessage | ServerResponse): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

const mebibyte = 1024 * 1024;

describe('events', () => {
  test('pass one by one, each at once', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/events')}\r\n`);
    const { response } = await call;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const latencies: number[] = [];
    for (let number = 0; number < 60; number += 1) {
      const event = `data: ${number}\n\n`;
      const sentAt = performance.now();
      response.write(event);
      await within(
        5,
        wire.until(({ bytes }) => bytes.includes(event)),
        `event ${number} did not come`,
      );
      latencies.push(performance.now() - sentAt);
    }
    // 20 ms is the promise; the few events that meet a busy machine's pauses are not counted against it.
    expect(latencies.toSorted((a, b) => a - b).at(-5)).toBeLessThan(20);
    response.end();
  });

  test('come behind headers that do not wait for the first of them', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/events')}\r\n`);
    const { response } = await call;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'z-name': 'Zo\u00eb' }).write('', 'latin1');
    await within(
      5,
      wire.until(({ responses }) => responses.length === 1),
      'the headers did not come',
    );
    expect(valuesOf(wire.responses[0]?.fields ?? [], 'content-type')).toEqual(['text/event-stream']);
    expect(valuesOf(wire.responses[0]?.fields ?? [], 'z-name')).toEqual(['Zo\u00eb']);
    expect(wire.responses[0]?.body).toHaveLength(0);
    response.end();
  });

  test('also reach a client of HTTP/1.0', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/events', '1.0')}\r\n`);
    const { response } = await call;
    response.write('data: 1\n\n');
    const came = wire.until(({ responses }) => responses.some(({ body }) => body.length > 0));
    await within(5, came, 'the event did not come');
    expect(wire.responses[0]?.body.toString()).toBe('data: 1\n\n');
    response.end();
  });
});

test('the head of a large answer does not wait for its body', async () => {
  const world = await startSignedIn();
  const call = nextCall(world);
  const wire = openWire(world);
  wire.write(`${callHead(world.browser, 'GET', '/api/large')}\r\n`);
  const { response } = await call;
  response.writeHead(200, { 'content-length': '1000000' }).flushHeaders();
  await within(
    5,
    wire.until(({ responses }) => responses.length === 1),
    'the head did not come',
  );
  expect(wire.responses[0]).toMatchObject({ status: 200, complete: false });
  response.destroy();
});

test('a small answer of unknown length leaves in one packet', async () => {
  const world = await startSignedIn();
  world.api.handleRaw((_, response) => {
    response.write('{"small":');
    response.end('true}');
  });
  const wire = openWire(world);
  for (const number of [1, 2, 3]) {
    wire.write(`${callHead(world.browser, 'GET', '/api/x')}\r\n`);
    await within(
      5,
      wire.until(({ responses }) => responses.filter(({ complete }) => complete).length === number),
      'no answer',
    );
  }
  expect(wire.responses[0]).toMatchObject({ framing: 'chunked', complete: true });
  expect(wire.chunks).toHaveLength(3);
});

describe('the client’s abort reaches the API at once', () => {
  test('amid a stream', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/events')}\r\n`);
    const { response } = await call;
    response.write('data: 1\n\n');
    await wire.until(({ bytes }) => bytes.includes('data: 1'));
    const closed = closeOf(response);
    wire.socket.destroy();
    expect(await timeUntil(closed)).toBeLessThan(atOnceMs);
  });

  test('before the first byte', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/slow')}\r\n`);
    const closed = closeOf((await call).response);
    wire.socket.destroy();
    expect(await timeUntil(closed)).toBeLessThan(atOnceMs);
  });

  test('while it has not read what came', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.socket.pause();
    wire.write(`${callHead(world.browser, 'GET', '/api/much')}\r\n`);
    const { response } = await call;
    response.on('drain', () => response.write(Buffer.alloc(mebibyte)));
    response.write(Buffer.alloc(mebibyte));
    await untilStill(() => response.writableLength + Number(response.socket?.bytesWritten));
    const closed = closeOf(response);
    wire.socket.resetAndDestroy();
    expect(await timeUntil(closed)).toBeLessThan(atOnceMs);
  });

  test('amid an upload that is streamed: the API gets no whole request', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: 1000000\r\n\r\n${'x'.repeat(500_000)}`);
    const { request } = await call;
    const closed = closeOf(request.resume());
    wire.socket.destroy();
    expect(await timeUntil(closed)).toBeLessThan(atOnceMs);
    expect(request.complete).toBe(false);
    await vi.waitFor(() => expect(world.logs.join('\n')).toContain('"aborted":true'));
    expect(world.logs.join('\n')).not.toContain('request failed');
  });

  test('amid an upload that is kept until it is whole: the API hears nothing of it', async () => {
    const world = await startSignedIn();
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: 1000\r\n\r\n${'x'.repeat(500)}`);
    await world.browser.fetch('/bff/session');
    wire.socket.destroy();
    await vi.waitFor(() => expect(world.logs.join('\n')).toContain('"aborted":true'));
    expect(world.api.requests).toEqual([]);
    expect(world.logs.join('\n')).not.toContain('request failed');
  });

  test('while its token was being refreshed: the API hears nothing of it', async () => {
    const world = await startSignedIn();
    fakeDate();
    expireAccessToken();
    const gate = world.provider.hold('refresh');
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/left')}\r\n`);
    await gate.arrived;
    wire.socket.destroy();
    await vi.waitFor(() => expect(world.logs.join('\n')).toContain('"aborted":true'));
    gate.release();
    expect((await world.browser.fetch('/api/stayed')).status).toBe(200);
    expect(world.api.requests.map(({ url }) => url)).toEqual(['/stayed']);
  });
});

describe('the API’s abort reaches the client at once, and as an abort', () => {
  test.each([
    ['chunks', '1.1', {}],
    ['a told length', '1.1', { 'content-length': '1000' }],
    ['a told length in HTTP/1.0', '1.0', { 'content-length': '1000' }],
  ])('amid %s', async (_, version, headers) => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/x', version)}\r\n`);
    const { response } = await call;
    response.writeHead(200, headers).write('some of it');
    await wire.until(({ bytes }) => bytes.includes('some of it'));
    const ended = wire.ended();
    response.destroy();
    expect(await timeUntil(ended)).toBeLessThan(atOnceMs);
    expect(finalOf(await ended).complete).toBe(false);
  });

  test('amid a body that ends with the connection, where only a reset is not its end', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/x', '1.0')}\r\n`);
    const { response } = await call;
    response.write('some of it');
    await wire.until(({ bytes }) => bytes.includes('some of it'));
    const ended = wire.ended();
    response.destroy();
    expect(await timeUntil(ended)).toBeLessThan(atOnceMs);
    expect((await ended).end).toBe('reset');
  });

  test('together with all that came before it', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    wire.write(`${callHead(world.browser, 'GET', '/api/x')}\r\n`);
    const { response } = await call;
    // Head, a chunk and a line that is none, in one packet.
    response.socket?.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n');
    const final = finalOf(await within(5, wire.ended(), 'no abort'));
    expect({ body: final.body.toString(), complete: final.complete }).toEqual({ body: 'abc', complete: false });
  });

  test('amid an upload that it has not read, as a problem', async () => {
    const world = await startSignedIn();
    world.api.handleRaw((request) => request.socket.resetAndDestroy());
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: ${10 * mebibyte}\r\n\r\n`);
    wire.write(Buffer.alloc(10 * mebibyte));
    const final = finalOf(await within(5, wire.answered(), 'no answer'));
    expect(final.status).toBe(502);
    expect(final.body.toString()).toContain('upstream_unavailable');
  });
});

/** Far above what sockets hold, far below what is sent. */
const heldAtMost = 16 * mebibyte;
const sent = 64 * mebibyte;

describe('back-pressure', () => {
  test('of a client that does not read stops the API, and nothing is lost', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world);
    const digest = createHash('sha256');
    let received = 0;
    wire.socket.pause();
    wire.write(`${callHead(world.browser, 'GET', '/api/much')}Connection: close\r\n\r\n`);
    const { response } = await call;
    const body = noise(sent);
    response.writeHead(200, { 'content-length': String(sent) });
    response.end(body);
    const written = await untilStill(() => Number(response.socket?.bytesWritten) - response.writableLength);
    expect(written).toBeLessThan(heldAtMost);
    wire.socket.resume();
    await within(
      15,
      wire.until(({ chunks }) => (received = total(chunks)) > sent),
      'the rest did not come',
    );
    expect(received).toBeGreaterThan(sent);
    const final = finalOf(await wire.ended());
    expect(digest.update(final.body).digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
  });

  test.each(['length', 'chunks'])(
    'of an API that does not read stops the client, and nothing is lost (%s)',
    async (framing) => {
      const world = await startSignedIn();
      const call = nextCall(world);
      const wire = openWire(world, 'POST');
      const body = noise(sent);
      const head = callHead(world.browser, 'POST', '/api/x');
      wire.write(`${head}${framing === 'length' ? `Content-Length: ${sent}` : 'Transfer-Encoding: chunked'}\r\n\r\n`);
      wire.write(framing === 'length' ? body : chunked(body, [1_000_000]));
      const { request, response } = await call;
      const taken = await untilStill(() => wire.socket.bytesWritten - wire.socket.writableLength);
      expect(taken).toBeLessThan(heldAtMost);
      const digest = createHash('sha256');
      for await (const chunk of request) digest.update(chunk as Buffer);
      response.end('read');
      expect(finalOf(await within(15, wire.answered(), 'no answer')).body.toString()).toBe('read');
      expect(digest.digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
    },
  );
});

describe('an upload', () => {
  test('of unknown length that drips in reaches the API drop by drop', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n`);
    const { request, response } = await within(5, call, 'the API heard nothing of it');
    const drops: string[] = [];
    request.on('data', (chunk: Buffer) => drops.push(chunk.toString()));
    await vi.waitFor(() => expect(drops.join('')).toBe('first'));
    // The API answers the first drop before it gets the second: both directions flow at once.
    response.write('got first;');
    await within(
      5,
      wire.until(({ bytes }) => bytes.includes('got first;')),
      'no answer',
    );
    wire.write('6\r\nsecond\r\n0\r\n\r\n');
    await vi.waitFor(() => expect(drops.join('')).toBe('firstsecond'));
    response.end('got second');
    expect(finalOf(await within(5, wire.answered(), 'no end')).body.toString()).toBe('got first;got second');
  });

  test('that the API answers before its end: the answer arrives, and the next call is served', async () => {
    const world = await startSignedIn();
    world.api.handleRaw((_, response) => {
      response.writeHead(422, { 'content-type': 'text/plain' }).end('seen enough');
      world.api.handleRaw();
    });
    const wire = openWire(world, 'POST');
    const length = 20 * mebibyte;
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: ${length}\r\n\r\n`);
    wire.write(Buffer.alloc(mebibyte));
    await within(
      5,
      wire.until(({ responses }) => responses.length === 1),
      'no answer',
    );
    expect(wire.responses[0]).toMatchObject({ status: 422 });
    wire.write(Buffer.alloc(length - mebibyte));
    wire.write(`${callHead(world.browser, 'GET', '/api/next')}\r\n`);
    await within(
      10,
      wire.until(({ responses }) => responses.length === 2),
      'the next call was not answered',
    );
    expect(wire.responses.map(({ status }) => status)).toEqual([422, 200]);
    expect(world.api.last().url).toBe('/next');
  });

  test('that the API answers without reading it: the answer arrives, and the next call is served', async () => {
    const world = await startSignedIn();
    const call = nextCall(world);
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: ${sent}\r\n\r\n`);
    wire.write(Buffer.alloc(sent));
    const { response } = await call;
    await untilStill(() => wire.socket.bytesWritten - wire.socket.writableLength);
    response.writeHead(422).end('seen enough');
    wire.write(`${callHead(world.browser, 'GET', '/api/next')}\r\n`);
    await within(
      10,
      wire.until(({ responses }) => responses.length === 2),
      'the next call was not answered',
    );
    expect(wire.responses.map(({ status }) => status)).toEqual([422, 200]);
  });

  test.each<[string, number, (world: Awaited<ReturnType<typeof startSignedIn>>) => Promise<void> | void]>([
    ['because the API is down', 502, ({ api }) => api.down()],
    [
      'because the provider is down when the token has to be renewed',
      503,
      ({ provider }) => {
        fakeDate();
        expireAccessToken();
        return provider.down();
      },
    ],
    [
      'because its session was ended',
      401,
      async ({ browser }) => {
        await browser.clone().fetch('/bff/logout', { method: 'POST' });
      },
    ],
    [
      'because the SPA’s dev server is down',
      502,
      async (world) => world.restart({ spa: { devServer: `http://127.0.0.1:${await freePort()}` } }),
    ],
  ])(
    'that is refused before its end %s can be sent to its end, and the next call is served',
    async (story, status, spoil) => {
      const world = await startSignedIn();
      await spoil(world);
      const wire = openWire(world, 'POST');
      const path = story.includes('dev server') ? '/upload' : '/api/x';
      const length = 20 * mebibyte;
      wire.write(`${callHead(world.browser, 'POST', path)}Content-Length: ${length}\r\n\r\n`);
      wire.write(Buffer.alloc(mebibyte));
      await within(
        5,
        wire.until(({ responses }) => responses.some(({ complete }) => complete)),
        'no answer',
      );
      wire.write(Buffer.alloc(length - mebibyte));
      wire.write(`${callHead(world.browser, 'GET', '/bff/session')}\r\n`);
      await within(
        10,
        wire.until(({ responses }) => responses.length === 2),
        'the next call was not answered',
      );
      expect(wire.responses.map((response) => response.status)).toEqual([status, 200]);
    },
  );

  test('too large to be kept whose token is rejected: 401, a new cookie, the advice to repeat', async () => {
    const world = await startSignedIn();
    world.api.rejectTokens(1);
    const before = world.browser.cookies.get(world.browser.own('session'))?.value;
    const answer = await world.browser.fetch('/api/x', { method: 'PUT', body: 'x'.repeat(5 * mebibyte) });
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({
      code: 'repeat_required',
      detail: expect.stringContaining('repeat the call'),
    });
    expect(world.browser.cookies.get(world.browser.own('session'))?.value).not.toBe(before);
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.api.requests).toHaveLength(1);
    const again = await world.browser.fetch('/api/x', { method: 'PUT', body: 'x'.repeat(5 * mebibyte) });
    expect(again.status).toBe(200);
    expect(world.api.last().body).toHaveLength(5 * mebibyte);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test.each([
    ['exactly at', 1000, 2, 200],
    ['one byte above', 1001, 1, 401],
  ])('%s the replay limit of its route', async (_, length, calls, status) => {
    const world = await startSignedIn({
      config: (base) => ({
        ...base,
        api: [{ path: '/api', target: String(base.api?.[0]?.target), replayBytes: 1000 }],
      }),
    });
    for (const chunkLengths of [undefined, [400]]) {
      world.api.requests.length = 0;
      world.api.rejectTokens(1);
      const wire = openWire(world, 'POST');
      const body = Buffer.alloc(length, 'x');
      const framing = chunkLengths === undefined ? `Content-Length: ${length}` : 'Transfer-Encoding: chunked';
      wire.write(`${callHead(world.browser, 'POST', '/api/x')}${framing}\r\n\r\n`);
      wire.write(chunkLengths === undefined ? body : chunked(body, chunkLengths));
      expect(finalOf(await within(5, wire.answered(), 'no answer')).status).toBe(status);
      expect(world.api.requests.map((request) => request.body.length)).toEqual(
        Array.from({ length: calls }, () => length),
      );
      await signIn(world.browser);
    }
  });

  test('whose token is refused while it is still on its way is not waited for', async () => {
    const world = await startSignedIn();
    world.api.handleRaw((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' });
      // The body of the refusal never ends.
      response.write('refused');
    });
    const wire = openWire(world, 'POST');
    wire.write(`${callHead(world.browser, 'POST', '/api/x')}Content-Length: ${mebibyte}\r\n\r\n`);
    wire.write(Buffer.alloc(mebibyte / 2));
    await within(
      5,
      wire.until(({ responses }) => responses.some(({ complete }) => complete)),
      'no answer',
    );
    expect(wire.responses[0]).toMatchObject({ status: 401 });
    expect(wire.responses[0]?.body.toString()).toContain('repeat_required');
  });
});

/** Bytes without a pattern, so that no part of them can stand for another; cheap to make. */
function noise(length: number): Buffer {
  const block = Buffer.alloc(65_537);
  for (let at = 0; at < block.length; at += 1) block[at] = (at * 2_654_435_761) >>> 13;
  return Buffer.alloc(length, block);
}

function total(chunks: Wire['chunks']): number {
  return chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** A gauge's value when it has stopped to move. */
async function untilStill(gauge: () => number): Promise<number> {
  let before = -1;
  await vi.waitFor(
    () => {
      const now = gauge();
      const moved = now !== before;
      before = now;
      if (moved) throw new Error(`still moving: ${now}`);
    },
    { timeout: 10_000, interval: 200 },
  );
  return before;
}
