/**
 * The attacker may not do something, and a policy (Open Policy Agent) says so. They write the path so that the policy reads
 * another one than the API, call as often as it takes to be answered from somebody else's decision, and wait for the moment
 * in which the policy server is down, slow or broken. And whoever runs or overhears that server wants a token.
 *
 * Must hold: nothing reaches the API without a decision about this very call, and no token is in what is asked.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { fakeDateForAll } from '../support/clock.ts';
import { startPolicyAgent, type PolicyAgent, type PolicyHandler } from '../support/policy-agent.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { acceptWebSockets, beginSocket, openSocket, refusalOf, type SocketApi } from '../support/web-socket.ts';
import { outcomeOf, signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let agent: PolicyAgent;
let sockets: SocketApi;
let realDate: () => void;
beforeAll(async () => {
  realDate = fakeDateForAll();
  // The clock for durations begins at 0, which is no time to lru-cache.
  vi.advanceTimersByTime(1000);
  agent = await startPolicyAgent();
  const opa = { url: agent.url, path: 'shop/allow', timeoutSeconds: 0.3 };
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        api: (base.api ?? []).flatMap(({ target }) => [
          { path: '/api', target: `${target}/v1`, require: { opa } },
          { path: '/slashes', target, allowEncodedSlashes: true, require: { opa } },
          { path: '/cached', target, require: { opa: { ...opa, cacheSeconds: 60 } } },
          { path: '/patient', target, require: { opa: { ...opa, timeoutSeconds: 30 } } },
          { path: '/open', target, token: 'none' as const, require: { opa } },
          { path: '/scoped', target, require: { opa, scopes: ['nobody-has-this'] } },
          { path: '/below', target, require: { opa: { ...opa, url: `${agent.url}/behind/a/proxy/` } } },
        ]),
      }),
    },
    { scope: 'manual' },
  );
  sockets = acceptWebSockets(world.api);
});
afterAll(async () => {
  await world.stop();
  await agent.close();
  realDate();
});
beforeEach(() => {
  agent.decide(true);
  agent.questions.length = 0;
  world.api.requests.length = 0;
  sockets.requests.length = 0;
});

async function signedIn(user: 'alice' | 'bob' = 'alice'): Promise<BrowserClient> {
  const browser = world.client();
  await signIn(browser, user);
  return browser;
}

function logged(message: string): Array<Record<string, unknown>> {
  const lines = world.logs.map((line) => JSON.parse(line) as Record<string, unknown>);
  return lines.filter(({ msg }) => msg === message);
}

describe('a policy is asked', () => {
  test('about the method, the path at the API, the route, the person and the address, and gets no token', async () => {
    const { settings } = world.provider;
    settings.accessTokenClaims = { realm_access: { roles: ['admin'] } };
    onTestFinished(() => void (settings.accessTokenClaims = {}));
    const browser = await signedIn();
    const answer = await browser.fetch('/api/orders/M%C3%BCller?secret=x', {
      method: 'PUT',
      body: { n: 1 },
      headers: { 'x-forwarded-for': '192.0.2.7' },
    });
    expect(answer.status).toBe(200);
    expect(world.api.last().url).toBe('/v1/orders/M%C3%BCller?secret=x');
    const [question] = agent.questions;
    expect([question?.method, question?.path]).toEqual(['POST', '/v1/data/shop/allow']);
    expect(question?.input).toEqual({
      method: 'PUT',
      path: ['v1', 'orders', 'Müller'],
      route: '/api',
      claims: expect.objectContaining({ sub: 'alice', realm_access: { roles: ['admin'] } }),
      client: { address: '127.0.0.1' },
    });
    expect(Object.keys(question?.headers ?? {}).toSorted()).toEqual([
      'accept',
      'connection',
      'content-length',
      'content-type',
      'host',
    ]);
    for (const [secret] of world.provider.secrets) expect(question?.text).not.toContain(secret);
    expect(question?.text).not.toContain('secret=x');
  });

  test('without the tokens that a provider puts into claims', async () => {
    const { settings } = world.provider;
    settings.accessTokenClaims = {
      upstream_token: 'opaque-and-secret',
      note: 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.',
    };
    onTestFinished(() => void (settings.accessTokenClaims = {}));
    await (await signedIn()).fetch('/api/1');
    expect(agent.questions).toHaveLength(1);
    expect(agent.questions[0]?.text).not.toMatch(/opaque-and-secret|eyJ/);
  });

  test('below the path of its address', async () => {
    expect((await (await signedIn()).fetch('/below/1')).status).toBe(200);
    expect(agent.questions.map(({ path }) => path)).toEqual(['/behind/a/proxy/v1/data/shop/allow']);
  });

  test('about nobody on a route without a session', async () => {
    expect((await world.client().fetch('/open/1')).status).toBe(200);
    expect(agent.questions.map(({ input }) => input['claims'])).toEqual([null]);
    agent.decide(false);
    expect((await world.client().fetch('/open/1')).at('code')).toBe('access_denied');
  });

  test('only where nothing else refuses the call', async () => {
    const answer = await (await signedIn()).fetch('/scoped/1');
    expect([answer.status, agent.questions]).toEqual([403, []]);
  });

  test('before a WebSocket is opened', async () => {
    const browser = await signedIn();
    const { socket } = await openSocket(world, browser);
    socket.terminate();
    agent.decide(false);
    const refusal = await refusalOf(beginSocket(world, browser));
    expect([refusal.status, sockets.requests.length]).toEqual([403, 1]);
  });
});

describe('a refusal', () => {
  test.each<[string, unknown, unknown]>([
    ['false', false, { policy: true }],
    ['an object', { allow: false }, { policy: true }],
    ['nothing, as of a rule without a default', undefined, { policy: true }],
    [
      'an object that says why',
      { allow: false, reason: 'only\non weekdays', missing: ['shift', 5, 'badge'] },
      { policy: ['shift', 'badge'] },
    ],
  ])('by %s reaches the app, the log, and no API', async (_story, result, missing) => {
    agent.decide(result);
    const known = logged('access.denied').length;
    const answer = await (await signedIn()).fetch('/api/orders', { method: 'POST', body: { n: 1 } });
    expect([answer.status, answer.at('code'), world.api.requests]).toEqual([403, 'access_denied', []]);
    expect(answer.json()['missing']).toEqual(missing);
    const reason = result instanceof Object && 'reason' in result ? { reason: 'only on weekdays' } : {};
    expect(answer.json()).toMatchObject(reason);
    expect(logged('access.denied').slice(known)).toEqual([
      expect.objectContaining({ route: '/api', method: 'POST', subject: 'alice', missing: ['policy'], ...reason }),
    ]);
  });

  test('by an object that allows passes', async () => {
    agent.decide({ allow: true, reason: 'admin' });
    expect((await (await signedIn()).fetch('/api/1')).status).toBe(200);
  });
});

describe('no decision is none in favour of the call:', () => {
  const troubles: Array<[string, PolicyHandler]> = [
    ['a text for true', json('{"result":"true"}')],
    ['a number', json('{"result":1}')],
    ['null', json('{"result":null}')],
    ['a list', json('{"result":[true]}')],
    ['an object that allows by a text', json('{"result":{"allow":"true"}}')],
    ['an object that allows by its prototype', json('{"result":{"__proto__":{"allow":true}}}')],
    ['a result in a prototype', json('{"__proto__":{"result":true}}{}')],
    ['true without a result', json('true')],
    ['a list of results', json('[{"result":true}]')],
    ['no JSON', json('<!doctype html>OK')],
    ['half of it', json('{"result":tru')],
    ['an empty answer', json('')],
    ['more than a decision can be', json(`{"result":true,"x":"${'x'.repeat(70_000)}"}`)],
    ['a failure', (_question, response) => response.writeHead(500).end('{"result":true}')],
    ['a refusal of the question', (_question, response) => response.writeHead(400).end('{"result":true}')],
    ['an answer without content', (_question, response) => response.writeHead(204).end()],
    [
      'a way to somewhere else',
      (_question, response) => response.writeHead(307, { location: `${agent.url}/elsewhere` }).end(),
    ],
    ['nothing in time', () => undefined],
    ['a body that does not end', (_question, response) => response.writeHead(200).write('{"result":')],
    [
      'a body that breaks off',
      (_question, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{"result":true}');
        setImmediate(() => response.destroy());
      },
    ],
    ['a connection that ends', (_question, response) => response.destroy()],
  ];
  let browser: BrowserClient;
  beforeAll(async () => {
    browser = await signedIn();
  });

  test.each(troubles)('%s', async (_story, handler) => {
    agent.handle(handler);
    const known = logged('policy.failed').length;
    const answer = await browser.fetch('/api/1', { method: 'POST', body: { n: 1 } });
    expect([answer.status, answer.at('code'), world.api.requests]).toEqual([502, 'upstream_unavailable', []]);
    expect(agent.questions.filter(({ path }) => path !== '/v1/data/shop/allow')).toEqual([]);
    expect(logged('policy.failed').slice(known)).toEqual([expect.objectContaining({ route: '/api', level: 40 })]);
    agent.decide(true);
    expect((await browser.fetch('/api/1')).status).toBe(200);
  });

  test('a server that is down, and its return needs no restart', async () => {
    expect((await browser.fetch('/api/1')).status).toBe(200);
    await agent.down();
    expect((await browser.fetch('/api/1')).at('code')).toBe('upstream_unavailable');
    await agent.up();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect(world.api.requests).toHaveLength(2);
  });

  test('a flood of calls while it hangs, of which none waits for ever', async () => {
    agent.handle(() => undefined);
    const all = await Promise.all(Array.from({ length: 60 }, (_, at) => outcomeOf(browser.fetch(`/api/${at}`))));
    expect(new Set(all)).toEqual(new Set([502]));
    agent.decide(true);
    expect((await browser.fetch('/api/1')).status).toBe(200);
  });
});

describe('while a policy is asked', () => {
  test('the session may end: the call hears of it at once, and is not sent after that', async () => {
    const { call, browser, allow } = await askedCall();
    await browser.clone().fetch('/bff/logout', { method: 'POST' });
    expect((await call).at('code')).toBe('session_expired');
    allow();
    agent.decide(true);
    await (await signedIn()).fetch('/api/after');
    expect(world.api.requests.map(({ url }) => url)).toEqual(['/v1/after']);
  });
});

describe('the path that is decided about is the one that is served:', () => {
  test.each([
    '/api//admin',
    '/api/admin;x',
    '/api/admin%3Bx',
    '/api/%2561dmin',
    '/api/%252e%252e/admin',
    '/api/ad%00min',
    '/api/%FFadmin',
    '/api/%E2%80%8Badmin',
    '/api/a%2Fb',
    '/slashes/a%2F%2Fb%00',
  ])('%s is refused, and nobody is asked', async (path) => {
    const browser = await signedIn();
    const head = `GET ${path} HTTP/1.1\r\nHost: ${new URL(world.origin).host}\r\nSec-Fetch-Site: same-origin`;
    const cookie = browser.cookieHeader() ?? '';
    const answer = await rawRequest(world.server.port, `${head}\r\nConnection: close\r\nCookie: ${cookie}\r\n\r\n`);
    expect(rawStatuses(answer)).toEqual([400]);
    expect([agent.questions, world.api.requests]).toEqual([[], []]);
  });

  test('an unreserved character that is encoded is the same to both', async () => {
    await (await signedIn()).fetch('/api/%61dmin');
    expect(world.api.last().url).toBe('/v1/%61dmin');
    expect(agent.questions.map(({ input }) => input['path'])).toEqual([['v1', 'admin']]);
  });
});

describe('a decision that is kept', () => {
  test('is one about the same person, method and path, for as long as it is said', async () => {
    const [alice, bob] = [await signedIn(), await signedIn('bob')];
    const asked = () => agent.questions.length;
    expect((await alice.fetch('/cached/1')).status).toBe(200);
    expect((await alice.fetch('/cached/1?page=2')).status).toBe(200);
    expect(asked()).toBe(1);
    agent.decide(false);
    expect((await alice.fetch('/cached/1')).status).toBe(200);
    expect((await bob.fetch('/cached/1')).status).toBe(403);
    expect((await alice.fetch('/cached/2')).status).toBe(403);
    expect((await alice.fetch('/cached/1', { method: 'DELETE' })).status).toBe(403);
    expect((await (await signedIn()).fetch('/cached/1')).status).toBe(403);
    expect(asked()).toBe(5);
    expect((await bob.fetch('/cached/1')).status).toBe(403);
    expect(asked()).toBe(5);
    vi.advanceTimersByTime(61_000);
    expect((await alice.fetch('/cached/1')).status).toBe(403);
    expect(asked()).toBe(6);
  });

  test('is none that failed', async () => {
    const browser = await signedIn();
    agent.handle((_question, response) => response.writeHead(500).end());
    expect((await browser.fetch('/cached/3')).status).toBe(502);
    agent.decide(true);
    expect((await browser.fetch('/cached/3')).status).toBe(200);
  });

  test('is none where nothing is said of keeping', async () => {
    const browser = await signedIn();
    expect((await browser.fetch('/api/1')).status).toBe(200);
    agent.decide(false);
    expect((await browser.fetch('/api/1')).status).toBe(403);
  });
});

function json(body: string): PolicyHandler {
  return (_question, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(body);
  };
}

/** Begins a call of which the policy is asked, and decides when told to. */
async function askedCall(): Promise<{ call: Promise<Exchange>; browser: BrowserClient; allow: () => void }> {
  const asked = Promise.withResolvers<() => void>();
  agent.handle((_question, response) => asked.resolve(() => response.end('{"result":true}')));
  const browser = await signedIn();
  const call = browser.fetch('/patient/1');
  return { call, browser, allow: await asked.promise };
}
