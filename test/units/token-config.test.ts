/** The key `api[].token`: what it takes, and what it refuses before a token can go astray. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConfigError, resolveConfig, type Config, type ConfigInput } from '../../src/config/config.ts';
import { configJsonSchema } from '../../src/config/reference.ts';
import { loadConfig } from '../../src/config/sources.ts';

function routeWith(token: unknown): Config['api'][number]['token'] | undefined {
  const config = {
    origin: 'https://app.example.com',
    issuer: 'https://login.example.com',
    client: { id: 'app', secret: 'secret' },
    secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
    api: [{ path: '/api', target: 'http://127.0.0.1:1', token }],
  } as ConfigInput;
  return resolveConfig(config).api[0]?.token;
}

function faultOf(token: unknown): string {
  try {
    routeWith(token);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'none';
}

test.each([
  ['true, with every default', { phantom: true }, { phantom: { cacheSeconds: 60 } }],
  ['an object, with the others', { phantom: { audience: 'a' } }, { phantom: { audience: 'a', cacheSeconds: 60 } }],
  ['true of introspection', { introspect: true }, { introspect: { cacheSeconds: 60 } }],
  ['an empty client', { client: {} }, { client: { session: true } }],
  [
    'a resource',
    { resource: ['urn:orders', 'https://stock.test/a?b'] },
    { resource: ['urn:orders', 'https://stock.test/a?b'] },
  ],
  ['a scope', { scope: 'api://orders/Orders.Read a:b' }, { scope: 'api://orders/Orders.Read a:b' }],
  [
    'an audience',
    { exchange: { audience: 'orders' } },
    { exchange: { audience: 'orders', actor: false, header: 'Authorization' } },
  ],
])('%s is complete', (_story, given, complete) => {
  expect(routeWith(given)).toEqual(complete);
});

describe('refuses', () => {
  test.each([
    ['an unknown word', 'all', /api\.0\.token: must be "session", "none", "optional"/],
    ['an unknown policy', { magic: true }, /api\.0\.token/],
    ['two policies', { phantom: true, introspect: true }, /api\.0\.token/],
    ['false', { phantom: false }, /api\.0\.token/],
    ['an exchange for nothing', { exchange: {} }, /asks for nothing that the session has not/],
    ['a list of no audience', { exchange: { audience: [] } }, /api\.0\.token/],
    ['an audience with a blank', { exchange: { audience: 'a b' } }, /must be the name of an audience/],
    ['a relative resource', { exchange: { resource: '/orders' } }, /must be an absolute URI without a fragment/],
    ['a scope with two blanks', { client: { scope: 'a  b' } }, /must be scopes, separated by single spaces/],
    [
      'a refresh token for an API',
      { exchange: { requestedTokenType: 'urn:ietf:params:oauth:token-type:refresh_token' } },
      /must not be a refresh token or an ID token/,
    ],
    ['a token type that is no URI', { exchange: { requestedTokenType: 'jwt' } }, /must be a URI/],
    ['neither a resource nor a scope', {}, /api\.0\.token: must/],
    ['a resource with a fragment', { resource: 'https://orders.test/#a' }, /api\.0\.token/],
    ['a resource that is no address', { resource: 'orders' }, /api\.0\.token/],
    ['a list of no resource', { resource: [], scope: 'a' }, /api\.0\.token/],
    ['a scope with a quote', { resource: 'https://orders.test', scope: 'a"b' }, /api\.0\.token/],
    [
      'a resource beside an exchange',
      { resource: 'https://orders.test', exchange: { audience: 'a' } },
      /api\.0\.token/,
    ],
    ['a cache for ever', { introspect: { cacheSeconds: 1e9 } }, /must be at most 3600 seconds/],
  ])('%s', (_story, token, fault) => {
    expect(faultOf(token)).toMatch(fault);
  });

  test.each(
    `Host host Cookie Connection Transfer-Encoding Content-Length TE Upgrade Expect Proxy-Authorization Forwarded
     X-Forwarded-For X-Real-IP X-User X-Remote-User Cf-Access-Jwt-Assertion Sec-Fetch-Site Origin Accept-Encoding
     If-None-Match DPoP Range Via Client-Cert X-Csrf`.split(/\s+/),
  )('the header %s, which means something else', (header) => {
    expect(faultOf({ exchange: { audience: 'a', header } })).toMatch(/is a header with a meaning of its own/);
  });

  test.each(['', 'X Token', 'X-Token:', 'X_Token', 'X-Tok\r\nen', '-X', 'é'])(
    'the header %j, which is no name of one',
    (header) => {
      expect(faultOf({ exchange: { audience: 'a', header } })).toMatch(/must be the name of a header/);
    },
  );
});

test.each(['Txn-Token', 'X-Service-Token', 'authorization'])('takes the header %s', (header) => {
  expect(faultOf({ exchange: { audience: 'a', header } })).toBe('none');
});

test('a route without a token is no risk over plain http, and the others are', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'sallyport.config.json');
  const api = ['none', { client: {} }].map((token, at) => ({
    path: `/r${at}`,
    target: 'http://orders.internal',
    token,
  }));
  writeFileSync(file, JSON.stringify({ api }));
  const { warnings } = await loadConfig(file, {
    SALLYPORT_ORIGIN: 'https://app.example.com',
    SALLYPORT_ISSUER: 'https://login.example.com',
    SALLYPORT_CLIENT_ID: 'app',
    SALLYPORT_CLIENT_SECRET: 'the-client-secret-of-32-characters',
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
  });
  expect(warnings).toEqual([expect.stringMatching(/^The route \/r1 sends access tokens over plain http/)]);
});

test('a configuration file can hold no function, and an editor says so', () => {
  const schema = JSON.stringify(configJsonSchema());
  expect(schema).toContain('{"not":{}}');
  expect(() => routeWith(() => 'token')).not.toThrow();
});
