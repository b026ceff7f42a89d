/** Sessions that live in the store, behind a ticket in the cookie (`session.mode: store`). */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createSessionSealer } from '../../src/session/session-sealer.ts';
import { createTickets } from '../../src/session/tickets.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { signIn, startSignedIn, startWorld, type ConfigOverrides, type SignedInWorld } from '../support/world.ts';

beforeEach(() => fakeDate());

const stored = { session: { mode: 'store' } } as const;

interface StoredWorld extends SignedInWorld {
  readonly redis: TestRedis;
  /** The same browser, at an instance that has not met its session. */
  readonly atAnother: (changes?: ConfigOverrides) => Promise<BrowserClient>;
}

async function startStored(changes: ConfigOverrides = {}): Promise<StoredWorld> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const more = typeof changes === 'function' ? changes : (base: object) => ({ ...base, ...changes });
  const world = await startSignedIn({
    config: (base) => ({ ...more({ ...base, ...stored }), redisUrl: redis.url }) as typeof base,
  });
  const atAnother = async (overrides: ConfigOverrides = {}) => {
    const instance = await world.addInstance(overrides);
    const clone = world.browser.clone();
    clone.routeTo(instance.port, world.origin);
    return clone;
  };
  return { ...world, redis, atAnother };
}

function ticketOf(browser: BrowserClient): string {
  return browser.cookies.get(browser.own('session'))?.value ?? '';
}

async function statusOf(browser: BrowserClient): Promise<number> {
  return (await browser.fetch('/api/orders')).status;
}

async function contentIn(redis: TestRedis): Promise<string> {
  const [content = ''] = [...(await redis.dump())]
    .filter(([key]) => key.startsWith('sallyport:content:'))
    .map(([, value]) => value);
  return content;
}

describe('the cookie', () => {
  test('is a ticket of less than 200 bytes, whatever size the tokens have, and never changes', async () => {
    const world = await startWorld({ config: stored });
    world.provider.settings.accessTokenPadding = 12_000;
    const browser = world.client();
    await signIn(browser);
    const ticket = ticketOf(browser);
    expect(`${browser.own('session')}=${ticket}`.length).toBeLessThan(200);
    expect(await statusOf(browser)).toBe(200);
    expireAccessToken();
    const refreshed = await browser.fetch('/api/orders');
    expect([refreshed.status, refreshed.setCookies]).toEqual([200, []]);
    expect(world.provider.calls.refresh).toBe(1);
    expect(ticketOf(browser)).toBe(ticket);
    world.assertNoSecrets();
  });

  test('shows in /bff/session what a session shows, and is deleted by a sign-out that ends it everywhere', async () => {
    const { browser, atAnother, redis, provider } = await startStored();
    const copy = await atAnother();
    expect(await statusOf(copy)).toBe(200);
    const view = await browser.fetch('/bff/session');
    expect([view.at('authenticated'), view.at('user.sub')]).toEqual([true, 'alice']);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(browser.cookies.get(browser.own('session'))).toBeUndefined();
    expect((await copy.fetch('/api/orders')).at('code')).toBe('session_expired');
    expect((await copy.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(await contentIn(redis)).toBe('');
    expect(provider.calls.revocation).toBe(1);
    expect((await (await atAnother()).fetch('/api/orders')).status).not.toBe(200);
  });

  test.each([
    ['another id', (parts: string[]) => parts.with(2, 'A'.repeat(22))],
    ['another key', (parts: string[]) => parts.with(3, 'A'.repeat(43))],
    ['another person', (parts: string[]) => parts.with(4, `sub:${'A'.repeat(22)}`)],
    ['fewer names', (parts: string[]) => parts.toSpliced(4, 1)],
    ['another key id', (parts: string[]) => parts.with(1, '00000000')],
    ['no MAC', (parts: string[]) => parts.slice(0, -1)],
    ['another MAC', (parts: string[]) => [...parts.slice(0, -1), 'A'.repeat(43)]],
    ['another version', (parts: string[]) => parts.with(0, 't2')],
  ])('with %s is none, and asks the store nothing', async (_story, change) => {
    const { browser, redis } = await startStored();
    await redis.ask('CONFIG', 'RESETSTAT');
    expect(browser.cookies.replace(browser.own('session'), (ticket) => change(ticket.split('.')).join('.'))).toBe(1);
    expect((await browser.fetch('/api/orders')).at('code')).toBe('login_required');
    expect(await redis.ask('INFO', 'commandstats')).not.toContain('cmdstat_evalsha');
  });
});

describe('what the store has', () => {
  test('opens neither with the secret nor with another ticket, and holds no token', async () => {
    const { redis, provider, config, browser } = await startStored();
    const content = await contentIn(redis);
    const tickets = createTickets(config.secrets);
    const ticket = tickets.read(ticketOf(browser));
    if (ticket === undefined) throw new Error('the cookie holds no ticket');
    expect(tickets.sealerOf(ticket).unseal(content)?.id).toBe(ticket.id);
    expect(createSessionSealer(config.secrets).unseal(content)).toBeUndefined();
    expect(tickets.sealerOf({ key: tickets.createKey() }).unseal(content)).toBeUndefined();
    const foreign = createTickets(['another secret of 32 characters!']);
    expect(foreign.sealerOf(ticket).unseal(content)).toBeUndefined();
    const dump = [...(await redis.dump())].flat().join('\n');
    for (const secret of [...provider.secrets, ticket.id, ticket.key]) expect(dump).not.toContain(secret);
  });

  test('of another session, in the place of this one, opens nobody', async () => {
    const { redis, client, browser, atAnother } = await startStored();
    const own = [...(await redis.dump()).keys()].find((key) => key.startsWith('sallyport:content:'));
    const bob = client();
    await signIn(bob, 'bob');
    const other = [...(await redis.dump()).keys()].find((key) => key.startsWith('sallyport:content:') && key !== own);
    await redis.ask('COPY', String(other), String(own), 'REPLACE');
    const there = await atAnother();
    expect((await there.fetch('/api/orders')).at('code')).toBe('login_required');
    expect(await statusOf(browser)).toBe(200);
  });
});

describe('the session', () => {
  test('is read once by each instance, and its refreshes reach the others', async () => {
    const { browser, atAnother, provider, api } = await startStored();
    const there = await atAnother();
    expect(await statusOf(there)).toBe(200);
    expireAccessToken();
    expect(await statusOf(browser)).toBe(200);
    expect(await statusOf(there)).toBe(200);
    expect(provider.calls.refresh).toBe(1);
    const tokens = new Set(api.requests.slice(-2).map(({ token }) => token));
    expect(tokens.size).toBe(1);
  });

  test('outlives a restart of the instance', async () => {
    const { browser, restart } = await startStored();
    await restart();
    expect(await statusOf(browser)).toBe(200);
  });

  test('goes on in an instance that has it while the store is down; the others say so, and keep the cookie', async () => {
    const { browser, atAnother, redis } = await startStored();
    const there = await atAnother();
    await redis.down();
    expect(await statusOf(browser)).toBe(200);
    for (const path of ['/api/orders', '/bff/session']) {
      const refused = await there.fetch(path);
      expect([refused.status, refused.at('code'), refused.setCookies]).toEqual([503, 'store_unavailable', []]);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    }
    expect(await statusOf(browser)).toBe(200);
  });

  test('is there again by itself when the store was away for a while', async () => {
    const { atAnother, redis } = await startStored();
    const there = await atAnother();
    redis.freeze();
    expect(await statusOf(there)).toBe(503);
    redis.resume();
    await vi.waitFor(async () => expect(await statusOf(there)).toBe(200), { timeout: 10_000, interval: 50 });
  });

  test('that the store has lost ends cleanly, and another sign-in works', async () => {
    const { browser, atAnother, redis, logs } = await startStored();
    const there = await atAnother();
    await redis.ask('FLUSHALL');
    expect((await there.fetch('/api/orders')).at('code')).toBe('login_required');
    const view = await there.fetch('/bff/session');
    expect([view.status, view.at('authenticated')]).toEqual([200, false]);
    expect(there.cookies.get(there.own('session'))).toBeUndefined();
    await signIn(browser);
    expect(await statusOf(browser)).toBe(200);
    expect(logs.join('')).not.toContain('internal_error');
  });

  test('is opened anew from the store when its instance has forgotten it', async () => {
    const { browser, atAnother, api, provider } = await startStored();
    const there = await atAnother();
    expireAccessToken();
    expect(await statusOf(there)).toBe(200);
    const third = await atAnother();
    expect(await statusOf(third)).toBe(200);
    expect(await statusOf(browser)).toBe(200);
    expect(provider.calls.refresh).toBe(1);
    expect(new Set(api.requests.slice(-3).map(({ token }) => token)).size).toBe(1);
  });

  test('is idle when nobody has called for so long, and not before', async () => {
    // In memory, where the store has the clock of the test.
    const { browser } = await startSignedIn({ config: { session: { mode: 'store', idleSeconds: 100 } } });
    const ticket = ticketOf(browser);
    for (let call = 0; call < 4; call += 1) {
      vi.advanceTimersByTime(60_000);
      const answer = await browser.fetch('/api/orders');
      expect([answer.status, answer.setCookies]).toEqual([200, []]);
    }
    vi.advanceTimersByTime(101_000);
    expect((await browser.fetch('/api/orders')).at('code')).toBe('session_expired');
    expect(ticketOf(browser)).toBe(ticket);
  });
});

describe('a deployment', () => {
  test('that changes the mode signs nobody out, in either direction', async () => {
    const { browser, client, restart, redis } = await startStored();
    await restart((base) => ({ ...base, session: { mode: 'cookie' }, redisUrl: redis.url }));
    expect(await statusOf(browser)).toBe(200);
    const inCookie = client();
    await signIn(inCookie);
    expect(ticketOf(inCookie).length).toBeGreaterThan(500);
    await restart((base) => ({ ...base, ...stored, redisUrl: redis.url }));
    expireAccessToken();
    for (const each of [browser, inCookie]) expect(await statusOf(each)).toBe(200);
    expect(ticketOf(inCookie).length).toBeGreaterThan(500);
    expect(ticketOf(browser).length).toBeLessThan(200);
  });

  test('that rotates secrets signs nobody out', async () => {
    const { browser, config, restart } = await startStored();
    const [old = ''] = config.secrets;
    const next = 'the next secret, of more than 32 characters';
    for (const secrets of [
      [old, next],
      [next, old],
    ]) {
      await restart((base) => ({ ...base, secrets }));
      expireAccessToken();
      expect(await statusOf(browser)).toBe(200);
    }
  });

  test('without a store that lasts says at the start that a restart signs people out, and it does', async () => {
    const world = await startSignedIn({ config: stored });
    expect(world.logs.join('')).toMatch(/restart signs everyone out/);
    expect(await statusOf(world.browser)).toBe(200);
    await world.restart();
    expect((await world.browser.fetch('/api/orders')).at('code')).toBe('login_required');
    await signIn(world.browser);
    expect(await statusOf(world.browser)).toBe(200);
  });
});
