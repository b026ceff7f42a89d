/**
 * The thread that writes SQLite's log back into the store's file, each second in which something was written. It waits for
 * the disk, for tens of milliseconds and more, so that no call of a browser does. What it has written back a power
 * failure cannot take away.
 */
import { parentPort, workerData } from 'node:worker_threads';

const everyMs = 1000;

const { DatabaseSync } = process.getBuiltinModule('node:sqlite');
const db = new DatabaseSync(workerData as string);
const dataVersion = db.prepare('PRAGMA data_version');
const writeBack = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
let writtenBack: unknown;

const timer = setInterval(() => {
  const version = dataVersion.get()?.['data_version'];
  if (version === writtenBack) return;
  // Passive: nobody who reads or writes waits for it. `busy`: another process is writing back.
  const isBusy = writeBack.get()?.['busy'] !== 0;
  if (!isBusy) writtenBack = version;
}, everyMs);

parentPort?.once('message', () => {
  clearInterval(timer);
  db.close();
});
