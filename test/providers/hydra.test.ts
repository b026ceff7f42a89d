/** The journeys of a person at Ory Hydra. */
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { freePort } from '../support/listener.ts';
import { testEndSession, testRevocation, testSignInAndRefresh } from './common-journeys.ts';
import { startHydra, type Hydra } from './hydra.ts';
import { deploy, signIn, signOut, tokenOfCall, untilInactive, wayOf } from './real-provider.ts';

let hydra: Hydra;
let origin: string;

beforeAll(async () => {
  origin = `http://localhost:${await freePort()}`;
  hydra = await startHydra({ origin, postLogoutRedirectUris: [`${origin}/`] });
});

afterAll(() => hydra?.close());

testSignInAndRefresh(() => ({ provider: hydra, origin }));
testEndSession(() => ({ provider: hydra, origin }));

testRevocation(
  'an administrator has taken the grants back',
  () => ({ provider: hydra, origin }),
  () => hydra.revokeGrants('alice'),
);

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
