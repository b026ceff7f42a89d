/**
 * The unlucky users' story: trains go into tunnels, laptops are shut, tabs are closed while an upload runs or while the
 * token is being refreshed; and the vandal's, who signs in like anybody and breaks connections off wherever a server
 * might stand on one leg: after any byte of a head or a body, amid an answer, with a FIN or a RST, with ten requests in
 * one packet, without ever reading an answer.
 *
 * Must hold: it is their own calls alone that fail. The process lives on, serves the others meanwhile, and holds no
 * socket of those who left.
 *
 * `CHAOS_SECONDS=600` keeps each storm up for longer, `CHAOS_SEED` makes other choices.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assaultWith, below, oneOf, type Random } from '../support/assault.ts';
import { chaosSeconds, chaosSeed, startSiege, type Siege } from '../support/siege.ts';

const patienceMs = (chaosSeconds + 90) * 1000;
let siege: Siege;

beforeAll(async () => {
  siege = await startSiege();
});

afterAll(() => siege.stop());

const answers = [
  'small',
  'chunks',
  'large',
  'early',
  'hints',
  'events',
  'never',
  'reset',
  'broken',
  'refusal',
] as const;

function call(random: Random, lines = ''): Buffer {
  const method = oneOf(random, ['GET', 'GET', 'GET', 'HEAD', 'DELETE', 'OPTIONS']);
  return Buffer.from(`${siege.head(random, method, `/api/${oneOf(random, answers)}`, lines)}\r\n`);
}

/** Small ones are kept for a replay, larger ones streamed, the largest refused; with and without a length. */
function upload(random: Random): Buffer {
  const size = oneOf(random, [1, 100, 60_000, 65_536, 65_537, 70_000, 200_000, 1_048_577]);
  const body = Buffer.alloc(size, 'upload ');
  const target = `/api/${oneOf(random, ['sink', 'sink', 'early', 'never', 'reset', 'refusal'])}`;
  const expectation = random() < 0.2 ? 'Expect: 100-continue\r\n' : '';
  if (random() < 0.5) {
    return Buffer.concat([
      Buffer.from(siege.head(random, 'POST', target, `${expectation}Content-Length: ${size}\r\n\r\n`)),
      body,
    ]);
  }
  const head = siege.head(random, 'PUT', target, `${expectation}Transfer-Encoding: chunked\r\n\r\n`);
  return Buffer.concat([Buffer.from(`${head}${size.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
}

/** Calls and uploads one behind the other in one packet. */
function pipeline(random: Random): Buffer {
  const length = 2 + below(random, 5);
  return Buffer.concat(
    Array.from({ length }, () => (random() < 0.7 ? call(random) : upload(random).subarray(0, 200_000))),
  );
}

test.each<[story: string, of: (random: Random) => Buffer]>([
  ['calls', call],
  ['uploads', upload],
  ['calls and uploads in one packet', pipeline],
])(
  `%s that break off anywhere harm nobody else (seed ${chaosSeed})`,
  async (_, bytesOf) => {
    await siege.storm((random) => assaultWith(random, bytesOf(random)));
    expect(await siege.harm()).toEqual([]);
    expect(siege.world.provider.reusedRefreshTokens).toBe(0);
  },
  patienceMs,
);
