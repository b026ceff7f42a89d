/** Phantom tokens of a provider that signs the responses of its introspection (RFC 9701). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;

beforeAll(async () => {
  world = await startWorld(
    {
      provider: { signedIntrospection: true, settings: { accessTokens: 'opaque' } },
      config: ({ api = [], ...base }) => ({
        ...base,
        api: [{ path: '/api', target: api[0]?.target ?? '', token: { phantom: true } }],
      }),
    },
    { scope: 'manual' },
  );
});
afterAll(() => world.stop());

beforeEach(async () => {
  alice = world.client();
  await signIn(alice, 'alice');
  world.api.requests.length = 0;
  world.provider.resetCalls();
});

test('the API gets the signed response, which is asked for as such', async () => {
  expect((await alice.fetch('/api/x')).status).toBe(200);
  expect(world.api.last().claims).toMatchObject({
    iss: world.provider.issuer,
    token_introspection: { active: true, sub: 'alice' },
  });
  const asked = world.provider.requests.find(({ endpoints }) => endpoints.includes('introspection'));
  expect(asked?.headers.accept).toBe('application/token-introspection+jwt');
});

test('a response that says that the token is not active makes Sallyport refresh it', async () => {
  world.provider.revokeAccessTokens('alice');
  expect((await alice.fetch('/api/x')).status).toBe(200);
  expect(world.provider.calls.refresh).toBe(1);
});

test.each<[string, IdTokenMutation]>([
  ['for another client', (claims) => ({ claims: { ...claims, aud: 'another' } })],
  ['of another issuer', (claims) => ({ claims: { ...claims, iss: 'https://other.test' } })],
  ['of no time', ({ iss = '', aud = '', ...claims }) => ({ claims: { iss, aud, x: claims['token_introspection'] } })],
  ['about nothing', (claims) => ({ claims: { ...claims, token_introspection: 'active' } })],
  ['without a signature', () => ({ sign: 'none' })],
  ['with a foreign key’s signature', () => ({ sign: 'foreign' })],
])('a response %s is not passed on', async (_story, mutation) => {
  const undo = world.provider.mutatePhantom(mutation);
  const answer = await alice.fetch('/api/x');
  undo();
  expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
  expect(world.api.requests).toEqual([]);
});

test('a response in a form that says it is an access token’s JWT is held to the rules of one', async () => {
  const undo = world.provider.mutatePhantom((claims, header) => ({
    claims: { ...claims, aud: 'another' },
    header: { ...header, typ: 'at+jwt' },
  }));
  const answer = await alice.fetch('/api/x');
  undo();
  expect(answer.status).toBe(503);
});
