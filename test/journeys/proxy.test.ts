/** Calling the API: what it gets, what comes back, and what becomes of its refusals. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { readBody } from '../support/listener.ts';
import { startRawServer } from '../support/raw.ts';
import { outcomeOf, startSignedIn, startWorld, within } from '../support/world.ts';

describe('the API gets', () => {
  test('the method, path, query and body as they were sent, and the access token', async () => {
    const { browser, api, provider } = await startSignedIn();
    const path = '/api/orders/a%20b;c?x=1&x=2&y=%2F%3F&empty=';
    const answer = await browser.fetch(path, { method: 'PATCH', body: { name: 'Ünicode' } });
    expect(answer.status).toBe(200);
    const request = api.last();
    expect(request.method).toBe('PATCH');
    expect(request.url).toBe('/orders/a%20b;c?x=1&x=2&y=%2F%3F&empty=');
    expect(request.body.toString()).toBe('{"name":"Ünicode"}');
    expect(request.headers['content-type']).toBe('application/json');
    expect(provider.secrets.get(request.token ?? '')).toBe('accessToken');
    expect(request.rawHeaders.filter((name) => name.toLowerCase() === 'authorization')).toHaveLength(1);
  });

  test('the prefix replaced by its target’s path', async () => {
    const { browser, api } = await startSignedIn({
      config: (base) => ({
        ...base,
        api: [
          { path: '/api', target: `${String(base.api?.[0]?.target)}/v1` },
          { path: '/api/admin', target: `${String(base.api?.[0]?.target)}/internal/admin/` },
        ],
      }),
    });
    for (const [asked, got] of [
      ['/api/orders?x=1', '/v1/orders?x=1'],
      ['/api', '/v1'],
      ['/api/', '/v1/'],
      ['/api?x=1', '/v1?x=1'],
      ['/api/admin/users', '/internal/admin/users'],
      ['/api/administration', '/v1/administration'],
    ]) {
      expect((await browser.fetch(asked ?? '')).status).toBe(200);
      expect(api.last().url).toBe(got);
    }
  });

  test('nothing of what the browser or a forger added for us or about others', async () => {
    const { browser, api } = await startSignedIn();
    await browser.fetch('/api/me', {
      headers: {
        authorization: 'Bearer forged',
        'x-csrf': '1',
        'x-forwarded-for': '6.6.6.6',
        x_forwarded_host: 'evil.test',
        forwarded: 'for=6.6.6.6',
        connection: 'keep-alive, x-hop',
        'x-hop': 'x',
        te: 'trailers',
        'x-kept': 'kept',
      },
    });
    const { headers, rawHeaders } = api.last();
    expect(headers).not.toHaveProperty('cookie');
    expect(headers).not.toHaveProperty('x-csrf');
    expect(headers).not.toHaveProperty('x-hop');
    expect(headers).not.toHaveProperty('te');
    expect(headers['x-kept']).toBe('kept');
    expect(headers.authorization).not.toContain('forged');
    expect(rawHeaders.join('\n')).not.toContain('6.6.6.6');
    expect(rawHeaders.join('\n')).not.toContain('evil.test');
  });

  test('nothing at all without a session: 401 problem with the way to sign in, never a redirect', async () => {
    const { client, api } = await startWorld();
    const answer = await client().fetch('/api/me');
    expect(answer.status).toBe(401);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.headers['www-authenticate']).toMatch(/^(?!basic|bearer)/i);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.json()).toMatchObject({
      type: expect.any(String),
      title: expect.any(String),
      status: 401,
      detail: expect.any(String),
      instance: expect.any(String),
      code: 'login_required',
      loginUrl: '/bff/login',
    });
    expect(api.requests).toEqual([]);
  });

  test('nothing from another origin, whatever it sends', async () => {
    const { browser, api } = await startSignedIn();
    for (const from of ['https://evil.test', 'http://localhost:1']) {
      for (const method of ['GET', 'POST']) {
        const answer = await browser.fetch('/api/me', { method, mode: 'no-cors', credentials: 'include' }, { from });
        expect(answer.status).toBe(403);
        expect(answer.json()).toMatchObject({ code: 'request_forbidden' });
      }
    }
    const forged = await browser.fetch('/api/me', { headers: { 'sec-fetch-site': 'same-site', 'x-csrf': '1' } });
    expect(forged.status).toBe(403);
    const withOrigin = await browser.fetch('/api/me', { headers: { origin: 'https://evil.test' } });
    expect(withOrigin.status).toBe(403);
    expect(api.requests).toEqual([]);
  });

  test.each([
    '/api/../secret',
    '/api/%2e%2e/secret',
    '/api/a%2fb',
    '/api/a%5cb',
    '/api/%00',
    '/api/./a',
    '/api/a/..;/b',
  ])('nothing for the path %s', async (path) => {
    const { browser, api, origin } = await startSignedIn();
    const answer = await rawCall(origin, browser, path);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('request_invalid');
    expect(api.requests).toEqual([]);
  });

  test('only the methods that its route allows', async () => {
    const { browser, api } = await startSignedIn({
      config: (base) => ({ ...base, api: [{ path: '/api', target: String(base.api?.[0]?.target), methods: ['GET'] }] }),
    });
    const answer = await browser.fetch('/api/me', { method: 'DELETE' });
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toContain('GET');
    expect(answer.json()).toMatchObject({ code: 'method_not_allowed' });
    expect(api.requests).toEqual([]);
  });

  test('no body above the limit, whether its length is told or not', async () => {
    const { browser, api, origin } = await startSignedIn({ config: { upstream: { maxBodyBytes: 1000 } } });
    const told = await browser.fetch('/api/me', { method: 'POST', body: 'x'.repeat(1001) });
    expect(told.status).toBe(413);
    expect(told.json()).toMatchObject({ code: 'body_too_large' });
    const untold = await rawCall(origin, browser, '/api/me', {
      method: 'POST',
      chunks: ['x'.repeat(600), 'x'.repeat(600)],
    });
    expect(untold.status).toBe(413);
    expect(api.requests.map((request) => request.body.length).filter((length) => length > 1000)).toEqual([]);
  });
});

describe('the app gets', () => {
  test('the answer untouched: status, headers, body', async () => {
    const { browser, api } = await startSignedIn();
    api.answer({
      status: 418,
      headers: {
        'content-type': 'text/plain',
        'x-own': ['one', 'two'],
        etag: '"1"',
        'cache-control': 'private, max-age=5',
      },
      body: 'short and stout',
    });
    const answer = await browser.fetch('/api/tea');
    expect(answer.status).toBe(418);
    expect(answer.text).toBe('short and stout');
    expect(answer.headers).toMatchObject({ etag: '"1"', 'x-own': 'one, two', 'cache-control': 'private, max-age=5' });
  });

  test('no-store where the API says nothing about caches', async () => {
    const { browser } = await startSignedIn();
    expect((await browser.fetch('/api/me')).headers['cache-control']).toBe('no-store');
  });

  test('none of the API’s attempts on our cookies, or its CORS headers', async () => {
    const { browser, api } = await startSignedIn();
    api.answer({
      headers: {
        'set-cookie': [
          ...['session', 'session.1', 'login-x'].map((name) => `${browser.own(name)}=evil; Path=/`),
          'own=fine; Path=/',
        ],
        'clear-site-data': '"cookies"',
        'access-control-allow-origin': '*',
        'access-control-allow-credentials': 'true',
        'alt-svc': 'h3=":443"',
      },
    });
    const answer = await browser.fetch('/api/me');
    expect(answer.setCookies.filter((line) => /^(?:session|login-)/.test(line))).toEqual([]);
    expect(Object.keys(answer.headers).filter((name) => /^access-control|clear-site-data|alt-svc/.test(name))).toEqual(
      [],
    );
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('a redirect as it is: nobody follows it with the token', async () => {
    const { browser, api } = await startSignedIn();
    const canary = await startWorld();
    api.answer({ status: 302, headers: { location: `${canary.api.url}/steal` } });
    const answer = await browser.fetch('/api/me');
    expect(answer.status).toBe(302);
    expect(answer.headers.location).toBe(`${canary.api.url}/steal`);
    expect(canary.api.requests).toEqual([]);
  });

  test('events as they come, not when the stream is over', async () => {
    const { browser, api, origin } = await startSignedIn();
    let finish: (() => void) | undefined;
    api.handleRaw((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: first\n\n');
      finish = () => response.end('data: last\n\n');
    });
    const stream = await openStream(origin, browser, '/api/events');
    const first = await within(5, nextChunk(stream), 'the first event did not come');
    expect(first).toBe('data: first\n\n');
    finish?.();
    expect((await readBody(stream)).toString()).toBe('data: last\n\n');
  });

  test('its own abort passed on to the API', async () => {
    const { browser, api } = await startSignedIn();
    const closed = new Promise<void>((resolve) => {
      api.handleRaw((_request, response) => {
        response.once('close', () => resolve());
      });
    });
    const abort = new AbortController();
    const call = outcomeOf(browser.fetch('/api/slow', { signal: abort.signal }));
    await vi.waitFor(() => expect(api.inFlight).toBe(1));
    abort.abort();
    expect(await call).toBe('AbortError');
    await within(5, closed, 'the API did not notice');
    expect(api.inFlight).toBe(0);
  });

  test('502 when the API is down, and 200 when it is up again', async () => {
    const { browser, api, assertNoSecrets } = await startSignedIn();
    await browser.fetch('/api/me');
    await api.down();
    const answer = await browser.fetch('/api/me');
    expect(answer.status).toBe(502);
    expect(answer.json()).toMatchObject({ code: 'upstream_unavailable' });
    await api.up();
    expect((await browser.fetch('/api/me')).status).toBe(200);
    assertNoSecrets();
  });

  test('502 when the API answers with something that is not HTTP', async () => {
    const hostile = await startRawServer((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'));
    const { browser } = await startSignedIn({ config: { api: [{ path: '/api', target: hostile.url }] } });
    const answer = await browser.fetch('/api/me');
    await hostile.close();
    expect(answer.status).toBe(502);
    expect(answer.json()).toMatchObject({ code: 'upstream_unavailable' });
  });

  test('504 when the API takes too long', async () => {
    const { browser, api } = await startSignedIn({ config: { upstream: { timeoutSeconds: 0.3 } } });
    api.handleRaw(() => undefined);
    const answer = await browser.fetch('/api/me');
    expect(answer.status).toBe(504);
    expect(answer.json()).toMatchObject({ code: 'upstream_timeout' });
  });
});

describe('when the API refuses the token', () => {
  test('it is renewed and the call made once more, body included', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.rejectTokens(1);
    const answer = await browser.fetch('/api/orders', { method: 'POST', body: { n: 1 } });
    expect(answer.status).toBe(200);
    expect(api.requests.map((request) => request.body.toString())).toEqual(['{"n":1}', '{"n":1}']);
    expect(api.requests[0]?.token).not.toBe(api.requests[1]?.token);
    expect(provider.calls.refresh).toBe(1);
  });

  test('twice, the second refusal is the answer', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.rejectTokens(2);
    const answer = await browser.fetch('/api/me');
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toContain('invalid_token');
    expect(api.requests).toHaveLength(2);
    expect(provider.calls.refresh).toBe(1);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('always, that does not make a refresh of every call', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.rejectTokens(() => true);
    for (let call = 0; call < 20; call += 1) expect((await browser.fetch(`/api/${call}`)).status).toBe(401);
    expect(provider.calls.refresh).toBeLessThanOrEqual(3);
  });

  test('and the body was too large to keep, the call is not made twice, but the new cookie arrives', async () => {
    const { browser, api, provider } = await startSignedIn();
    const before = browser.cookies.get(browser.own('session'))?.value;
    api.rejectTokens(1);
    const answer = await browser.fetch('/api/orders', { method: 'POST', body: 'x'.repeat(200_000) });
    expect(answer.status).toBe(401);
    expect(api.requests).toHaveLength(1);
    expect(provider.calls.refresh).toBe(1);
    expect(browser.cookies.get(browser.own('session'))?.value).not.toBe(before);
    const again = await browser.fetch('/api/orders', { method: 'POST', body: 'x'.repeat(200_000) });
    expect(again.status).toBe(200);
    expect(api.last().body.length).toBe(200_000);
  });

  test('for want of scope, it is not renewed', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.answer({ status: 401, headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' } });
    const answer = await browser.fetch('/api/admin');
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toContain('insufficient_scope');
    expect(provider.calls.refresh).toBe(0);
  });

  test('for want of a stronger sign-in, the app gets the login that does it', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.answer({
      status: 401,
      headers: {
        'www-authenticate': 'Bearer error="insufficient_user_authentication", acr_values="urn:test:gold", max_age="60"',
      },
    });
    const answer = await browser.fetch('/api/transfer');
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: 'step_up_required' });
    const login = new URL(String(answer.at('loginUrl')), browser.origin);
    expect(login.pathname).toBe('/bff/login');
    expect(Object.fromEntries(login.searchParams)).toMatchObject({ acr_values: 'urn:test:gold', max_age: '60' });
    expect(provider.calls.refresh).toBe(0);
  });

  test('for want of a stronger sign-in, also where the API offers several schemes', async () => {
    const { browser, api, provider } = await startSignedIn();
    api.answer({
      status: 401,
      headers: { 'www-authenticate': ['Basic realm="x"', 'Bearer error="insufficient_user_authentication"'] },
    });
    const answer = await browser.fetch('/api/transfer');
    expect(answer.json()).toMatchObject({ code: 'step_up_required' });
    expect(provider.calls.refresh).toBe(0);
  });
});

interface RawAnswer {
  status: number;
  body: string;
}

/** A call of the signed-in browser whose path and body go out as they are, unnormalised. */
async function rawCall(
  origin: string,
  browser: BrowserClient,
  path: string,
  { method = 'GET', chunks = [] }: { method?: string; chunks?: string[] } = {},
): Promise<RawAnswer> {
  const response = await openStream(origin, browser, path, { method, chunks });
  return { status: response.statusCode ?? 0, body: (await readBody(response)).toString() };
}

function openStream(
  origin: string,
  browser: BrowserClient,
  path: string,
  { method = 'GET', chunks = [] }: { method?: string; chunks?: string[] } = {},
): Promise<IncomingMessage> {
  const { port, host } = new URL(origin);
  const headers = { host, cookie: browser.cookieHeader() ?? '', 'sec-fetch-site': 'same-origin' };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false }, resolve);
    request.once('error', reject);
    for (const chunk of chunks) request.write(chunk);
    request.end();
  });
}

async function nextChunk(stream: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    stream.once('error', reject);
    stream.once('data', (chunk: Buffer) => {
      stream.pause();
      resolve(chunk.toString());
    });
  });
}
