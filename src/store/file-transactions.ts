/** Steps on a store's file: each waits for the lock without blocking the process, and is told to all once it is done. */
import { setTimeout as delay } from 'node:timers/promises';
import type { OpenFile } from './file-database.ts';
import { isBusy } from './file-faults.ts';
import type { Inbox, Publish } from './file-inbox.ts';
import * as record from './record.ts';
import type { StoredSession } from './record.ts';

/** For how long a step tries to get the lock. */
const lockTimeoutMs = 1000;
const lockRetryMs = 1;
const probeMs = 1000;

export interface Transactions {
  /** Runs a step, again and again while another process has the lock. */
  readonly perform: <Result>(step: () => Result) => Promise<Result>;
  /** Runs a step that writes, as a whole or not at all, and tells everybody what it publishes. */
  readonly write: <Result>(step: (publish: Publish) => Result) => Promise<Result>;
  /** Changes a session's record, and begins it where there is none. */
  readonly change: <Result>(
    session: string,
    ttlSeconds: number,
    step: (stored: StoredSession, now: number, publish: Publish) => Result,
  ) => Promise<Result>;
}

interface Surroundings {
  readonly health: Health;
  readonly inbox: Inbox;
  /** @throws {Error} while the file cannot be used by this process */
  readonly requireOpen: () => void;
}

export function createTransactions(file: OpenFile, { health, inbox, requireOpen }: Surroundings): Transactions {
  async function perform<Result>(step: () => Result): Promise<Result> {
    const deadline = performance.now() + lockTimeoutMs;
    for (;;) {
      requireOpen();
      try {
        return step();
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) {
          health.failed(error);
          throw error;
        }
      }
      await delay(lockRetryMs);
    }
  }

  async function write<Result>(step: (publish: Publish) => Result): Promise<Result> {
    return perform(() => {
      let hasPublished = false;
      const { database } = file;
      const result = database.write(() =>
        step((message) => {
          hasPublished = true;
          database.addMessage(JSON.stringify(message), Date.now());
        }),
      );
      if (hasPublished) inbox.read();
      return result;
    });
  }

  async function change<Result>(
    session: string,
    ttlSeconds: number,
    step: (stored: StoredSession, now: number, publish: Publish) => Result,
  ): Promise<Result> {
    return write((publish) => {
      const { database } = file;
      const now = Date.now();
      const stored = database.session(session, now) ?? record.absentSession();
      record.prolong(stored, now + ttlSeconds * 1000);
      const result = step(stored, now, publish);
      database.saveSession(session, stored);
      return result;
    });
  }

  return { perform, write, change };
}

export interface Health {
  isWell(): boolean;
  readonly failed: (cause: unknown) => void;
  /** Tries from time to time whether what failed is mended. */
  probe(): void;
}

export function createHealth(file: OpenFile, onError: (cause: unknown) => void): Health {
  let failedAt: number | undefined;
  return {
    isWell: () => failedAt === undefined,
    failed(cause) {
      if (failedAt === undefined) onError(cause);
      failedAt = performance.now();
    },
    probe() {
      if (failedAt === undefined || performance.now() - failedAt < probeMs) return;
      try {
        const { database } = file;
        database.write(() => database.writeNothing());
        failedAt = undefined;
      } catch {
        // Said once, when it failed first.
        failedAt = performance.now();
      }
    },
  };
}
