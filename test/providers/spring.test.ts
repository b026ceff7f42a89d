/** The journeys of a person at Spring Authorization Server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { inParallel, statusesOf } from '../support/world.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive } from './real-provider.ts';
import { startSpring, type Spring } from './spring.ts';

let spring: Spring;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  spring = await startSpring(origin);
});

afterAll(() => spring?.close());

test('signs in with nothing configured but issuer and client, and gets a refresh token', async () => {
  const deployment = await deploy(spring, origin);
  const browser = deployment.browser();

  const page = await signIn(browser, spring, 'alice');

  expect(page.url).toBe(`${origin}/`);
  expect((await browser.fetch('/bff/session')).json()).toMatchObject({
    user: { sub: 'alice' },
    accessToken: { refreshable: true },
  });
  expect(await spring.isActive(await tokenOfCall(deployment, browser))).toBe(true);
});

test('refreshes an expired token once for 30 calls, again and again, though each refresh token is good once', async () => {
  const deployment = await deploy(spring, origin);
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');

  for (let round = 1; round <= 3; round += 1) {
    const before = await tokenOfCall(deployment, browser);
    await untilInactive(spring, before);

    const answers = await inParallel(30, () => browser.fetch('/api/notes'));

    expect(statusesOf(answers)).toEqual([200]);
    const tokens = new Set(deployment.api.requests.slice(-30).map(({ token }) => token));
    expect(tokens.size).toBe(1);
    expect(tokens).not.toContain(before);
  }
});

test('refuses a sign-in that is older than max_age allows, for the server heeds neither max_age nor prompt=login', async () => {
  const deployment = await deploy(spring, origin);
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');

  // Nobody is asked for anything.
  expect((await browser.navigate('/bff/login?prompt=login')).url).toBe(`${origin}/`);

  // Clocks may differ by 30 seconds.
  const login = async () => (await browser.navigate('/bff/login?max_age=1')).status;
  await expect.poll(login, { timeout: 45_000, interval: 1000 }).toBe(403);
});

test('signs out: the tokens are revoked, the server forgets the person, and the browser comes back', async () => {
  const deployment = await deploy(spring, origin);
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');
  const token = await tokenOfCall(deployment, browser);

  const page = await signOut(browser);

  expect([page.status, page.url]).toEqual([200, `${origin}/`]);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect(await spring.isActive(token)).toBe(false);
  expect((await browser.navigate('/bff/login')).text).toContain('type="password"');
});

test('a post-logout address that the server does not know ends on its error page, and leaves the person signed in there', async () => {
  const deployment = await deploy(spring, origin, { logout: { returnTo: '/goodbye' } });
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');

  const page = await signOut(browser);

  expect([page.status, page.url.startsWith(spring.issuer)]).toEqual([400, true]);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  expect((await browser.navigate('/bff/login')).url).toBe(`${origin}/`);
});

test('ends the session when the server has lost its tokens and its key by a restart, and signs in with the new ones', async () => {
  const deployment = await deploy(spring, origin);
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');

  await spring.restart();
  const refused = await browser.fetch('/api/notes');

  expect([refused.status, refused.at('code')]).toEqual([401, 'session_expired']);
  expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  await signIn(browser, spring, 'alice');
  await tokenOfCall(deployment, browser);
});
