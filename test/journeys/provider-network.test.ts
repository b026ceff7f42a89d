/** How the provider is reached: through a proxy, over TLS of an own authority, at an address with a query. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { startHttpsFront } from '../support/https-provider.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { signIn, startSignedIn, startWorld, within } from '../support/world.ts';

/** A forward proxy on loopback: absolute-form for http (RFC 9112 3.2.2), CONNECT for https (RFC 9110 9.3.6). */
async function startProxy(): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    const { url = '', method, headers } = request;
    seen.push(`${method} ${new URL(url).pathname}`);
    const forwarded = httpRequest(url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    });
    forwarded.on('error', () => response.destroy());
    request.pipe(forwarded);
  });
  server.on('connect', (request, client) => {
    seen.push(`CONNECT ${request.url}`);
    const [host = '', port] = String(request.url).split(':');
    const target = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      client.pipe(target).pipe(client);
    });
    target.on('error', () => client.destroy());
    client.on('error', () => target.destroy());
  });
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(() => closeNow(server, sockets));
  return { url: `http://127.0.0.1:${port}`, seen };
}

describe('a proxy that the environment names', () => {
  test('carries every call to the provider, and none to an API', async () => {
    const proxy = await startProxy();
    vi.stubEnv('http_proxy', proxy.url);
    const world = await startWorld({ config: { login: { userInfo: true } } });
    const browser = world.client();
    await signIn(browser);
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    await browser.fetch('/bff/logout', { method: 'POST' });
    const openid = '/.well-known/openid-configuration';
    expect(proxy.seen.toSorted()).toEqual(
      [`GET ${openid}`, 'GET /jwks', 'POST /token', 'GET /me', 'POST /token/revocation'].toSorted(),
    );
  });

  test('is passed by for the hosts in NO_PROXY', async () => {
    const proxy = await startProxy();
    vi.stubEnv('http_proxy', proxy.url);
    vi.stubEnv('no_proxy', 'example.com,127.0.0.1');
    const world = await startWorld();
    await signIn(world.client());
    expect(proxy.seen).toEqual([]);
  });

  test('makes a tunnel to an https provider, whose own authority is trusted there, too', async () => {
    const proxy = await startProxy();
    vi.stubEnv('https_proxy', proxy.url);
    const front = await startHttpsFront({ trusted: false });
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-ca-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const caFile = join(folder, 'ca.pem');
    await writeFile(caFile, front.certificate);
    const world = await startWorld({
      providerUp: false,
      config: (base) => ({ ...base, issuer: front.issuer, provider: { caFile } }),
    });
    front.serve(world.provider);
    await world.provider.up();
    const browser = world.client();
    browser.routeTo(world.provider.port, front.issuer);
    await signIn(browser);
    expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${new URL(front.issuer).host}`]));
  });

  test('does not lift the limit on what a provider may answer', async () => {
    const proxy = await startProxy();
    vi.stubEnv('http_proxy', proxy.url);
    const world = await startWorld({ providerUp: false });
    const undo = world.provider.mutateDiscovery((json) => ({ ...json, padding: 'x'.repeat(2 * 1024 * 1024) }));
    await world.provider.up();
    expect((await world.client().navigate('/bff/login')).status).toBe(503);
    undo();
    await signIn(world.client());
    expect(proxy.seen).toContain('POST /token');
  });

  test('is named by its variable where it is no URL, without its password', async () => {
    vi.stubEnv('https_proxy', 'me:pass-word@proxy.example.com');
    const failure = await startWorld().catch((error: unknown) => error);
    expect(String(failure)).toContain('HTTPS_PROXY and HTTP_PROXY must be URLs');
    expect(String(failure)).not.toContain('pass-word');
  });
});

test('without provider.caFile an unknown authority is refused', async () => {
  const front = await startHttpsFront({ trusted: false });
  const world = await startWorld({ providerUp: false, config: (base) => ({ ...base, issuer: front.issuer }) });
  front.serve(world.provider);
  await world.provider.up();
  expect((await world.client().navigate('/bff/login')).status).toBe(503);
});

test('the address of the metadata may have a query', async () => {
  const world = await startWorld({
    config: (base) => ({
      ...base,
      discoveryUrl: `${base.issuer}/.well-known/openid-configuration?appid=1b4e28ba&x=%2F`,
    }),
  });
  await signIn(world.client());
  const [first] = world.provider.requests;
  expect(first?.query).toEqual({ appid: '1b4e28ba', x: '/' });
});

test('a call to the provider takes no longer than provider.timeoutSeconds', async () => {
  const world = await startWorld({ providerUp: false, config: { provider: { timeoutSeconds: 0.2 } } });
  await world.provider.up();
  await expect.poll(() => world.server.bff.ready(), { timeout: 10_000 }).toBe(true);
  world.provider.hang('code');
  expect((await world.client().navigate('/bff/login?login_hint=alice')).status).toBe(503);
});

test('provider.timeoutSeconds may be a fraction that makes no whole number of milliseconds', async () => {
  const { client, provider } = await startWorld({ config: { provider: { timeoutSeconds: 32.3001 } } });
  await signIn(client());
  expect(provider.calls.code).toBe(1);
});

test('an API call waits for a refresh no longer than provider.timeoutSeconds, and its late answer counts', async () => {
  fakeDate();
  const { browser, provider } = await startSignedIn({ config: { provider: { timeoutSeconds: 1 } } });
  expireAccessToken();
  const gate = provider.hold('refresh');
  const answer = await within(5, browser.fetch('/api/1'), 'the call');
  expect([answer.status, answer.at('code')]).toEqual([503, 'provider_unavailable']);
  gate.release();
  expect((await browser.fetch('/api/2')).status).toBe(200);
  expect(provider.calls.refresh).toBe(1);
});

test.each([
  ['within', 100, 200],
  ['beyond', 20, 403],
])('an ID token that is %s provider.clockToleranceSeconds from the future', async (_where, seconds, status) => {
  const { client, provider } = await startWorld({ config: { provider: { clockToleranceSeconds: seconds } } });
  provider.mutateIdToken((claims) => ({ claims: { ...claims, iat: Math.floor(Date.now() / 1000) + 60 } }));
  expect((await client().navigate('/bff/login?login_hint=alice')).status).toBe(status);
});
