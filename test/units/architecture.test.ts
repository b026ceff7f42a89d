/**
 * The layout's rules: imports point down or stay inside their unit (a folder, or a file at the top with its helpers), so
 * that a unit can be read knowing only what is below it; and each library has one door, so that it can be replaced.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const sources = join(import.meta.dirname, '../../src');

/** Units by floor, the ground first: a folder, or a file of its own. Every file is in one. */
const floors: ReadonlyArray<Readonly<Record<string, readonly string[]>>> = [
  {
    clock: ['clock.ts'],
    detached: ['detached.ts'],
    errors: ['http/errors.ts'],
    events: ['events.ts'],
    'token-set': ['token-set.ts'],
    paths: ['http/paths.ts'],
  },
  { config: ['config/'] },
  { http: ['http/'], upstream: ['upstream/'], store: ['store/'], telemetry: ['telemetry/'] },
  { session: ['session/'], oidc: ['oidc/'] },
  { tokens: ['tokens/'] },
  { endpoints: ['endpoints/'], proxy: ['proxy/'] },
  { spa: ['spa/'] },
  { bff: ['bff.ts', 'app.ts', 'listener.ts'] },
  { server: ['server/'] },
  { cli: ['cli/'], index: ['index.ts'] },
];

const floorsOfHono = [5, 6, 7];

/** The only places where a library may be imported; `types` names further ones that may import its types. */
const doors: Readonly<Record<string, { readonly in: readonly string[]; readonly types?: readonly string[] }>> = {
  'openid-client': { in: ['oidc/'] },
  'iron-webcrypto': { in: ['session/seal.ts'] },
  undici: { in: ['upstream/', 'proxy/'] },
  zod: { in: ['config/'] },
  pino: { in: ['telemetry/'], types: ['server/'] },
  ioredis: { in: ['store/redis.ts'] },
  'lru-cache': { in: ['session/', 'oidc/', 'spa/'] },
  hono: { in: unitsOn(floorsOfHono) },
  '@hono/node-server': { in: ['app.ts'] },
};

function unitsOn(numbers: readonly number[]): string[] {
  return numbers.flatMap((floor) => Object.values(floors[floor] ?? {}).flat());
}

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

function importsOf(source: string): Import[] {
  const statements = source.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s+)?'([^']+)'/gm);
  const dynamic = source.matchAll(/\bimport\('([^']+)'\)/g);
  return [
    ...[...statements].map(([, type, from = '']) => ({ from, typeOnly: type !== undefined })),
    ...[...dynamic].map(([, from = '']) => ({ from, typeOnly: false })),
  ];
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
  if (here === undefined) return [`${path} stands on no floor: put it on the lowest that holds`];
  return importsOf(source).flatMap(({ from, typeOnly }) => {
    if (from.startsWith('node:')) return [];
    if (!from.startsWith('.'))
      return throughDoor(path, from, typeOnly) ? [] : [`${path} imports ${from}: not its door`];
    const target = join(path, '..', from);
    const there = place(target);
    if (there === undefined) return [`${path} imports ${target}, which stands on no floor`];
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

const files = readdirSync(sources, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => [path, readFileSync(join(sources, path), 'utf8')] as const);

test('imports point down or stay inside, and every library comes through its door', () => {
  expect(files.length).toBeGreaterThan(30);
  expect(files.flatMap(([path, source]) => brokenRules(path, source))).toEqual([]);
});

test('each file of the floors exists', () => {
  const paths = files.map(([path]) => path);
  const named = floors.flatMap((units) => Object.values(units).flat());
  expect(named.filter((own) => !paths.some((path) => isIn(path, own)))).toEqual([]);
});

test('every dependency has a door, and every door that is used is a dependency', () => {
  const manifest = JSON.parse(readFileSync(join(sources, '../package.json'), 'utf8')) as Record<string, object>;
  const dependencies = Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'] });
  expect(dependencies.filter((name) => doors[name] === undefined)).toEqual([]);
  const used = new Set(files.flatMap(([, source]) => importsOf(source).map(({ from }) => from)));
  const doorsUsed = Object.keys(doors).filter((name) => [...used].some((from) => `${from}/`.startsWith(`${name}/`)));
  expect(doorsUsed.filter((name) => !dependencies.includes(name))).toEqual([]);
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
    ['an import that points up', 'config.ts', "import { openSession } from './session/sessions.ts';"],
    ['two units of one floor', 'session/sessions.ts', "import type { Provider } from '../oidc/provider.ts';"],
    ['two folders of one floor', 'proxy/api.ts', "import { single } from '../endpoints/endpoint.ts';"],
    ['an export from above', 'errors.ts', "export * from './bff.ts';"],
    ['a dynamic import', 'inbound.ts', "const { createBff } = await import('./bff.ts');"],
    ['an import of many lines', 'tokens/refresh.ts', "import {\n  createBff,\n  type Bff,\n} from '../bff.ts';"],
    ['an import for its effect', 'store/memory.ts', "import '../server.ts';"],
    ['a library at another door', 'tokens/refresh.ts', "import * as client from 'openid-client';"],
    ['a library’s types at another door', 'bff.ts', "import type { Dispatcher } from 'undici';"],
    ['a library’s values where only types may come', 'server.ts', "import { pino } from 'pino';"],
    ['a part of a library at another door', 'session/session.ts', "import { x } from 'hono/utils/x';"],
    ['an unknown library', 'spa.ts', "import express from 'express';"],
    ['a file on no floor', 'helpers.ts', ''],
    ['an import of a file on no floor', 'bff.ts', "import { x } from './helpers.ts';"],
  ])('%s', (_story, path, source) => {
    expect(brokenRules(path, source)).toHaveLength(1);
  });
});
