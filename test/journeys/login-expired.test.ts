/** Logins that took too long: by Sallyport's own clock, or by the provider's. The person still gets where they were going. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { leadToCallback, signIn, startWorld } from '../support/world.ts';

/** Where the page's link to sign in leads, with its entities resolved. */
function signInLink(page: { text: string }): URL {
  const [, href = ''] = /<a class="button" href="([^"]*)">Sign in<\/a>/.exec(page.text) ?? [];
  const address = href.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
  return new URL(address, 'http://app.test');
}

function loginPath(parameters: Record<string, string>): string {
  return `/bff/login?${new URLSearchParams(parameters).toString()}`;
}

function loginCookies(browser: BrowserClient): string[] {
  return browser.cookies.for(browser.origin).flatMap(({ name }) => (name.startsWith('login-') ? [name] : []));
}

describe('the page after a login that took too long', () => {
  test.each([
    ['whose cookie is gone', false],
    ['whose cookie the browser kept', true],
  ])('%s leads back to where the person was going', async (_title, keepsCookie) => {
    fakeDate();
    const { client, provider } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, loginPath({ returnTo: '/orders?page=2#top' }));
    const kept = browser.cookies.all().filter(({ name }) => name.startsWith('login-'));
    expect(kept).toHaveLength(1);
    vi.advanceTimersByTime(601_000);
    if (keepsCookie) for (const cookie of kept) browser.cookies.put({ ...cookie, expiresAt: Infinity });

    const page = await browser.navigate(callback.href, { initiator: provider.issuer });
    expect([page.status, provider.calls.token]).toEqual([400, 0]);
    const link = signInLink(page);
    expect([link.pathname, Object.fromEntries(link.searchParams)]).toEqual([
      '/bff/login',
      { returnTo: '/orders?page=2#top' },
    ]);
    const again = await browser.navigate(`${link.pathname}${link.search}`, { initiator: browser.origin });
    expect(again.url).toBe(`${browser.origin}/orders?page=2#top`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('asks for what the app had asked for, but no longer silently', async () => {
    fakeDate();
    const { client, provider } = await startWorld({ config: { login: { allowParams: ['kc_idp_hint'] } } });
    const browser = client();
    const asked = { acr_values: 'mfa', max_age: '60', login_hint: 'bob', kc_idp_hint: 'corp', returnTo: '/pay' };
    const callback = await leadToCallback(browser, loginPath({ ...asked, prompt: 'none' }));
    vi.advanceTimersByTime(601_000);
    const page = await browser.navigate(callback.href, { initiator: provider.issuer });
    expect(Object.fromEntries(signInLink(page).searchParams)).toEqual(asked);
  });

  test('leads to the login alone for a state that no login of ours had, or one that was changed', async () => {
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, loginPath({ returnTo: '/orders' }));
    const state = callback.searchParams.get('state') ?? '';
    const foreign = (await leadToCallback(client(), loginPath({ returnTo: '/mine' }))).searchParams.get('state') ?? '';
    const swapped = `${state.split('.')[0]}.${foreign.split('.').slice(1).join('.')}`;
    for (const spoilt of ['unknown', `${state}x`, state.replace('.', '.x'), swapped]) {
      const page = await browser.navigate(
        `/bff/callback?${new URLSearchParams({ code: 'x', state: spoilt }).toString()}`,
      );
      expect(page.status).toBe(400);
      expect(signInLink(page).search).toBe('');
    }
  });

  test('leads nowhere but to a page of the app, whatever it is now', async () => {
    fakeDate();
    const world = await startWorld();
    const browser = world.client();
    const callback = await leadToCallback(browser, loginPath({ returnTo: '/orders/7' }));
    vi.advanceTimersByTime(601_000);
    await world.restart((base) => ({ ...base, api: [{ path: '/orders', target: world.api.url }] }));
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect(page.status).toBe(400);
    expect(signInLink(page).search).toBe('');
  });
});

describe('the page after a login that failed', () => {
  test.each([
    ['access_denied', 403],
    ['server_error', 503],
  ])('with %s leads back to where the person was going', async (error, status) => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.refuseNext(error);
    const page = await browser.navigate(loginPath({ returnTo: '/orders' }));
    expect(page.status).toBe(status);
    expect(signInLink(page).searchParams.get('returnTo')).toBe('/orders');
  });

  test('at the token endpoint leads back there, too', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.fail('token', { status: 500, times: 1 });
    const page = await browser.navigate(loginPath({ returnTo: '/orders' }));
    expect(page.status).toBe(503);
    expect(signInLink(page).searchParams.get('returnTo')).toBe('/orders');
  });
});

describe('a login that expired at the provider', () => {
  const expirations: ReadonlyArray<readonly [provider: string, error: string, description: string]> = [
    ['Keycloak', 'temporarily_unavailable', 'authentication_expired'],
    [
      'Hydra, at its login page',
      'request_unauthorized',
      'The request could not be authorized. The login request has expired, please try again.',
    ],
    [
      'Hydra, at its consent page',
      'request_unauthorized',
      'The request could not be authorized. The consent request has expired, please try again.',
    ],
  ];

  test.each(expirations)('(%s) begins anew at once, and leads where the person was going', async (_, error, words) => {
    const world = await startWorld();
    const browser = world.client();
    world.provider.refuseNext(error, words);
    const page = await browser.navigate(loginPath({ returnTo: '/orders?page=2' }), {
      initiator: world.provider.issuer,
    });
    expect([page.status, page.url]).toEqual([200, `${browser.origin}/orders?page=2`]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect(loginCookies(browser)).toEqual([]);
    expect(world.logs.filter((line) => line.includes('"login.restarted"'))).toEqual([expect.stringContaining(words)]);
  });

  test('does so once, and then shows the page, whose link begins afresh', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    let refusals = 0;
    provider.mutateCallback((parameters) => {
      refusals += 1;
      if (refusals === 3) return parameters;
      parameters.delete('code');
      parameters.set('error', 'temporarily_unavailable');
      parameters.set('error_description', 'authentication_expired');
      return parameters;
    });
    const page = await browser.navigate(loginPath({ returnTo: '/orders' }));
    expect([page.status, refusals, provider.calls.token]).toEqual([503, 2, 0]);
    expect(loginCookies(browser)).toEqual([]);
    const link = signInLink(page);
    expect(link.searchParams.get('returnTo')).toBe('/orders');
    const again = await browser.navigate(`${link.pathname}${link.search}`, { initiator: browser.origin });
    expect(again.url).toBe(`${browser.origin}/orders`);
  });

  test('is asked for again as the app had asked for it, with new secrets', async () => {
    const { client, provider } = await startWorld({
      config: { login: { params: { resource: 'https://api.test' }, allowParams: ['kc_idp_hint'] } },
    });
    provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const asked = {
      prompt: 'login',
      login_hint: 'bob',
      max_age: '60',
      acr_values: 'mfa',
      ui_locales: 'de',
      kc_idp_hint: 'x',
    };
    const browser = client();
    await browser.navigate(loginPath({ ...asked, returnTo: `/${'long'.repeat(500)}` }));
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    const [first, second] = provider.requests
      .filter(({ path, query }) => path === '/auth' && 'state' in query)
      .map(({ query }) => query);
    expect(second).toMatchObject({ ...asked, resource: 'https://api.test', scope: first?.['scope'] });
    for (const name of ['state', 'nonce', 'code_challenge']) expect(second?.[name]).not.toBe(first?.[name]);
  });

  test('is not begun anew without what the app had asked for, if that is too long to travel', async () => {
    const { client, provider } = await startWorld();
    provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const longest = randomBytes(4000).toString('base64url');
    const page = await client().navigate(loginPath({ acr_values: `urn:${longest}`, returnTo: '/orders' }));
    expect([page.status, page.chain.filter(({ url }) => url.includes('/auth?')).length]).toEqual([503, 1]);
    expect(Object.fromEntries(signInLink(page).searchParams)).toEqual({ returnTo: '/orders' });
  });

  test('begins anew also when its own transaction is long over', async () => {
    fakeDate();
    const world = await startWorld();
    const browser = world.client();
    world.provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const callback = await leadToCallback(browser, loginPath({ returnTo: '/orders', acr_values: 'mfa' }));
    vi.advanceTimersByTime(45 * 60_000);
    expect(loginCookies(browser)).toEqual([]);
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect(page.url).toBe(`${browser.origin}/orders`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    // The same answer again begins nothing, whoever brings it.
    for (const again of [browser, world.client()]) {
      const repeated = await again.navigate(callback.href, { initiator: 'https://evil.test' });
      expect([repeated.status, repeated.chain.at(-1)?.url.startsWith(world.origin)]).toEqual([400, true]);
    }
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test.each([
    ['of another provider', (parameters: URLSearchParams) => parameters.set('iss', 'https://evil.test')],
    ['without its state', (parameters: URLSearchParams) => parameters.delete('state')],
    ['of no login of ours', (parameters: URLSearchParams) => parameters.set('state', 'x.y')],
    ['with two descriptions', (parameters: URLSearchParams) => parameters.append('error_description', 'x')],
    ['whose words only resemble it', (parameters: URLSearchParams) => parameters.set('error_description', 'expired')],
    ['under another code', (parameters: URLSearchParams) => parameters.set('error', 'access_denied')],
  ])('does not begin anew for an answer %s', async (_title, spoil) => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const callback = await leadToCallback(browser);
    spoil(callback.searchParams);
    const page = await browser.navigate(callback.href, { initiator: provider.issuer });
    expect(page.status).toBeGreaterThanOrEqual(400);
    expect(page.chain.filter(({ url }) => url.startsWith(provider.issuer))).toEqual([]);
  });

  test.each([
    ['a prefetch', { prefetch: true }],
    ['a frame', { destination: 'iframe' }],
  ] as const)('does not begin anew for %s', async (_title, options) => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const callback = await leadToCallback(browser);
    const loaded = await browser.navigate(callback.href, { initiator: provider.issuer, ...options });
    expect([loaded.status, loaded.setCookies]).toEqual([400, []]);
    expect((await browser.navigate(callback.href, { initiator: provider.issuer })).status).toBe(200);
  });

  test('replaces the session that it would have replaced, and leaves the other logins in their places', async () => {
    const world = await startWorld();
    const browser = world.client();
    await signIn(browser, 'alice');
    const earlierTab = browser.clone();
    const others: URL[] = [];
    for (let begun = 0; begun < 4; begun += 1) others.push(await leadToCallback(browser));
    world.provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const page = await browser.navigate(loginPath({ login_hint: 'bob', prompt: 'login' }), {
      initiator: browser.origin,
    });
    expect(page.status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect((await earlierTab.fetch('/api/me')).status).toBe(401);
    expect(loginCookies(browser)).toHaveLength(4);
  });

  test('begins anew by a page of ours where the provider answers with a form', async () => {
    const { client, provider } = await startWorld({
      config: (base) => ({ ...base, client: { ...base.client, responseMode: 'form_post' } }),
    });
    const browser = client();
    const begun = await browser.navigate(loginPath({ returnTo: '/orders' }), { follow: false });
    const state = new URL(begun.headers.location ?? '').searchParams.get('state') ?? '';
    const form = {
      state,
      iss: provider.issuer,
      error: 'temporarily_unavailable',
      error_description: 'authentication_expired',
    };
    const page = await browser.submitForm('/bff/callback', form, { initiator: provider.issuer });
    expect(page.url).toBe(`${browser.origin}/orders`);
    // Not by a redirect, which `form-action 'self'` would block: the second POST is answered with a page.
    expect(page.chain.slice(0, 3).map(({ method, status }) => `${method} ${status}`)).toEqual([
      'POST 200',
      'POST 200',
      'GET 303',
    ]);
  });
});

describe('login.lifetimeSeconds', () => {
  test('gives people more time to sign in', async () => {
    fakeDate();
    const { client, provider } = await startWorld({ config: { login: { lifetimeSeconds: 1800 } } });
    Object.assign(provider.settings.lifetimes, { code: 3600 });
    const browser = client();
    const callback = await leadToCallback(browser, loginPath({ returnTo: '/orders' }));
    const late = await leadToCallback(browser, loginPath({ returnTo: '/late' }));
    expect(loginCookies(browser)).toHaveLength(2);
    vi.advanceTimersByTime(1799_000);
    expect(loginCookies(browser)).toHaveLength(2);
    const page = await browser.navigate(callback.href, { initiator: provider.issuer, follow: false });
    expect([page.status, page.headers.location]).toEqual([302, '/orders']);
    vi.advanceTimersByTime(2000);
    expect((await browser.navigate(late.href, { initiator: provider.issuer })).status).toBe(400);
  });

  test('gives them less, with its cookie', async () => {
    fakeDate();
    const { client, provider } = await startWorld({ config: { login: { lifetimeSeconds: 59.5 } } });
    const browser = client();
    await signIn(browser);
    const begun = await browser.navigate('/bff/login', { follow: false });
    expect(begun.setCookies.join()).toMatch(/; Max-Age=60;/);
    const callback = await leadToCallback(browser);
    vi.advanceTimersByTime(61_000);
    expect((await browser.navigate(callback.href, { initiator: provider.issuer })).status).toBe(400);
  });
});
