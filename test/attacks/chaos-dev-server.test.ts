/**
 * The unlucky developer's story: the browser reloads at every keystroke, a hundred module requests at a time, and drops
 * the last hundred; the dev server restarts in the middle. Sallyport stands between the two all day.
 *
 * Must hold: whatever breaks off, on whichever side, the process lives on and holds no socket of what is gone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assaultWith, oneOf, type Random } from '../support/assault.ts';
import { chaosSeconds, chaosSeed, startSiege, type Siege } from '../support/siege.ts';

const patienceMs = (chaosSeconds + 90) * 1000;
let siege: Siege;

beforeAll(async () => {
  siege = await startSiege((base) => ({ spa: { devServer: base.api?.[0]?.target ?? '' } }));
});

afterAll(() => siege.stop());

const files = ['small', 'chunks', 'large', 'early', 'hints', 'events', 'reset', 'broken'] as const;

function request(random: Random, names: readonly string[] = [...files, 'never']): Buffer {
  const target = `/${oneOf(random, names)}`;
  const kind = random();
  if (kind < 0.5) return Buffer.from(`${siege.head(random, 'GET', target)}\r\n`);
  if (kind < 0.7) {
    const upgrading = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n';
    const lines = `Origin: ${siege.world.origin}\r\n${upgrading}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;
    return Buffer.from(`${siege.head(random, 'GET', target, lines)}\r\n`);
  }
  const size = oneOf(random, [0, 1, 60_000, 70_000, 300_000]);
  const lines = `${random() < 0.2 ? 'Expect: 100-continue\r\n' : ''}Content-Length: ${size}\r\n`;
  return Buffer.from(`${siege.head(random, 'POST', target, lines)}\r\n${'x'.repeat(size)}`);
}

function requests(random: Random): Buffer {
  return Buffer.concat(Array.from({ length: 3 }, () => request(random, files)));
}

test.each<[story: string, of: (random: Random) => Buffer]>([
  ['requests', (random) => request(random)],
  ['requests in one packet', requests],
])(
  `%s to the dev server that break off anywhere harm nobody else (seed ${chaosSeed})`,
  async (_, bytesOf) => {
    await siege.storm((random) => assaultWith(random, bytesOf(random)), chaosSeconds / 2);
    expect(await siege.harm()).toEqual([]);
  },
  patienceMs,
);
