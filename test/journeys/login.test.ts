/** Signing in: the round trip through the provider, everything that can come between, and what is left afterwards. */
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

const PROFILES: BrowserProfile[] = ['chromium', 'firefox', 'safari'];

/** A page that says what is wrong and where to sign in; and nobody asked the provider for tokens. */
const REFUSED = {
  status: 400,
  isPage: true,
  cacheControl: 'no-store',
  namesCode: true,
  linksToLogin: true,
  tokenCalls: 0,
};

describe('the round trip', () => {
  test.each(PROFILES)('ends in the app with a session, in %s', async (profile) => {
    const { client, api, provider, assertNoSecrets } = await startWorld();
    const browser = client({ profile });
    const page = await signIn(browser, 'alice', '/orders?page=2');

    expect(page.status).toBe(200);
    expect(page.url).toBe(`${browser.origin}/orders?page=2`);
    expect((await browser.fetch('/api/me')).json()).toMatchObject({ sub: 'alice' });
    expect(api.requests).toHaveLength(1);
    expect(provider.calls).toMatchObject({ authorization: 1, code: 1, refresh: 0 });
    expect(browser.cookies.for(browser.origin).map((cookie) => cookie.name)).toEqual(['session']);
    assertNoSecrets();
  });

  test.each(PROFILES)('works behind TLS, with prefixed Secure cookies, in %s', async (profile) => {
    const world = await startWorld({
      origin: 'https://app.example.test',
      config: (base) => ({ ...base, listen: { ...base.listen, host: '127.0.0.1' } }),
    });
    const browser = world.client({ profile });
    const login = await browser.navigate('/bff/login', { follow: false });
    expect(login.setCookies).toHaveLength(1);
    expect(login.setCookies[0]).toMatch(/^__Host-Http-login-[^=]+=[^;]+;/);
    expect(attributesOf(login.setCookies[0])).toEqual(['httponly', 'max-age=600', 'path=/', 'samesite=lax', 'secure']);

    const page = await signIn(browser);
    const callback = page.chain.at(-2);
    const session = callback?.setCookies.find((line) => line.startsWith('__Host-Http-session='));
    expect(attributesOf(session)).toEqual(['httponly', 'max-age=28800', 'path=/', 'samesite=strict', 'secure']);
    expect(page.chain.flatMap((hop) => hop.refusedCookies)).toEqual([]);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('asks for a code with PKCE, state and nonce, new ones each time', async () => {
    const { client, provider } = await startWorld();
    await signIn(client());
    await signIn(client());
    const [first, second] = provider.requests.filter((request) => request.endpoints.includes('authorization'));
    expect(first?.query).toMatchObject({
      response_type: 'code',
      client_id: 'sallyport',
      scope: 'openid profile email offline_access',
      code_challenge_method: 'S256',
    });
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(first?.query[name]?.length).toBeGreaterThanOrEqual(22);
      expect(first?.query[name]).not.toBe(second?.query[name]);
    }
  });

  test.each(['client_secret_basic', 'client_secret_post'] as const)('authenticates once, by %s', async (authMethod) => {
    const { client, provider } = await startWorld({
      provider: { authMethod },
      config: (base) => ({ ...base, client: { ...base.client, authMethod } }),
    });
    await signIn(client());
    const token = provider.requests.find((request) => request.endpoints.includes('code'));
    expect(token?.headers.authorization !== undefined).toBe(authMethod === 'client_secret_basic');
    expect(token?.form['client_secret'] !== undefined).toBe(authMethod === 'client_secret_post');
  });

  test.each(PROFILES)('works with form_post by posting once more from the own site, in %s', async (profile) => {
    const { client, config, provider } = await startWorld({
      config: (base) => ({ ...base, client: { ...base.client, responseMode: 'form_post' } }),
    });
    expect(config.client.responseMode).toBe('form_post');
    const browser = client({ profile });
    const page = await signIn(browser, 'alice', '/orders');
    expect(page.url).toBe(`${browser.origin}/orders`);
    const posts = page.chain.filter((hop) => hop.method === 'POST' && hop.url.includes('/bff/callback'));
    expect(posts.map((hop) => hop.requestHeaders['sec-fetch-site'])).toEqual(['cross-site', 'same-origin']);
    expect(provider.calls.code).toBe(1);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('refuses a POST to the callback where the response mode is query', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    const form = Object.fromEntries(callback.searchParams);
    const posted = await browser.submitForm('/bff/callback', form, { initiator: provider.issuer });
    expect(posted.status).toBe(405);
    expect(posted.headers['allow']).toBe('GET');
    expect(provider.calls.code).toBe(0);
  });

  test('bounces same-site to a page that requires a login, in every browser', async () => {
    const { client } = await startWorld({
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
    });
    for (const profile of PROFILES) {
      const browser = client({ profile });
      const page = await browser.navigate('/orders');
      expect(page.status).toBe(200);
      expect(page.url).toBe(`${browser.origin}/orders`);
      expect(page.text).toContain('id="app"');
      expect(page.chain.length).toBeLessThan(10);
    }
  });

  test.each(PROFILES)('lets a link on another site lead a signed-in person to such a page, in %s', async (profile) => {
    const { client, provider } = await startWorld({
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
    });
    const browser = client({ profile });
    await signIn(browser);
    provider.resetCalls();
    const page = await browser.navigate('/orders?page=2', { initiator: 'https://elsewhere.test' });
    expect(page.status).toBe(200);
    expect(page.url).toBe(`${browser.origin}/orders?page=2`);
    expect(page.text).toContain('id="app"');
    expect(provider.calls.authorization).toBe(0);
  });

  test('replaces the earlier session, whose cookie is good for nothing any more', async () => {
    const { client } = await startWorld();
    const browser = client();
    await signIn(browser, 'alice');
    const before = browser.clone();
    const first = browser.cookies.get('session')?.value;
    await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });

    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect(browser.cookies.get('session')?.value).not.toBe(first);
    expect((await before.fetch('/api/me')).status).toBe(401);
    expect((await before.fetch('/bff/session')).at('authenticated')).toBe(false);
  });
});

describe('logins side by side', () => {
  test('finish in reverse order, each at its own page', async () => {
    const { client } = await startWorld();
    const browser = client();
    const tabs = [];
    for (const path of ['/one', '/two', '/three']) {
      tabs.push({ path, callback: await leadToCallback(browser, `/bff/login?returnTo=${path}`) });
    }
    for (const { path, callback } of tabs.toReversed()) {
      const page = await browser.navigate(callback.href, { initiator: 'http://127.0.0.1:1' });
      expect(page.url).toBe(`${browser.origin}${path}`);
    }
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect(loginCookies(browser)).toEqual([]);
  });

  test('are five at most: the oldest are dropped, the newest work', async () => {
    fakeDate();
    const { client, provider } = await startWorld();
    const browser = client();
    const callbacks: URL[] = [];
    for (let count = 0; count < 7; count += 1) {
      callbacks.push(await leadToCallback(browser));
      vi.advanceTimersByTime(1000);
    }
    expect(loginCookies(browser)).toHaveLength(5);
    const statuses = [];
    for (const callback of callbacks) statuses.push((await browser.navigate(callback.href)).status);
    expect(statuses).toEqual([400, 400, 200, 200, 200, 200, 200]);
    expect(provider.calls.code).toBe(5);
  });
});

describe('an answer that belongs to no login of this browser is refused without a token call:', () => {
  test('one that comes a second time (Back, reload), and the session stays', async () => {
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    await browser.navigate(callback.href);
    expect(await answerTo(world, browser, callback.href)).toEqual(REFUSED);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('one that comes a second time with the cookie of its login put back, and the session lives on', async () => {
    fakeDate();
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser);
    const copies = [browser.clone(), browser.clone()];
    await browser.navigate(callback.href, { initiator: world.provider.issuer });
    for (const copy of copies) expect(await answerTo(world, copy, callback.href)).toEqual(REFUSED);
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
    expect(await answerTo(world, world.client(), callback.href)).toEqual(REFUSED);
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
    expect(await answerTo(world, browser, callback.href)).toEqual(REFUSED);
  });

  test('a bookmarked callback without parameters', async () => {
    const world = await startWorld();
    expect(await answerTo(world, world.client(), '/bff/callback')).toEqual(REFUSED);
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
    expect(await answerTo(world, browser, callback.href)).toEqual(REFUSED);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
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

  test('prompt=none from login.params comes back to the page as well, unless the app asks for another prompt', async () => {
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
    browser.cookies.remove('session');
    const page = await browser.navigate('/bff/login?prompt=none&returnTo=/orders', { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/orders`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });
});

describe('what may be passed on', () => {
  test('the parameters that widen nothing', async () => {
    const query = 'prompt=login&login_hint=bob&max_age=60&acr_values=urn:test:silver&ui_locales=de';
    expect(await parametersSent(query)).toMatchObject({
      prompt: 'login',
      login_hint: 'bob',
      max_age: '60',
      acr_values: 'urn:test:silver',
      ui_locales: 'de',
    });
  });

  test('none of those that the flow rests on, nor unknown ones', async () => {
    const foreign = new URLSearchParams({
      response_type: 'token',
      response_mode: 'fragment',
      redirect_uri: 'https://evil.test/',
      client_id: 'other',
      scope: 'openid everything',
      state: 'fixed',
      nonce: 'fixed',
      code_challenge: 'fixed',
      request: 'x',
      kc_idp_hint: 'google',
    });
    const sent = await parametersSent(foreign.toString());
    expect(sent).toMatchObject({ response_type: 'code', client_id: 'sallyport' });
    expect(sent['redirect_uri']).toMatch(/^http:\/\/localhost:\d+\/bff\/callback$/);
    expect(Object.values(sent)).not.toContain('fixed');
    expect(sent['scope']).not.toContain('everything');
    expect(Object.keys(sent)).not.toEqual(expect.arrayContaining(['response_mode']));
    expect(sent).not.toHaveProperty('request');
    expect(sent).not.toHaveProperty('kc_idp_hint');
  });

  test('extra names that the config allows', async () => {
    expect(await parametersSent('kc_idp_hint=google', ['kc_idp_hint'])).toMatchObject({ kc_idp_hint: 'google' });
  });

  test.each(['/orders?page=2&x=%2F#top', '/', '/a/b.c/~d'])('returnTo %s', async (returnTo) => {
    const { client } = await startWorld();
    const browser = client();
    expect((await signIn(browser, 'alice', returnTo)).url).toBe(`${browser.origin}${returnTo}`);
  });

  test.each([
    '//evil.test',
    'https://evil.test/',
    '/\\evil.test',
    '/\t/evil.test',
    'orders',
    '',
    '/.//evil.test',
    'javascript:alert(1)',
  ])('not returnTo %j', async (returnTo) => {
    const { client, provider } = await startWorld();
    const page = await client().navigate(`/bff/login?${new URLSearchParams({ returnTo }).toString()}`);
    expect(page.status).toBe(400);
    expect(page.text).toContain('return_to_invalid');
    expect(page.setCookies).toEqual([]);
    expect(provider.calls.authorization).toBe(0);
  });
});

describe('a login that is no navigation', () => {
  test('is told where to navigate, and begins nothing', async () => {
    const { client } = await startWorld();
    const browser = client();
    const answer = await browser.fetch('/bff/login?returnTo=/orders');
    expect(answer.status).toBe(401);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.headers['www-authenticate']).toBeDefined();
    expect(answer.json()).toMatchObject({ code: 'navigation_required', status: 401 });
    expect(decodeURIComponent(String(answer.at('loginUrl')))).toBe('/bff/login?returnTo=/orders');
    expect(answer.setCookies).toEqual([]);
  });

  test.each([
    [
      'a frame',
      (browser: BrowserClient) => browser.navigate('/bff/login', { destination: 'iframe', initiator: browser.origin }),
    ],
    [
      'an object',
      (browser: BrowserClient) => browser.navigate('/bff/login', { destination: 'object', initiator: browser.origin }),
    ],
    [
      'a prefetch',
      (browser: BrowserClient) => browser.navigate('/bff/login', { prefetch: true, initiator: browser.origin }),
    ],
    ['an image', (browser: BrowserClient) => browser.fetch('/bff/login', { mode: 'no-cors', destination: 'image' })],
  ])('%s gets a 401 problem and no transaction', async (_title, request) => {
    const { client, provider } = await startWorld();
    const answer = await request(client());
    expect(answer.status).toBe(401);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json()).toMatchObject({ code: 'navigation_required', loginUrl: '/bff/login' });
    expect(answer.setCookies).toEqual([]);
    expect(provider.calls.authorization).toBe(0);
  });

  test('a link on another site may begin one', async () => {
    const { client } = await startWorld();
    const browser = client({ profile: 'firefox' });
    const page = await browser.navigate('/bff/login', { initiator: 'https://elsewhere.test' });
    expect(page.status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('a browser without fetch metadata may begin one', async () => {
    const { client } = await startWorld();
    const browser = client({ fetchMetadata: false });
    expect((await browser.navigate('/bff/login')).status).toBe(200);
    const session = await browser.fetch('/bff/session', { headers: { 'x-csrf': '1' } });
    expect(session.at('authenticated')).toBe(true);
  });
});

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
    ['expiry in the past', (claims) => ({ claims: { ...claims, exp: now() - 120 } })],
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

  test('with keys that were last seen more than five minutes ago, looked at once for all that follow', async () => {
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
    provider.mutateIdToken((_claims, header) => ({ header: { ...header, kid: `unknown-${(count += 1)}` } }));
    for (let login = 0; login < 12; login += 1) {
      // Refused where the key was looked for in vain, open where it may not be looked for again.
      expect([403, 503]).toContain((await client().navigate('/bff/login')).status);
    }
    expect(provider.calls.jwks - before).toBeLessThanOrEqual(6);
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

  test('a session too large for four cookies leaves the earlier one alive and its own refresh token revoked', async () => {
    fakeDate();
    const { client, provider } = await startWorld();
    const browser = client();
    await signIn(browser, 'alice');
    const earlier = browser.cookies.get('session')?.value;
    provider.settings.accessTokenPadding = 20_000;
    const page = await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });
    expect(page.status).toBe(500);
    expect(browser.cookies.get('session')?.value).toBe(earlier);
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

  test('a provider that is down at start and at login is answered with 503, and used as soon as it is up', async () => {
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

  test('a provider that gives no refresh token: the session ends with the access token', async () => {
    fakeDate();
    const { client, provider } = await startWorld({ provider: { settings: { refreshTokens: 'never' } } });
    const browser = client();
    await signIn(browser);
    expect((await browser.fetch('/bff/session')).json()).toMatchObject({ accessToken: { refreshable: false } });
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(401);
    expect(provider.calls.refresh).toBe(0);
  });
});

function loginCookies(browser: BrowserClient): string[] {
  const names = browser.cookies.for(browser.origin).map((cookie) => cookie.name);
  return names.filter((name) => name.includes('login-'));
}

function attributesOf(setCookie: string | undefined): string[] {
  const [, ...attributes] = (setCookie ?? '').split(';').map((part) => part.trim().toLowerCase());
  return attributes.toSorted();
}

/** What a callback's URL is answered with, and whether it cost a token call. */
async function answerTo({ provider }: World, browser: BrowserClient, callback: string): Promise<typeof REFUSED> {
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

/** What reaches the provider's authorization endpoint of a login with that query. */
async function parametersSent(query: string, allowParams: string[] = []): Promise<Record<string, string>> {
  const { client, provider } = await startWorld({ config: { login: { allowParams } } });
  const login = await client().navigate(`/bff/login?${query}`, { follow: false });
  await client().navigate(login.headers.location ?? '');
  return provider.requests.find((request) => request.endpoints.includes('authorization'))?.query ?? {};
}

function without(value: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}
