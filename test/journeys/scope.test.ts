/** The scopes that a login asks for, and those that a refresh names (RFC 6749 3.3, 6). */
import { describe, expect, test } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startSignedIn, startWorld, type World } from '../support/world.ts';

function scopeOfLogin({ provider }: World): string | undefined {
  return provider.requests.find(({ endpoints }) => endpoints.includes('authorization'))?.query['scope'];
}

function scopesOfRefreshes({ provider }: World): Array<string | undefined> {
  return provider.requests.filter(({ endpoints }) => endpoints.includes('refresh')).map(({ form }) => form['scope']);
}

describe('where no scope is configured, a login asks for', () => {
  test.each([
    ['all four, if the provider says nothing', undefined, 'openid profile email offline_access'],
    ['all four, if it lists none', [], 'openid profile email offline_access'],
    ['those that it supports', ['offline_access', 'offline', 'openid'], 'openid offline_access'],
    ['openid alone, if it supports nothing else of them', ['read', 'write'], 'openid'],
  ])('%s', async (_story, supported, scope) => {
    const world = await startWorld({ providerUp: false });
    world.provider.mutateDiscovery(({ scopes_supported: _supported, ...metadata }) =>
      supported === undefined ? metadata : { ...metadata, scopes_supported: supported },
    );
    await world.provider.up();
    const browser = world.client();
    await signIn(browser);
    expect(scopeOfLogin(world)).toBe(scope);
    expect(world.logs.find((line) => line.includes('provider.discovered'))).toContain(`"scope":"${scope}"`);
  });

  test('no offline session at Keycloak, which grants refresh tokens without', async () => {
    const world = await startWorld({ providerUp: false });
    world.provider.mutateDiscovery((metadata) => ({
      ...metadata,
      token_endpoint: `${world.provider.issuer}/realms/main/protocol/openid-connect/token`,
    }));
    await world.provider.up();
    await world.client().navigate('/bff/login', { stopBefore: (url) => url.origin === world.provider.issuer });
    await world.client().navigate('/bff/login');
    expect(scopeOfLogin(world)).toBe('openid profile email');
  });

  test('what is configured, whatever the provider says', async () => {
    const world = await startWorld({ providerUp: false, config: { scope: 'openid offline_access email' } });
    world.provider.mutateDiscovery((metadata) => ({ ...metadata, scopes_supported: ['openid'] }));
    await world.provider.up();
    await signIn(world.client());
    expect(scopeOfLogin(world)).toBe('openid offline_access email');
  });
});

describe('a refresh names', () => {
  test('the granted scopes, as the token response said', async () => {
    fakeDate();
    const world = await startWorld({ config: { scope: 'openid email offline_access' } });
    world.provider.mutate('code', (json) => ({ ...json, scope: 'openid email' }));
    const browser = world.client();
    await signIn(browser);
    for (let refresh = 0; refresh < 2; refresh += 1) {
      expireAccessToken();
      expect((await browser.fetch('/api/orders')).status).toBe(200);
    }
    expect(scopesOfRefreshes(world)).toEqual(['openid email', 'openid email']);
  });

  test.each([false, true])(
    'them also after a restart, which knows only the cookie (UserInfo: %s)',
    async (userInfo) => {
      fakeDate();
      const world = await startWorld({ config: { login: { userInfo } } });
      world.provider.mutate('code', (json) => ({ ...json, scope: 'openid email' }));
      const browser = world.client();
      await signIn(browser);
      await world.restart();
      expireAccessToken();
      expect((await browser.fetch('/api/orders')).status).toBe(200);
      expect(scopesOfRefreshes(world)).toEqual(['openid email']);
      expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
    },
  );

  test.each([
    ['leaves them out', ({ scope: _scope, ...json }: Record<string, unknown>) => json],
    ['writes them oddly', (json: Record<string, unknown>) => ({ ...json, scope: ['openid'] })],
  ])('the requested ones where the token response %s', async (_story, mutation) => {
    fakeDate();
    const world = await startWorld({ config: { scope: 'openid email' } });
    world.provider.mutate('token', mutation);
    const browser = world.client();
    await signIn(browser);
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(scopesOfRefreshes(world)).toEqual(['openid email']);
  });

  test.each([
    ['never said what it granted', ({ scope: _scope, ...json }: Record<string, unknown>) => json],
    ['said what it granted', (json: Record<string, unknown>) => json],
  ])('none, where a provider that %s refuses them', async (_story, mutation) => {
    fakeDate();
    const world = await startWorld();
    world.provider.mutate('token', mutation);
    const browser = world.client();
    await signIn(browser);
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_scope' }, times: 1 });
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(scopesOfRefreshes(world)).toEqual([expect.stringContaining('openid'), undefined]);
  });

  test('nothing a third time: one that refuses this as well ends the session', async () => {
    fakeDate();
    const world = await startSignedIn();
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_scope' } });
    expireAccessToken();
    expect((await world.browser.fetch('/api/orders')).at('code')).toBe('session_expired');
    expect(world.provider.calls.refresh).toBe(2);
  });
});
