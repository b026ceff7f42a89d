/** What processes remember of ends that the store has forgotten, and how they write it back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type BffEvent } from '../../src/events.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import { cookieOf, loginAt, startInstance, tokensOf } from '../support/two-instances.ts';

/** A store that a test can empty, as if nobody's connection were cut. */
function createLossyStore() {
  let current = createMemoryStore();
  const listeners = new Set<(message: StoreMessage) => void>();
  const writes: string[] = [];
  const tell = (message: StoreMessage): void => listeners.forEach((listener) => listener(message));
  current.subscribe(tell);
  const store: Store = {
    ...current,
    begin: (...given) => current.begin(...given),
    look: (...given) => current.look(...given),
    claim: (...given) => current.claim(...given),
    advance: (...given) => current.advance(...given),
    async end(...given) {
      writes.push(given[0]);
      return current.end(...given);
    },
    async revoke(...given) {
      writes.push(given[0]);
      return current.revoke(...given);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  onTestFinished(() => current.close());
  return {
    store,
    writes,
    tell,
    empty: async (lastMs?: number) => {
      await current.close();
      current = createMemoryStore();
      current.subscribe(tell);
      writes.length = 0;
      // Each process finds it by itself, one after the other.
      for (const listener of listeners) {
        listener(lastMs === undefined ? { type: 'lost' } : { type: 'lost', lastMs });
        await Promise.resolve();
      }
    },
  };
}

const nobody = {} as Parameters<typeof startInstance>[1];

async function signedInAt({ sessions }: ReturnType<typeof startInstance>, sub: string, sid = sub): Promise<string> {
  return cookieOf(await sessions.begin(tokensOf(0, { sub, sid }), undefined));
}

function startSeveral(count: number, changes: Parameters<typeof startInstance>[2] = {}) {
  const lossy = createLossyStore();
  const start = () => startInstance(lossy.store, nobody, changes);
  const [here, ...others] = Array.from({ length: count }, start);
  if (here === undefined) throw new RangeError('at least one');
  return { ...lossy, here, others, start };
}

function emptiedAt({ seen }: ReturnType<typeof startInstance>): readonly BffEvent[] {
  return seen.filter(({ type }) => type === 'store.emptied');
}

describe('after a store was emptied', () => {
  test('each kind of end is known to a process that starts later', async () => {
    const { here, empty, start, writes } = startSeveral(1);
    const cookies = [];
    for (const person of ['signs out', 'is signed out', 'is ended', 'goes on'])
      cookies.push(await signedInAt(here, person));
    const [out = '', , ended = ''] = cookies;
    await here.sessions.end((await here.openActive(out)).entry, 'logout');
    await here.sessions.revoke({ sid: 'is signed out', issuedBefore: loginAt, reason: 'backchannel' });
    await here.sessions.endByKey((await here.openActive(ended)).entry.key, 'operator');
    await empty();
    await vi.waitFor(() => expect(writes).toHaveLength(3));
    const later = start();
    const states = await Promise.all(cookies.map(async (cookie) => (await later.open(cookie)).state));
    expect(states).toEqual(['ended', 'ended', 'ended', 'active']);
    expect(emptiedAt(here)).toEqual([{ type: 'store.emptied', ends: 3 }]);
    await here.sessions.close();
  });

  test('an end that was learned from the store alone is written back, too', async () => {
    const { here, others, empty, start, writes } = startSeveral(2);
    const [deaf] = others;
    const cookie = await signedInAt(here, 'alice');
    if (deaf !== undefined) deaf.link.deliver = (message, hand) => (message.type === 'lost' ? hand() : undefined);
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    expect((await deaf?.open(cookie))?.state).toBe('ended');
    here.link.deliver = () => undefined;
    await empty();
    await vi.waitFor(() => expect(writes).toHaveLength(1));
    expect((await start().open(cookie)).state).toBe('ended');
  });

  test('processes share the work, and write little twice', async () => {
    const { here, others, empty, writes } = startSeveral(4);
    for (let person = 0; person < 1000; person += 1) {
      const cookie = await signedInAt(here, `person ${person}`);
      await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    }
    await empty();
    await vi.waitFor(() => expect(new Set(writes).size).toBe(1000));
    await sleep(20);
    expect(writes.length).toBeLessThan(2000);
    for (const instance of [here, ...others])
      expect(emptiedAt(instance)).toEqual([{ type: 'store.emptied', ends: 1000 }]);
  });

  test('a revocation is not left out because another process writes an earlier one', async () => {
    const { here, others, empty, start } = startSeveral(2);
    const [other] = others;
    if (other === undefined) throw new RangeError('two');
    await here.sessions.revoke({ sub: 'alice', issuedBefore: loginAt - 10, reason: 'backchannel' });
    here.link.deliver = (message, hand) => (message.type === 'lost' ? hand() : undefined);
    await other.sessions.revoke({ sub: 'alice', issuedBefore: loginAt, reason: 'backchannel' });
    // It comes behind these, so that the earlier one is heard of first.
    for (let number = 0; number < 60; number += 1) await other.sessions.endByKey(`session ${number}`, 'operator');
    vi.spyOn(Math, 'random').mockReturnValue(0);
    onTestFinished(() => void vi.restoreAllMocks());
    const cookie = await signedInAt(start(), 'alice', 'of today');
    here.link.before = () => sleep(5);
    other.link.before = () => sleep(50);
    expect((await other.open(cookie)).state).toBe('ended');
    await empty();
    await vi.waitFor(async () => expect((await start().open(cookie)).state).toBe('ended'));
  });

  test('what a store that went away again could not be told is told when it is back', async () => {
    const { here, empty, start } = startSeveral(1);
    const cookie = await signedInAt(here, 'alice');
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    here.link.before = () => Promise.reject(new Error('away'));
    await empty();
    expect((await start().open(cookie)).state).toBe('active');
    delete here.link.before;
    await vi.waitFor(async () => expect((await start().open(cookie)).state).toBe('ended'), 5000);
  });
});

test.each(Array.from({ length: 24 }, (_, turns) => turns))(
  'a store that is emptied again as the last end is written gets it again: %i microtasks later',
  async (turns) => {
    const { here, empty, writes, tell } = startSeveral(1);
    const { entry } = await here.openActive(await signedInAt(here, 'alice'));
    await here.sessions.end(entry, 'logout');
    const emptyLater = (left: number): void => {
      if (left > 0) queueMicrotask(() => emptyLater(left - 1));
      else tell({ type: 'lost' });
    };
    here.link.after = async () => {
      delete here.link.after;
      emptyLater(turns);
    };
    await empty();
    await vi.waitFor(() => expect(writes).toHaveLength(2));
  },
);

test('after a failover only the ends of the last moments are written again, and no event says that all is lost', async () => {
  const { here, empty, writes } = startSeveral(1);
  const keys: string[] = [];
  for (const person of ['long ago', 'just now']) {
    if (keys.length > 0) await sleep(300);
    const { entry } = await here.openActive(await signedInAt(here, person));
    keys.push(entry.key);
    await here.sessions.end(entry, 'logout');
  }
  await empty(200);
  await vi.waitFor(() => expect(writes).toEqual(keys.slice(1)));
  await sleep(20);
  expect(writes).toEqual(keys.slice(1));
  expect(emptiedAt(here)).toEqual([]);
});

test('an ended session that left memory and is opened again is told of once', async () => {
  const { here, others } = startSeveral(2, { session: { cacheMegabytes: 16 } });
  const [deaf] = others;
  if (deaf === undefined) throw new RangeError('two');
  const cookie = await signedInAt(here, 'alice');
  deaf.link.deliver = () => undefined;
  await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
  const ends = () => deaf.seen.filter(({ type }) => type === 'session.ended');
  const first = new WeakRef((await openEnded(deaf, cookie)).entry ?? {});
  expect(ends()).toMatchObject([{ reason: 'logout', remote: true }]);
  for (let person = 0; person < 300; person += 1) {
    await deaf.sessions.begin(
      { ...tokensOf(0, { sub: `person ${person}` }), accessToken: 'a'.repeat(100_000) },
      undefined,
    );
  }
  await sleep(10);
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  expect((await openEnded(deaf, cookie)).entry).not.toBe(first.deref());
  expect(ends()).toHaveLength(1);
});

async function openEnded({ open }: ReturnType<typeof startInstance>, cookie: string) {
  const opened = await open(cookie);
  if (opened.state !== 'ended') throw new Error(`the session is ${opened.state}`);
  return opened;
}
