/** Signing out: here, at the provider, in every tab, and also when the provider can't or won't help. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient, NavigateOptions } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startSignedIn, startWorld, type World } from '../support/world.ts';

async function logoutUrl(browser: BrowserClient): Promise<string> {
  return String((await browser.fetch('/bff/session')).at('logoutUrl'));
}

function endSessionRequest(world: World): Record<string, string> | undefined {
  return world.provider.requests.find((request) => request.endpoints.includes('endSession'))?.query;
}

/** Whether any cookie of these jars still opens a session. */
async function anySessionLeft(...browsers: BrowserClient[]): Promise<boolean> {
  for (const browser of browsers) {
    if ((await browser.fetch('/api/me')).status !== 401) return true;
    if ((await browser.fetch('/bff/session')).at('authenticated') !== false) return true;
  }
  return false;
}

describe('the sign-out link', () => {
  test('ends the session here and at the provider, and comes back to the app', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const otherTab = browser.clone();
    const page = await browser.navigate(await logoutUrl(browser), { initiator: browser.origin });

    expect(page.url).toBe(`${browser.origin}/`);
    expect(page.chain[0]?.headers['cache-control']).toBe('no-store');
    expect(endSessionRequest(world)).toMatchObject({
      client_id: 'sallyport',
      post_logout_redirect_uri: `${browser.origin}/`,
      id_token_hint: expect.stringMatching(/^eyJ/),
    });
    const revocation = world.provider.requests.find((request) => request.endpoints.includes('revocation'));
    expect(world.provider.secrets.get(revocation?.form['token'] ?? '')).toBe('refreshToken');
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    expect(await anySessionLeft(browser, otherTab)).toBe(false);

    const silent = await browser.navigate('/bff/login?prompt=none');
    expect(silent.url).toBe(`${browser.origin}/?login=required`);
  });

  test.each([
    ['without a sid', () => '/bff/logout'],
    ['with a wrong sid', () => '/bff/logout?sid=AAAAAAAAAAAAAAAAAAAAAA'],
    ['with an empty sid', () => '/bff/logout?sid='],
    ['with the sid twice', (link: string) => `${link}&${link.split('?')[1] ?? ''}`],
  ])('%s changes nothing', async (_title, spoil) => {
    const { browser, provider } = await startSignedIn();
    const page = await browser.navigate(spoil(await logoutUrl(browser)), { initiator: browser.origin });
    expect(page.status).toBe(400);
    expect(page.text).toContain('logout_sid_invalid');
    expect(provider.calls).toMatchObject({ revocation: 0, endSession: 0 });
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test.each<[string, NavigateOptions]>([
    ['fetched ahead of a click', { prefetch: true }],
    ['in a frame', { destination: 'iframe' }],
    ['in an object', { destination: 'object' }],
  ])('%s ends nothing: nobody has clicked it', async (_title, options) => {
    const { browser, provider } = await startSignedIn();
    const link = await logoutUrl(browser);
    const answer = await browser.navigate(link, { initiator: browser.origin, ...options });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.chain).toHaveLength(1);
    expect(answer.setCookies).toEqual([]);
    expect(provider.calls).toMatchObject({ revocation: 0, endSession: 0 });
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await browser.navigate(link, { initiator: browser.origin });
    expect(await anySessionLeft(browser)).toBe(false);
  });

  test('of another person changes nothing', async () => {
    const { client } = await startWorld();
    const [alice, bob] = [client(), client()];
    await signIn(alice, 'alice');
    await signIn(bob, 'bob');
    expect((await bob.navigate(await logoutUrl(alice), { initiator: bob.origin })).status).toBe(400);
    expect((await alice.fetch('/api/me')).status).toBe(200);
    expect((await bob.fetch('/api/me')).status).toBe(200);
  });

  test('on another site, without the sid, changes nothing in any browser', async () => {
    const { client } = await startWorld();
    for (const profile of ['chromium', 'firefox', 'safari'] as const) {
      const browser = client({ profile });
      await signIn(browser);
      await browser.navigate('/bff/logout', { initiator: 'https://evil.test', follow: false });
      expect((await browser.fetch('/api/me')).status).toBe(200);
    }
  });

  test('goes straight to the end where there is no session, and a second time too', async () => {
    const { client, provider } = await startWorld();
    const browser = client();
    expect((await browser.navigate('/bff/logout')).url).toBe(`${browser.origin}/`);
    await signIn(browser);
    const link = await logoutUrl(browser);
    await browser.navigate(link);
    const calls = provider.calls.revocation;
    expect((await browser.navigate(link)).url).toBe(`${browser.origin}/`);
    expect(provider.calls.revocation).toBe(calls);
  });

  test('comes back to logout.returnTo', async () => {
    const world = await startSignedIn({ config: { logout: { returnTo: '/bye' } } });
    const { browser } = world;
    await browser.navigate(await logoutUrl(browser), { stopBefore: (url) => url.origin === world.provider.issuer });
    const answer = browser.seen.at(-1);
    expect(answer?.head).toContain(encodeURIComponent(`${browser.origin}/bye`));
    const again = await browser.navigate('/bff/logout', { follow: false });
    expect(again.headers.location).toBe('/bye');
  });

  test.each([
    ['Cognito', { logout_uri: '{returnTo}' }, (origin: string) => ({ logout_uri: `${origin}/` })],
    [
      'one that takes a hint',
      { logout_hint: 'a', ui_locales: 'de en', next: 'x={returnTo}&y={returnTo}' },
      (origin: string) => ({ logout_hint: 'a', ui_locales: 'de en', next: `x=${origin}/&y=${origin}/` }),
    ],
  ])('sends %s what logout.params says, beside what the specification wants', async (_title, params, expected) => {
    const world = await startSignedIn({ config: { logout: { params } } });
    const { browser } = world;
    await browser.navigate(await logoutUrl(browser), { initiator: browser.origin });
    expect(endSessionRequest(world)).toMatchObject({
      ...expected(browser.origin),
      client_id: 'sallyport',
      post_logout_redirect_uri: `${browser.origin}/`,
      id_token_hint: expect.stringMatching(/^eyJ/),
    });
  });

  test('keeps the ID token to itself where idTokenHint is off, by link and by POST', async () => {
    const world = await startSignedIn({ config: { logout: { idTokenHint: false } } });
    const { browser, provider } = world;
    await browser.navigate(await logoutUrl(browser), { initiator: browser.origin });
    await signIn(browser);
    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    await browser.navigate(String(answer.at('location')), { initiator: browser.origin });
    const sent = provider.requests.filter(({ path }) => path === '/session/end').map(({ query }) => query);
    expect(sent).toHaveLength(2);
    for (const query of sent) {
      expect(query).toMatchObject({ client_id: 'sallyport' });
      expect(query).not.toHaveProperty('id_token_hint');
    }
  });

  test('works when the access token has expired, without refreshing it', async () => {
    fakeDate();
    const { browser, provider } = await startSignedIn();
    const link = await logoutUrl(browser);
    expireAccessToken();
    await browser.navigate(link);
    expect(provider.calls).toMatchObject({ refresh: 0, revocation: 1, endSession: 1 });
    expect(await anySessionLeft(browser)).toBe(false);
  });

  test('leaves no part of a session in several cookies', async () => {
    const { browser } = await startSignedIn({ provider: { settings: { accessTokenPadding: 8000 } } });
    expect(browser.cookies.for(browser.origin).length).toBeGreaterThanOrEqual(3);
    await browser.navigate(await logoutUrl(browser));
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('deletes the prefixed cookies behind TLS with every attribute repeated', async () => {
    const { browser } = await startSignedIn({
      origin: 'https://app.example.test',
      config: (base) => ({ ...base, listen: { ...base.listen, host: '127.0.0.1' } }),
    });
    const leave = await browser.navigate(await logoutUrl(browser), { initiator: browser.origin, follow: false });
    const deletion = leave.setCookies.find((line) => line.startsWith('__Host-Http-session=;'));
    for (const attribute of ['Secure', 'HttpOnly', 'Path=/', 'SameSite=Strict']) expect(deletion).toContain(attribute);
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });
});

describe('POST /bff/logout', () => {
  test('gives a script the address, without a token in it, that signs out at the provider', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    const otherTab = browser.clone();
    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(Object.keys(answer.json())).toEqual(['location']);
    world.assertNoSecrets();
    expect(await anySessionLeft(browser, otherTab)).toBe(false);

    const page = await browser.navigate(String(answer.at('location')), { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/`);
    expect(world.provider.calls.endSession).toBe(1);
    const silent = await browser.navigate('/bff/login?prompt=none');
    expect(silent.url).toBe(`${browser.origin}/?login=required`);
  });

  test('leads out of the provider, too, where the ID token is larger than a cookie', async () => {
    const world = await startWorld();
    const groups = Array.from({ length: 150 }, () => randomUUID());
    world.provider.mutateIdToken((claims) => ({ claims: { ...claims, groups } }));
    const browser = world.client();
    await signIn(browser);
    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(answer.status).toBe(200);
    for (const line of answer.setCookies) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(4096);
    expect(answer.refusedCookies).toEqual([]);

    const page = await browser.navigate(String(answer.at('location')), { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/`);
    expect(endSessionRequest(world)).toMatchObject({
      client_id: 'sallyport',
      post_logout_redirect_uri: `${browser.origin}/`,
    });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    const silent = await browser.navigate('/bff/login?prompt=none');
    expect(silent.url).toBe(`${browser.origin}/?login=required`);
  });

  test('answers 200 also when there is no session any more', async () => {
    const { client } = await startWorld();
    const browser = client();
    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({ location: '/' });
  });

  test('sends a form on with 303', async () => {
    const { browser, provider } = await startSignedIn();
    const page = await browser.submitForm('/bff/logout', {});
    expect(page.chain[0]?.status).toBe(303);
    expect(page.url).toBe(`${browser.origin}/`);
    expect(provider.calls.endSession).toBe(1);
    expect(await anySessionLeft(browser)).toBe(false);
  });

  test.each([
    ['another site', 'https://evil.test'],
    ['a sibling', 'http://localhost:1'],
  ])('is not believed from %s', async (_title, from) => {
    const { browser, provider } = await startSignedIn();
    const fetched = await browser.fetch(
      '/bff/logout',
      { method: 'POST', mode: 'no-cors', credentials: 'include' },
      { from },
    );
    expect(fetched.status).toBe(403);
    const submitted = await browser.submitForm('/bff/logout', {}, { initiator: from });
    expect(submitted.status).toBe(403);
    expect(provider.calls.revocation).toBe(0);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });
});

describe('a provider that is no help does not keep anybody signed in:', () => {
  test('one that is down', async () => {
    const { browser, provider } = await startSignedIn();
    const otherTab = browser.clone();
    await provider.down();
    const answer = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(browser.cookies.get(browser.own('session'))).toBeUndefined();
    expect(await anySessionLeft(browser, otherTab)).toBe(false);
  });

  test.each([
    ['fails to revoke', (world: World) => world.provider.fail('revocation', { status: 503 })],
    ['hangs up on the revocation', (world: World) => world.provider.reset('revocation')],
    ['never answers the revocation', (world: World) => world.provider.hang('revocation')],
  ])('one that %s', async (_title, breakIt) => {
    const world = await startSignedIn();
    const { browser } = world;
    const link = await logoutUrl(browser);
    breakIt(world);
    const page = await browser.navigate(link, { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/`);
    expect(world.provider.calls.endSession).toBe(1);
    expect(await anySessionLeft(browser)).toBe(false);
    world.assertNoSecrets();
  });

  test.each([
    ['end-session endpoint', 'end_session_endpoint', { revocation: 1, endSession: 0 }],
    ['revocation endpoint', 'revocation_endpoint', { revocation: 0, endSession: 1 }],
  ])('one without an %s', async (_title, name, calls) => {
    const { client, provider } = await startWorld({ providerUp: false });
    provider.mutateDiscovery((json) => Object.fromEntries(Object.entries(json).filter(([key]) => key !== name)));
    await provider.up();
    const browser = client();
    await vi.waitFor(() => signIn(browser), { timeout: 15_000, interval: 250 });
    const page = await browser.navigate(await logoutUrl(browser), { initiator: browser.origin });
    expect(page.url).toBe(`${browser.origin}/`);
    expect(provider.calls).toMatchObject(calls);
    expect(await anySessionLeft(browser)).toBe(false);
  });
});
