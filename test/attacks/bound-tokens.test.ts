/**
 * The thief's story: "I have an access token, from the log of an API. It is bound to a key that I don't have, so I need a
 * proof. I copy one and send it again; I take one that was made for another path, method, token or server; I bring one of
 * my own along with my session's call; I run an API myself, demand nonces without end, of any length, and see whose
 * proofs they turn up in."
 *
 * Must hold: each request carries one proof, made for it alone, with the key of its session and of nobody else. The API
 * here refuses everything that is not so (RFC 9449 4.3), and every test shows that it refused nothing.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';

import { createMemoryStore } from '../../src/store/memory.ts';
import { startApi, type ApiHandler } from '../support/api.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { closeNow, trackSockets } from '../support/listener.ts';
import { boundTo, proofIn } from '../support/proofs.ts';
import { startRawServer } from '../support/raw.ts';
import { createResourceServer, type ResourceServer } from '../support/resource-server.ts';
import { acceptWebSockets, openSocket } from '../support/web-socket.ts';
import { inParallel, signIn, startWorld, statusesOf, type World, type WorldOptions } from '../support/world.ts';

type RouteInput = Partial<NonNullable<ConfigInput['api']>[number]>;

interface BoundWorld extends World {
  readonly resources: ResourceServer;
  readonly browser: BrowserClient;
}

/** Somebody signed in with bound tokens, and an API that checks them. @param route added to the one of the API */
async function startBound(route: RouteInput = {}, options: WorldOptions = {}): Promise<BoundWorld> {
  const world = await startWorld({ ...options, config: (base) => withDpop(base, route) });
  const resources = createResourceServer({ issuer: world.provider.issuer });
  world.api.answer(resources.answer);
  const browser = world.client();
  await signIn(browser);
  return Object.assign(world, { resources, browser });
}

function withDpop(base: ConfigInput, route: RouteInput = {}): ConfigInput {
  const api = (base.api ?? []).map((each) => Object.assign({}, each, route));
  return { ...base, client: { ...base.client, dpop: 'ES256' }, api };
}

/** Another person's browser. */
async function signedIn(world: World): Promise<BrowserClient> {
  const browser = world.client();
  await signIn(browser, 'bob');
  return browser;
}

/** What came at the API under a name, however it is spelled. */
function linesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}

const oddRequests = [
  ['GET', '/api/orders'],
  ['GET', '/api/orders?status=open&next=/a?b'],
  ['GET', '/api'],
  ['GET', '/api?x'],
  ['GET', '/api//double'],
  ['GET', '/api/caf%C3%A9/%7Ealice/%e2%82%ac'],
  ['GET', "/api/a;v=1/(b)/c'd,e!f*g$h&i=j:k@l+m"],
  ['GET', '/api/one%2Ftwo%5Cthree'],
  ['HEAD', '/api/orders'],
  ['QUERY', '/api/orders'],
] as const;

describe('a proof is for one request alone', () => {
  test('whatever its method, path and query are', async () => {
    const { browser, resources, api } = await startBound({ allowEncodedSlashes: true });
    for (const [method, path] of oddRequests) {
      const { status } = await browser.fetch(path, { method });
      expect([method, path, status, resources.faults]).toEqual([method, path, 200, []]);
      expect(linesOf(api.last().rawHeaders, 'dpop')).toHaveLength(1);
    }
  });

  test('also for the host of the app, and where the API is below a path', async () => {
    const world = await startWorld({
      config: (base) => withDpop(base, { target: `${base.api?.[0]?.target}/v1/`, preserveHost: true }),
    });
    const resources = createResourceServer({ issuer: world.provider.issuer });
    world.api.answer(resources.answer);
    const browser = world.client();
    await signIn(browser);
    expect((await browser.fetch('/api/orders?x')).status).toBe(200);
    expect(proofIn(world.api.last().headers).htu).toBe(`${world.origin}/v1/orders`);
  });

  test('also on a Unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-socket-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const seen: unknown[] = [];
    const server = createServer(({ headers }, response) => response.end(String(seen.push(proofIn(headers).htu))));
    const socketPath = join(folder, 'api.sock');
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    const sockets = trackSockets(server);
    onTestFinished(() => closeNow(server, sockets));
    const { browser } = await startBound({ target: 'http://orders/v1', socketPath });
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(seen).toEqual(['http://orders/v1/x']);
  });

  test('and for the second attempt as well, with the key that stays and the token that is new', async () => {
    const { browser, resources, api, provider } = await startBound();
    api.rejectTokens(1);
    expect((await browser.fetch('/api/orders', { method: 'POST', body: { n: 1 } })).status).toBe(200);
    const [first, second] = api.requests.map(({ headers }) => proofIn(headers));
    expect(second?.jwk).toEqual(first?.jwk);
    expect([second?.jti === first?.jti, second?.ath === first?.ath]).toEqual([false, false]);
    expect([resources.faults, provider.calls.refresh]).toEqual([[], 1]);
  });

  test('and where the API hangs up on a connection that is used again', async () => {
    const heads: string[] = [];
    const api = await startRawServer((socket, first) => {
      heads.push(String(first));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      socket.once('data', (next) => {
        heads.push(String(next));
        socket.destroy();
      });
    });
    onTestFinished(() => api.close());
    const { browser } = await startBound({ target: `http://127.0.0.1:${api.port}` });
    await browser.fetch('/api/first');
    expect((await browser.fetch('/api/second')).status).toBe(200);
    const proofs = heads.map((head) => proofIn({ dpop: /^dpop: (\S+)/im.exec(head)?.[1] }));
    expect(proofs.map(({ htu }) => String(htu).replace(/.*\//, ''))).toEqual(['first', 'second', 'second']);
    expect(new Set(proofs.map(({ jti }) => jti)).size).toBe(3);
  });

  test('and for an upgrade to a WebSocket, after which the nonce is known', async () => {
    const world = await startBound();
    const { resources, api, browser } = world;
    const sockets = acceptWebSockets(api, { headerLines: ['DPoP-Nonce: after-the-upgrade'] });
    sockets.handle((request, socket) => {
      const { nonce } = proofIn(request.headers);
      if (nonce === 'of-the-upgrade') return undefined;
      socket.end(
        'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\n' +
          'DPoP-Nonce: of-the-upgrade\r\nContent-Length: 0\r\n\r\n',
      );
      return 'taken';
    });
    const { socket, answer } = await openSocket(world, browser);
    socket.terminate();
    expect(answer.headers).not.toHaveProperty('dpop-nonce');
    const [, accepted] = sockets.requests;
    expect(sockets.requests).toHaveLength(2);
    resources.nonce = 'of-the-upgrade';
    const { method = '', url = '', headers } = accepted ?? {};
    expect(await resources.faultOf({ method, url, headers: headers ?? {} })).toBeUndefined();
    resources.nonce = 'after-the-upgrade';
    await browser.fetch('/api/orders');
    expect([api.requests.length, resources.faults]).toEqual([1, []]);
  });
});

describe("the app's own headers", () => {
  test.each(['off', 'ES256'] as const)('bring no proof to the API, with DPoP %s', async (dpop) => {
    const world = await startBound();
    await world.restart((base) => ({ ...base, client: { ...base.client, dpop } }));
    world.api.answer();
    const browser = world.client();
    await signIn(browser);
    for (const name of ['DPoP', 'dpop', 'DPOP']) {
      await browser.fetch('/api/x', { headers: { [name]: 'of.the.browser' } });
      const lines = linesOf(world.api.last().rawHeaders, 'dpop');
      expect(lines).toHaveLength(dpop === 'off' ? 0 : 1);
      expect(lines).not.toContain('of.the.browser');
    }
  });

  test("are not answered with the API's nonce, whatever its status", async () => {
    const { browser, api } = await startBound();
    for (const status of [200, 401, 500]) {
      api.answer({ status, headers: { 'DPoP-Nonce': 'n-1', 'www-authenticate': 'DPoP error="invalid_dpop_proof"' } });
      const answer = await browser.fetch('/api/x');
      expect(answer.status).toBe(status);
      expect(answer.headers).not.toHaveProperty('dpop-nonce');
    }
  });
});

describe("an API's nonce", () => {
  test('costs one more attempt, and then none until it changes', async () => {
    const { browser, resources, api } = await startBound();
    resources.nonce = 'first';
    expect((await browser.fetch('/api/1')).status).toBe(200);
    expect((await browser.fetch('/api/2', { method: 'POST', body: { n: 1 } })).status).toBe(200);
    expect([api.requests.length, resources.faults]).toEqual([3, ['another nonce']]);
    resources.nonce = 'second';
    expect((await browser.fetch('/api/3', { method: 'POST', body: { n: 1 } })).status).toBe(200);
    expect([api.requests.length, resources.faults.length]).toEqual([5, 2]);
    expect(new Set(api.requests.map(({ headers }) => proofIn(headers).jti)).size).toBe(5);
  });

  test('is taken from every answer, so that a server that changes it each time refuses none', async () => {
    const { browser, resources, api } = await startBound();
    const answer: ApiHandler = async (request, response) => {
      const given = await resources.answer(request, response);
      resources.nonce = `n${api.requests.length}`;
      return { ...given, headers: { ...given?.headers, 'dpop-nonce': resources.nonce } };
    };
    api.answer(answer);
    for (let call = 0; call < 5; call += 1) expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(resources.faults).toEqual([]);
  });

  test('and an expired token at once cost two more attempts', async () => {
    const { browser, resources, api, provider } = await startBound();
    resources.nonce = 'first';
    await browser.fetch('/api/1');
    const revoked = api.last().token;
    resources.nonce = 'second';
    api.answer(async (request, response) => {
      const answer = await resources.answer(request, response);
      if (answer?.status === 401 || request.token !== revoked) return answer;
      return { status: 401, headers: { 'www-authenticate': 'DPoP error="invalid_token"' } };
    });
    expect((await browser.fetch('/api/2')).status).toBe(200);
    expect([api.requests.length, provider.calls.refresh]).toEqual([5, 1]);
  });

  test('that a large body meets first makes the app repeat the call, and no token is renewed', async () => {
    const { browser, resources, provider } = await startBound({ replayBytes: 10 });
    resources.nonce = 'first';
    const body = { text: 'longer than what is kept' };
    const refused = await browser.fetch('/api/upload', { method: 'POST', body });
    expect(refused.json()).toMatchObject({ status: 401, code: 'repeat_required' });
    expect(refused.text).toContain('nonce');
    expect((await browser.fetch('/api/upload', { method: 'POST', body })).status).toBe(200);
    expect(provider.calls.refresh).toBe(0);
  });

  test('that is too long, of other characters, empty or given twice is none: nothing is tried again', async () => {
    const { browser, api, provider } = await startBound();
    for (const nonce of ['n'.repeat(1025), 'a "quoted" one', '', ['one', 'two']]) {
      api.requests.length = 0;
      api.answer({ status: 401, headers: { 'dpop-nonce': nonce, 'www-authenticate': 'DPoP error="use_dpop_nonce"' } });
      expect((await browser.fetch('/api/x')).status).toBe(401);
      api.answer();
      await browser.fetch('/api/x');
      expect([api.requests.length, proofIn(api.last().headers).nonce]).toEqual([2, undefined]);
    }
    expect(provider.calls.refresh).toBe(0);
  });

  test('that is never right is tried once a call, and costs no refresh', async () => {
    const { browser, api, provider } = await startBound();
    api.answer(() => {
      const nonce = `n${api.requests.length}`;
      return { status: 401, headers: { 'dpop-nonce': nonce, 'www-authenticate': 'DPoP error="use_dpop_nonce"' } };
    });
    for (let call = 1; call <= 3; call += 1) {
      expect((await browser.fetch('/api/x')).status).toBe(401);
      expect(api.requests).toHaveLength(2 * call);
    }
    expect(provider.calls.refresh).toBe(0);
    api.answer();
    expect((await browser.fetch('/api/x')).status).toBe(200);
  });

  test('goes to this API alone: neither to another nor to the provider', async () => {
    const other = await startApi();
    onTestFinished(() => other.close());
    const world = await startBound();
    await world.restart((base) => {
      const routes = base.api ?? [];
      const again = routes.map((route) => Object.assign({}, route, { path: '/again' }));
      return { ...base, api: [...routes, ...again, { path: '/other', target: other.url }] };
    });
    world.resources.nonce = 'of-the-first';
    const { browser, provider, api } = world;
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(proofIn(api.last().headers).nonce).toBe('of-the-first');
    // Another route to the same server.
    expect((await browser.fetch('/again/x')).status).toBe(200);
    expect(world.resources.faults).toHaveLength(1);
    await browser.fetch('/other/x');
    await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(proofIn(other.last().headers).nonce).toBeUndefined();
    const refresh = provider.requests.find(({ endpoints }) => endpoints.includes('refresh'));
    expect(proofIn(refresh?.headers ?? {}).nonce).not.toBe('of-the-first');
  });
});

test('a phantom token is bound as the opaque token is for which it stands', async () => {
  const settings = { accessTokens: 'opaque', introspectionForm: 'curity' } as const;
  const token = { phantom: { audience: 'https://api.test' } };
  const { browser, resources } = await startBound({ token }, { provider: { settings } });
  expect([(await browser.fetch('/api/x')).status, resources.faults]).toEqual([200, []]);
});

describe("a program's own choice", () => {
  test('of the session’s token is bound as ever, and another token is a bearer token without a proof', async () => {
    const chosen = { own: true };
    const token: RouteInput['token'] = ({ accessToken }) => (chosen.own ? accessToken : 'another');
    const { browser, resources, api } = await startBound({ token });
    expect((await browser.fetch('/api/x')).status).toBe(200);
    expect(resources.faults).toEqual([]);
    chosen.own = false;
    api.answer();
    await browser.fetch('/api/x');
    const { authorization, dpop } = api.last().headers;
    expect([authorization, dpop]).toEqual(['Bearer another', undefined]);
  });
});

describe('a refusal', () => {
  test('of the proof is no reason for a new token', async () => {
    const { browser, api, provider } = await startBound();
    api.answer({ status: 401, headers: { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' } });
    expect((await browser.fetch('/api/x')).status).toBe(401);
    expect([api.requests.length, provider.calls.refresh]).toEqual([1, 0]);
  });

  test('that demands a bearer token gets none: a bound token is never sent as one', async () => {
    const { browser, api } = await startBound();
    api.answer({ status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } });
    expect((await browser.fetch('/api/x')).status).toBe(401);
    expect(api.requests.map(({ headers }) => headers.authorization?.split(' ')[0])).toEqual(['DPoP', 'DPoP']);
  });

  test('that demands a nonce of a bearer token is like any other', async () => {
    const { api, ...world } = await startBound();
    await world.restart((base) => ({ ...base, client: { ...base.client, dpop: 'off' } }));
    const browser = world.client();
    await signIn(browser);
    api.answer({ status: 401, headers: { 'dpop-nonce': 'n', 'www-authenticate': 'DPoP error="use_dpop_nonce"' } });
    expect((await browser.fetch('/api/x')).status).toBe(401);
    expect(api.requests.map(({ headers }) => headers.dpop)).toEqual([undefined]);
  });
});

describe('sessions', () => {
  test('of two people never share a key, however their calls interleave and tokens are refused', async () => {
    fakeDate();
    const world = await startBound();
    const { resources, api } = world;
    const people = [world.browser, await signedIn(world)];
    for (let round = 0; round < 4; round += 1) {
      resources.nonce = `round-${round}`;
      if (round > 0) expireAccessToken();
      const answers = await inParallel(40, (index) => people[index % 2]?.fetch(`/api/${index}`) ?? fail());
      expect(statusesOf(answers)).toEqual([200]);
    }
    expect(new Set(resources.faults)).toEqual(new Set(['another nonce']));
    const keyOf = new Map<unknown, Set<unknown>>();
    for (const { claims, token } of api.requests) {
      keyOf.set(claims?.sub, (keyOf.get(claims?.sub) ?? new Set()).add(boundTo(token)));
    }
    expect([...keyOf.values()].map(({ size }) => size)).toEqual([1, 1]);
    world.assertNoSecrets();
  });

  test('keep their key across instances, and whoever refreshes', async () => {
    fakeDate();
    const world = await startBound({}, { store: createMemoryStore() });
    const { browser, resources, api } = world;
    const { port } = await world.addInstance();
    const elsewhere = browser.clone();
    elsewhere.routeTo(port);
    expireAccessToken();
    const answers = await inParallel(20, (index) => (index % 2 === 0 ? browser : elsewhere).fetch(`/api/${index}`));
    expect(statusesOf(answers)).toEqual([200]);
    expect(resources.faults).toEqual([]);
    expect(new Set(api.requests.map(({ token }) => token)).size).toBe(1);
  });

  test('that are signed in anew get a key that has nothing to do with the last one', async () => {
    const { browser, api, resources } = await startBound();
    await browser.fetch('/api/x');
    const stolen = browser.clone();
    await signIn(browser);
    await browser.fetch('/api/x');
    const [before, after] = api.requests.map(({ headers }) => proofIn(headers).jwk);
    expect(after).not.toEqual(before);
    expect((await stolen.fetch('/api/x')).status).toBe(401);
    expect([api.requests.length, resources.faults]).toEqual([2, []]);
  });
});

/** What the tests' own API would let pass, nobody would notice: it refuses each of a thief's attempts. */
describe('the API of these tests refuses', () => {
  test('a proof that comes twice, and one for another request, token or time', async () => {
    const world = await startBound();
    const { browser, api, provider } = world;
    const judge = createResourceServer({ issuer: provider.issuer });
    api.answer({ body: {} });
    await browser.fetch('/api/orders');
    const { method, url, headers } = api.last();
    await (await signedIn(world)).fetch('/api/orders');
    const others = api.last().headers;
    const faultOf = (change: object) => judge.faultOf({ method, url, headers, ...change });
    expect(await faultOf({ method: 'POST' })).toBe('another method');
    expect(await faultOf({ url: '/others' })).toBe('another address');
    expect(await faultOf({ headers: { ...headers, host: 'elsewhere' } })).toBe('another address');
    expect(await faultOf({ headers: { ...headers, authorization: others.authorization } })).toBe('another key');
    expect(await faultOf({ headers: { ...headers, dpop: others.dpop } })).toBe('another key');
    expect(await faultOf({ headers: { ...headers, authorization: `Bearer ${api.last().token}` } })).toBe(
      'no bound token',
    );
    const changed = String(headers.dpop).replace(/.{8}$/, 'AAAAAAAA');
    expect(await faultOf({ headers: { ...headers, dpop: changed } })).toBe('invalid proof');
    judge.nonce = 'one';
    expect(await faultOf({})).toBe('another nonce');
    judge.nonce = undefined;
    expect(await faultOf({})).toBeUndefined();
    expect(await faultOf({})).toBe('seen before');
    fakeDate(new Date(Date.now() + 120_000));
    expect(await faultOf({})).toBe('another time');
    vi.useRealTimers();
  });
});

function fail(): never {
  throw new Error('there are two people');
}
