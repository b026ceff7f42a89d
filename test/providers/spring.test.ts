/** The journeys of a person at Spring Authorization Server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { testEndSession, testSignInAndRefresh } from './common-journeys.ts';
import { deploy, signIn, tokenOfCall } from './real-provider.ts';
import { startSpring, type Spring } from './spring.ts';

let spring: Spring;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  spring = await startSpring(origin);
});

afterAll(() => spring?.close());

testSignInAndRefresh(() => ({ provider: spring, origin }));
testEndSession(() => ({ provider: spring, origin }));

test('refuses a sign-in that is older than max_age allows, for the server heeds neither max_age nor prompt=login', async () => {
  const deployment = await deploy(spring, origin, { provider: { clockToleranceSeconds: 0 } });
  const browser = deployment.browser();
  await signIn(browser, spring, 'alice');

  // Nobody is asked for anything.
  expect((await browser.navigate('/bff/login?prompt=login')).url).toBe(`${origin}/`);

  const login = async () => (await browser.navigate('/bff/login?max_age=1')).status;
  await expect.poll(login, { timeout: 15_000, interval: 500 }).toBe(403);
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
