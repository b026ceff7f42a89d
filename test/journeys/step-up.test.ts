/**
 * A login that asks for a stronger or fresher sign-in (RFC 9470 4), at a provider that gives it and at one that doesn't.
 * One world for all: what a test changes at the provider, it undoes.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDateForAll } from '../support/clock.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import { rawRequest } from '../support/raw.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let realDate: () => void;
beforeAll(async () => {
  realDate = fakeDateForAll();
  const login = { params: { acr_values: 'urn:test:silver' }, allowParams: ['prompt', 'claims_locales'] };
  world = await startWorld({ config: { login } }, { scope: 'manual' });
  world.provider.settings.lifetimes.code = 600;
});
afterAll(async () => {
  await world.stop();
  realDate();
});

function changeIdToken(change: IdTokenMutation): void {
  onTestFinished(world.provider.mutateIdToken(change));
}

function withClaims(changed: Record<string, unknown>): void {
  changeIdToken((claims) => ({ claims: { ...claims, ...changed } }));
}

const gold = '/bff/login?acr_values=urn:test:gold&returnTo=%2Forders%3Fpage%3D2';

/** What tells one session from another. */
async function sessionOf(browser: BrowserClient): Promise<unknown> {
  return (await browser.fetch('/bff/session')).json()['logoutUrl'];
}

async function signedIn(): Promise<BrowserClient> {
  const browser = world.client();
  await signIn(browser);
  return browser;
}

function failures(): Array<Record<string, unknown>> {
  const lines = world.logs.map((line) => JSON.parse(line) as Record<string, unknown>);
  return lines.filter(({ msg }) => msg === 'login.failed');
}

test('the sign-in that was asked for leads back to where the person was, in place of the earlier session', async () => {
  const browser = await signedIn();
  const old = browser.clone();
  const earlier = await sessionOf(browser);
  const page = await browser.navigate(gold, { initiator: world.origin });
  expect([page.status, page.url]).toEqual([200, `${world.origin}/orders?page=2`]);
  expect(await sessionOf(browser)).not.toBe(earlier);
  expect((await old.fetch('/bff/session')).at('reason')).toBe('replaced');
});

test('one of several that were asked for is enough', async () => {
  withClaims({ acr: 'urn:test:gold' });
  const page = await world.client().navigate('/bff/login?acr_values=urn:test:platinum%20urn:test:gold');
  expect(page.status).toBe(200);
});

test("an auth_time that is as old as it may be is enough, whatever the provider's clock says", async () => {
  const ahead = 100;
  changeIdToken((claims) => ({ claims: { ...claims, iat: now() + ahead, auth_time: now() + ahead - 60 } }));
  expect((await world.client().navigate('/bff/login?max_age=60')).status).toBe(200);
});

test("what the operator's defaults ask for is a preference, which the provider may leave unheeded", async () => {
  withClaims({ acr: undefined });
  expect((await world.client().navigate('/bff/login')).status).toBe(200);
});

test('what was asked for counts also beside parameters that are too long to be remembered', async () => {
  withClaims({ acr: 'urn:test:silver' });
  const long = randomBytes(4000).toString('base64url');
  const page = await world.client().navigate(`${gold}&claims_locales=${long}`, { initiator: world.origin });
  expect(page.status).toBe(403);
  expect(page.text).toContain('This sign-in is not enough');
});

describe('a provider that ignores what was asked ends in a page that leads in no circle, and the session stays:', () => {
  const unmet: Array<[string, string, () => Record<string, unknown>, string]> = [
    ['no acr', 'acr_values=urn:test:gold', () => ({ acr: undefined }), 'acr_unmet'],
    ['another acr', 'acr_values=urn:test:gold', () => ({ acr: 'urn:test:silver' }), 'acr_unmet'],
    ['a beginning of it', 'acr_values=urn:test:gold', () => ({ acr: 'urn:test:gol' }), 'acr_unmet'],
    ['more than it', 'acr_values=urn:test:gold', () => ({ acr: 'urn:test:golden' }), 'acr_unmet'],
    ['a list with it', 'acr_values=urn:test:gold', () => ({ acr: ['urn:test:gold'] }), 'acr_unmet'],
    ['an object', 'acr_values=urn:test:gold', () => ({ acr: { value: 'urn:test:gold' } }), 'acr_unmet'],
    ['all of them as one text', 'acr_values=a%20b', () => ({ acr: 'a b' }), 'acr_unmet'],
    ['an empty text', 'acr_values=%20a%20', () => ({ acr: '' }), 'acr_unmet'],
    ['no auth_time', 'max_age=60', () => ({ auth_time: undefined }), 'auth_time_unmet'],
    ['an auth_time of long ago', 'max_age=60', () => ({ auth_time: now() - 63 }), 'auth_time_unmet'],
    ['an auth_time to come', 'max_age=60', () => ({ auth_time: now() + 121 }), 'auth_time_unmet'],
    ['the right acr of long ago', 'acr_values=b&max_age=0', () => ({ acr: 'b', auth_time: 0 }), 'auth_time_unmet'],
  ];
  test.each(unmet)('%s', async (_title, query, claims, reason) => {
    const browser = await signedIn();
    const earlier = await sessionOf(browser);
    const [failed, revoked] = [failures().length, world.provider.calls.revocation];
    withClaims(claims());
    const page = await browser.navigate(`/bff/login?${query}&returnTo=/orders`, { initiator: world.origin });
    expect([page.status, new URL(page.url).pathname]).toEqual([403, '/bff/callback']);
    expect(page.text).toContain('authorization_failed');
    expect(page.text).toContain('This sign-in is not enough');
    expect(page.text).not.toContain('/bff/login');
    expect(page.text).toContain('href="/"');
    expect(await sessionOf(browser)).toBe(earlier);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    // Some providers end the whole single sign-on session with any of its refresh tokens.
    expect(world.provider.calls.revocation).toBe(revoked);
    expect(failures().slice(failed)).toEqual([expect.objectContaining({ reason })]);
    world.assertNoSecrets();
  });

  test('nothing of what was asked or answered is on the page, for both can come from a stranger', async () => {
    withClaims({ acr: 'urn:test:the-providers-word' });
    const page = await world.client().navigate('/bff/login?acr_values=call+0900-1234');
    expect(page.status).toBe(403);
    expect(page.text).not.toMatch(/0900|the-providers-word/);
    expect(failures().at(-1)?.['cause']).toMatchObject({
      message: 'Asked for acr call 0900-1234; the ID token has "urn:test:the-providers-word".',
    });
  });

  test('a program that follows the redirects gets a problem without a loginUrl', async () => {
    withClaims({ acr: undefined });
    const browser = world.client();
    const callback = await leadToCallback(browser, gold);
    const head = `GET ${callback.pathname}${callback.search} HTTP/1.1\r\nHost: ${callback.host}\r\nConnection: close`;
    const cookie = browser.cookies.header(callback) ?? '';
    const answer = String(await rawRequest(world.server.port, `${head}\r\nCookie: ${cookie}\r\n\r\n`));
    expect(answer).toContain('"code":"authorization_failed"');
    expect(answer).not.toContain('loginUrl');
  });

  test.each([
    ['a text', String(now())],
    ['null', null],
    ['a list', [now()]],
  ])('an auth_time that is %s', async (_, time) => {
    const browser = await signedIn();
    const earlier = await sessionOf(browser);
    withClaims({ auth_time: time });
    expect((await browser.navigate('/bff/login?max_age=60')).status).toBe(403);
    expect(await sessionOf(browser)).toBe(earlier);
  });

  test('in a popup the app hears of it', async () => {
    const browser = await signedIn();
    const earlier = await sessionOf(browser);
    withClaims({ acr: undefined });
    const page = await browser.navigate(`${gold}&display=popup`, { initiator: world.origin });
    expect(page.status).toBe(403);
    expect(page.text).toContain(
      'postMessage({"basePath":"/bff","type":"sign-in-failed","code":"authorization_failed"})',
    );
    expect(page.text).not.toContain('/bff/login');
    expect(await sessionOf(browser)).toBe(earlier);
  });

  test('asked in silence, it is as if the provider had to ask the person', async () => {
    const browser = await signedIn();
    const earlier = await sessionOf(browser);
    withClaims({ auth_time: 0 });
    const page = await browser.navigate('/bff/login?prompt=none&max_age=60&returnTo=/orders', {
      initiator: world.origin,
    });
    expect(page.url).toBe(`${world.origin}/orders?login=required`);
    expect(await sessionOf(browser)).toBe(earlier);
  });
});

test('a person who signs in during the login may take their time on the pages after that', async () => {
  const browser = world.client();
  withClaims({ auth_time: now() + 1 });
  const callback = await leadToCallback(browser, '/bff/login?max_age=5');
  vi.advanceTimersByTime(500_000);
  expect((await browser.navigate(callback.href)).status).toBe(200);
});

test('but not one who signed in before it', async () => {
  const browser = world.client();
  withClaims({ auth_time: now() - 3 });
  const callback = await leadToCallback(browser, '/bff/login?max_age=300');
  vi.advanceTimersByTime(500_000);
  const failed = failures().length;
  expect((await browser.navigate(callback.href)).status).toBe(403);
  expect(failures().slice(failed)).toEqual([expect.objectContaining({ reason: 'auth_time_unmet' })]);
});

function now(): number {
  return Math.floor(Date.now() / 1000);
}
