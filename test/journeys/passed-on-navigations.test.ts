/**
 * Navigations that the app's service worker passes on (`respondWith(fetch(event.request))`), as each browser marks them:
 * to the server they look half like a script's call. `browser/service-worker.test.ts` proves it of a real worker.
 */
import { describe, expect, test } from 'vitest';
import { leadToCallback, signIn, startSignedIn, startWorld } from '../support/world.ts';

const browsers = [
  ['Chromium', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'empty' }],
  ['Firefox', { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' }],
] as const;

describe.each(browsers)('a navigation that a worker in %s passes on', (_name, headers) => {
  test('begins a sign-in, and ends it', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    const page = await browser.navigate('/bff/login?returnTo=/orders', { headers });
    expect([page.status, page.url]).toEqual([200, `${browser.origin}/orders`]);
    expect(provider.calls.code).toBe(1);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('signs out', async () => {
    const { browser } = await startSignedIn();
    const logoutUrl = String((await browser.fetch('/bff/session')).at('logoutUrl'));
    const page = await browser.navigate(logoutUrl, { initiator: browser.origin, headers });
    expect(page.url).toBe(`${browser.origin}/`);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('gets a page where something is wrong', async () => {
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser);
    await browser.navigate(callback.href, { headers });
    const again = await browser.navigate(callback.href, { headers });
    expect([again.status, again.headers['content-type']]).toEqual([400, 'text/html; charset=utf-8']);
  });

  test('opens no app that requires a login, and loses no way to it', async () => {
    const { client } = await startWorld({
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
    });
    const browser = client();
    const page = await browser.navigate('/orders/2026.pdf', { headers });
    expect(page.chain.some(({ url }) => url.includes('/bff/login'))).toBe(true);
    expect([page.url, page.text.includes('id="app"')]).toEqual([`${browser.origin}/orders/2026.pdf`, true]);
  });

  test('begins nothing when it was loaded ahead', async () => {
    const { client } = await startWorld();
    const browser = client();
    await signIn(browser);
    for (const path of ['/bff/login', '/bff/callback?state=x', '/bff/logout']) {
      const page = await browser.navigate(path, { headers, prefetch: true, follow: false });
      expect(page.status).toBeGreaterThanOrEqual(400);
      expect([page.headers['content-type'], page.setCookies]).toEqual(['application/problem+json', []]);
    }
  });
});

test.each([
  ['a script’s call of its own origin', { 'sec-fetch-mode': 'same-origin', 'sec-fetch-dest': 'empty', accept: '*/*' }],
  ['a script’s call for HTML', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', accept: 'text/html' }],
  ['a frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }],
])('%s is no navigation', async (_what, headers) => {
  const { client } = await startWorld();
  const answer = await client().fetch('/bff/login', { headers });
  expect([answer.status, answer.at('code'), answer.setCookies]).toEqual([401, 'navigation_required', []]);
});
