/** Writes that the store may have lost, or could not take: which of them is made once more, and which is not. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import { createOutbox } from '../../src/session/outbox.ts';
import { createRecentWrites } from '../../src/session/recent-writes.ts';
import { createSharedSessions } from '../../src/session/shared-sessions.ts';
import { createEvents } from '../../src/events.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { linkStore, type Link } from '../support/linked-store.ts';
import { configOf, signIn, startTwo } from '../support/two-instances.ts';

/** What one process shares with others, by a link to a store that a test can empty. */
async function startShared() {
  const { here } = startTwo();
  const { entry } = await here.openActive(await signIn(here));
  const link: Link = {};
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  let heardSince = monotonicMs();
  link.heardSince = () => heardSince;
  const shared = createSharedSessions(configOf(), { store: linkStore(store, link), events: createEvents() });
  onTestFinished(() => shared.close());
  return {
    shared,
    store,
    link,
    entry,
    /** As after any failover: messages may have been missed. */
    failOver: () => void (heardSince = monotonicMs()),
    generation: async () => (await store.look(entry.key, [])).record.generation,
  };
}

/** Holds the first write until the test releases it. */
function holdFirst(link: Link): () => void {
  const gate = Promise.withResolvers<void>();
  let count = 0;
  link.before = async () => {
    count += 1;
    if (count === 1) await gate.promise;
  };
  return gate.resolve;
}

describe('of two writes about the same', () => {
  test('the later one is made although the store was away, and the earlier one succeeds after it', async () => {
    const { shared, link, entry, failOver, generation } = await startShared();
    const release = holdFirst(link);
    const first = shared.advance(entry, 1, 'one');
    const { before } = link;
    link.before = () => Promise.reject(new Error('away'));
    expect(await shared.advance(entry, 2, 'two')).toBeUndefined();
    release();
    await first;
    failOver();
    // The next look at recent writes.
    await sleep(600);
    if (before !== undefined) link.before = before;
    await vi.waitFor(async () => expect(await generation()).toBe(2), 3000);
  });

  test('the later one is repeated after a failover, although the earlier one was answered last', async () => {
    const { shared, store, link, entry, failOver } = await startShared();
    const release = holdFirst(link);
    const first = shared.advance(entry, 1, 'one');
    await shared.advance(entry, 2, 'two');
    release();
    await first;
    const repeated: number[] = [];
    const advance = vi.spyOn(store, 'advance').mockImplementation(async (_session, next) => {
      repeated.push(next.generation);
      return { advanced: true };
    });
    onTestFinished(() => advance.mockRestore());
    failOver();
    await vi.waitFor(() => expect(repeated).not.toEqual([]), 3000);
    expect(repeated).toEqual([2]);
  });

  test('the later one is not put behind the earlier one where both fail', async () => {
    const { shared, link, entry, generation } = await startShared();
    const gate = Promise.withResolvers<void>();
    link.before = async () => {
      await gate.promise;
      throw new Error('away');
    };
    const first = shared.advance(entry, 1, 'one');
    link.before = () => Promise.reject(new Error('away'));
    await shared.advance(entry, 2, 'two');
    gate.resolve();
    await first;
    delete link.before;
    await vi.waitFor(async () => expect(await generation()).toBe(2), 3000);
  });
});

test('what was told late is repeated, too, because the server that took it may be the one that is replaced', async () => {
  const { shared, store, link, entry, failOver } = await startShared();
  link.before = () => Promise.reject(new Error('away'));
  await shared.advance(entry, 1, 'one');
  delete link.before;
  const advance = vi.spyOn(store, 'advance');
  onTestFinished(() => advance.mockRestore());
  await vi.waitFor(() => expect(advance).toHaveBeenCalledTimes(1), 3000);
  await sleep(10);
  failOver();
  await vi.waitFor(() => expect(advance).toHaveBeenCalledTimes(2), 3000);
});

function startRecent() {
  let heardSince = 0;
  const repeated: string[] = [];
  const recent = createRecentWrites({ shared: true, heardSince: () => heardSince }, (about) => repeated.push(about));
  const write = { write: async () => undefined, expiresAt: Infinity };
  return {
    recent,
    repeated,
    add: (about: string) => recent.add(about, write),
    failOver: () => {
      vi.advanceTimersByTime(1);
      heardSince = monotonicMs();
      vi.advanceTimersByTime(250);
    },
  };
}

describe('the recent writes', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'hrtime'] }));
  afterEach(() => void vi.useRealTimers());

  test('are the last 2000', () => {
    const { add, repeated, failOver } = startRecent();
    for (let number = 0; number < 2003; number += 1) add(`write ${number}`);
    failOver();
    expect(repeated).toHaveLength(2000);
    expect(repeated[0]).toBe('write 3');
  });

  test('are those of the last five seconds', () => {
    const { add, repeated, failOver } = startRecent();
    add('long ago');
    vi.advanceTimersByTime(3000);
    add('just now');
    vi.advanceTimersByTime(2500);
    failOver();
    expect(repeated).toEqual(['just now']);
  });

  test('keep no timer of a process that has ended its part, though a write ends after that', () => {
    const { add, recent } = startRecent();
    recent.close();
    add('the last');
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('the outbox hands on what was delivered, and not what was cancelled meanwhile', async () => {
  const delivered: string[] = [];
  const outbox = createOutbox(
    () => 0,
    (about) => delivered.push(about),
  );
  const gate = Promise.withResolvers<void>();
  outbox.add('cancelled', { expiresAt: 1, write: () => gate.promise });
  outbox.add('delivered', { expiresAt: 1, write: async () => undefined });
  await sleep(100);
  outbox.cancel('cancelled');
  gate.resolve();
  await vi.waitFor(() => expect(delivered).toEqual(['delivered']));
});
