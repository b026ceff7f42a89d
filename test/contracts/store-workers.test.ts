/** The store that workers share: the contract over a channel, and what only a channel can get wrong. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import {
  createWorkerStore,
  serveWorker,
  type StoreReplies,
  type StoreRequests,
  type WorkerStore,
} from '../../src/store/workers.ts';
import { describeStore } from './store-contract.ts';

/** Connects a worker by a channel that clones what passes, as that of processes does. */
function connect(held: Store): Store {
  const { port1, port2 } = new MessageChannel();
  const worker = createWorkerStore(sendOver(port1), { durable: held.durable });
  const served = serveWorker(held, sendOver(port2));
  port1.on('message', (frame: StoreReplies) => worker.receive(frame));
  port2.on('message', (frame: StoreRequests) => served.receive(frame));
  onTestFinished(async () => {
    await worker.store.close();
    served.end();
    port1.close();
  });
  return worker.store;
}

function sendOver(port: MessagePort) {
  return (frame: unknown, onSent: (error: Error | null) => void): void => {
    port.postMessage(frame);
    onSent(null);
  };
}

function holdStore(): Store {
  const held = createMemoryStore();
  onTestFinished(() => held.close());
  return held;
}

describeStore('the first process, for its workers', () => {
  const held = holdStore();
  return [connect(held), connect(held), connect(held)];
});

const minute = 60;

/** A worker's end whose frames the test carries itself. */
function startWorker(): { worker: WorkerStore; sent: StoreRequests[]; failSending: (error: Error) => void } {
  const sent: StoreRequests[] = [];
  let failure: Error | null = null;
  const worker = createWorkerStore(
    (frame, onSent) => {
      if (failure === null) sent.push(frame);
      onSent(failure);
    },
    { durable: true },
  );
  return { worker, sent, failSending: (error) => void (failure = error) };
}

const nothing: StoreReplies = { news: [], replies: [], hears: true, gap: false };

describe('the worker’s end', () => {
  test('says what the store of the first process is', () => {
    const { worker } = startWorker();
    expect(worker.store).toMatchObject({ shared: true, durable: true });
  });

  test('sends the operations of one turn in one frame', async () => {
    const { worker, sent } = startWorker();
    const asked = [worker.store.look('a', []), worker.store.look('b', ['n']), worker.store.end('c', 'logout', 1)];
    await vi.waitFor(() => expect(sent).toHaveLength(1));
    expect(sent[0]?.map(({ operation, parameters }) => [operation, parameters])).toEqual([
      ['look', ['a', []]],
      ['look', ['b', ['n']]],
      ['end', ['c', 'logout', 1]],
    ]);
    // In another order than asked.
    const replies = sent[0]?.map(({ id }, index) => ({ id, result: index })).toReversed() ?? [];
    worker.receive({ ...nothing, replies });
    expect(await Promise.all(asked)).toEqual([0, 1, 2]);
  });

  test('gives an operation up after a second, and takes no late answer for that of another', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { worker, sent } = startWorker();
    const late = worker.store.touch('a', minute).catch((error: unknown) => error);
    await vi.waitFor(() => expect(sent).toHaveLength(1));
    vi.advanceTimersByTime(1000);
    expect(await late).toMatchObject({ message: 'the first process does not answer', code: 'ETIMEDOUT' });
    const next = worker.store.end('a', 'logout', minute);
    await vi.waitFor(() => expect(sent).toHaveLength(2));
    worker.receive({ ...nothing, replies: [{ id: sent[0]?.[0]?.id ?? -1, result: 'late' }] });
    worker.receive({ ...nothing, replies: [{ id: sent[1]?.[0]?.id ?? -1, result: true }] });
    expect(await next).toBe(true);
  });

  test('fails an operation that could not be sent', async () => {
    const { worker, failSending } = startWorker();
    failSending(new Error('EPIPE'));
    await expect(worker.store.touch('a', minute)).rejects.toThrow('the first process cannot be reached');
  });

  test('fails what waits, and all that comes after, when the channel ends', async () => {
    const { worker, sent } = startWorker();
    worker.receive(nothing);
    const asked = worker.store.touch('a', minute);
    await vi.waitFor(() => expect(sent).toHaveLength(1));
    worker.disconnect();
    await expect(asked).rejects.toThrow('closed');
    await expect(worker.store.touch('b', minute)).rejects.toThrow('closed');
    expect([worker.store.reachable(), worker.store.heardSince()]).toEqual([false, undefined]);
    expect(sent).toHaveLength(1);
  });

  test('keeps no more than 10,000 operations waiting', async () => {
    const { worker } = startWorker();
    const asked = Array.from({ length: 10_000 }, () => worker.store.touch('a', minute));
    await expect(worker.store.touch('a', minute)).rejects.toThrow('too many operations');
    worker.disconnect();
    await Promise.allSettled(asked);
  });

  test('hears from the first frame on, again after a gap, and not while the first process does not', () => {
    vi.useFakeTimers({ toFake: ['hrtime'] });
    onTestFinished(() => void vi.useRealTimers());
    const { worker } = startWorker();
    const { store } = worker;
    expect([store.heardSince(), store.reachable()]).toEqual([undefined, false]);
    worker.receive(nothing);
    const first = monotonicMs();
    vi.advanceTimersByTime(1000);
    worker.receive(nothing);
    expect([store.heardSince(), store.reachable()]).toEqual([first, true]);
    worker.receive({ ...nothing, gap: true });
    expect(store.heardSince()).toBe(monotonicMs());
    worker.receive({ ...nothing, hears: false });
    expect(store.heardSince()).toBeUndefined();
    vi.advanceTimersByTime(1000);
    worker.receive(nothing);
    expect(store.heardSince()).toBe(monotonicMs());
  });

  test('takes a first process that is silent for stuck, and believes it again', () => {
    vi.useFakeTimers({ toFake: ['hrtime'] });
    onTestFinished(() => void vi.useRealTimers());
    const { worker } = startWorker();
    worker.receive(nothing);
    const since = worker.store.heardSince();
    vi.advanceTimersByTime(4000);
    expect([worker.store.heardSince(), worker.store.reachable()]).toEqual([undefined, false]);
    worker.receive(nothing);
    // The channel keeps what was said meanwhile.
    expect([worker.store.heardSince(), worker.store.reachable()]).toEqual([since, true]);
  });
});

/** Frames to the worker, whose sending the test completes. */
function serve(held: Store) {
  const frames: StoreReplies[] = [];
  const unsent: Array<() => void> = [];
  const served = serveWorker(held, (frame, onSent) => {
    frames.push(frame);
    unsent.push(() => onSent(null));
  });
  onTestFinished(() => served.end());
  return { served, frames, unsent };
}

describe('the first process’s end', () => {
  test('tells the news of an operation before its outcome', async () => {
    const { served, frames } = serve(holdStore());
    served.receive([{ id: 7, operation: 'end', parameters: ['a', 'logout', minute] }]);
    await vi.waitFor(() => expect(frames.flatMap(({ replies }) => replies)).toEqual([{ id: 7, result: true }]));
    const told = frames.findIndex(({ news }) => news.length > 0);
    expect(frames[told]?.news).toEqual([{ type: 'ended', session: 'a', reason: 'logout' }]);
    expect(told).toBeLessThanOrEqual(frames.findIndex(({ replies }) => replies.length > 0));
  });

  test('answers the operations of one frame in one frame', async () => {
    const { served, frames } = serve(holdStore());
    const before = frames.length;
    served.receive(Array.from({ length: 50 }, (_, id) => ({ id, operation: 'look', parameters: [`s${id}`, []] })));
    await vi.waitFor(() => expect(frames.flatMap(({ replies }) => replies)).toHaveLength(50));
    expect(frames.length - before).toBeLessThanOrEqual(2);
  });

  test('passes the store’s own failure on', async () => {
    const held = holdStore();
    held.touch = () => Promise.reject(Object.assign(new Error('disk full'), { code: 'ENOSPC' }));
    await expect(connect(held).touch('a', minute)).rejects.toMatchObject({ message: 'disk full', code: 'ENOSPC' });
  });

  test('says that it is there every second, and whether it hears itself', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const held = holdStore();
    let since: number | undefined = 5;
    held.heardSince = () => since;
    const { frames } = serve(held);
    since = undefined;
    vi.advanceTimersByTime(2000);
    expect(frames.map(({ hears }) => hears)).toEqual([true, false, false]);
  });

  test('leaves news out for a worker that does not read, and tells it so when it reads again', async () => {
    const held = holdStore();
    const { frames, unsent } = serve(held);
    for (let index = 0; index < 1500; index += 1) {
      await held.end(`s${index}`, 'logout', minute);
      await nextTurn();
    }
    const before = frames.length;
    expect(before).toBeLessThanOrEqual(1001);
    expect(frames.some(({ gap }) => gap)).toBe(false);
    for (const complete of unsent.splice(0)) complete();
    await held.end('later', 'logout', minute);
    await vi.waitFor(() => expect(frames.length).toBeGreaterThan(before));
    expect(frames.slice(before).map(({ gap }) => gap)).toContain(true);
    expect(frames.at(-1)?.news.at(-1)).toEqual({ type: 'ended', session: 'later', reason: 'logout' });
  });

  test('forgets a worker that has ended', async () => {
    const held = holdStore();
    const listeners = new Set<(message: StoreMessage) => void>();
    held.subscribe = (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    };
    const { served, frames } = serve(held);
    served.receive([{ id: 1, operation: 'look', parameters: ['a', []] }]);
    served.end();
    const before = frames.length;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([listeners.size, frames.length]).toEqual([0, before]);
  });
});
