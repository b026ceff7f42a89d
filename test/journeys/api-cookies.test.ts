/**
 * Cookies that a route lets through in both directions. A load balancer before an API's replicas tells them apart by one,
 * and without it Socket.IO's polling never connects: the replica that is asked next doesn't know the session that another
 * one has begun.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { ConfigError, resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { abortWith, readBody, startListener, type Listener } from '../support/listener.ts';
import { startBalancer } from '../support/affinity-balancer.ts';
import { sendRaw } from '../support/raw-call.ts';
import { acceptWebSockets, closeOf } from '../support/web-socket.ts';
import { signIn, startSignedIn, startWorld, type SignedInWorld } from '../support/world.ts';

type Route = NonNullable<ConfigInput['api']>[number];

function startWithCookies(cookies: readonly string[], route: Partial<Route> = {}): Promise<SignedInWorld> {
  return startSignedIn({
    config: (base) => ({
      ...base,
      api: [
        { path: '/api', target: String(base.api?.[0]?.target), cookies: [...cookies], ...route },
        { path: '/other', target: String(base.api?.[0]?.target) },
      ],
    }),
  });
}

/** A replica of a Socket.IO server as its polling transport looks on the wire (Engine.IO protocol 4). */
function startReplica(): Promise<Listener> {
  const waiting = new Map<string, string[]>();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const sid = new URL(request.url ?? '/', 'http://replica').searchParams.get('sid');
    if (sid === null) {
      const begun = randomUUID();
      waiting.set(begun, []);
      response.end(`0${JSON.stringify({ sid: begun, upgrades: [], pingInterval: 25_000, pingTimeout: 20_000 })}`);
      return;
    }
    const body = (await readBody(request)).toString();
    const packets = waiting.get(sid);
    if (packets === undefined) response.writeHead(400).end(JSON.stringify({ code: 1, message: 'Session ID unknown' }));
    else if (request.method === 'POST') {
      packets.push(body === '40' ? `40${JSON.stringify({ sid })}` : body);
      response.end('ok');
    } else response.end(packets.splice(0).join('\u001e') || '6');
  }

  return startListener((request, response) => void answer(request, response).catch(abortWith(response)));
}

/** What a Socket.IO client does until it is connected. @returns the statuses of its calls, and the last answer */
async function connectByPolling(browser: BrowserClient): Promise<{ statuses: number[]; last: string }> {
  const path = '/api/socket.io/?EIO=4&transport=polling';
  const handshake = await browser.fetch(path);
  const { sid } = JSON.parse(handshake.text.slice(1)) as { sid: string };
  const opened = await browser.fetch(`${path}&sid=${sid}`, { method: 'POST', body: '40' });
  const polled = await browser.fetch(`${path}&sid=${sid}`);
  return { statuses: [handshake, opened, polled].map(({ status }) => status), last: polled.text };
}

/** Somebody who has signed in, before an API of two replicas behind a balancer. */
async function startReplicas(cookies: string[]): Promise<BrowserClient> {
  const replicas = [await startReplica(), await startReplica()];
  const balancer = await startBalancer(replicas.map(({ port }) => port));
  onTestFinished(async () => {
    await balancer.close();
    await Promise.all(replicas.map((one) => one.close()));
  });
  const target = `http://127.0.0.1:${balancer.port}`;
  const { browser } = await startSignedIn({ config: { api: [{ path: '/api', target, cookies }] } });
  return browser;
}

describe('Socket.IO’s polling over two replicas behind a load balancer with affinity', () => {
  test('connects where the route lets the balancer’s cookie pass', async () => {
    const browser = await startReplicas(['ROUTEID']);
    for (let client = 0; client < 3; client += 1) {
      const { statuses, last } = await connectByPolling(browser);
      expect(statuses).toEqual([200, 200, 200]);
      expect(last).toMatch(/^40\{"sid":/);
    }
  });

  test('meets another replica where it doesn’t', async () => {
    const { statuses } = await connectByPolling(await startReplicas([]));
    expect(statuses).toEqual([200, 400, 200]);
  });
});

describe('to the API go', () => {
  test('the named cookies, their values unchanged, and no other', async () => {
    const world = await startWithCookies(['AWSALB', 'io', '__Host-route']);
    const others = 'tracking=1; AWSALB="a b=c/d+e%20=="; awsalb=2; AWSALBCORS=3; xio=4; io=5;io=6; __Host-route=7; io';
    await sendRaw(world, world.browser, { target: '/api/me', lines: [`Cookie: ${others}`] });
    expect(world.api.last().headers.cookie).toBe('AWSALB="a b=c/d+e%20=="; io=5; io=6; __Host-route=7');
    await sendRaw(world, world.browser, { target: '/other/me', lines: [`Cookie: ${others}`] });
    expect(world.api.last().headers.cookie).toBeUndefined();
  });

  test('none where the browser has none of them', async () => {
    const world = await startWithCookies(['AWSALB']);
    await world.browser.fetch('/api/me');
    expect(world.api.last().headers.cookie).toBeUndefined();
  });

  test('the named ones with an upgrade to WebSocket, too', async () => {
    const world = await startWithCookies(['io']);
    const sockets = acceptWebSockets(world.api);
    const cookie = `${world.browser.cookieHeader()}; io=1; other=2`;
    const socket = new WebSocket(`ws://127.0.0.1:${world.server.port}/api/socket`, {
      origin: world.origin,
      headers: { cookie },
    });
    await new Promise((resolve) => socket.once('open', resolve));
    expect(sockets.requests[0]?.headers.cookie).toBe('io=1');
    socket.close();
    await closeOf(socket);
  });

  test('the same ones when the call is sent again with a new token', async () => {
    const world = await startWithCookies(['AWSALB']);
    world.api.rejectTokens(1);
    await sendRaw(world, world.browser, { target: '/api/me', lines: ['Cookie: AWSALB=1'] });
    expect(world.api.requests.slice(-2).map(({ headers }) => headers.cookie)).toEqual(['AWSALB=1', 'AWSALB=1']);
  });
});

describe('the browser keeps', () => {
  let world: SignedInWorld;

  beforeAll(async () => {
    world = await startWorld(
      {
        config: (base) => ({
          ...base,
          api: [{ path: '/api', target: `${base.api?.[0]?.target}/v1`, cookies: ['AWSALB'] }],
        }),
      },
      { scope: 'manual' },
    ).then((started) => Object.assign(started, { browser: started.client() }));
    await signIn(world.browser);
  });

  afterAll(() => world.stop());

  test.each([
    [
      'AWSALB=a; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT',
      'AWSALB=a; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT',
    ],
    ['AWSALB=a; path=/v1; HttpOnly', 'AWSALB=a; Path=/api; HttpOnly'],
    ['AWSALB=a; Path=/v1/socket.io/', 'AWSALB=a; Path=/api/socket.io/'],
    ['AWSALB=a;Path=/elsewhere', 'AWSALB=a; Path=/elsewhere'],
    ['AWSALB=a; Domain=127.0.0.1; SameSite=None', 'AWSALB=a; SameSite=None'],
    ['AWSALB=a; Domain=example.com', 'AWSALB=a; Domain=example.com'],
    ['AWSALB=a; Domain=localhost', 'AWSALB=a; Domain=localhost'],
    // Not one of the route's: the browser gets it as it came.
    ['other=a; Path=/v1', 'other=a; Path=/v1'],
    ['AWSALB', 'AWSALB'],
  ])('%s as %s', async (setCookie, expected) => {
    world.api.answer({ headers: { 'set-cookie': setCookie } });
    expect((await world.browser.fetch('/api/me')).setCookies).toEqual([expected]);
  });
});

describe('a cookie of Sallyport’s own', () => {
  test('is refused in the configuration, in any case and as a part of one', async () => {
    const { api, config, server } = await startWorld();
    const faultsFor = (name: string, more: Partial<ConfigInput> = {}): string[] => {
      try {
        resolveConfig({ ...config, ...more, api: [{ path: '/api', target: api.url, cookies: ['AWSALB', name] }] });
      } catch (error) {
        if (error instanceof ConfigError) return error.faults.map(({ path, reason }) => `${path}: ${reason}`);
        throw error;
      }
      return [];
    };
    const prefixed = [
      '__Host-Http-session',
      '__host-HTTP-Session.2',
      '__Host-Http-login-00000000-x',
      '__Host-Http-logout',
    ];
    const numbered = ['session', 'SESSION', 'login', 'logout'].map((word) => `${word}-${server.port}`);
    for (const name of [...prefixed, ...numbered, `session-${server.port}.1`, `login-${server.port}-00000000-x`]) {
      expect(faultsFor(name)).toEqual([`api.0.cookies.1: "${name}" is a cookie of Sallyport's own; remove it`]);
    }
    const https = { origin: 'https://app.example.com', session: { cookieName: 'shop' } };
    for (const name of ['__Host-Http-shop', '__Host-Http-SHOP.1', '__Host-Http-login-x', '__Host-Http-logout']) {
      expect(faultsFor(name, https)).toHaveLength(1);
    }
    for (const name of ['session', 'JSESSIONID', 'sessionid', 'login_hint']) expect(faultsFor(name)).toEqual([]);
    for (const name of ['session', 'logout', 'login-3000', '__Host-route']) expect(faultsFor(name, https)).toEqual([]);
    expect(faultsFor('a b')).toEqual(['api.0.cookies.1: must be the name of a cookie']);
  });

  test('passes to no API beside those that may', async () => {
    const world = await startWithCookies(['AWSALB']);
    await sendRaw(world, world.browser, { target: '/api/me', lines: ['Cookie: AWSALB=1'] });
    expect(world.api.last().headers.cookie).toBe('AWSALB=1');
    world.assertNoSecrets();
  });
});
