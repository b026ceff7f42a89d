/** The journeys of a person at Dex, as it is by default: it keeps no session of its own and has no end-session endpoint. */
import { decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { testRevocation, testSignInAndRefresh } from './common-journeys.ts';
import { startDex, type Dex } from './dex.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive } from './real-provider.ts';

let dex: Dex;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  dex = await startDex({ origin });
});

afterAll(() => dex?.close());

testSignInAndRefresh(() => ({ provider: dex, origin }));

testRevocation(
  'an administrator has revoked its refresh token',
  () => ({ provider: dex, origin }),
  () => dex.admin.revokeRefreshToken(dex.subjectOfAlice, dex.client.id),
);

test("a sign-in with another browser ends the first one's session, for Dex keeps one refresh token a person", async () => {
  const deployment = await deploy(dex, origin);
  const [first, second] = [deployment.browser(), deployment.browser()];
  await signIn(first, dex, 'alice');
  const token = await tokenOfCall(deployment, first);
  await signIn(second, dex, 'alice');
  await untilInactive(dex, token);

  expect((await first.fetch('/api/notes')).at('code')).toBe('session_expired');
  expect((await second.fetch('/api/notes')).status).toBe(200);
});

test('accepts a new signing key, at refresh and at login, without a restart', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');
  const before = keyOf(await tokenOfCall(deployment, browser));

  // Every call in between is answered.
  await expect.poll(async () => keyOf(await tokenOfCall(deployment, browser)), { timeout: 50_000 }).not.toBe(before);

  await signIn(deployment.browser(), dex, 'bob');
});

test('keeps sessions while Dex is down, with 503 where it is needed, until it is back', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');
  const token = await tokenOfCall(deployment, browser);
  await untilInactive(dex, token);

  await dex.down();
  const unavailable = await browser.fetch('/api/notes');
  expect([unavailable.status, unavailable.at('code')]).toEqual([503, 'provider_unavailable']);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);

  await dex.up();
  const status = async () => (await browser.fetch('/api/notes')).status;
  await expect.poll(status, { timeout: 30_000, interval: 500 }).toBe(200);
});

test('signs out without an end-session endpoint: back to the app at once, and Dex asks for the password again', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');

  const page = await signOut(browser);

  expect([page.status, page.url]).toEqual([200, `${origin}/`]);
  expect(page.chain.every((hop) => hop.url.startsWith(origin))).toBe(true);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).text).toContain('type="password"');
  // There is no revocation endpoint either.
  expect(await dex.admin.countRefreshTokens(dex.subjectOfAlice)).toBe(1);
});

function keyOf(token: string): string | undefined {
  return decodeProtectedHeader(token).kid;
}
