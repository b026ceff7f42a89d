/** The journeys of a person at Dex, as it is by default: it keeps no session of its own and has no end-session endpoint. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeProtectedHeader } from 'jose';
import type { BrowserClient } from '../support/browser-client.ts';
import { inParallel, statusesOf } from '../support/world.ts';
import { freePort } from '../support/listener.ts';
import { startDex, type Dex } from './dex.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive } from './real-provider.ts';

let dex: Dex;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  dex = await startDex({ origin });
});

afterAll(() => dex?.close());

test('signs in with nothing configured but issuer and client, and gets a refresh token', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();

  const page = await signIn(browser, dex, 'alice');

  expect(page.url).toBe(`${origin}/`);
  const session = (await browser.fetch('/bff/session')).json();
  expect(session).toMatchObject({
    user: { name: 'alice', email: 'alice@example.com' },
    accessToken: { refreshable: true },
  });
  expect(await dex.isActive(await tokenOfCall(deployment, browser))).toBe(true);
});

test('refreshes an expired token once for 30 calls, again and again, though each refresh token is good once', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');

  for (let round = 1; round <= 3; round += 1) {
    const before = await tokenOfCall(deployment, browser);
    await untilInactive(dex, before);

    const answers = await inParallel(30, () => browser.fetch('/api/notes'));

    expect(statusesOf(answers)).toEqual([200]);
    const tokens = new Set(deployment.api.requests.slice(-30).map(({ token }) => token));
    expect(tokens.size).toBe(1);
    expect(tokens).not.toContain(before);
  }
});

test('ends the session when an administrator has revoked its refresh token, and signs in anew', async () => {
  const deployment = await deploy(dex, origin);
  const browser = deployment.browser();
  await signIn(browser, dex, 'alice');
  const token = await tokenOfCall(deployment, browser);

  await dex.admin.revokeRefreshToken(await subjectOf(browser), dex.client.id);
  await untilInactive(dex, token);
  const refused = await browser.fetch('/api/notes');

  expect(refused.status).toBe(401);
  expect(refused.json()).toMatchObject({ code: 'session_expired', loginUrl: expect.stringContaining('/bff/login') });
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  await signIn(browser, dex, 'alice');
});

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
  const subject = await subjectOf(browser);

  const page = await signOut(browser);

  expect([page.status, page.url]).toEqual([200, `${origin}/`]);
  expect(page.chain.every((hop) => hop.url.startsWith(origin))).toBe(true);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).text).toContain('type="password"');
  // There is no revocation endpoint either.
  expect(await dex.admin.countRefreshTokens(subject)).toBe(1);
});

async function subjectOf(browser: BrowserClient): Promise<string> {
  return String((await browser.fetch('/bff/session')).at('user.sub'));
}

function keyOf(token: string): string | undefined {
  return decodeProtectedHeader(token).kid;
}
