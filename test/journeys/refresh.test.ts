/** Refreshing: a refresh token is redeemed once, whatever happens around it, and only a definitive answer ends a session. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { almostExpireAccessToken, expireAccessToken, fakeDate } from '../support/clock.ts';
import type { Failure } from '../support/provider-faults.ts';
import type { IdTokenMutation } from '../support/provider-keys.ts';
import {
  outcomeOf,
  signIn,
  startSignedIn,
  startSignedInPeople,
  startWorld,
  within,
  type World,
} from '../support/world.ts';

beforeEach(() => fakeDate());

function inParallel(count: number, call: (index: number) => Promise<Exchange>): Promise<Exchange[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => call(index)));
}

function statusesOf(answers: Exchange[]): number[] {
  return [...new Set(answers.map((answer) => answer.status))];
}

function sessionCookie(browser: BrowserClient): string | undefined {
  return browser.cookies.get('session')?.value;
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

describe('one refresh', () => {
  test('happens ahead of expiry, and the API sees the new token', async () => {
    const { browser, provider, api } = await startSignedIn();
    await browser.fetch('/api/1');
    const before = api.last().token;
    almostExpireAccessToken();
    const answer = await browser.fetch('/api/2');
    expect(answer.status).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(api.last().token).not.toBe(before);
    expect(provider.calls.refresh).toBe(1);
  });

  test('does not happen before it is due', async () => {
    const { browser, provider } = await startSignedIn();
    vi.advanceTimersByTime(200_000);
    await browser.fetch('/api/1');
    expect(provider.calls.refresh).toBe(0);
  });

  test('serves 50 parallel calls with an expired token', async () => {
    const { browser, provider, api } = await startSignedIn();
    expireAccessToken();
    const answers = await inParallel(50, (index) => browser.fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
    expect(new Set(api.requests.map((request) => request.token)).size).toBe(1);
  });

  test('serves 50 parallel calls whose token the API refuses first', async () => {
    const { browser, provider, api } = await startSignedIn();
    await browser.fetch('/api/0');
    const refused = api.last().token;
    api.rejectTokens((token) => token === refused);
    const answers = await inParallel(50, (index) => browser.fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
  });

  test('goes on when the call that began it is aborted', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    const gate = provider.hold('refresh');
    const abort = new AbortController();
    const first = outcomeOf(browser.fetch('/api/first', { signal: abort.signal }));
    await gate.arrived;
    const others = inParallel(50, (index) => browser.fetch(`/api/${index}`));
    abort.abort();
    expect(await first).toBe('AbortError');
    gate.release();
    expect(statusesOf(await others)).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
  });

  test('is not lost when everybody who waited for it has gone', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    const gate = provider.hold('refresh', { after: 'commit' });
    const abort = new AbortController();
    const only = outcomeOf(browser.fetch('/api/only', { signal: abort.signal }));
    await gate.arrived;
    abort.abort();
    expect(await only).toBe('AbortError');
    gate.release();
    expect((await browser.fetch('/api/next')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });

  test('serves a second wave that still carries the old cookie', async () => {
    const { browser, provider } = await startSignedIn();
    const late = browser.clone();
    expireAccessToken();
    await inParallel(10, (index) => browser.fetch(`/api/${index}`));
    vi.advanceTimersByTime(100);
    const answers = await inParallel(10, (index) => late.clone().fetch(`/api/late/${index}`));
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBe(1);
    for (const answer of answers) expect(answer.setCookies.join()).toContain('session=');
  });

  test('is not begun by anonymous, cross-site or sibling calls', async () => {
    const { browser, provider, client } = await startSignedIn();
    expireAccessToken();
    for (const from of ['https://evil.test', 'http://localhost:1']) {
      const answer = await browser.fetch('/api/1', { mode: 'no-cors', credentials: 'include' }, { from });
      expect(answer.status).toBe(403);
      const refresh = await browser.fetch(
        '/bff/refresh',
        { method: 'POST', mode: 'no-cors', credentials: 'include' },
        { from },
      );
      expect(refresh.status).toBe(403);
    }
    expect((await client().fetch('/api/1')).status).toBe(401);
    expect(provider.calls.refresh).toBe(0);
  });

  test('asks for no scope beyond the grant and authenticates the client', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    await browser.fetch('/api/1');
    const request = provider.requests.find((recorded) => recorded.endpoints.includes('refresh'));
    expect(Object.keys(request?.form ?? {}).toSorted()).toEqual(['grant_type', 'refresh_token']);
    expect(request?.headers.authorization).toMatch(/^Basic /);
  });
});

describe('the refreshed cookie', () => {
  test.each([
    ['an error of the API', { status: 500, body: { error: 'broken' } }],
    ['a 404 of the API', { status: 404 }],
    ['a redirect of the API', { status: 302, headers: { location: 'https://elsewhere.test/' } }],
    ['an answer without a body', { status: 204 }],
  ])('leaves with %s', async (_title, answer) => {
    const { browser, api } = await startSignedIn();
    const before = sessionCookie(browser);
    expireAccessToken();
    api.answer(answer);
    const response = await browser.fetch('/api/1', { mode: 'cors' });
    expect(response.status).toBe(answer.status);
    expect(sessionCookie(browser)).not.toBe(before);
  });

  test('leaves when the API is down', async () => {
    const { browser, api } = await startSignedIn();
    const before = sessionCookie(browser);
    expireAccessToken();
    await api.down();
    expect((await browser.fetch('/api/1')).status).toBe(502);
    expect(sessionCookie(browser)).not.toBe(before);
  });

  test('that was lost on its way loses no session', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    // The answers go to a copy of the jar: the browser itself never gets its new cookie.
    expect((await browser.clone().fetch('/api/1')).status).toBe(200);
    vi.advanceTimersByTime(200_000);
    expect((await browser.clone().fetch('/api/2')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
    expireAccessToken();
    expect((await browser.clone().fetch('/api/3')).status).toBe(200);
    expect(provider.calls.refresh).toBe(2);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('once seen, leaves the old one good for a grace period, and no longer', async () => {
    const { browser, provider } = await startSignedIn();
    const old = browser.clone();
    expireAccessToken();
    await browser.fetch('/api/1');
    await browser.fetch('/api/2');
    vi.advanceTimersByTime(50_000);
    expect((await old.clone().fetch('/api/3')).status).toBe(200);
    vi.advanceTimersByTime(11_000);
    const late = await old.fetch('/api/4');
    expect(late.status).toBe(401);
    expect(late.setCookies).toEqual([]);
    expect((await browser.fetch('/api/5')).status).toBe(200);
    expect(provider.calls.refresh).toBe(1);
  });
});

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
    ['400 invalid_request', { status: 400, body: { error: 'invalid_request' } }],
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

  test('a provider that never answers: the calls do not wait for ever, and a late answer still counts', async () => {
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

  test('the keys are out of reach when the refreshed ID token has a new one: the token is not spent twice', async () => {
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

describe('a sign-out during a refresh wins', () => {
  test('over the refresh, whose new tokens are revoked and revive nothing', async () => {
    const { browser, provider, api } = await startSignedIn();
    const old = browser.clone();
    expireAccessToken();
    const gate = provider.hold('refresh', { after: 'commit' });
    const caller = browser.clone();
    const call = caller.fetch('/api/1');
    await gate.arrived;
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    gate.release();

    const answer = await call;
    expect(answer.status).toBe(401);
    expect(answer.setCookies.filter((line) => /^session[^=]*=[^;]/.test(line))).toEqual([]);
    expect(api.requests).toEqual([]);
    for (const jar of [browser, old, caller]) {
      expect((await jar.fetch('/api/2')).status).toBe(401);
      expect((await jar.fetch('/bff/session')).at('authenticated')).toBe(false);
    }
    await vi.waitFor(() => expect(revokedTokens(provider)).toHaveLength(2));
  });

  test.each<[string, (provider: World['provider']) => void]>([
    ['is answered 500', (provider) => provider.fail('revocation', { status: 500 })],
    ['is not answered', (provider) => provider.reset('revocation')],
  ])(
    'also where the revocation of the new tokens %s: the call hears that the session is over',
    async (_title, fail) => {
      const { browser, provider, api, logs } = await startSignedIn();
      expireAccessToken();
      const gate = provider.hold('refresh', { after: 'commit' });
      const caller = browser.clone();
      const call = caller.fetch('/api/1');
      await gate.arrived;
      expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
      fail(provider);
      gate.release();
      const answer = await call;
      expect(answer.status).toBe(401);
      expect(answer.json()).toMatchObject({ code: 'session_expired' });
      expect(api.requests).toEqual([]);
      expect((await caller.fetch('/bff/session')).at('authenticated')).toBe(false);
      expect(logs.join('')).toContain('"msg":"logout.revocation_failed"');
    },
  );

  test('and so does a new sign-in: the late answer does not bring the old session back', async () => {
    const { browser, provider } = await startSignedIn();
    expireAccessToken();
    const gate = provider.hold('refresh', { after: 'commit', times: 1 });
    const call = browser.fetch('/api/1');
    await gate.arrived;
    await browser.navigate('/bff/login?prompt=login&login_hint=bob', { initiator: browser.origin });
    gate.release();
    expect((await call).status).toBe(401);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect((await browser.fetch('/api/2')).at('sub')).toBe('bob');
  });

  test('and an answer that was on its way when the session ended sets no cookie', async () => {
    const { browser, api } = await startSignedIn();
    expireAccessToken();
    const arrived = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    api.answer(async () => {
      arrived.resolve();
      await go.promise;
      return { body: { late: true } };
    });
    const tab = browser.clone();
    const call = tab.fetch('/api/slow');
    await arrived.promise;
    await browser.fetch('/bff/logout', { method: 'POST' });
    go.resolve();
    const answer = await call;
    expect(answer.setCookies.filter((line) => /^session[^=]*=[^;]/.test(line))).toEqual([]);
    expect((await tab.fetch('/api/again')).status).toBe(401);
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
    expect(browser.cookies.get('session')).toBeUndefined();
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

describe('POST /bff/refresh', () => {
  test('refreshes and answers as /bff/session', async () => {
    const { browser, provider } = await startSignedIn();
    vi.advanceTimersByTime(100_000);
    const refreshed = await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(refreshed.status).toBe(200);
    expect(refreshed.headers['cache-control']).toBe('no-store');
    expect(refreshed.at('accessToken.expiresInSeconds')).toBe(300);
    expect((await browser.fetch('/bff/session')).json()).toEqual(refreshed.json());
    expect(provider.calls.refresh).toBe(1);
  });

  test('is idempotent within a moment', async () => {
    const { browser, provider } = await startSignedIn();
    const answers = await inParallel(10, () => browser.fetch('/bff/refresh', { method: 'POST' }));
    expect(statusesOf(answers)).toEqual([200]);
    await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(provider.calls.refresh).toBe(1);
    vi.advanceTimersByTime(60_000);
    await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(provider.calls.refresh).toBe(2);
  });

  test('tells a stranger where to sign in', async () => {
    const { client } = await startWorld();
    const answer = await client().fetch('/bff/refresh', { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({ authenticated: false, loginUrl: '/bff/login' });
  });

  test('tells a person whose refresh is rejected what /bff/session does: where to sign in', async () => {
    const { browser, provider } = await startSignedIn();
    provider.revokeGrants('alice');
    for (const attempt of [1, 2]) {
      const answer = await browser.fetch('/bff/refresh', { method: 'POST' });
      expect([attempt, answer.status]).toEqual([attempt, 200]);
      expect(answer.json()).toEqual({ authenticated: false, loginUrl: '/bff/login' });
    }
    expect((await browser.fetch('/bff/session')).json()).toEqual({ authenticated: false, loginUrl: '/bff/login' });
    expect(browser.cookies.for(browser.origin)).toEqual([]);
    expect(provider.calls.refresh).toBe(1);
  });

  test('is 503 while the provider is down, and the session stays', async () => {
    const { browser, provider } = await startSignedIn();
    await provider.down();
    const answer = await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'provider_unavailable' });
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('does not take GET', async () => {
    const { browser, provider } = await startSignedIn();
    const answer = await browser.fetch('/bff/refresh');
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toContain('POST');
    expect(provider.calls.refresh).toBe(0);
  });
});

function revokedTokens(provider: World['provider']): string[] {
  const revocations = provider.requests.filter((request) => request.endpoints.includes('revocation'));
  return [...new Set(revocations.map((request) => request.form['token'] ?? ''))];
}

function without(value: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}
