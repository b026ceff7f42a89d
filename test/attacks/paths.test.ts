/**
 * The attacker's story: "The proxy lets me call what lies under /api, and puts a token on it. I want what lies beside it:
 * the API's admin pages, its other prefix, another host altogether. Two programs read my path, the proxy and the server
 * behind it. Wherever one decodes, folds, cuts or merges what the other doesn't, I get in between."
 *
 * Must hold: the API, which sits under `/v1/`, gets nothing outside of that, and the canary gets nothing at all.
 */
import { array, assert, asyncProperty, constantFrom, oneof } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { startListener, type Listener } from '../support/listener.ts';
import { rawCall, sendRaw, withPlainLetters } from '../support/raw-call.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;
let canary: Listener;
const canaryRequests: string[] = [];

beforeAll(async () => {
  canary = await startListener((request, response) => {
    canaryRequests.push(request.url ?? '');
    response.end('CANARY');
  });
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        api: [
          { path: '/api', target: `${String(base.api?.[0]?.target)}/v1` },
          { path: '/bare', target: String(base.api?.[0]?.target) },
          { path: '/slashes', target: `${String(base.api?.[0]?.target)}/v1`, allowEncodedSlashes: true },
        ],
      }),
    },
    { scope: 'manual' },
  );
  alice = world.client();
  await signIn(alice);
});

beforeEach(() => {
  world.api.requests.length = 0;
  canaryRequests.length = 0;
});

afterAll(async () => {
  await world.stop();
  await canary.close();
});

/** The status, and what the API got. */
async function outcomeOf(target: string, method = 'GET'): Promise<{ status: number | undefined; got: string[] }> {
  world.api.requests.length = 0;
  const answer = await sendRaw(world, alice, { method, target });
  if (/CANARY/.test(answer)) canaryRequests.push(target);
  return {
    status: rawStatuses(Buffer.from(answer, 'latin1')).at(-1),
    got: world.api.requests.map(({ url }) => withPlainLetters(url)),
  };
}

describe('is refused with 400, and reaches nobody', () => {
  test.each([
    '/api/..',
    '/api/../',
    '/api/../admin',
    '/api/../../admin',
    '/api/orders/../../admin',
    '/api/.',
    '/api/./',
    '/api/./orders',
    '/api/orders/.',
    '/api/orders/..',
    '/api/..?x',
    '/api/%2e',
    '/api/%2e%2e',
    '/api/%2e%2e/admin',
    '/api/%2E%2E/admin',
    '/api/.%2e/admin',
    '/api/%2e./admin',
    '/api/%2e%2E/%2e%2e/admin',
    '/api/..%2fadmin',
    '/api/..%2Fadmin',
    '/api/%2e%2e%2fadmin',
    '/api/..%5cadmin',
    '/api/..%5Cadmin',
    '/api/..\\admin',
    '/api/\\..\\admin',
    '/api/orders%2f..%2f..%2fadmin',
    '/api/orders%2fadmin',
    '/api/orders%5cadmin',
    '/api/%2fetc/passwd',
    '/api/%5c%5chost',
    '/api/..;/admin',
    '/api/..;x=y/admin',
    '/api/.;/orders',
    '/api/;/../admin',
    '/api/..%3b/admin',
    '/api/%2e%2e;/admin',
    '/api/%2e%2e%3Bx/admin',
    '/api/%00',
    '/api/orders%00.json',
    '/api/%00/../admin',
    '/api/orders#fragment',
    '/api/#/../admin',
    '/api/orders?x=1#fragment',
    '/api/orders?#',
    '/api/../bff/session',
    '/bare/../admin',
    '/bare/..;/admin',
    '/slashes/../admin',
    '/slashes/..%2fadmin',
    '/slashes/%2e%2e%2fadmin',
    '/slashes/..%5cadmin',
    '/slashes/a%2f..%2f..%2fadmin',
    '/slashes/a%2f%2e%2e%2fadmin',
    '/slashes/a%5c..%5c..%5cadmin',
    '/slashes/a%2f..',
    '/api/%252e%252e/admin',
    '/api/%252E%252e/admin',
    '/api/.%252e/admin',
    '/api/%25252e%25252e/admin',
    '/api/%%32%65%%32%65/admin',
    '/%61pi/%%32%65%%32%65/admin',
    '/%61pi/.%%32e/admin',
    '/ap%69/%2%65%2%65/admin',
    '/%61pi/..%%32fadmin',
    '/api/..%252fadmin',
    '/api/%252e%252e%252fadmin',
    '/api/..%255cadmin',
    '/api/orders%252f..%252f..%252fadmin',
    '/api/..%253b/admin',
    '/api/%252e%252e;/admin',
    '/bare/%252e%252e',
    '/slashes/%252e%252e%252fadmin',
    '/slashes/a%252f..%252fadmin',
  ])('%s', async (target) => {
    expect(await outcomeOf(target)).toEqual({ status: 400, got: [] });
  });

  test('any path with a byte that a URL must encode', async () => {
    const wrong: number[] = [];
    for (let byte = 0; byte < 256; byte += 1) {
      // It begins the query.
      if (byte === 0x3f) continue;
      const character = String.fromCharCode(byte);
      const isVisible = byte > 0x20 && byte < 0x7f && !'\\#'.includes(character);
      const expected = isVisible ? `200 /v1/a${character}b` : '400 ';
      const { status, got } = await outcomeOf(`/api/a${character}b`);
      if (`${status} ${got.join()}` !== expected) wrong.push(byte);
    }
    expect(wrong).toEqual([]);
  });
});

describe('is not taken for an API call at all', () => {
  test.each([
    ['//HOST/api', 'a host in front'],
    ['//HOST/api/orders', 'a host in front'],
    ['///HOST/api/orders', 'more slashes'],
    ['//api/orders', 'a doubled slash'],
    ['/\\HOST/api', 'a backslash'],
    ['ws://HOST/api/orders', 'a socket’s scheme'],
    ['file:///api/orders', 'a file'],
    ['@HOST/api/orders', 'a host behind an @'],
    ['HOST/api/orders', 'no slash'],
    ['api/orders', 'no slash'],
    ['*', 'the asterisk form'],
    ['?/api', 'a query only'],
    ['#/api', 'a fragment only'],
    ['/apiX', 'the prefix in the middle of a segment'],
    ['/api.', 'a dot'],
    ['/api..', 'two dots'],
    ['/api..;/admin', 'two dots and a parameter'],
    ['/api;/orders', 'a path parameter'],
    ['/api;x=y/orders', 'a path parameter'],
    ['/api@HOST/orders', 'the prefix as a user name'],
    ['/api:80/orders', 'the prefix as a host'],
    ['/api%2forders', 'an encoded slash behind the prefix'],
    ['/api%2f..%2fadmin', 'an encoded slash and dots'],
    ['/api%5corders', 'an encoded backslash behind the prefix'],
    ['/api%3fx', 'an encoded question mark'],
    ['/api%00/orders', 'a NUL'],
    ['/api%20/orders', 'a space'],
    ['/API/orders', 'capitals'],
    ['/%2fapi/orders', 'an encoded slash in front'],
    ['/./api/orders', 'a dot segment in front'],
    ['/x/../api/orders', 'dot segments in front'],
    ['/bff/../api/orders', 'dot segments in front'],
    ['/%2e%2e/api/orders', 'encoded dot segments in front'],
    ['/;/api/orders', 'a parameter in front'],
  ])('%s (%s)', async (pattern) => {
    for (const method of ['GET', 'POST', 'CONNECT', 'OPTIONS']) {
      const { status, got } = await outcomeOf(pattern.replace('HOST', `127.0.0.1:${canary.port}`), method);
      expect(got).toEqual([]);
      expect([200, 400, 404, 405, undefined]).toContain(status);
    }
    expect(canaryRequests).toEqual([]);
  });
});

describe('the absolute form (RFC 9112 3.2.2)', () => {
  test.each([
    ['GET', '/api/orders', '/v1/orders'],
    ['DELETE', '/api/orders?x=http://CANARY/', '/v1/orders?x=http://CANARY/'],
    ['POST', '/api', '/v1'],
    ['GET', '/api?x', '/v1?x'],
    ['GET', '/%61pi/a//b', '/v1/a//b'],
    ['GET', '/bare', '/'],
    ['GET', '/slashes/a%2Fb', '/v1/a%2Fb'],
  ])('%s %s is the same as without the origin', async (method, target, expected) => {
    for (const origin of [world.origin, world.origin.replace('http:', 'HTTP:')]) {
      expect(await outcomeOf(origin + target, method)).toEqual({ status: 200, got: [expected] });
    }
  });

  test.each(['/bff/session', '/assets/app.js', '/', '', '?x'])('%s, too', async (target) => {
    const answers = await Promise.all(
      [target === '' || target === '?x' ? `/${target}` : target, world.origin + target].map((written) =>
        sendRaw(world, alice, { target: written, lines: ['Accept: text/html'] }),
      ),
    );
    const [plain, absolute] = answers.map((answer) => answer.replace(/^date: .*$/im, ''));
    expect(plain).toMatch(/^HTTP\/1\.1 200 /);
    expect(absolute).toBe(plain);
  });

  test.each([
    '/api/../admin',
    '/api/%2e%2e/admin',
    '/api/..%2fadmin',
    '/api/orders#x',
    '/api\\..\\admin',
    '/api/%252e%252e/admin',
    '/slashes/..%2fadmin',
  ])('%s is refused as without the origin', async (target) => {
    expect(await outcomeOf(world.origin + target)).toEqual({ status: 400, got: [] });
  });

  test.each([
    'http://HOST/api/orders',
    'HTTP://HOST/api/orders',
    'https://HOST/api/orders',
    'http://HOST',
    'http://HOST/',
    'http://user@HOST/api/orders',
    'http://user:secret@HOST/api/orders',
    'http://OWN@HOST/api/orders',
    'http://OWN:x@HOST/api/orders',
    'http://HOST#@OWN/api/orders',
    'http://HOST\\@OWN/api/orders',
    'http://HOST?@OWN/api/orders',
    'http:///api/orders',
    'http:/api/orders',
    'http:api/orders',
    'http://',
    'http://OWN//HOST/api/orders',
    'http://OWN/http://HOST/api/orders',
    'http://[::1]/api/orders',
    'http://[/api/orders',
    'http:// /api/orders',
    'https://OWN/api/orders',
  ])('%s leads nobody to another host, and says nothing of it to the API', async (pattern) => {
    const target = pattern.replace('HOST', `127.0.0.1:${canary.port}`).replace('OWN', new URL(world.origin).host);
    for (const method of ['GET', 'POST']) {
      const { status, got } = await outcomeOf(target, method);
      expect([[], ['/v1/orders']]).toContainEqual(got);
      expect([200, 400, 404, 405, 421]).toContain(status);
      const hosts = world.api.requests.map(({ headers }) => [headers.host, headers['x-forwarded-host']]);
      expect(hosts).toEqual(got.map(() => [`127.0.0.1:${world.api.port}`, new URL(world.origin).host]));
    }
    expect(canaryRequests).toEqual([]);
  });

  test('of a WebSocket opens it, and of an upload with `Expect` asks for the body once', async () => {
    world.api.server.once('upgrade', (request, socket) => {
      world.api.requests.length = 0;
      socket.end(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Url: ${request.url}\r\n\r\n`,
      );
    });
    const upgrade = [
      `Origin: ${world.origin}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ];
    const target = `${world.origin}/api/events`;
    const opened = await rawRequest(world.server.port, rawCall(world, alice, { target, lines: upgrade }));
    expect(opened.toString()).toMatch(/^HTTP\/1\.1 101 [^]*x-url: \/v1\/events/i);
    const lines = ['Expect: 100-continue', 'Content-Length: 2', 'Connection: close'];
    const body = 'ok';
    const sent = await rawRequest(
      world.server.port,
      rawCall(world, alice, { method: 'POST', target: `${world.origin}/api/orders`, lines, body }),
    );
    expect(rawStatuses(sent)).toEqual([100, 200]);
    expect(world.api.last().body.toString()).toBe('ok');
  });
});

describe('stays on the API’s host and below its path', () => {
  test.each([
    ['/api//HOST/x', '/v1//HOST/x'],
    ['/api///HOST/x', '/v1///HOST/x'],
    ['/api/@HOST/x', '/v1/@HOST/x'],
    ['/api/http://HOST/x', '/v1/http://HOST/x'],
    ['/api/x?to=http://HOST/', '/v1/x?to=http://HOST/'],
    ['/api?@HOST/', '/v1?@HOST/'],
    ['/api?/../admin', '/v1?/../admin'],
    ['/api/x?..%2f..%00\\', '/v1/x?..%2f..%00\\'],
    ['/bare//HOST/x', '//HOST/x'],
    ['/bare/@HOST/x', '/@HOST/x'],
    ['/bare?@HOST', '/?@HOST'],
    ['/bare//', '//'],
    ['/slashes/a%2Fb%5cc', '/v1/a%2Fb%5cc'],
    ['/api/...', '/v1/...'],
    ['/api/.a/..b/c..', '/v1/.a/..b/c..'],
    ['/api/a;b=c/d', '/v1/a;b=c/d'],
    ['/api/%25%32%30', '/v1/%2520'],
    ['/api/%25%32%65', '/v1/%252e'],
    ['/%61pi/%6frders%2d%7E', '/v1/orders-~'],
    ['/api/%41?%41', '/v1/A?%41'],
    ['/api/%zz%', '/v1/%zz%'],
    ['/%61pi/a%7Eb', '/v1/a~b'],
    ['/api/a%7Eb', '/v1/a~b'],
  ])('%s', async (target, expected) => {
    const host = `127.0.0.1:${canary.port}`;
    const { status, got } = await outcomeOf(target.replace('HOST', host));
    expect({ status, got }).toEqual({ status: 200, got: [expected.replace('HOST', host)] });
    expect(canaryRequests).toEqual([]);
  });

  test('a WebSocket’s path, too', async () => {
    for (const target of [
      `/api//127.0.0.1:${canary.port}/x`,
      `/bare//127.0.0.1:${canary.port}/x`,
      '/api/../x',
      '/bare/@x',
    ]) {
      const lines = [
        `Origin: ${world.origin}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ];
      expect(await sendRaw(world, alice, { target, lines })).not.toContain('CANARY');
    }
    expect(canaryRequests).toEqual([]);
  });

  test('up to 16 kB; beyond what a head may hold it is 431, and never an error of ours', async () => {
    const long = `/api/${'a'.repeat(16_000)}`;
    expect(await outcomeOf(long)).toEqual({ status: 200, got: [long.replace('/api', '/v1')] });
    expect(await outcomeOf(`/api/${'../'.repeat(5000)}admin`)).toEqual({ status: 400, got: [] });
    expect(await outcomeOf(`/api/${'a'.repeat(40_000)}`)).toEqual({ status: 431, got: [] });
  });
});

test('whatever gets through is the target’s path and the bytes behind the prefix', async () => {
  const piece = oneof(
    constantFrom(
      '/',
      '//',
      '.',
      '..',
      '%2e',
      '%2F',
      '%5c',
      '%00',
      '%25',
      '%252e',
      '%41',
      '%7E',
      ';',
      '@',
      ':',
      '?',
      '#',
      '&',
      '=',
      '\\',
      '%',
    ),
    constantFrom('a', 'orders', 'é', '\u00ff', '~', '!', "'", '(', '*', '+', ',', '|', '^', '{', '`', '"', '<'),
  );
  const routes = constantFrom(['/api', '/v1'], ['/bare', ''], ['/slashes', '/v1']);
  let through = 0;
  await assert(
    asyncProperty(routes, array(piece, { maxLength: 7 }), async ([prefix = '', target = ''], pieces) => {
      const rest = pieces.join('');
      const { status, got } = await outcomeOf(prefix + rest);
      if (got.length > 0) through += 1;
      const decoded = withPlainLetters(rest);
      const expected = decoded.startsWith('/') ? target + decoded : (target === '' ? '/' : target) + decoded;
      expect([[], [expected]]).toContainEqual(got);
      expect([200, 400, 404]).toContain(status);
      // Whoever behind us resolves it must stay below the target's path.
      for (const url of got) {
        const folded = new URL(`http://api${url.replaceAll(/%2f|%5c/gi, '/')}`).pathname;
        expect(folded.startsWith(target)).toBe(true);
      }
    }),
    { numRuns: 400 },
  );
  expect(through).toBeGreaterThan(40);
});
