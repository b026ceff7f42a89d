/** Logins that fail: an answer of another login, a provider that says no, and everything that can be out of order. */
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

/** A page that says what is wrong and where to sign in; and nobody asked the provider for tokens. */
const refused = {
  status: 400,
  isPage: true,
  cacheControl: 'no-store',
  namesCode: true,
  linksToLogin: true,
  tokenCalls: 0,
};

describe('an answer that belongs to no login of this browser is refused without a token call:', () => {
  test('one that comes a second time (Back, reload), and the session stays', async () => {
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    await browser.navigate(callback.href);
    expect(await answerTo(world, browser, callback.href)).toEqual(refused);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('one that comes a second time with its login cookie put back, and the session lives on', async () => {
    fakeDate();
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    const copies = [browser.clone(), browser.clone()];
    await browser.navigate(callback.href, { initiator: world.provider.issuer });
    for (const copy of copies) expect(await answerTo(world, copy, callback.href)).toEqual(refused);
    // A provider that had seen the code again would have revoked the first session's tokens (RFC 6749 4.1.2).
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(world.provider.calls).toMatchObject({ code: 1, refresh: 1 });
  });

  test('all but one of those that come at the same moment', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    const copies = Array.from({ length: 5 }, () => browser.clone());
    const pages = await Promise.all(
      copies.map((copy) => copy.navigate(callback.href, { initiator: provider.issuer, follow: false })),
    );
    expect(pages.map(({ status }) => status).toSorted((one, two) => one - two)).toEqual([302, 400, 400, 400, 400]);
    expect(provider.calls.code).toBe(1);
  });

  test('one in a browser that began no login', async () => {
    const world = await startWorld();
    const callback = await leadToCallback(world.client());
    expect(await answerTo(world, world.client(), callback.href)).toEqual(refused);
  });

  test('one whose login is ten minutes old, though its cookie was kept', async () => {
    fakeDate();
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    const kept = browser.cookies.all().filter((cookie) => cookie.name.startsWith('login-'));
    expect(kept).toHaveLength(1);
    vi.advanceTimersByTime(601_000);
    for (const cookie of kept) browser.cookies.put({ ...cookie, expiresAt: Infinity });
    expect(await answerTo(world, browser, callback.href)).toEqual(refused);
  });

  test('a bookmarked callback without parameters', async () => {
    const world = await startWorld();
    expect(await answerTo(world, world.client(), '/bff/callback')).toEqual(refused);
  });

  const spoilt: Array<[string, (parameters: URLSearchParams) => void]> = [
    ['another state', (parameters) => parameters.set('state', 'somebody-elses-state-somebody-elses-state')],
    ['no state', (parameters) => parameters.delete('state')],
    ['two states', (parameters) => parameters.append('state', parameters.get('state') ?? '')],
    ['two codes', (parameters) => parameters.append('code', 'another')],
    ['two issuers', (parameters) => parameters.append('iss', parameters.get('iss') ?? '')],
    ['another issuer', (parameters) => parameters.set('iss', 'https://evil.test')],
    ['no issuer, though the provider promises one', (parameters) => parameters.delete('iss')],
    ['no code', (parameters) => parameters.delete('code')],
  ];
  test.each(spoilt)('%s', async (_title, spoil) => {
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    spoil(callback.searchParams);
    expect(await answerTo(world, browser, callback.href)).toEqual(refused);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('an answer without the issuer that the provider promises says so, and the log has what the answer was', async () => {
    const world = await startWorld();
    const browser = world.client();
    world.provider.refuseNext('invalid_scope', 'AADSTS70011: no such scope');
    const callback = await leadToCallback(browser);
    callback.searchParams.delete('iss');
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect(page.status).toBe(400);
    expect(page.text).toContain('promises to name itself (iss)');
    expect(page.text).not.toMatch(/another provider|AADSTS/);
    const told = world.logs.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(told.filter(({ msg }) => msg === 'login.failed')).toEqual([
      expect.objectContaining({
        reason: 'issuer_missing',
        cause: expect.objectContaining({ error: 'invalid_scope', description: 'AADSTS70011: no such scope' }),
      }),
    ]);
  });

  test.each([
    ['another issuer', 'issuer_other', (parameters: URLSearchParams) => parameters.set('iss', 'https://evil.test')],
    ['two codes', 'parameter_repeated', (parameters: URLSearchParams) => parameters.append('code', 'x')],
    ['no code', 'code_missing', (parameters: URLSearchParams) => parameters.delete('code')],
  ])('the log gives the reason for %s: %s', async (_title, reason, spoil) => {
    const { client, logs } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    spoil(callback.searchParams);
    await browser.navigate(callback.href);
    expect(logs.filter((line) => line.includes('"login.failed"'))).toEqual([
      expect.stringContaining(`"reason":"${reason}"`),
    ]);
  });

  test('an issuer is not missed where the provider promises none', async () => {
    const world = await startWorld();
    world.provider.mutateDiscovery((json) => without(json, 'authorization_response_iss_parameter_supported'));
    const browser = world.client();
    const callback = await leadToCallback(browser);
    callback.searchParams.delete('iss');
    expect((await browser.navigate(callback.href)).status).toBe(200);
  });
});

describe('when the provider says no', () => {
  test.each([
    ['access_denied', 403, 'authorization_failed'],
    ['login_required', 403, 'authorization_failed'],
    ['invalid_scope', 403, 'authorization_failed'],
    ['server_error', 503, 'provider_unavailable'],
    ['temporarily_unavailable', 503, 'provider_unavailable'],
  ])('%s is answered with a page that says %i %s and repeats nothing', async (error, status, code) => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.refuseNext(error, '<img src=x onerror=alert(1)>');
    const page = await browser.navigate('/bff/login');
    expect(page.status).toBe(status);
    expect(page.headers['content-type']).toMatch(/^text\/html/);
    expect(page.text).toContain(code);
    expect(/^\d+$/.test(page.headers['retry-after'] ?? '')).toBe(status === 503);
    expect(page.text).not.toContain('onerror');
    expect(provider.calls.token).toBe(0);
    expect(loginCookies(browser)).toEqual([]);
    await signIn(browser);
  });

  test('an error code made of markup is not shown', async () => {
    const { client, provider } = await startWorld();
    provider.refuseNext('"><script>alert(1)</script>');
    const page = await client().navigate('/bff/login');
    expect(page.status).toBe(403);
    expect(page.text).not.toContain('alert(1)');
  });

  test('its error keeps an existing session', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    await signIn(browser);
    provider.refuseNext('access_denied');
    expect((await browser.navigate('/bff/login')).status).toBe(403);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('prompt=none comes back to the page with login=required', async () => {
    const { client } = await startWorld();
    const browser = client();
    const query = new URLSearchParams({ prompt: 'none', returnTo: '/orders?page=2#top' });
    const page = await browser.navigate(`/bff/login?${query.toString()}`, { initiator: browser.origin });
    expect(page.status).toBe(200);
    expect(page.url).toBe(`${browser.origin}/orders?page=2&login=required#top`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('prompt=none from login.params returns to the page, unless the app asks for another prompt', async () => {
    const { client } = await startWorld({ config: { login: { params: { prompt: 'none' } } } });
    const browser = client();
    const page = await browser.navigate('/bff/login?returnTo=/orders', { initiator: browser.origin });
    expect(page.status).toBe(200);
    expect(page.url).toBe(`${browser.origin}/orders?login=required`);
    const asked = await browser.navigate('/bff/login?returnTo=/orders&prompt=login', { initiator: browser.origin });
    expect(asked.url).toBe(`${browser.origin}/orders`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('prompt=none signs in silently where the provider knows the person', async () => {
    const { client } = await startWorld();
    const browser = client();
    await signIn(browser);
    browser.cookies.remove(browser.own('session'));
    const page = await browser.navigate('/bff/login?prompt=none&returnTo=/orders', { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/orders`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });
});

describe('when something is out of order', () => {
  test('a session too large for four cookies names its size and the remedy', async () => {
    const { client, provider } = await startWorld();
    provider.settings.accessTokenPadding = 20_000;
    const browser = client();
    const page = await browser.navigate('/bff/login');
    expect(page.status).toBe(500);
    expect(page.text).toMatch(/\d{5} bytes/);
    expect(page.text).toContain('SALLYPORT_SESSION=store');
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('a session too large for four cookies has its token revoked, and the earlier one lives on', async () => {
    fakeDate();
    const { client, provider } = await startWorld();
    const browser = client();
    await signIn(browser, 'alice');
    const earlier = browser.cookies.get(browser.own('session'))?.value;
    provider.settings.accessTokenPadding = 20_000;
    const page = await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });
    expect(page.status).toBe(500);
    expect(browser.cookies.get(browser.own('session'))?.value).toBe(earlier);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
    expect((await browser.fetch('/api/me')).status).toBe(200);

    await vi.waitFor(() => expect(provider.calls.revocation).toBe(1));
    const revocation = provider.requests.find((request) => request.endpoints.includes('revocation'));
    expect(provider.secrets.get(revocation?.form['token'] ?? '')).toBe('refreshToken');
    provider.settings.accessTokenPadding = 0;
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('a wrong client secret is named as the operator’s fault', async () => {
    const { client, logs } = await startWorld({
      config: (base) => ({ ...base, client: { ...base.client, secret: 'not-the-secret-of-this-client' } }),
    });
    const page = await client().navigate('/bff/login');
    expect(page.status).toBe(503);
    expect(page.text).toMatch(/credentials/);
    expect(logs.join('\n')).toContain('credentials');
    expect(logs.join('\n')).not.toContain('not-the-secret-of-this-client');
  });

  test('a provider that is down at start and at login means 503, and is used as soon as it is up', async () => {
    const { client, provider } = await startWorld({ providerUp: false });
    const browser = client();
    expect((await browser.navigate('/')).status).toBe(200);
    const page = await browser.navigate('/bff/login');
    expect(page.status).toBe(503);
    expect(page.text).toContain('provider_unavailable');
    expect(page.headers['retry-after']).toMatch(/^\d+$/);
    await provider.up();
    await vi.waitFor(() => signIn(client()), { timeout: 15_000, interval: 250 });
  });

  test.each([
    ['names another issuer', (json: Record<string, unknown>) => ({ ...json, issuer: 'https://evil.test' })],
    ['has no authorization endpoint', (json: Record<string, unknown>) => without(json, 'authorization_endpoint')],
  ])('metadata that %s: nobody is sent anywhere', async (_title, change) => {
    const { client, provider } = await startWorld({ providerUp: false });
    const undo = provider.mutateDiscovery(change);
    await provider.up();
    const page = await client().navigate('/bff/login');
    expect(page.status).toBe(503);
    expect(page.headers.location).toBeUndefined();
    expect(page.chain).toHaveLength(1);
    undo();
    await vi.waitFor(() => signIn(client()), { timeout: 15_000, interval: 250 });
  });

  test.each([
    ['500', { status: 500 }],
    ['a page of HTML', { status: 200, body: '<html>maintenance</html>' }],
    ['429', { status: 429, body: { error: 'slow_down' }, headers: { 'retry-after': '7' } }],
    ['a redirect', { status: 302, headers: { location: '/elsewhere' }, body: '' }],
  ])('a token endpoint that answers %s: 503, no session', async (_title, failure) => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.fail('token', { ...failure, times: 1 });
    const page = await browser.navigate('/bff/login');
    expect(page.status).toBe(503);
    expect(page.text).toContain('provider_unavailable');
    expect(loginCookies(browser)).toEqual([]);
    await signIn(browser);
  });

  test('a token endpoint that hangs up: 503, no session', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.reset('token', 1);
    expect((await browser.navigate('/bff/login')).status).toBe(503);
    await signIn(browser);
  });

  test('a code that the provider does not know any more: 403', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    provider.revokeGrants();
    const page = await browser.navigate(callback.href);
    expect(page.status).toBe(403);
    expect(page.text).toContain('authorization_failed');
  });

  test('a provider that gives no refresh token: the session ends with the access token, and the log says so', async () => {
    fakeDate();
    const { client, provider, logs } = await startWorld({ provider: { settings: { refreshTokens: 'never' } } });
    const browser = client();
    await signIn(browser);
    expect((await browser.fetch('/bff/session')).json()).toMatchObject({ accessToken: { refreshable: false } });
    const [told, ...more] = logs.filter((line) => line.includes('"login.refresh_token_missing"'));
    expect(more).toEqual([]);
    expect(JSON.parse(told ?? '{}')).toMatchObject({
      level: 40,
      endsInSeconds: 300,
      advice: expect.stringMatching(/offline_access.*prompt=consent/),
    });
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(401);
    expect(provider.calls.refresh).toBe(0);
  });
});

test('a provider that gives a refresh token is no reason for a warning', async () => {
  const { client, logs } = await startWorld();
  await signIn(client());
  expect(logs.filter((line) => line.includes('refresh_token_missing'))).toEqual([]);
});

function loginCookies(browser: BrowserClient): string[] {
  const names = browser.cookies.for(browser.origin).map((cookie) => cookie.name);
  return names.filter((name) => name.includes('login-'));
}

/** What a callback's URL is answered with, and whether it cost a token call. */
async function answerTo({ provider }: World, browser: BrowserClient, callback: string): Promise<typeof refused> {
  const before = provider.calls.token;
  const page = await browser.navigate(callback, { initiator: provider.issuer });
  return {
    status: page.status,
    isPage: page.headers['content-type']?.startsWith('text/html') ?? false,
    cacheControl: page.headers['cache-control'] ?? '',
    namesCode: page.text.includes('login_transaction_invalid'),
    linksToLogin: page.text.includes('href="/bff/login'),
    tokenCalls: provider.calls.token - before,
  };
}

function without(value: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}
