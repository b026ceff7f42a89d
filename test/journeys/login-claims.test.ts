/**
 * What a session keeps of its login's ID token: the provider names its own session there, and may leave it out of the
 * tokens of a refresh (OpenID Connect Core 12.2 asks for no more than the identity).
 */
import { beforeEach, expect, test } from 'vitest';
import { createSealer } from '../../src/session/seal.ts';
import { readSession, type Session } from '../../src/session/session.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

function sessionIn(browser: BrowserClient, { config }: World): Session | undefined {
  const sealed = browser.cookies.get(browser.own('session'))?.value ?? '';
  return readSession(createSealer(config.secrets, 'session').unseal(sealed) ?? '');
}

test('the sid and the time of the login outlive refreshes, whose ID tokens have others or none', async () => {
  const world = await startWorld();
  const browser = world.client();
  const undo = world.provider.mutateIdToken((claims) => ({ claims: { ...claims, sid: 'the-first' } }), 'code');
  await signIn(browser);
  undo();
  const begun = sessionIn(browser, world);
  expect(begun).toMatchObject({ generation: 0, providerSid: 'the-first', loginIssuedAt: begun?.createdAt });
  for (const sid of [undefined, 'another', 7]) {
    const stop = world.provider.mutateIdToken((claims) => ({ claims: { ...claims, sid } }), 'refresh');
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    stop();
  }
  const { providerSid, loginIssuedAt } = begun ?? {};
  expect(sessionIn(browser, world)).toMatchObject({ generation: 3, providerSid, loginIssuedAt });
});

test('the acr and the time of the sign-in outlive refreshes whose ID tokens lack them', async () => {
  const world = await startWorld();
  const browser = world.client();
  const strong = { acr: 'urn:test:gold', auth_time: 1_700_000_000 };
  world.provider.mutateIdToken((claims) => ({ claims: { ...claims, ...strong } }), 'code');
  await signIn(browser);
  const lacking = { acr: undefined, auth_time: undefined };
  world.provider.mutateIdToken((claims) => ({ claims: { ...claims, ...lacking } }), 'refresh');
  for (const generation of [1, 2]) {
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(sessionIn(browser, world)).toMatchObject({ generation, acr: strong.acr, authTime: strong.auth_time });
  }
});

test.each([
  ['no acr', { acr: undefined }, { acr: undefined }],
  ['an acr that is a list', { acr: ['urn:test:gold'] }, { acr: undefined }],
  ['an auth_time with a fraction', { auth_time: 1_700_000_000.9 }, { authTime: 1_700_000_000 }],
  ['an auth_time beyond all numbers', { auth_time: 1e300 }, { authTime: undefined }],
  ['no sid', { sid: undefined }, { providerSid: undefined }],
  ['a sid that is a number', { sid: 5 }, { providerSid: undefined }],
  ['a time with a fraction', { iat: 1_700_000_000.9 }, { loginIssuedAt: 1_700_000_000 }],
])('a login whose ID token has %s begins a session', async (_, claims, kept) => {
  const world = await startWorld();
  const browser = world.client();
  world.provider.mutateIdToken((before) => ({ claims: { ...before, ...claims } }), 'code');
  await signIn(browser);
  expect(sessionIn(browser, world)).toMatchObject(kept);
  expect((await browser.fetch('/api/me')).status).toBe(200);
});
