/** Signing in: the round trip through the provider, several at a time, and what a login may pass on. */
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import { leadToCallback, signIn, startWorld } from '../support/world.ts';

const profiles: BrowserProfile[] = ['chromium', 'firefox', 'safari'];

describe('the round trip', () => {
  test.each(profiles)('ends in the app with a session, in %s', async (profile) => {
    const { client, api, provider, assertNoSecrets } = await startWorld();
    const browser = client({ profile });
    const page = await signIn(browser, 'alice', '/orders?page=2');

    expect(page.status).toBe(200);
    expect(page.url).toBe(`${browser.origin}/orders?page=2`);
    expect((await browser.fetch('/api/me')).json()).toMatchObject({ sub: 'alice' });
    expect(api.requests).toHaveLength(1);
    expect(provider.calls).toMatchObject({ authorization: 1, code: 1, refresh: 0 });
    expect(browser.cookies.for(browser.origin).map((cookie) => cookie.name)).toEqual([browser.own('session')]);
    assertNoSecrets();
  });

  test.each(profiles)('works behind TLS, with prefixed Secure cookies, in %s', async (profile) => {
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

  test.each(profiles)('works with form_post by posting once more from the own site, in %s', async (profile) => {
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
    for (const profile of profiles) {
      const browser = client({ profile });
      const page = await browser.navigate('/orders');
      expect(page.status).toBe(200);
      expect(page.url).toBe(`${browser.origin}/orders`);
      expect(page.text).toContain('id="app"');
      expect(page.chain.length).toBeLessThan(10);
    }
  });

  test.each(profiles)('lets a link on another site lead a signed-in person to such a page, in %s', async (profile) => {
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
    const first = browser.cookies.get(browser.own('session'))?.value;
    await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });

    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect(browser.cookies.get(browser.own('session'))?.value).not.toBe(first);
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

function loginCookies(browser: BrowserClient): string[] {
  const names = browser.cookies.for(browser.origin).map((cookie) => cookie.name);
  return names.filter((name) => name.includes('login-'));
}

function attributesOf(setCookie: string | undefined): string[] {
  const [, ...attributes] = (setCookie ?? '').split(';').map((part) => part.trim().toLowerCase());
  return attributes.toSorted();
}

/** What reaches the provider's authorization endpoint of a login with that query. */
async function parametersSent(query: string, allowParams: string[] = []): Promise<Record<string, string>> {
  const { client, provider } = await startWorld({ config: { login: { allowParams } } });
  const login = await client().navigate(`/bff/login?${query}`, { follow: false });
  await client().navigate(login.headers.location ?? '');
  return provider.requests.find((request) => request.endpoints.includes('authorization'))?.query ?? {};
}
