/**
 * What a route requires of a person and of their sign-in: what is refused never reaches the API, and says what is missing.
 * One world for all: what a test changes at the provider, it undoes.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { expireAccessToken, fakeDateForAll } from '../support/clock.ts';
import { acceptWebSockets, beginSocket, openSocket, refusalOf, type SocketApi } from '../support/web-socket.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const requirements = {
  '/scoped': { scopes: ['orders:read', 'orders:write'] },
  '/roles': { claims: { 'realm_access.roles': ['admin', 'owner'] } },
  '/person': { claims: { department: 'sales' }, from: 'idToken' },
  '/strict': { claims: { department: 'sales' }, from: 'token' },
  '/granted': { scopes: ['email'], from: 'idToken' },
  '/strong': { acr: ['urn:test:gold'] },
  '/fresh': { maxAgeSeconds: 600 },
  '/both': { claims: { 'realm_access.roles': 'admin' }, acr: ['urn:test:gold', 'urn:test:silver'], maxAgeSeconds: 600 },
} as const;

let world: World;
let sockets: SocketApi;
let realDate: () => void;
beforeAll(async () => {
  realDate = fakeDateForAll();
  world = await startWorld(
    {
      provider: { settings: { extraClaims: { department: 'sales' }, lifetimes: sessionLifetimes } },
      config: (base) => ({
        ...base,
        api: [
          { path: '/api', target: targetOf(base.api) },
          {
            path: '/checked',
            target: targetOf(base.api),
            token: { introspect: { cacheSeconds: 0 } },
            require: { scopes: ['orders:read'], claims: { tenant: 'acme' } },
          },
          ...Object.entries(requirements).map(([path, require]) => ({
            path,
            target: targetOf(base.api),
            require: structuredClone(require) as object,
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
  realDate();
});
beforeEach(() => {
  world.api.answer();
  world.api.requests.length = 0;
  sockets.requests.length = 0;
});

const sessionLifetimes = { accessToken: 300, idToken: 300, refreshToken: 86_400, code: 60, session: 86_400 };

function targetOf(routes: readonly { readonly target: string }[] = []): string {
  return routes[0]?.target ?? '';
}

/** Claims of access tokens from now on. */
function grant(claims: Record<string, unknown>): void {
  const { settings } = world.provider;
  const before = settings.accessTokenClaims;
  settings.accessTokenClaims = claims;
  onTestFinished(() => void (settings.accessTokenClaims = before));
}

async function signedIn(query = ''): Promise<BrowserClient> {
  const browser = world.client();
  await (query === '' ? signIn(browser) : browser.navigate(`/bff/login${query}`));
  return browser;
}

/** Whether a call came through; a refused one must have reached nobody. */
async function outcome(browser: BrowserClient, path: string): Promise<unknown> {
  const before = world.api.requests.length;
  const answer = await browser.fetch(path);
  const reached = world.api.requests.length - before;
  expect(reached).toBe(answer.status === 200 ? 1 : 0);
  return answer.status === 200 ? 200 : answer.at('code');
}

function denials(): Array<Record<string, unknown>> {
  const lines = world.logs.map((line) => JSON.parse(line) as Record<string, unknown>);
  return lines.filter(({ msg }) => msg === 'access.denied');
}

async function refused(browser: BrowserClient, path: string): Promise<Exchange> {
  const answer = await browser.fetch(path);
  expect(world.api.requests).toEqual([]);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  return answer;
}

function refreshed(browser: BrowserClient): Promise<Exchange> {
  return browser.fetch('/bff/refresh', { method: 'POST' });
}

const admin = { realm_access: { roles: ['user', 'admin'] } };

test('a call passes with the scopes and the claims that its route requires, those of the access token', async () => {
  grant({ ...admin, scope: 'openid orders:write orders:read' });
  const browser = await signedIn();
  expect(await outcome(browser, '/scoped/1')).toBe(200);
  expect(await outcome(browser, '/roles/1')).toBe(200);
  expect(world.api.last().claims?.['sub']).toBe('alice');
  expect((await browser.fetch('/roles/1', { method: 'POST', body: { n: 1 } })).status).toBe(200);
});

test('a refusal says what is missing, to the app and in the log, and nothing reaches the API', async () => {
  grant({ scope: 'openid orders:read orders:writer', realm_access: { roles: ['a-role-of-theirs'] } });
  const browser = await signedIn();
  const known = denials().length;
  const scoped = await refused(browser, '/scoped/1?secret=x');
  expect(scoped.status).toBe(403);
  expect(scoped.json()).toMatchObject({ code: 'access_denied', missing: { scopes: { all: ['orders:write'] } } });
  const roles = await refused(browser, '/roles/1');
  expect(roles.json()['missing']).toEqual({ claims: { 'realm_access.roles': { any: ['admin', 'owner'] } } });
  expect(denials().slice(known)).toEqual([
    expect.objectContaining({ route: '/scoped', method: 'GET', subject: 'alice', missing: ['scope orders:write'] }),
    expect.objectContaining({ route: '/roles', missing: ['claim realm_access.roles: admin or owner'] }),
  ]);
  expect(JSON.stringify([denials(), roles.text])).not.toMatch(/a-role-of-theirs|orders:writer|secret/);
  // It is no reason to sign in again, nor to doubt the token.
  expect([roles.headers['www-authenticate'], roles.at('loginUrl')]).toEqual([undefined, undefined]);
  world.assertNoSecrets();
});

test('a body is not waited for longer than a refusal takes, and its connection serves the next call', async () => {
  const browser = await signedIn();
  const answer = await browser.fetch('/roles/1', { method: 'POST', body: { text: 'x'.repeat(200_000) } });
  expect(answer.at('code')).toBe('access_denied');
  expect(world.api.requests).toEqual([]);
  expect(await outcome(browser, '/api/1')).toBe(200);
});

test('claims come from where the route says', async () => {
  const browser = await signedIn();
  expect(await outcome(browser, '/person/1')).toBe(200);
  expect(await outcome(browser, '/strict/1')).toBe('access_denied');
  expect(await outcome(browser, '/granted/1')).toBe(200);
  grant({ department: 'sales' });
  expect(await outcome(await signedIn(), '/strict/1')).toBe(200);
});

test('with an opaque access token they are those of the ID token, unless the route wants those of the token', async () => {
  const { settings } = world.provider;
  settings.accessTokens = 'opaque';
  onTestFinished(() => void (settings.accessTokens = 'jwt'));
  onTestFinished(world.provider.mutateIdToken((claims) => ({ claims: { ...claims, ...admin } })));
  const browser = await signedIn();
  expect(await outcome(browser, '/roles/1')).toBe(200);
  expect(await outcome(browser, '/person/1')).toBe(200);
  expect(await outcome(browser, '/strict/1')).toBe('access_denied');
});

test('on a route that introspects they are what the provider says of the token, each time', async () => {
  const { settings } = world.provider;
  settings.accessTokens = 'opaque';
  onTestFinished(() => void (settings.accessTokens = 'jwt'));
  let said: Record<string, unknown> = { scope: 'orders:reader', tenant: 'acme' };
  onTestFinished(world.provider.mutate('introspection', (json) => ({ ...json, ...said })));
  const browser = await signedIn();
  expect(await outcome(browser, '/checked/1')).toBe('access_denied');
  said = { scope: 'openid orders:read', tenant: 'acme' };
  expect(await outcome(browser, '/checked/1')).toBe(200);
  said = { tenant: 'acme', scope: undefined };
  expect(await outcome(browser, '/checked/1')).toBe('access_denied');
  said = { scope: 'orders:read', tenant: 'another' };
  expect(await outcome(browser, '/checked/1')).toBe('access_denied');
});

describe('what changes at the provider counts with the next tokens:', () => {
  test('POST /bff/refresh brings the new roles, to the app and to the route', async () => {
    const browser = await signedIn();
    expect(await outcome(browser, '/roles/1')).toBe('access_denied');
    grant(admin);
    onTestFinished(world.provider.mutateIdToken((claims) => ({ claims: { ...claims, roles: ['admin'] } })));
    expect(await outcome(browser, '/roles/1')).toBe('access_denied');
    const view = await refreshed(browser);
    expect(view.json()['user']).toMatchObject({ roles: ['admin'] });
    expect(await outcome(browser, '/roles/1')).toBe(200);
  });

  test('UserInfo is asked at each refresh, and heeded for the same person only', async () => {
    const own = await startWorld({
      config: { login: { userInfo: true } },
      provider: { settings: { accessTokens: 'opaque' } },
    });
    const browser = own.client();
    let roles = { roles: ['user'], sub: 'alice' };
    own.provider.mutate('userinfo', (json) => ({ ...json, ...roles }));
    await signIn(browser);
    roles = { roles: ['admin'], sub: 'alice' };
    expect((await refreshed(browser)).json()['user']).toMatchObject({ roles: ['admin'] });
    roles = { roles: ['owner'], sub: 'bob' };
    vi.advanceTimersByTime(10_000);
    expect((await refreshed(browser)).json()['user']).toMatchObject({ roles: ['admin'] });
  });

  test('a refresh that the call itself brings about may take them away', async () => {
    grant(admin);
    const browser = await signedIn();
    expect(await outcome(browser, '/roles/1')).toBe(200);
    grant({});
    expireAccessToken();
    expect(await outcome(browser, '/roles/1')).toBe('access_denied');
  });

  test('also one after a 401 of the API: the call is not sent again', async () => {
    grant(admin);
    const browser = await signedIn();
    grant({});
    world.api.rejectTokens(1);
    const answer = await browser.fetch('/roles/1');
    world.api.rejectTokens(() => false);
    expect([answer.status, answer.at('code')]).toEqual([403, 'access_denied']);
    expect(world.api.requests).toHaveLength(1);
    // The session has new tokens, which its browser must have.
    expect(answer.setCookies.join()).toContain('session-');
  });
});

test('people are not taken for one another, however their calls interleave', async () => {
  grant(admin);
  const alice = await signedIn();
  grant({});
  const bob = world.client();
  await signIn(bob, 'bob');
  const both = await Promise.all(
    Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? alice : bob).fetch(`/roles/${at}`)),
  );
  expect(both.map(({ status }, at) => status === (at % 2 === 0 ? 200 : 403))).toEqual(both.map(() => true));
  expect(world.api.requests.map(({ claims }) => claims?.['sub'])).toEqual(Array.from({ length: 25 }, () => 'alice'));
});

test('without a session a call is asked to sign in, as on every route', async () => {
  expect(await outcome(world.client(), '/roles/1')).toBe('login_required');
});

test('a WebSocket is opened where a call would pass, and nowhere else', async () => {
  const browser = await signedIn();
  const denied = await refusalOf(beginSocket(world, browser, { path: '/roles/socket' }));
  expect([denied.status, JSON.parse(denied.body)]).toEqual([403, expect.objectContaining({ code: 'access_denied' })]);
  const weak = await refusalOf(beginSocket(world, browser, { path: '/strong/socket' }));
  expect([weak.status, JSON.parse(weak.body)]).toEqual([401, expect.objectContaining({ code: 'step_up_required' })]);
  expect(sockets.requests).toEqual([]);
  const { socket } = await openSocket(world, browser, { path: '/person/socket' });
  expect(sockets.requests).toHaveLength(1);
  socket.terminate();
});

describe('a route that requires a sign-in', () => {
  test('of some kind names it, and takes the one that the login of its address brings', async () => {
    const browser = await signedIn();
    const answer = await refused(browser, '/strong/1');
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Sallyport');
    expect(answer.json()).toMatchObject({ code: 'step_up_required', acrValues: ['urn:test:gold'] });
    expect(answer.json()).not.toHaveProperty('maxAge');
    const page = await browser.navigate(String(answer.at('loginUrl')), { initiator: world.origin });
    expect(page.status).toBe(200);
    expect(await outcome(browser, '/strong/1')).toBe(200);
    // Refreshed ID tokens may lack it.
    onTestFinished(world.provider.mutateIdToken((claims) => ({ claims: { ...claims, acr: undefined } }), 'refresh'));
    expireAccessToken();
    expect(await outcome(browser, '/strong/1')).toBe(200);
  });

  test('of some kind heeds a refreshed ID token that names another', async () => {
    const browser = await signedIn('?acr_values=urn:test:gold');
    onTestFinished(
      world.provider.mutateIdToken((claims) => ({ claims: { ...claims, acr: 'urn:test:silver' } }), 'refresh'),
    );
    expect(await outcome(browser, '/strong/1')).toBe(200);
    expireAccessToken();
    expect(await outcome(browser, '/strong/1')).toBe('step_up_required');
  });

  test('of the last minutes takes none that is older, whatever is refreshed, and then the one that it asks for', async () => {
    const browser = await signedIn('?max_age=1000');
    expect(await outcome(browser, '/fresh/1')).toBe(200);
    vi.advanceTimersByTime(600_000);
    expect(await outcome(browser, '/fresh/1')).toBe(200);
    vi.advanceTimersByTime(1000);
    world.api.requests.length = 0;
    const answer = await refused(browser, '/fresh/1');
    expect(answer.json()).toMatchObject({ code: 'step_up_required', maxAge: 600, loginUrl: '/bff/login?max_age=600' });
    const page = await browser.navigate(String(answer.at('loginUrl')), { initiator: world.origin });
    expect(page.status).toBe(200);
    expect(await outcome(browser, '/fresh/1')).toBe(200);
  });

  test('asks for all of it at once, and for nothing where the person lacks a role anyway', async () => {
    const without = await signedIn();
    expect(await outcome(without, '/both/1')).toBe('access_denied');
    grant(admin);
    const browser = await signedIn();
    const answer = await refused(browser, '/both/1');
    expect(answer.json()).toMatchObject({ acrValues: ['urn:test:gold', 'urn:test:silver'], maxAge: 600 });
    const page = await browser.navigate(String(answer.at('loginUrl')), { initiator: world.origin });
    expect(page.status).toBe(200);
    expect(await outcome(browser, '/both/1')).toBe(200);
  });

  test.each<[string, (now: number) => Record<string, unknown>]>([
    ['has no time', () => ({ auth_time: undefined })],
    ['has a time to come', (now) => ({ auth_time: now + 121 })],
    ['has a time beyond all numbers', () => ({ auth_time: 1e300 })],
    ['is of long ago', (now) => ({ auth_time: now - 601 })],
  ])('takes none that %s', async (_story, claims) => {
    onTestFinished(
      world.provider.mutateIdToken((before) => ({ claims: { ...before, ...claims(Math.floor(Date.now() / 1000)) } })),
    );
    expect(await outcome(await signedIn(), '/fresh/1')).toBe('step_up_required');
  });

  test("measures its age by the provider's clock, so that one that is behind makes nobody sign in again and again", async () => {
    const behind = 110;
    onTestFinished(
      world.provider.mutateIdToken((claims) => {
        const now = Math.floor(Date.now() / 1000) - behind;
        return { claims: { ...claims, iat: now, auth_time: now - 599 } };
      }),
    );
    const browser = await signedIn();
    expect(await outcome(browser, '/fresh/1')).toBe(200);
    vi.advanceTimersByTime(2000);
    expect(await outcome(browser, '/fresh/1')).toBe('step_up_required');
  });
});
