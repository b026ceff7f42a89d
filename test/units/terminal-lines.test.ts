/** The log at a terminal: what it shows of an entry, and that nothing in an entry can do more than be shown. */
import { stripVTControlCharacters } from 'node:util';
import { assert, constantFrom, dictionary, integer, jsonValue, oneof, property, record, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { terminalLine } from '../../src/telemetry/terminal-lines.ts';

const request = {
  level: 30,
  time: Date.UTC(2026, 0, 2, 3, 4, 5),
  requestId: 'a1b2c3-1',
  method: 'GET',
  path: '/api/orders',
  status: 200,
  ms: 12.3,
  msg: 'request',
};

function shown(entry: Record<string, unknown>): string {
  return stripVTControlCharacters(terminalLine(JSON.stringify(entry)));
}

describe('an entry of the log', () => {
  test('is time, level, method, path, status, duration, code and id, in one line', () => {
    const line = shown({ ...request, status: 401, code: 'login_required' });
    expect(line).toMatch(/^\d\d:\d\d:\d\d INFO +GET \/api\/orders 401 12\.3 ms.*\blogin_required\b.*\n$/);
    expect(line).toContain('a1b2c3-1');
    expect(line).not.toContain('undefined');
  });

  test('without a status is of a client that left', () => {
    const { status: _status, ...rest } = request;
    const line = shown({ ...rest, aborted: true });
    expect(line).toMatch(/GET \/api\/orders - 12\.3 ms/);
    expect(line).toContain('aborted');
  });

  test('that is no request is its message and its fields', () => {
    const line = shown({
      level: 40,
      time: 0,
      session: 'abc',
      cause: { name: 'Error', message: 'no' },
      msg: 'login.failed',
    });
    expect(line).toMatch(/WARN +login\.failed/);
    expect(line).toContain('abc');
    expect(line).toContain('"message":"no"');
  });

  test('of the start says which address to open', () => {
    const start = {
      level: 30,
      time: 0,
      origin: 'https://app.example.com',
      path: '/shop/',
      host: '0.0.0.0',
      port: 3000,
    };
    expect(shown({ ...start, msg: 'listening' })).toMatch(
      /^\d\d:\d\d:\d\d INFO {2}listening on 0\.0\.0\.0:3000; open https:\/\/app\.example\.com\/shop\/\n$/,
    );
  });

  test('of any level, or without what is usual, is a line all the same', () => {
    for (const level of [10, 20, 30, 40, 50, 60, 35, null]) expect(shown({ level })).toMatch(/^[^\n]+\n$/);
    for (const entry of [
      { msg: 'x' },
      { msg: null },
      { msg: 'request' },
      { msg: 'listening' },
      { msg: '__proto__' },
      { time: 'x' },
      { level: 'x', msg: ['a'] },
    ]) {
      expect(shown(entry)).toMatch(/^[^\n]+\n$/);
    }
  });
});

describe('whatever strangers put into an entry', () => {
  const hostile = constantFrom(
    ...'\u001b[2J|\u001b]0;title\u0007|\u009b31m|\u0090q\u009c|\r|\n|\u0008|\u007f|\t|\u0085'.split('|'),
    ...'\u2028|\u2029|\u202e|\u2066|\u200f|\ud800|\ufeff|\u{e0001}'.split('|'),
  );
  const text = oneof(string({ unit: 'binary' }), string({ unit: 'grapheme' }), string({ unit: hostile, maxLength: 5 }));

  test('comes out as one line, in which only our own colours are more than text', () => {
    const entry = record({
      level: integer({ min: 0, max: 70 }),
      time: integer({ min: 0, max: 4_102_444_800_000 }),
      msg: oneof(constantFrom('request', 'listening'), text),
      host: text,
      port: oneof(integer(), text),
      origin: text,
      method: text,
      path: text.map((path) => `/${path}`),
      status: oneof(integer(), text),
      ms: oneof(integer(), text),
      cause: oneof(jsonValue(), dictionary(text, text, { maxKeys: 3 })),
      detail: text,
    });
    assert(
      property(entry, (fields) => {
        // oxlint-disable-next-line no-control-regex
        const line = terminalLine(JSON.stringify(fields)).replaceAll(/\u001b\[\d+m/g, '');
        expect(line.endsWith('\n')).toBe(true);
        expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      }),
      { numRuns: 2000 },
    );
  });
});
