/**
 * An app that loads only for people who are signed in (`spa.requireLogin`): a person who is signed in gets it, whatever
 * the browser withholds on the way there, and one who isn't comes back to where they wanted to go.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import type { NavigateOptions } from '../support/browser-client.ts';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import { startListener } from '../support/listener.ts';
import { signIn, startSignedIn, startWorld, type SignedInWorld, type WorldOptions } from '../support/world.ts';

const origin = 'https://app.example.test';
const elsewhere = 'https://elsewhere.test';
const profiles: readonly BrowserProfile[] = ['chromium', 'firefox', 'safari'];

const requireLogin: WorldOptions = {
  origin,
  config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
};

/** Alice, signed in; `https://elsewhere.test` redirects to the app as a mail program's click counter does. */
async function startBesideRedirect(profile: BrowserProfile): Promise<SignedInWorld> {
  const world = await startSignedIn({ ...requireLogin, profile });
  const counter = await startListener((request, response) => {
    response.writeHead(302, { location: `${origin}${request.url}` }).end();
  });
  onTestFinished(() => counter.close());
  world.browser.routeTo(counter.port, elsewhere);
  world.provider.resetCalls();
  return world;
}

const ways: ReadonlyArray<readonly [how: string, from: string, options: NavigateOptions]> = [
  ['by its address', origin, {}],
  ['by a link in the app', origin, { initiator: origin }],
  ['by a link on a sibling subdomain', origin, { initiator: 'https://sibling.example.test' }],
  ['by a link on another site', origin, { initiator: elsewhere }],
  ['by a link in a mail, which counts the click elsewhere', elsewhere, {}],
  ['by a link on another site, which counts the click elsewhere', elsewhere, { initiator: elsewhere }],
];

describe.each(profiles)('in %s, a person who is signed in', (profile) => {
  test.each(ways)('gets the page with its query and fragment, and no new sign-in, %s', async (_how, from, options) => {
    const { browser, provider } = await startBesideRedirect(profile);
    for (const target of ['/orders?page=2&q=%7Ea+b#tab', '/#/orders/42', '/orders#tab']) {
      const page = await browser.navigate(`${from}${target}`, options);
      expect([page.status, page.text.includes('id="app"')]).toEqual([200, true]);
      expect(page.url).toBe(origin + target);
    }
    expect(provider.calls.authorization).toBe(0);
  });
});

test.each(profiles)('in %s, one who isn’t signs in, and comes back with the query', async (profile) => {
  const { client } = await startWorld(requireLogin);
  for (const options of [{}, { initiator: origin }, { initiator: elsewhere }]) {
    const page = await client({ profile }).navigate('/orders?page=2', options);
    expect([page.url, page.text.includes('id="app"')]).toEqual([`${origin}/orders?page=2`, true]);
  }
});

describe('the way through the gate has an end', () => {
  /** Nothing is kept, and the browser always says the same of where it comes from. */
  test.each(['none', 'cross-site', 'same-site', 'same-origin', 'something', '', null])(
    'where every request says Sec-Fetch-Site: %s',
    async (site) => {
      const world = await startWorld(requireLogin);
      for (const mode of ['navigate', 'same-origin']) {
        const browser = world.client();
        const stopBefore = (url: URL) => url.origin === world.provider.issuer;
        const headers = {
          cookie: null,
          'sec-fetch-site': site,
          'sec-fetch-mode': site === null ? null : mode,
          'sec-fetch-dest': site === null ? null : mode === 'navigate' ? 'document' : 'empty',
        };
        const page = await browser.navigate('/orders?page=2#tab', { headers, stopBefore, maxHops: 6 });
        expect([page.status, page.headers.location]).toEqual([302, expect.stringContaining(world.provider.issuer)]);
      }
    },
  );

  test('in a browser without fetch metadata, where it leads a signed-in person to the app as well', async () => {
    const { client, provider } = await startWorld(requireLogin);
    const browser = client({ profile: 'safari', fetchMetadata: false });
    const first = await browser.navigate('/orders');
    expect(first.text).toContain('id="app"');
    provider.resetCalls();
    const page = await browser.navigate('/orders?page=2#tab', { initiator: elsewhere });
    expect([page.url, page.text.includes('id="app"')]).toEqual([`${origin}/orders?page=2#tab`, true]);
    expect(provider.calls.authorization).toBe(0);
  });

  test('by one page, which is kept by nobody', async () => {
    const { browser } = await startBesideRedirect('chromium');
    const { chain } = await browser.navigate('/orders', { initiator: elsewhere });
    expect(chain.map(({ status }) => status)).toEqual([200, 302, 200]);
    expect(chain[0]?.headers['cache-control']).toBe('no-store');
    const inApp = await browser.navigate('/orders', { initiator: origin });
    expect(inApp.chain).toHaveLength(1);
  });
});

describe('a deep link', () => {
  const long = `q=${'x'.repeat(2100)}`;

  test.each(['chromium', 'firefox', 'safari'] as const)('is come back to with its fragment, in %s', async (profile) => {
    const { client } = await startWorld(requireLogin);
    const target = '/?x=1#/orders/42?a=b&c=%20d+%22';
    for (const options of [{}, { initiator: origin }, { initiator: elsewhere }]) {
      expect((await client({ profile }).navigate(target, options)).url).toBe(origin + target);
    }
  });

  test('loses a fragment that is too long before anything else', async () => {
    const { client } = await startWorld(requireLogin);
    const page = await client().navigate(`/orders?page=2#${'x'.repeat(2100)}`);
    // Browsers carry the fragment over redirects themselves, and over pages not.
    expect(page.url).toBe(`${origin}/orders?page=2`);
  });

  test.each(['%23//evil.test', '%23/../..//evil.test', '%23%0d%0aset-cookie:x=1', '%23" onclick="x'])(
    'leads to this origin whatever stands for its fragment: %j',
    async (value) => {
      const { client } = await startWorld(requireLogin);
      const { headers } = await client().navigate(`/orders?sallyport_reloaded=${value}`, { follow: false });
      const [, returnTo = ''] = /returnTo=([^&]*)/.exec(headers.location ?? '') ?? [];
      expect(decodeURIComponent(returnTo)).toMatch(/^\/orders(?:#|$)/);
    },
  );

  test.each([
    ['too long for a way back leads to its path', `/orders?${long}`, '/orders'],
    ['too long when encoded leads to its path', `/orders?q=${'"'.repeat(1100)}`, '/orders'],
    ['with too long a path leads to the app', `/${'x'.repeat(2100)}?page=2`, '/'],
    ['as long as may be leads to itself', `/orders?${'x'.repeat(2039)}`, `/orders?${'x'.repeat(2039)}`],
  ])('%s', async (_title, target, expected) => {
    const { client } = await startWorld(requireLogin);
    for (const options of [{}, { initiator: origin }]) {
      const page = await client().navigate(target, options);
      expect([page.status, page.url, page.text.includes('id="app"')]).toEqual([200, `${origin}${expected}`, true]);
    }
  });

  test('that is long opens as it is for a person who is signed in', async () => {
    const { browser } = await startBesideRedirect('chromium');
    const page = await browser.navigate(`/orders?${long}`, { initiator: elsewhere });
    expect(page.url).toBe(`${origin}/orders?${long}`);
  });
});

/** Paths that alone would be addresses of another host, or of no page. */
const hostile = [
  '//evil.test/',
  '//evil.test/x?y',
  '/\\evil.test/',
  '/.//evil.test',
  '//evil.test%2f..',
  '/%2f/evil.test',
];

test.each(hostile)('the page for %s leads to no other site, nor does what comes after it', async (target) => {
  const { browser, client } = await startBesideRedirect('chromium');
  for (const one of [browser, client()]) {
    const page = await one.navigate(origin + target, { initiator: elsewhere, follow: false });
    for (const [, address = ''] of page.text.matchAll(/(?:url=|href=")([^"]+)"/g)) {
      expect(new URL(address, origin).origin).toBe(origin);
    }
    const { chain } = await one.navigate(origin + target, {
      initiator: elsewhere,
      stopBefore: (url) => url.origin !== origin,
    });
    const left = chain.map(({ headers }) => headers.location).filter((to) => to?.includes('evil') === true);
    for (const to of left) expect(new URL(to ?? '', origin).origin).toBe(origin);
  }
});

test('the page runs nothing of the address, and loads nothing but the app’s icon', async () => {
  const { browser } = await startBesideRedirect('chromium');
  const target = `/x'"><script>alert(1)</script>?y='"><meta http-equiv="refresh" content="0;url=//evil.test">`;
  const page = await browser.navigate(target, { initiator: elsewhere, follow: false });
  expect(page.text).not.toContain('<script>alert');
  expect(page.text.match(/<meta http-equiv/g)).toHaveLength(1);
  const policy = String(page.headers['content-security-policy']);
  expect(policy).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; img-src 'self'; script-src 'sha256-[^']+'; form-action 'none'; /,
  );
  expect(page.headers['x-frame-options']).toBe('DENY');
});

describe('a sign-in that a link on another site begins', () => {
  test.each(profiles)('comes once from a page of the app, in %s, and so ends the earlier session', async (profile) => {
    const { browser } = await startBesideRedirect(profile);
    const old = browser.clone();
    const login = '/bff/login?prompt=login&login_hint=bob&returnTo=/orders';
    const { chain } = await browser.navigate(login, { initiator: elsewhere });
    const logins = chain.filter(({ url }) => new URL(url).pathname === '/bff/login');
    expect(logins.map(({ status }) => status)).toEqual([200, 302]);
    expect(logins[0]?.setCookies).toEqual([]);
    expect(logins[1]?.requestHeaders['sec-fetch-site']).toBe('same-origin');
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect((await old.fetch('/api/me')).at('code')).toBe('session_expired');
  });

  test('begins at once where it shows the session, or the app begins it, or the person types it', async () => {
    const world = await startWorld(requireLogin);
    const browser = world.client();
    for (const options of [{}, { initiator: origin }, { initiator: 'https://sibling.example.test' }]) {
      expect((await browser.navigate('/bff/login', { ...options, follow: false })).status).toBe(302);
    }
    await signIn(browser);
    expect((await browser.navigate('/bff/login', { initiator: origin, follow: false })).status).toBe(302);
  });

  test('begins also where the browser calls every request cross-site', async () => {
    const { browser, provider } = await startBesideRedirect('chromium');
    const headers = { 'sec-fetch-site': 'cross-site' };
    const page = await browser.navigate('/bff/login?returnTo=/orders', { initiator: elsewhere, headers, maxHops: 12 });
    expect(page.url).toBe(`${origin}/orders`);
    expect(provider.calls.code).toBe(1);
  });
});
