/** A connection that is treated as no well-behaved client would: cut off after any byte, closed, reset, half closed, unread. */
import { connect } from 'node:net';

/** How to leave: with a FIN, with a RST, or with a FIN of this side only, to wait for the other's. */
export type Leaving = 'close' | 'reset' | 'half-close';

export interface Assault {
  readonly bytes: Buffer;
  /** So many of them are sent. */
  readonly cut: number;
  /** Where the bytes are parted: each part is a write of its own, in a turn of its own. */
  readonly parts: readonly number[];
  readonly leaving: Leaving;
  /** Leaves when so many bytes of the answer are there; 0: when all is sent. */
  readonly answerBytes: number;
  /** Leaves at the latest after so long. */
  readonly patienceMs: number;
  /** Reads nothing of the answer. */
  readonly deaf: boolean;
}

/** Carries it out; answers what was received when the connection is gone. */
export function commit(port: number, assault: Assault): Promise<Buffer> {
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    let size = 0;
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    const patience = setTimeout(leave, assault.patienceMs);
    if (assault.deaf) socket.pause();
    else socket.on('data', take);
    socket.on('error', () => socket.destroy());
    socket.once('end', () => socket.destroy());
    socket.once('close', () => {
      clearTimeout(patience);
      resolve(Buffer.concat(received));
    });
    socket.once('connect', () => void send());

    async function send(): Promise<void> {
      const ends = [...assault.parts.filter((part) => part < assault.cut), assault.cut];
      let at = 0;
      for (const end of ends) {
        if (socket.destroyed) return;
        if (end > at) socket.write(assault.bytes.subarray(at, end));
        at = end;
        await new Promise((next) => setImmediate(next));
      }
      if (assault.answerBytes === 0) leave();
    }

    function take(chunk: Buffer): void {
      received.push(chunk);
      size += chunk.length;
      if (assault.answerBytes > 0 && size >= assault.answerBytes) leave();
    }

    function leave(): void {
      clearTimeout(patience);
      if (assault.leaving === 'reset') socket.resetAndDestroy();
      else if (assault.leaving === 'close') socket.destroy();
      else socket.end(() => setTimeout(() => socket.destroy(), assault.patienceMs));
    }
  });
}

/** A number from 0 to 1, the next of a sequence that its seed determines (mulberry32). */
export type Random = () => number;

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number below `limit`. */
export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  const item = items[below(random, items.length)];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}

const leavings: readonly Leaving[] = ['close', 'reset', 'half-close'];

/**
 * An assault with these bytes, of which everything else is left to chance: whether they are all sent (every third time
 * they are), how they are parted, when to leave and in which way.
 */
export function assaultWith(random: Random, bytes: Buffer): Assault {
  const cut = random() < 1 / 3 ? bytes.length : positionIn(random, bytes);
  const parts = Array.from({ length: below(random, 4) }, () => positionIn(random, bytes));
  return {
    bytes,
    cut,
    parts: parts.toSorted((a, b) => a - b),
    leaving: oneOf(random, leavings),
    answerBytes: oneOf(random, cut < bytes.length ? [0, Infinity] : [0, 1, 20, 200, 5000, Infinity]),
    patienceMs: oneOf(random, [1, 10, 50, 250]),
    deaf: random() < 0.1,
  };
}

/** A position in the bytes: every second time around a border, where states change. */
function positionIn(random: Random, bytes: Buffer): number {
  if (random() < 0.5) return below(random, bytes.length + 1);
  const borders = [0, bytes.indexOf(' '), bytes.indexOf('\r\n'), bytes.indexOf('\r\n\r\n') + 4, bytes.length];
  const position = oneOf(random, borders) + oneOf(random, [-1, 0, 1]);
  return Math.min(bytes.length, Math.max(0, position));
}
