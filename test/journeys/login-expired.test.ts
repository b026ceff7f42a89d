/** Logins that took too long: by Sallyport's own clock, or by the provider's. The person still gets where they were going. */
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { leadToCallback, signIn, startWorld } from '../support/world.ts';

/** Where the page's link to sign in leads, with its entities resolved. */
function signInLink(page: { text: string }): URL {
  const [, href = ''] = /<a href="([^"]*)">Sign in<\/a>/.exec(page.text) ?? [];
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
