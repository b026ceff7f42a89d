/**
 * The attacker's story: "They put a server in front of a folder, so the folder is my way in. I ask for what lies above
 * it, in every spelling that some layer decodes and another doesn't. I ask for what was forgotten in it: `.env`,
 * `.git/config`, the source maps with the whole source code. I look for links that lead out, and swap a folder for a
 * link between the server's look and its read. And if I can't read a file, I'll have the server redirect its users to
 * my host, hang on a pipe, or run out of open files."
 *
 * Must hold: no answer contains CANARY, which is what every planted file says.
 */

import { execFileSync } from 'node:child_process';
import type * as fs from 'node:fs';
import { readdirSync, readlinkSync } from 'node:fs';
import { link, mkdir, mkdtemp, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { array, assert, asyncProperty, constantFrom } from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BffError } from '../../src/http/errors.ts';
import { createSpaFolder } from '../../src/spa/folder.ts';
import type { SpaFolderOptions } from '../../src/spa/folder.ts';
import { startListener } from '../support/listener.ts';
import { rawRequest, rawStatuses } from '../support/raw.ts';

const origin = 'https://app.example.com';
const index = '<!doctype html>the app';
const canary = 'CANARY';

let parent: string;
let folder: string;

beforeEach(async () => {
  parent = await realpath(await mkdtemp(join(tmpdir(), 'sallyport-attack-')));
  folder = join(parent, 'dist');
  await put('dist/index.html', index);
  await put('dist/assets/app.js', 'code');
  await put('secret.txt', canary);
  await put('dist-backup/secret.txt', canary);
});

afterEach(() => rm(parent, { recursive: true, force: true }));

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(parent, path)), { recursive: true });
  await writeFile(join(parent, path), content);
}

/** Status and body, as a browser's navigation and as a script would get them; what is thrown counts by its status. */
async function probe(path: string, options: Partial<SpaFolderOptions> = {}): Promise<Set<number | string>> {
  const { fetch } = createSpaFolder({ folder, origin, ...options });
  const outcomes = new Set<number | string>();
  for (const headers of [{ 'Sec-Fetch-Mode': 'navigate' }, { Accept: '*/*' }]) {
    try {
      const response = await fetch(new Request(origin + path, { headers: headers as Record<string, string> }));
      outcomes.add(await response.text());
    } catch (error) {
      if (!(error instanceof BffError)) throw error;
      outcomes.add(error.status);
    }
  }
  return outcomes;
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(parent) ? [target] : [];
    } catch {
      return []; // closed since it was listed
    }
  });
}

describe('climbing out of the folder', () => {
  test.each([
    '/..%2fsecret.txt',
    '/..%2Fsecret.txt',
    '/assets/..%2f..%2fsecret.txt',
    '/%2e%2e%2fsecret.txt',
    '/..%5csecret.txt',
    '/..\\..%5csecret.txt',
    '/%2e%2e%5csecret.txt',
    '/secret.txt%00.js',
    '/index.html%00',
    '/a%0d%0aSet-Cookie:x=1',
    '/%c0%ae%c0%ae/secret.txt',
    '/%ff',
    '/%zz',
    '/%',
    `/${'a'.repeat(5000)}`,
    `/${'a/'.repeat(3000)}`,
  ])('refuses %.40s as an invalid request', async (path) => {
    expect(await probe(path)).toEqual(new Set([400]));
  });

  test.each([
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/.%2e/secret.txt',
    '/assets/../../secret.txt',
    '/..\\secret.txt',
    '/%252e%252e%252fsecret.txt',
    '/%2e%2e%252fsecret.txt',
    '//secret.txt',
    '/..;/secret.txt',
    '/../dist-backup/secret.txt',
    '/-backup/secret.txt',
    '/%2fetc%2fpasswd',
    '//etc/passwd',
    '/C:/Windows/win.ini',
    '/file:///etc/passwd',
    '/%ef%bc%8e%ef%bc%8e/secret.txt',
  ])('finds nothing at %s', async (path) => {
    for (const outcome of await probe(path)) expect([404, index]).toContain(outcome);
  });

  test('holds for what reaches a real server unnormalised', async () => {
    const { fetch } = createSpaFolder({ folder, origin });
    const answering = async (request: Request): Promise<Response> => {
      try {
        return await fetch(request);
      } catch (error) {
        if (!(error instanceof BffError)) throw error;
        return new Response(error.message, { status: error.status });
      }
    };
    const listener = getRequestListener(answering, { overrideGlobalObjects: false });
    const server = await startListener((request, response) => void listener(request, response));
    const { port } = server;
    try {
      for (const target of [
        '/../secret.txt',
        '/assets/../../secret.txt',
        '/..%2fsecret.txt',
        '/..\\secret.txt',
        `http://127.0.0.1:${port}/../secret.txt`,
        `${folder}/../secret.txt`,
      ]) {
        const bytes = await rawRequest(port, `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
        expect(rawStatuses(bytes)[0]).toBeOneOf([400, 404]);
        expect(bytes.toString()).not.toContain(canary);
      }
    } finally {
      await server.close();
    }
  });

  test('never serves what lies outside, whatever the path is made of', async () => {
    await put('dist/.env', canary);
    await put('dist/app.js.map', canary);
    await symlink(join(parent, 'secret.txt'), join(folder, 'link'));
    const parts = ['..', '.', '%2e', '%2f', '%5c', '/', '\\', '%00', 'assets', 'secret.txt', 'dist', '.env', 'link'];
    parts.push('app.js.map', 'app.js', '%252e', ';', ':', '%20', 'dist-backup', '%', '~', 'index.html');
    await assert(
      asyncProperty(array(constantFrom(...parts), { maxLength: 8 }), async (path) => {
        for (const outcome of await probe(`/${path.join('')}`)) {
          expect([400, 404, index, 'code', '']).toContain(outcome);
        }
      }),
      { numRuns: 500 },
    );
    expect(openFiles()).toEqual([]);
  });
});

describe('reading what was forgotten in the folder', () => {
  test.each(['.env', '.env.production', '.git/config', '.htpasswd', 'assets/.env', 'a/.well-known/x', '.DS_Store'])(
    'hides %s, in any encoding, and has no page stand in for it',
    async (name) => {
      await put(`dist/${name}`, canary);
      expect(await probe(`/${name}`)).toEqual(new Set([404]));
      expect(await probe(`/${name.replaceAll('.', '%2e')}`)).toEqual(new Set([404]));
    },
  );

  test('hides source maps, packed ones too, unless they are asked for', async () => {
    for (const name of ['app.js.map', 'app.js.MAP', 'app.js.map.gz', 'app.js.map.br']) {
      await put(`dist/${name}`, canary);
      expect((await probe(`/${name}`)).has(canary)).toBe(false);
    }
    expect(await probe('/app.js.map', { sourceMaps: true })).toEqual(new Set([canary]));
  });

  test('does not fall for the other names that Windows has for a file', async () => {
    await put('dist/app.js:stream', canary);
    await put('dist/app.js.', canary);
    await put('dist/app.js ', canary);
    for (const path of ['/app.js:stream', '/app.js::$DATA', '/app.js.', '/app.js%20', '/CON', '/nul.txt']) {
      for (const outcome of await probe(path)) expect([404, index]).toContain(outcome);
    }
  });
});

describe('links', () => {
  test('serves no link to a file outside, to a folder outside, or into a hidden file', async () => {
    await put('dist/.env', canary);
    await symlink('../secret.txt', join(folder, 'out.txt'));
    await symlink(join(parent, 'dist-backup'), join(folder, 'backup'));
    await symlink('.env', join(folder, 'env.txt'));
    await symlink('loop', join(folder, 'loop'));
    for (const symlinks of [false, true]) {
      for (const path of ['/out.txt', '/backup/secret.txt', '/env.txt', '/loop']) {
        for (const outcome of await probe(path, { symlinks })) expect([404, index]).toContain(outcome);
      }
    }
    expect(openFiles()).toEqual([]);
  });

  test('serves a link inside the folder only where links are asked for', async () => {
    await put('dist/config/..2026_11_21/config.json', '{}');
    await symlink('..2026_11_21', join(folder, 'config/..data'));
    await symlink('..data/config.json', join(folder, 'config/config.json'));
    expect(await probe('/config/config.json')).toEqual(new Set([404]));
    expect(await probe('/config/config.json', { symlinks: true })).toEqual(new Set(['{}']));
    expect(await probe('/config/..data/config.json', { symlinks: true })).toEqual(new Set([404]));
  });

  test('serves no packed variant that is a link', async () => {
    await symlink(join(parent, 'secret.txt'), join(folder, 'assets/app.js.br'));
    const { fetch } = createSpaFolder({ folder, origin });
    const response = await fetch(new Request(`${origin}/assets/app.js`, { headers: { 'Accept-Encoding': 'br' } }));
    expect([response.headers.get('content-encoding'), await response.text()]).toEqual([null, 'code']);
    expect(openFiles()).toEqual([]);
  });

  test('never sends the outside file while a folder is swapped for a link under its feet', async () => {
    await put('dist/docs/secret.txt', 'public');
    const { fetch } = createSpaFolder({ folder, origin });
    const docs = join(folder, 'docs');
    await symlink(join(parent, 'dist-backup'), join(parent, 'evil'));
    const race = { on: true };
    const swapping = (async (): Promise<void> => {
      while (race.on) {
        // Mostly as fast as it goes, to hit the gap; now and then slow enough for an honest answer.
        for (let pause = Math.random() < 0.8 ? 0 : 8; pause > 0; pause -= 1) await stat(parent);
        await rename(docs, join(parent, 'aside'));
        await rename(join(parent, 'evil'), docs);
        await rename(docs, join(parent, 'evil'));
        await rename(join(parent, 'aside'), docs);
      }
    })();
    const outcomes = new Set<string>();
    try {
      for (let attempt = 0; attempt < 600; attempt += 1) {
        const answer = fetch(new Request(`${origin}/docs/secret.txt`));
        outcomes.add(await answer.then((response) => response.text()).catch((error: Error) => error.message));
      }
    } finally {
      race.on = false;
      await swapping;
    }
    expect(outcomes).not.toContain(canary);
    expect(outcomes).toContain('public');
    expect(openFiles()).toEqual([]);
  });

  test('holds where the system cannot name an open file, as on macOS and Windows', async () => {
    vi.resetModules();
    vi.doMock('node:fs', async (original) => ({ ...(await original<typeof fs>()), existsSync: () => false }));
    const elsewhere = await import('../../src/spa/folder.ts');
    vi.doUnmock('node:fs');
    await symlink('../secret.txt', join(folder, 'out.txt'));
    await symlink(join(parent, 'dist-backup'), join(folder, 'backup'));
    for (const symlinks of [false, true]) {
      const { fetch } = elsewhere.createSpaFolder({ folder, origin, symlinks });
      expect(await (await fetch(new Request(`${origin}/assets/app.js`))).text()).toBe('code');
      for (const path of ['/out.txt', '/backup/secret.txt', '/assets/gone.js']) {
        await expect(fetch(new Request(origin + path))).rejects.toMatchObject({ code: 'route_not_found' });
      }
    }
    expect(openFiles()).toEqual([]);
  });

  test('is not confused by a second hard name of a public file', async () => {
    await link(join(folder, 'assets/app.js'), join(folder, 'assets/copy.js'));
    expect(await probe('/assets/copy.js')).toEqual(new Set(['code']));
  });
});

describe('turning the server on its users or itself', () => {
  test.each(['//evil.example', '//evil.example/', '/%2fevil.example', '/.//evil.example', '/\\evil.example'])(
    'does not redirect %s to another host',
    async (path) => {
      await put('dist/evil.example/index.html', 'ours');
      const { fetch } = createSpaFolder({ folder, origin });
      const outcome = await fetch(new Request(origin + path)).catch((error: BffError) => error);
      const location = outcome instanceof Response ? outcome.headers.get('location') : null;
      if (outcome instanceof Response) await outcome.body?.cancel();
      expect(new URL(location ?? '/', origin + path).origin).toBe(origin);
    },
  );

  test('does not hang on a named pipe', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe.js')]);
    expect(await probe('/pipe.js')).toEqual(new Set([404]));
  });

  test('does not send a file many times over for overlapping ranges', async () => {
    const { fetch } = createSpaFolder({ folder, origin });
    const ranges = `bytes=${Array.from({ length: 1000 }, () => '0-').join(',')}`;
    const response = await fetch(new Request(`${origin}/assets/app.js`, { headers: { Range: ranges } }));
    expect([response.status, await response.text()]).toEqual([200, 'code']);
  });

  test('keeps no file open for answers without a body, refused paths and cancelled bodies', async () => {
    const { fetch } = createSpaFolder({ folder, origin });
    const requests = [
      new Request(`${origin}/assets/app.js`, { method: 'HEAD' }),
      new Request(`${origin}/assets/app.js`, { headers: { 'If-None-Match': '*' } }),
      new Request(`${origin}/assets/app.js`, { headers: { Range: 'bytes=99-' } }),
      new Request(`${origin}/assets/app.js`),
    ];
    for (const request of requests) await (await fetch(request)).body?.cancel();
    await expect(fetch(new Request(`${origin}/assets`))).rejects.toThrow(BffError);
    expect(openFiles()).toEqual([]);
  });
});
