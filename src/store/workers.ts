/**
 * The {@link Store} of several workers, which the first process holds: memory, or a file. Operations go to it as messages
 * on the process channel, and what the store tells its subscribers goes to every worker. With Redis or Valkey each worker
 * has a connection of its own instead, which spares the first process the work and each operation a hop.
 *
 * While both processes live, the channel keeps the order and loses nothing. In a frame the news come before the replies,
 * so that whoever knows the outcome of an operation has heard what it changed. An operation that is not answered in time
 * is given up. It may have been done all the same; every operation of the contract may be repeated.
 */
import { monotonicMs } from '../clock.ts';
import { detach } from '../detached.ts';
import { createStoreListeners } from './listeners.ts';
import type { Store, StoreMessage } from './store.ts';

/** The operations that pass the channel. */
type Operation = Exclude<keyof Store, 'shared' | 'durable' | 'subscribe' | 'heardSince' | 'reachable' | 'close'>;

interface Request {
  readonly id: number;
  readonly operation: Operation;
  readonly parameters: readonly unknown[];
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  /** Why there is no result. */
  readonly failure?: { readonly message: string; readonly code: string | undefined };
}

/** From a worker to the first process: the operations of one turn of the event loop. */
export type StoreRequests = readonly Request[];

/** From the first process to a worker. */
export interface StoreReplies {
  readonly news: readonly StoreMessage[];
  readonly replies: readonly Reply[];
  /** Whether the first process hears of everything itself. */
  readonly hears: boolean;
  /** Whether news were left out before this frame. */
  readonly gap: boolean;
}

/** Sends a frame. `onSent` is called when it was written, or with the error if it cannot be. */
export type Send<Frame> = (frame: Frame, onSent: (error: Error | null) => void) => void;

/** How long an operation waits for its answer. */
const operationLimitMs = 1000;
/** Operations of one worker that wait for an answer. A first process that is so far behind would answer too late. */
const maximumPending = 10_000;
/** The first process lets its workers know that it is there. */
const heartbeatMs = 1000;
/** After so long without a frame, the first process is taken for stuck. */
const silenceMs = 3500;
/** Frames on their way to a worker that does not read. From then on it misses news, and is told so. */
const maximumUnread = 1000;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** A worker's end: the store, and what takes the frames of the first process. */
export interface WorkerStore {
  readonly store: Store;
  readonly receive: (frame: StoreReplies) => void;
  /** The channel has ended: nothing can be asked any more. */
  readonly disconnect: () => void;
}

/** @param durable whether what the first process's store holds outlives that process */
export function createWorkerStore(send: Send<StoreRequests>, { durable }: { readonly durable: boolean }): WorkerStore {
  const listeners = createStoreListeners();
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let unsent: Request[] = [];
  let isOpen = true;
  let heardSince: number | undefined;
  let heardAt = -Infinity;

  function ask(operation: Operation, parameters: readonly unknown[]): Promise<unknown> {
    if (!isOpen) return Promise.reject(new Error('the store is closed'));
    if (pending.size >= maximumPending) return Promise.reject(new Error('too many operations wait for the store'));
    const id = (lastId += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle({ id, failure: unanswered }), operationLimitMs).unref();
      pending.set(id, { resolve, reject, timer });
      unsent.push({ id, operation, parameters });
      if (unsent.length === 1) process.nextTick(flush);
    });
  }

  function flush(): void {
    const requests = unsent;
    unsent = [];
    if (!isOpen) return;
    send(requests, (error) => {
      if (error === null) return;
      const failure = { message: 'the first process cannot be reached', code: undefined };
      for (const { id } of requests) settle({ id, failure });
    });
  }

  function settle({ id, result, failure }: Reply): void {
    const asked = pending.get(id);
    // An answer that comes after the limit.
    if (asked === undefined) return;
    pending.delete(id);
    clearTimeout(asked.timer);
    if (failure === undefined) asked.resolve(result);
    else
      asked.reject(Object.assign(new Error(failure.message), failure.code === undefined ? {} : { code: failure.code }));
  }

  function receive({ news, replies, hears, gap }: StoreReplies): void {
    if (!isOpen) return;
    heardAt = monotonicMs();
    if (!hears) heardSince = undefined;
    else if (gap || heardSince === undefined) heardSince = heardAt;
    for (const message of news) listeners.publish(message);
    for (const reply of replies) settle(reply);
  }

  function isHeard(): boolean {
    return isOpen && monotonicMs() - heardAt < silenceMs;
  }

  function close(): void {
    isOpen = false;
    for (const id of pending.keys()) settle({ id, failure: { message: 'the store is closed', code: undefined } });
    listeners.clear();
  }

  const store: Store = {
    shared: true,
    durable,
    ...remoteOperations(ask),
    subscribe: (listener) => listeners.subscribe(listener),
    heardSince: () => (isHeard() ? heardSince : undefined),
    reachable: isHeard,
    close: async () => close(),
  };
  return { store, receive, disconnect: close };
}

const unanswered = { message: 'the first process does not answer', code: 'ETIMEDOUT' };

/** Each operation as a message. */
function remoteOperations(
  ask: (operation: Operation, parameters: readonly unknown[]) => Promise<unknown>,
): Pick<Store, Operation> {
  const remote =
    (operation: Operation) =>
    (...parameters: readonly unknown[]) =>
      ask(operation, parameters);
  const operations: Record<Operation, ReturnType<typeof remote>> = {
    begin: remote('begin'),
    look: remote('look'),
    claim: remote('claim'),
    release: remote('release'),
    advance: remote('advance'),
    confirm: remote('confirm'),
    touch: remote('touch'),
    end: remote('end'),
    revoke: remote('revoke'),
    list: remote('list'),
    useOnce: remote('useOnce'),
  };
  // What a worker gets back is what the same operation of the first process's store returned.
  return operations as Pick<Store, Operation>;
}

function failureOf(error: unknown): NonNullable<Reply['failure']> {
  if (!(error instanceof Error)) return { message: String(error), code: undefined };
  return { message: error.message, code: 'code' in error && typeof error.code === 'string' ? error.code : undefined };
}

/** The first process's end for one worker. */
export interface ServedWorker {
  readonly receive: (frame: StoreRequests) => void;
  /** The worker has ended. */
  readonly end: () => void;
}

/** Lets a worker use the store of the first process. */
export function serveWorker(store: Store, send: Send<StoreReplies>): ServedWorker {
  let news: StoreMessage[] = [];
  let replies: Reply[] = [];
  let isScheduled = false;
  let hasEnded = false;
  let unread = 0;
  let gap = false;
  const unsubscribe = store.subscribe((message) => {
    if (unread >= maximumUnread) gap = true;
    else news.push(message);
    schedule();
  });
  const heartbeat = setInterval(flush, heartbeatMs).unref();
  flush();

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    // After the operations that are done in this turn.
    process.nextTick(flush);
  }

  function flush(): void {
    isScheduled = false;
    if (hasEnded || (unread >= maximumUnread && replies.length === 0)) return;
    unread += 1;
    const frame = { news, replies, hears: store.heardSince() !== undefined, gap };
    news = [];
    replies = [];
    gap = false;
    // A worker that cannot be reached has ended, which `end` tells.
    send(frame, () => (unread -= 1));
  }

  async function serve({ id, operation, parameters }: Request): Promise<void> {
    // The parameters are those that the same method was called with.
    const method = store[operation] as (...all: readonly unknown[]) => Promise<unknown>;
    reply({ id, result: await method.call(store, ...parameters) });
  }

  function reply(outcome: Reply): void {
    replies.push(outcome);
    schedule();
  }

  return {
    receive(requests) {
      for (const request of requests) {
        detach(serve(request), (error) => reply({ id: request.id, failure: failureOf(error) }));
      }
    },
    end() {
      hasEnded = true;
      clearInterval(heartbeat);
      unsubscribe();
    },
  };
}
