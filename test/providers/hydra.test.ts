/** The journeys of a person at Ory Hydra. */
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { freePort } from '../support/listener.ts';
import { inParallel, statusesOf } from '../support/world.ts';
import { startHydra, type Hydra } from './hydra.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive, wayOf } from './real-provider.ts';

let hydra: Hydra;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  hydra = await startHydra({ origin, postLogoutRedirectUris: [`${origin}/`] });
});

afterAll(() => hydra?.close());

test('signs in with nothing configured but issuer and client, and gets a refresh token', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();

  const page = await signIn(browser, hydra, 'alice');

  expect(page.url).toBe(`${origin}/`);
  expect((await browser.fetch('/bff/session')).json()).toMatchObject({
    user: { sub: 'alice', name: 'alice of Hydra', email: 'alice@example.com' },
    accessToken: { refreshable: true },
  });
  expect(await hydra.isActive(await tokenOfCall(deployment, browser))).toBe(true);
});

test('refreshes an expired token once for 30 calls, again and again, though each refresh token is good once', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();
  await signIn(browser, hydra, 'alice');

  for (let round = 1; round <= 3; round += 1) {
    const before = await tokenOfCall(deployment, browser);
    await untilInactive(hydra, before);

    const answers = await inParallel(30, () => browser.fetch('/api/notes'));

    expect(statusesOf(answers)).toEqual([200]);
    const tokens = new Set(deployment.api.requests.slice(-30).map(({ token }) => token));
    expect(tokens.size).toBe(1);
    expect(tokens).not.toContain(before);
  }
});

test('ends the session when an administrator has taken the grants back, and signs in anew', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();
  await signIn(browser, hydra, 'alice');
  const token = await tokenOfCall(deployment, browser);

  await hydra.revokeGrants('alice');
  expect(await hydra.isActive(token)).toBe(false);
  const refused = await browser.fetch('/api/notes');

  expect(refused.status).toBe(401);
  expect(refused.json()).toMatchObject({ code: 'session_expired', loginUrl: expect.stringContaining('/bff/login') });
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  await browser.navigate('/bff/login');
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
});

test('accepts a new signing key, at refresh and at login, though refreshed ID tokens name the old one', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();
  await signIn(browser, hydra, 'alice');
  const token = await tokenOfCall(deployment, browser);

  await hydra.rotateKeys();
  await untilInactive(hydra, token);

  expect(await tokenOfCall(deployment, browser)).not.toBe(token);
  await signIn(deployment.browser(), hydra, 'bob');
  const hint = await hintOfSignOut(browser);
  const keys = createRemoteJWKSet(new URL(`${hydra.issuer}/.well-known/jwks.json`));
  await expect(jwtVerify(hint, keys, { clockTolerance: 60 })).rejects.toMatchObject({
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  });
  expect(decodeProtectedHeader(hint).kid).not.toContain('rotated');
});

test('signs out: the tokens are revoked, Hydra forgets the person, and the browser comes back', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();
  await signIn(browser, hydra, 'alice');
  expect((await browser.navigate('/bff/login')).url, 'single sign-on').toBe(`${origin}/`);
  const token = await tokenOfCall(deployment, browser);

  const page = await signOut(browser);

  expect([page.status, page.url]).toEqual([200, `${origin}/`]);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect(await hydra.isActive(token)).toBe(false);
  expect((await browser.navigate('/bff/login')).text).toContain('name="name"');
});

test('a post-logout address that Hydra does not know ends on an error page, and leaves the person signed in there', async () => {
  const deployment = await deploy(hydra, origin, { logout: { returnTo: '/goodbye' } });
  const browser = deployment.browser();
  await signIn(browser, hydra, 'alice');
  const token = await tokenOfCall(deployment, browser);

  const page = await signOut(browser);

  expect(page.text).toContain('post_logout_redirect_uri is not a whitelisted');
  expect(await hydra.isActive(token), 'revoked before').toBe(false);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).url).toBe(`${origin}/`);
});

test('prompt=none signs in silently, or comes back with ?login=required where nobody is found', async () => {
  const deployment = await deploy(hydra, origin);
  const browser = deployment.browser();
  expect((await browser.navigate('/bff/login?prompt=none')).url).toBe(`${origin}/?login=required`);

  await signIn(browser, hydra, 'alice');
  for (const { name } of browser.cookies.for(origin)) browser.cookies.remove(name);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);

  expect((await browser.navigate('/bff/login?prompt=none')).url).toBe(`${origin}/`);
  expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
});

/** The ID token that the browser carries to Hydra. */
async function hintOfSignOut(browser: BrowserClient): Promise<string> {
  const page = await signOut(browser);
  const sent = page.chain.map((hop) => new URL(hop.url).searchParams.get('id_token_hint')).find(Boolean);
  if (sent === undefined || sent === null) throw new Error(`no hint:\n${wayOf(page)}`);
  return sent;
}
