/**
 * The {@link Store} in a file of this machine, which outlives the process. Several processes may use the same file, as
 * when a new one starts before the old one has ended: SQLite's lock makes each operation one step among all of them, and
 * messages are rows that the others read.
 *
 * Operations block this process for some tens of microseconds. Where another process has the lock, they try again
 * without blocking.
 */
import { extname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { monotonicMs } from '../clock.ts';
import { openStoreDatabase, type StoreDatabase } from './file-database.ts';
import { isBusy } from './file-faults.ts';
import { createInbox } from './file-inbox.ts';
import { createHealth, createTransactions } from './file-transactions.ts';
import { createStoreListeners } from './listeners.ts';
import * as record from './record.ts';
import type { Store } from './store.ts';

/** How often messages of other processes are looked for. A look takes 3 us. */
const pollMs = 25;
/** For how long messages are kept for processes that are late. */
const messagesKeptMs = 60_000;
const sweepMs = 10_000;
const sweepAgainMs = 20;
/** Deleting so many takes about a millisecond. */
const sweepLimit = 50;

export interface FileStoreOptions {
  /** Called once when the file can no longer be used, and again when it fails after that was mended. */
  readonly onError?: (cause: unknown) => void;
}

/**
 * A store in a SQLite file: sign-outs, refreshes and sessions survive a restart, and processes of the same machine share
 * them. The file is made where there is none; its folder must exist.
 *
 * @throws {StoreFileError} where the file cannot be used, with the remedy
 */
export function createFileStore(path: string, { onError = () => undefined }: FileStoreOptions = {}): Store {
  // An absolute path has no other meaning for SQLite, as `:memory:` and `file:` have.
  const file = resolve(path);
  const database = openStoreDatabase(file);
  let closing: Promise<void> | undefined;
  const listeners = createStoreListeners();
  const health = createHealth(database, onError);
  const inbox = createInbox(database, { publish: (message) => listeners.publish(message), onError: health.failed });
  const writeBack = startWriteBack(file, onError);
  const poller = setInterval(() => {
    health.probe();
    inbox.poll();
  }, pollMs).unref();
  const sweeper = startSweeper(database, health.failed);
  const { perform, write, change } = createTransactions(database, {
    health,
    inbox,
    isOpen: () => closing === undefined,
  });

  return {
    shared: true,
    durable: true,

    async begin(session, start, ttlSeconds) {
      return write(() => {
        const now = Date.now();
        const stored = database.session(session, now) ?? record.absentSession();
        record.prolong(stored, now + ttlSeconds * 1000);
        const isListed = record.begin(stored, start);
        database.saveSession(session, stored);
        if (isListed) for (const name of start.names) database.addMember(name, session);
      });
    },

    async look(session, names) {
      return perform(() =>
        database.read(() => {
          const now = Date.now();
          const stored = database.session(session, now) ?? record.absentSession();
          const found = names.map((name) => database.revocation(name, now));
          return {
            record: record.recordOf(stored, now),
            revocations: found.filter((revocation) => revocation !== undefined),
          };
        }),
      );
    },

    async claim(session, claim, leaseMs, ttlSeconds) {
      return change(session, ttlSeconds, (stored, now) => {
        // That clock is the same for all processes of the machine, so that no lease changes when its time is set.
        const result = record.claim(stored, claim, { leaseMs, now: monotonicMs() });
        return result.state === 'settled' ? { ...result, record: record.recordOf(stored, now) } : result;
      });
    },

    async release(session, claim, interrupted) {
      return write((publish) => {
        const stored = database.session(session, Date.now());
        if (stored === undefined || !record.release(stored, claim, interrupted)) return;
        database.saveSession(session, stored);
        publish({ type: 'released', session });
      });
    },

    async advance(session, next, ttlSeconds) {
      return change(session, ttlSeconds, (stored, now, publish) => {
        const outcome = record.advance(stored, next);
        if (outcome === 'refused') return { advanced: false, record: record.recordOf(stored, now) };
        if (outcome === 'advanced') publish({ type: 'advanced', session, generation: next.generation });
        return { advanced: true };
      });
    },

    async confirm(session, generation, graceMs) {
      return write(() => {
        const now = Date.now();
        const stored = database.session(session, now);
        if (stored === undefined) return;
        record.confirm(stored, generation, { graceMs, now });
        database.saveSession(session, stored);
      });
    },

    async touch(session, ttlSeconds) {
      return change(session, ttlSeconds, record.touch);
    },

    async end(session, reason, ttlSeconds) {
      return change(session, ttlSeconds, (stored, _now, publish) => {
        if (!record.end(stored, reason)) return false;
        database.removeMember(session);
        publish({ type: 'ended', session, reason });
        return true;
      });
    },

    async revoke(name, revocation, ttlSeconds) {
      return write((publish) => {
        const now = Date.now();
        database.revoke(name, revocation, { expiresAt: now + ttlSeconds * 1000, now });
        publish({ type: 'revoked', name, ...revocation });
      });
    },

    async list(name, limit) {
      return perform(() => {
        const now = Date.now();
        return database.list(name, limit, now).map(({ session, details, activeAt }) => {
          return { session, details, activeMsAgo: record.msSince(activeAt, now) };
        });
      });
    },

    async useOnce(name, ttlSeconds) {
      const now = Date.now();
      return write(() => database.useOnce(name, { expiresAt: now + ttlSeconds * 1000, now }));
    },

    subscribe: (listener) => listeners.subscribe(listener),
    heardSince: () => (closing === undefined ? inbox.heardSince() : undefined),
    reachable: () => closing === undefined && health.isWell(),

    async close() {
      closing ??= (async () => {
        clearInterval(poller);
        sweeper.stop();
        listeners.clear();
        await writeBack.stop();
        database.close();
      })();
      return closing;
    },
  };
}

function startSweeper(database: StoreDatabase, onError: (cause: unknown) => void): { stop(): void } {
  let timer = setTimeout(sweep, sweepMs).unref();

  function sweep(): void {
    const now = Date.now();
    let isMore = false;
    try {
      isMore = database.write(() => database.removeExpired(sweepLimit, { now, messagesBefore: now - messagesKeptMs }));
    } catch (error) {
      if (!isBusy(error)) onError(error);
    }
    timer = setTimeout(sweep, isMore ? sweepAgainMs : sweepMs).unref();
  }

  return { stop: () => clearTimeout(timer) };
}

function startWriteBack(file: string, onError: (cause: unknown) => void): { stop(): Promise<void> } {
  const thread = new URL(`./file-write-back${extname(import.meta.url)}`, import.meta.url);
  // Node 22 warns of an experimental module: once is enough.
  const worker = new Worker(thread, { workerData: file, execArgv: ['--disable-warning=ExperimentalWarning'] });
  worker.unref();
  worker.on('error', onError);
  const exited = new Promise<void>((resolve) => void worker.once('exit', () => resolve()));
  return {
    async stop() {
      worker.ref();
      worker.postMessage('stop', []);
      await exited;
    },
  };
}
