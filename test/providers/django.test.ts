/** The journeys of a person at django-oauth-toolkit. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../support/listener.ts';
import { testEndSession, testRevocation, testSignInAndRefresh } from './common-journeys.ts';
import { startDjango, type Django } from './django.ts';
import { deploy, signIn, tokenOfCall, untilInactive } from './real-provider.ts';

let django: Django;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  django = await startDjango(origin);
});

afterAll(() => django?.close());

testSignInAndRefresh(() => ({ provider: django, origin }));
testEndSession(() => ({ provider: django, origin }));

testRevocation(
  'an administrator has deleted its tokens',
  () => ({ provider: django, origin }),
  () => django.revokeGrants(),
);

test('accepts a new signing key, at refresh and at login, without a restart of its own', async () => {
  const deployment = await deploy(django, origin);
  const browser = deployment.browser();
  await signIn(browser, django, 'alice');
  const token = await tokenOfCall(deployment, browser);

  await django.rotateKeys();
  await untilInactive(django, token);

  expect(await tokenOfCall(deployment, browser)).not.toBe(token);
  await signIn(deployment.browser(), django, 'bob');
});
