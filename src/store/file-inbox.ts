/**
 * The messages of the processes that use a store's file: rows with ascending numbers, which each process reads in their
 * order, its own among them.
 */
import { monotonicMs } from '../clock.ts';
import type { OpenFile } from './file-database.ts';
import { isBusy } from './file-faults.ts';
import type { StoreMessage } from './store.ts';

export type Publish = (message: StoreMessage) => void;

export interface Inbox {
  /** Looks whether another process has written anything. */
  poll(): void;
  /** Publishes the messages that are new. */
  read(): void;
  heardSince(): number | undefined;
  /** Begins anew in another file, in which nothing was heard of yet. */
  restart(): void;
}

export function createInbox(
  file: OpenFile,
  { publish, onError }: { readonly publish: Publish; readonly onError: (cause: unknown) => void },
): Inbox {
  let seenVersion = file.database.dataVersion();
  let lastId = file.database.lastMessageId();
  let since = monotonicMs();
  let isBehind = false;

  function restart(): void {
    seenVersion = file.database.dataVersion();
    lastId = file.database.lastMessageId();
    since = monotonicMs();
    isBehind = false;
  }

  function read(): void {
    for (const { id, message } of file.database.messagesAfter(lastId)) {
      // A listener whose operation published has read on by itself.
      if (id <= lastId) continue;
      // Messages have been removed before this process read them: it was stopped for longer than they are kept.
      if (id !== lastId + 1) since = monotonicMs();
      lastId = id;
      publish(JSON.parse(message) as StoreMessage);
    }
  }

  /** An operation that was done must not fail because of its message: that is read again. */
  function attempt(action: () => void): void {
    try {
      action();
      isBehind = false;
    } catch (error) {
      isBehind = true;
      if (!isBusy(error)) onError(error);
    }
  }

  return {
    read: () => attempt(read),
    poll: () =>
      attempt(() => {
        const version = file.database.dataVersion();
        if (version === seenVersion && !isBehind) return;
        read();
        seenVersion = version;
      }),
    heardSince: () => (isBehind ? undefined : since),
    restart,
  };
}
