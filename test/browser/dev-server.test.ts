/** A real Vite dev server behind Sallyport: the page, hot module replacement, and what Vite gets to see. */
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createServer, type ViteDevServer } from 'vite';
import { launchChromium } from '../support/chromium.ts';
import { freePort } from '../support/listener.ts';
import { startWorld, type World } from '../support/world.ts';

let folder: string;
let vite: ViteDevServer;
let world: World;
let browser: Browser;
/** The headers of all that Vite has been asked, upgrades included. */
const asked: { url: string; headers: IncomingHttpHeaders }[] = [];

function note({ url = '', headers }: IncomingMessage): void {
  asked.push({ url, headers });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-vite-'));
  await writeFile(
    join(folder, 'index.html'),
    '<!doctype html><title>Dev</title><p id="app"></p><script type="module" src="/main.js"></script>',
  );
  await writeFile(
    join(folder, 'main.js'),
    `import { message } from './message.js';
     const show = (text) => { document.querySelector('#app').textContent = text; };
     show(message);
     window.loads = (window.loads ?? 0) + 1;
     import.meta.hot.accept('./message.js', (changed) => show(changed.message));`,
  );
  await writeFile(join(folder, 'message.js'), `export const message = 'before';`);
  await symlink(join(import.meta.dirname, '../../node_modules'), join(folder, 'node_modules'));
  const port = await freePort();
  vite = await createServer({
    root: folder,
    configFile: false,
    logLevel: 'error',
    cacheDir: join(folder, '.vite'),
    server: { host: '127.0.0.1', port, strictPort: true },
    plugins: [
      {
        name: 'listen-in',
        configureServer({ middlewares, httpServer }) {
          httpServer?.prependListener('upgrade', note);
          middlewares.use((request, _response, next) => {
            note(request);
            next();
          });
        },
      },
    ],
  });
  await vite.listen();
  world = await startWorld({ config: { spa: { devServer: `http://127.0.0.1:${port}` } } }, { scope: 'manual' });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await world?.stop();
  await vite?.close();
  await rm(folder, { recursive: true });
});

test('an edited module reaches the page by itself; the dev server sees neither cookie nor token', async () => {
  const page = await browser.newPage();
  const socketUrls: string[] = [];
  page.on('websocket', (socket) => socketUrls.push(socket.url()));
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('before');
  await expect.poll(() => asked.filter(({ headers }) => headers.upgrade === 'websocket').length).toBe(1);

  await writeFile(join(folder, 'message.js'), `export const message = 'after';`);
  await expect.poll(() => page.textContent('#app'), { timeout: 10_000 }).toBe('after');
  expect(await page.evaluate('window.loads')).toBe(1);

  // Vite's client falls back to a connection of its own: that one would not be Sallyport's doing.
  const { host } = new URL(world.origin);
  expect(socketUrls.map((url) => new URL(url).host)).toEqual([host]);
  expect(asked.map(({ url }) => url)).toEqual(expect.arrayContaining(['/', '/main.js', '/message.js']));
  const telling = asked.flatMap(({ headers }) => [headers.cookie, headers.authorization]);
  expect(telling.filter((value) => value !== undefined)).toEqual([]);
  expect(await page.evaluate(`fetch('/bff/session').then((answer) => answer.json())`)).toMatchObject({
    authenticated: true,
  });
});
