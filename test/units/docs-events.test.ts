/** The documentation names every event and every log line, with the level that it has. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createEvents, type BffEvent } from '../../src/events.ts';
import { createLog, logEvents } from '../../src/telemetry/log.ts';
import { readPage, root } from '../support/markdown.ts';

const levelNames = new Map([
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
  [60, 'fatal'],
]);

/** The first two cells of each row below a heading. */
function rowsBelow(heading: string): (readonly [name: string, level: string])[] {
  const [, section = ''] = readPage('docs/events-and-logs.md').split(`## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  return [...own.matchAll(/^\| `([^`]+)` +\| (\w+) +\|/gm)].map(([, name = '', level = '']) => [name, level] as const);
}

function eventTypes(): BffEvent['type'][] {
  const [union = ''] = readFileSync(join(root, 'src/events.ts'), 'utf8').split('/** Why a session ended. */');
  return [...union.matchAll(/type: '([\w.]+)'/g)].map(([, type]) => type as BffEvent['type']);
}

function levelInLog(type: BffEvent['type']): string | undefined {
  const lines: string[] = [];
  const events = createEvents();
  logEvents(createLog({ level: 'debug', to: { write: (line) => void lines.push(line) } }).log, events);
  events.emit({ type } as BffEvent);
  return levelNames.get((JSON.parse(lines[0] ?? '{}') as { level: number }).level);
}

test('every event, in the order of the union and with its level in the log', () => {
  expect(eventTypes().length).toBeGreaterThan(10);
  expect(rowsBelow('Events')).toEqual(eventTypes().map((type) => [type, levelInLog(type)]));
});

test('docs/sessions.md names every reason for which a session is ended', () => {
  const [, union = ''] = /type SessionEnd =\s+([^;]+);/.exec(readFileSync(join(root, 'src/events.ts'), 'utf8')) ?? [];
  const reasons = [...union.matchAll(/'(\w+)'/g)].map(([, reason = '']) => reason);
  const documented = [...readPage('docs/sessions.md').matchAll(/`session\.ended`, reason `(\w+)`/g)];
  expect(reasons.length).toBeGreaterThan(3);
  expect(documented.map(([, reason]) => reason)).toEqual(reasons);
});

test('every line that is no event', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(join(root, 'src', path), 'utf8'));
  const call = /\blog\.(debug|info|warn|error|fatal)\(\s*(?:\{[^]*?\},\s*)?'([^']+)'/g;
  const lines = sources.flatMap((text) => [...text.matchAll(call)].map(([, level, line]) => `${level}: ${line}`));
  // The request's own line is written without the logger, for speed.
  for (const [, level, line] of sources.join('').matchAll(/\{"level":(\d+),[^]*?"msg":"(\w+)"\}/g)) {
    lines.push(`${levelNames.get(Number(level))}: ${line}`);
  }
  const documented = rowsBelow('Log lines that are no events').map(([line, level]) => `${level}: ${line}`);
  expect(documented.toSorted()).toEqual([...new Set(lines)].toSorted());
});
