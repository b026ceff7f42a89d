/** Where frames begin and end, however the network cuts the stream. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { closeFrame, FrameTracker } from '../../src/proxy/websocket/frames.ts';

const frame = fc.record({
  opcode: fc.constantFrom(0x0, 0x1, 0x2, 0x9, 0xa),
  masked: fc.boolean(),
  // Each of the three ways to write a length, and their edges.
  length: fc.oneof(
    fc.nat(200),
    fc.constantFrom(0, 1, 125, 126, 127, 65_535, 65_536),
    fc.integer({ min: 65_530, max: 70_000 }),
  ),
  longForm: fc.boolean(),
});

interface Frame {
  readonly opcode: number;
  readonly masked: boolean;
  readonly length: number;
  readonly longForm: boolean;
}

function encode({ opcode, masked, length, longForm }: Frame): Buffer {
  const mask = masked ? Buffer.from([0x88, 0x88, 0x88, 0x88]) : Buffer.alloc(0);
  const flag = masked ? 0x80 : 0;
  const head = Buffer.alloc(10);
  head[0] = 0x80 | opcode;
  // 0x88 as payload looks like the beginning of a Close frame.
  const payload = Buffer.alloc(length, 0x88);
  if (length < 126 && !longForm) return Buffer.concat([Buffer.from([0x80 | opcode, flag | length]), mask, payload]);
  if (length < 65_536) {
    head[1] = flag | 126;
    head.writeUInt16BE(length, 2);
    return Buffer.concat([head.subarray(0, 4), mask, payload]);
  }
  head[1] = flag | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, mask, payload]);
}

/** Cuts a stream into chunks of the given lengths, in turn. */
function cut(stream: Buffer, lengths: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, turn = 0; at < stream.length; turn++) {
    const length = lengths[turn % lengths.length] as number;
    chunks.push(stream.subarray(at, at + length));
    at += length;
  }
  return chunks;
}

test('a tracker stands between two frames exactly where one ends', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 }),
      (frames, lengths) => {
        const encoded = frames.map(encode);
        const ends = new Set<number>();
        let length = 0;
        for (const one of encoded) ends.add((length += one.length));
        const tracker = new FrameTracker();
        let at = 0;
        for (const chunk of cut(Buffer.concat(encoded), lengths)) {
          tracker.pass(chunk);
          at += chunk.length;
          expect(tracker.isBetweenFrames).toBe(ends.has(at));
        }
        expect(tracker.closed).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});

test('a tracker finds the end of the frame that was begun, at whatever byte it was cut', () => {
  const first = encode({ opcode: 2, masked: true, length: 300, longForm: false });
  const rest = encode({ opcode: 1, masked: false, length: 5, longForm: false });
  for (let at = 1; at < first.length; at++) {
    const tracker = new FrameTracker();
    tracker.pass(first.subarray(0, at));
    expect(tracker.isBetweenFrames).toBe(false);
    expect(tracker.passFrame(Buffer.concat([first.subarray(at), rest]), 0)).toBe(first.length - at);
    expect(tracker.isBetweenFrames).toBe(true);
  }
});

test('a tracker notices a Close frame', () => {
  const tracker = new FrameTracker();
  tracker.pass(closeFrame(1000, '', false));
  expect(tracker).toMatchObject({ closed: true, isBetweenFrames: true });
});

test('a Close frame of a server is its code and reason in plain', () => {
  expect(closeFrame(4401, 'over', false).toString('latin1')).toBe('\x88\x06\x11\x31over');
});

test('a Close frame of a client is masked, each with a mask of its own', () => {
  const frames = [closeFrame(4401, 'over', true), closeFrame(4401, 'over', true)];
  for (const bytes of frames) {
    expect([bytes[0], bytes[1], bytes.length]).toEqual([0x88, 0x86, 12]);
    const payload = bytes.subarray(6).map((byte, index) => byte ^ bytes.readUInt8(2 + (index % 4)));
    expect(Buffer.from(payload).toString('latin1')).toBe('\x11\x31over');
  }
  expect(frames[0]?.equals(frames[1] as Buffer)).toBe(false);
});
