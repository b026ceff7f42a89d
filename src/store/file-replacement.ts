/**
 * Keeps the store's file open, also where it is deleted, or another one is put in its place, under the running process.
 * SQLite would go on with the old one, which nobody else finds any more, and which is gone when the process ends.
 *
 * SQLite finds its log and the log's index by the file's name. So nobody may still have the old file open when the new one
 * is opened: each process notices within a second, closes it, and waits for the others to have done so.
 */
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { detach } from '../detached.ts';
import { openStoreDatabase, type OpenFile } from './file-database.ts';
import { StoreFileError } from './file-faults.ts';
import { identityOf, isReplaced } from './file-identity.ts';
import type { WrittenBack } from './file-write-back.ts';

const lookMs = 1000;
/** How long the other processes have to notice as well. */
const untilOthersMs = 2000;

interface KeeperOptions {
  readonly onError: (cause: unknown) => void;
  /** Called when the new file can be used. */
  readonly onReplaced: () => void;
}

interface FileKeeper {
  /** False from when another file is noticed until it is open. */
  readonly isOpen: () => boolean;
  close(): Promise<void>;
}

/** @param file is open; its database is replaced together with the file */
export function keepFileOpen(path: string, file: OpenFile, { onError, onReplaced }: KeeperOptions): FileKeeper {
  const closing = new AbortController();
  let identity = identityOf(path);
  let isOpen = true;
  let writeBack = startWriteBack({ path, identity }, onError);
  let reopening: Promise<void> | undefined;
  const timer = setInterval(() => {
    if (!isOpen || !isReplaced(path, identity)) return;
    reopening = reopen();
    detach(reopening, onError);
  }, lookMs).unref();

  async function reopen(): Promise<void> {
    isOpen = false;
    onError(new StoreFileError(`The store's file ${path} was deleted or replaced. It is opened anew.`));
    await closeOld();
    await pause(untilOthersMs);
    for (let failures = 0; !closing.signal.aborted; failures += 1) {
      try {
        openNew();
        return onReplaced();
      } catch (error) {
        if (failures === 0) onError(error);
      }
      await pause(lookMs);
    }
  }

  async function closeOld(): Promise<void> {
    await writeBack.stop();
    try {
      file.database.emptyLog();
    } catch (error) {
      onError(error);
    }
    file.database.close();
  }

  /** @throws {StoreFileError} where the new file cannot be used */
  function openNew(): void {
    file.database = openStoreDatabase(path);
    identity = identityOf(path);
    writeBack = startWriteBack({ path, identity }, onError);
    isOpen = true;
  }

  async function pause(ms: number): Promise<void> {
    await delay(ms, undefined, { ref: false, signal: closing.signal }).catch(() => undefined);
  }

  return {
    isOpen: () => isOpen,
    async close() {
      clearInterval(timer);
      closing.abort();
      await reopening;
      if (!isOpen) return;
      await writeBack.stop();
      file.database.close();
    },
  };
}

function startWriteBack(file: WrittenBack, onError: (cause: unknown) => void): { stop(): Promise<void> } {
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
