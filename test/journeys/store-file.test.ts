/**
 * Sallyport with its store in a file: what a restart no longer forgets, two processes on one file, and what the operator
 * reads where the file cannot be used.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { cliEntry } from '../support/command-line.ts';
import { startProvider } from '../support/provider.ts';
import { secretsIn } from '../support/secrets.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-store-file-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

async function startWithFile(): Promise<World> {
  const file = join(await newFolder(), 'store.db');
  return startWorld({ config: { store: { file } } });
}

test('a restart forgets no sign-out: the copied cookie of a session that ended stays refused', async () => {
  const world = await startWithFile();
  const browser = world.client();
  await signIn(browser, 'alice');
  expect((await browser.fetch('/api/orders')).status).toBe(200);
  const thief = browser.clone();
  expect((await thief.fetch('/api/orders')).status).toBe(200);
  await browser.fetch('/bff/logout', { method: 'POST' });
  expect((await thief.fetch('/api/orders')).status).toBe(401);
  await world.restart();
  expect((await thief.fetch('/api/orders')).status).toBe(401);
});

test('a restart forgets no result of a refresh: the old cookie gets it, and no refresh token is shown twice', async () => {
  fakeDate();
  const world = await startWithFile();
  const browser = world.client();
  await signIn(browser, 'alice');
  expireAccessToken();
  const lost = browser.clone();
  expect((await lost.fetch('/api/orders')).status).toBe(200);
  await world.restart();
  expect((await browser.fetch('/api/orders')).status).toBe(200);
  expect(world.provider.calls.refresh).toBe(1);
});

test('a process that starts while the old one drains shares its sign-outs and refreshes', async () => {
  fakeDate();
  const world = await startWithFile();
  const next = await world.addInstance();
  const browser = world.client();
  await signIn(browser, 'alice');
  const other = browser.clone();
  other.routeTo(next.port);
  expireAccessToken();
  const calls = [browser, other, browser, other].map(async (tab) => (await tab.fetch('/api/orders')).status);
  expect(await Promise.all(calls)).toEqual([200, 200, 200, 200]);
  expect(world.provider.calls.refresh).toBe(1);
  await browser.fetch('/bff/logout', { method: 'POST' });
  await expect.poll(async () => (await other.fetch('/api/orders')).status, { timeout: 5000 }).toBe(401);
});

test('whoever reads the file learns no token and no name of a person', async () => {
  const folder = await newFolder();
  const world = await startWorld({ config: { store: { file: join(folder, 'store.db') } } });
  const browser = world.client();
  await signIn(browser, 'alice');
  await browser.fetch('/bff/refresh', { method: 'POST' });
  await browser.fetch('/api/orders');
  const names = (await readdir(folder)).filter((name) => !name.endsWith('-shm'));
  const held = (await Promise.all(names.map((name) => readFile(join(folder, name), 'latin1')))).join('');
  expect(held).toContain('sessions');
  expect(secretsIn(held, world.provider)).toEqual([]);
  expect(held).not.toContain('alice');
});

interface Finished {
  readonly code: number;
  readonly text: string;
}

async function run(command: 'start' | 'check', file: string): Promise<Finished> {
  const provider = await startProvider({ redirectUris: ['http://localhost:3000/bff/callback'] });
  onTestFinished(() => provider.close());
  const env = {
    PATH: process.env['PATH'] ?? '',
    SALLYPORT_ORIGIN: 'http://localhost:3000',
    SALLYPORT_ISSUER: provider.issuer,
    SALLYPORT_CLIENT_ID: 'sallyport',
    SALLYPORT_CLIENT_SECRET: 'the-clients-own-secret',
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
    SALLYPORT_STORE_FILE: file,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [cliEntry, command], { env, cwd: tmpdir() }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), text: stdout + stderr });
    });
  });
}

test('check says that the file can be made, and makes none for another user to stumble over', async () => {
  const folder = await newFolder();
  const { code, text } = await run('check', join(folder, 'store.db'));
  expect(text).toContain(`ok: the store's file ${join(folder, 'store.db')} can be made`);
  expect(code).toBe(0);
  expect(await readdir(folder)).toEqual([]);
});

test('check tells a fault of the file beside those of the provider', async () => {
  const file = join(await newFolder(), 'store.db');
  await writeFile(file, 'no database\n'.repeat(100));
  const { code, text } = await run('check', file);
  expect(text).toContain(`fault: The store's file ${file} is damaged, or no SQLite database. Move it away`);
  expect(text).toContain('ok: the provider');
  expect(code).toBe(1);
});

test('a start with a file that cannot be used ends with 1 and the remedy', async () => {
  const file = join(await newFolder(), 'store.db');
  await mkdir(file);
  const { code, text } = await run('start', file);
  expect(text).toContain(`The store's file ${file} is a folder. Correct SALLYPORT_STORE_FILE.`);
  expect(code).toBe(1);
});
