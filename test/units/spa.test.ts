import { createHash } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { getRequestListener } from '@hono/node-server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createSpaFolder } from '../../src/spa/folder.ts';
import type { SpaFolderOptions } from '../../src/spa/folder.ts';
import { inlineHashes, securityHeaders } from '../../src/spa/security-headers.ts';
import type { HeaderOverrides } from '../../src/spa/security-headers.ts';
import { startListener, type Listener } from '../support/listener.ts';

const origin = 'https://app.example.com';
const indexHtml = '<!doctype html><title>App</title><script type="module" src="/assets/index-DiwrgTda.js"></script>';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-spa-'));
  await put('index.html', indexHtml);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function put(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

function spa(options: Partial<SpaFolderOptions> = {}): (path: string, init?: RequestInit) => Promise<Response> {
  const { fetch } = createSpaFolder({ folder, origin, ...options });
  return (path, init) => fetch(new Request(origin + path, init));
}

const navigate = { headers: { 'Sec-Fetch-Mode': 'navigate', Accept: 'text/html,*/*;q=0.8' } };
const notFound = { code: 'route_not_found', status: 404 };

/** The files of the folder that this process holds open (Linux). */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(folder) ? [target] : [];
    } catch {
      return []; // closed since it was listed
    }
  });
}

function dateOf(seconds: number): string {
  return new Date(seconds * 1000).toUTCString();
}

/** The CSP source expression for an inline script or style. */
function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** The coding that `/app.js` comes in, after a look at what has to be the same whichever it is. */
async function codingFor(acceptEncoding: string | undefined): Promise<string> {
  const headers = acceptEncoding === undefined ? {} : { 'Accept-Encoding': acceptEncoding };
  const response = await spa()('/app.js', { headers: headers as Record<string, string> });
  expect(response.headers.get('vary')).toBe('Accept-Encoding');
  expect(response.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
  const coding = response.headers.get('content-encoding') ?? 'identity';
  const body = await response.text();
  expect(body === 'plain').toBe(coding === 'identity');
  return coding;
}

async function serve(): Promise<Listener> {
  const answer = getRequestListener(createSpaFolder({ folder, origin }).fetch, { overrideGlobalObjects: false });
  return startListener((request, response) => void answer(request, response));
}

describe('creating', () => {
  test('says what to do when the folder is not there', () => {
    expect(() => createSpaFolder({ folder: join(folder, 'dist'), origin })).toThrow(
      /dist is not a folder\. Build the app first/,
    );
  });

  test('says what to do when the folder holds no index.html', async () => {
    await rm(join(folder, 'index.html'));
    expect(() => createSpaFolder({ folder, origin })).toThrow(/index\.html is missing\. Build the app first/);
  });

  test('refuses an override that is no valid header', () => {
    expect(() => createSpaFolder({ folder, origin, headers: { 'X Team': 'blue' } })).toThrow(/invalid header name/);
    expect(() => createSpaFolder({ folder, origin, headers: { 'X-Team': 'a\r\nb' } })).toThrow(/invalid header value/);
  });

  test('says what is wrong when index.html is a folder', async () => {
    await rm(join(folder, 'index.html'));
    await mkdir(join(folder, 'index.html'));
    expect(() => createSpaFolder({ folder, origin })).toThrow(/not a regular file/);
  });
});

describe('files', () => {
  test('serves the document at the root, to be revalidated each time', async () => {
    const response = await spa()('/');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('content-length')).toBe(String(indexHtml.length));
    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(response.headers.has('vary')).toBe(false);
    expect(await response.text()).toBe(indexHtml);
  });

  test.each([
    ['app.js', 'text/javascript; charset=utf-8'],
    ['app.css', 'text/css; charset=utf-8'],
    ['module.wasm', 'application/wasm'],
    ['logo.svg', 'image/svg+xml; charset=utf-8'],
    ['font.woff2', 'font/woff2'],
    ['site.webmanifest', 'application/manifest+json'],
    ['data.json', 'application/json'],
    ['LICENSE', 'application/octet-stream'],
  ])('names the media type of %s', async (name, type) => {
    await put(name, 'x');
    const response = await spa()(`/${name}`);
    expect(response.headers.get('content-type')).toBe(type);
    await response.body?.cancel();
  });

  test('finds names with spaces and letters of other scripts', async () => {
    await put('bilder/grüße aus 東京.txt', 'hallo');
    const response = await spa()('/bilder/gr%C3%BC%C3%9Fe%20aus%20%E6%9D%B1%E4%BA%AC.txt');
    expect(await response.text()).toBe('hallo');
  });

  test('serves an empty file', async () => {
    await put('empty.txt', '');
    const response = await spa()('/empty.txt');
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '0', '']);
    expect(openFiles()).toEqual([]);
  });

  test('serves /.well-known/ files', async () => {
    await put('.well-known/security.txt', 'Contact: x');
    expect(await (await spa()('/.well-known/security.txt')).text()).toBe('Contact: x');
  });

  test('streams a large file byte for byte', async () => {
    const content = new Uint8Array(300_000).map((_, index) => index % 251);
    await put('video.mp4', content);
    const response = await spa()('/video.mp4');
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(content);
    expect(openFiles()).toEqual([]);
  });

  test('answers HEAD as GET, without the body and with no file left open', async () => {
    const fetch = spa();
    const head = await fetch('/', { method: 'HEAD' });
    const get = await fetch('/');
    await get.body?.cancel();
    expect(head.status).toBe(200);
    expect(head.body).toBeNull();
    expect([...head.headers]).toEqual([...get.headers]);
    expect(openFiles()).toEqual([]);
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('refuses %s and names what is allowed', async (method) => {
    await expect(spa()('/', { method })).rejects.toMatchObject({
      code: 'method_not_allowed',
      headers: { allow: 'GET, HEAD' },
    });
  });
});

describe('folders', () => {
  test('serves the index.html of a folder', async () => {
    await put('docs/index.html', 'docs');
    expect(await (await spa()('/docs/')).text()).toBe('docs');
  });

  test('sends the browser from /docs to /docs/, query included, and leaves no file open', async () => {
    await put('a/docs/index.html', 'docs');
    const response = await spa()('/a/docs?x=1&y=%2F');
    expect(response.status).toBe(302);
    expect(response.headers.get('location')).toBe('./docs/?x=1&y=%2F');
    expect(new URL('./docs/?x=1', `${origin}/a/docs`).pathname).toBe('/a/docs/');
    expect(openFiles()).toEqual([]);
  });

  test('lists no folder', async () => {
    await put('assets/app.js', 'x');
    await expect(spa()('/assets/')).rejects.toMatchObject(notFound);
    await expect(spa()('/assets')).rejects.toMatchObject(notFound);
    expect(openFiles()).toEqual([]);
  });
});

describe('history fallback', () => {
  test.each(['/orders/42', '/orders/42/', '/users/jane.doe', '/user/a%2Fb', '/tag/c:d', '/old.html'])(
    'answers a navigation to the route %s with index.html',
    async (path) => {
      const response = await spa()(path, navigate);
      expect(response.status).toBe(200);
      expect(response.headers.get('cache-control')).toBe('no-cache');
      expect(await response.text()).toBe(indexHtml);
    },
  );

  test('knows a navigation by Accept where a browser sends no Sec-Fetch-Mode', async () => {
    const response = await spa()('/orders', { headers: { Accept: 'text/html,application/xhtml+xml' } });
    expect(await response.text()).toBe(indexHtml);
  });

  test.each([
    ['a fetch() that accepts HTML', { 'Sec-Fetch-Mode': 'cors', Accept: 'text/html' }],
    ['a fetch() of JSON', { Accept: 'application/json' }],
    ['a client that accepts anything', { Accept: '*/*' }],
    ['a client that excludes HTML', { Accept: 'text/html;q=0' }],
    ['a client that says nothing', {}],
  ])('does not answer %s with HTML', async (_, headers) => {
    await expect(spa()('/orders', { headers: headers as Record<string, string> })).rejects.toMatchObject(notFound);
  });

  test.each(['/assets/index-00000000.js', '/logo.png', '/data.json', '/app.js.map'])(
    'answers the missing asset %s with 404, also when it is navigated to',
    async (path) => {
      await expect(spa()(path, navigate)).rejects.toMatchObject(notFound);
    },
  );

  test('answers a missing /.well-known/ address with 404, which is what its readers look for', async () => {
    await expect(spa()('/.well-known/change-password', navigate)).rejects.toMatchObject(notFound);
  });

  test('fails loudly when index.html has gone', async () => {
    const fetch = spa();
    await rm(join(folder, 'index.html'));
    await expect(fetch('/', navigate)).rejects.toThrow(/index\.html has gone/);
  });
});

describe('conditional requests', () => {
  test('answers 304 to its own ETag, strong or weakened on the way, alone or in a list', async () => {
    const fetch = spa();
    const first = await fetch('/', { method: 'HEAD' });
    const etag = first.headers.get('etag') ?? '';
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const response = await fetch('/', { headers: { 'If-None-Match': value } });
      expect([response.status, response.body, response.headers.get('etag')]).toEqual([304, null, etag]);
      expect(response.headers.get('cache-control')).toBe('no-cache');
      expect(response.headers.has('content-length')).toBe(false);
    }
    expect((await fetch('/', { method: 'HEAD', headers: { 'If-None-Match': '"other"' } })).status).toBe(200);
    expect(openFiles()).toEqual([]);
  });

  test('answers If-Modified-Since to the second', async () => {
    await put('notes.txt', 'x');
    await utimes(join(folder, 'notes.txt'), 1_700_000_000.7, 1_700_000_000.7);
    const head = async (headers: Record<string, string>): Promise<number> =>
      (await spa()('/notes.txt', { method: 'HEAD', headers })).status;

    expect((await spa()('/notes.txt', { method: 'HEAD' })).headers.get('last-modified')).toBe(dateOf(1_700_000_000));
    expect(await head({ 'If-Modified-Since': dateOf(1_700_000_000) })).toBe(304);
    expect(await head({ 'If-Modified-Since': dateOf(1_699_999_999) })).toBe(200);
    expect(await head({ 'If-Modified-Since': 'yesterday' })).toBe(200);
    expect(await head({ 'If-Modified-Since': dateOf(1_700_000_000), 'If-None-Match': '"other"' })).toBe(200);
  });

  test.each(['overwritten', 'replaced'])(
    'changes the ETag of an index.html that is %s with the same size and modification time, as by a reproducible build',
    async (how) => {
      const fetch = spa();
      const path = join(folder, 'index.html');
      await utimes(path, 1, 1);
      const before = (await fetch('/', { method: 'HEAD' })).headers.get('etag') ?? '';

      const written = how === 'overwritten' ? path : `${path}.new`;
      await writeFile(written, indexHtml.replace('DiwrgTda', 'BX1aQ3dd'));
      await rename(written, path);
      await utimes(path, 1, 1);

      const after = await fetch('/', { headers: { 'If-None-Match': before } });
      expect(after.status).toBe(200);
      expect(await after.text()).toContain('BX1aQ3dd');
    },
  );

  test('serves the new release when a deployment switches the link that is the folder', async () => {
    await put('releases/1/index.html', 'one');
    await put('releases/2/index.html', 'two');
    const current = join(folder, 'current');
    await symlink(join(folder, 'releases/1'), current);
    const fetch = spa({ folder: current });
    expect(await (await fetch('/')).text()).toBe('one');
    await symlink(join(folder, 'releases/2'), `${current}.new`);
    await rename(`${current}.new`, current);
    expect(await (await fetch('/')).text()).toBe('two');
  });
});

describe('ranges', () => {
  beforeEach(() => put('abc.txt', 'abcdefghij'));

  test.each([
    ['bytes=0-3', 'abcd', 'bytes 0-3/10'],
    ['bytes=7-', 'hij', 'bytes 7-9/10'],
    ['bytes=-2', 'ij', 'bytes 8-9/10'],
    ['bytes=-99', 'abcdefghij', 'bytes 0-9/10'],
    ['bytes=8-99', 'ij', 'bytes 8-9/10'],
  ])('serves %s', async (range, body, contentRange) => {
    const response = await spa()('/abc.txt', { headers: { Range: range } });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(contentRange);
    expect(response.headers.get('content-length')).toBe(String(body.length));
    expect(await response.text()).toBe(body);
    expect(openFiles()).toEqual([]);
  });

  test.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])('answers 416 to %s', async (range) => {
    const response = await spa()('/abc.txt', { headers: { Range: range } });
    expect([response.status, response.headers.get('content-range'), response.body]).toEqual([416, 'bytes */10', null]);
    expect(openFiles()).toEqual([]);
  });

  test.each(['bytes=5-2', 'bytes=-', 'bytes=a-b', 'lines=1-2', 'bytes=0-1,3-4'])(
    'ignores %s and sends the whole file',
    async (range) => {
      const response = await spa()('/abc.txt', { headers: { Range: range } });
      expect([response.status, await response.text()]).toEqual([200, 'abcdefghij']);
    },
  );

  test('heeds If-Range: a part of the version that the client has, else the whole new one', async () => {
    const fetch = spa();
    const { headers } = await fetch('/abc.txt', { method: 'HEAD' });
    const part = async (ifRange: string): Promise<number> => {
      const response = await fetch('/abc.txt', { headers: { Range: 'bytes=0-3', 'If-Range': ifRange } });
      await response.body?.cancel();
      return response.status;
    };
    expect(headers.get('accept-ranges')).toBe('bytes');
    expect(await part(headers.get('etag') ?? '')).toBe(206);
    expect(await part(headers.get('last-modified') ?? '')).toBe(206);
    expect(await part(`W/${headers.get('etag')}`)).toBe(200);
    expect(await part('"old"')).toBe(200);
    expect(await part('Thu, 01 Jan 1970 00:00:00 GMT')).toBe(200);
  });

  test('ignores Range on HEAD', async () => {
    const response = await spa()('/abc.txt', { method: 'HEAD', headers: { Range: 'bytes=0-3' } });
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '10']);
  });
});

describe('precompressed files', () => {
  beforeEach(async () => {
    await put('app.js', 'plain');
    await put('app.js.br', 'packed by br');
    await put('app.js.gz', gzipSync('plain'));
  });

  test.each([
    [undefined, 'identity'],
    ['', 'identity'],
    ['gzip, deflate, br, zstd', 'br'],
    ['gzip', 'gzip'],
    ['GZIP', 'gzip'],
    ['gzip;q=1, br;q=0.5', 'gzip'],
    ['gzip;q=0.2', 'gzip'],
    ['br;q=0, gzip;q=0', 'identity'],
    ['br;q=0, *', 'gzip'],
    ['*', 'br'],
    ['*;q=0', 'identity'],
    ['zstd', 'identity'],
    ['identity, gzip;q=0.5', 'identity'],
    ['identity;q=0, gzip;q=0.1', 'gzip'],
    ['identity;q=0, deflate', 'identity'],
  ])('answers Accept-Encoding %s with %s', async (acceptEncoding, coding) => {
    expect(await codingFor(acceptEncoding)).toBe(coding);
    expect(openFiles()).toEqual([]);
  });

  test('prefers zstd to gzip', async () => {
    await put('app.js.zst', 'packed by zstd');
    expect(await codingFor('gzip, zstd')).toBe('zstd');
  });

  test('gives every variant an ETag of its own', async () => {
    const fetch = spa();
    const etagFor = async (coding: string): Promise<string | null> =>
      (await fetch('/app.js', { method: 'HEAD', headers: { 'Accept-Encoding': coding } })).headers.get('etag');
    const etags = [await etagFor('br'), await etagFor('gzip'), await etagFor('identity')];
    expect(new Set(etags).size).toBe(3);
    const response = await fetch('/app.js', {
      headers: { 'Accept-Encoding': 'gzip', 'If-None-Match': etags[0] ?? '' },
    });
    expect(response.status).toBe(200);
    await response.body?.cancel();
    const unchanged = await fetch('/app.js', {
      headers: { 'Accept-Encoding': 'br', 'If-None-Match': etags[0] ?? '' },
    });
    expect([unchanged.status, unchanged.headers.get('vary')]).toEqual([304, 'Accept-Encoding']);
  });

  test('sends no Vary where there is no choice', async () => {
    await put('other.js', 'x');
    await put('logo.png', 'x');
    for (const path of ['/other.js', '/logo.png', '/']) {
      const response = await spa()(path, { method: 'HEAD', headers: { 'Accept-Encoding': 'br' } });
      expect(response.headers.has('vary')).toBe(false);
    }
  });

  test('packs the fallback document too', async () => {
    await put('index.html.gz', gzipSync(indexHtml));
    const response = await spa()('/orders', { headers: { ...navigate.headers, 'Accept-Encoding': 'gzip' } });
    expect(response.headers.get('content-encoding')).toBe('gzip');
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    await response.body?.cancel();
  });
});

describe('caching by name', () => {
  const immutable = 'public, max-age=31536000, immutable';

  test.each([
    'assets/index-DiwrgTda.js',
    'assets/index-B-1_aQ3d.css',
    'assets/logo-BX1aQ3dd.svg',
    'main.1a2b3c4d.js',
    'static/js/787.1a2b3c4d.chunk.js',
    'static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.png',
    'main-5QZT3CDE.js',
    'chunk-ABC2DEFG.js',
    '_app/immutable/entry/start.Bx1_aQ3d.js',
    '_next/static/chunks/main-app-0123456789abcdef.js',
  ])('keeps %s for a year', async (path) => {
    await put(path, 'x');
    expect((await spa()(`/${path}`, { method: 'HEAD' })).headers.get('cache-control')).toBe(immutable);
  });

  test.each([
    'jquery-3.7.1.js',
    'jquery-3.7.1.min.js',
    'assets/app-settings.js',
    'assets/app-Settings.js',
    'fonts/inter-semibold.woff2',
    'images/team-HomePage.png',
    'images/photo-Summer24.jpg',
    'report-20260101.pdf',
    'locale-de.json',
    'sw.js',
    'config.js',
    'about-DiwrgTda.html',
  ])('revalidates %s', async (path) => {
    await put(path, 'x');
    expect((await spa()(`/${path}`, { method: 'HEAD' })).headers.get('cache-control')).toBe('no-cache');
  });
});

describe('security headers', () => {
  test('go with documents, assets, 304s, redirects and unsatisfiable ranges', async () => {
    await put('app.js', 'x');
    await put('docs/index.html', 'x');
    const fetch = spa();
    for (const [path, headers] of [
      ['/', {}],
      ['/app.js', {}],
      ['/', { 'If-None-Match': '*' }],
      ['/docs', {}],
      ['/app.js', { Range: 'bytes=9-' }],
    ] as const) {
      const response = await fetch(path, { headers: headers as Record<string, string> });
      await response.body?.cancel();
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-security-policy': expect.stringContaining("default-src 'self'; script-src 'self';"),
        'strict-transport-security': 'max-age=63072000; includeSubDomains',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'strict-origin-when-cross-origin',
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'permissions-policy': expect.stringContaining('camera=()'),
      });
    }
  });

  test('allow nothing inline, no plug-ins, no frames and no foreign base', () => {
    const policy = new Map(securityHeaders({ origin })).get('content-security-policy');
    expect(policy?.split('; ')).toEqual([
      "default-src 'self'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data:",
      "font-src 'self' data:",
      "connect-src 'self'",
      "object-src 'none'",
      "base-uri 'self'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ]);
  });

  test('leave HSTS out on http:, where localhost would otherwise be locked to TLS', () => {
    expect(new Map(securityHeaders({ origin: 'http://localhost:3000' })).has('strict-transport-security')).toBe(false);
  });

  test('are replaced, removed and added to in any case of letters', async () => {
    const headers: HeaderOverrides = {
      'Content-Security-Policy': "default-src 'none'",
      'x-frame-options': false,
      'X-Team': 'blue',
    };
    const response = await spa({ headers })('/', { method: 'HEAD' });
    expect(response.headers.get('content-security-policy')).toBe("default-src 'none'");
    expect(response.headers.has('x-frame-options')).toBe(false);
    expect(response.headers.get('x-team')).toBe('blue');
  });

  test('let exactly the inline scripts and styles of the document run', async () => {
    const script = "document.documentElement.dataset.theme = 'dark'\n";
    const style = 'body { background: #111 }';
    await put(
      'index.html',
      `<style>${style}</style><SCRIPT data-x>${script.replace('\n', '\r\n')}</SCRIPT>${indexHtml}`,
    );
    await put('app.js', 'x');
    const fetch = spa();
    const policyOf = async (path: string): Promise<string> =>
      (await fetch(path, { method: 'HEAD' })).headers.get('content-security-policy') ?? '';

    expect(await policyOf('/')).toContain(`; script-src 'self' ${hashOf(script)}; style-src 'self' ${hashOf(style)};`);
    expect(await policyOf('/app.js')).toContain("; script-src 'self'; style-src 'self';");

    await put('index.html', '<script>changed()</script>');
    expect(await policyOf('/')).toContain(`; script-src 'self' ${hashOf('changed()')}; style-src 'self';`);
  });

  test('hash no script that is loaded, and none that is empty', () => {
    expect(inlineHashes('<script src="/a.js">x</script><script\nSRC = "b.js">y</script><script></script>')).toEqual({
      scripts: [],
      styles: [],
    });
  });
});

describe('through a real server', () => {
  test('answers GET, HEAD, 304 and ranges with the right framing', async () => {
    const content = 'x'.repeat(200_000);
    await put('big.txt', content);
    const server = await serve();
    try {
      const url = `http://127.0.0.1:${server.port}/big.txt`;
      const get = await fetch(url);
      expect([get.status, get.headers.get('content-length'), (await get.text()).length]).toEqual([
        200,
        '200000',
        200_000,
      ]);
      const head = await fetch(url, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '200000', '']);
      const unchanged = await fetch(url, { headers: { 'If-None-Match': head.headers.get('etag') ?? '' } });
      expect([unchanged.status, await unchanged.text()]).toEqual([304, '']);
      const part = await fetch(url, { headers: { Range: 'bytes=199990-' } });
      expect([part.status, await part.text()]).toEqual([206, 'x'.repeat(10)]);
      // The client has the last byte a moment before the server closes the file.
      await vi.waitFor(() => expect(openFiles()).toEqual([]));
    } finally {
      await server.close();
    }
  });

  test('closes the file when the client goes away in the middle of it', async () => {
    const path = 'big.bin';
    await put(path, '');
    await truncate(join(folder, path), 64 * 1024 * 1024);
    const server = await serve();
    try {
      await new Promise<void>((resolve, reject) => {
        const request = httpRequest({ port: server.port, path: `/${path}` }, (response) => {
          response.once('data', () => {
            response.pause();
            if (openFiles().length === 1) resolve();
            else reject(new Error('the file should be open while it is sent'));
            request.destroy();
          });
          response.on('error', () => request.destroy());
        });
        request.on('error', reject);
        request.end();
      });
      await vi.waitFor(() => expect(openFiles()).toEqual([]));
    } finally {
      await server.close();
    }
  });

  test('breaks the answer off when the file becomes shorter while it is sent', async () => {
    const path = join(folder, 'big.bin');
    await put('big.bin', '');
    await truncate(path, 64 * 1024 * 1024);
    const response = await spa()('/big.bin');
    const reader = response.body?.getReader();
    await reader?.read();
    await truncate(path, 1000);
    await expect(reader?.read()).rejects.toThrow(/became shorter/);
    expect(openFiles()).toEqual([]);
    expect((await stat(path)).size).toBe(1000);
  });
});
