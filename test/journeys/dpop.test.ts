/** Sender-constrained tokens at the provider (DPoP, RFC 9449): who gets which key, what proves it, and what is refused. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { assertionsTo, credentialFile, makePrivateKey, pemOf } from '../support/client-keys.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { boundTo, hashOf, proofIn } from '../support/proofs.ts';
import type { Endpoint } from '../support/provider-faults.ts';
import { leadToCallback, signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

beforeEach(() => fakeDate());

type Dpop = 'off' | 'ES256' | 'EdDSA';

/** A world whose client has DPoP. */
function startBound(dpop: Dpop = 'ES256', options: WorldOptions = {}): Promise<World> {
  return startWorld({
    ...options,
    config: (base) => ({ ...base, client: { ...base.client, dpop }, login: { userInfo: true } }),
  });
}

function switchTo(world: World, dpop: Dpop): Promise<void> {
  return world.restart((base) => ({ ...base, client: { ...base.client, dpop } }));
}

/** The requests that an endpoint of the provider has had. */
function requestsOf({ provider }: World, endpoint: Endpoint) {
  return provider.requests.filter(({ endpoints }) => endpoints.includes(endpoint));
}

function requestTo(world: World, endpoint: Endpoint) {
  return requestsOf(world, endpoint).at(0);
}

function proofsAt(world: World, endpoint: Endpoint) {
  return requestsOf(world, endpoint).map(({ headers }) => proofIn(headers));
}

/** The session's token, as the API gets it. */
async function tokenOf(world: World, browser: Awaited<ReturnType<World['client']>>): Promise<string | undefined> {
  expect((await browser.fetch('/api/orders')).status).toBe(200);
  return world.api.last().token;
}

describe('a login', () => {
  test.each(['ES256', 'EdDSA'] as const)('with %s binds the tokens to a key that it names before', async (dpop) => {
    const world = await startBound(dpop);
    const browser = world.client();
    await signIn(browser);
    const authorization = requestTo(world, 'authorization');
    const token = await tokenOf(world, browser);
    expect(boundTo(token)).toBe(authorization?.query['dpop_jkt']);
    const { issuer } = world.provider;
    const [[code], [userInfo]] = [proofsAt(world, 'code'), proofsAt(world, 'userinfo')];
    expect(code).toMatchObject({ alg: dpop, typ: 'dpop+jwt', htm: 'POST', htu: `${issuer}/token`, ath: undefined });
    expect(userInfo).toMatchObject({ alg: dpop, htm: 'GET', htu: `${issuer}/me`, ath: hashOf(token), jwk: code?.jwk });
    expect(code?.jwk).not.toHaveProperty('d');
    expect(requestTo(world, 'userinfo')?.headers.authorization).toBe(`DPoP ${token}`);
    expect((await browser.fetch('/bff/session')).json()).toMatchObject({ user: { email: 'alice@example.test' } });
    world.assertNoSecrets();
  });

  test('has a key of its own each time, also of one person', async () => {
    const world = await startBound();
    const [one, other] = [world.client(), world.client()];
    await signIn(one);
    await signIn(other);
    const [first, second] = proofsAt(world, 'code');
    expect(first?.jwk).not.toEqual(second?.jwk);
    expect(boundTo(await tokenOf(world, one))).not.toBe(boundTo(await tokenOf(world, other)));
  });

  test('without the option has neither key nor proof', async () => {
    const world = await startBound('off');
    await signIn(world.client());
    expect(requestTo(world, 'authorization')?.query).not.toHaveProperty('dpop_jkt');
    expect(requestTo(world, 'code')?.headers).not.toHaveProperty('dpop');
  });

  test('is refused where the provider answers with a bearer token, and the log says why', async () => {
    const world = await startBound();
    world.provider.mutate('code', (response) => ({ ...response, token_type: 'Bearer' }));
    const browser = world.client();
    const page = await browser.navigate('/bff/login');
    expect([page.status, (await browser.fetch('/bff/session')).at('authenticated')]).toEqual([403, false]);
    expect(world.logs.join('')).toContain('not DPoP. Let the provider bind the tokens of this client');
  });

  test('is refused where the provider answers with a bound token that was not asked for', async () => {
    const world = await startBound('off');
    world.provider.mutate('code', (response) => ({ ...response, token_type: 'DPoP' }));
    expect((await world.client().navigate('/bff/login')).status).toBe(403);
  });

  test.each([
    ['ES256', 'off'],
    ['off', 'ES256'],
    ['ES256', 'EdDSA'],
  ] as const)('that was begun under %s ends so, though the setting is %s by then', async (begun, ended) => {
    const world = await startBound(begun);
    const browser = world.client();
    const callback = await leadToCallback(browser);
    await switchTo(world, ended);
    await browser.navigate(callback.href);
    const bound = boundTo(await tokenOf(world, browser));
    expect(bound).toBe(requestTo(world, 'authorization')?.query['dpop_jkt']);
    expect(bound === undefined).toBe(begun === 'off');
  });
});

describe('a refresh', () => {
  test('proves the same key anew, in each instance', async () => {
    const world = await startBound('ES256', { store: createMemoryStore() });
    const browser = world.client();
    await signIn(browser);
    const before = await tokenOf(world, browser);
    const { port } = await world.addInstance();
    browser.routeTo(port);
    expireAccessToken();
    const after = await tokenOf(world, browser);
    expect(after).not.toBe(before);
    expect(boundTo(after)).toBe(boundTo(before));
    const proofs = [...proofsAt(world, 'code'), ...proofsAt(world, 'refresh')];
    expect(proofs[1]?.jwk).toEqual(proofs[0]?.jwk);
    expect(new Set(proofs.map(({ jti }) => jti)).size).toBe(2);
    world.assertNoSecrets();
  });

  test('that brings a bearer token ends the session', async () => {
    const world = await startBound();
    const browser = world.client();
    await signIn(browser);
    world.provider.mutate('refresh', (response) => ({ ...response, token_type: 'Bearer' }));
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).json()).toMatchObject({ status: 401, code: 'session_expired' });
    expect(world.api.requests).toEqual([]);
  });

  test.each(['invalid_dpop_proof', 'use_dpop_nonce'])('that is refused with %s ends nothing', async (error) => {
    const world = await startBound();
    const browser = world.client();
    await signIn(browser);
    const undo = world.provider.fail('refresh', { status: 400, body: { error } });
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(503);
    undo();
    vi.advanceTimersByTime(60_000);
    expect((await browser.fetch('/api/orders')).status).toBe(200);
  });

  test.each([
    ['off', 'ES256'],
    ['ES256', 'off'],
  ] as const)('of a session that began under %s goes on so under %s', async (before, after) => {
    const world = await startBound(before);
    const browser = world.client();
    await signIn(browser);
    const token = await tokenOf(world, browser);
    await switchTo(world, after);
    expireAccessToken();
    const refreshed = await tokenOf(world, browser);
    expect(refreshed).not.toBe(token);
    expect(boundTo(refreshed)).toBe(boundTo(token));
    await signIn(browser);
    expect(boundTo(await tokenOf(world, browser))).not.toBe(boundTo(token));
  });
});

describe("the provider's nonce", () => {
  test('is asked for once, and then known to everybody', async () => {
    const world = await startBound('ES256', { provider: { settings: { requireDpopNonce: true } } });
    const browser = world.client();
    await signIn(browser);
    expect(proofsAt(world, 'code').map(({ nonce }) => typeof nonce)).toEqual(['undefined', 'string']);
    expect(proofsAt(world, 'userinfo').map(({ nonce }) => typeof nonce)).toEqual(['string']);
    await signIn(world.client());
    expect((await browser.fetch('/bff/refresh', { method: 'POST' })).status).toBe(200);
    expect([world.provider.calls.code, world.provider.calls.refresh]).toEqual([3, 1]);
    const jtis = [...proofsAt(world, 'code'), ...proofsAt(world, 'refresh')].map(({ jti }) => jti);
    expect(new Set(jtis).size).toBe(4);
  });

  test('makes a second request with an assertion of its own, because the provider takes each once', async () => {
    const { path } = await credentialFile(pemOf(makePrivateKey('P-256')));
    const world = await startWorld({
      provider: { authMethod: 'private_key_jwt', settings: { requireDpopNonce: true } },
      config: (base) => ({
        ...base,
        client: { id: base.client.id, authMethod: 'private_key_jwt', keyFile: path, dpop: 'ES256' },
      }),
    });
    await signIn(world.client());
    expect(world.provider.calls.code).toBe(2);
    expect(new Set(assertionsTo(world.provider).map(({ claims }) => claims.jti)).size).toBe(2);
  });

  test('is asked for where a request is pushed, which proves the key, too', async () => {
    const settings = { requireDpopNonce: true };
    const world = await startBound('ES256', { provider: { settings, pushedRequests: 'required' } });
    await signIn(world.client());
    const pushed = proofsAt(world, 'pushedAuthorization');
    expect(pushed.map(({ nonce }) => typeof nonce)).toEqual(['undefined', 'string']);
    expect(pushed[1]).toMatchObject({ htm: 'POST', htu: `${world.provider.issuer}/request` });
    const [code] = proofsAt(world, 'code');
    expect([code?.jwk, typeof code?.nonce]).toEqual([pushed[1]?.jwk, 'string']);
    expect(world.provider.calls.code).toBe(1);
  });

  test('is replaced when it is too old, and no session ends for it', async () => {
    const world = await startBound('ES256', { provider: { settings: { requireDpopNonce: true } } });
    const browser = world.client();
    await signIn(browser);
    vi.advanceTimersByTime(3_600_000);
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(2);
  });
});
