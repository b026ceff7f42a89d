/**
 * The policies that ask the provider for what a call carries: a token in exchange, the JWT that stands for an opaque token,
 * the word that a token is active, and Sallyport's own token.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { decodeJwt } from 'jose';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import type { Endpoint, Undo } from '../support/provider-faults.ts';
import { acceptWebSockets, openSocket, type SocketApi } from '../support/web-socket.ts';
import { inParallel, signIn, startWorld, type World } from '../support/world.ts';

type Token = NonNullable<NonNullable<ConfigInput['api']>[number]['token']>;

const txnToken = 'urn:ietf:params:oauth:token-type:txn_token';

/** Each route by its name: `/exchange/x`. */
const policies: Readonly<Record<string, Token>> = {
  orders: { exchange: { audience: 'orders', scope: 'orders:read' } },
  stock: { exchange: { audience: 'stock' } },
  acting: { exchange: { audience: 'orders', actor: true } },
  txn: { exchange: { audience: 'shop', requestedTokenType: txnToken, header: 'Txn-Token' } },
  'txn-bearer': { exchange: { audience: 'shop', requestedTokenType: txnToken } },
  phantom: { phantom: { audience: 'https://api.test' } },
  checked: { introspect: true },
  own: { client: { scope: 'openid' } },
  everybody: { client: { session: false } },
};

let world: World;
let sockets: SocketApi;
let alice: BrowserClient;
const undos: Undo[] = [];

beforeAll(async () => {
  // Forward alone: the clock must not go back between tests that share a process.
  vi.useFakeTimers({ toFake: ['Date', 'hrtime'], shouldAdvanceTime: true });
  world = await startWorld(
    {
      provider: { settings: { accessTokens: 'opaque', introspectionForm: 'curity' } },
      config: ({ api: routes = [], ...base }) => ({
        ...base,
        api: [
          ...routes,
          ...Object.entries(policies).map(([name, token]) => ({
            path: `/${name}`,
            target: routes[0]?.target ?? '',
            token,
          })),
        ],
      }),
    },
    { scope: 'manual' },
  );
  sockets = acceptWebSockets(world.api);
});
afterAll(async () => {
  await world.stop();
  vi.useRealTimers();
});

beforeEach(async () => {
  alice = world.client();
  await signIn(alice, 'alice');
  world.api.requests.length = 0;
  sockets.requests.length = 0;
  world.provider.resetCalls();
});
afterEach(() => {
  for (const undo of undos.splice(0)) undo();
  world.api.answer();
  world.api.rejectTokens(0);
  world.provider.heal();
  // Past every pause and whatever is kept.
  vi.advanceTimersByTime(120_000);
});

/** Fails an endpoint until the test is over, or so often. */
function fail(endpoint: Endpoint, status: number, error: string, times = Infinity): void {
  undos.push(world.provider.fail(endpoint, { status, body: { error }, times }));
}

function outcomeOf(answer: Exchange): unknown[] {
  return [answer.status, answer.at('code')];
}

const unavailable = [503, 'provider_unavailable'];

/** The session's own access token, as the API of a plain route gets it. */
async function ownTokenOf(browser: BrowserClient): Promise<string | undefined> {
  await browser.fetch('/api/x');
  return world.api.last().token;
}

describe('a token in exchange', () => {
  test('is for the route’s audience and the person, and never the session’s own', async () => {
    const answer = await alice.fetch('/orders/x');
    expect(answer.status).toBe(200);
    expect(world.api.last().claims).toMatchObject({ sub: 'alice', aud: ['orders'], scope: 'orders:read' });
    expect(world.api.last().token).not.toBe(await ownTokenOf(alice));
  });

  test('is obtained once for many calls, and another one for another route', async () => {
    await inParallel(10, () => alice.fetch('/orders/x'));
    await inParallel(10, () => alice.fetch('/stock/x'));
    expect(world.provider.calls.exchange).toBe(2);
    expect(world.api.requests.map(({ claims, url }) => [url, claims?.aud])).toEqual([
      ...Array.from({ length: 10 }, () => ['/x', ['orders']]),
      ...Array.from({ length: 10 }, () => ['/x', ['stock']]),
    ]);
  });

  test('goes on after the client that caused it has left', async () => {
    const gate = world.provider.hold('exchange');
    const abort = new AbortController();
    const left = alice.clone().fetch('/orders/x', { signal: abort.signal });
    await gate.arrived;
    const waiting = alice.fetch('/orders/x');
    abort.abort();
    await expect(left).rejects.toThrow(/abort/i);
    gate.release();
    expect((await waiting).status).toBe(200);
    expect(world.provider.calls.exchange).toBe(1);
  });

  test('names Sallyport as the actor where that is configured', async () => {
    await alice.fetch('/acting/x');
    expect(world.api.last().claims).toMatchObject({ sub: 'alice', act: { sub: 'sallyport' } });
    expect(world.provider.calls.clientCredentials).toBe(1);
  });

  test('does without an actor token that the provider has forgotten', async () => {
    await alice.fetch('/acting/x');
    world.provider.resetCalls();
    expect(world.provider.revokeClientTokens()).toBeGreaterThan(0);
    const bob = world.client();
    await signIn(bob, 'bob');
    expect((await bob.fetch('/acting/x')).status).toBe(200);
    expect(world.api.last().claims).toMatchObject({ sub: 'bob', act: { sub: 'sallyport' } });
    expect(world.provider.calls.clientCredentials).toBe(1);
  });

  test('goes alone into a header of its own, whatever the browser sends there', async () => {
    await alice.fetch('/txn/x', { headers: { 'txn-token': 'forged', authorization: 'Bearer forged' } });
    const { headers } = world.api.last();
    expect(decodeJwt(String(headers['txn-token']))).toMatchObject({ sub: 'alice', aud: ['shop'] });
    expect(headers).not.toHaveProperty('authorization');
  });

  test('that is no access token (N_A) is not sent as one', async () => {
    expect(outcomeOf(await alice.fetch('/txn-bearer/x'))).toEqual(unavailable);
    expect(world.api.requests).toEqual([]);
  });

  test.each([
    ['a refresh token', { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['an ID token', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['a token of no type', { issued_token_type: undefined }],
    ['a second header', { access_token: 'a\r\nx-admin: 1' }],
    ['no token', { access_token: undefined }],
  ])('%s in its place is not passed on', async (_story, change) => {
    undos.push(world.provider.mutate('exchange', (json) => ({ ...json, ...change })));
    expect(outcomeOf(await alice.fetch('/orders/x'))).toEqual(unavailable);
    expect(world.api.requests).toEqual([]);
  });

  test('brings no other token of the answer along, however wrong it is', async () => {
    undos.push(world.provider.mutate('exchange', (json) => ({ ...json, id_token: 'nonsense', refresh_token: 5 })));
    expect((await alice.fetch('/orders/x')).status).toBe(200);
  });

  test.each([
    ['an outage', 500, 'server_error'],
    ['a refusal', 403, 'access_denied'],
    ['a fault of the configuration', 400, 'invalid_target'],
    ['a client that may not', 401, 'invalid_client'],
  ])('%s is a 503, and never the session’s own token', async (_story, status, error) => {
    fail('exchange', status, error);
    expect(outcomeOf(await alice.fetch('/orders/x'))).toEqual(unavailable);
    expect(world.api.requests).toEqual([]);
    expect((await alice.fetch('/api/x')).status).toBe(200);
  });

  test('that people may not have is a 503 for them alone', async () => {
    const gate = world.provider.fail('exchange', { status: 403, body: { error: 'access_denied' } });
    for (let person = 0; person < 6; person += 1) {
      const browser = world.client();
      await signIn(browser, 'bob');
      await browser.fetch('/orders/x');
    }
    gate();
    expect((await alice.fetch('/orders/x')).status).toBe(200);
  });

  test('is not asked for by each call while the provider fails', async () => {
    fail('exchange', 500, 'server_error');
    for (let call = 0; call < 6; call += 1) await alice.fetch('/orders/x');
    expect(world.provider.calls.exchange).toBe(2);
    vi.advanceTimersByTime(2_000);
    world.provider.heal();
    expect((await alice.fetch('/orders/x')).status).toBe(200);
  });

  test.each(['invalid_grant', 'invalid_request', 'invalid_token'])(
    'refreshes the session’s token once when that one is no longer taken (%s)',
    async (error) => {
      fail('exchange', 400, error, 1);
      expect((await alice.fetch('/orders/x')).status).toBe(200);
      expect([world.provider.calls.exchange, world.provider.calls.refresh]).toEqual([2, 1]);
    },
  );

  test('refreshes no more for a while when that changes nothing', async () => {
    fail('exchange', 400, 'invalid_request');
    for (let call = 0; call < 4; call += 1) {
      expect(outcomeOf(await alice.fetch('/orders/x'))).toEqual(unavailable);
    }
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.api.requests).toEqual([]);
  });

  test('is renewed shortly before it expires, and used to its end while the provider fails', async () => {
    world.provider.settings.furtherTokenLifetime = 100;
    await alice.fetch('/orders/x');
    const first = world.api.last().token;
    world.provider.settings.furtherTokenLifetime = 300;
    vi.advanceTimersByTime(60_000);
    await alice.fetch('/orders/x');
    expect(world.api.last().token).toBe(first);
    vi.advanceTimersByTime(20_000);
    fail('exchange', 500, 'server_error');
    await alice.fetch('/orders/x');
    expect(world.api.last().token).toBe(first);
    expect(world.provider.calls.exchange).toBe(2);
    world.provider.heal();
    await alice.fetch('/orders/x');
    expect(world.api.last().token).not.toBe(first);
  });

  test('does not outlive the access token that it was obtained for', async () => {
    await alice.fetch('/orders/x');
    const first = world.api.last().token;
    await alice.fetch('/bff/refresh', { method: 'POST', headers: { 'x-csrf': '1' } });
    vi.advanceTimersByTime(6_000);
    await alice.fetch('/bff/refresh', { method: 'POST', headers: { 'x-csrf': '1' } });
    await alice.fetch('/orders/x');
    expect(world.api.last().token).not.toBe(first);
  });

  test('is dropped after a 401, and obtained anew once', async () => {
    await alice.fetch('/orders/x');
    const first = world.api.last().token;
    world.api.rejectTokens((token) => token === first);
    expect((await alice.fetch('/orders/x')).status).toBe(200);
    expect(world.provider.calls.exchange).toBe(2);
    expect(world.provider.calls.refresh).toBe(0);
    world.api.rejectTokens(() => true);
    expect((await alice.fetch('/orders/x')).status).toBe(401);
    expect(world.provider.calls.exchange).toBe(3);
    // The new one was rejected as well: now a 401 passes at once.
    expect((await alice.fetch('/orders/x')).status).toBe(401);
    expect(world.provider.calls.exchange).toBe(3);
  });

  test('is out of reach after the sign-out, also for a copied cookie', async () => {
    await alice.fetch('/orders/x');
    const copy = alice.clone();
    await alice.fetch('/bff/logout', { method: 'POST', headers: { 'x-csrf': '1' } });
    world.api.requests.length = 0;
    expect((await copy.fetch('/orders/x')).at('code')).toBe('session_expired');
    expect(world.api.requests).toEqual([]);
  });

  test('that arrives after the sign-out reaches no API', async () => {
    const gate = world.provider.hold('exchange', { after: 'commit' });
    const call = alice.clone().fetch('/orders/x');
    await gate.arrived;
    await alice.fetch('/bff/logout', { method: 'POST', headers: { 'x-csrf': '1' } });
    gate.release();
    expect((await call).at('code')).toBe('session_expired');
    expect(world.api.requests).toEqual([]);
  });

  test('goes with a WebSocket, too', async () => {
    const { socket } = await openSocket(world, alice, { path: '/orders/socket' });
    const [, token = ''] = (sockets.requests[0]?.headers.authorization ?? '').split(' ');
    expect(decodeJwt(token)).toMatchObject({ sub: 'alice', aud: ['orders'] });
    socket.terminate();
  });

  test('leaves no trace of any token in a log or an answer', async () => {
    fail('exchange', 400, 'invalid_target', 1);
    await alice.fetch('/orders/x');
    vi.advanceTimersByTime(2_000);
    await alice.fetch('/orders/x');
    expect(() => world.assertNoSecrets()).not.toThrow();
  });
});

describe('a phantom token', () => {
  test('is a JWT that the provider made of the opaque token', async () => {
    expect((await alice.fetch('/phantom/x')).status).toBe(200);
    expect(world.api.last().claims).toMatchObject({
      sub: 'alice',
      aud: 'https://api.test',
      iss: world.provider.issuer,
    });
    expect(await ownTokenOf(alice)).not.toContain('.');
  });

  test('is obtained once for many calls, and again after the seconds for which it counts', async () => {
    await inParallel(10, () => alice.fetch('/phantom/x'));
    expect(world.provider.calls.introspection).toBe(1);
    vi.advanceTimersByTime(61_000);
    await alice.fetch('/phantom/x');
    expect(world.provider.calls.introspection).toBe(2);
  });

  test.each<[string, Parameters<World['provider']['mutatePhantom']>[0]]>([
    ['with a foreign key’s signature', () => ({ sign: 'foreign' })],
    ['with a spoilt signature', () => ({ sign: 'broken' })],
    ['without a signature', () => ({ sign: 'none' })],
    ['that is signed with the public key as a secret', () => ({ sign: 'public-key-as-secret' })],
    ['of another issuer', (claims) => ({ claims: { ...claims, iss: 'https://other.test' } })],
    ['for another audience', (claims) => ({ claims: { ...claims, aud: 'https://other.test' } })],
    ['for nobody', (claims) => ({ claims: { iss: claims.iss ?? '', sub: 'alice' } })],
    ['that has expired', (claims) => ({ claims: { ...claims, exp: 1 } })],
    ['that is an ID token', (claims) => ({ claims: { ...claims, at_hash: 'x' } })],
    ['that is a logout token', (_claims, header) => ({ header: { ...header, typ: 'logout+jwt' } })],
    ['that demands what is not understood', (_claims, header) => ({ header: { ...header, crit: ['x'], x: 1 } })],
  ])('%s is not passed on, nor the opaque one in its place', async (_story, mutation) => {
    undos.push(world.provider.mutatePhantom(mutation));
    expect(outcomeOf(await alice.fetch('/phantom/x'))).toEqual(unavailable);
    expect(world.api.requests).toEqual([]);
  });

  test('comes as a member beside the JSON, too, as Keycloak gives it', async () => {
    world.provider.settings.introspectionForm = 'keycloak';
    undos.push(() => (world.provider.settings.introspectionForm = 'curity'));
    expect((await alice.fetch('/phantom/x')).status).toBe(200);
    expect(world.api.last().claims).toMatchObject({ sub: 'alice' });
  });

  test('of a provider that gives none is a 503', async () => {
    world.provider.settings.introspectionForm = 'json';
    undos.push(() => (world.provider.settings.introspectionForm = 'curity'));
    expect(outcomeOf(await alice.fetch('/phantom/x'))).toEqual(unavailable);
    expect(world.logs.join('')).toContain('brought no JWT');
  });

  test.each(['phantom', 'checked'])('of an inactive token: %s refreshes it and goes on', async (route) => {
    world.provider.revokeAccessTokens('alice');
    expect((await alice.fetch(`/${route}/x`)).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(1);
  });

  test.each(['phantom', 'checked'])('of a grant that has ended: %s ends the session', async (route) => {
    world.provider.revokeGrants('alice');
    expect(outcomeOf(await alice.fetch(`/${route}/x`))).toEqual([401, 'session_expired']);
    expect((await alice.fetch('/bff/session')).json()['authenticated']).toBe(false);
    expect(world.api.requests).toEqual([]);
  });

  test.each(['phantom', 'checked'])('of a token that stays inactive: %s refreshes once', async (route) => {
    undos.push(world.provider.mutate('introspection', () => ({ active: false })));
    world.provider.settings.introspectionForm = 'json';
    undos.push(() => (world.provider.settings.introspectionForm = 'curity'));
    for (let call = 0; call < 3; call += 1) {
      expect(outcomeOf(await alice.fetch(`/${route}/x`))).toEqual([401, 'session_expired']);
    }
    expect(world.provider.calls.refresh).toBe(1);
    expect(world.api.requests).toEqual([]);
    expect(world.logs.join('')).toContain('token.inactive');
  });

  test.each(['phantom', 'checked'])('of a provider that is away: %s is a 503, never a 401', async (route) => {
    undos.push(world.provider.reset('introspection'));
    expect(outcomeOf(await alice.fetch(`/${route}/x`))).toEqual(unavailable);
    expect(world.api.requests).toEqual([]);
    expect((await alice.fetch('/bff/session')).json()['authenticated']).toBe(true);
  });

  test.each(['phantom', 'checked'])('is renewed with the session’s token after a 401: %s', async (route) => {
    await alice.fetch(`/${route}/x`);
    const first = world.api.last().token;
    world.api.rejectTokens((token) => token === first);
    expect((await alice.fetch(`/${route}/x`)).status).toBe(200);
    expect([world.provider.calls.introspection, world.provider.calls.refresh]).toEqual([2, 1]);
  });

  test('is kept no longer than the provider says', async () => {
    undos.push(
      world.provider.mutatePhantom((claims) => ({ claims: { ...claims, exp: Math.floor(Date.now() / 1000) + 20 } })),
    );
    await alice.fetch('/phantom/x');
    vi.advanceTimersByTime(21_000);
    await alice.fetch('/phantom/x');
    expect(world.provider.calls.introspection).toBe(2);
  });
});

describe('an introspected token', () => {
  test('is the session’s own, once the provider says that it is active', async () => {
    await inParallel(5, () => alice.fetch('/checked/x'));
    expect(world.provider.calls.introspection).toBe(1);
    const sent = new Set(world.api.requests.map(({ token }) => token));
    expect(sent).toEqual(new Set([await ownTokenOf(alice)]));
  });

  test('of an answer that says nothing is a 503', async () => {
    undos.push(world.provider.mutate('introspection', () => ({})));
    expect(outcomeOf(await alice.fetch('/checked/x'))).toEqual(unavailable);
  });
});

describe('an answer about a token', () => {
  test('counts for as long as its own max-age says', async () => {
    const headers = { 'cache-control': 'private, max-age=10' };
    undos.push(world.provider.fail('introspection', { status: 200, body: { active: true }, headers }));
    for (const waitMs of [0, 8_000, 3_000]) {
      vi.advanceTimersByTime(waitMs);
      expect((await alice.fetch('/checked/x')).status).toBe(200);
    }
    expect(world.provider.calls.introspection).toBe(2);
  });
});

describe('Sallyport’s own token', () => {
  test('is the same for everybody, and names nobody', async () => {
    const bob = world.client();
    await signIn(bob, 'bob');
    await alice.fetch('/own/x');
    await bob.fetch('/own/x');
    const [first, second] = world.api.requests.slice(-2).map(({ token }) => token);
    expect(first).toBe(second);
    expect(first).not.toBe(await ownTokenOf(alice));
    expect(world.provider.calls.clientCredentials).toBeLessThanOrEqual(1);
  });

  test('needs a session, unless that is switched off', async () => {
    const nobody = world.client();
    expect((await nobody.fetch('/own/x')).at('code')).toBe('login_required');
    expect((await nobody.fetch('/everybody/x')).status).toBe(200);
    expect(world.api.last().token).toBeDefined();
    expect(world.api.last().headers).not.toHaveProperty('cookie');
  });

  test('is used to its end while the provider fails, and is a 503 after that', async () => {
    vi.advanceTimersByTime(400_000);
    await signIn(alice, 'alice');
    await alice.fetch('/own/x');
    const first = world.api.last().token;
    fail('clientCredentials', 500, 'server_error');
    vi.advanceTimersByTime(280_000);
    expect((await world.client().fetch('/everybody/x')).status).toBe(503);
    await alice.fetch('/own/x');
    expect(world.api.last().token).toBe(first);
    vi.advanceTimersByTime(40_000);
    expect(outcomeOf(await alice.fetch('/own/x'))).toEqual(unavailable);
  });

  test('is obtained anew after a 401, once for all', async () => {
    await alice.fetch('/own/x');
    const first = world.api.last().token;
    world.provider.resetCalls();
    world.api.rejectTokens((token) => token === first);
    const answers = await inParallel(5, () => alice.fetch('/own/x'));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(world.provider.calls.clientCredentials).toBe(1);
    world.api.rejectTokens(() => true);
    expect((await alice.fetch('/own/x')).status).toBe(401);
    expect((await alice.fetch('/own/x')).status).toBe(401);
    expect(world.provider.calls.clientCredentials).toBe(2);
  });
});
