/** Where a stream of server-sent events may end: never amid an event, however its bytes are cut. */
import { array, assert, constantFrom, nat, property, tuple } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EventTracker, reconnects } from '../../src/proxy/event-stream.ts';

const bytes = (text: string) => Buffer.from(text);

function mayEndAfter(...chunks: readonly string[]): boolean {
  const tracker = new EventTracker(undefined);
  for (const chunk of chunks) tracker.pass(bytes(chunk));
  return tracker.mayEnd;
}

describe('a stream may end', () => {
  test.each([
    ['before its first byte', []],
    ['after an empty line', ['data: 1\n\n']],
    ['after an empty line of carriage returns', ['data: 1\r\r']],
    ['after an empty line of both', ['data: 1\r\n\r\n']],
    ['after an empty line of a mixture', ['data: 1\n\r\n']],
    ['between the two bytes that end the empty line', ['data: 1\r\n\r']],
    ['after several empty lines', ['data: 1\n\n\n\n']],
    ['after a heartbeat without an empty line', ['data: 1\n\n', ': still here\n']],
    ['after a heartbeat of a colon alone', [':\n']],
    ['where the chunks cut everything', ['da', 'ta: 1', '\r', '\n', '\r', '\n']],
  ])('%s', (_where, chunks) => {
    expect(mayEndAfter(...chunks)).toBe(true);
  });

  test.each([
    ['amid a line', ['data: 1']],
    ['after the first line of an event', ['data: 1\n']],
    ['after a carriage return and line feed, which are one end of a line', ['data: 1\r\n']],
    ['after a carriage return and a line feed in the next chunk', ['data: 1\r', '\n']],
    ['amid a heartbeat', ['data: 1\n\n: still']],
    ['after a comment within an event', ['data: 1\n: comment\n']],
    ['after the next event has begun', ['data: 1\n\n', 'i']],
    ['after a line without a colon, which is a field, too', ['data\n']],
  ])('but not %s', (_where, chunks) => {
    expect(mayEndAfter(...chunks)).toBe(false);
  });
});

test('what passes up to an end are whole events, wherever the chunks are cut', () => {
  const line = constantFrom('data: x', 'id: 7', ': comment', 'event: y', 'retry: 1', 'data');
  const newline = constantFrom('\n', '\r\n', '\r');
  const event = tuple(array(line, { minLength: 1, maxLength: 3 }), newline).map(([lines, end]) => {
    return [...lines, ''].map((text) => text + end).join('');
  });
  assert(
    property(array(event, { minLength: 1, maxLength: 5 }), nat(), nat(), (events, at, cut) => {
      const stream = bytes(events.join(''));
      const passed = at % (stream.length + 1);
      const tracker = new EventTracker(undefined);
      tracker.pass(stream.subarray(0, passed));
      const rest = stream.subarray(passed);
      const first = rest.subarray(0, cut % (rest.length + 1));
      let length = passed + tracker.passEvent(first);
      if (!tracker.mayEnd) length += tracker.passEvent(rest.subarray(first.length));
      expect(tracker.mayEnd).toBe(true);
      // What a client makes of it: the fields since the last empty line are of no whole event.
      const lines = stream
        .subarray(0, length)
        .toString()
        .split(/\r\n|\n|\r/);
      const sinceEmptyLine = lines.slice(lines.lastIndexOf('', lines.length - 2) + 1, -1);
      expect(lines.at(-1)).toBe('');
      expect(sinceEmptyLine.filter((text) => !text.startsWith(':'))).toEqual([]);
    }),
    { numRuns: 2000 },
  );
});

test('the last words are the delay alone, different for each client', () => {
  const words = Array.from({ length: 50 }, () => new EventTracker(undefined).lastWords());
  for (const each of words) expect(each).toMatch(/^retry: [1-3]\d{3}\n\n$/);
  expect(new Set(words).size).toBeGreaterThan(10);
});

test('a compressed stream may end anywhere, and gets no words', () => {
  const tracker = new EventTracker('gzip');
  tracker.pass(bytes('amid'));
  expect(tracker.mayEnd).toBe(true);
  expect(tracker.lastWords()).toBe('');
});

test.each([
  ['GET', 'text/event-stream', true],
  ['GET', 'Text/Event-Stream', true],
  ['GET', '*/*', false],
  ['GET', 'application/json, text/event-stream', false],
  ['GET', undefined, false],
  ['POST', 'text/event-stream', false],
])('%s with Accept: %s connects again by itself: %s', (method, accept, expected) => {
  const headers = accept === undefined ? {} : { accept };
  expect(reconnects({ method, headers } as Parameters<typeof reconnects>[0])).toBe(expected);
});
