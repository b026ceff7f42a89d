/**
 * Redirects and links of an API that doesn't know where the browser reaches it: they lead to the route, not to an address
 * that only Sallyport can reach. And what an API is told of its public place: the prefix, and on demand the host.
 */
import { createServer as createHttpsServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { closeNow, listen, startListener, trackSockets } from '../support/listener.ts';
import { sendRaw } from '../support/raw-call.ts';
import { makeCertificate } from '../support/tls.ts';
import { startSignedIn, startWorld, type SignedInWorld, type World } from '../support/world.ts';

type Route = NonNullable<ConfigInput['api']>[number];

function startWithRoute(route: Partial<Route> = {}, more: Partial<ConfigInput> = {}): Promise<SignedInWorld> {
  return startSignedIn({
    config: (base) => ({
      ...base,
      ...more,
      api: [{ path: '/api', target: `${String(base.api?.[0]?.target)}/v1`, ...route }],
    }),
  });
}

/** Redirects to the address with a slash, built on the Host header, as Starlette and many others do. */
function redirectToSlash({ api }: World): void {
  api.answer(({ url, headers, method, body }) => {
    if (url.endsWith('/')) return { body: `${method} ${url} ${body.toString()}` };
    return { status: 307, headers: { location: `http://${headers.host}${url}/` } };
  });
}

describe('a redirect of the API', () => {
  test('to itself leads to the route, and a script can follow it', async () => {
    const world = await startWithRoute();
    redirectToSlash(world);
    expect((await world.browser.fetch('/api/items')).text).toBe('GET /v1/items/ ');
    expect((await world.browser.fetch('/api/items', { method: 'POST', body: 'one more' })).text).toBe(
      'POST /v1/items/ one more',
    );
  });

  test('to itself leads to the route where the app lives below a path', async () => {
    const origin = 'https://www.example.test';
    const world = await startWorld({
      origin,
      provider: { redirectUris: [`${origin}/shop/bff/callback`], postLogoutRedirectUris: [`${origin}/shop/`] },
      config: (base) => ({ ...base, path: '/shop' }),
    });
    const browser = world.client();
    await browser.navigate('/shop/bff/login?login_hint=alice');
    redirectToSlash(world);
    const answer = await browser.fetch('/shop/api/items');
    expect([answer.status, answer.text]).toEqual([200, 'GET /items/ ']);
    expect(world.api.last().headers['x-forwarded-prefix']).toBe('/shop/api');
  });

  test('to elsewhere stays as it is', async () => {
    const world = await startWithRoute();
    for (const location of ['https://elsewhere.test/v1/items/', '//elsewhere.test/v1/', '/orders/42', '../x', '/v2/']) {
      world.api.answer({ status: 303, headers: { location } });
      const answer = await sendRaw(world, world.browser, { target: '/api/items' });
      expect(/^location: (.*)\r$/im.exec(answer)?.[1]).toBe(location);
    }
  });
});

test('addresses of what was made, of other pages and of a page that moves on lead to the route', async () => {
  const { api, browser } = await startWithRoute();
  api.answer({
    status: 201,
    headers: {
      location: `${api.url}/v1/items/7`,
      'content-location': '/v1/items/7?view=full',
      link: [
        `<${api.url}/v1/items?page=2>; rel="next"`,
        '</v1/items?page=9>; rel="last", <https://docs.test/>; rel=help',
      ],
      refresh: `5; url=${api.url}/v1/items/7/status`,
    },
  });
  expect((await browser.fetch('/api/items', { method: 'POST' })).headers).toMatchObject({
    location: '/api/items/7',
    'content-location': '/api/items/7?view=full',
    link: '</api/items?page=2>; rel="next", </api/items?page=9>; rel="last", <https://docs.test/>; rel=help',
    refresh: '5; url=/api/items/7/status',
  });
});

describe('the API is told', () => {
  test('the prefix that the browser sees', async () => {
    const { api, browser } = await startWithRoute();
    await browser.fetch('/api/items');
    expect(api.last().headers).toMatchObject({ 'x-forwarded-prefix': '/api', host: new URL(api.url).host });
  });

  test('no prefix where its own paths are the public ones', async () => {
    const world = await startSignedIn({
      config: (base) => ({ ...base, api: [{ path: '/api', target: `${String(base.api?.[0]?.target)}/api` }] }),
    });
    await world.browser.fetch('/api/items');
    expect(world.api.last().url).toBe('/api/items');
    expect(world.api.last().headers).not.toHaveProperty('x-forwarded-prefix');
  });

  test('the app’s host as its own, on a route that wants it', async () => {
    const world = await startWithRoute({ preserveHost: true });
    redirectToSlash(world);
    expect((await world.browser.fetch('/api/items')).text).toBe('GET /v1/items/ ');
    expect(world.api.last().headers.host).toBe(new URL(world.origin).host);
  });

  test('the app’s host over TLS, whose certificate is the target’s all the same', async () => {
    const certificate = await makeCertificate();
    const asked: string[] = [];
    const server = createHttpsServer(certificate, (request, response) => {
      const { servername } = request.socket as TLSSocket & { servername?: string };
      response.end(`${servername} ${request.headers.host}`);
      asked.push(String(request.url));
    });
    const sockets = trackSockets(server);
    let connections = 0;
    server.on('secureConnection', () => (connections += 1));
    const port = await listen(server, 0);
    onTestFinished(() => closeNow(server, sockets));
    const shared = { target: `https://localhost:${port}`, caFile: certificate.file };
    const { browser, origin } = await startSignedIn({
      config: {
        api: [
          { path: '/api', ...shared },
          { path: '/named', ...shared, preserveHost: true },
          { path: '/numbered', ...shared, target: `https://127.0.0.1:${port}`, preserveHost: true },
        ],
      },
    });
    const { host } = new URL(origin);
    for (let round = 0; round < 3; round += 1) {
      expect((await browser.fetch('/api/x')).text).toBe(`localhost localhost:${port}`);
      expect((await browser.fetch('/named/x')).text).toBe(`localhost ${host}`);
      expect((await browser.fetch('/numbered/x')).text).toBe(`false ${host}`);
    }
    expect(asked).toHaveLength(9);
    expect(connections).toBe(3);
  });
});

test('a dev server’s redirects to itself lead to the app', async () => {
  const devServer = await startListener((request, response) => {
    if (request.url === '/here/') response.end('here');
    else response.writeHead(302, { location: `http://${request.headers.host}/here/` }).end();
  });
  onTestFinished(() => devServer.close());
  const { browser } = await startSignedIn({
    config: (base) => ({ ...base, spa: { devServer: `http://127.0.0.1:${devServer.port}` } }),
  });
  expect((await browser.navigate('/here')).text).toBe('here');
});
