/** A login in a popup of the app: the page behind it keeps what the person has typed, and hears how the login ended. */
import { createHash } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange, Navigation } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { leadToCallback, signIn, startSignedIn, startWorld, type WorldOptions } from '../support/world.ts';

const popup = '/bff/login?display=popup&returnTo=%2Forders%3Fpage%3D2&login_hint=alice';

/** The message that a page's script sends to the app's tabs, if the policy lets the script run. */
function messageOf({ text, headers }: Exchange): unknown {
  const script = /<script>(.*?)<\/script>/s.exec(text)?.[1];
  if (script === undefined) return undefined;
  const hash = createHash('sha256').update(script).digest('base64');
  expect(headers['content-security-policy']).toContain(`script-src 'sha256-${hash}'`);
  const literal = /^if\(self\.BroadcastChannel\)new BroadcastChannel\('sallyport'\)\.postMessage\((.*?)\);/.exec(
    script,
  );
  return literal?.[1] === undefined ? undefined : JSON.parse(literal[1]);
}

async function isSignedIn(browser: BrowserClient): Promise<unknown> {
  return (await browser.fetch('/bff/session')).at('authenticated');
}

/** The values of a parameter in the redirects to the provider. */
function sentToProvider({ chain }: Navigation, name = 'display'): Array<string | null> {
  return chain
    .map(({ headers }) => new URL(headers.location ?? '/', 'https://none.test').searchParams)
    .filter((parameters) => parameters.has('code_challenge'))
    .map((parameters) => parameters.get(name));
}

const signedIn = { basePath: '/bff', type: 'signed-in' };
const failed = (code: string) => ({ basePath: '/bff', type: 'sign-in-failed', code });

const pageName = '0.42-a_B';
const failedOfPage = (code: string) => ({ ...failed(code), popup: pageName });

const withForm: WorldOptions['config'] = (base) => ({
  ...base,
  client: { ...base.client, responseMode: 'form_post' },
});

describe('a login in a popup', () => {
  test.each([
    ['query', {}, 'chromium'],
    ['query', {}, 'safari'],
    ['form_post', withForm, 'chromium'],
    ['form_post', withForm, 'firefox'],
  ] as const)('ends on a page that tells the app (%s, %#)', async (mode, config, profile) => {
    const world = await startWorld({ config });
    const browser = world.client({ profile });
    const page = await browser.navigate(popup, { initiator: world.origin });
    expect(page.status).toBe(200);
    expect(new URL(page.url).pathname).toBe('/bff/callback');
    expect(messageOf(page)).toEqual(signedIn);
    expect(page.text).toContain('setTimeout(()=>close())');
    // For a window that no script may close.
    expect(page.text).toContain('href="/orders?page=2"');
    expect(await isSignedIn(browser)).toBe(true);
    // The page that posts the code once more holds it, of course.
    if (mode === 'query') world.assertNoSecrets();
  });

  test('has a page under a strict policy, which loads nothing and is kept by nobody', async () => {
    const { client } = await startWorld();
    const page = await client().navigate(popup);
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(policy).not.toContain('unsafe');
    expect(policy).toContain("frame-ancestors 'none'");
    expect(page.text).not.toMatch(/\ssrc=|<link|@import|url\(/);
    expect(page.headers).toMatchObject({
      'cache-control': 'no-store',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
  });

  test('replaces the session that the app has', async () => {
    const { browser, origin } = await startSignedIn();
    const old = browser.clone();
    const page = await browser.navigate('/bff/login?display=popup&prompt=login&login_hint=alice', {
      initiator: origin,
    });
    expect(messageOf(page)).toEqual(signedIn);
    expect(await isSignedIn(browser)).toBe(true);
    expect(await isSignedIn(old)).toBe(false);
  });

  test('begins anew where it expired at the provider, and stays one in a popup', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    provider.refuseNext('temporarily_unavailable', 'authentication_expired');
    const page = await browser.navigate(popup);
    expect(page.chain.filter(({ url }) => url.includes('/bff/callback?'))).toHaveLength(2);
    expect(messageOf(page)).toEqual(signedIn);
  });

  test('leads to the first page of the app where returnTo has become an API since', async () => {
    const { client, restart, api } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, popup);
    await restart((base) => ({ ...base, api: [{ path: '/orders', target: api.url }] }));
    const page = await browser.navigate(callback.href);
    expect(messageOf(page)).toEqual(signedIn);
    expect(page.text).toContain('href="/">Go to the app</a>');
  });

  test('tells the app below its own base path', async () => {
    const { client } = await startWorld({
      config: (base) => ({ ...base, path: '/shop', basePath: '/auth', api: [] }),
    });
    const page = await client().navigate('/shop/auth/login?display=popup&returnTo=//evil');
    expect(messageOf(page)).toEqual({ ...failed('return_to_invalid'), basePath: '/shop/auth' });
  });
});

describe('for a step-up', () => {
  test.each([
    ['acr_values and max_age', ', acr_values="urn:test:gold", max_age="60"', null],
    ['a fresh sign-in', ', max_age="0"', null],
    // The provider would answer from its own session.
    ['neither', '', 'login'],
  ])('the address in the problem works with display=popup appended, asked for %s', async (_what, asked, prompt) => {
    const { browser, api, origin } = await startSignedIn();
    api.answer({
      status: 401,
      headers: { 'www-authenticate': `Bearer error="insufficient_user_authentication"${asked}` },
    });
    const problem = await browser.fetch('/api/transfer');
    expect(problem.at('code')).toBe('step_up_required');
    const page = await browser.navigate(`${String(problem.at('loginUrl'))}&display=popup`, { initiator: origin });
    expect(messageOf(page)).toEqual(signedIn);
    expect(sentToProvider(page, 'prompt')).toEqual([prompt]);
  });
});

describe('display=popup', () => {
  test.each([
    ['does not go on to the provider', [], null],
    ['goes on where login.allowParams has it', ['display'], 'popup'],
  ])('%s', async (_story, allowParams, sent) => {
    const { client } = await startWorld({ config: { login: { allowParams } } });
    const page = await client().navigate(popup);
    expect(sentToProvider(page)).toEqual([sent]);
    expect(messageOf(page)).toEqual(signedIn);
  });

  test.each(['page', 'touch', 'Popup', ''])('is the one value that means a popup, not "%s"', async (value) => {
    const { client } = await startWorld();
    const page = await client().navigate(`/bff/login?display=${value}&returnTo=/orders`);
    expect(new URL(page.url).pathname).toBe('/orders');
  });

  test('stands once only', async () => {
    const { client } = await startWorld();
    const page = await client().navigate('/bff/login?display=popup&display=page');
    expect([page.status, page.text.includes('request_invalid')]).toEqual([400, true]);
  });
});

describe('a login in a popup that fails shows why, tells the app, and offers to try again in the same window:', () => {
  test('refused by the provider, without a word of the provider’s own', async () => {
    const { client, provider } = await startWorld();
    provider.refuseNext('access_denied', '<script>alert(1)</script>');
    const browser = client();
    const page = await browser.navigate(popup);
    expect(page.status).toBe(403);
    expect(messageOf(page)).toEqual(failed('authorization_failed'));
    expect(page.text).not.toContain('alert(1)');
    expect(page.text).not.toContain('close())');
    const [, again = ''] = /href="([^"]*\/login[^"]*)"/.exec(page.text) ?? [];
    const second = await browser.navigate(again.replaceAll('&#38;', '&'), { initiator: browser.origin });
    expect(messageOf(second)).toEqual(signedIn);
    expect(second.text).toContain('href="/orders?page=2"');
  });

  describe('says which page has opened it,', () => {
    const named = `${popup}&popup=${pageName}`;

    test('as often as it is tried again', async () => {
      const { client, provider } = await startWorld();
      const browser = client();
      provider.refuseNext('access_denied');
      const page = await browser.navigate(named);
      expect(messageOf(page)).toEqual(failedOfPage('authorization_failed'));
      const [, again = ''] = /href="([^"]*\/login[^"]*)"/.exec(page.text) ?? [];
      provider.refuseNext('access_denied');
      const second = await browser.navigate(again.replaceAll('&#38;', '&'), { initiator: browser.origin });
      expect(messageOf(second)).toEqual(failedOfPage('authorization_failed'));
      provider.refuseNext('temporarily_unavailable', 'authentication_expired');
      provider.refuseNext('access_denied');
      expect(messageOf(await browser.navigate(named))).toEqual(failedOfPage('authorization_failed'));
    });

    test('before it begins', async () => {
      const { client } = await startWorld();
      const page = await client().navigate(named.replace('%2Forders', 'https://evil.test/'));
      expect(messageOf(page)).toEqual(failedOfPage('return_to_invalid'));
    });

    test.each(['', 'a b', '<', 'x'.repeat(65)])('but by no name like %j', async (name) => {
      const { client } = await startWorld();
      const page = await client().navigate(
        `/bff/login?display=popup&returnTo=//evil&popup=${encodeURIComponent(name)}`,
      );
      expect(messageOf(page)).toEqual(failed('return_to_invalid'));
    });

    test('once only', async () => {
      const { client } = await startWorld();
      expect((await client().navigate('/bff/login?display=popup&popup=a&popup=b')).status).toBe(400);
    });

    test('and does not in a login that is none in a popup', async () => {
      const { client, provider } = await startWorld();
      provider.refuseNext('access_denied');
      expect(messageOf(await client().navigate('/bff/login?popup=a'))).toBeUndefined();
    });
  });

  test('expired', async () => {
    fakeDate();
    const { client } = await startWorld();
    const browser = client();
    const callback = await leadToCallback(browser, popup);
    vi.advanceTimersByTime(601_000);
    const page = await browser.navigate(callback.href);
    expect([page.status, messageOf(page)]).toEqual([400, failed('login_transaction_invalid')]);
    expect(page.text).toContain('display=popup');
  });

  test('begun in another browser', async () => {
    const { client } = await startWorld();
    const callback = await leadToCallback(client(), popup);
    const other = client();
    const page = await other.navigate(callback.href);
    expect([page.status, messageOf(page)]).toEqual([400, failed('login_transaction_invalid')]);
    expect(await isSignedIn(other)).toBe(false);
  });

  test('silent, where the provider has to ask', async () => {
    const { client, provider } = await startWorld();
    provider.refuseNext('login_required');
    const page = await client().navigate('/bff/login?display=popup&prompt=none');
    expect([page.status, messageOf(page)]).toEqual([401, failed('login_required')]);
    expect(page.text).toContain('href="/bff/login?display=popup"');
  });

  test('before it begins, because the provider is down', async () => {
    const { client } = await startWorld({ providerUp: false });
    const page = await client().navigate(popup);
    expect([page.status, messageOf(page)]).toEqual([503, failed('provider_unavailable')]);
  });

  test('before it begins, because returnTo leads elsewhere', async () => {
    const { client } = await startWorld();
    const page = await client().navigate('/bff/login?display=popup&returnTo=https://evil.test/');
    expect([page.status, messageOf(page)]).toEqual([400, failed('return_to_invalid')]);
    expect(page.text).not.toContain('Go to the app');
  });
});

test('a login that is none in a popup tells nobody', async () => {
  const { client, provider } = await startWorld();
  provider.refuseNext('access_denied');
  const refused = await client().navigate('/bff/login');
  expect([refused.status, messageOf(refused)]).toEqual([403, undefined]);
  const browser = client();
  expect(messageOf(await signIn(browser))).toBeUndefined();
});
