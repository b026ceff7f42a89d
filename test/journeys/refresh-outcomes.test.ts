/** Outcomes of a refresh: only a definitive answer of the provider ends a session. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { almostExpireAccessToken, expireAccessToken, fakeDate } from '../support/clock.ts';
import type { Failure } from '../support/provider-faults.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import {
  inParallel,
  signIn,
  startSignedIn,
  startSignedInPeople,
  startWorld,
  statusesOf,
  within,
  type World,
} from '../support/world.ts';

beforeEach(() => fakeDate());

function sessionCookie(browser: BrowserClient): string | undefined {
  return browser.cookies.get(browser.own('session'))?.value;
}

/** Twelve people, signed in. */
async function startTwelve(): Promise<World & { browsers: BrowserClient[]; refreshAll: () => Promise<Exchange[]> }> {
  const world = await startSignedInPeople(12);
  const { browsers } = world;
  const refreshAll = () => Promise.all(browsers.map((browser) => browser.fetch('/bff/refresh', { method: 'POST' })));
  return Object.assign(world, { browsers, refreshAll });
}

/** How many are still signed in. */
async function signedIn(browsers: BrowserClient[]): Promise<number> {
  const answers = await Promise.all(browsers.map((browser) => browser.fetch('/bff/session')));
  return answers.filter((answer) => answer.at('authenticated') === true).length;
}

describe('no answer that is not definitive ends the session:', () => {
  const failures: Array<[string, Failure]> = [
    ['500', { status: 500 }],
    ['503 with Retry-After', { status: 503, headers: { 'retry-after': '7' } }],
    ['a page of HTML', { status: 200, body: '<html>maintenance</html>' }],
    ['a 502 page of HTML', { status: 502, body: '<html>bad gateway</html>' }],
    ['JSON that is cut', { status: 200, body: '{"access_token": "a', contentType: 'application/json' }],
    ['an empty JSON object', { status: 200, body: {} }],
    ['429 slow_down', { status: 429, body: { error: 'slow_down' } }],
    ['a redirect', { status: 302, headers: { location: '/elsewhere' }, body: '' }],
    ['400 temporarily_unavailable', { status: 400, body: { error: 'temporarily_unavailable' } }],
    ["a gateway's 404 in JSON", { status: 404, body: { error: 'Not Found' } }],
    ["a gateway's 404 with a code", { status: 404, body: { error: 'not_found' } }],
    ["a gateway's 403 in JSON", { status: 403, body: { error: 'Forbidden' } }],
    ['a 400 without an error code', { status: 400, body: { message: 'invalid_grant' } }],
    ['408 with invalid_grant', { status: 408, body: { error: 'invalid_grant' } }],
    ['500 with invalid_grant', { status: 500, body: { error: 'invalid_grant' } }],
    [
      '401 invalid_client',
      { status: 401, body: { error: 'invalid_client' }, headers: { 'www-authenticate': 'Basic realm="p"' } },
    ],
    ['401 invalid_client without a challenge', { status: 401, body: { error: 'invalid_client' } }],
    ['400 unauthorized_client', { status: 400, body: { error: 'unauthorized_client' } }],
  ];
  test.each(failures)('%s is a 503 while it lasts, and the session goes on', async (_title, failure) => {
    const { browser, provider, api } = await startSignedIn();
    const cookie = sessionCookie(browser);
    expireAccessToken();
    provider.fail('refresh', failure);
    const answer = await browser.fetch('/api/1');
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'provider_unavailable' });
    expect(answer.headers['retry-after']).toBe(failure.headers?.['retry-after'] ?? '2');
    expect(api.requests).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect(sessionCookie(browser)).toBe(cookie);

    provider.heal();
    vi.advanceTimersByTime(10_000);
    expect((await browser.fetch('/api/2')).status).toBe(200);
  });

  test('a reset connection', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    provider.reset('refresh', 1);
    expect((await browser.fetch('/api/1')).status).toBe(503);
    vi.advanceTimersByTime(10_000);
    expect((await browser.fetch('/api/2')).status).toBe(200);
  });

  test('a provider that is down', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    await provider.down();
    const answers = await inParallel(10, (index) => browser.fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([503]);
    await provider.up();
    vi.advanceTimersByTime(10_000);
    expect((await browser.fetch('/api/again')).status).toBe(200);
  });

  test('a slow provider: the calls wait, and are answered', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    const undo = provider.delay('refresh', 400);
    const answers = await inParallel(10, (index) => browser.fetch(`/api/${index}`));
    undo();
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
  });

  test('a provider that never answers: calls wait for a limited time, and a late answer counts', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    const gate = provider.hold('refresh');
    const answer = await within(15, browser.fetch('/api/1'), 'the call was not answered');
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toMatch(/^\d+$/);
    gate.release();
    expect((await browser.fetch('/api/2')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('keys out of reach for a refreshed ID token with a new key: the token is not spent twice', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    await provider.rotateKeys();
    provider.fail('jwks', { status: 500, times: 1 });
    expect((await browser.fetch('/api/1')).status).toBe(503);
    vi.advanceTimersByTime(10_000);
    expect((await browser.fetch('/api/2')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('the valid token is used in the meantime', async () => {
    const { browser, provider } = await startSignedIn();
    almostExpireAccessToken();
    provider.fail('refresh', { status: 500 });
    const answers = await inParallel(10, (index) => browser.fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBeLessThanOrEqual(2);
  });

  test('if the API refuses the token at that moment, it is 503 and not the 401', async () => {
    const { browser, provider, api } = await startSignedIn();
    provider.fail('refresh', { status: 500 });
    api.rejectTokens(() => true);
    const answer = await browser.fetch('/api/1');
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'provider_unavailable' });
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('an answer that the provider sent and nobody got, where it does not rotate', async () => {
    const { browser, provider } = await startSignedIn({ provider: { settings: { rotateRefreshTokens: false } } });
    expireAccessToken();
    provider.dropAfterCommit('refresh', 1);
    expect((await browser.fetch('/api/1')).status).toBe(503);
    vi.advanceTimersByTime(10_000);
    expect((await browser.fetch('/api/2')).status).toBe(200);
  });
});

describe('twelve sessions that refresh just after the provider has changed its keys', () => {
  test.each([
    ['a moment ago', () => undefined],
    ['long ago', expireAccessToken],
  ])('live on, and share one look at keys that were last seen %s', async (_title, age) => {
    const { provider, browsers, refreshAll } = await startTwelve();
    age();
    await provider.rotateKeys();
    provider.resetCalls();
    provider.delay('jwks', 100);
    expect(statusesOf(await refreshAll())).toEqual([200]);
    expect(await signedIn(browsers)).toBe(12);
    expect(provider.calls).toMatchObject({ refresh: 12 });
    expect(provider.calls.jwks).toBeGreaterThanOrEqual(1);
    expect(provider.calls.jwks).toBeLessThanOrEqual(2);
  });

  test.each<[string, (provider: World['provider']) => void]>([
    ['answer 500', (provider) => provider.fail('jwks', { status: 500 })],
    ['are no key set', (provider) => provider.fail('jwks', { status: 200, body: { keys: 'none' } })],
    ['cannot be reached', (provider) => provider.reset('jwks')],
  ])('get 503 and live on where the keys %s', async (_title, withhold) => {
    const { provider, browsers, refreshAll } = await startTwelve();
    await provider.rotateKeys();
    provider.resetCalls();
    withhold(provider);
    for (const answer of await refreshAll()) {
      expect(answer.status).toBe(503);
      expect(answer.json()).toMatchObject({ code: 'provider_unavailable' });
      expect(answer.headers['retry-after']).toMatch(/^\d+$/);
    }
    expect(await signedIn(browsers)).toBe(12);
    expect(provider.calls.jwks).toBeLessThanOrEqual(5);
  });

  test('get their new tokens as soon as the keys can be had, without another redemption', async () => {
    const { provider, refreshAll } = await startTwelve();
    await provider.rotateKeys();
    const undo = provider.fail('jwks', { status: 500 });
    expect(statusesOf(await refreshAll())).toEqual([503]);
    undo();
    vi.advanceTimersByTime(61_000);
    expect(statusesOf(await refreshAll())).toEqual([200]);
    expect(provider.calls.refresh).toBe(12);
  });
});

describe('a definitive answer ends the session:', () => {
  test('invalid_grant; the call says so, and /bff/session clears the cookie', async () => {
    const { browser, provider, api } = await startSignedIn();
    expireAccessToken();
    provider.revokeGrants('alice');
    const answers = await inParallel(10, (index) => browser.fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([401]);
    for (const answer of answers) {
      expect(answer.json()).toMatchObject({ code: 'session_expired', loginUrl: '/bff/login' });
      expect(answer.setCookies).toEqual([]);
    }
    expect(provider.calls.refresh).toBe(1);
    expect(api.requests).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    await browser.fetch('/api/again');
    expect(provider.calls.refresh).toBe(1);
  });

  const challenge = { 'www-authenticate': 'Bearer realm="p", error="invalid_grant"' };
  test.each<[refusal: string, failure: Failure]>([
    ['400 invalid_grant beside a challenge, as Doorkeeper sends it', { status: 400, headers: challenge }],
    ['401 invalid_grant beside a challenge', { status: 401, headers: challenge }],
    ['403 invalid_grant', { status: 403 }],
    ['400 invalid_request, as Dex says of a used token', { status: 400, body: { error: 'invalid_request' } }],
    ['403 access_denied', { status: 403, body: { error: 'access_denied' } }],
  ])('%s, and the provider is asked once', async (_title, failure) => {
    const { browser, provider, api } = await startSignedIn();
    expireAccessToken();
    provider.fail('refresh', { body: { error: 'invalid_grant' }, ...failure });
    const answer = await browser.fetch('/api/1');
    expect([answer.status, answer.at('code'), answer.at('loginUrl')]).toEqual([401, 'session_expired', '/bff/login']);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect([provider.calls.refresh, api.requests]).toEqual([1, []]);
  });

  const faults: Array<[string, IdTokenMutation]> = [
    ['another subject', (claims) => ({ claims: { ...claims, sub: 'bob' } })],
    ['an empty subject', (claims) => ({ claims: { ...claims, sub: '' } })],
    ['another issuer', (claims) => ({ claims: { ...claims, iss: 'https://evil.test' } })],
    ['another audience', (claims) => ({ claims: { ...claims, aud: 'another' } })],
    ['one audience more', (claims) => ({ claims: { ...claims, aud: ['sallyport', 'b'], azp: 'sallyport' } })],
    ['another nonce', (claims) => ({ claims: { ...claims, nonce: 'another' } })],
    ['a time in the future', (claims) => ({ claims: { ...claims, iat: Math.floor(Date.now() / 1000) + 3600 } })],
    ['no signature', () => ({ sign: 'none' })],
    ['a spoilt signature', () => ({ sign: 'broken' })],
    ['a foreign signature', () => ({ sign: 'foreign' })],
  ];
  test.each(faults)('a refreshed ID token with %s', async (_title, mutation) => {
    const { browser, provider, api } = await startSignedIn();
    expireAccessToken();
    provider.mutateIdToken(mutation, 'refresh');
    const answer = await browser.fetch('/api/1');
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: 'session_expired' });
    expect(api.requests).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test.each<[member: string, value: unknown]>([
    ['refresh_token', null],
    ['refresh_token', ''],
    ['refresh_token', 5],
    ['id_token', null],
    ['id_token', {}],
    ['scope', null],
    ['scope', ['openid']],
    ['expires_in', null],
    ['expires_in', 'soon'],
  ])('but no optional member of an odd type: %s of %j counts as absent', async (member, value) => {
    const { browser, provider, api } = await startSignedIn();
    const undo = provider.mutate('refresh', (json) => ({ ...json, [member]: value }));
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('accessToken.refreshable')).toBe(true);
    expect([provider.calls.refresh, api.requests.length]).toEqual([1, 1]);
    undo();
  });

  test('but neither a missing ID token nor a missing nonce', async () => {
    const { browser, provider } = await startSignedIn();
    const undo = provider.mutate('refresh', (json) => without(json, 'id_token'));
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    undo();
    provider.mutateIdToken((claims) => ({ claims: without(claims, 'nonce') }), 'refresh');
    expireAccessToken();
    expect((await browser.fetch('/api/2')).status).toBe(200);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('alice');
  });
});

describe('a provider of another kind', () => {
  test('one that does not rotate: one refresh per expiry, and old cookies are told from new', async () => {
    const { browser, provider } = await startSignedIn({ provider: { settings: { rotateRefreshTokens: false } } });
    const old = browser.clone();
    for (const round of [1, 2, 3]) {
      expireAccessToken();
      const answers = await inParallel(20, (index) => browser.fetch(`/api/${index}`));
      expect(statusesOf(answers)).toEqual([200]);
      expect(provider.calls.refresh).toBe(round);
    }
    await browser.fetch('/api/seen');
    vi.advanceTimersByTime(61_000);
    expect((await old.fetch('/api/old')).status).toBe(401);
    expect(provider.calls.refresh).toBe(3);
  });

  test('one that gives a refresh token at login only', async () => {
    const { browser, provider } = await startSignedIn({ provider: { settings: { rotateRefreshTokens: false } } });
    provider.mutate('refresh', (json) => without(json, 'refresh_token'));
    for (const round of [1, 2]) {
      expireAccessToken();
      expect((await browser.fetch('/api/1')).status).toBe(200);
      expect(provider.calls.refresh).toBe(round);
    }
  });

  test.each([
    ['leaves expires_in out', (json: Record<string, unknown>) => without(json, 'expires_in')],
    ['says 0', (json: Record<string, unknown>) => ({ ...json, expires_in: 0 })],
  ])('one that %s: the token is used until the API refuses it', async (_title, change) => {
    const world = await startWorld();
    world.provider.mutate('token', change);
    const browser = world.client();
    await signIn(browser);
    for (let call = 0; call < 5; call += 1) expect((await browser.fetch(`/api/${call}`)).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(0);
    world.api.rejectTokens(1);
    expect((await browser.fetch('/api/refused')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('one that writes expires_in as a text', async () => {
    const world = await startWorld();
    world.provider.mutate('token', (json) => ({ ...json, expires_in: String(json['expires_in']) }));
    const browser = world.client();
    await signIn(browser);
    expect((await browser.fetch('/bff/session')).at('accessToken.expiresInSeconds')).toBe(300);
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test('one whose tokens live for ten seconds: no refresh with every call', async () => {
    const { browser, provider } = await startSignedIn({
      provider: {
        settings: { lifetimes: { accessToken: 10, idToken: 300, refreshToken: 86_400, code: 60, session: 86_400 } },
      },
    });
    for (let second = 0; second < 30; second += 1) {
      expect((await browser.fetch(`/api/${second}`)).status).toBe(200);
      vi.advanceTimersByTime(1000);
    }
    expect(provider.calls.refresh).toBeGreaterThanOrEqual(2);
    expect(provider.calls.refresh).toBeLessThanOrEqual(6);
  });

  test('one whose refreshed tokens no cookie can hold: the calls go on, the log tells the size', async () => {
    const { browser, provider, logs } = await startSignedIn();
    const before = browser.clone().cookies.all();
    provider.settings.accessTokenPadding = 20_000;
    expireAccessToken();
    for (let call = 0; call < 3; call += 1) expect((await browser.fetch(`/api/${call}`)).status).toBe(200);
    expect(browser.cookies.all()).toEqual(before);
    expect(provider.calls.refresh).toBe(1);
    expect(logs.join('')).toMatch(/"bytes":\d{5},"msg":"session.oversized"/);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(browser.cookies.get(browser.own('session'))).toBeUndefined();
  });

  test('one whose tokens are opaque', async () => {
    const { browser, provider } = await startSignedIn({ provider: { settings: { accessTokens: 'opaque' } } });
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('one whose refresh fails definitively after it rotated: nothing is shown twice', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    provider.revokeGrants();
    expireAccessToken();
    expect((await browser.fetch('/api/2')).status).toBe(401);
    expect((await browser.fetch('/api/3')).status).toBe(401);
    expect(provider.calls.refresh).toBe(2);
  });
});

function without(value: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}
