/**
 * The unlucky user's story: "My app is open in two tabs, and the session that they share has ended: I signed out in
 * another window, or was away for long. In the one tab I sign in again; the other one asks just then whether I am signed
 * in, or still has a call under way. Its answer is about the old session, and it reaches my browser last."
 *
 * Must hold: no answer about an old session takes the new one away, neither by deleting its cookie nor by an old one.
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { TestApi } from '../support/api.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { createGate, type Gate } from '../support/provider-faults.ts';
import { startSignedIn, type SignedInWorld, type World, type WorldOptions } from '../support/world.ts';

beforeEach(() => fakeDate());

/** What another tab is answered with the cookies of this moment; the browser gets to see it when it {@link arrive}s. */
function askEarly(browser: BrowserClient, path: string, method = 'GET'): Promise<Exchange> {
  return browser.clone().fetch(path, { method });
}

/** An answer reaches the browser, which does what it says about cookies. */
function arrive(browser: BrowserClient, answer: Exchange): void {
  for (const line of answer.setCookies) browser.cookies.store(line, browser.origin);
}

const asBob = '/bff/login?prompt=login&login_hint=bob';

/** In the tab that is looked at, whoever the provider takes the person for. */
function signInAsBob(browser: BrowserClient): Promise<unknown> {
  return browser.navigate(asBob, { initiator: browser.origin });
}

/** The same, up to the way back; what it answers completes the sign-in. */
async function beginAsBob(browser: BrowserClient, { issuer }: World['provider']): Promise<() => Promise<unknown>> {
  const stopped = await browser.navigate(asBob, {
    initiator: browser.origin,
    stopBefore: (url) => url.pathname === '/bff/callback',
  });
  const back = new URL(stopped.headers.location ?? '', stopped.url);
  return () => browser.navigate(back.href, { initiator: issuer });
}

/** The API's answer to the next call waits until it is released. */
function holdNext(api: TestApi): Gate {
  const gate = createGate();
  api.handleRaw((_, response) => {
    api.handleRaw();
    void gate.pass().then(() => response.end('late'));
  });
  return gate;
}

async function expectBobIn(browser: BrowserClient): Promise<void> {
  expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
  expect((await browser.fetch('/api/me')).at('sub')).toBe('bob');
}

interface End {
  readonly how: string;
  /** Whether its cookie still opens, and tells which session it was. */
  readonly isReadable: boolean;
  readonly end: (tabs: SignedInWorld) => unknown;
  readonly options?: WorldOptions;
}

/** What has become of the session that the tabs share, or of its cookie. */
const ends: readonly End[] = [
  {
    how: 'was signed out',
    isReadable: true,
    end: ({ browser }) => browser.clone().fetch('/bff/logout', { method: 'POST' }),
  },
  {
    how: 'outlived its lifetime, though its cookie was kept',
    isReadable: true,
    options: { config: { session: { lifetimeSeconds: 1000 } } },
    end({ browser }) {
      const cookie = browser.cookies.get(browser.own('session'));
      if (cookie !== undefined) browser.cookies.put({ ...cookie, expiresAt: Infinity });
      vi.advanceTimersByTime(1001_000);
    },
  },
  {
    how: 'was idle',
    isReadable: true,
    options: { config: { session: { idleSeconds: 100 } } },
    end: () => vi.advanceTimersByTime(101_000),
  },
  {
    how: 'lost its refresh token',
    isReadable: true,
    end({ browser, provider }) {
      expireAccessToken();
      provider.revokeGrants('alice');
      return browser.clone().fetch('/api/me');
    },
  },
  {
    how: 'can’t be read any more',
    isReadable: false,
    end: ({ browser }) => browser.cookies.replace(browser.own('session'), (value) => value.slice(0, -1)),
  },
  {
    how: 'is sealed with a secret that is gone',
    isReadable: false,
    end: ({ restart }) => restart({ secrets: ['another one, of 32 characters or more'] }),
  },
];

const stranger = { authenticated: false, loginUrl: '/bff/login' };
const signedOut = { ...stranger, reason: expect.any(String) as unknown };

describe.each(ends)('after a session that $how, and a sign-in,', ({ end, options, isReadable }) => {
  test('an earlier answer of POST /bff/refresh leaves the new session alone', async () => {
    const tabs = await startSignedIn(options);
    const { browser } = tabs;
    await end(tabs);
    const answer = await askEarly(browser, '/bff/refresh', 'POST');
    expect([answer.status, answer.json()]).toEqual([200, isReadable ? signedOut : stranger]);
    await signInAsBob(browser);
    arrive(browser, answer);
    await expectBobIn(browser);
  });

  test('an earlier refusal of a call leaves the new session alone', async () => {
    const tabs = await startSignedIn(options);
    const { browser } = tabs;
    await end(tabs);
    const answer = await askEarly(browser, '/api/me');
    expect(answer.status).toBe(401);
    await signInAsBob(browser);
    arrive(browser, answer);
    await expectBobIn(browser);
  });
});

describe.each(ends.filter(({ isReadable }) => isReadable))(
  'while a session that $how gives way to another',
  (story) => {
    test('an answer of GET /bff/session leaves the new one alone', async () => {
      const tabs = await startSignedIn(story.options);
      const { browser, provider } = tabs;
      await story.end(tabs);
      const complete = await beginAsBob(browser, provider);
      const answer = await askEarly(browser, '/bff/session');
      expect([answer.status, answer.json()]).toEqual([200, signedOut]);
      await complete();
      arrive(browser, answer);
      await expectBobIn(browser);
    });
  },
);

test('a sign-out whose revocation outlasts the next person’s sign-in leaves that session alone', async () => {
  const { browser, provider } = await startSignedIn();
  const gate = provider.hold('revocation');
  const signedOut = askEarly(browser, '/bff/logout', 'POST');
  await gate.arrived;
  await signInAsBob(browser);
  gate.release();
  const answer = await signedOut;
  expect(answer.setCookies.filter((line) => line.startsWith('session'))).toEqual([]);
  arrive(browser, answer);
  await expectBobIn(browser);
});

describe('an answer that waits while somebody else signs in', () => {
  test.each([0, 100_000])(
    'for a refresh that was asked for says that the session is over (idle timeout %i)',
    async (idleSeconds) => {
      const { browser, provider } = await startSignedIn({ config: { session: { idleSeconds } } });
      expireAccessToken();
      const gate = provider.hold('refresh');
      const asked = askEarly(browser, '/bff/refresh', 'POST');
      await gate.arrived;
      await signInAsBob(browser);
      gate.release();
      const answer = await asked;
      expect([answer.json(), answer.setCookies]).toEqual([signedOut, []]);
      arrive(browser, answer);
      await expectBobIn(browser);
    },
  );

  test.each([0, 100_000])(
    'for the new token of a call says that the session is over (idle timeout %i)',
    async (idleSeconds) => {
      const { browser, provider, api } = await startSignedIn({ config: { session: { idleSeconds } } });
      expireAccessToken();
      const gate = provider.hold('refresh');
      const asked = askEarly(browser, '/api/orders');
      await gate.arrived;
      await signInAsBob(browser);
      gate.release();
      const answer = await asked;
      expect([answer.status, answer.at('code'), answer.setCookies]).toEqual([401, 'session_expired', []]);
      expect(api.requests).toEqual([]);
      arrive(browser, answer);
      await expectBobIn(browser);
    },
  );

  test('for an API brings no cookie of the session that it was asked for, even after a refresh', async () => {
    const { browser, api } = await startSignedIn({ config: { session: { idleSeconds: 100_000 } } });
    expireAccessToken();
    const atApi = holdNext(api);
    const asked = askEarly(browser, '/api/orders');
    await atApi.arrived;
    await signInAsBob(browser);
    atApi.release();
    const answer = await asked;
    expect([answer.status, answer.setCookies]).toEqual([401, []]);
    arrive(browser, answer);
    await expectBobIn(browser);
  });

  test('for an API brings no cookie of a session that was idle for too long meanwhile', async () => {
    const { browser, api } = await startSignedIn({ config: { session: { idleSeconds: 100 } } });
    // Long enough for the call to be noted in the cookie.
    vi.advanceTimersByTime(50_000);
    const atApi = holdNext(api);
    const asked = askEarly(browser, '/api/orders');
    await atApi.arrived;
    vi.advanceTimersByTime(101_000);
    await signInAsBob(browser);
    atApi.release();
    const answer = await asked;
    expect(answer.setCookies).toEqual([]);
    arrive(browser, answer);
    await expectBobIn(browser);
  });
});

describe('the newest cookie of one session', () => {
  test('is not written over by a call that was asked with it, however long its answer takes', async () => {
    const { browser, api } = await startSignedIn();
    expireAccessToken();
    await browser.fetch('/api/renews');
    const newest = browser.cookies.get(browser.own('session'))?.value;
    const atApi = holdNext(api);
    const asked = askEarly(browser, '/api/slow');
    await atApi.arrived;
    expireAccessToken();
    await browser.fetch('/api/renews-again');
    const renewed = browser.cookies.get(browser.own('session'))?.value;
    expect(renewed).not.toBe(newest);
    atApi.release();
    const answer = await asked;
    arrive(browser, answer);
    expect(browser.cookies.get(browser.own('session'))?.value).toBe(renewed);
    expect((await browser.fetch('/api/me')).at('sub')).toBe('alice');
  });
});
