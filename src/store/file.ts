/**
 * The {@link Store} in a file of this machine, which outlives the process. Several processes may use the same file, as
 * when a new one starts before the old one has ended: SQLite's lock makes each operation one step among all of them, and
 * messages are rows that the others read.
 *
 * Operations block this process for some tens of microseconds. Where another process has the lock, they try again
 * without blocking.
 */
import { resolve } from 'node:path';
import { monotonicMs } from '../clock.ts';
import { openStoreDatabase, type OpenFile } from './file-database.ts';
import { isBusy } from './file-faults.ts';
import { createInbox } from './file-inbox.ts';
import { keepFileOpen } from './file-replacement.ts';
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
  const name = resolve(path);
  const file: OpenFile = { database: openStoreDatabase(name) };
  let closing: Promise<void> | undefined;
  const listeners = createStoreListeners();
  const health = createHealth(file, onError);
  const inbox = createInbox(file, { publish: (message) => listeners.publish(message), onError: health.failed });
  const keeper = keepFileOpen(name, file, {
    onError,
    onReplaced() {
      inbox.restart();
      listeners.publish({ type: 'lost' });
    },
  });
  const poller = setInterval(() => {
    if (!keeper.isOpen()) return;
    health.probe();
    inbox.poll();
  }, pollMs).unref();
  const sweeper = startSweeper(file, { isOpen: keeper.isOpen, onError: health.failed });
  const { perform, write, change } = createTransactions(file, {
    health,
    inbox,
    requireOpen() {
      if (closing !== undefined) throw new Error('the store is closed');
      if (!keeper.isOpen()) throw new Error("the store's file was replaced, and is opened anew");
    },
  });

  return {
    shared: true,
    durable: true,

    async begin(session, start, ttlSeconds) {
      return write(() => {
        const { database } = file;
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
        file.database.read(() => {
          const { database } = file;
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
        const { database } = file;
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
        const { database } = file;
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
        file.database.removeMember(session);
        publish({ type: 'ended', session, reason });
        return true;
      });
    },

    async revoke(name, revocation, ttlSeconds) {
      return write((publish) => {
        const now = Date.now();
        file.database.revoke(name, revocation, { expiresAt: now + ttlSeconds * 1000, now });
        publish({ type: 'revoked', name, ...revocation });
      });
    },

    async list(name, limit) {
      return perform(() => {
        const now = Date.now();
        return file.database.list(name, limit, now).map(({ session, details, activeAt }) => {
          return { session, details, activeMsAgo: record.msSince(activeAt, now) };
        });
      });
    },

    async useOnce(name, ttlSeconds) {
      const now = Date.now();
      return write(() => file.database.useOnce(name, { expiresAt: now + ttlSeconds * 1000, now }));
    },

    subscribe: (listener) => listeners.subscribe(listener),
    heardSince: () => (closing === undefined && keeper.isOpen() ? inbox.heardSince() : undefined),
    reachable: () => closing === undefined && keeper.isOpen() && health.isWell(),

    async close() {
      closing ??= (async () => {
        clearInterval(poller);
        sweeper.stop();
        listeners.clear();
        await keeper.close();
      })();
      return closing;
    },
  };
}

interface Sweeping {
  readonly isOpen: () => boolean;
  readonly onError: (cause: unknown) => void;
}

function startSweeper(file: OpenFile, { isOpen, onError }: Sweeping): { stop(): void } {
  let timer = setTimeout(sweep, sweepMs).unref();

  function sweep(): void {
    const now = Date.now();
    let isMore = false;
    const { database } = file;
    try {
      isMore =
        isOpen() &&
        database.write(() => database.removeExpired(sweepLimit, { now, messagesBefore: now - messagesKeptMs }));
    } catch (error) {
      if (!isBusy(error)) onError(error);
    }
    timer = setTimeout(sweep, isMore ? sweepAgainMs : sweepMs).unref();
  }

  return { stop: () => clearTimeout(timer) };
}
