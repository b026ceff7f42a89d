/**
 * The provider reports that somebody has signed out there, or was signed out, and Sallyport ends what began with that.
 * `attacks/forged-logout-tokens.test.ts` has the tokens that end nothing.
 */
import type { JWTPayload } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import {
  logoutClaims,
  logoutEvent,
  logoutToken,
  postLogout,
  sendLogoutToken,
  watchIdTokens,
  type LogoutAnswer,
} from '../support/logout-tokens.ts';
import { startRedis } from '../support/redis.ts';
import { rawRequest } from '../support/raw.ts';
import { signIn, startSignedIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

interface People extends World {
  /** The claims of the ID token of each login, in their order. */
  readonly idTokens: readonly JWTPayload[];
  readonly send: (claims: JWTPayload) => Promise<LogoutAnswer>;
}

async function startPeople(options: WorldOptions = {}): Promise<People> {
  const world = await startWorld({ backchannelLogout: true, ...options });
  const idTokens = watchIdTokens(world.provider);
  const send = async (claims: JWTPayload) =>
    sendLogoutToken(world.server.port, await logoutToken(world.provider, claims));
  return Object.assign(world, { idTokens, send });
}

async function statusOf(browser: BrowserClient): Promise<number> {
  return (await browser.fetch('/api/me')).status;
}

/** Alice with two browsers and Bob with one, in this order. */
async function signInThree({ client }: World): Promise<[BrowserClient, BrowserClient, BrowserClient]> {
  const browsers: [BrowserClient, BrowserClient, BrowserClient] = [client(), client(), client()];
  await signIn(browsers[0], 'alice');
  await signIn(browsers[1], 'alice');
  await signIn(browsers[2], 'bob');
  return browsers;
}

const now = () => Math.floor(Date.now() / 1000);

describe('a sign-out at the provider', () => {
  test('ends the session here, without a refresh or a sign-out of ours', async () => {
    const { client, provider, logs } = await startPeople();
    const browser = client();
    await signIn(browser);
    const otherTab = browser.clone();
    provider.resetCalls();

    await browser.navigate(`${provider.issuer}/session/end`);

    expect((await browser.fetch('/api/me')).at('code')).toBe('session_expired');
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(await statusOf(otherTab)).toBe(401);
    expect(provider.calls).toMatchObject({ refresh: 0, revocation: 0 });
    const ends = logs.filter((line) => line.includes('session.ended'));
    expect(ends.map((line) => JSON.parse(line) as object)).toMatchObject([{ reason: 'backchannel' }]);
  });

  test('after one of ours is a success, too', async () => {
    const { client, logs } = await startPeople();
    const browser = client();
    await signIn(browser);
    const page = await browser.navigate(String((await browser.fetch('/bff/session')).at('logoutUrl')));
    expect(page.url).toBe(`${browser.origin}/`);
    expect(logs.filter((line) => line.includes('/bff/backchannel-logout')).length).toBe(1);
    expect(logs.filter((line) => line.includes('token_refused'))).toEqual([]);
  });

  test('leaves a later sign-in alone, and the earlier session ended', async () => {
    fakeDate();
    const { client, idTokens, send } = await startPeople();
    const [earlier, later] = [client(), client()];
    await signIn(earlier);
    vi.advanceTimersByTime(60_000);
    expect((await send({ sub: 'alice' })).status).toBe(200);
    vi.advanceTimersByTime(1000);
    await signIn(later);
    expect([await statusOf(earlier), await statusOf(later)]).toEqual([401, 200]);
    // It was on its way for a while.
    expect((await send({ sub: 'alice', iat: Number(idTokens[1]?.iat) - 1 })).status).toBe(200);
    expect([await statusOf(earlier), await statusOf(later)]).toEqual([401, 200]);
  });

  test('ends a session that was refreshed since the provider said so', async () => {
    fakeDate();
    const { client, send, idTokens } = await startPeople();
    const browser = client();
    await signIn(browser);
    expireAccessToken();
    expect(await statusOf(browser)).toBe(200);
    expect((await send({ sub: 'alice', iat: Number(idTokens[0]?.iat) + 10 })).status).toBe(200);
    expect(await statusOf(browser)).toBe(401);
  });

  test('breaks off a stream that is under way', async () => {
    const { client, api, send } = await startPeople();
    const browser = client();
    await signIn(browser);
    api.handleRaw((_request, response) => void response.writeHead(200).write('begun'));
    const stream = browser.fetch('/api/stream').catch((error: Error) => error);
    await expect.poll(() => api.requests.length).toBe(1);
    expect((await send({ sub: 'alice' })).status).toBe(200);
    expect(await stream).toBeInstanceOf(Error);
  });
});

describe('a logout token', () => {
  test('with a sid ends that session alone', async () => {
    const people = await startPeople();
    const browsers = await signInThree(people);
    expect((await people.send({ sid: people.idTokens[0]?.['sid'] })).status).toBe(200);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([401, 200, 200]);
  });

  test('with a sub ends all sessions of the person', async () => {
    const people = await startPeople();
    const browsers = await signInThree(people);
    expect((await people.send({ sub: 'alice' })).status).toBe(200);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([401, 401, 200]);
  });

  test('with both ends the session of the sid alone', async () => {
    const people = await startPeople();
    const browsers = await signInThree(people);
    expect((await people.send({ sub: 'alice', sid: people.idTokens[1]?.['sid'] })).status).toBe(200);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([200, 401, 200]);
  });

  test.each<[story: string, claims: JWTPayload]>([
    ['of a session that nobody has', { sid: 'nobody-has-this' }],
    ['of a person who never came', { sub: 'carol' }],
  ])('%s is a success', async (_story, claims) => {
    const people = await startPeople();
    const browsers = await signInThree(people);
    expect((await people.send(claims)).status).toBe(200);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([200, 200, 200]);
  });

  test.each<[story: string, header: Record<string, unknown>]>([
    ['without a type', {}],
    ['whose type is written in full', { typ: 'application/logout+jwt' }],
    ['whose type is written in capitals', { typ: 'LOGOUT+JWT' }],
    ['that names no key', { typ: 'logout+jwt', kid: undefined }],
    ['that names an old key', { typ: 'logout+jwt', kid: 'of-long-ago' }],
  ])('%s is taken', async (_story, header) => {
    const { provider, server, browser } = await startSignedIn({ backchannelLogout: true });
    const token = await provider.sign(logoutClaims(provider, { sub: 'alice' }), header);
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    expect(await statusOf(browser)).toBe(401);
  });

  test.each<[story: string, claims: () => JWTPayload]>([
    ['for several clients', () => ({ aud: ['another-app', 'sallyport'] })],
    ['from a clock that is fast', () => ({ iat: now() + 20 })],
    ['that expired a moment ago', () => ({ exp: now() - 20 })],
    ['that is half an hour old', () => ({ iat: now() - 1800 })],
    ['with an event that says more', () => ({ events: { [logoutEvent]: { why: 'x' }, 'https://x.test/y': {} } })],
    ['with claims of the provider’s own', () => ({ 'https://x.test/why': ['x'], auth_time: 1 })],
  ])('%s is taken', async (_story, claims) => {
    fakeDate();
    const { provider, send, client } = await startPeople();
    const browser = client();
    provider.mutateIdToken((own) => ({ claims: { ...own, iat: now() - 3000 } }), 'code');
    await signIn(browser);
    expect((await send({ sub: 'alice', ...claims() })).status).toBe(200);
    expect(await statusOf(browser)).toBe(401);
  });
});

describe('the request', () => {
  test('needs nothing that a browser has, and says nothing but 200', async () => {
    const { provider, server, browser } = await startSignedIn({ backchannelLogout: true });
    const token = await logoutToken(provider, { sub: 'alice' });
    const body = `other=x&logout_token=${token}&other=y`;
    const request = [
      'POST /bff/backchannel-logout HTTP/1.1',
      `Host: sallyport.internal:${server.port}`,
      'Content-Type: Application/X-WWW-Form-Urlencoded; charset=UTF-8',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ];
    const answer = String(await rawRequest(server.port, `${request.join('\r\n')}\r\n\r\n${body}`));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/\r\ncache-control: no-store\r\n/i);
    expect(answer).toMatch(/\r\ncontent-length: 0\r\n/i);
    expect(answer).not.toMatch(/set-cookie|access-control/i);
    expect(answer.split('\r\n\r\n')[1]).toBe('');
    expect(await statusOf(browser)).toBe(401);
  });

  test('heeds no cookie that comes with it', async () => {
    const people = await startPeople();
    const [, , bob] = await signInThree(people);
    const token = await logoutToken(people.provider, { sub: 'alice' });
    const cookie = bob.cookieHeader() ?? '';
    const answer = await postLogout(people.server.port, `logout_token=${token}`, {
      cookie,
      origin: 'https://evil.test',
      'sec-fetch-site': 'cross-site',
    });
    expect([answer.status, answer.headers.getSetCookie()]).toEqual([200, []]);
    expect(await statusOf(bob)).toBe(200);
  });

  test('goes to the base path that is configured', async () => {
    const { provider, server } = await startWorld({
      config: { basePath: '/auth' },
      provider: { redirectUris: ['http://localhost/auth/callback'] },
    });
    const token = await logoutToken(provider, { sub: 'alice' });
    const post = (path: string) =>
      fetch(`http://127.0.0.1:${server.port}${path}`, {
        method: 'POST',
        body: new URLSearchParams({ logout_token: token }),
      });
    expect((await post('/auth/backchannel-logout')).status).toBe(200);
    expect((await post('/bff/backchannel-logout')).status).not.toBe(200);
  });

  test('finds nothing where back-channel logout is off', async () => {
    const { provider, server, browser } = await startSignedIn({
      backchannelLogout: true,
      config: { logout: { backchannel: false } },
    });
    const answer = await sendLogoutToken(server.port, await logoutToken(provider, { sub: 'alice' }));
    expect([answer.status, answer.refusal.code]).toEqual([404, 'route_not_found']);
    expect(await statusOf(browser)).toBe(200);
  });
});

describe('an outage', () => {
  test('of a provider that was never reached is told, and the token taken when it is over', async () => {
    const { provider, server } = await startWorld({ backchannelLogout: true, providerUp: false });
    const token = await logoutToken(provider, { sub: 'alice' });
    const answer = await sendLogoutToken(server.port, token);
    expect([answer.status, answer.refusal.code]).toEqual([503, 'provider_unavailable']);
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
    await provider.up();
    await expect.poll(async () => (await sendLogoutToken(server.port, token)).status, { timeout: 10_000 }).toBe(200);
  });

  test('of a provider whose keys are known changes nothing', async () => {
    const { provider, server, browser } = await startSignedIn({ backchannelLogout: true });
    await provider.down();
    const token = await logoutToken(provider, { sub: 'alice' });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    expect(await statusOf(browser)).toBe(401);
  });

  test.each(['useOnce', 'revoke'] as const)(
    'of the store at its operation %s is told, and the same token taken when it is over, once',
    async (operation) => {
      const store = createMemoryStore();
      let isDown = false;
      const broken: Store = {
        ...store,
        [operation]: (...args: unknown[]) => {
          if (isDown) return Promise.reject(new Error('The connection is closed.'));
          return (store[operation] as (...given: unknown[]) => Promise<unknown>)(...args);
        },
      };
      const { provider, server, browser } = await startSignedIn({ backchannelLogout: true, store: broken });
      const token = await logoutToken(provider, { sub: 'alice' });
      isDown = true;
      for (let count = 0; count < 3; count += 1) {
        const answer = await sendLogoutToken(server.port, token);
        expect([answer.status, answer.refusal.code]).toEqual([503, 'store_unavailable']);
        expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
      }
      isDown = false;
      expect((await sendLogoutToken(server.port, token)).status).toBe(200);
      expect(await statusOf(browser)).toBe(401);
      expect((await sendLogoutToken(server.port, token)).status).toBe(400);
    },
  );
});

describe.each(['cookie', 'store'] as const)('several instances with sessions in mode %s', (mode) => {
  async function startTwo() {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const people = await startPeople({
      config: { redisUrl: redis.url, logout: { backchannel: 'shared' }, session: { mode } },
    });
    const other = await people.addInstance();
    const browser = people.client();
    await signIn(browser);
    const there = browser.clone();
    there.routeTo(other.port, people.origin);
    return { ...people, redis, other, here: browser, there };
  }

  test('all end what one of them was told, and take a token once among them', async () => {
    const { provider, server, other, here, there } = await startTwo();
    expect([await statusOf(here), await statusOf(there)]).toEqual([200, 200]);

    const token = await logoutToken(provider, { sub: 'alice' });
    expect((await sendLogoutToken(other.port, token)).status).toBe(200);
    expect(await statusOf(there)).toBe(401);
    await expect.poll(() => statusOf(here), { timeout: 1000, interval: 10 }).toBe(401);
    expect((await sendLogoutToken(server.port, token)).status).toBe(400);
  });

  test('end a session that the one which is asked had never seen', async () => {
    const { provider, server, there, idTokens } = await startTwo();
    const token = await logoutToken(provider, { sid: idTokens[0]?.['sid'] });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    expect(await statusOf(there)).toBe(401);
  });

  test('end it after a restart, too', async () => {
    const { provider, server, here, idTokens, restart } = await startTwo();
    const token = await logoutToken(provider, { sid: idTokens[0]?.['sid'] });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    await restart();
    expect(await statusOf(here)).toBe(401);
  });

  test('say so while Redis is down, and take the token when it is back', async () => {
    const { provider, server, redis, here } = await startTwo();
    const token = await logoutToken(provider, { sub: 'alice' });
    await redis.down();
    const answer = await sendLogoutToken(server.port, token);
    expect([answer.status, answer.refusal.code]).toEqual([503, 'store_unavailable']);
    await redis.up();
    await expect
      .poll(async () => (await sendLogoutToken(server.port, token)).status, { timeout: 10_000, interval: 50 })
      .toBe(200);
    expect(await statusOf(here)).toBe(401);
  });
});

describe('a session in the store of one process', () => {
  test('ends as well', async () => {
    const people = await startPeople({ config: { session: { mode: 'store' } } });
    const browsers = await signInThree(people);
    expect((await people.send({ sub: 'alice' })).status).toBe(200);
    expect(await Promise.all(browsers.map(statusOf))).toEqual([401, 401, 200]);
  });
});

describe('without a store that outlives the process', () => {
  test('the start says that a logout token reaches this process only, unless none is taken', async () => {
    const { logs, restart } = await startWorld();
    expect(logs.filter((line) => line.includes('SALLYPORT_REDIS_URL'))).toEqual([
      expect.stringContaining('Back-channel logout reaches this process only'),
    ]);
    logs.length = 0;
    await restart({ logout: { backchannel: false } });
    expect(logs.filter((line) => line.includes('reaches this process only'))).toEqual([]);
  });
});

describe.each(['backchannel', 'frontchannel'] as const)(
  'within one second of the provider’s clock, by %s,',
  (channel) => {
    test('a sign-in after a sign-out goes on, and one before it ends', async () => {
      fakeDate();
      const people = await startPeople({ config: { logout: { frontchannel: true } } });
      const [earlier, later] = [people.client(), people.client()];
      await signIn(earlier);
      const sid = String(people.idTokens[0]?.['sid']);
      const end = async () => {
        if (channel === 'backchannel') return people.send({ sub: 'alice' });
        const query = new URLSearchParams({ iss: people.provider.issuer, sid });
        return earlier.navigate(`/bff/frontchannel-logout?${query.toString()}`);
      };
      expect((await end()).status).toBe(200);
      await signIn(earlier);
      await signIn(later);
      expect([await statusOf(earlier), await statusOf(later)]).toEqual([200, 200]);
      vi.advanceTimersByTime(1000);
      expect((await end()).status).toBe(200);
      expect(await statusOf(earlier)).toBe(401);
    });
  },
);
