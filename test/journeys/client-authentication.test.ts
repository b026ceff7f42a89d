/**
 * Sallyport proves to the provider that it is its client, in each of the ways that there are: at sign-in, at a refresh,
 * and when it revokes a token. The provider refuses what FAPI 2.0 refuses.
 */
import { expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { assertionsTo, credentialFile, makePrivateKey, pemOf } from '../support/client-keys.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { callsByCertificate, clientCertificate, startMutualTlsWorld } from '../support/mutual-tls.ts';
import type { ProviderOptions } from '../support/provider-configuration.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

type Client = ConfigInput['client'];

/** A world whose client authenticates so, with these keys in place of the secret. */
function worldWith(client: Partial<Client>, provider: Partial<ProviderOptions> = {}): Promise<World> {
  const { authMethod } = client;
  const isSecret = authMethod?.startsWith('client_secret_') === true;
  return startWorld({
    config: (base) => ({ ...base, client: { id: base.client.id, ...(isSecret ? base.client : {}), ...client } }),
    provider: { authMethod: authMethod as NonNullable<ProviderOptions['authMethod']>, ...provider },
  });
}

/** Signs in, refreshes, signs out: a code is redeemed, a refresh token redeemed, and one revoked. */
async function doTheMainJob(world: World): Promise<void> {
  fakeDate();
  const browser = world.client();
  await signIn(browser);
  expireAccessToken();
  expect((await browser.fetch('/api/me')).status).toBe(200);
  await browser.navigate(String((await browser.fetch('/bff/session')).at('logoutUrl')));
  const { code, refresh, revocation } = world.provider.calls;
  expect({ code, refresh, revocation }).toEqual({ code: 1, refresh: 1, revocation: 1 });
  expect(world.logs.filter((line) => /"level":[56]0|_failed/.test(line))).toEqual([]);
  world.assertNoSecrets();
}

const keys = [
  ['RSA', 'PS256'],
  ['P-256', 'ES256'],
  ['Ed25519', 'EdDSA'],
] as const;

test.each(keys)('with a private key (%s) it signs with %s', async (kind, algorithm) => {
  const key = makePrivateKey(kind);
  const file = await credentialFile(pemOf(key));
  const world = await worldWith({ authMethod: 'private_key_jwt', keyFile: file.path });
  await doTheMainJob(world);
  const assertions = assertionsTo(world.provider);
  expect(assertions.map(({ request }) => request.path)).toEqual(['/token', '/token', '/token/revocation']);
  const published = (await world.client().fetch('/bff/jwks.json')).json() as { keys: { kid: string }[] };
  for (const { header } of assertions) expect(header).toEqual({ alg: algorithm, kid: published.keys[0]?.kid });
  for (const { request } of assertions) expect(request.headers.authorization).toBeUndefined();
});

test('with the client secret it signs, and never sends it', async () => {
  const world = await worldWith({ authMethod: 'client_secret_jwt' });
  await doTheMainJob(world);
  const assertions = assertionsTo(world.provider);
  const withSecret = { alg: 'HS256' };
  expect(assertions.map(({ header }) => header)).toEqual([withSecret, withSecret, withSecret]);
  expect(JSON.stringify(world.provider.requests)).not.toContain(world.provider.clientSecret);
  expect((await world.client().fetch('/bff/jwks.json')).status).toBe(404);
});

test('every assertion is for the issuer alone and for less than a minute, and none is used twice', async () => {
  const file = await credentialFile(pemOf(makePrivateKey('P-256')));
  const world = await worldWith({ authMethod: 'private_key_jwt', keyFile: file.path });
  await doTheMainJob(world);
  const claims = assertionsTo(world.provider).map((assertion) => assertion.claims);
  for (const { iss, sub, aud, exp = 0, iat = 0, nbf } of claims) {
    expect({ iss, sub, aud, nbf }).toEqual({
      iss: 'sallyport',
      sub: 'sallyport',
      aud: world.provider.issuer,
      nbf: iat,
    });
    expect(exp - iat).toBeLessThan(60);
  }
  expect(new Set(claims.map(({ jti }) => jti)).size).toBe(3);
});

const certified = [
  ['tls_client_auth', 'of an authority'],
  ['self_signed_tls_client_auth', 'of its own'],
] as const;

test.each(certified)('with a certificate (%s, %s) it calls the addresses for those', async (authMethod, _of) => {
  const certificate = await clientCertificate();
  const [certFile, tlsKeyFile] = [await credentialFile(certificate.cert), await credentialFile(certificate.key)];
  const world = await startMutualTlsWorld({
    authorities: authMethod === 'tls_client_auth' ? [certificate.cert] : [],
    provider: { authMethod },
    client: { authMethod, certFile: certFile.path, tlsKeyFile: tlsKeyFile.path },
  });
  await doTheMainJob(world);
  const calls = callsByCertificate(world.provider);
  expect(calls).toEqual({
    with: ['/me', '/token', '/token/revocation'],
    without: ['/.well-known/openid-configuration', '/jwks'],
  });
  const { form } = world.provider.requests.find(({ endpoints }) => endpoints.includes('code')) ?? {};
  expect(form).toMatchObject({ client_id: 'sallyport' });
  expect(form).not.toHaveProperty('client_secret');
});
