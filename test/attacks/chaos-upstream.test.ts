/**
 * The unlucky user's story: the API behind Sallyport dies amid its answer, stalls, resets, speaks nonsense, and lies
 * about how long its bodies are. And the attacker's: an API, or whoever can make it echo, sends more than it announced,
 * so that the surplus is taken for the answer to the next person's call.
 *
 * Must hold: whatever the API does, the client gets the API's answer, or a problem, or a visible break: never a cut-off body that
 * looks whole, never a byte too much, never another call's answer, and never nothing for ever. The next call is served.
 */
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { startRawServer, type RawServer } from '../support/raw.ts';
import { callHead, exchange, finalOf, Wire, type WireExchange, type WireResponse } from '../support/wire.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

/** What the API does on a connection when a request has come. */
type Mishap = (socket: Socket, request: Buffer) => void;

let world: World;
let browser: BrowserClient;
let api: RawServer;
let mishap: Mishap;

const patienceSeconds = 0.3;

beforeAll(async () => {
  api = await startRawServer((socket, request) => mishap(socket, request));
  const limits = { timeoutSeconds: patienceSeconds, idleTimeoutSeconds: patienceSeconds };
  world = await startWorld({ config: { api: [{ path: '/api', target: api.url, ...limits }] } }, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
}, 60_000);

afterAll(async () => {
  await world.stop();
  await api.close();
});

afterEach(async () => {
  // Whatever happened, the next call is served, and nothing here broke.
  mishap = sayFine;
  const next = bodyOf(finalOf(await call()));
  if (next !== 'fine') throw new Error(`the next call got: ${next}`);
  const failure = world.logs.find((line) => line.includes('internal_error'));
  if (failure !== undefined) throw new Error(failure);
});

function sayFine(socket: Socket): void {
  socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine');
}

function call({ method = 'GET', rest = '', body = '' } = {}): Promise<WireExchange> {
  const head = `${callHead(browser, method, '/api/x')}Connection: close\r\n${rest}\r\n`;
  return within(5, exchange(world.server.port, head + body), 'the call hangs');
}

function bodyOf({ body }: WireResponse): string {
  return body.toString('latin1');
}

const body = 'The quick brown fox jumps over the lazy dog.';
const answers = {
  length: `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  chunks: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${body.slice(0, 20)}\r\n18\r\n${body.slice(20)}\r\n0\r\n\r\n`,
  close: `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n${body}`,
};
const framings = ['length', 'chunks', 'close'] as const;

/** Whether the head is whole after so many bytes. */
function hasHead(answer: string, cut: number): boolean {
  return cut >= answer.indexOf('\r\n\r\n') + 4;
}

/** What the client got of an answer: the whole of it, a visible break, or a problem in its place. */
type Outcome = 'whole' | 'broken' | 'problem 502' | 'problem 504' | `wrong: ${string}`;

function outcomeOf({ responses, surplus }: WireExchange): Outcome {
  const [final, ...more] = responses;
  if (final === undefined || more.length > 0 || surplus.length > 0) return `wrong: ${surplus.toString('latin1')}`;
  const text = bodyOf(final);
  if (final.status === 200) {
    if (!body.startsWith(text)) return `wrong: ${text}`;
    return final.complete ? (text === body ? 'whole' : `wrong: cut to ${text}`) : 'broken';
  }
  const { code } = JSON.parse(text) as { code: string };
  if (final.status === 502 && code === 'upstream_unavailable') return 'problem 502';
  if (final.status === 504 && code === 'upstream_timeout') return 'problem 504';
  return `wrong: ${final.status} ${code}`;
}

/** The outcomes when the API's answer stops after each number of bytes. */
async function outcomesOfCuts(answer: string, stop: (socket: Socket, part: string) => void): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let cut = 0; cut <= answer.length; cut += 1) {
    mishap = (socket) => stop(socket, answer.slice(0, cut));
    outcomes.push(outcomeOf(await call()));
  }
  return outcomes;
}

function afterEachByte(answer: string, outcome: (cut: number) => Outcome): Outcome[] {
  return Array.from({ length: answer.length + 1 }, (_, cut) => (hasHead(answer, cut) ? outcome(cut) : 'problem 502'));
}

describe('an API that hangs up', () => {
  test.each(['length', 'chunks'] as const)(
    'after any byte of its answer breaks the client’s (%s)',
    async (framing) => {
      const answer = answers[framing];
      const outcomes = await outcomesOfCuts(answer, (socket, part) => socket.end(part, 'latin1'));
      expect(outcomes).toEqual(afterEachByte(answer, (cut) => (cut === answer.length ? 'whole' : 'broken')));
    },
    60_000,
  );

  test('after any byte of an answer that ends with its connection ends the client’s', async () => {
    const outcomes = await outcomesOfCuts(answers.close, (socket, part) => socket.end(part, 'latin1'));
    // Nobody can see this cut: the end of the connection is the end of the body.
    const cuts = outcomes.map((outcome) => (outcome.startsWith('wrong: cut to ') ? 'whole' : outcome));
    expect(cuts).toEqual(afterEachByte(answers.close, () => 'whole'));
  }, 60_000);

  test.each(framings)(
    'with a reset after any byte of its answer breaks the client’s (%s)',
    async (framing) => {
      const answer = answers[framing];
      const outcomes = await outcomesOfCuts(answer, (socket, part) => {
        socket.write(part, 'latin1', () => socket.resetAndDestroy());
      });
      // A reset overtakes bytes that were not read yet: the client may get less than was sent, but never believe it whole.
      const last = outcomes.pop();
      expect(outcomes.filter((outcome) => outcome !== 'broken' && outcome !== 'problem 502')).toEqual([]);
      expect(outcomes.slice(0, answer.indexOf('\r\n\r\n')).filter((outcome) => outcome === 'broken')).toEqual([]);
      expect(['broken', 'problem 502', framing === 'close' ? 'broken' : 'whole']).toContain(last);
    },
    60_000,
  );

  test.each(['end', 'reset'] as const)(
    'amid an upload is 502, and a call that changes things is not made twice (%s)',
    async (how) => {
      let connections = 0;
      mishap = (socket) => {
        connections += 1;
        if (how === 'end') socket.destroy();
        else socket.resetAndDestroy();
      };
      const length = 5_000_000;
      const got = await call({ method: 'POST', rest: `Content-Length: ${length}\r\n`, body: 'x'.repeat(length) });
      expect(finalOf(got).status).toBe(502);
      expect(connections).toBe(1);
    },
  );

  test('on an upload after it has answered: its answer, or 502, and no hanging', async () => {
    mishap = (socket) =>
      socket.end('HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno', () => socket.destroy());
    const length = 5_000_000;
    const final = finalOf(
      await call({ method: 'PUT', rest: `Content-Length: ${length}\r\n`, body: 'x'.repeat(length) }),
    );
    expect([413, 502]).toContain(final.status);
    expect(final.complete).toBe(true);
  });
});

describe('an API that stalls', () => {
  test.each(framings)('at any stage of its answer is given up, and the break is visible (%s)', async (framing) => {
    const answer = answers[framing];
    const cuts = Array.from({ length: 24 }, (_, index) => Math.floor((index * answer.length) / 24));
    mishap = (socket, request) => {
      const cut = Number(/GET \/(\d+) /.exec(request.toString('latin1'))?.[1]);
      socket.write(answer.slice(0, cut), 'latin1');
    };
    const outcomes = await Promise.all(
      cuts.map(async (cut) => {
        const head = `${callHead(browser, 'GET', `/api/${cut}`)}Connection: close\r\n\r\n`;
        return outcomeOf(await within(5, exchange(world.server.port, head), `stalled at ${cut}`));
      }),
    );
    expect(outcomes).toEqual(cuts.map((cut) => (hasHead(answer, cut) ? 'broken' : 'problem 504')));
  });

  test.each(framings)('and sends its answer byte by byte is patiently listened to (%s)', async (framing) => {
    mishap = (socket) => {
      const bytes = Array.from(answers[framing]);
      const next = () => {
        const byte = bytes.shift();
        if (byte === undefined) socket.end();
        else socket.write(byte, 'latin1', () => setImmediate(next));
      };
      next();
    };
    expect(outcomeOf(await call())).toBe('whole');
  });

  test('before its interim responses end is given up', async () => {
    mishap = (socket) => void socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n');
    expect(finalOf(await call()).status).toBe(504);
  });
});

describe('an API that lies about lengths', () => {
  test.each<[string, string, Partial<WireResponse>]>([
    ['tells too much', 'Content-Length: 9\r\n\r\nshort', { status: 200, complete: false }],
    [
      'tells another length and chunks',
      'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
      { status: 502 },
    ],
    [
      'tells chunks and another length',
      'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
      { status: 502 },
    ],
    ['tells two lengths', 'Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello', { status: 502 }],
    ['tells a list of lengths', 'Content-Length: 5, 5\r\n\r\nhello', { status: 502 }],
    ['tells a negative length', 'Content-Length: -5\r\n\r\nhello', { status: 502 }],
    ['tells a length in hexadecimal', 'Content-Length: 0x5\r\n\r\nhello', { status: 502 }],
    ['tells a length beyond all bounds', 'Content-Length: 99999999999999999999999\r\n\r\nhello', { status: 502 }],
    [
      'sends a chunk that is none',
      'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense',
      { status: 200, complete: false },
    ],
    [
      'sends a chunk longer than its size',
      'Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n',
      { status: 200, complete: false },
    ],
    [
      'sends a chunk size that wraps round',
      'Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n',
      { complete: false },
    ],
    ['folds a field', 'X-A: 1\r\n Content-Length: 3\r\n\r\nabc', { status: 502 }],
    ['ends a field with a bare CR', 'X-A: 1\rContent-Length: 3\r\n\r\nabc', { status: 502 }],
    ['puts a NUL into a field', 'X-A: 1\0\r\nContent-Length: 3\r\n\r\nabc', { status: 502 }],
    ['puts a space into a name', 'X A: 1\r\nContent-Length: 3\r\n\r\nabc', { status: 502 }],
    ['sends 40 kB of fields', `X-A: ${'x'.repeat(40_000)}\r\nContent-Length: 3\r\n\r\nabc`, { status: 502 }],
  ])('and %s', async (_, answer, expected) => {
    mishap = (socket) => socket.end(`HTTP/1.1 200 OK\r\n${answer}`, 'latin1');
    const got = await call();
    expect(got.surplus.toString('latin1')).toBe('');
    expect(finalOf(got)).toMatchObject(expected);
  });

  test.each([
    [
      'an unannounced switch of protocols',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    ],
    ['no HTTP at all', '\0\x01\x02 this is not HTTP \r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n'],
    ['another version', 'HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['endless fields', `HTTP/1.1 200 OK\r\n${'X-A: 1\r\n'.repeat(20_000)}`],
    ['its own request', 'GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n'],
  ])('502 for %s', async (_, answer) => {
    mishap = (socket) => socket.end(answer, 'latin1');
    expect(finalOf(await call()).status).toBe(502);
  });

  test.each([
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen', 200],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nstolen\r\n0\r\n\r\n', 200],
    ['GET', 'HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nstolen', 204],
    ['GET', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nstolen\r\n0\r\n\r\n', 204],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nstolen', 304],
  ])('a body where none may be reaches nobody: %s, %j', async (method, answer, status) => {
    mishap = (socket) => void socket.write(answer, 'latin1');
    const got = await call({ method });
    expect(got.responses.map((response) => response.status)).toEqual([status]);
    expect(got.surplus.toString('latin1')).toBe('');
    expect(bodyOf(finalOf(got))).toBe('');
  });
});

describe('an answer that nobody asked for', () => {
  const stolen = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen';

  test('and comes with the last one is thrown away', async () => {
    expect(await callsOfTwo((socket) => socket.write(stolen))).toEqual(['answer 1', 'answer 2', 'answer 3']);
  });

  test('and comes on a connection that is kept is thrown away', async () => {
    const texts = await callsOfTwo((socket) => setImmediate(() => socket.write(stolen)));
    expect(texts).toEqual(['answer 1', 'answer 2', 'answer 3']);
  });
});

/** Calls of two people on kept connections; the surplus is sent after the first answer. */
async function callsOfTwo(surplus: (socket: Socket) => void): Promise<string[]> {
  const bob = world.client();
  await signIn(bob, 'bob');
  const sockets = new Set<Socket>();
  let calls = 0;
  mishap = (socket) => {
    sockets.add(socket);
    const reply = () => {
      calls += 1;
      const name = `answer ${calls}`;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}`);
      if (calls === 1) surplus(socket);
    };
    socket.on('data', reply);
    reply();
  };
  const texts: string[] = [];
  for (const person of [browser, bob, browser]) texts.push((await person.fetch('/api/x')).text);
  for (const socket of sockets) socket.destroy();
  return texts;
}

test('each of a hundred calls to an API that keeps changing ends, with no other call’s answer', async () => {
  const whims: Mishap[] = [
    sayFine,
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.end(answers.length.slice(0, -5)),
    (socket) => socket.end(answers.chunks.slice(0, -3)),
    (socket) => socket.end('nonsense'),
    (socket) => void socket.write(answers.length.slice(0, 30)),
    (socket) => void socket.write(answers.chunks.slice(0, 60)),
    (socket) => void socket.write(`${answers.length}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen`),
    (socket) => void socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n'),
  ];
  mishap = (socket, request) => {
    const number = Number(/ \/(\d+) /.exec(request.toString('latin1'))?.[1]);
    whims[number % whims.length]?.(socket, request);
  };
  const methods = ['GET', 'POST', 'HEAD', 'DELETE'];
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, async (_, number) => {
      const method = methods[Math.floor(number / whims.length) % methods.length] ?? 'GET';
      const wire = new Wire(world.server.port, method);
      wire.write(`${callHead(browser, method, `/api/${number}`)}Connection: close\r\n\r\n`);
      const final = finalOf(await within(10, wire.ended(), `${method} ${number} hangs`));
      return { number, status: final.status, text: bodyOf(final) };
    }),
  );
  expect(outcomes.filter(({ text }) => text.includes('stolen'))).toEqual([]);
  expect(outcomes.filter(({ status }) => ![200, 401, 502, 503, 504].includes(status))).toEqual([]);
});
