/**
 * The FAPI 2.0 profiles. The rules are those of OpenID's own conformance suite for clients: each test names the module
 * whose rule it is, by the part of its name after `fapi2-security-profile-final-client-test-`. The provider of these tests
 * holds the client to the profile, too.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { credentialFile, makePrivateKey, pemOf } from '../support/client-keys.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { ProviderOptions } from '../support/provider-configuration.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

type Profile = NonNullable<ConfigInput['profile']>;

/** A world with the profile, and nothing else but who the client is. */
async function startProfile(
  profile: Profile = 'fapi2',
  change: Partial<ConfigInput> = {},
  provider: Partial<ProviderOptions> = {},
): Promise<World> {
  const { path: keyFile } = await credentialFile(pemOf(makePrivateKey('P-256')));
  return startWorld({
    provider: {
      fapi: true,
      authMethod: 'private_key_jwt',
      pushedRequests: 'required',
      ...(profile === 'fapi2-message-signing' ? { signedRequests: 'required' as const } : {}),
      settings: { requireDpopNonce: true },
      ...provider,
    },
    config: (base) => ({ ...base, profile, client: { id: base.client.id, keyFile }, ...change }),
  });
}

async function outcomeOfSignIn(world: World): Promise<unknown> {
  const browser = world.client();
  const page = await browser.navigate('/bff/login');
  return [page.status, (await browser.fetch('/bff/session')).at('authenticated')];
}

const signedIn = [200, true];

describe('the happy path', () => {
  test('with one switch: PAR, S256, a key, DPoP (happy-path)', async () => {
    fakeDate();
    const world = await startProfile();
    const browser = world.client();
    await signIn(browser);
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    const { requests } = world.provider;
    const sent = (path: string) => requests.filter((request) => request.path === path);
    const [push] = sent('/request').slice(-1);
    expect(push?.form).toMatchObject({ code_challenge_method: 'S256', response_type: 'code' });
    expect(push?.form).toHaveProperty('dpop_jkt');
    expect(Object.keys(sent('/auth')[0]?.query ?? {}).toSorted()).toEqual(['client_id', 'request_uri']);
    for (const { form, headers } of [...sent('/request'), ...sent('/token')]) {
      expect(headers['dpop']).toBeDefined();
      expect(decodeJwt(form['client_assertion'] ?? '').aud).toBe(world.provider.issuer);
      expect(decodeProtectedHeader(form['client_assertion'] ?? '').alg).toBe('ES256');
    }
    expect(world.api.last().headers['authorization']).toMatch(/^DPoP /);
    expect(world.logs.filter((line) => /"level":[56]0|_failed|unsuitable/.test(line))).toEqual([]);
    world.assertNoSecrets();
  });

  test('without nonces of the provider (happy-path-no-dpop-nonce)', async () => {
    const world = await startProfile();
    world.provider.settings.requireDpopNonce = false;
    expect(await outcomeOfSignIn(world)).toEqual(signedIn);
  });

  test('with signed requests and answers (FAPI 2.0 Message Signing)', async () => {
    const world = await startProfile('fapi2-message-signing');
    const page = await signIn(world.client());
    const callback = page.chain.find(({ url }) => url.includes('/bff/callback'));
    expect([...new URL(callback?.url ?? '').searchParams.keys()]).toEqual(['response']);
    const push = world.provider.requests.findLast(({ path }) => path === '/request');
    expect(decodeProtectedHeader(push?.form['request'] ?? '')).toMatchObject({
      alg: 'ES256',
      typ: 'oauth-authz-req+jwt',
    });
    expect(push?.form).not.toHaveProperty('redirect_uri');
  });

  test('with an audience that is a list (valid-aud-as-array), and odd cases of token_type (token-type-case-insensitivity)', async () => {
    const world = await startProfile();
    world.provider.mutateIdToken((claims) => ({ claims: { ...claims, aud: [String(claims.aud)] } }));
    world.provider.mutate('token', (json) => ({ ...json, token_type: 'dPOp' }));
    expect(await outcomeOfSignIn(world)).toEqual(signedIn);
  });

  test('without expires_in (token-endpoint-response-without-expires_in)', async () => {
    const world = await startProfile();
    world.provider.mutate('token', ({ expires_in: _lifetime, ...json }) => json);
    expect(await outcomeOfSignIn(world)).toEqual(signedIn);
  });
});

const invalidIdTokens: ReadonlyArray<readonly [module: string, mutation: IdTokenMutation]> = [
  ['invalid-iss', (claims) => ({ claims: { ...claims, iss: `${String(claims.iss)}/1` } })],
  ['invalid-aud', (claims) => ({ claims: { ...claims, aud: 'another' } })],
  ['invalid-secondary-aud', (claims) => ({ claims: { ...claims, aud: [String(claims.aud), 'untrusted'] } })],
  ['invalid-null-alg', () => ({ sign: 'none' })],
  ['invalid-alternate-alg', (_claims, header) => ({ header: { ...header, kid: 'key-0', alg: 'RS256' } })],
  ['invalid-expired-exp', (claims) => ({ claims: { ...claims, exp: Math.floor(Date.now() / 1000) - 301 } })],
  ['invalid-missing-exp', ({ exp: _exp, ...claims }) => ({ claims })],
  ['invalid-missing-aud', ({ aud: _aud, ...claims }) => ({ claims })],
  ['invalid-missing-iss', ({ iss: _iss, ...claims }) => ({ claims })],
  ['invalid-nonce', (claims) => ({ claims: { ...claims, nonce: 'another' } })],
  ['invalid-missing-nonce', ({ nonce: _nonce, ...claims }) => ({ claims })],
];

test('an ID token that is wrong makes no session', async () => {
  const world = await startProfile();
  for (const [module, mutation] of invalidIdTokens) {
    const undo = world.provider.mutateIdToken(mutation);
    expect([module, await outcomeOfSignIn(world)]).toEqual([module, [403, false]]);
    undo();
  }
  expect(await outcomeOfSignIn(world)).toEqual(signedIn);
});

describe('an answer of the authorization endpoint', () => {
  test.each<[module: string, name: string, value: string | undefined]>([
    ['invalid-authorization-response-iss', 'iss', 'https://evil.test'],
    ['remove-authorization-response-iss', 'iss', undefined],
    ['ensure-authorization-response-with-invalid-state-fails', 'state', 'another'],
    ['ensure-authorization-response-with-invalid-missing-state-fails', 'state', undefined],
  ])('that is wrong is refused, and no token asked for (%s)', async (_module, name, value) => {
    const world = await startProfile();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    if (value === undefined) callback.searchParams.delete(name);
    else callback.searchParams.set(name, value);
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect([page.status, world.provider.calls.token]).toEqual([400, 0]);
  });

  test('that is not signed with one of the algorithms of the profile is refused', async () => {
    const world = await startProfile('fapi2-message-signing');
    const browser = world.client();
    const callback = await leadToCallback(browser);
    const claims = decodeJwt(callback.searchParams.get('response') ?? '');
    callback.searchParams.set('response', await world.provider.sign(claims, { alg: 'RS256' }));
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect([page.status, world.provider.calls.token]).toEqual([400, 0]);
    callback.searchParams.set('response', await world.provider.sign(claims, { alg: 'PS256', kid: 'key-0-ps' }));
    expect((await browser.navigate(callback.href, { initiator: world.provider.issuer })).status).toBe(200);
  });
});

test('introspection that is signed with another algorithm than the profile has is not passed on', async () => {
  const world = await startProfile(
    'fapi2-message-signing',
    { api: [{ path: '/api', target: 'http://127.0.0.1:9', token: { phantom: true } }] },
    { signedIntrospection: true, settings: { accessTokens: 'opaque' } },
  );
  const browser = world.client();
  await signIn(browser);
  const codes: unknown[] = [];
  for (const [alg, kid] of [
    ['RS256', 'key-0'],
    ['PS256', 'key-0-ps'],
  ]) {
    const undo = world.provider.mutatePhantom((_claims, header) => ({ header: { ...header, alg, kid } }));
    codes.push((await browser.fetch('/api/orders')).at('code'));
    undo();
  }
  // Nothing listens where the API would be.
  expect(codes).toEqual(['provider_unavailable', 'upstream_unavailable']);
});

test('a new key that cannot do what the profile demands is not taken; the old one signs', async () => {
  fakeDate();
  const file = await credentialFile(pemOf(makePrivateKey('P-256')));
  const world = await startWorld({
    provider: { fapi: true, authMethod: 'private_key_jwt', pushedRequests: 'required' },
    config: (base) => ({ ...base, profile: 'fapi2', client: { id: base.client.id, keyFile: file.path } }),
  });
  await signIn(world.client());
  await file.replace(pemOf(makePrivateKey('P-384')));
  vi.advanceTimersByTime(2000);
  await signIn(world.client());
  expect(world.logs.filter((line) => line.includes('"credentials.unusable"'))).toEqual([
    expect.stringContaining('cannot do what the profile \\"fapi2\\" allows, only ES384'),
  ]);
});

describe('another site', () => {
  test('cannot begin a login, nor choose its parameters: the person does, by a button', async () => {
    const world = await startProfile();
    for (const initiator of ['https://evil.test', 'http://sibling.localhost']) {
      const browser = world.client();
      const page = await browser.navigate('/bff/login?login_hint=bob&returnTo=%2Forders', { initiator });
      expect([page.status, world.provider.calls.pushedAuthorization]).toEqual([403, 0]);
      expect(page.text).toContain('href="/bff/login?returnTo=%2Forders"');
    }
    const browser = world.client();
    const page = await browser.navigate('/bff/login?returnTo=%2Forders', { initiator: browser.origin });
    expect(page.url).toBe(`${world.origin}/orders`);
  });
});

describe('a provider that cannot do what the profile demands', () => {
  test('is not used: each reason is in the log at once, and the server is not ready', async () => {
    const { path: keyFile } = await credentialFile(pemOf(makePrivateKey('P-256')));
    const world = await startWorld({
      config: (base) => ({ ...base, profile: 'fapi2-message-signing', client: { id: base.client.id, keyFile } }),
      providerUp: false,
    });
    world.provider.mutateDiscovery((json) => ({
      ...json,
      token_endpoint_auth_methods_supported: ['client_secret_basic'],
      authorization_response_iss_parameter_supported: false,
      dpop_signing_alg_values_supported: undefined,
      response_modes_supported: ['query'],
    }));
    await world.provider.up();
    const page = await world.client().navigate('/bff/login');
    expect([page.status, world.server.bff.ready()]).toEqual([503, false]);
    const [line] = world.logs.filter((each) => each.includes('"provider.discovery_failed"')).slice(-1);
    for (const reason of [
      'does not know DPoP',
      'takes signed requests',
      'does not take private_key_jwt',
      'pushed_authorization_request_endpoint',
      'signs ID tokens with RS256 only: give this client PS256, ES256 or EdDSA',
      'does not offer the response mode jwt',
    ]) {
      expect(line).toContain(reason);
    }
    expect(world.provider.calls.authorization).toBe(0);
  });

  test('is not used where its metadata is of another issuer (discovery-issuer-mismatch)', async () => {
    const world = await startProfile();
    world.provider.mutateDiscovery((json) => ({ ...json, issuer: 'https://other.test' }));
    await world.restart();
    expect((await world.client().navigate('/bff/login')).status).toBe(503);
  });
});
