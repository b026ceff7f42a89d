/**
 * Routes that want an access token of their own, `{ resource, scope }`: each call carries the token of its route, and
 * whatever becomes of one token, the session and the other tokens go on.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { boundTo, hashOf, proofIn } from '../support/proofs.ts';
import {
  inParallel,
  signIn,
  startSignedIn,
  startWorld,
  statusesOf,
  type SignedInWorld,
  type World,
  type WorldOptions,
} from '../support/world.ts';

const orders = 'https://orders.test';
const stock = 'https://stock.test';

let shared: World;

beforeAll(async () => {
  shared = await startWorld({ config: withResources }, { scope: 'manual' });
});
afterAll(() => shared.stop());
beforeEach(() => fakeDate());

function withResources({ api = [], ...base }: ConfigInput): ConfigInput {
  const target = api[0]?.target ?? '';
  return {
    ...base,
    api: [
      ...api,
      { path: '/orders', target, token: { resource: orders, scope: 'orders' } },
      { path: '/stock', target, token: { resource: stock, scope: 'stock' } },
      { path: '/any', target, token: { resource: stock } },
      { path: '/ruled', target, token: { resource: orders, scope: 'orders' }, require: { scopes: ['orders'] } },
      { path: '/strict', target, token: { resource: stock, scope: 'stock' }, require: { scopes: ['orders'] } },
    ],
  };
}

/** The world that the tests share, with a browser in which Alice has just signed in. */
async function start(): Promise<SignedInWorld> {
  const browser = shared.client();
  await signIn(browser);
  shared.api.requests.length = 0;
  shared.provider.resetCalls();
  onTestFinished(() => {
    shared.provider.heal();
    shared.api.rejectTokens(0);
    expect(shared.provider.reusedRefreshTokens, 'refresh tokens shown twice').toBe(0);
  });
  return Object.assign(Object.create(shared) as World, { browser });
}

async function startOwn(options: Omit<WorldOptions, 'config'> = {}, more: Partial<ConfigInput> = {}) {
  const world = await startSignedIn({ ...options, config: (base) => ({ ...withResources(base), ...more }) });
  world.provider.resetCalls();
  return world;
}

/** The audience and the scopes of the token that each call carried, in order. */
function carried({ api }: World): string[] {
  return api.requests.map(({ claims }) => `${String(claims?.aud)} ${String(claims?.['scope'])}`);
}

function tokensAt({ api }: World, path: string): Set<string | undefined> {
  return new Set(api.requests.filter(({ url }) => url.startsWith(path)).map(({ token }) => token));
}

async function calls(browser: BrowserClient, ...paths: string[]): Promise<number[]> {
  const statuses = [];
  for (const path of paths) statuses.push((await browser.fetch(path)).status);
  return statuses;
}

describe('each route', () => {
  test('carries a token for its resource and scope alone, asked for at the login and through the refresh token', async () => {
    const world = await startOwn();
    const { browser } = world;
    await browser.navigate('/bff/login');
    const login = world.provider.requests.find(({ endpoints }) => endpoints.includes('authorization'));
    expect(login?.query['scope']).toBe('openid profile email offline_access orders stock');
    world.provider.resetCalls();

    expect(await calls(browser, '/orders/1', '/stock/1', '/api/1', '/any/1')).toEqual([200, 200, 200, 200]);
    const [first, second, third, fourth] = carried(world);
    expect([first, second]).toEqual([`${orders} orders`, `${stock} stock`]);
    expect(third).toMatch(/^https:\/\/api\.test /);
    expect(fourth).toMatch(/^https:\/\/stock\.test .*orders/);
    const asked = world.provider.requests.filter(({ endpoints }) => endpoints.includes('refresh'));
    expect(asked.map(({ form }) => [form['resource'], form['scope']])).toEqual([
      [orders, 'orders'],
      [stock, 'stock'],
      [stock, undefined],
    ]);
    world.assertNoSecrets();
  });

  test('keeps its token, beside the session’s own, and across a restart', async () => {
    const world = await startOwn();
    const { browser, provider } = world;
    for (let round = 0; round < 3; round += 1) await calls(browser, '/orders/1', '/stock/1', '/api/1');
    await world.restart();
    expect(await calls(browser, '/orders/1', '/stock/1', '/api/1')).toEqual([200, 200, 200]);
    expect(provider.calls.refresh).toBe(2);
    expect([tokensAt(world, '/1').size, new Set(carried(world)).size]).toEqual([3, 3]);
  });

  test('renews it alone, ahead of its expiry, and after a 401 of its API', async () => {
    const world = await start();
    const { browser, provider, api } = world;
    await calls(browser, '/orders/1');
    vi.advanceTimersByTime(200_000);
    await calls(browser, '/stock/1');
    vi.advanceTimersByTime(95_000);
    provider.resetCalls();
    expect(await calls(browser, '/orders/2', '/stock/2')).toEqual([200, 200]);
    expect(provider.calls.refresh).toBe(1);

    const own = api.last().token;
    api.rejectTokens((token) => token === own);
    expect(await calls(browser, '/stock/3')).toEqual([200]);
    expect(provider.calls.refresh).toBe(2);
    expect(provider.requests.at(-1)?.form['resource']).toBe(stock);
    expect(carried(world).slice(-2)).toEqual([`${stock} stock`, `${stock} stock`]);
  });

  test('obtains it once, however many calls need it, each for its own', async () => {
    const world = await start();
    const { browser, provider } = world;
    const answers = await inParallel(60, (index) =>
      browser.fetch(['/orders/1', '/stock/1', '/api/1'][index % 3] ?? ''),
    );
    expect(statusesOf(answers)).toEqual([200]);
    expect(provider.calls.refresh).toBe(2);
    expect(new Set(carried(world)).size).toBe(3);
  });

  test('needs no fresh token of the session, and does not renew it', async () => {
    const world = await start();
    const { browser, provider } = world;
    await calls(browser, '/orders/1');
    const before = (await browser.fetch('/bff/session')).at('accessToken.expiresAt');
    expireAccessToken();
    expect(await calls(browser, '/orders/1')).toEqual([200]);
    expect(provider.calls.refresh).toBe(2);
    expect(provider.requests.at(-1)?.form['resource']).toBe(orders);
    expect((await browser.fetch('/bff/session')).at('accessToken.expiresAt')).toBe(before);
    expect(await calls(browser, '/api/1')).toEqual([200]);
    expect(carried(world).at(-1)).toMatch(/^https:\/\/api\.test /);
  });
});

test('a token for a resource is not shown to the UserInfo endpoint', async () => {
  const { browser, provider } = await startOwn({}, { login: { userInfo: true } });
  expect(await calls(browser, '/orders/1')).toEqual([200]);
  expect([provider.calls.refresh, provider.calls.userinfo]).toEqual([1, 0]);
  expect((await browser.fetch('/bff/session')).at('user.name')).toBe('Alice Adams');
});

test('with DPoP it is bound to the session’s key, and goes with a proof', async () => {
  const world = await startWorld({
    config: (base) => ({ ...withResources(base), client: { ...base.client, dpop: 'ES256' } }),
  });
  const browser = world.client();
  await signIn(browser);
  expect(await calls(browser, '/orders/1', '/api/1')).toEqual([200, 200]);
  const [ofResource, own] = world.api.requests;
  expect(ofResource?.headers.authorization).toBe(`DPoP ${ofResource?.token}`);
  expect(proofIn(ofResource?.headers ?? {})).toMatchObject({ htm: 'GET', ath: hashOf(ofResource?.token) });
  expect(boundTo(ofResource?.token)).toBe(boundTo(own?.token));
});

test('a route that requires scopes asks for those of its own token', async () => {
  const { browser, provider } = await start();
  expect(await calls(browser, '/ruled/1', '/strict/1')).toEqual([200, 403]);
  const refused = await browser.fetch('/strict/1');
  expect(refused.json()).toMatchObject({ code: 'access_denied', missing: { scopes: { all: ['orders'] } } });
  expect(provider.calls.refresh).toBe(2);
});

describe('at the same moment', () => {
  test.each([
    ['the session’s first', '/api/1', '/orders/1'],
    ['the resource’s first', '/orders/1', '/api/1'],
  ])('a refresh and a resource token are redeemed one after the other: %s', async (_order, first, second) => {
    const world = await start();
    const { browser, provider } = world;
    expireAccessToken();
    const gate = provider.hold('refresh', { times: 1 });
    const earlier = browser.fetch(first);
    await gate.arrived;
    const later = browser.clone().fetch(second);
    await calls(browser.clone(), '/bff/session');
    expect(provider.calls.refresh).toBe(1);
    gate.release();
    expect([(await earlier).status, (await later).status]).toEqual([200, 200]);
    expect(provider.calls.refresh).toBe(2);
    expect(new Set(carried(world)).size).toBe(2);
  });

  test('a client that leaves loses no token, and holds nobody up', async () => {
    const world = await start();
    const { browser, provider } = world;
    const gate = provider.hold('refresh', { after: 'commit', times: 1 });
    const left = new AbortController();
    const leaving = browser.fetch('/orders/1', { signal: left.signal }).catch(() => 'left');
    await gate.arrived;
    left.abort();
    expect(await leaving).toBe('left');
    const others = [browser.fetch('/orders/2'), browser.fetch('/stock/2')];
    gate.release();
    expect(statusesOf(await Promise.all(others))).toEqual([200]);
    expect(provider.calls.refresh).toBe(2);
  });

  test('a sign-out wins over a token that comes too late, and the refresh token that came with it is revoked', async () => {
    const world = await start();
    const { browser, provider } = world;
    const gate = provider.hold('refresh', { after: 'commit', times: 1 });
    const late = browser.clone().fetch('/orders/1');
    await gate.arrived;
    expect((await browser.clone().fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    gate.release();
    expect((await late).status).toBe(401);
    expect((await browser.fetch('/orders/1')).status).toBe(401);
    expect(world.api.requests).toEqual([]);
    await vi.waitFor(() => expect(provider.calls.revocation).toBe(2));
  });
});

describe('a provider that', () => {
  test.each([
    ['denies the resource', { error: 'invalid_target' }],
    ['denies the scope', { error: 'invalid_scope' }],
    ['does not know the parameter', { error: 'invalid_request' }],
    ['wants the person’s consent first, as Entra ID says it', { error: 'invalid_grant', suberror: 'consent_required' }],
  ])('%s ends no session: that route is denied, and asks once', async (_story, body) => {
    const world = await start();
    const { browser, provider } = world;
    const undo = provider.fail('refresh', { status: 400, body });
    const denied = await browser.fetch('/orders/1');
    expect([denied.status, denied.at('code')]).toEqual([403, 'access_denied']);
    expect(await calls(browser, '/orders/1', '/orders/2')).toEqual([403, 403]);
    expect(provider.calls.refresh).toBe(1);
    expect(world.api.requests).toEqual([]);
    undo();
    expect(await calls(browser, '/api/1', '/stock/1')).toEqual([200, 200]);
    expireAccessToken();
    expect(await calls(browser, '/api/1', '/orders/1')).toEqual([200, 200]);
    expect(world.logs.some((line) => line.includes(`"error":"${body.error}"`))).toBe(true);
  });

  test('rejects the refresh token ends the session, for whichever token it was shown', async () => {
    const { browser, provider } = await start();
    await calls(browser, '/stock/1');
    provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' } });
    expect((await browser.fetch('/orders/1')).at('code')).toBe('session_expired');
    expect(await calls(browser, '/stock/1', '/api/1')).toEqual([401, 401]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test.each(['status 500', 'no answer'])('fails (%s) leaves what there is good', async (how) => {
    const world = await startOwn();
    // A store that has just come up may have missed something, and what follows a failure waits for that.
    vi.advanceTimersByTime(10_000);
    const { browser, provider } = world;
    await calls(browser, '/stock/1');
    if (how === 'no answer') provider.reset('refresh');
    else provider.fail('refresh', { times: 1 });
    const answer = await browser.fetch('/orders/1');
    expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
    expect(await calls(browser, '/stock/1', '/api/1')).toEqual([200, 200]);
    provider.heal();
    expect(await calls(browser, '/orders/1')).toEqual([200]);
  });

  test('fails once, at each position, tears nothing', async () => {
    const world = await startOwn();
    vi.advanceTimersByTime(10_000);
    for (let position = 0; position < 5; position += 1) {
      const browser = world.client();
      await signIn(browser);
      const undo = world.provider.fail('refresh', { times: 1, skip: position });
      const statuses = await calls(browser, '/orders/1', '/stock/1');
      expireAccessToken();
      statuses.push(...(await calls(browser, '/api/1', '/stock/1', '/orders/1')));
      undo();
      expect(statuses).toEqual([0, 1, 2, 3, 4].map((each) => (each === position ? 503 : 200)));
      expect(await calls(browser, '/orders/1', '/stock/1', '/api/1')).toEqual([200, 200, 200]);
    }
  });

  test('fails for one resource only is no outage of the rest', async () => {
    const world = await startOwn();
    const people = [];
    for (let count = 0; count < 6; count += 1) {
      const person = world.client();
      await signIn(person);
      people.push(person);
    }
    expireAccessToken();
    world.provider.fail('refresh');
    for (const person of people) expect(await calls(person, '/orders/1')).toEqual([503]);
    world.provider.heal();
    const [first = world.client()] = people;
    expect(await calls(first, '/orders/1', '/stock/1', '/api/1')).toEqual([503, 200, 200]);
  });

  test.each([
    ['fails', 500, 'server_error'],
    ['denies the resource', 400, 'invalid_target'],
  ])('%s, when a token is due, leaves it good to its end', async (_story, status, error) => {
    const { browser, provider } = await start();
    await calls(browser, '/orders/1');
    vi.advanceTimersByTime(295_000);
    provider.fail('refresh', { status, body: { error } });
    expect(await calls(browser, '/orders/1', '/orders/2')).toEqual([200, 200]);
    vi.advanceTimersByTime(6000);
    expect(await calls(browser, '/orders/1')).toEqual([status === 400 ? 403 : 503]);
  });

  test('cannot be verified yet has its answer completed by whoever comes next, for what it was asked', async () => {
    const world = await startOwn();
    const { browser, provider } = world;
    await provider.rotateKeys();
    const undo = provider.fail('jwks');
    expect((await browser.fetch('/any/1')).status).toBe(503);
    undo();
    vi.advanceTimersByTime(61_000);
    provider.resetCalls();
    expireAccessToken();
    expect(await calls(browser, '/api/1', '/any/1')).toEqual([200, 200]);
    expect(carried(world).map((text) => text.split(' ')[0])).toEqual(['https://api.test', stock]);
    expect(provider.reusedRefreshTokens).toBe(0);
  });

  test('answers with the ID token of another person ends the session', async () => {
    const world = await start();
    onTestFinished(world.provider.mutateIdToken((claims) => ({ claims: { ...claims, sub: 'bob' } }), 'refresh'));
    expect((await world.browser.fetch('/any/1')).at('code')).toBe('session_expired');
    expect(world.api.requests).toEqual([]);
  });

  test('grants fewer scopes than asked for: the API decides', async () => {
    const world = await start();
    onTestFinished(world.provider.mutate('refresh', (json) => ({ ...json, scope: 'less' })));
    expect(await calls(world.browser, '/orders/1')).toEqual([200]);
  });

  test('grants no refresh token denies such routes, and no others', async () => {
    const world = await startOwn({ provider: { settings: { refreshTokens: 'never' } } });
    const answer = await world.browser.fetch('/orders/1');
    expect([answer.status, answer.at('code')]).toEqual([403, 'access_denied']);
    expect(await calls(world.browser, '/api/1')).toEqual([200]);
    expect(world.provider.calls.refresh).toBe(0);
  });
});

describe('where the tokens are kept', () => {
  test('in the store, with sessions there', async () => {
    const world = await startOwn({}, { session: { mode: 'store' } });
    const { browser, provider } = world;
    provider.settings.accessTokenPadding = 9000;
    await calls(browser, '/orders/1', '/stock/1', '/api/1', '/orders/1', '/stock/1');
    expect(provider.calls.refresh).toBe(2);
    expect(browser.cookieHeader()?.length).toBeLessThan(300);
  });

  test('in this process, where they are too large for the cookies, which stay as they were', async () => {
    const world = await startOwn();
    const { browser, provider } = world;
    provider.settings.accessTokenPadding = 5000;
    const before = browser.cookieHeader()?.length ?? 0;
    await calls(browser, '/orders/1', '/stock/1', '/api/1', '/orders/1', '/stock/1', '/api/1');
    expect(provider.calls.refresh).toBe(2);
    expect(browser.cookieHeader()?.length).toBeLessThan(8192);
    expect(tokensAt(world, '/1').size).toBe(3);
    // One of the two has a place in the cookies.
    expect(browser.cookieHeader()?.length).toBeGreaterThan(before + 5000);
    await world.restart();
    await calls(browser, '/orders/1', '/stock/1');
    expect(provider.calls.refresh).toBe(3);
  });
});
