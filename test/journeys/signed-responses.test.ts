/** Logins whose answers the provider signs (JARM): they do all that plain answers do. */
import { decodeJwt } from 'jose';
import { expect, test, vi } from 'vitest';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import { fakeDate } from '../support/clock.ts';
import { leadToCallback, signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

const profiles: BrowserProfile[] = ['chromium', 'firefox', 'safari'];

type SignedMode = 'jwt' | 'form_post.jwt';

function startSigned(responseMode: SignedMode, options: WorldOptions = {}): Promise<World> {
  return startWorld({ ...options, config: (base) => ({ ...base, client: { ...base.client, responseMode } }) });
}

/** The provider answers the same login with an error. */
async function replaceCode(world: World, callback: URL, error: Record<string, string>): Promise<void> {
  const { code: _code, ...claims } = decodeJwt(callback.searchParams.get('response') ?? '');
  callback.searchParams.set('response', await world.provider.sign({ ...claims, ...error }));
}

test.each(profiles)('signs in with `jwt`, in %s', async (profile) => {
  const world = await startSigned('jwt');
  const browser = world.client({ profile });
  const page = await signIn(browser, 'alice', '/orders?page=2');
  expect(page.url).toBe(`${world.origin}/orders?page=2`);
  const callback = page.chain.find(({ url }) => url.includes('/bff/callback'));
  const query = new URL(callback?.url ?? '').searchParams;
  expect([...query.keys()]).toEqual(['response']);
  expect(decodeJwt(query.get('response') ?? '')).toMatchObject({ iss: world.provider.issuer });
  expect((await browser.fetch('/api/me')).status).toBe(200);
  world.assertNoSecrets();
});

test.each(profiles)('signs in with `form_post.jwt` by posting once more from the own site, in %s', async (profile) => {
  const world = await startSigned('form_post.jwt', { provider: { pushedRequests: 'required' } });
  const browser = world.client({ profile });
  const page = await signIn(browser, 'alice', '/orders');
  const posts = page.chain.filter((hop) => hop.method === 'POST' && hop.url.includes('/bff/callback'));
  expect(posts.map((hop) => hop.requestHeaders['sec-fetch-site'])).toEqual(['cross-site', 'same-origin']);
  expect(posts.every(({ url }) => new URL(url).search === '')).toBe(true);
  expect((await browser.fetch('/api/me')).status).toBe(200);
});

test('ends the session that the browser has, though another site began the login', async () => {
  const world = await startSigned('jwt');
  const browser = world.client();
  await signIn(browser, 'alice');
  const old = browser.clone();
  const page = await browser.navigate('/bff/login?login_hint=bob&prompt=login', {
    initiator: 'https://elsewhere.test',
  });
  expect(page.status).toBe(200);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  expect((await old.fetch('/bff/session')).at('authenticated')).toBe(false);
});

test('a signed error of the provider is what a plain one is: to the page, and to a silent login', async () => {
  const world = await startSigned('jwt');
  const silent = await world.client().navigate('/bff/login?prompt=none&returnTo=%2Forders');
  expect(silent.url).toBe(`${world.origin}/orders?login=required`);

  const browser = world.client();
  const callback = await leadToCallback(browser);
  await replaceCode(world, callback, { error: 'access_denied' });
  const refused = await browser.navigate(callback.href, { initiator: world.provider.issuer });
  expect([refused.status, refused.text.includes('access_denied')]).toEqual([403, true]);
});

test('a login that expired at the provider begins anew', async () => {
  const world = await startSigned('jwt');
  const browser = world.client();
  const callback = await leadToCallback(browser, '/bff/login?returnTo=%2Forders');
  const expired = { error: 'temporarily_unavailable', error_description: 'authentication_expired' };
  await replaceCode(world, callback, expired);
  const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
  expect([page.status, page.url]).toEqual([200, `${world.origin}/orders`]);
});

test('keys that the provider has changed since are fetched', async () => {
  fakeDate();
  const world = await startSigned('jwt');
  await signIn(world.client());
  await world.provider.rotateKeys();
  vi.advanceTimersByTime(21_000);
  const browser = world.client();
  const callback = await leadToCallback(browser);
  expect((await browser.navigate(callback.href, { initiator: world.provider.issuer })).status).toBe(200);
});

test('while the keys cannot be had the answer is 503, and afterwards the same answer completes the login', async () => {
  fakeDate();
  const world = await startSigned('jwt', { providerUp: false });
  const mend = world.provider.fail('jwks');
  await world.provider.up();
  const browser = world.client();
  const callback = await leadToCallback(browser);
  const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
  expect([page.status, page.text.includes('provider_unavailable')]).toEqual([503, true]);
  expect(world.provider.calls.token).toBe(0);
  mend();
  vi.advanceTimersByTime(21_000);
  expect((await browser.navigate(callback.href, { initiator: world.provider.issuer })).status).toBe(200);
});
