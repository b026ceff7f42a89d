/**
 * The attacker's story: "I send what no browser sends and few tests think of: targets that are no paths, names that
 * objects have by birth, old and unborn versions, methods for tunnels, heads as large as books, bytes that are no text.
 * Somewhere a line of code takes for granted what I leave out, and its exception is nobody's."
 *
 * Must hold, on both listeners: an answer of the 2xx to 4xx kind or a closed connection, never a 500, never an end.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { cookieName } from '../support/cookie-names.ts';
import { freePort } from '../support/listener.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';
import { startMeasured, type SeparateServer } from '../support/separate-server.ts';
import { outcomeOf, signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let server: SeparateServer;
let browser: BrowserClient;
let host: string;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  await world.server.close();
  const listen = { ...world.config.listen, opsPort: await freePort() };
  server = await startMeasured({ ...world.config, listen, logLevel: 'info' }, {}, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
  ({ host } = new URL(world.origin));
});

afterAll(async () => {
  await server.stop();
  await world.stop();
});

const born = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__'];
const targets = [
  '*',
  '/',
  '//',
  '///',
  '/?',
  '/#',
  '/%',
  '/%zz',
  '/%00',
  '/%ff%fe',
  '/\x01',
  '/\x7f',
  '/\xff\xfe',
  '/\xed\xa0\x80',
  '/api/\xff',
  '/api/%',
  '/api/%c0%ae',
  '/bff/\xff',
  '/bff/%',
  '/bff/login?returnTo=%',
  '/bff/login?returnTo=%ff',
  '/bff/login?%',
  '/bff/callback?code=%ff&state=%',
  '/bff/callback?state=__proto__&code=constructor',
  '/bff/session?constructor',
  '?',
  'x',
  'http:',
  'http://',
  'http:///',
  'http://[',
  'http://[::1',
  'http://%/',
  'http://user:pass@host/',
  'http://host:99999/',
  'http://host:port/',
  'https://host/api/x',
  'ftp://host/',
  'javascript:alert(1)',
  'data:,x',
  'host:443',
  `/${'x'.repeat(30_000)}`,
  `/api/${'../'.repeat(2000)}`,
  `/?${'a&'.repeat(5000)}`,
  ...born,
  ...born.map((name) => `/${name}`),
  ...born.map((name) => `/api/${name}`),
  ...born.map((name) => `/bff/${name}`),
];
const methods = ['GET', 'HEAD', 'OPTIONS', 'CONNECT', 'TRACE', 'QUERY', 'M-SEARCH', 'POST', 'constructor', 'get', ''];
const heads: Readonly<Record<string, string>> = {
  'a head of 100 kB': `GET / HTTP/1.1\r\nHost: HOST\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
  'many headers': `GET / HTTP/1.1\r\nHost: HOST\r\n${'X: y\r\n'.repeat(5000)}\r\n`,
  'many cookies': `GET /bff/session HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nCookie: ${'SESSION=x; '.repeat(2000)}\r\n\r\n`,
  'odd cookies': `GET /bff/session HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nCookie: =; ;;=x; __proto__=x; SESSION; SESSION.0=x; SESSION.999999999=x; SESSION.-1=x; \xff=\xff\r\n\r\n`,
  'cookies twice':
    'GET /bff/session HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nCookie: SESSION=a\r\nCookie: SESSION=b\r\n\r\n',
  'bytes that are no text': `GET / HTTP/1.1\r\nHost: HOST\r\nX: \xff\xfe\xed\xa0\x80\r\nAccept: \xff\r\nAccept-Language: \xff\r\n\r\n`,
  'headers by birth': `GET / HTTP/1.1\r\nHost: HOST\r\n${born.map((name) => `${name}: x\r\n`).join('')}\r\n`,
  'an empty host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
  'a host that is none': 'GET / HTTP/1.1\r\nHost: [\r\n\r\n',
  'a host with a path': 'GET / HTTP/1.1\r\nHost: a/b?c#d\r\n\r\n',
  'a host with a space': 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
  'a host of bytes': 'GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n',
  'a host with a user': 'GET /bff/login HTTP/1.1\r\nHost: user@evil\r\nSec-Fetch-Mode: navigate\r\n\r\n',
  'no host': 'GET / HTTP/1.1\r\n\r\n',
  'HTTP/1.0': 'GET / HTTP/1.0\r\n\r\n',
  'HTTP/1.0 to an API': 'GET /api/x HTTP/1.0\r\nSec-Fetch-Site: same-origin\r\n\r\n',
  'HTTP/1.0 to the sign-in': 'GET /bff/login HTTP/1.0\r\nSec-Fetch-Mode: navigate\r\n\r\n',
  'HTTP/1.0 with chunks': 'POST /bff/refresh HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/0.9': 'GET /\r\n\r\n',
  'HTTP/1.2': 'GET / HTTP/1.2\r\nHost: HOST\r\n\r\n',
  'HTTP/2.0': 'GET / HTTP/2.0\r\nHost: HOST\r\n\r\n',
  'HTTP/2 by prior knowledge': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  TLS: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'a PROXY header': 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n',
  'lines that end with LF': 'GET / HTTP/1.1\nHost: HOST\n\n',
  'empty lines first': '\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\n\r\n',
  'a range': 'GET / HTTP/1.1\r\nHost: HOST\r\nRange: bytes=-999999999999999999999\r\n\r\n',
  'odd conditions':
    'GET / HTTP/1.1\r\nHost: HOST\r\nIf-Modified-Since: \xff\r\nIf-None-Match: ","\r\nIf-Range: x\r\n\r\n',
  'odd encodings': 'GET / HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: constructor;q=NaN, __proto__, *;q=-1\r\n\r\n',
  'a forwarded chain': `GET /api/x HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nX-Forwarded-For: ${'1,'.repeat(5000)}\r\n\r\n`,
  'a body with GET': 'GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nhello',
  'a form that is none':
    'POST /bff/logout HTTP/1.1\r\nHost: HOST\r\nContent-Type: multipart/form-data\r\nContent-Length: 5\r\n\r\nhello',
  'a form of bytes':
    'POST /bff/callback HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\n%\xff=%\xff',
  'a type that is none':
    'POST /bff/callback HTTP/1.1\r\nHost: HOST\r\nContent-Type: \xff;;=\r\nContent-Length: 5\r\n\r\nhello',
  'an unknown expectation': 'POST /api/x HTTP/1.1\r\nHost: HOST\r\nExpect: cake\r\nContent-Length: 5\r\n\r\nhello',
  'an expectation with an upgrade':
    'GET /api/x HTTP/1.1\r\nHost: HOST\r\nExpect: 100-continue\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an upgrade by CONNECT': 'CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an upgrade to *':
    'OPTIONS * HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'an upgrade to a host':
    'GET http://[ HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
};

/** Sends it to a port; nothing answers with a 500, and the connection is not kept waiting. */
async function serverErrorsOf(port: number, request: string): Promise<number[]> {
  const text = request.replaceAll('HOST', host).replaceAll('SESSION', cookieName('session', `http://${host}`));
  const answer = await rawRequest(port, Buffer.from(text, 'latin1'), 300);
  return rawStatuses(answer).filter((status) => status >= 500);
}

/** What has gone wrong: an end, a 500, a warning; nothing, if all is well. */
async function harm(): Promise<readonly unknown[]> {
  const outcomes = [await outcomeOf(browser.fetch('/api/next')), await outcomeOf(fetch(opsUrl('/livez')))];
  if (server.death !== undefined) return [server.death];
  const { warnings, faults } = await server.gauges();
  return [...outcomes.filter((outcome) => outcome !== 200), ...warnings, ...faults];
}

function opsUrl(path: string): string {
  return `http://127.0.0.1:${server.opsPort}${path}`;
}

describe.each<[listener: string, port: () => number]>([
  ['the public listener', () => server.port],
  ['the listener for operations', () => server.opsPort ?? 0],
])('%s', (_, port) => {
  test.each(methods)('takes every odd target (%s)', async (method) => {
    const navigation = 'Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\nConnection: close\r\n';
    const answers = targets.map(async (target) => {
      const request = `${method} ${target} HTTP/1.1\r\nHost: HOST\r\n${navigation}\r\n`;
      return [target, await serverErrorsOf(port(), request)] as const;
    });
    expect((await Promise.all(answers)).filter(([, errors]) => errors.length > 0)).toEqual([]);
    expect(await harm()).toEqual([]);
  });

  test('takes every odd head and body', async () => {
    const answers = Object.entries(heads).map(
      async ([story, request]) => [story, await serverErrorsOf(port(), request)] as const,
    );
    expect((await Promise.all(answers)).filter(([, errors]) => errors.length > 0)).toEqual([]);
    expect(await harm()).toEqual([]);
  });
});

test('a call with a session to any odd target is answered or refused', async () => {
  const own = `Cookie: ${browser.cookieHeader() ?? ''}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n`;
  for (const method of methods) {
    const requests = targets.map((target) => `${method} ${target} HTTP/1.1\r\nHost: HOST\r\n${own}\r\n`);
    const errors = await Promise.all(requests.map((request) => serverErrorsOf(server.port, request)));
    expect(errors.flat()).toEqual([]);
  }
  expect(await harm()).toEqual([]);
}, 60_000);
