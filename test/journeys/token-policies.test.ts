/** Which token a route's calls carry: none, one where there is a session, or what a function of the program chooses. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BffError } from '../../src/http/errors.ts';
import type { TokenFunction, TokenRequest, TokenSession } from '../../src/config/token-function.ts';
import { changeTimers, expireAccessToken, fakeDate } from '../support/clock.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { acceptWebSockets, beginSocket, openSocket, refusalOf, type SocketApi } from '../support/web-socket.ts';
import { signIn, startWorld, within, type World } from '../support/world.ts';

let world: World;
let sockets: SocketApi;
let alice: BrowserClient;

/** What the route `/chosen` does. */
let choose: TokenFunction;
const seen: { session: TokenSession; request: TokenRequest }[] = [];

beforeAll(async () => {
  world = await startWorld(
    {
      config: ({ api: routes = [], ...base }) => ({
        ...base,
        provider: { timeoutSeconds: 1 },
        api: [
          ...routes,
          { path: '/open', target: routes[0]?.target ?? '', token: 'none', websocketTokenProtocol: 'bearer.' },
          { path: '/either', target: routes[0]?.target ?? '', token: 'optional', websocketTokenProtocol: 'bearer.' },
          {
            path: '/chosen',
            target: routes[0]?.target ?? '',
            token: (session, request) => {
              seen.push({ session, request });
              return choose(session, request);
            },
          },
        ],
      }),
    },
    { scope: 'manual' },
  );
  sockets = acceptWebSockets(world.api);
});
afterAll(() => world.stop());

beforeEach(async () => {
  seen.length = 0;
  world.api.requests.length = 0;
  sockets.requests.length = 0;
  world.api.answer();
  world.api.rejectTokens(0);
  world.provider.heal();
  choose = () => 'chosen-token';
  alice = world.client();
  await signIn(alice, 'alice');
});

describe('without a token', () => {
  test('the API gets neither the session’s token nor a header of the client’s', async () => {
    const answer = await alice.fetch('/open/x', { headers: { authorization: 'Bearer forged', 'txn-token': 'forged' } });
    expect(answer.status).toBe(200);
    const { headers } = world.api.last();
    expect(headers).not.toHaveProperty('authorization');
    expect(headers).not.toHaveProperty('txn-token');
    expect(headers).not.toHaveProperty('cookie');
  });

  test('no session is needed, and none is looked at', async () => {
    const answer = await world.client().fetch('/open/x');
    expect(answer.status).toBe(200);
    const broken = world.client();
    broken.cookies.store(`${alice.cookieHeader()?.split('=')[0]}=broken`, new URL(world.origin), 'same-site');
    expect((await broken.fetch('/open/x')).status).toBe(200);
  });

  test('a token that is due is not refreshed', async () => {
    fakeDate();
    const before = world.provider.calls.refresh;
    expireAccessToken();
    expect((await alice.fetch('/open/x')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(before);
  });

  test('another origin is refused as everywhere', async () => {
    const answer = await alice.fetch('/open/x', { headers: { 'sec-fetch-site': 'cross-site' } });
    expect(answer.status).toBe(403);
    expect(world.api.requests).toEqual([]);
  });

  test('the API’s caching passes as it is, because the answer is the same for everybody', async () => {
    world.api.answer({ headers: { 'cache-control': 'max-age=60', vary: 'Accept' } });
    const answer = await alice.fetch('/open/x');
    expect(answer.headers['cache-control']).toBe('max-age=60');
  });

  test('a 401 of the API passes, whatever it asks for', async () => {
    const challenge = 'Bearer error="insufficient_user_authentication"';
    world.api.answer({ status: 401, headers: { 'www-authenticate': challenge }, body: 'no' });
    const answer = await alice.fetch('/open/x');
    expect([answer.status, answer.text]).toEqual([401, 'no']);
    expect(world.api.requests).toHaveLength(1);
  });

  test('a WebSocket carries no token in any place', async () => {
    const { socket } = await openSocket(world, world.client(), {
      path: '/open/socket',
      protocols: ['chat', 'bearer.forged'],
    });
    const { headers } = sockets.requests[0] ?? {};
    expect(headers).not.toHaveProperty('authorization');
    expect(headers?.['sec-websocket-protocol']).toBe('chat');
    socket.terminate();
  });
});

describe('an optional token', () => {
  test('is the session’s where there is one', async () => {
    expect((await alice.fetch('/either/x')).json()['sub']).toBe('alice');
  });

  test.each([
    ['no cookie', (client: BrowserClient) => client.cookies.clear()],
    [
      'an unreadable cookie',
      (client: BrowserClient) => {
        const [name] = (client.cookieHeader() ?? '').split('=');
        client.cookies.store(`${name}=nonsense; Path=/`, new URL(world.origin), 'same-site');
      },
    ],
  ])('is left out with %s', async (_story, change) => {
    change(alice);
    const answer = await alice.fetch('/either/x', { headers: { authorization: 'Bearer forged' } });
    expect(answer.status).toBe(200);
    expect(world.api.last().headers).not.toHaveProperty('authorization');
  });

  test('is left out after the session has ended, also for its old cookie', async () => {
    const copy = alice.clone();
    await alice.fetch('/bff/logout', { method: 'POST', headers: { 'x-csrf': '1' } });
    const answer = await copy.fetch('/either/x');
    expect(answer.status).toBe(200);
    expect(world.api.last().headers).not.toHaveProperty('authorization');
    // A route that needs the session says so.
    expect((await copy.fetch('/api/x')).at('code')).toBe('session_expired');
  });

  test('is left out when the refresh that was due ends the session', async () => {
    fakeDate();
    expireAccessToken();
    world.provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' }, times: 1 });
    const answer = await alice.fetch('/either/x');
    expect(answer.status).toBe(200);
    expect(world.api.last().headers).not.toHaveProperty('authorization');
  });

  test('is never left out because the provider is away for a moment: the answer would be another person’s', async () => {
    fakeDate();
    expireAccessToken();
    world.provider.fail('refresh', { status: 503, times: 2 });
    const answer = await alice.fetch('/either/x');
    expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
    expect(world.api.requests).toEqual([]);
  });

  test('makes every answer one for one person', async () => {
    world.api.answer({ headers: { 'cache-control': 'max-age=60', vary: 'Authorization' } });
    for (const client of [alice, world.client()]) {
      const answer = await client.fetch('/either/x');
      expect(answer.headers['cache-control']).toBe('private, max-age=60');
      expect(answer.headers.vary).toBe('Cookie');
    }
  });

  test('is renewed after a 401; a 401 to a call without one passes', async () => {
    world.api.rejectTokens(1);
    expect((await alice.fetch('/either/x')).status).toBe(200);
    world.api.rejectTokens(1);
    const anonymous = await world.client().fetch('/either/x');
    expect(anonymous.status).toBe(401);
    expect(anonymous.json()).toEqual({ error: 'invalid_token' });
  });

  test('goes into the sub-protocols of a WebSocket only where there is one', async () => {
    const signedIn = await openSocket(world, alice, { path: '/either/socket', protocols: ['chat'] });
    expect(sockets.requests[0]?.headers['sec-websocket-protocol']).toMatch(/^chat, bearer\.\w/);
    const anonymous = await openSocket(world, world.client(), { path: '/either/socket', protocols: ['chat'] });
    expect(sockets.requests[1]?.headers['sec-websocket-protocol']).toBe('chat');
    expect(sockets.requests[1]?.headers).not.toHaveProperty('authorization');
    signedIn.socket.terminate();
    anonymous.socket.terminate();
  });
});

describe('a function', () => {
  test('chooses by the person and the call, and sees no cookie', async () => {
    choose = ({ claims }, { method, url }) => `${String(claims['sub'])}-${method}-${url.length}`;
    await alice.fetch('/chosen/x?y=1', { headers: { 'x-tenant': 'acme', authorization: 'Bearer forged' } });
    expect(world.api.last().headers.authorization).toBe('Bearer alice-GET-13');
    const [{ session, request } = { session: undefined, request: undefined }] = seen;
    expect(session?.accessToken).toMatch(/^ey/);
    expect(session?.id).toHaveLength(43);
    expect(request).toMatchObject({ route: '/chosen', rejectedToken: undefined, headers: { 'x-tenant': 'acme' } });
    expect(Object.keys(request?.headers ?? {})).not.toContain('cookie');
    expect(Object.keys(request?.headers ?? {})).not.toContain('authorization');
  });

  test('has another id for each session', async () => {
    const bob = world.client();
    await signIn(bob, 'bob');
    await alice.fetch('/chosen/x');
    await bob.fetch('/chosen/x');
    await alice.fetch('/chosen/x');
    const [first, second, third] = seen.map(({ session }) => session.id);
    expect(second).not.toBe(first);
    expect(third).toBe(first);
  });

  test('needs a session', async () => {
    expect((await world.client().fetch('/chosen/x')).at('code')).toBe('login_required');
    expect(seen).toEqual([]);
  });

  test('may choose none', async () => {
    choose = () => undefined;
    await alice.fetch('/chosen/x', { headers: { authorization: 'Bearer forged' } });
    expect(world.api.last().headers).not.toHaveProperty('authorization');
  });

  test('is asked again after a 401, with the token that was refused', async () => {
    choose = (_session, { rejectedToken }) => (rejectedToken === undefined ? 'first' : 'second');
    world.api.rejectTokens((token) => token === 'first');
    expect((await alice.fetch('/chosen/x')).status).toBe(200);
    expect(world.api.requests.map(({ token }) => token)).toEqual(['first', 'second']);
    expect(seen.map(({ request }) => request.rejectedToken)).toEqual([undefined, 'first']);
  });

  test('gets a refreshed token where it had passed on the session’s own', async () => {
    choose = ({ accessToken }) => accessToken;
    const before = world.provider.calls.refresh;
    world.api.rejectTokens(1);
    expect((await alice.fetch('/chosen/x')).status).toBe(200);
    expect(world.provider.calls.refresh).toBe(before + 1);
    expect(seen[1]?.session.accessToken).not.toBe(seen[0]?.session.accessToken);
  });

  test('whose new token is refused as well is not asked twice for a while', async () => {
    world.api.rejectTokens(3);
    expect((await alice.fetch('/chosen/x')).status).toBe(401);
    expect(world.api.requests).toHaveLength(2);
    expect((await alice.fetch('/chosen/x')).status).toBe(401);
    expect(world.api.requests).toHaveLength(3);
  });

  test.each<[string, TokenFunction]>([
    [
      'throws',
      () => {
        throw new TypeError('planted words');
      },
    ],
    ['rejects', () => Promise.reject(new Error('planted words'))],
    ['answers a number', () => 5 as unknown as string],
    ['answers an empty text', () => ''],
    ['answers a second header', () => 'planted\r\nx-admin: 1'],
    ['answers what is no ASCII', () => 'plantéd'],
  ])('that %s is a fault of the program, whose words stay in the log', async (_story, faulty) => {
    choose = faulty;
    const answer = await alice.fetch('/chosen/x');
    expect([answer.status, answer.at('code')]).toEqual([500, 'internal_error']);
    expect(answer.text).not.toContain('planted');
    expect(world.api.requests).toEqual([]);
  });

  test('may answer the call with an error of its own', async () => {
    choose = () => {
      throw new BffError('method_not_allowed', 'Not for this tenant.');
    };
    const answer = await alice.fetch('/chosen/x');
    expect([answer.status, answer.at('detail')]).toEqual([405, 'Not for this tenant.']);
  });

  test('that hangs, and fails when nobody waits any more, is a 503', async () => {
    const late = Promise.withResolvers<string>();
    choose = () => late.promise;
    changeTimers(1000, 10);
    const answer = await alice.fetch('/chosen/x');
    expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
    expect(seen[0]?.request.signal.aborted).toBe(true);
    late.reject(new Error('too late'));
  });

  test('that is still busy does not keep a session that has ended', async () => {
    const asked = Promise.withResolvers<void>();
    choose = () => {
      asked.resolve();
      return new Promise(() => undefined);
    };
    const call = alice.clone().fetch('/chosen/x');
    await asked.promise;
    await alice.fetch('/bff/logout', { method: 'POST', headers: { 'x-csrf': '1' } });
    const answer = await within(2, call, 'the call went on');
    expect(answer.at('code')).toBe('session_expired');
  });

  test('chooses the token of a WebSocket, too', async () => {
    const { socket } = await openSocket(world, alice, { path: '/chosen/socket' });
    expect(sockets.requests[0]?.headers.authorization).toBe('Bearer chosen-token');
    socket.terminate();
    const refusal = await refusalOf(beginSocket(world, world.client(), { path: '/chosen/socket' }));
    expect(refusal.status).toBe(401);
  });
});
