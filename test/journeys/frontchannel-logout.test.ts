/**
 * The provider's sign-out page loads a frame of ours for each app (OpenID Connect Front-Channel Logout 1.0). The frame has
 * no cookies, so that `iss` and `sid` alone say what is to end.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient, Navigation } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { watchIdTokens } from '../support/logout-tokens.ts';
import { startRedis } from '../support/redis.ts';
import { createSharedMemory } from '../support/shared-memory.ts';
import { signIn, startSignedIn, startWorld, type World } from '../support/world.ts';

const waiting = { timeout: 5000, interval: 20 };

interface Frames extends World {
  readonly browser: BrowserClient;
  /** The provider's name for the session of `browser`. */
  readonly sid: string;
  /** The provider's page frames this address in a browser. */
  readonly frame: (query: string, browser?: BrowserClient) => Promise<Navigation>;
}

async function startFrames(frontchannel = true): Promise<Frames> {
  const world = await startWorld({ backchannelLogout: true, config: { logout: { frontchannel } } });
  const idTokens = watchIdTokens(world.provider);
  const browser = world.client();
  await signIn(browser);
  world.provider.resetCalls();
  const frame = (query: string, of = browser) =>
    of.navigate(`/bff/frontchannel-logout?${query}`, {
      initiator: world.provider.issuer,
      destination: 'iframe',
      follow: false,
    });
  return Object.assign(world, { browser, sid: String(idTokens[0]?.['sid']), frame });
}

function query(world: World, sid: string): string {
  return new URLSearchParams({ iss: world.provider.issuer, sid }).toString();
}

describe('a frame of the provider’s sign-out page', () => {
  test('ends the session, and revokes nothing at the provider', async () => {
    const frames = await startFrames();
    const { browser, provider, logs } = frames;
    const other = frames.client();
    await signIn(other);
    provider.resetCalls();

    const page = await frames.frame(query(frames, frames.sid));

    expect(page.status).toBe(200);
    expect((await browser.fetch('/api/me')).at('code')).toBe('session_expired');
    expect((await other.fetch('/api/me')).status).toBe(200);
    expect(provider.requests).toEqual([]);
    const ends = logs.filter((line) => line.includes('session.ended'));
    expect(ends.map((line) => JSON.parse(line) as object)).toMatchObject([{ reason: 'frontchannel' }]);
  });

  test('shows a page that the provider alone may frame, and that nobody keeps', async () => {
    const frames = await startFrames();
    const { headers, text, setCookies } = await frames.frame(query(frames, frames.sid));
    expect(headers['content-security-policy']).toMatch(
      new RegExp(`^default-src 'none';.*; frame-ancestors ${frames.provider.issuer}$`),
    );
    expect(headers['x-frame-options']).toBeUndefined();
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(text).toContain('Signed out');
    expect(setCookies).toEqual([]);
  });

  test('looks the same for a session that nobody has, and a second time', async () => {
    const frames = await startFrames();
    const pages = [];
    for (const sid of ['nobody-has-this', frames.sid, frames.sid]) pages.push(await frames.frame(query(frames, sid)));
    const [unknown, ...known] = pages.map(({ status, text, headers }) => ({
      status,
      text,
      headers: { ...headers, date: '' },
    }));
    expect(known).toEqual([unknown, unknown]);
  });

  test('leaves a later sign-in alone, at the same session of the provider, too', async () => {
    fakeDate();
    const frames = await startFrames();
    const idTokens = watchIdTokens(frames.provider);
    expect((await frames.frame(query(frames, frames.sid))).status).toBe(200);
    expect((await frames.browser.fetch('/api/me')).status).toBe(401);
    vi.advanceTimersByTime(1000);
    await signIn(frames.browser);
    expect(idTokens.map(({ sid }) => sid)).toEqual([frames.sid]);
    expect((await frames.browser.fetch('/api/me')).status).toBe(200);
  });
});

describe('a session that the instance which is framed has never seen', () => {
  test.each([
    { mode: 'cookie', registry: true },
    { mode: 'cookie', registry: false },
    { mode: 'store', registry: true },
    { mode: 'store', registry: false },
  ] as const)('ends on all instances, and on one that starts later: %o', async (session) => {
    const { store } = createSharedMemory();
    const world = await startWorld({
      backchannelLogout: true,
      config: { session, logout: { frontchannel: true } },
      store,
    });
    const idTokens = watchIdTokens(world.provider);
    const browser = world.client();
    await signIn(browser);
    const framed = await world.addInstance();
    const answer = await fetch(
      `http://127.0.0.1:${framed.port}/bff/frontchannel-logout?${query(world, String(idTokens[0]?.['sid']))}`,
    );
    expect(answer.status).toBe(200);
    const later = await world.addInstance();
    for (const { port } of [later, framed, world.server]) {
      const copy = browser.clone();
      copy.routeTo(port, world.origin);
      expect((await copy.fetch('/api/me')).status).toBe(401);
    }
  });

  test.each([{ registry: true }, { registry: false }])(
    'ends by the sid of a refreshed ID token, and is listed as before: %o',
    async (session) => {
      fakeDate();
      const redis = await startRedis();
      onTestFinished(() => redis.close());
      const world = await startWorld({
        backchannelLogout: true,
        config: { session, logout: { frontchannel: true }, redisUrl: redis.url },
      });
      const browser = world.client();
      await signIn(browser);
      const listed = async () => {
        const { sessions = [] } = (await browser.fetch('/bff/sessions')).json() as { sessions?: object[] };
        return sessions.map((each) => Object.assign(each, { lastSeenAt: 0 }));
      };
      const before = await listed();
      world.provider.mutateIdToken((claims) => ({ claims: { ...claims, sid: 'renamed' } }));
      expireAccessToken();
      expect((await browser.fetch('/api/me')).status).toBe(200);
      const framed = await world.addInstance();
      await vi.waitFor(async () => expect(await redis.ask('KEYS', '*sessions:sid:*')).toMatch(/\n/), waiting);
      expect(await listed()).toEqual(before);
      expect(before).toHaveLength(session.registry ? 1 : 0);
      const address = `http://127.0.0.1:${framed.port}/bff/frontchannel-logout?${query(world, 'renamed')}`;
      expect((await fetch(address)).status).toBe(200);
      expect((await browser.fetch('/api/me')).status).toBe(401);
    },
  );

  test('ends also where the provider’s clock is ahead of ours by more than the sign-in is old', async () => {
    fakeDate();
    const frames = await startFrames();
    vi.setSystemTime(Date.now() - 60_000);
    expect((await frames.frame(query(frames, frames.sid))).status).toBe(200);
    expect((await frames.browser.fetch('/api/me')).status).toBe(401);
  });

  test('while the store is away ends what this process has, and says that it knows of no other', async () => {
    const { store, down, up } = createSharedMemory();
    const world = await startWorld({ backchannelLogout: true, config: { logout: { frontchannel: true } }, store });
    const idTokens = watchIdTokens(world.provider);
    const browser = world.client();
    await signIn(browser);
    const other = await world.addInstance();
    down();
    const answer = await fetch(
      `http://127.0.0.1:${world.server.port}/bff/frontchannel-logout?${query(world, String(idTokens[0]?.['sid']))}`,
    );
    expect(answer.status).toBe(503);
    expect((await browser.fetch('/api/me')).status).toBe(401);
    up();
    const copy = browser.clone();
    copy.routeTo(other.port, world.origin);
    await vi.waitFor(async () => expect((await copy.fetch('/api/me')).status).toBe(401), 5000);
  });
});

describe('nothing ends', () => {
  test.each<[story: string, parameters: (iss: string, sid: string) => string]>([
    ['without parameters', () => ''],
    ['without a sid', (iss) => `iss=${iss}`],
    ['without an issuer', (_iss, sid) => `sid=${sid}`],
    ['with an empty sid', (iss) => `iss=${iss}&sid=`],
    ['of another issuer', (_iss, sid) => `iss=https://evil.test&sid=${sid}`],
    ['of an issuer with a slash more', (iss, sid) => `iss=${iss}/&sid=${sid}`],
    ['with two issuers', (iss, sid) => `iss=${iss}&iss=${iss}&sid=${sid}`],
    ['with two sids', (iss, sid) => `iss=${iss}&sid=${sid}&sid=${sid}`],
  ])('by a frame %s', async (_story, parameters) => {
    const frames = await startFrames();
    const answer = await frames.frame(parameters(frames.provider.issuer, frames.sid));
    expect([answer.status, answer.at('code')]).toEqual([400, 'request_invalid']);
    expect((await frames.browser.fetch('/api/me')).status).toBe(200);
  });

  test.each(['HEAD', 'POST'])('by %s', async (method) => {
    const frames = await startFrames();
    const answer = await fetch(
      `http://127.0.0.1:${frames.server.port}/bff/frontchannel-logout?${query(frames, frames.sid)}`,
      { method },
    );
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET']);
    expect((await frames.browser.fetch('/api/me')).status).toBe(200);
  });

  test('unless it was switched on', async () => {
    const frames = await startFrames(false);
    const answer = await frames.frame(query(frames, frames.sid));
    expect([answer.status, answer.at('code')]).toEqual([404, 'route_not_found']);
    expect((await frames.browser.fetch('/api/me')).status).toBe(200);
    const byDefault = await startSignedIn();
    expect((await byDefault.browser.fetch('/bff/frontchannel-logout')).status).toBe(404);
  });
});
