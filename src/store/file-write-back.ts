/**
 * The thread that writes SQLite's log back into the store's file, each second in which something was written. It waits for
 * the disk, for tens of milliseconds and more, so that no call of a browser does. What it has written back a power
 * failure cannot take away.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { isReplaced } from './file-identity.ts';

export interface WrittenBack {
  readonly path: string;
  /** Of the file that the log belongs to. To write it into another one of that name would damage both. */
  readonly identity: string | undefined;
}

const everyMs = 1000;

const { path, identity } = workerData as WrittenBack;
const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
const db = new DatabaseSync(path, { open: !isReplaced(path, identity) });
let writtenBack: unknown;

const timer = setInterval(() => {
  if (!db.isOpen || isReplaced(path, identity)) return;
  const version = db.prepare('PRAGMA data_version').get()?.['data_version'];
  if (version === writtenBack) return;
  // Passive: nobody who reads or writes waits for it. `busy`: another process is writing back.
  const isBusy = db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get()?.['busy'] !== 0;
  if (!isBusy) writtenBack = version;
}, everyMs);

parentPort?.once('message', () => {
  clearInterval(timer);
  if (db.isOpen) db.close();
});
