/** The files of an app: which are served, as what, and in which coding; and the page for the rest. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, test } from 'vitest';
import { createSpaFolder } from '../../src/spa/folder.ts';
import { indexHtml, navigate, origin, useSpaFolder } from '../support/spa-folder.ts';

const files = useSpaFolder();
const { openFiles, put, spa } = files;

const notFound = { code: 'route_not_found', status: 404 };

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

describe('creating', () => {
  test('says what to do when the files.folder is not there', () => {
    expect(() => createSpaFolder({ folder: join(files.folder, 'dist'), origin })).toThrow(
      /dist is not a folder\. Build the app first/,
    );
  });

  test('says what to do when the files.folder holds no index.html', async () => {
    await rm(join(files.folder, 'index.html'));
    expect(() => createSpaFolder({ folder: files.folder, origin })).toThrow(
      /index\.html is missing\. Build the app first/,
    );
  });

  test('refuses an override that is no valid header', () => {
    expect(() => createSpaFolder({ folder: files.folder, origin, headers: { 'X Team': 'blue' } })).toThrow(
      /invalid header name/,
    );
    expect(() => createSpaFolder({ folder: files.folder, origin, headers: { 'X-Team': 'a\r\nb' } })).toThrow(
      /invalid header value/,
    );
  });

  test('says what is wrong when index.html is a folder', async () => {
    await rm(join(files.folder, 'index.html'));
    await mkdir(join(files.folder, 'index.html'));
    expect(() => createSpaFolder({ folder: files.folder, origin })).toThrow(/not a regular file/);
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

  const likeAssets = ['/assets/index-00000000.js', '/src/main.ts', '/reports/2026.pdf', '/data.json', '/app.js.map'];

  test.each(likeAssets)('answers %s, which is no file, with index.html in a tab', async (path) => {
    for (const headers of [
      { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' },
      // Passed on by a service worker: in Chromium, in Firefox.
      { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'empty' },
      { 'Sec-Fetch-Mode': 'same-origin', 'Sec-Fetch-Dest': 'empty', Accept: 'text/html,*/*;q=0.8' },
      { Accept: 'text/html,application/xhtml+xml' },
    ]) {
      expect(await (await spa()(path, { headers })).text()).toBe(indexHtml);
    }
  });

  test.each(likeAssets)('answers %s, which is no file, with 404 where it is no tab’s', async (path) => {
    for (const headers of [
      { 'Sec-Fetch-Mode': 'navigate' },
      { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe' },
      { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'embed' },
      { 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' },
      { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'script' },
      { 'Sec-Fetch-Mode': 'same-origin', 'Sec-Fetch-Dest': 'empty', Accept: '*/*' },
      { Accept: '*/*' },
    ]) {
      await expect(spa()(path, { headers })).rejects.toMatchObject(notFound);
    }
  });

  test('answers a missing /.well-known/ address with 404, which is what its readers look for', async () => {
    await expect(spa()('/.well-known/change-password', navigate)).rejects.toMatchObject(notFound);
  });

  test('fails loudly when index.html has gone', async () => {
    const fetch = spa();
    await rm(join(files.folder, 'index.html'));
    await expect(fetch('/', navigate)).rejects.toThrow(/index\.html has gone/);
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
