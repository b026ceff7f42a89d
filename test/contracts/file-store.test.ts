/** The contract of a store, tried on a file; and what only a file can get wrong. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createFileStore } from '../../src/store/file.ts';
import { faultOfSqlite } from '../../src/store/file-faults.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import { startFileStoreProcess } from '../support/file-store-process.ts';
import { within } from '../support/world.ts';
import { describeStore } from './store-contract.ts';

const minute = 60;
const minuteMs = 60_000;

describe('the contract', () => {
  let folder: string;
  const handles: Store[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-store-'));
  });

  afterAll(async () => {
    await Promise.all(handles.map((store) => store.close()));
    await rm(folder, { recursive: true });
  });

  describeStore('a file', () => {
    for (const index of [0, 1, 2]) {
      if (handles[index]?.reachable() !== true) handles[index] = createFileStore(join(folder, 'store.db'));
    }
    return handles as [Store, ...Store[]];
  });
});

async function newPath(atEnd = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-store-'));
  atEnd(() => rm(folder, { recursive: true }));
  return join(folder, 'store.db');
}

function open(path: string, atEnd = onTestFinished): { store: Store; errors: unknown[] } {
  const errors: unknown[] = [];
  const store = createFileStore(path, { onError: (cause) => void errors.push(cause) });
  atEnd(() => store.close());
  return { store, errors };
}

/** A connection to the file beside the store's own, for what no operation shows. */
function openDatabase(path: string, atEnd = onTestFinished): DatabaseSync {
  const db = new DatabaseSync(path);
  atEnd(() => {
    if (db.isOpen) db.close();
  });
  return db;
}

function rowsOf(path: string): Record<string, number> {
  const db = new DatabaseSync(path, { readOnly: true });
  const tables = ['sessions', 'members', 'revocations', 'used', 'messages'];
  const rows = tables.map((table) => [table, db.prepare(`SELECT * FROM ${table}`).all().length] as const);
  db.close();
  return Object.fromEntries(rows);
}

/** Everything that a restart must not forget. */
async function writeAll(store: Store): Promise<void> {
  await store.begin('begun', { names: ['name'], details: 'sealed details', content: 'generation 0' }, minute);
  await store.touch('begun', minute);
  await store.advance('refreshed', { generation: 3, content: 'generation 3' }, minute);
  await store.confirm('refreshed', 3, minuteMs);
  await store.claim('claimed', { generation: 2, owner: 'a' }, minuteMs, minute);
  await store.claim('interrupted', { generation: 2, owner: 'a' }, minuteMs, minute);
  await store.release('interrupted', { generation: 2, owner: 'a' }, true);
  await store.end('ended', 'backchannel', minute);
  await store.revoke('name', { before: 1_790_000_000.25, reason: 'operator' }, minute);
  await store.useOnce('used', minute);
}

async function readAll(store: Store): Promise<unknown> {
  const claim = { generation: 2, owner: 'b' };
  return {
    begun: await store.look('begun', ['name']),
    refreshed: await store.look('refreshed', []),
    ended: await store.look('ended', []),
    listed: await store.list('name', 100),
    claimed: await store.claim('claimed', claim, minuteMs, minute),
    interrupted: await store.claim('interrupted', claim, minuteMs, minute),
    isUnused: await store.useOnce('used', minute),
  };
}

const age = expect.any(Number);
const untouched = {
  ended: undefined,
  generation: 0,
  content: undefined,
  confirmedMsAgo: undefined,
  oldestServed: 0,
  activeMsAgo: undefined,
};
const all = {
  begun: {
    record: { ...untouched, content: 'generation 0', activeMsAgo: age },
    revocations: [{ before: 1_790_000_000.25, reason: 'operator' }],
  },
  refreshed: {
    record: { ...untouched, generation: 3, content: 'generation 3', confirmedMsAgo: age },
    revocations: [],
  },
  ended: { record: { ...untouched, ended: 'backchannel' }, revocations: [] },
  listed: [{ session: 'begun', details: 'sealed details', activeMsAgo: age }],
  claimed: { state: 'held', leftMs: age },
  interrupted: { state: 'granted', interrupted: true },
  isUnused: false,
};

describe('a restart', () => {
  test('forgets nothing', async () => {
    const path = await newPath();
    const { store } = open(path);
    expect(store).toMatchObject({ shared: true, durable: true });
    await writeAll(store);
    await store.close();
    expect(await readdir(join(path, '..'))).toEqual(['store.db']);
    expect(await readAll(open(path).store)).toEqual(all);
  });

  test('forgets nothing where another process takes over while the old one is still there', async () => {
    const path = await newPath();
    const old = open(path).store;
    await writeAll(old);
    const next = open(path).store;
    await old.close();
    expect(await readAll(next)).toEqual(all);
  });

  test('tells nobody again what was told before it', async () => {
    const path = await newPath();
    const old = open(path).store;
    await old.end('before', 'logout', minute);
    const { store } = open(path);
    const heard: StoreMessage[] = [];
    store.subscribe((message) => heard.push(message));
    await old.end('after', 'logout', minute);
    await vi.waitFor(() => expect(heard).toEqual([{ type: 'ended', session: 'after', reason: 'logout' }]));
  });
});

describe('a process that is killed', () => {
  test('loses nothing that it has said it did, and stops nobody', async () => {
    const path = await newPath();
    const { store, errors } = open(path);
    for (const round of ['a', 'b', 'c', 'd']) {
      const other = await startFileStoreProcess(path);
      const flood = other.flood(round);
      await vi.waitFor(() => expect(flood.ended).toBeGreaterThan(100), { timeout: 10_000, interval: 1 });
      other.child.kill('SIGKILL');
      await once(other.child, 'exit');
      const last = flood.ended;
      const looks = Array.from({ length: last }, async (_, index) => store.look(`${round}:${index + 1}`, []));
      expect((await Promise.all(looks)).filter(({ record }) => record.ended !== 'logout')).toEqual([]);
      expect(await timed(() => store.end(round, 'logout', minute))).toBeLessThan(200);
    }
    expect(openDatabase(path).prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    expect(errors).toEqual([]);
  });

  test('leaves a file that the next one can use, though nobody closed it', async () => {
    const path = await newPath();
    const other = await startFileStoreProcess(path);
    await other.call('end', 'ended', 'logout', minute);
    other.child.kill('SIGKILL');
    await once(other.child, 'exit');
    expect(await readdir(join(path, '..'))).toContain('store.db-wal');
    expect((await open(path).store.look('ended', [])).record.ended).toBe('logout');
  });
});

test('a power failure takes away the last seconds at most', async () => {
  const path = await newPath();
  const { store } = open(path);
  await store.end('ended', 'logout', minute);
  const copy = `${path}.copy`;
  await vi.waitFor(
    async () => {
      // Without the log, which the machine may not have written to the disk.
      await copyFile(path, copy);
      const db = new DatabaseSync(copy, { readOnly: true });
      const rows = db.prepare("SELECT session FROM sessions WHERE ended = 'logout'").all();
      db.close();
      expect(rows).toEqual([{ session: 'ended' }]);
    },
    { timeout: 5000, interval: 100 },
  );
});

describe('processes of one machine', () => {
  test('hear of each other within 100 ms', async () => {
    const path = await newPath();
    const { store } = open(path);
    const other = await startFileStoreProcess(path);
    const latencies: number[] = [];
    for (let round = 0; round < 20; round += 1) {
      const session = `session:${round}`;
      const endedAt = Date.now();
      await store.end(session, 'logout', minute);
      const at = () => other.heard.find((message) => message.type === 'ended' && message.session === session)?.at;
      await vi.waitFor(() => expect(at()).toBeDefined(), { timeout: 5000, interval: 2 });
      latencies.push((at() ?? Infinity) - endedAt);
    }
    expect(latencies.toSorted((a, b) => a - b)[10]).toBeLessThan(100);
    expect((await other.call('look', 'session:19', [])).record.ended).toBe('logout');
  });

  test('agree, however many begin at the same time', async () => {
    const path = await newPath();
    const processes = await Promise.all(Array.from({ length: 6 }, async () => startFileStoreProcess(path)));
    const uses = Array.from({ length: 60 }, async (_, index) => processes[index % 6]?.call('useOnce', 'name', minute));
    expect((await Promise.all(uses)).filter((isFirst) => isFirst === true)).toHaveLength(1);
    const claims = processes.map(async (process, index) =>
      process.call('claim', 'session', { generation: 1, owner: `owner ${index}` }, minuteMs, minute),
    );
    const states = (await Promise.all(claims)).map(({ state }) => state);
    expect(states.toSorted()).toEqual(['granted', 'held', 'held', 'held', 'held', 'held']);
    expect(processes.flatMap(({ errors }) => errors)).toEqual([]);
  });

  test('learn that they may have missed something, where they were stopped for too long', async () => {
    const path = await newPath();
    const { store } = open(path);
    const other = open(path).store;
    const since = store.heardSince() ?? Infinity;
    const heard: string[] = [];
    store.subscribe((message) => message.type === 'ended' && heard.push(message.session));
    // None of these waits, so that the first process cannot read in between.
    void other.end('a', 'logout', minute);
    void other.end('b', 'logout', minute);
    openDatabase(path).exec('DELETE FROM messages WHERE id = 1');
    await vi.waitFor(() => expect(heard).toEqual(['b']));
    expect(store.heardSince()).toBeGreaterThan(since);
  });
});

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return performance.now() - startedAt;
}

describe('a lock of another program', () => {
  test('delays what writes, without holding up the process', async () => {
    const path = await newPath();
    const { store } = open(path);
    const db = openDatabase(path);
    db.exec('BEGIN IMMEDIATE');
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 5);
    onTestFinished(() => clearInterval(counting));
    let isDone = false;
    const ending = store.end('session', 'logout', minute).then((isFirst) => (isDone = isFirst));
    expect((await store.look('session', [])).record.ended).toBeUndefined();
    await vi.waitFor(() => expect(turns).toBeGreaterThan(20));
    expect(isDone).toBe(false);
    db.exec('COMMIT');
    await within(1, ending, 'the operation did not go on');
    expect((await store.look('session', [])).record.ended).toBe('logout');
  });

  test('makes an operation fail within about a second, and is noticed when it is gone', async () => {
    const path = await newPath();
    const { store, errors } = open(path);
    const db = openDatabase(path);
    db.exec('BEGIN IMMEDIATE');
    const startedAt = performance.now();
    const writes = [store.end('session', 'logout', minute), store.touch('session', minute)];
    expect((await Promise.allSettled(writes)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(performance.now() - startedAt).toBeLessThan(2000);
    expect(store.reachable()).toBe(false);
    expect(errors.map(String)).toEqual(['Error: database is locked']);
    db.exec('COMMIT');
    await vi.waitFor(() => expect(store.reachable()).toBe(true), { timeout: 5000 });
    expect(await store.end('session', 'logout', minute)).toBe(true);
  });

  test('of a whole second makes the start wait, of longer fail', async () => {
    const path = await newPath();
    await open(path).store.close();
    const db = openDatabase(path);
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    expect(() => open(path)).toThrow(/is locked by another program\. Close what has it open/);
  });
});

test('a disk that is full fails what writes, loses nothing, and is noticed when there is room again', async () => {
  const path = await newPath();
  const other = await startFileStoreProcess(path);
  await other.call('end', 'before', 'logout', minute);
  const limit = async (bytes: string) =>
    promisify(execFile)('prlimit', ['--pid', String(other.child.pid), `--fsize=${bytes}:`]);
  await limit('1');
  await expect(other.call('end', 'refused', 'logout', minute)).rejects.toThrow(/disk I\/O error|full/);
  await expect(other.call('end', 'refused', 'logout', minute)).rejects.toThrow(/disk I\/O error|full/);
  expect(await other.state()).toEqual({ reachable: false });
  expect((await other.call('look', 'before', [])).record.ended).toBe('logout');
  expect((await other.call('look', 'refused', [])).record.ended).toBeUndefined();
  await vi.waitFor(() => expect(other.errors).toHaveLength(1));
  await limit('unlimited');
  await vi.waitFor(async () => expect(await other.state()).toEqual({ reachable: true }), { timeout: 5000 });
  expect(await other.call('end', 'refused', 'logout', minute)).toBe(true);
  expect(openDatabase(path).prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
});

describe('a file that cannot be used is refused, with the remedy:', () => {
  test('one in a folder that does not exist', async () => {
    const path = join(await newPath(), 'store.db');
    expect(() => open(path)).toThrow(/the folder \S+store\.db does not exist\. Create it, or mount the volume/);
  });

  test('a folder', async () => {
    const path = await newPath();
    await mkdir(path);
    expect(() => open(path)).toThrow(/is a folder\. Correct SALLYPORT_STORE_FILE/);
  });

  test('one that is no database, which stays as it is', async () => {
    const path = await newPath();
    const text = 'a configuration file, named by mistake\n'.repeat(100);
    await writeFile(path, text);
    expect(() => open(path)).toThrow(
      /is damaged, or no SQLite database\. Move it away, together with its -wal and -shm/,
    );
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  test('a damaged one', async () => {
    const path = await newPath();
    await open(path).store.close();
    const bytes = await readFile(path);
    await writeFile(path, bytes.fill(0xa5, 100, 4096));
    expect(() => open(path)).toThrow(/is damaged, or no SQLite database/);
  });

  test('the database of another program, which stays as it is', async () => {
    const path = await newPath();
    const db = openDatabase(path);
    db.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)');
    db.close();
    const before = await readFile(path);
    expect(() => open(path)).toThrow(/belongs to another program\. Correct SALLYPORT_STORE_FILE/);
    expect(await readFile(path)).toEqual(before);
  });

  test('one that a newer version wrote', async () => {
    const path = await newPath();
    await open(path).store.close();
    const db = openDatabase(path);
    db.exec('PRAGMA user_version = 2');
    db.close();
    expect(() => open(path)).toThrow(/written by a newer version of Sallyport \(format 2; this one reads 1\)/);
    const [{ user_version: version } = {}] = openDatabase(path).prepare('PRAGMA user_version').all();
    expect(version).toBe(2);
  });

  test('one that this user may only read', async () => {
    const path = await newPath();
    await open(path).store.close();
    await chmod(path, 0o444);
    await chmod(join(path, '..'), 0o777);
    asPlainUser(() =>
      expect(() => open(path)).toThrow(/cannot be read and written by the user \S+ \(.*\)\. Give that user/),
    );
  });

  test('one in a folder in which this user may not write', async () => {
    const path = await newPath();
    await open(path).store.close();
    await chmod(path, 0o666);
    await chmod(join(path, '..'), 0o555);
    asPlainUser(() => expect(() => open(path)).toThrow(/cannot be read and written by the user/));
    await rm(path);
    asPlainUser(() => expect(() => open(path)).toThrow(/cannot be read and written by the user/));
  });
});

describe('SQLite', () => {
  test.each(['3.44.5', '3.46.0', '3.50.4', '3.50.6', '3.51.2', ''])(
    '%s is refused: it can damage the file',
    (version) => {
      expect(faultOfSqlite(version)).toMatch(/needs SQLite 3\.51\.3 or newer.*Run Sallyport on Node 24 or newer/);
    },
  );

  test.each(['3.44.6', '3.50.7', '3.51.3', '3.53.0', '4.0.0', process.versions.sqlite])('%s is used', (version) => {
    expect(faultOfSqlite(version)).toBeUndefined();
  });
});

/** Root may do anything with any file. */
function asPlainUser(action: () => void): void {
  if (process.getuid?.() !== 0) return action();
  process.seteuid?.(65_534);
  try {
    action();
  } finally {
    process.seteuid?.(0);
  }
}

test('nobody else can read the file, nor what SQLite puts beside it', async () => {
  const path = await newPath();
  const umask = process.umask(0);
  try {
    await open(path).store.end('session', 'logout', minute);
  } finally {
    process.umask(umask);
  }
  const folder = join(path, '..');
  const names = (await readdir(folder)).toSorted();
  expect(names).toEqual(['store.db', 'store.db-shm', 'store.db-wal']);
  const modes = names.map(async (name) => (await stat(join(folder, name))).mode & 0o777);
  expect(await Promise.all(modes)).toEqual([0o600, 0o600, 0o600]);
});

test.each([':memory:', 'file:other.db?mode=memory'])('the name %j has no meaning of its own', async (name) => {
  const folder = join(await newPath(), '..');
  vi.spyOn(process, 'cwd').mockReturnValue(folder);
  await open(name).store.touch('session', minute);
  expect(await readdir(folder)).toContain(name);
});

test('an operation that fails half-way leaves nothing of what it wrote, and the next one goes on', async () => {
  const path = await newPath();
  const { store, errors } = open(path);
  const start = { names: ['name', undefined as unknown as string], details: 'sealed' };
  await expect(store.begin('torn', start, minute)).rejects.toThrow('cannot be bound');
  expect(errors).toHaveLength(1);
  expect(await store.end('next', 'logout', minute)).toBe(true);
  expect(rowsOf(path)).toEqual({ sessions: 1, members: 0, revocations: 0, used: 0, messages: 1 });
});

test('a session that ends is no longer beside its names', async () => {
  const path = await newPath();
  const { store } = open(path);
  await store.begin('session', { names: ['subject', 'provider session'], details: 'sealed' }, minute);
  expect(rowsOf(path)).toMatchObject({ sessions: 1, members: 2 });
  await store.end('session', 'logout', minute);
  expect(rowsOf(path)).toMatchObject({ sessions: 1, members: 0 });
});

describe('what has expired', () => {
  test('is removed from the file, in small steps', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const path = await newPath();
    const { store } = open(path);
    for (let index = 0; index < 120; index += 1) {
      await store.begin(`begun:${index}`, { names: ['name'], details: 'sealed', content: 'sealed' }, 0);
      await store.revoke(`name:${index}`, { before: 1, reason: 'operator' }, 0);
      await store.useOnce(`used:${index}`, 0);
    }
    await store.advance('kept', { generation: 1, content: 'sealed' }, minute);
    await store.confirm('kept', 1, 0);
    await store.revoke('kept', { before: 1, reason: 'operator' }, minute);
    await store.useOnce('kept', minute);
    const db = openDatabase(path);
    db.exec('UPDATE messages SET written_at = written_at - 61000 WHERE id <= 119');
    expect(rowsOf(path)).toEqual({ sessions: 121, members: 120, revocations: 121, used: 121, messages: 122 });
    vi.advanceTimersByTime(10_000);
    expect(rowsOf(path)).toEqual({ sessions: 71, members: 70, revocations: 71, used: 71, messages: 72 });
    vi.advanceTimersByTime(40);
    expect(rowsOf(path)).toEqual({ sessions: 1, members: 0, revocations: 1, used: 1, messages: 3 });
    expect(db.prepare('SELECT content, generation FROM sessions').all()).toEqual([{ content: null, generation: 1 }]);
  });

  test('leaves the newest message, by which others see whether they have missed some', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const path = await newPath();
    const { store } = open(path);
    for (const session of ['a', 'b', 'c']) await store.end(session, 'logout', minute);
    const db = openDatabase(path);
    db.exec('UPDATE messages SET written_at = 0');
    vi.advanceTimersByTime(10_000);
    expect(db.prepare('SELECT id FROM messages').all()).toEqual([{ id: 3 }]);
  });
});

describe('time', () => {
  test('that is set changes no lease', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const { store } = open(await newPath());
    await store.claim('session', { generation: 1, owner: 'a' }, 5000, 7200);
    for (const seconds of [3600, -3600]) {
      vi.setSystemTime(Date.now() + seconds * 1000);
      const claimed = await store.claim('session', { generation: 1, owner: 'b' }, 5000, 7200);
      expect(claimed).toEqual({ state: 'held', leftMs: expect.any(Number) });
    }
  });

  test('that is set back makes nothing younger than new', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const { store } = open(await newPath());
    await store.touch('session', 7200);
    vi.setSystemTime(Date.now() - 90_000);
    expect((await store.look('session', [])).record.activeMsAgo).toBe(0);
  });

  test('that starts again with the machine ends the leases from before', async () => {
    const path = await newPath();
    const { store } = open(path);
    await store.claim('session', { generation: 1, owner: 'a' }, 5000, minute);
    openDatabase(path).exec('UPDATE sessions SET lease_ends_at = lease_ends_at + 86400000');
    expect(await store.claim('session', { generation: 1, owner: 'b' }, 5000, minute)).toEqual({
      state: 'granted',
      interrupted: true,
    });
  });
});

const untilNoticed = { timeout: 8000, interval: 20 };

/** Two processes, one of which has written: the file has a log. */
async function startTwo(atEnd: typeof onTestFinished) {
  const path = await newPath(atEnd);
  const opened = [open(path, atEnd), open(path, atEnd)] as const;
  const losses = opened.map(({ store }) => {
    const lost: StoreMessage[] = [];
    store.subscribe((message) => void (message.type === 'lost' && lost.push(message)));
    return lost;
  });
  await opened[0].store.end('ended', 'logout', minute);
  return { path, opened, stores: opened.map(({ store }) => store), losses };
}

async function untilAnew({ stores, losses }: Awaited<ReturnType<typeof startTwo>>): Promise<void> {
  await vi.waitFor(() => expect(losses).toEqual([[{ type: 'lost' }], [{ type: 'lost' }]]), untilNoticed);
  expect(stores.map((store) => store.reachable())).toEqual([true, true]);
}

/** At the same time, because each takes some seconds. */
describe.concurrent('a file that is gone from under the process', () => {
  test.for([
    ['deleted with its log', ['', '-wal', '-shm']],
    ['deleted alone', ['']],
  ] as const)(
    '%s, is made anew by all, who say so once and agree again',
    async ([, parts], { onTestFinished: atEnd }) => {
      const two = await startTwo(atEnd);
      const [here, there] = two.stores as [Store, Store];
      const sinceBefore = here.heardSince() ?? Infinity;
      for (const part of parts) await rm(`${two.path}${part}`);
      await vi.waitFor(
        () => expect(two.stores.map((store) => store.reachable())).toEqual([false, false]),
        untilNoticed,
      );
      expect(here.heardSince()).toBeUndefined();
      await expect(here.end('b', 'logout', minute)).rejects.toThrow('replaced');
      await untilAnew(two);
      expect(here.heardSince()).toBeGreaterThan(sinceBefore);
      expect((await there.look('ended', [])).record.ended).toBeUndefined();
      const heard: StoreMessage[] = [];
      there.subscribe((message) => void heard.push(message));
      await here.end('ended', 'logout', minute);
      await vi.waitFor(() => expect(heard).toHaveLength(1), untilNoticed);
      expect(rowsOf(two.path)).toMatchObject({ sessions: 1, messages: 1 });
      for (const { errors } of two.opened) {
        expect(errors.map(String)).toEqual([expect.stringMatching(/store\.db was deleted or replaced/)]);
      }
    },
  );

  test('and has a copy of earlier in its place, keeps what the copy has, and takes nothing of the old log', async ({
    onTestFinished: atEnd,
  }) => {
    const two = await startTwo(atEnd);
    const [here, there] = two.stores as [Store, Store];
    openDatabase(two.path, atEnd).exec(`VACUUM INTO '${two.path}.copy'`);
    for (let number = 0; number < 50; number += 1) await here.end(`later ${number}`, 'logout', minute);
    await rename(`${two.path}.copy`, two.path);
    await untilAnew(two);
    expect((await there.look('ended', [])).record.ended).toBe('logout');
    expect((await there.look('later 1', [])).record.ended).toBeUndefined();
    await there.end('later 1', 'logout', minute);
    expect((await here.look('later 1', [])).record.ended).toBe('logout');
    expect(openDatabase(two.path, atEnd).prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
  });

  test('with its folder is waited for, and may be closed meanwhile', async ({ onTestFinished: atEnd }) => {
    const two = await startTwo(atEnd);
    const folder = dirname(two.path);
    await rm(folder, { recursive: true });
    for (const { errors } of two.opened) {
      await vi.waitFor(
        () => expect(errors.map(String)).toContainEqual(expect.stringMatching(/does not exist/)),
        untilNoticed,
      );
    }
    const [here, there] = two.stores as [Store, Store];
    await within(1, there.close(), 'the store did not close');
    await mkdir(folder);
    await vi.waitFor(() => expect(here.reachable()).toBe(true), untilNoticed);
    expect(two.losses).toEqual([[{ type: 'lost' }], []]);
    await here.end('ended', 'logout', minute);
  });
});
