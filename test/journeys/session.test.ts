/** The session: what the app may know of it, how long it lasts, and what becomes of cookies that are not quite it. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startSignedIn, startWorld } from '../support/world.ts';

/** A proxied call deletes nothing (another tab may have signed in again); /bff/session does. */
const noSession: {
  call: { status: number; code: string; setCookies: string[] };
  session: Record<string, unknown>;
  cookiesLeft: string[];
} = {
  call: { status: 401, code: 'login_required', setCookies: [] },
  session: { authenticated: false, loginUrl: '/bff/login' },
  cookiesLeft: [],
};

describe('/bff/session', () => {
  test('tells a stranger where to sign in, and nothing else', async () => {
    const { client } = await startWorld();
    const answer = await client().fetch('/bff/session');
    expect(answer.status).toBe(200);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.json()).toEqual({ authenticated: false, loginUrl: '/bff/login' });
  });

  test('tells who it is, until when, and how to sign out', async () => {
    fakeDate(new Date('2030-01-01T00:00:00Z'));
    const { browser } = await startSignedIn({ config: { session: { idleSeconds: 1800 } } });
    vi.advanceTimersByTime(10_000);
    const answer = await browser.fetch('/bff/session');
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.json()).toEqual({
      authenticated: true,
      user: {
        sub: 'alice',
        name: 'Alice Adams',
        preferred_username: 'alice',
        email: 'alice@example.test',
        email_verified: true,
      },
      session: {
        createdAt: '2030-01-01T00:00:00.000Z',
        expiresAt: '2030-01-01T08:00:00.000Z',
        expiresInSeconds: 28_790,
        idleExpiresAt: '2030-01-01T00:30:00.000Z',
        idleExpiresInSeconds: 1790,
      },
      accessToken: { expiresAt: '2030-01-01T00:05:00.000Z', expiresInSeconds: 290, refreshable: true },
      logoutUrl: expect.stringMatching(/^\/bff\/logout\?sid=[\w-]{20,}$/),
    });
  });

  test('says null where there is no limit', async () => {
    const { browser } = await startSignedIn();
    const answer = await browser.fetch('/bff/session');
    expect(answer.json()).toMatchObject({ session: { idleExpiresAt: null, idleExpiresInSeconds: null } });
  });

  test('never holds a token, nor does any log line', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    await browser.fetch('/bff/refresh', { method: 'POST' });
    await browser.fetch('/api/me');
    await browser.fetch('/bff/session');
    expect([...world.provider.secrets.values()]).toEqual(
      expect.arrayContaining(['accessToken', 'refreshToken', 'idToken', 'code', 'codeVerifier', 'clientSecret']),
    );
    expect(world.logs.length).toBeGreaterThan(0);
    world.assertNoSecrets();
  });

  test('is answered to the own origin only', async () => {
    const { browser, client } = await startSignedIn();
    const sibling = await browser.fetch('/bff/session', { credentials: 'include' }, { from: 'http://localhost:1' });
    expect(sibling.status).toBe(403);
    expect(sibling.json()).toMatchObject({ code: 'request_forbidden' });
    expect(sibling.headers).not.toHaveProperty('access-control-allow-origin');
    const typed = await browser.navigate('/bff/session');
    expect(typed.status).toBe(200);
    const noMetadata = client({ fetchMetadata: false });
    expect((await noMetadata.fetch('/bff/session')).status).toBe(200);
    expect((await noMetadata.fetch('/bff/session', { headers: { referer: null } })).status).toBe(403);
    expect((await noMetadata.fetch('/bff/session', { headers: { referer: null, 'x-csrf': '1' } })).status).toBe(200);
  });

  test('needs the header as well where the config says so', async () => {
    const { client } = await startWorld({ config: { csrf: { requireHeader: true } } });
    const browser = client();
    expect((await browser.fetch('/bff/session')).status).toBe(403);
    expect((await browser.fetch('/bff/session', { headers: { 'x-csrf': '1' } })).status).toBe(200);
  });
});

describe('a session ends', () => {
  test('at its absolute lifetime, however busy, though the cookie was kept', async () => {
    fakeDate();
    const { browser, provider } = await startSignedIn({ config: { session: { lifetimeSeconds: 1000 } } });
    for (let minutes = 0; minutes < 3; minutes += 1) {
      vi.advanceTimersByTime(300_000);
      expect((await browser.fetch('/api/me')).status).toBe(200);
    }
    const kept = browser.cookies.get(browser.own('session'));
    vi.advanceTimersByTime(101_000);
    expect(browser.cookies.get(browser.own('session'))).toBeUndefined();
    if (kept) browser.cookies.put({ ...kept, expiresAt: Infinity });

    const refreshes = provider.calls.refresh;
    const answer = await browser.fetch('/api/me');
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: 'session_expired', loginUrl: '/bff/login' });
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(provider.calls.refresh).toBe(refreshes);
  });

  test('after its idle time, which calls prolong and looking does not', async () => {
    fakeDate();
    const { browser } = await startSignedIn({ config: { session: { idleSeconds: 600 } } });
    for (let call = 0; call < 3; call += 1) {
      vi.advanceTimersByTime(500_000);
      expect((await browser.fetch('/api/me')).status).toBe(200);
    }
    vi.advanceTimersByTime(500_000);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    vi.advanceTimersByTime(101_000);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await browser.fetch('/api/me')).status).toBe(401);
  });

  test('after its idle time also when the server was restarted in between', async () => {
    fakeDate();
    const world = await startSignedIn({ config: { session: { idleSeconds: 600 } } });
    const { browser } = world;
    vi.advanceTimersByTime(500_000);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await world.restart();
    vi.advanceTimersByTime(500_000);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await world.restart();
    vi.advanceTimersByTime(601_000);
    expect((await browser.fetch('/api/me')).status).toBe(401);
  });
});

describe('a cookie', () => {
  test('survives a restart of the server', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    await world.restart();
    expect((await browser.fetch('/api/me')).json()).toMatchObject({ sub: 'alice' });
  });

  test('survives restarts also after refreshes', async () => {
    fakeDate();
    const world = await startSignedIn();
    const { browser } = world;
    for (const round of [1, 2, 3]) {
      expireAccessToken();
      expect((await browser.fetch('/api/me')).status).toBe(200);
      expect(world.provider.calls.refresh).toBe(round);
      await world.restart();
    }
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('opens under an older secret, and is sealed under the newest with the next write', async () => {
    fakeDate();
    const [oldSecret, newSecret] = [newSealingSecret(), newSealingSecret()];
    const world = await startSignedIn({ config: { secrets: [oldSecret] } });
    const { browser } = world;
    await world.restart({ secrets: [newSecret, oldSecret] });
    expireAccessToken();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    await world.restart({ secrets: [newSecret] });
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('means nothing once its secret is gone, and is cleared', async () => {
    const world = await startSignedIn();
    const { browser } = world;
    await world.restart({ secrets: [newSealingSecret()] });
    expect(await tracesOf(browser)).toEqual(noSession);
  });

  const spoilt: Array<[string, (value: string) => string]> = [
    ['with a changed character', (value) => replaceAt(value, middle(value))],
    ['with a changed last character', (value) => replaceAt(value, value.length - 1)],
    ['cut short', (value) => value.slice(0, -10)],
    ['cut in half', (value) => value.slice(0, middle(value))],
    ['of an unknown version', (value) => `9${value.slice(1)}`],
    ['with something added', (value) => `${value}x`],
  ];
  test.each(spoilt)('%s is no session, and is cleared', async (_title, spoil) => {
    const { browser } = await startSignedIn();
    expect(browser.cookies.replace(browser.own('session'), spoil)).toBe(1);
    expect(await tracesOf(browser)).toEqual(noSession);
  });

  test.each(['', 'nonsense', '1', 's%3Aa1b2c3.signature', '{"user":"alice"}'])(
    'of another program (%j), which has its name, is no session, and is kept',
    async (value) => {
      const { browser } = await startSignedIn();
      browser.cookies.replace(browser.own('session'), () => value);
      expect(await tracesOf(browser)).toEqual({ ...noSession, cookiesLeft: [browser.own('session')] });
      await browser.fetch('/bff/logout', { method: 'POST' });
      expect(browser.cookies.get(browser.own('session'))?.value).toBe(value);
      await signIn(browser);
    },
  );

  test('of a login transaction is no session', async () => {
    const { client } = await startWorld();
    const browser = client();
    await browser.navigate('/bff/login', { follow: false });
    const login = browser.cookies.all().find((cookie) => cookie.name.startsWith('login-'));
    browser.cookies.put({
      name: browser.own('session'),
      value: login?.value ?? '',
      domain: 'localhost',
      sameSite: 'strict',
    });
    expect(await tracesOf(browser)).toEqual(noSession);
  });

  test('of one session is not mixed up with another’s', async () => {
    fakeDate();
    const { client, provider } = await startWorld();
    const [alice, bob] = [client(), client()];
    await signIn(alice, 'alice');
    await signIn(bob, 'bob');
    expireAccessToken();
    const calls = Array.from({ length: 20 }, (_, index) => ({ user: index % 2 === 0 ? 'alice' : 'bob', index }));
    const subjects = await Promise.all(
      calls.map(async ({ user, index }) => {
        const answer = await (user === 'alice' ? alice : bob).fetch(`/api/${index}`);
        return { user, sub: answer.at('sub') };
      }),
    );
    for (const { user, sub } of subjects) expect(sub).toBe(user);
    expect(provider.calls.refresh).toBe(2);
  });
});

describe('a session too large for one cookie', () => {
  test('is split, each part small enough for every browser, and put together again', async () => {
    const world = await startWorld({ provider: { settings: { accessTokenPadding: 6000 } } });
    const browser = world.client();
    const page = await signIn(browser);
    const callback = page.chain.at(-2);
    const written = callback?.setCookies.filter((line) => /^session-\d+\.\d=[^;]/.test(line)) ?? [];
    expect(written.length).toBeGreaterThanOrEqual(2);
    expect(written.length).toBeLessThanOrEqual(4);
    for (const line of written) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(4096);
    expect(sessionCookies(browser)).toEqual(written.map((_, index) => browser.own(`session.${index + 1}`)));

    await world.restart();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(world.api.last().token?.length).toBeGreaterThan(6000);
    expect(world.api.last().headers.cookie).toBeUndefined();
  });

  test('leaves nothing behind when it shrinks to one cookie, and when it grows again', async () => {
    fakeDate();
    const { browser, provider } = await startSignedIn({ provider: { settings: { accessTokenPadding: 8000 } } });
    expect(sessionCookies(browser).length).toBeGreaterThanOrEqual(3);
    for (const [padding, expected] of [
      [0, ['session']],
      [3500, ['session.1', 'session.2']],
      [0, ['session']],
    ] as const) {
      provider.settings.accessTokenPadding = padding;
      expireAccessToken();
      expect((await browser.fetch('/api/me')).status).toBe(200);
      expect(sessionCookies(browser)).toEqual(expected.map((name) => browser.own(name)));
      expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    }
  });

  test('is no session when a part is missing, and the rest is cleared', async () => {
    const { client } = await startWorld({ provider: { settings: { accessTokenPadding: 6000 } } });
    for (const missing of ['session.1', 'session.2']) {
      const browser = client();
      await signIn(browser);
      browser.cookies.remove(browser.own(missing));
      expect(await tracesOf(browser)).toEqual(noSession);
    }
  });

  test('does not disturb the next login, whatever is left of it', async () => {
    const { client, provider } = await startWorld({ provider: { settings: { accessTokenPadding: 6000 } } });
    const browser = client({ profile: 'firefox' });
    await signIn(browser);
    provider.settings.accessTokenPadding = 0;
    const page = await signIn(browser, 'alice', '/again');
    expect(page.url).toBe(`${browser.origin}/again`);
    expect(sessionCookies(browser)).toEqual([browser.own('session')]);
  });
});

/** What a call and then a look at the session make of the browser's cookies. */
async function tracesOf(browser: BrowserClient): Promise<typeof noSession> {
  const call = await browser.fetch('/api/me');
  const session = await browser.fetch('/bff/session');
  return {
    call: { status: call.status, code: String(call.at('code')), setCookies: call.setCookies },
    session: session.json(),
    cookiesLeft: sessionCookies(browser),
  };
}

function sessionCookies(browser: BrowserClient): string[] {
  const names = browser.cookies.for(browser.origin).map((cookie) => cookie.name);
  return names.filter((name) => name.includes('session')).toSorted();
}

/** Changes the character's highest bit: the lowest ones of a last character carry nothing. */
function replaceAt(value: string, at: number): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const other = alphabet[(alphabet.indexOf(value[at] ?? '') + 32) % 64] ?? '';
  return `${value.slice(0, at)}${other}${value.slice(at + 1)}`;
}

function newSealingSecret(): string {
  return randomBytes(32).toString('hex');
}

function middle(value: string): number {
  return Math.floor(value.length / 2);
}
