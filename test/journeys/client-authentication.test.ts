/**
 * Sallyport proves to the provider that it is its client, in each of the ways that there are: at sign-in, at a refresh,
 * and when it revokes a token. The provider refuses what FAPI 2.0 refuses.
 */
import { expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { assertionsTo, credentialFile, makePrivateKey, pemOf } from '../support/client-keys.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
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
