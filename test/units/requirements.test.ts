/** Which scopes and claims satisfy what a route requires: claims are what a provider wrote, of any type, under any name. */
import { describe, expect, test } from 'vitest';
import { ConfigError, resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { policyPath } from '../../src/proxy/policy-decision.ts';
import {
  createRequirements,
  scopesIn,
  wordsOf,
  type Missing,
  type Requirements,
} from '../../src/proxy/requirements.ts';

/** As the configuration gives it, from JSON. */
type ApiRouteInput = NonNullable<ConfigInput['api']>[number];

function required(require: unknown, token: ApiRouteInput['token'] = 'session'): Requirements {
  const { api } = resolveConfig({
    origin: 'http://localhost:3000',
    issuer: 'http://127.0.0.1:9000',
    client: { id: 'app', secret: 'secret' },
    secrets: ['a secret that only tests know, of 40 signs'],
    api: [{ path: '/api', target: 'http://127.0.0.1:9100', token, require: require as Requirements }],
  });
  const [route] = api;
  if (route?.require === undefined) throw new Error('the route requires nothing');
  return route.require;
}

interface Person {
  readonly claims?: unknown;
  readonly scope?: unknown;
}

function missing(require: unknown, { claims = {}, scope = '' }: Person): Missing | undefined {
  // As they come, from JSON.
  const held = JSON.parse(JSON.stringify(claims)) as Record<string, unknown>;
  return createRequirements(required(require))({ claims: held, scopes: scopesIn(scope) });
}

describe('scopes', () => {
  test.each<[string, unknown, unknown, Missing | undefined]>([
    ['all of a list', ['a', 'b'], 'b c a', undefined],
    ['one of a list is missing', ['a', 'b'], 'a', { scopes: { all: ['b'] } }],
    ['any', { any: ['a', 'b'] }, 'b', undefined],
    ['none of any', { any: ['a', 'b'] }, 'c', { scopes: { any: ['a', 'b'] } }],
    ['all and any', { all: ['a'], any: ['b', 'c'] }, 'd', { scopes: { all: ['a'], any: ['b', 'c'] } }],
    ['a list of the provider', ['a', 'b'], ['b', 'a'], undefined],
    ['a longer word', ['read'], 'read:all readonly', { scopes: { all: ['read'] } }],
    ['a shorter word', ['read:all'], 'read', { scopes: { all: ['read:all'] } }],
    ['another case', ['read'], 'READ', { scopes: { all: ['read'] } }],
    ['other separators', ['read'], 'read,write\tread\nread\u00a0write', { scopes: { all: ['read'] } }],
    ['several in one member', ['read'], ['read write'], { scopes: { all: ['read'] } }],
    ['a member in a list', ['read'], [['read']], { scopes: { all: ['read'] } }],
    ['an object', ['read'], { read: true }, { scopes: { all: ['read'] } }],
    ['nothing', ['read'], undefined, { scopes: { all: ['read'] } }],
    ['a name that every object has', ['constructor'], 'toString', { scopes: { all: ['constructor'] } }],
  ])('%s', (_story, scopes, scope, expected) => {
    expect(missing({ scopes }, { scope })).toEqual(expected);
  });
});

describe('claims that are enough', () => {
  test.each<[string, unknown, unknown]>([
    ['one value', { tenant: 'acme' }, { tenant: 'acme' }],
    ['a value in a list', { roles: 'admin' }, { roles: ['user', 'admin'] }],
    ['one of several', { roles: ['admin', 'owner'] }, { roles: ['owner'] }],
    ['any', { roles: { any: ['admin', 'owner'] } }, { roles: 'admin' }],
    ['all', { roles: { all: ['admin', 'owner'] } }, { roles: ['owner', 'x', 'admin'] }],
    ['a flag', { email_verified: true }, { email_verified: true }],
    ['a number', { level: [2, 3] }, { level: 3 }],
    ['in an object', { 'realm_access.roles': 'admin' }, { realm_access: { roles: ['admin'] } }],
    [
      'with a dot in a name',
      { 'resource_access.my\\.app.roles': 'x' },
      { resource_access: { 'my.app': { roles: ['x'] } } },
    ],
    ['an address as a name', { 'https://example.com/roles': 'admin' }, { 'https://example.com/roles': ['admin'] }],
    ['a name that every object has', { constructor: 'x' }, { constructor: 'x' }],
  ])('%s', (_story, claims, held) => {
    expect(missing({ claims }, { claims: held })).toBeUndefined();
  });
});

describe('claims that are not enough', () => {
  test.each<[string, unknown, unknown]>([
    ['none', { roles: 'admin' }, {}],
    ['another value', { roles: 'admin' }, { roles: ['user'] }],
    ['one of all', { roles: { all: ['admin', 'owner'] } }, { roles: ['admin'] }],
    ['a part of a text', { roles: 'admin' }, { roles: 'user admin' }],
    ['the beginning', { roles: 'admin' }, { roles: 'administrator' }],
    ['another case', { roles: 'admin' }, { roles: 'Admin' }],
    ['a list in a list', { roles: 'admin' }, { roles: [['admin']] }],
    ['an object that has it as a name', { roles: 'admin' }, { roles: { admin: true } }],
    ['an object like a list', { roles: 'admin' }, { roles: { 0: 'admin', length: 1 } }],
    ['a text for a flag', { email_verified: true }, { email_verified: 'true' }],
    ['a number for a flag', { email_verified: true }, { email_verified: 1 }],
    ['a text for a number', { level: 3 }, { level: '3' }],
    ['null', { tenant: 'null' }, { tenant: null }],
    ['an empty list', { roles: ['admin'] }, { roles: [] }],
    ['a dot in a name where an object is meant', { 'a.b': 'x' }, { 'a.b': 'x' }],
    ['an object where a dot in a name is meant', { 'a\\.b': 'x' }, { a: { b: 'x' } }],
    ['an object where an address is meant', { 'https://a.b/c': 'x' }, { 'https://a': { 'b/c': 'x' } }],
    ['a member of a list by its number', { 'roles.0': 'admin' }, { roles: ['admin'] }],
    ['the length of a text', { 'name.length': 3 }, { name: 'abc' }],
    ['what every object has', { 'constructor.name': 'Object' }, {}],
    ['what every function has', { 'toString.name': 'toString' }, {}],
    [
      'what is named as a source elsewhere',
      { roles: 'admin' },
      { _claim_names: { roles: 'src' }, _claim_sources: { src: { JWT: 'x' } } },
    ],
  ])('%s', (_story, claims, held) => {
    const [name = ''] = Object.keys(claims as object);
    expect(Object.keys(missing({ claims }, { claims: held })?.claims ?? {})).toEqual([name]);
  });

  test('a prototype that the provider names', () => {
    const held = JSON.parse('{"__proto__":{"roles":["admin"]}}') as Record<string, unknown>;
    const requirements = createRequirements(required({ claims: { roles: 'admin' } }));
    expect(requirements({ claims: held, scopes: new Set() })).toEqual({ claims: { roles: { any: ['admin'] } } });
  });
});

test('what is missing is told in the words of the configuration, and nothing of what the person has', () => {
  const require = { scopes: ['orders:write'], claims: { 'realm_access.roles': ['admin', 'owner'], tenant: 'acme' } };
  const lacking = missing(require, {
    scope: 'orders:read',
    claims: { tenant: 'a secret tenant', realm_access: { roles: 'x' } },
  });
  expect(lacking).toEqual({
    scopes: { all: ['orders:write'] },
    claims: { 'realm_access.roles': { any: ['admin', 'owner'] }, tenant: { any: ['acme'] } },
  });
  expect(wordsOf(lacking ?? {})).toEqual([
    'scope orders:write',
    'claim realm_access.roles: admin or owner',
    'claim tenant: acme',
  ]);
});

test.each<[string, unknown]>([
  ['nothing', {}],
  ['where to look alone', { from: 'token' }],
  ['no scope', { scopes: [] }],
  ['two scopes in one', { scopes: ['a b'] }],
  ['neither all nor any', { scopes: {} }],
  ['no claim', { claims: {} }],
  ['no value', { claims: { a: { all: [] } } }],
  ['an empty name', { claims: { 'a..b': 'x' } }],
  ['a prototype', { claims: JSON.parse('{"__proto__":"x","a":"b"}') }],
  ['a prototype further in', { claims: { 'a.__proto__': 'x' } }],
  ['a misspelt key', { scope: ['a'] }],
  ['a sign-in that is too old at once', { maxAgeSeconds: 0 }],
  ['introspection of a token that nobody introspects', { scopes: ['a'], from: 'introspection' }],
])('a configuration that requires %s is a fault', (_story, require) => {
  expect(() => required(require)).toThrow(/api\.0\.require/);
});

describe('the path that a policy decides about', () => {
  test.each<[string, string[]]>([
    ['/', []],
    ['/v1/orders/5?x=/admin', ['v1', 'orders', '5']],
    ['/v1/orders/', ['v1', 'orders']],
    ['/v1/M%C3%BCller%20%26%20Co', ['v1', 'Müller & Co']],
    ['/v1/100%25', ['v1', '100%']],
  ])('%s', (path, segments) => {
    expect(policyPath(path, { allowEncodedSlashes: false })).toEqual(segments);
  });

  test('with an encoded slash in a segment, where the route allows that', () => {
    expect(policyPath('/v1/a%2Fb', { allowEncodedSlashes: true })).toEqual(['v1', 'a/b']);
    expect(() => policyPath('/v1/a%2Fb', { allowEncodedSlashes: false })).toThrow(/different ways/);
  });

  test.each([
    '/v1//admin',
    '//v1/admin',
    '/v1/admin;x=1',
    '/v1/admin%3Bx',
    '/v1/%2561dmin',
    '/v1/ad%00min',
    '/v1/ad%E2%80%8Bmin',
    '/v1/%FF',
    '/v1/%c0%ae',
    '/v1/a%5Cb',
    '/v1/%',
  ])('is refused where servers read it differently: %s', (path) => {
    expect(() => policyPath(path, { allowEncodedSlashes: false })).toThrow(/different ways/);
  });
});

test.each<[string, ApiRouteInput['token'], unknown, boolean]>([
  ['no token', 'none', { claims: { a: 'x' } }, true],
  ['a token where there is a session', 'optional', { maxAgeSeconds: 60 }, true],
  ["the app's own token for everybody", { client: { scope: 'x', session: false } }, { scopes: ['a'] }, true],
  ["the app's own token for people who are signed in", { client: { scope: 'x' } }, { scopes: ['a'] }, false],
  ['no token, and a policy decides', 'none', { opa: { url: 'http://127.0.0.1:8181', path: 'a' } }, false],
])('what only a person can have is a fault beside %s: %#', (_story, token, require, isFault) => {
  expect(faultsOf(() => required(require, token))).toEqual(
    isFault ? Object.keys(require as object).map((key) => `api.0.require.${key}`) : [],
  );
});

function faultsOf(resolve: () => unknown): string[] {
  try {
    resolve();
    return [];
  } catch (error) {
    return error instanceof ConfigError ? error.faults.map(({ path }) => path) : [String(error)];
  }
}
