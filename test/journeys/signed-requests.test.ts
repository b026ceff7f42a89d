/** Signed authorization requests (RFC 9101): the provider knows that a request is this client's, and unchanged. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { expect, test } from 'vitest';
import { credentialFile, makePrivateKey, pemOf, type KeyKind } from '../support/client-keys.ts';
import type { ProviderOptions } from '../support/provider-configuration.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

interface Signing extends Pick<WorldOptions, 'config'> {
  readonly kind?: KeyKind;
  readonly provider?: Partial<ProviderOptions>;
}

async function startSigning({ kind = 'P-256', provider = {}, config = {} }: Signing = {}): Promise<World> {
  const { path: keyFile } = await credentialFile(pemOf(makePrivateKey(kind)));
  return startWorld({
    provider: { authMethod: 'private_key_jwt', signedRequests: 'required', ...provider },
    config: (base) => {
      const client = { id: base.client.id, authMethod: 'private_key_jwt' as const, keyFile };
      const changed = typeof config === 'function' ? config({ ...base, client }) : { ...base, client, ...config };
      return { ...changed, login: { requestObject: true, ...changed.login } };
    },
  });
}

interface SignedRequest {
  readonly header: Record<string, unknown>;
  readonly claims: Record<string, unknown>;
  /** What stands beside it. */
  readonly beside: string[];
}

function signedRequests(world: World, endpoint: 'authorization' | 'pushedAuthorization'): SignedRequest[] {
  return world.provider.requests
    .filter(({ endpoints }) => endpoints.includes(endpoint))
    .map(({ method, form, query }) => (method === 'POST' ? form : query))
    .filter(({ request }) => request !== undefined)
    .map(({ request = '', ...rest }) => ({
      header: { ...decodeProtectedHeader(request) },
      claims: decodeJwt(request),
      beside: Object.keys(rest).toSorted(),
    }));
}

test('the browser carries the client and the signed request, and nothing else', async () => {
  const world = await startSigning({ config: { login: { params: { max_age: '600', audience: 'orders' } } } });
  await signIn(world.client(), 'bob', '/orders');
  const [request] = signedRequests(world, 'authorization');
  expect(request?.beside).toEqual(['client_id']);
  expect(request?.header).toMatchObject({
    alg: 'ES256',
    typ: 'oauth-authz-req+jwt',
    kid: expect.any(String) as string,
  });
  const { provider, origin } = world;
  expect(request?.claims).toMatchObject({
    iss: provider.clientId,
    client_id: provider.clientId,
    aud: provider.issuer,
    response_type: 'code',
    redirect_uri: `${origin}/bff/callback`,
    code_challenge_method: 'S256',
    login_hint: 'bob',
    audience: 'orders',
    max_age: 600,
  });
  expect(request?.claims).not.toHaveProperty('sub');
  expect(Number(request?.claims['exp']) - Number(request?.claims['iat'])).toBeLessThan(60);
  world.assertNoSecrets();
});

test('a pushed one goes to the provider with the client authentication alone', async () => {
  const authorizationDetails = [{ type: 'account_information', actions: ['list_accounts'] }];
  const world = await startSigning({
    provider: { pushedRequests: 'required', detailTypes: ['account_information'] },
    config: { login: { authorizationDetails } },
  });
  await signIn(world.client());
  const [request] = signedRequests(world, 'pushedAuthorization');
  expect(request?.beside).toEqual(['client_assertion', 'client_assertion_type', 'client_id']);
  expect(request?.claims).toMatchObject({ authorization_details: authorizationDetails });
  const atBrowser = world.provider.requests.find(({ endpoints }) => endpoints.includes('authorization'));
  expect(Object.keys(atBrowser?.query ?? {}).toSorted()).toEqual(['client_id', 'request_uri']);
});

test.each([
  ['RSA', 'PS256'],
  ['Ed25519', 'EdDSA'],
] as const)('with a key of the kind %s it is signed with %s', async (kind, algorithm) => {
  const world = await startSigning({ kind });
  await signIn(world.client());
  expect(signedRequests(world, 'authorization').map(({ header }) => header['alg'])).toEqual([algorithm]);
});

test('no two have the same id, also where one is pushed again with the nonce of the provider', async () => {
  const world = await startSigning({
    provider: { pushedRequests: 'required', settings: { requireDpopNonce: true } },
    config: (base) => ({ ...base, client: { ...base.client, dpop: 'ES256' } }),
  });
  await signIn(world.client());
  const ids = signedRequests(world, 'pushedAuthorization').map(({ claims }) => claims['jti']);
  expect([ids.length, new Set(ids).size]).toEqual([2, 2]);
});

test('`claims` of the app are an object in it, and stay a text where they are none', async () => {
  const world = await startSigning({ config: { login: { allowParams: ['claims'] } } });
  const claims = '{"id_token":{"acr":{"essential":true}}}';
  for (const text of [claims, '{']) {
    await world.client().navigate(`/bff/login?${new URLSearchParams({ claims: text }).toString()}`);
  }
  expect(signedRequests(world, 'authorization').map((request) => request.claims['claims'])).toEqual([
    JSON.parse(claims),
    '{',
  ]);
});

test('names every resource that routes have tokens for', async () => {
  const resources = ['https://orders.test', 'https://billing.test'];
  const world = await startSigning({
    config: (base) => ({
      ...base,
      api: resources.map((resource, at) => ({ path: `/api/${at}`, target: 'http://127.0.0.1:9', token: { resource } })),
    }),
  });
  await signIn(world.client());
  expect(signedRequests(world, 'authorization').map(({ claims }) => claims['resource'])).toEqual([resources]);
});
