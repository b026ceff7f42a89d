/** The journeys that are the same at every provider. */
import { expect, test } from 'vitest';
import { inParallel, statusesOf } from '../support/world.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive, type RealProvider } from './real-provider.ts';

export interface Place {
  readonly provider: RealProvider;
  /** Where the provider expects the app; `/` is registered as its post-logout address. */
  readonly origin: string;
}

/** Of every provider. */
export function testSignInAndRefresh(place: () => Place): void {
  test('signs in with nothing configured but issuer and client, and gets a refresh token', async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin);
    const browser = deployment.browser();

    const page = await signIn(browser, provider, 'alice');

    expect(page.url).toBe(`${origin}/`);
    expect((await browser.fetch('/bff/session')).json()).toMatchObject({
      user: provider.alice,
      accessToken: { refreshable: true },
    });
    expect(await provider.isActive(await tokenOfCall(deployment, browser))).toBe(true);
  });

  test('refreshes an expired token once for 30 calls, again and again, though a refresh token is good once', async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin);
    const browser = deployment.browser();
    await signIn(browser, provider, 'alice');

    // The provider isn't asked 30 times: its answers could take as long as a token lives here.
    deployment.api.answer({ status: 200 });
    for (let round = 1; round <= 3; round += 1) {
      const before = await tokenOfCall(deployment, browser);
      await untilInactive(provider, before);

      const answers = await inParallel(30, () => browser.fetch('/api/notes'));

      expect(statusesOf(answers)).toEqual([200]);
      const [token, ...others] = new Set(deployment.api.requests.slice(-30).map(({ token }) => token));
      expect(others).toEqual([]);
      expect(token).not.toBe(before);
      expect(await provider.isActive(token ?? '')).toBe(true);
    }
  });
}

/** Of providers with an end-session endpoint. */
export function testEndSession(place: () => Place): void {
  test('signs out: the provider forgets the person, and the browser comes back', async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin);
    const browser = deployment.browser();
    await signIn(browser, provider, 'alice');
    expect((await browser.navigate('/bff/login')).url, 'single sign-on').toBe(`${origin}/`);
    const token = await tokenOfCall(deployment, browser);

    const page = await signOut(browser);

    expect(page.chain.some((hop) => hop.url.startsWith(provider.issuer))).toBe(true);
    expect([page.status, page.url]).toEqual([200, `${origin}/`]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(await provider.isActive(token), 'unless there is no revocation').toBe(!provider.revokes);
    expect((await browser.navigate('/bff/login')).text).toMatch(/<input[^>]* name="(?:login|name|username)"/);
  });

  test('signs out in the same way after the ID token has expired', async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin);
    const browser = deployment.browser();
    await signIn(browser, provider, 'alice');
    await untilInactive(provider, await tokenOfCall(deployment, browser));

    const page = await signOut(browser);

    expect([page.status, page.url]).toEqual([200, `${origin}/`]);
    expect((await browser.navigate('/bff/login')).url.startsWith(origin)).toBe(false);
  });

  test('a post-logout address that is not registered ends at an error, and leaves the person signed in there', async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin, { logout: { returnTo: '/goodbye' } });
    const browser = deployment.browser();
    await signIn(browser, provider, 'alice');

    const page = await signOut(browser);

    expect(page.url.startsWith(origin)).toBe(false);
    expect(page.text).toMatch(provider.unregisteredPage);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await browser.navigate('/bff/login')).url).toBe(`${origin}/`);
  });
}

/** The provider takes the session's tokens back by `revoke`. */
export function testRevocation(title: string, place: () => Place, revoke: () => Promise<void>): void {
  test(`ends the session when ${title}, and signs in anew`, async () => {
    const { provider, origin } = place();
    const deployment = await deploy(provider, origin);
    const browser = deployment.browser();
    await signIn(browser, provider, 'alice');
    const token = await tokenOfCall(deployment, browser);

    await revoke();
    await untilInactive(provider, token);
    const refused = await browser.fetch('/api/notes');

    expect(refused.status).toBe(401);
    expect(refused.json()).toMatchObject({ code: 'session_expired', loginUrl: expect.stringContaining('/bff/login') });
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    await signIn(deployment.browser(), provider, 'alice');
  });
}
