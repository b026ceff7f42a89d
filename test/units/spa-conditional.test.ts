/** Files of an app by conditional and range requests (RFC 9110 13 and 14), and how long they may be kept. */
import { rename, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { createSpaFolder } from '../../src/spa/folder.ts';
import { startListener, type Listener } from '../support/listener.ts';
import { indexHtml, origin, useSpaFolder } from '../support/spa-folder.ts';

const files = useSpaFolder();
const { openFiles, put, spa } = files;

function dateOf(seconds: number): string {
  return new Date(seconds * 1000).toUTCString();
}

async function serve(): Promise<Listener> {
  const answer = getRequestListener(createSpaFolder({ folder: files.folder, origin }).fetch, {
    overrideGlobalObjects: false,
  });
  return startListener((request, response) => void answer(request, response));
}

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
    await utimes(join(files.folder, 'notes.txt'), 1_700_000_000.7, 1_700_000_000.7);
    const head = async (headers: Record<string, string>): Promise<number> =>
      (await spa()('/notes.txt', { method: 'HEAD', headers })).status;

    expect((await spa()('/notes.txt', { method: 'HEAD' })).headers.get('last-modified')).toBe(dateOf(1_700_000_000));
    expect(await head({ 'If-Modified-Since': dateOf(1_700_000_000) })).toBe(304);
    expect(await head({ 'If-Modified-Since': dateOf(1_699_999_999) })).toBe(200);
    expect(await head({ 'If-Modified-Since': 'yesterday' })).toBe(200);
    expect(await head({ 'If-Modified-Since': dateOf(1_700_000_000), 'If-None-Match': '"other"' })).toBe(200);
  });

  test.each(['overwritten', 'replaced'])(
    'changes the ETag of an index.html that is %s with the same size and time',
    async (how) => {
      const fetch = spa();
      const path = join(files.folder, 'index.html');
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
    const current = join(files.folder, 'current');
    await symlink(join(files.folder, 'releases/1'), current);
    const fetch = spa({ folder: current });
    expect(await (await fetch('/')).text()).toBe('one');
    await symlink(join(files.folder, 'releases/2'), `${current}.new`);
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

describe('through a real server', () => {
  test('answers GET, HEAD, 304 and ranges with the right framing', async () => {
    const content = 'x'.repeat(200_000);
    await put('big.txt', content);
    const server = await serve();
    try {
      const url = `http://127.0.0.1:${server.port}/big.txt`;
      const plain = { 'Accept-Encoding': 'identity' };
      const get = await fetch(url, { headers: plain });
      expect([get.status, get.headers.get('content-length'), (await get.text()).length]).toEqual([
        200,
        '200000',
        200_000,
      ]);
      const head = await fetch(url, { method: 'HEAD', headers: plain });
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '200000', '']);
      const unchanged = await fetch(url, { headers: { ...plain, 'If-None-Match': head.headers.get('etag') ?? '' } });
      expect([unchanged.status, await unchanged.text()]).toEqual([304, '']);
      const part = await fetch(url, { headers: { ...plain, Range: 'bytes=199990-' } });
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
    await truncate(join(files.folder, path), 64 * 1024 * 1024);
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
    const path = join(files.folder, 'big.bin');
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
