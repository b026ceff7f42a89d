/** Refreshing: a refresh token is redeemed once, whatever happens around it, and a sign-out wins. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { almostExpireAccessToken, expireAccessToken, fakeDate } from '../support/clock.ts';
import { inParallel, outcomeOf, startSignedIn, startWorld, statusesOf, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

function sessionCookie(browser: BrowserClient): string | undefined {
  return browser.cookies.get(browser.own('session'))?.value;
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
    for (const answer of answers) expect(answer.setCookies.join()).toMatch(/session-\d+=/);
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
    expect(Object.keys(request?.form ?? {}).toSorted()).toEqual(['grant_type', 'refresh_token', 'scope']);
    expect('openid profile email offline_access'.split(' ')).toEqual(
      expect.arrayContaining(String(request?.form['scope']).split(' ')),
    );
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
    const refused = { authenticated: false, loginUrl: '/bff/login', reason: 'refused' };
    provider.revokeGrants('alice');
    for (const attempt of [1, 2]) {
      const answer = await browser.fetch('/bff/refresh', { method: 'POST' });
      expect([attempt, answer.status]).toEqual([attempt, 200]);
      expect(answer.json()).toEqual(refused);
    }
    expect((await browser.fetch('/bff/session')).json()).toEqual(refused);
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
