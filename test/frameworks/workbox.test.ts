/** The worker that Workbox writes by itself (`generateSW`, as `vite-plugin-pwa` has it), with the list of docs/browser.md. */
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { app, useBothBrowsers, whoIsIn } from '../support/both-browsers.ts';
import { buildInstalledApp } from '../support/installed-app.ts';
import { patient } from '../support/tab.ts';

// Installed for these tests alone, so that the compiler doesn't see it.
const { generateSW } = createRequire(import.meta.url)('workbox-build') as {
  readonly generateSW: (options: object) => Promise<unknown>;
};

const browsers = useBothBrowsers();
let folder: string;
const spa: Record<string, string> = {};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-workbox-'));
  const { 'service-worker.js': _, ...files } = await buildInstalledApp();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  await generateSW({
    globDirectory: folder,
    swDest: join(folder, 'service-worker.js'),
    navigateFallback: '/index.html',
    navigateFallbackDenylist: [/^\/bff\//, /^\/api\//, /[?&]state=/],
  });
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) spa[path.slice(folder.length + 1)] = await readFile(path, 'utf8');
  }
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('people sign in and out through it, it stores the app alone, and opens it without a connection', async () => {
  const { person } = await browsers.open('Chromium', { spa });
  const tab = await person.newTab();
  const shows = async (text: string) => {
    await expect.poll(() => tab.text('#person'), patient).toBe(text);
  };
  await tab.open(`${app}/`);
  await tab.run('navigator.serviceWorker.ready.then(() => undefined)');
  await tab.reload();
  await expect.poll(() => tab.run('navigator.serviceWorker.controller !== null'), patient).toBe(true);
  await tab.click('#sign-in');
  await shows('Alice Adams');
  await tab.run(`fetch('/api/orders').then(() => undefined)`);
  const stored = await tab.run<string[]>(`caches.keys().then(async (names) => {
    const caches = await Promise.all(names.map((name) => self.caches.open(name)));
    return (await Promise.all(caches.map((cache) => cache.keys()))).flat().map(({ url }) => new URL(url).pathname);
  })`);
  expect(stored.length).toBeGreaterThan(1);
  expect(stored.filter((path) => !(path.slice(1) in spa))).toEqual([]);

  await tab.click('#sign-out');
  await tab.arrives(`${app}/bye`);
  await shows('nobody');
  expect(await whoIsIn(tab)).toBe('nobody');
  const { host } = new URL(app);
  browsers.sites.cut(host);
  try {
    await tab.open(`${app}/orders`);
    await shows('nobody, offline');
  } finally {
    browsers.sites.restore(host);
  }
});
