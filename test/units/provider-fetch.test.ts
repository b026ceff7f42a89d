/** The fetch for the provider: what it sends, what it makes of odd answers, and when it gives up. */
import { spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import { dirname, join } from 'node:path';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createProviderFetch, type ProviderConnections } from '../../src/upstream/provider-fetch.ts';
import { closeNow, freePort, listen, startListener, trackSockets } from '../support/listener.ts';
import { createCertificate, makeCertificate, type TestCertificate } from '../support/tls.ts';
import { within } from '../support/world.ts';

function startFetch(): typeof fetch {
  const providerFetch = createProviderFetch({});
  onTestFinished(() => providerFetch.close());
  return providerFetch.fetch;
}

/** A server that sends these bytes to whoever connects, whatever they ask. */
async function startAnswering(bytes: string): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => socket.end(bytes));
  });
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(() => closeNow(server, sockets));
  return `http://127.0.0.1:${port}/`;
}

async function startCompressed(coding: string, body: Buffer): Promise<string> {
  const server = await startListener((_request, response) => {
    response.writeHead(200, { 'content-encoding': coding }).end(body);
  });
  onTestFinished(() => server.close());
  return `http://127.0.0.1:${server.port}/`;
}

/** A server that takes connections and says nothing. @returns its port, and the connections that it has now */
async function startSilent(): Promise<{ readonly port: number; readonly sockets: ReadonlySet<unknown> }> {
  const server = createTcpServer((socket) => socket.on('error', () => socket.destroy()).resume());
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(() => closeNow(server, sockets));
  return { port, sockets };
}

test('sends the form as it is, and asks for no compression', async () => {
  let seen: unknown;
  const server = await startListener((request, response) => {
    const { method, url, headers } = request;
    request.setEncoding('utf8').once('data', (body: string) => {
      seen = { method, url, type: headers['content-type'], coding: headers['accept-encoding'], body };
    });
    request.on('end', () => response.end('{}'));
  });
  onTestFinished(() => server.close());
  const answer = await startFetch()(`http://127.0.0.1:${server.port}/token?tenant=a%2Fb`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ scope: 'openid email', code: 'a+b' }),
  });
  expect(await answer.json()).toEqual({});
  expect(seen).toEqual({
    method: 'POST',
    url: '/token?tenant=a%2Fb',
    type: 'application/x-www-form-urlencoded',
    coding: 'identity',
    body: 'scope=openid+email&code=a%2Bb',
  });
});

test.each([
  ['gzip', gzipSync],
  ['GZIP', gzipSync],
  ['x-gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
] as const)('understands an answer that is compressed with %s all the same', async (coding, compress) => {
  const address = await startCompressed(coding, compress(Buffer.from('{"a":"ä"}')));
  expect(await (await startFetch()(address)).json()).toEqual({ a: 'ä' });
});

test.each([
  ['cut short', gzipSync('{"a":1}').subarray(0, -9)],
  ['not what it says', Buffer.from('{"a":1}')],
])('a compressed answer that is %s is none', async (_story, body) => {
  await expect(startFetch()(await startCompressed('gzip', body))).rejects.toThrow(/^GET .*: /);
});

test('waits for the answer after interim ones', async () => {
  const early = 'HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n';
  const address = await startAnswering(
    `${early}${early}HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nX-Own: 1\r\n\r\n{}`,
  );
  const answer = await startFetch()(address);
  expect([answer.status, answer.headers.get('link'), answer.headers.get('x-own')]).toEqual([400, null, '1']);
  expect(await answer.text()).toBe('{}');
});

test('keeps every line of a header, as challenges come', async () => {
  const address = await startAnswering(
    'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="a"\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n',
  );
  expect((await startFetch()(address)).headers.get('www-authenticate')).toBe('Basic realm="a", Bearer');
});

test.each([204, 205, 304])('a %i has no content', async (status) => {
  const answer = await startFetch()(await startAnswering(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`));
  expect([answer.status, await answer.text()]).toEqual([status, '']);
});

test.each([
  'HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{',
  'SSH-2.0-x\r\n',
])('an answer that breaks HTTP is none: %j', async (bytes) => {
  await expect(startFetch()(await startAnswering(bytes))).rejects.toThrow(/^GET http:\S+: /);
});

describe('an answer that is too large', () => {
  const limit = 1024 * 1024;

  test.each([
    ['as it is', 'identity', Buffer.alloc(limit + 1, ' ')],
    ['when it is decompressed', 'gzip', gzipSync(Buffer.alloc(limit + 1, ' '))],
  ])('%s is given up, and the reason is told', async (_story, coding, body) => {
    await expect(startFetch()(await startCompressed(coding, body))).rejects.toThrow('the answer is too large');
  });

  test.each([
    ['identity', Buffer.alloc(limit, ' ')],
    ['gzip', gzipSync(Buffer.alloc(limit, ' '))],
  ])('is none at the limit itself: %s', async (coding, body) => {
    expect((await (await startFetch()(await startCompressed(coding, body))).text()).length).toBe(limit);
  });
});

describe('a provider that is silent', () => {
  test.each(['http', 'https'])('over %s is given up in time', async (scheme) => {
    const { port } = await startSilent();
    const call = startFetch()(`${scheme}://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(100) });
    await expect(within(2, call, 'the call')).rejects.toThrow('there was no answer in time');
  });

  test('loses the connection of a call that is given up', async () => {
    const { port, sockets } = await startSilent();
    const call = startFetch()(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(100) });
    await expect(call).rejects.toThrow('there was no answer in time');
    await expect.poll(() => sockets.size).toBe(0);
  });

  test('is not even asked for a call that was given up before', async () => {
    const { port, sockets } = await startSilent();
    const call = startFetch()(`http://127.0.0.1:${port}/`, { signal: AbortSignal.abort() });
    await expect(call).rejects.toThrow(`GET http://127.0.0.1:${port}/`);
    expect(sockets.size).toBe(0);
  });

  test('gets no request that was given up before there was a connection', async () => {
    const seen: unknown[] = [];
    const server = await startListener((request, response) => {
      seen.push(request.url);
      response.end('{}');
    });
    onTestFinished(() => server.close());
    const fetch = startFetch();
    const given = new AbortController();
    const first = fetch(`http://127.0.0.1:${server.port}/first`, { signal: given.signal });
    given.abort();
    await expect(first).rejects.toThrow('/first');
    await fetch(`http://127.0.0.1:${server.port}/second`);
    expect(seen).toEqual(['/second']);
  });
});

/** OpenSSL's own server, because Node's closes the connection without a word; with TLS 1.3, undici hears no word. */
async function startDemanding(authority: string) {
  const { key, file } = await makeCertificate();
  const folder = dirname(file);
  await writeFile(join(folder, 'server.key'), key);
  await writeFile(join(folder, 'authority.crt'), authority);
  const port = await freePort();
  const demands = ['-Verify', '1', '-verify_return_error', '-CAfile', join(folder, 'authority.crt')];
  const own = ['-cert', file, '-key', join(folder, 'server.key'), '-accept', `127.0.0.1:${port}`, '-www'];
  const server = spawn('openssl', ['s_server', '-tls1_2', ...own, ...demands], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(async () => {
    server.kill();
    await once(server, 'close');
  });
  // What it says before is about its settings.
  for await (const text of on(server.stdout, 'data')) if (String(text).includes('ACCEPT')) break;
  return { address: `https://localhost:${port}/`, caFile: file };
}

async function outcomeAt(address: string, connections: ProviderConnections): Promise<string> {
  const providerFetch = createProviderFetch(connections);
  onTestFinished(() => providerFetch.close());
  return providerFetch.fetch(address).then(
    ({ status }) => String(status),
    ({ message }: Error) => message,
  );
}

test('a provider that demands a certificate is shown the one that there is, and a refused one is named in the error', async () => {
  const [own, other] = [await createCertificate(['own.test']), await createCertificate(['other.test'])];
  const { address, caFile } = await startDemanding(own.cert);
  const shows = ({ cert, key }: TestCertificate) => ({ caFile, identity: { current: async () => ({ cert, key }) } });
  expect(await outcomeAt(address, shows(own))).toBe('200');
  expect(await outcomeAt(address, { caFile })).toMatch(/the TLS handshake failed/);
  expect(await outcomeAt(address, shows(other))).toMatch(/refuses the client certificate of/);
});
