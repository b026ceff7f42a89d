/** The checks of an ID token at a login and at a refresh (OpenID Connect Core 3.1.3.7 and 12.2). */
import { describe, expect, test } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import { signIn, startWorld } from '../support/world.ts';

describe('an ID token is believed only when every claim and its signature fit:', () => {
  const faults: Array<[string, IdTokenMutation]> = [
    ['another nonce', (claims) => ({ claims: { ...claims, nonce: 'another' } })],
    ['no nonce', (claims) => ({ claims: without(claims, 'nonce') })],
    ['another audience', (claims) => ({ claims: { ...claims, aud: 'another' } })],
    [
      'two audiences and another authorized party',
      (claims) => ({ claims: { ...claims, aud: ['sallyport', 'b'], azp: 'b' } }),
    ],
    ['another issuer', (claims) => ({ claims: { ...claims, iss: 'https://evil.test' } })],
    ['an empty subject', (claims) => ({ claims: { ...claims, sub: '' } })],
    ['no subject', (claims) => ({ claims: without(claims, 'sub') })],
    ['expiry in the past', (claims) => ({ claims: { ...claims, exp: now() - 240 } })],
    ['no expiry', (claims) => ({ claims: without(claims, 'exp') })],
    ['issued in the future', (claims) => ({ claims: { ...claims, iat: now() + 3600 } })],
    ['alg none', () => ({ sign: 'none' })],
    ['a foreign key under the own id', () => ({ sign: 'foreign' })],
    ['an unknown key id', (_claims, header) => ({ header: { ...header, kid: 'unknown' }, sign: 'foreign' })],
    ['the public key as HMAC secret', () => ({ sign: 'public-key-as-secret' })],
    ['a spoilt signature', () => ({ sign: 'broken' })],
  ];
  test.each(faults)('not with %s', async (_title, mutation) => {
    const { client, provider, assertNoSecrets } = await startWorld();
    const browser = client();
    provider.mutateIdToken(mutation);
    const page = await browser.navigate('/bff/login');
    expect(page.status).toBe(403);
    expect(page.text).toContain('authorization_failed');
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    assertNoSecrets();
  });

  describe.each([
    ['by the app', '/bff/login?max_age=60', {}],
    ['by login.params', '/bff/login', { max_age: '60' }],
    ['by the app, more strictly than by login.params', '/bff/login?max_age=60', { max_age: '7200' }],
  ])('with max_age asked for %s', (_story, path, params) => {
    test.each([
      ['is too long ago', (claims: Record<string, unknown>) => ({ ...claims, auth_time: now() - 3600 })],
      ['is not told', (claims: Record<string, unknown>) => without(claims, 'auth_time')],
    ])('not when the time of the sign-in %s', async (_title, change) => {
      const { client, provider } = await startWorld({ config: { login: { params } } });
      const undo = provider.mutateIdToken((claims) => ({ claims: change(claims) }));
      const page = await client().navigate(path);
      expect(page.status).toBe(403);
      expect(page.text).toContain('authorization_failed');
      undo();
      expect((await client().navigate(path)).status).toBe(200);
    });
  });

  test('not where there is none', async () => {
    const { client, provider } = await startWorld();
    provider.mutate('code', (json) => without(json, 'id_token'));
    const page = await client().navigate('/bff/login');
    expect(page.status).toBe(403);
    expect(page.text).toContain('authorization_failed');
  });

  test('with a key that the provider has only just begun to use, after one look at its keys', async () => {
    const { client, provider } = await startWorld();
    await signIn(client());
    const before = provider.calls.jwks;
    await provider.rotateKeys();
    await signIn(client());
    expect(provider.calls.jwks).toBe(before + 1);
    expect(provider.calls.code).toBe(2);
    await signIn(client());
    expect(provider.calls.jwks).toBe(before + 1);
  });

  test('with keys last fetched more than five minutes ago, which are then fetched once for all', async () => {
    fakeDate();
    const { client, provider } = await startWorld();
    await signIn(client());
    await signIn(client());
    const before = provider.calls.jwks;
    expireAccessToken();
    for (let login = 0; login < 5; login += 1) await signIn(client());
    expect(provider.calls.jwks - before).toBeLessThanOrEqual(1);
  });

  test('and a flood of unknown keys is no flood of look-ups', async () => {
    const { client, provider } = await startWorld();
    await signIn(client());
    const before = provider.calls.jwks;
    let count = 0;
    provider.mutateIdToken((_claims, header) => ({
      header: { ...header, kid: `unknown-${(count += 1)}` },
      sign: 'foreign',
    }));
    for (let login = 0; login < 12; login += 1) {
      // Refused where the key was looked for in vain, open where it may not be looked for again.
      expect([403, 503]).toContain((await client().navigate('/bff/login')).status);
    }
    expect(provider.calls.jwks - before).toBeLessThanOrEqual(6);
  });
});

function without(value: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}
