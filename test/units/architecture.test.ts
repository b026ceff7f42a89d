/**
 * The layout's rules. Imports point down or stay inside their unit (a folder, or a file of its own), and no files import
 * each other in a circle, so that a unit can be read knowing only what is below it. Each library has one door, so that it
 * can be replaced. Code for browsers shares nothing with the server but the types of what the server sends. Files and
 * functions have a size at which they can be read at once.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { functionsOf, importCircle, importsOf } from '../support/source-code.ts';

const sources = join(import.meta.dirname, '../../src');

/** Units by floor, the ground first: a folder, or a file of its own. Every file is in one. */
const floors: ReadonlyArray<Readonly<Record<string, readonly string[]>>> = [
  {
    clock: ['clock.ts'],
    detached: ['detached.ts'],
    errors: ['http/errors.ts'],
    events: ['events.ts'],
    'session-view': ['session-view.ts'],
    'identity-headers': ['http/identity-headers.ts'],
    'token-set': ['token-set.ts'],
    paths: ['http/paths.ts'],
    timeout: ['timeout.ts'],
  },
  { config: ['config/'], browser: ['browser/'] },
  { http: ['http/'], upstream: ['upstream/'], store: ['store/'], telemetry: ['telemetry/'] },
  { session: ['session/'], oidc: ['oidc/'] },
  { tokens: ['tokens/'] },
  { endpoints: ['endpoints/'], proxy: ['proxy/'] },
  { spa: ['spa/'] },
  { bff: ['bff.ts', 'app.ts', 'listener.ts'] },
  { server: ['server/'] },
  { cli: ['cli/'], index: ['index.ts'], vite: ['vite/'] },
];

/** What may stand at the root of `src/`, and as what. Everything else is in a folder, named by the field's nouns. */
const rootFiles: Readonly<Record<string, 'door' | 'wire' | 'floor 0'>> = {
  'index.ts': 'door',
  'bff.ts': 'wire',
  'app.ts': 'wire',
  'listener.ts': 'wire',
  'clock.ts': 'floor 0',
  'detached.ts': 'floor 0',
  'events.ts': 'floor 0',
  'session-view.ts': 'floor 0',
  'timeout.ts': 'floor 0',
  'token-set.ts': 'floor 0',
};

const floorsOfHono = [5, 6, 7];

/** The only places where a library may be imported; `types` names further ones that may import its types. */
const doors: Readonly<Record<string, { readonly in: readonly string[]; readonly types?: readonly string[] }>> = {
  'openid-client': { in: ['oidc/'] },
  jose: { in: ['oidc/provider-jwt.ts'] },
  'iron-webcrypto': { in: ['session/seal.ts'] },
  undici: { in: ['upstream/', 'proxy/'] },
  zod: { in: ['config/'] },
  pino: { in: ['telemetry/'], types: ['server/'] },
  '@redis/client': { in: ['store/redis-connection.ts'] },
  'lru-cache': { in: ['session/', 'oidc/', 'spa/', 'tokens/', 'proxy/'] },
  hono: { in: [...unitsOn(floorsOfHono), 'http/pages/language.ts'] },
  '@hono/node-server': { in: ['app.ts'] },
  react: { in: ['browser/react/'] },
  vite: { in: [], types: ['vite/'] },
};

function unitsOn(numbers: readonly number[]): string[] {
  return numbers.flatMap((floor) => Object.values(floors[floor] ?? {}).flat());
}

function place(path: string): { floor: number; unit: string } | undefined {
  for (const [floor, units] of floors.entries()) {
    for (const [unit, paths] of Object.entries(units)) {
      if (paths.some((own) => isIn(path, own))) return { floor, unit };
    }
  }
  return undefined;
}

function isIn(path: string, own: string): boolean {
  return own.endsWith('/') ? path.startsWith(own) : path === own;
}

/** What a file's imports break, in words. */
function brokenRules(path: string, source: string): string[] {
  const here = place(path);
  if (here === undefined) return [`${path} is on no floor: put it on the lowest that holds`];
  return importsOf(source).flatMap(({ from, typeOnly }) => {
    if (from.startsWith('node:')) return [];
    if (!from.startsWith('.'))
      return throughDoor(path, from, typeOnly) ? [] : [`${path} imports ${from}: not its door`];
    const target = join(path, '..', from);
    const there = place(target);
    if (there === undefined) return [`${path} imports ${target}, which is on no floor`];
    if (there.unit !== here.unit && (there.unit === 'browser' || here.unit === 'browser')) {
      return typeOnly && there.unit === 'session-view' ? [] : [`${path} imports ${target}: browser code stands apart`];
    }
    if (there.unit === here.unit || there.floor < here.floor) return [];
    return [`${path} (floor ${here.floor}) imports ${target} (floor ${there.floor})`];
  });
}

function throughDoor(path: string, library: string, typeOnly: boolean): boolean {
  const name = library
    .split('/')
    .slice(0, library.startsWith('@') ? 2 : 1)
    .join('/');
  const door = doors[name];
  if (door === undefined) return false;
  const allowed = typeOnly ? [...door.in, ...(door.types ?? [])] : door.in;
  return allowed.some((own) => isIn(path, own));
}

const maximumFileLines = 450;
const maximumFunctionLines = 60;
/** A factory `createX` is measured without the functions that it holds, and in all by this. */
const maximumFactoryLines = 150;

/** What may be larger, and why. `path` or `path function`. */
const sizeExceptions: Readonly<Record<string, string>> = {
  'bff.ts assembleBff': 'the wiring of everything, with the three doors',
};

/** What is too large in a file, by the name under which an exception lists it, and its size. */
function oversized(path: string, source: string): Array<readonly [name: string, size: string]> {
  const fileLines = source.trimEnd().split('\n').length;
  const functions = functionsOf(source, path).flatMap(({ name, lines, ownLines }) => {
    const isFactory = /^create[A-Z]/.test(name);
    const isLarge = isFactory
      ? ownLines > maximumFunctionLines || lines > maximumFactoryLines
      : lines > maximumFunctionLines;
    return isLarge ? [[`${path} ${name}`, `${lines} lines, ${ownLines} of its own`] as const] : [];
  });
  return fileLines > maximumFileLines ? [[path, `${fileLines} lines`], ...functions] : functions;
}

const files = readdirSync(sources, { recursive: true, encoding: 'utf8' })
  .filter((path) => /\.tsx?$/.test(path))
  .map((path) => [path, readFileSync(join(sources, path), 'utf8')] as const);

test('imports point down or stay inside, and every library comes through its door', () => {
  expect(files.length).toBeGreaterThan(30);
  expect(files.flatMap(([path, source]) => brokenRules(path, source))).toEqual([]);
});

test('no files import each other in a circle', () => {
  expect(importCircle(new Map(files))).toBeUndefined();
});

test('a file at the root of src/ is a door, a wire or on floor 0', () => {
  const atRoot = files.map(([path]) => path).filter((path) => !path.includes('/'));
  expect(atRoot.toSorted()).toEqual(Object.keys(rootFiles).toSorted());
  const misplaced = Object.entries(rootFiles).filter(
    ([path, kind]) => (kind === 'floor 0') !== (place(path)?.floor === 0),
  );
  expect(misplaced).toEqual([]);
});

test(`no file has more than ${maximumFileLines} lines, no function more than ${maximumFunctionLines}`, () => {
  const large = files.flatMap(([path, source]) => oversized(path, source));
  expect(large.filter(([name]) => !Object.hasOwn(sizeExceptions, name))).toEqual([]);
  const names = new Set(large.map(([name]) => name));
  expect(
    Object.keys(sizeExceptions).filter((name) => !names.has(name)),
    'exceptions that nothing needs',
  ).toEqual([]);
});

test('each file of the floors exists', () => {
  const paths = files.map(([path]) => path);
  const named = floors.flatMap((units) => Object.values(units).flat());
  expect(named.filter((own) => !paths.some((path) => isIn(path, own)))).toEqual([]);
});

test('every dependency has a door, and every door is used by a dependency', () => {
  const manifest = JSON.parse(readFileSync(join(sources, '../package.json'), 'utf8')) as Record<string, object>;
  const dependencies = Object.keys({
    ...manifest['dependencies'],
    ...manifest['optionalDependencies'],
    ...manifest['peerDependencies'],
  });
  // The demo in the package is made of this one.
  const elsewhere = new Set(['oidc-provider']);
  expect(dependencies.filter((name) => doors[name] === undefined && !elsewhere.has(name))).toEqual([]);
  const used = new Set(files.flatMap(([, source]) => importsOf(source).map(({ from }) => from)));
  const doorsUsed = Object.keys(doors).filter((name) => [...used].some((from) => `${from}/`.startsWith(`${name}/`)));
  expect(doorsUsed.filter((name) => !dependencies.includes(name))).toEqual([]);
  expect(Object.keys(doors).filter((name) => !doorsUsed.includes(name))).toEqual([]);
});

test('the words of the wire stay inside oidc/', () => {
  const wire = /\b(?:access_token|refresh_token|id_token|expires_in|grant_type|code_verifier)\b/;
  const lines = files
    .filter(([path]) => !path.startsWith('oidc/'))
    .flatMap(([path, source]) => source.split('\n').map((line) => `${path}: ${line.trim()}`))
    .filter((line) => wire.test(line) && !/^\S+ (?:\/?\*|\/\/)/.test(line));
  // The kinds of token that a revocation names (RFC 7009 2.1).
  expect(lines.filter((line) => !/revoke\([^)]*, '(?:access|refresh)_token'\)/.test(line))).toEqual([]);
});

describe('the rules would see', () => {
  test.each([
    ['an import that points up', 'config/config.ts', "import { x } from '../session/sessions.ts';", /imports session/],
    ['two units of one floor', 'session/sessions.ts', "import type { X } from '../oidc/provider.ts';", /imports oidc/],
    ['two folders of one floor', 'proxy/api.ts', "import { x } from '../endpoints/endpoint.ts';", /imports endpoints/],
    ['two files of floor 0', 'http/errors.ts', "import { x } from './paths.ts';", /imports http.paths/],
    ['an export from above', 'http/errors.ts', "export * from '../bff.ts';", /imports bff/],
    ['a dynamic import', 'http/pages.ts', "const { x } = await import('../bff.ts');", /imports bff/],
    ['an import of many lines', 'tokens/refresh.ts', "import {\n  x,\n  type Y,\n} from '../bff.ts';", /imports bff/],
    ['an import for its effect', 'store/memory.ts', "import '../server/server.ts';", /imports server/],
    ['a library at another door', 'tokens/refresh.ts', "import * as x from 'openid-client';", /not its door/],
    ['a library’s types at another door', 'bff.ts', "import type { X } from 'undici';", /not its door/],
    ['values where only types may come', 'server/server.ts', "import { pino } from 'pino';", /not its door/],
    ['a part of a library', 'session/session.ts', "import { x } from 'hono/utils/x';", /not its door/],
    ['an unknown library', 'spa/folder.ts', "import express from 'express';", /not its door/],
    ['code for browsers in the server', 'bff.ts', "import { x } from './browser/index.ts';", /stands apart/],
    ['the server in code for browsers', 'browser/x.ts', "import type { X } from '../events.ts';", /stands apart/],
    ['values in code for browsers', 'browser/x.ts', "import { x } from '../session-view.ts';", /stands apart/],
    ['a file on no floor', 'helpers.ts', '', /is on no floor/],
    ['an import of a file on no floor', 'bff.ts', "import { x } from './helpers.ts';", /which is on no floor/],
  ])('%s', (_story, path, source, broken) => {
    expect(brokenRules(path, source)).toEqual([expect.stringMatching(broken)]);
  });

  test('a circle of files, by way of types and other folders', () => {
    const circular = new Map([
      ['proxy/api.ts', "import { x } from './call.ts';"],
      ['proxy/call.ts', "import { y } from '../http/y.ts';\nimport type { Z } from './z.ts';"],
      ['http/y.ts', ''],
      ['proxy/z.ts', "export { x } from './api.ts';"],
    ]);
    expect(importCircle(circular)).toEqual(['proxy/api.ts', 'proxy/call.ts', 'proxy/z.ts', 'proxy/api.ts']);
    expect(importCircle(new Map([...circular, ['proxy/z.ts', '']]))).toBeUndefined();
  });
});

const statements = (count: number) => '  work();\n'.repeat(count);

describe('a size is measured in', () => {
  test.each([
    ['a long file', 'const x = 1;\n'.repeat(451), ['a.ts']],
    ['a file as long as may be', 'const x = 1;\n'.repeat(450), []],
    ['a long function', `function long() {\n${statements(59)}}`, ['a.ts long']],
    ['a function as long as may be', `function short() {\n${statements(58)}}`, []],
    ['a long arrow function', `const long = () => {\n${statements(59)}};`, ['a.ts long']],
    ['a long method', `class X {\n  long() {\n${statements(59)}  }\n}`, ['a.ts long']],
    ['a long property', `const x = {\n  async long() {\n${statements(59)}  },\n};`, ['a.ts long']],
    ['a long callback', `listen(() => {\n${statements(59)}});`, ['a.ts the function in line 1']],
    ['comments, which are free', `function short() {\n${'  // why\n\n  /* and\n how */\n'.repeat(60)}}`, []],
    [
      'types and text like code',
      `function long(x: A<() => B>): string {\n${"  x('} // {');\n".repeat(59)}}`,
      ['a.ts long'],
    ],
    [
      'a nested function in a plain one',
      `function outer() {\n  function f() {\n${statements(57)}  }\n}`,
      ['a.ts outer'],
    ],
    ['the same in a factory', `function createX() {\n  function f() {\n${statements(57)}  }\n}`, []],
    ['a factory’s own lines', `function createX() {\n${statements(59)}  return {};\n}`, ['a.ts createX']],
    [
      'a factory of too many functions',
      `function createX() {\n${`  function f() {\n${statements(48)}  }\n`.repeat(3)}}`,
      ['a.ts createX'],
    ],
  ])('%s', (_story, source, large) => {
    expect(oversized('a.ts', source).map(([name]) => name)).toEqual(large);
  });
});
