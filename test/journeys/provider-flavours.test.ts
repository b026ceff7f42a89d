/**
 * What well-known providers do differently, one difference a test. docs/providers.md says which provider does which;
 * each of its sentences about a difference is proved here.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { TestProvider } from '../support/provider.ts';
import { signIn, startWorld, type ConfigOverrides, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

/** A world whose provider is different from the first call on. */
async function startWithProvider(change: (provider: TestProvider) => void, config?: ConfigOverrides): Promise<World> {
  const world = await startWorld();
  change(world.provider);
  await world.restart(config);
  return world;
}

/** The fields named are left out of the provider's JSON. */
function without(...names: string[]) {
  return (json: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(json).filter(([name]) => !names.includes(name)));
}

function withSlash(provider: TestProvider): void {
  const issuer = `${provider.issuer}/`;
  provider.mutateDiscovery((json) => ({ ...json, issuer }));
  provider.mutateIdToken((claims) => ({ claims: { ...claims, iss: issuer } }));
  provider.mutateCallback((parameters) => {
    parameters.set('iss', issuer);
    return parameters;
  });
}

function authorizationQuery(world: World): Record<string, string> | undefined {
  return world.provider.requests.findLast((request) => request.endpoints.includes('authorization'))?.query;
}

describe('a provider that wants more authorization parameters (Auth0 audience; Google access_type)', () => {
  test('gets those of login.params with every login', async () => {
    const world = await startWorld({
      config: { login: { params: { audience: 'https://api.example', access_type: 'offline' } } },
    });
    await signIn(world.client());
    expect(authorizationQuery(world)).toMatchObject({ audience: 'https://api.example', access_type: 'offline' });
  });

  test('gives a refresh token once it gets prompt=consent', async () => {
    const asked = await startWithProvider(
      (provider) => {
        provider.settings.refreshTokens = 'with-consent';
      },
      (base) => ({ ...base, login: { params: { prompt: 'consent' } } }),
    );
    const browser = asked.client();
    await signIn(browser);
    expect((await browser.fetch('/bff/session')).at('accessToken.refreshable')).toBe(true);
  });
});

describe('a provider without an end-session endpoint (Google; Auth0 unless its option is on)', () => {
  test('has its refresh token revoked, and the browser goes straight back to the app', async () => {
    const world = await startWithProvider((provider) => void provider.mutateDiscovery(without('end_session_endpoint')));
    const browser = world.client();
    await signIn(browser);
    const logoutUrl = String((await browser.fetch('/bff/session')).at('logoutUrl'));

    const page = await browser.navigate(logoutUrl, { initiator: browser.origin });

    expect(page.chain.map((hop) => new URL(hop.url).origin)).toEqual([world.origin, world.origin]);
    expect(page.url).toBe(`${world.origin}/`);
    expect(world.provider.calls.revocation).toBe(1);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('answers a script with the way back to the app', async () => {
    const world = await startWithProvider((provider) => void provider.mutateDiscovery(without('end_session_endpoint')));
    const browser = world.client();
    await signIn(browser);

    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    const page = await browser.navigate(String(answer.at('location')), { initiator: browser.origin });

    expect(page.url).toBe(`${world.origin}/`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });
});

test('a sign-out at a provider without revocation (Entra ID) uses its end-session endpoint alone', async () => {
  const world = await startWithProvider(
    (provider) => void provider.mutateDiscovery(without('revocation_endpoint', 'introspection_endpoint')),
  );
  const browser = world.client();
  await signIn(browser);
  const logoutUrl = String((await browser.fetch('/bff/session')).at('logoutUrl'));

  const page = await browser.navigate(logoutUrl, { initiator: browser.origin });

  expect(page.url).toBe(`${world.origin}/`);
  expect([world.provider.calls.revocation, world.provider.calls.endSession]).toEqual([0, 1]);
});

describe('a provider that gives no refresh token (Google and Okta unless asked for it)', () => {
  test('gives a session that says so and ends with the access token', async () => {
    const world = await startWithProvider((provider) => {
      provider.settings.refreshTokens = 'never';
    });
    const browser = world.client();
    await signIn(browser);
    const session = await browser.fetch('/bff/session');
    expect([session.at('accessToken.refreshable'), session.at('session.expiresInSeconds')]).toEqual([false, 300]);
    expect((await browser.fetch('/api/1')).status).toBe(200);

    expireAccessToken();
    const answer = await browser.fetch('/api/2');

    // The cookie ended with the token, so that the browser shows none.
    expect([answer.status, answer.at('code')]).toEqual([401, 'login_required']);
    expect(answer.at('loginUrl')).toContain('/bff/login');
    expect(world.provider.calls.refresh).toBe(0);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });
});

describe('a provider that does not rotate refresh tokens (Google, Entra ID, Okta, Keycloak)', () => {
  test('is asked once for parallel calls, and again with the same token', async () => {
    const world = await startWithProvider((provider) => {
      provider.settings.rotateRefreshTokens = false;
    });
    const browser = world.client();
    await signIn(browser);

    for (const round of [1, 2]) {
      expireAccessToken();
      const calls = Array.from({ length: 10 }, (_, index) => browser.fetch(`/api/${round}-${index}`));
      expect((await Promise.all(calls)).map((answer) => answer.status)).toEqual(calls.map(() => 200));
      expect(world.provider.calls.refresh).toBe(round);
    }
    const shown = world.provider.requests.filter((request) => request.endpoints.includes('refresh'));
    expect(new Set(shown.map((request) => request.form['refresh_token'])).size).toBe(1);
  });

  test('may leave the refresh token out of its answers', async () => {
    const world = await startWithProvider((provider) => {
      provider.settings.rotateRefreshTokens = false;
      provider.mutate('refresh', without('refresh_token'));
    });
    const browser = world.client();
    await signIn(browser);
    for (const round of [1, 2]) {
      expireAccessToken();
      expect((await browser.fetch(`/api/${round}`)).status).toBe(200);
    }
    expect(world.provider.calls.refresh).toBe(2);
  });
});

test('opaque access tokens (Google; Auth0 without an audience; Curity) reach the API as they are', async () => {
  const world = await startWithProvider((provider) => {
    provider.settings.accessTokens = 'opaque';
  });
  const browser = world.client();
  await signIn(browser);
  expect((await browser.fetch('/api/1')).status).toBe(200);
  expect(world.api.last().token).toMatch(/^[\w-]+$/);

  expireAccessToken();
  expect((await browser.fetch('/api/2')).status).toBe(200);
  expect(world.provider.calls.refresh).toBe(1);
  world.assertNoSecrets();
});

describe("a provider that doesn't say when the access token expires", () => {
  test('is asked for a new one when the API refuses the old one, and not before', async () => {
    const world = await startWithProvider((provider) => void provider.mutate('token', without('expires_in')));
    const browser = world.client();
    await signIn(browser);
    const session = await browser.fetch('/bff/session');
    expect([session.at('accessToken.expiresAt'), session.at('accessToken.expiresInSeconds')]).toEqual([null, null]);
    vi.advanceTimersByTime(3_600_000);
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(0);

    world.api.rejectTokens(1);
    expect((await browser.fetch('/api/2')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('may say it in quotation marks', async () => {
    const world = await startWithProvider(
      (provider) => void provider.mutate('token', (json) => ({ ...json, expires_in: String(json['expires_in']) })),
    );
    const browser = world.client();
    await signIn(browser);
    expect((await browser.fetch('/bff/session')).at('accessToken.expiresInSeconds')).toBe(300);
  });
});

test('an ID token without sid gives a session that can be left by its own link', async () => {
  const world = await startWithProvider((provider) => {
    provider.mutateIdToken((claims) => ({ claims: without('sid')(claims) }));
  });
  const browser = world.client();
  await signIn(browser);
  const logoutUrl = String((await browser.fetch('/bff/session')).at('logoutUrl'));
  expect(logoutUrl).toMatch(/^\/bff\/logout\?sid=.{16,}$/);

  await browser.navigate(logoutUrl, { initiator: browser.origin });

  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
});

test('a refresh may bring no new ID token', async () => {
  const world = await startWithProvider((provider) => void provider.mutate('refresh', without('id_token')));
  const browser = world.client();
  await signIn(browser);
  expireAccessToken();
  expect((await browser.fetch('/api/1')).status).toBe(200);
  expect((await browser.fetch('/bff/session')).at('user.name')).toBe('Alice Adams');
});

describe('an issuer with a slash at its end (Auth0)', () => {
  test('is accepted where it is configured so, at login and at refresh', async () => {
    const world = await startWithProvider(withSlash, (base) => ({ ...base, issuer: `${base.issuer}/` }));
    const browser = world.client();
    await signIn(browser);
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('is told apart from the one without: no login, and the log says what to write', async () => {
    const world = await startWithProvider(withSlash);
    const answer = await world.client().navigate('/bff/login');
    expect(answer.status).toBe(503);
    expect(world.logs.join('')).toContain('correct SALLYPORT_ISSUER');
  });
});
