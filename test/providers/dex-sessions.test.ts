/**
 * The journeys of a person at Dex with sessions of its own (`DEX_SESSIONS_ENABLED`), which bring an end-session endpoint
 * and single sign-on.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { startDex, type Dex } from './dex.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive } from './real-provider.ts';

let dex: Dex;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  dex = await startDex({ origin, sessions: true, postLogoutRedirectUris: [`${origin}/`] });
});

afterAll(() => dex?.close());

test('signs in, works beyond the token, and is signed in at a second login without a question', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');
  const token = await tokenOfCall(deployment, browser);
  await untilInactive(dex, token);
  expect(await tokenOfCall(deployment, browser)).not.toBe(token);

  expect((await browser.navigate('/bff/login')).url).toBe(`${origin}/`);
  expect((await browser.fetch('/bff/session')).at('user.name')).toBe('alice');
});

test('signs out: Dex forgets the person, and the browser comes back', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');

  const page = await signOut(browser);

  expect(page.chain.some((hop) => hop.url.startsWith(dex.issuer))).toBe(true);
  expect([page.status, page.url]).toEqual([200, `${origin}/`]);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).text).toContain('type="password"');
});

test('a post-logout address that Dex does not know ends on a page of Dex, and leaves the person signed in there', async () => {
  const deployment = await deploy(dex, origin, { logout: { returnTo: '/goodbye' } });
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');

  const page = await signOut(browser);

  expect([page.status, page.url.startsWith(dex.issuer)]).toEqual([400, true]);
  expect(page.text).toContain('Unregistered post_logout_redirect_uri');
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).url).toBe(`${origin}/`);
});
