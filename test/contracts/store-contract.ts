/** What every store must do, whatever it keeps its records in. */
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import type { Store, StoreMessage } from '../../src/store/store.ts';
import { emptyModel, type Model, type Operation, operationsOf, run, step } from './store-model.ts';

/** Several handles on the same store, as several processes have them; one, where the store isn't shared. */
export type StoreHandles = readonly [Store, ...Store[]];

const minute = 60;
const minuteMs = 60_000;
/** How much a store's clock may round. */
const roundingMs = 2;

let lastKey = 0;
const runId = Math.random().toString(36).slice(2, 8);

/** A text of the characters that hashes have, which no other test uses. */
function newKey(): string {
  return `A-z_${runId}:${++lastKey}`;
}

/**
 * Tries a store.
 * @param start gives a test its handles, open ones: they may be those of an earlier test, as long as that has not closed them
 */
export function describeStore(name: string, start: () => StoreHandles | Promise<StoreHandles>): void {
  /** Two handles, which are the same one where the store isn't shared. */
  async function startTwo(): Promise<{ one: Store; other: Store; all: StoreHandles }> {
    const all = await start();
    for (const store of all) await vi.waitFor(() => expect(store.heardSince()).toBeDefined(), { timeout: 20_000 });
    return { one: all[0], other: all[1] ?? all[0], all };
  }

  describe(`a store in ${name}`, () => {
    describeRecords(startTwo);
    describeGenerations(startTwo);
    describeClaims(startTwo);
    describeNames(startTwo);
    describeMessages(startTwo);
    describeEndOfStore(startTwo);
    describeRaces(startTwo);
  });
}

type Start = () => Promise<{ one: Store; other: Store; all: StoreHandles }>;

const untouched = {
  ended: undefined,
  generation: 0,
  content: undefined,
  confirmedMsAgo: undefined,
  oldestServed: 0,
  activeMsAgo: undefined,
};

function describeRecords(start: Start): void {
  test('has an empty record of a session that nothing has happened to', async () => {
    const { one } = await start();
    expect(await one.look(newKey(), [newKey()])).toEqual({ record: untouched, revocations: [] });
  });

  test('shows one process what another wrote', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.begin(session, { names: [], details: 'sealed', content: 'generation 0' }, minute);
    expect((await other.look(session, [])).record).toEqual({ ...untouched, content: 'generation 0' });
    await other.advance(session, { generation: 1, content: 'generation 1' }, minute);
    expect((await one.look(session, [])).record).toEqual({ ...untouched, generation: 1, content: 'generation 1' });
  });

  test('begins a session once: repeated, it undoes nothing that came after it', async () => {
    const { one, other } = await start();
    const [session, name] = [newKey(), newKey()];
    const start0 = { names: [name], details: 'sealed', content: 'generation 0' };
    await one.begin(session, start0, minute);
    await one.begin(session, start0, minute);
    expect((await other.look(session, [])).record.content).toBe('generation 0');
    await other.confirm(session, 0, 0);
    await vi.waitFor(async () => expect((await other.look(session, [])).record.content).toBeUndefined(), waiting);
    await one.begin(session, start0, minute);
    expect((await other.look(session, [])).record.content).toBeUndefined();
    await other.advance(session, { generation: 1, content: 'generation 1' }, minute);
    await one.begin(session, start0, minute);
    expect((await other.look(session, [])).record).toMatchObject({ generation: 1, content: 'generation 1' });
    await other.end(session, 'logout', minute);
    await one.begin(session, start0, minute);
    expect((await other.look(session, [])).record).toMatchObject({ ended: 'logout', content: undefined });
    expect(await one.list(name, 100)).toEqual([]);
  });

  test('ends a session for good, and for the first reason', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.begin(session, { names: [], details: 'sealed', content: 'generation 0' }, minute);
    await one.claim(session, { generation: 0, owner: 'a' }, minuteMs, minute);
    expect(await one.end(session, 'logout', minute)).toBe(true);
    expect(await other.end(session, 'backchannel', minute)).toBe(false);
    await other.touch(session, minute);
    const ended = { ...untouched, ended: 'logout' };
    expect((await other.look(session, [])).record).toEqual(ended);
    expect(await other.advance(session, { generation: 1, content: 'late' }, minute)).toEqual({
      advanced: false,
      record: ended,
    });
    expect(await other.claim(session, { generation: 0, owner: 'a' }, minuteMs, minute)).toEqual({
      state: 'settled',
      record: ended,
    });
    expect((await one.look(session, [])).record).toEqual(ended);
  });

  test('ends a session that it never heard of, too', async () => {
    const { one, other } = await start();
    const session = newKey();
    expect(await one.end(session, 'operator', minute)).toBe(true);
    expect((await other.look(session, [])).record.ended).toBe('operator');
  });

  test('tells how long ago a call was counted, and a browser showed the newest generation', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.advance(session, { generation: 1, content: 'sealed' }, minute);
    const touched = await measured(() => one.touch(session, minute));
    await waitMs(20);
    const confirmed = await measured(() => one.confirm(session, 1, minuteMs));
    await waitMs(20);
    const look = await measured(() => other.look(session, []));
    expect(ageError(look.value.record.activeMsAgo, touched, look)).toBe(0);
    expect(ageError(look.value.record.confirmedMsAgo, confirmed, look)).toBe(0);
    const again = await measured(() => other.touch(session, minute));
    const second = await measured(() => one.look(session, []));
    expect(ageError(second.value.record.activeMsAgo, again, second)).toBe(0);
  });

  test('keeps a record until the latest of the times that were asked for', async () => {
    const { one } = await start();
    const writes = {
      begin: (session: string, ttl: number) => one.begin(session, { names: [], details: 'sealed' }, ttl),
      claim: (session: string, ttl: number) => one.claim(session, { generation: 1, owner: 'a' }, minuteMs, ttl),
      advance: (session: string, ttl: number) => one.advance(session, { generation: 1, content: 'sealed' }, ttl),
      touch: (session: string, ttl: number) => one.touch(session, ttl),
      end: (session: string, ttl: number) => one.end(session, 'logout', ttl),
    };
    const generations = async (sessions: readonly string[]) =>
      Promise.all(sessions.map(async (session) => (await one.look(session, [])).record.generation));
    const kept: string[] = [];
    const brief: string[] = [];
    for (const write of Object.values(writes)) {
      const [prolonged, notShortened, gone] = [newKey(), newKey(), newKey()];
      await one.advance(prolonged, { generation: 1, content: 'sealed' }, 0.15);
      await write(prolonged, minute);
      await one.advance(notShortened, { generation: 1, content: 'sealed' }, minute);
      await write(notShortened, 0.01);
      await one.advance(gone, { generation: 1, content: 'sealed' }, 0.15);
      await write(gone, 0.01);
      kept.push(prolonged, notShortened);
      brief.push(gone);
    }
    await vi.waitFor(async () => expect(await generations(brief)).toEqual(brief.map(() => 0)), waiting);
    expect(await generations(kept)).toEqual(kept.map(() => 1));
  });

  test('forgets everything of a record whose time is over, an end included', async () => {
    const { one } = await start();
    const [ended, claimed, name] = [newKey(), newKey(), newKey()];
    await one.begin(ended, { names: [name], details: 'sealed' }, 0.05);
    await one.end(ended, 'logout', 0.05);
    await one.begin(claimed, { names: [name], details: 'sealed' }, 0.05);
    await one.claim(claimed, { generation: 3, owner: 'a' }, minuteMs, 0.05);
    await vi.waitFor(async () => expect((await one.look(ended, [])).record).toEqual(untouched), waiting);
    await vi.waitFor(async () => expect((await one.look(claimed, [])).record).toEqual(untouched), waiting);
    expect(await one.list(name, 100)).toEqual([]);
    await one.touch(claimed, minute);
    expect(await one.list(name, 100)).toEqual([]);
    expect(await one.claim(claimed, { generation: 3, owner: 'b' }, minuteMs, minute)).toEqual({
      state: 'granted',
      interrupted: false,
    });
  });

  test('takes a time of nought for the shortest there is', async () => {
    const { one } = await start();
    const session = newKey();
    await one.touch(session, 0);
    await vi.waitFor(async () => expect((await one.look(session, [])).record).toEqual(untouched), waiting);
  });
}

function describeGenerations(start: Start): void {
  test('lets a generation only rise', async () => {
    const { one, other } = await start();
    const session = newKey();
    expect(await one.advance(session, { generation: 2, content: 'second' }, minute)).toEqual({ advanced: true });
    const refused = { advanced: false, record: { ...untouched, generation: 2, content: 'second' } };
    for (const generation of [1, 2]) {
      expect(await other.advance(session, { generation, content: 'other' }, minute)).toEqual(refused);
    }
    expect(await one.advance(session, { generation: 5, content: 'fifth' }, minute)).toEqual({ advanced: true });
    expect((await other.look(session, [])).record).toEqual({ ...untouched, generation: 5, content: 'fifth' });
  });

  test('counts generations as numbers', async () => {
    const { one } = await start();
    const session = newKey();
    await one.advance(session, { generation: 9, content: 'ninth' }, minute);
    expect(await one.advance(session, { generation: 10, content: 'tenth' }, minute)).toEqual({ advanced: true });
    expect((await one.advance(session, { generation: 9, content: 'ninth' }, minute)).advanced).toBe(false);
    expect((await one.look(session, [])).record.generation).toBe(10);
  });

  test('takes the same generation again from whom the answer was lost to', async () => {
    const { one, other } = await start();
    const session = newKey();
    const large = 'sealed.'.repeat(10_000);
    await one.advance(session, { generation: 1, content: large }, minute);
    await other.claim(session, { generation: 1, owner: 'b' }, minuteMs, minute);
    expect(await one.advance(session, { generation: 1, content: large }, minute)).toEqual({ advanced: true });
    expect(await one.claim(session, { generation: 1, owner: 'a' }, minuteMs, minute)).toMatchObject({ state: 'held' });
    expect((await other.look(session, [])).record.content).toBe(large);
  });

  test('keeps a content for the grace period after its confirmation, and the generation longer', async () => {
    const { one, other } = await start();
    const [brief, long] = [newKey(), newKey()];
    for (const session of [brief, long]) await one.advance(session, { generation: 1, content: 'sealed' }, minute);
    await one.confirm(brief, 1, 50);
    await one.confirm(long, 1, minuteMs);
    // Only the first confirmation counts.
    await other.confirm(brief, 1, minuteMs);
    await other.confirm(long, 1, 1);
    await vi.waitFor(async () => expect((await other.look(brief, [])).record.content).toBeUndefined(), waiting);
    expect((await one.look(brief, [])).record).toMatchObject({ generation: 1, confirmedMsAgo: expect.any(Number) });
    expect((await one.look(long, [])).record.content).toBe('sealed');
    expect(await one.advance(brief, { generation: 1, content: 'sealed' }, minute)).toMatchObject({ advanced: false });
  });

  test('remembers for good which generations have had their grace period', async () => {
    const { one, other } = await start();
    const session = newKey();
    const oldestServed = async () => (await one.look(session, [])).record.oldestServed;
    await one.advance(session, { generation: 1, content: 'first' }, minute);
    await one.confirm(session, 1, 100);
    await other.advance(session, { generation: 2, content: 'second' }, minute);
    await other.confirm(session, 2, minuteMs);
    await other.advance(session, { generation: 3, content: 'third' }, minute);
    expect(await oldestServed()).toBe(0);
    // The grace period of the first goes on, and the second began none.
    await vi.waitFor(async () => expect(await oldestServed()).toBe(1), waiting);
    await other.confirm(session, 3, 20);
    await vi.waitFor(async () => expect(await oldestServed()).toBe(3), waiting);
    await one.claim(session, { generation: 5, owner: 'a' }, minuteMs, minute);
    expect(await oldestServed()).toBe(3);
    await other.advance(session, { generation: 6, content: 'sixth' }, minute);
    expect(await oldestServed()).toBe(3);
  });

  test('keeps a content that was not confirmed, and one that is newer than the confirmed', async () => {
    const { one } = await start();
    const [unconfirmed, renewed] = [newKey(), newKey()];
    for (const session of [unconfirmed, renewed]) await one.advance(session, { generation: 1, content: 'old' }, minute);
    await one.confirm(renewed, 1, 30);
    await one.advance(renewed, { generation: 2, content: 'new' }, minute);
    await waitMs(60);
    expect((await one.look(unconfirmed, [])).record.content).toBe('old');
    expect((await one.look(renewed, [])).record).toMatchObject({ generation: 2, content: 'new' });
  });

  test('notes only that the newest generation was shown', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.advance(session, { generation: 2, content: 'sealed' }, minute);
    for (const generation of [0, 1, 3]) await other.confirm(session, generation, 1);
    await waitMs(10);
    expect((await one.look(session, [])).record).toEqual({ ...untouched, generation: 2, content: 'sealed' });
    await other.confirm(session, 2, minuteMs);
    await one.advance(session, { generation: 3, content: 'next' }, minute);
    expect((await one.look(session, [])).record.confirmedMsAgo).toBeUndefined();
    const unknown = newKey();
    await one.confirm(unknown, 0, minuteMs);
    expect((await one.look(unknown, [])).record).toEqual(untouched);
  });
}

function describeClaims(start: Start): void {
  test('grants one claim of a generation at a time, and tells the others how long it may last', async () => {
    const { one, other } = await start();
    const session = newKey();
    const granted = { state: 'granted', interrupted: false };
    expect(await one.claim(session, { generation: 1, owner: 'a' }, 5000, minute)).toEqual(granted);
    const held = await other.claim(session, { generation: 1, owner: 'b' }, 5000, minute);
    expect(held).toEqual({ state: 'held', leftMs: expect.any(Number) });
    if (held.state !== 'held') throw new Error('unreachable');
    expect(held.leftMs).toBeGreaterThan(0);
    expect(held.leftMs).toBeLessThanOrEqual(5000 + roundingMs);
    expect((await other.look(session, [])).record.generation).toBe(1);
  });

  test('lets an owner renew its claim, so that it lasts longer', async () => {
    const { one, other } = await start();
    const session = newKey();
    const own = { generation: 1, owner: 'a' };
    await one.claim(session, own, 60, minute);
    expect(await one.claim(session, own, minuteMs, minute)).toEqual({ state: 'granted', interrupted: false });
    await waitMs(80);
    expect(await other.claim(session, { generation: 1, owner: 'b' }, minuteMs, minute)).toMatchObject({
      state: 'held',
    });
  });

  test('lets an owner renew a claim whose lease is over, unless another has taken it over', async () => {
    const { one, other } = await start();
    const session = newKey();
    const [a, b] = [
      { generation: 1, owner: 'a' },
      { generation: 1, owner: 'b' },
    ];
    await one.claim(session, a, 5, minute);
    await waitMs(15);
    expect(await one.claim(session, a, 5, minute)).toEqual({ state: 'granted', interrupted: false });
    await waitMs(15);
    expect(await other.claim(session, b, minuteMs, minute)).toEqual({ state: 'granted', interrupted: true });
    expect(await one.claim(session, a, minuteMs, minute)).toMatchObject({ state: 'held' });
    await one.release(session, a, false);
    expect(await one.claim(session, a, minuteMs, minute)).toMatchObject({ state: 'held' });
  });

  test('tells who comes after an owner that is gone, and tells it again with each renewal', async () => {
    const { one, other } = await start();
    const session = newKey();
    const [gone, next] = [
      { generation: 1, owner: 'a' },
      { generation: 1, owner: 'b' },
    ];
    await one.claim(session, gone, 50, minute);
    expect(await other.claim(session, next, minuteMs, minute)).toMatchObject({ state: 'held' });
    await vi.waitFor(
      async () =>
        expect(await other.claim(session, next, minuteMs, minute)).toEqual({ state: 'granted', interrupted: true }),
      waiting,
    );
    // The answer may have been lost on the way.
    expect(await other.claim(session, next, minuteMs, minute)).toEqual({ state: 'granted', interrupted: true });
  });

  test('frees a claim that is released', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 1, owner: 'a' }, minuteMs, minute);
    await one.release(session, { generation: 1, owner: 'a' }, false);
    expect(await other.claim(session, { generation: 1, owner: 'b' }, minuteMs, minute)).toEqual({
      state: 'granted',
      interrupted: false,
    });
  });

  test.each(['a', 'b'])('tells the next owner, %s, of a claim that was released as interrupted', async (next) => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 1, owner: 'a' }, minuteMs, minute);
    await one.release(session, { generation: 1, owner: 'a' }, true);
    expect(await other.claim(session, { generation: 1, owner: next }, minuteMs, minute)).toEqual({
      state: 'granted',
      interrupted: true,
    });
  });

  test('releases nothing for another owner, nor of another generation', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 1, owner: 'a' }, minuteMs, minute);
    await other.release(session, { generation: 1, owner: 'b' }, false);
    await other.release(session, { generation: 0, owner: 'a' }, true);
    await other.release(session, { generation: 2, owner: 'a' }, true);
    await other.release(newKey(), { generation: 1, owner: 'a' }, true);
    expect(await other.claim(session, { generation: 1, owner: 'b' }, minuteMs, minute)).toMatchObject({
      state: 'held',
    });
  });

  test('settles a claim of a generation that was replaced', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 0, owner: 'a' }, minuteMs, minute);
    await one.advance(session, { generation: 1, content: 'sealed' }, minute);
    const settled = { state: 'settled', record: { ...untouched, generation: 1, content: 'sealed' } };
    for (const owner of ['a', 'b']) {
      expect(await other.claim(session, { generation: 0, owner }, minuteMs, minute)).toEqual(settled);
    }
    // The claim ended with its generation.
    expect(await other.claim(session, { generation: 1, owner: 'b' }, minuteMs, minute)).toEqual({
      state: 'granted',
      interrupted: false,
    });
    expect((await one.look(session, [])).record.content).toBe('sealed');
  });

  test('takes the generation that is claimed for the newest', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 0, owner: 'a' }, minuteMs, minute);
    await one.advance(session, { generation: 1, content: 'sealed' }, minute);
    await one.confirm(session, 1, minuteMs);
    await one.claim(session, { generation: 1, owner: 'a' }, minuteMs, minute);
    expect(await other.claim(session, { generation: 2, owner: 'b' }, minuteMs, minute)).toEqual({
      state: 'granted',
      interrupted: false,
    });
    expect((await one.look(session, [])).record).toEqual({ ...untouched, generation: 2 });
    expect(await one.advance(session, { generation: 2, content: 'late' }, minute)).toMatchObject({ advanced: false });
    await one.release(session, { generation: 1, owner: 'a' }, false);
    expect(await one.claim(session, { generation: 2, owner: 'c' }, minuteMs, minute)).toMatchObject({ state: 'held' });
  });

  test('takes the result of an owner whose claim was taken over, once', async () => {
    const { one, other } = await start();
    const session = newKey();
    await one.claim(session, { generation: 0, owner: 'a' }, 1, minute);
    await waitMs(10);
    await other.claim(session, { generation: 0, owner: 'b' }, minuteMs, minute);
    expect(await one.advance(session, { generation: 1, content: 'by a' }, minute)).toEqual({ advanced: true });
    expect(await other.advance(session, { generation: 1, content: 'by b' }, minute)).toEqual({
      advanced: false,
      record: { ...untouched, generation: 1, content: 'by a' },
    });
  });
}

function describeNames(start: Start): void {
  test('lists the sessions of a name, until they end', async () => {
    const { one, other } = await start();
    const [name, second, a, b] = [newKey(), newKey(), newKey(), newKey()];
    await one.begin(a, { names: [name, second], details: 'sealed details of a' }, minute);
    await other.begin(b, { names: [name], details: 'sealed details of b' }, minute);
    await one.touch(newKey(), minute);
    expect(await one.list(newKey(), 100)).toEqual([]);
    const ofA = { session: a, details: 'sealed details of a', activeMsAgo: undefined };
    const ofB = { session: b, details: 'sealed details of b', activeMsAgo: undefined };
    expect(await one.list(name, 100)).toHaveLength(2);
    expect(await other.list(name, 100)).toEqual(expect.arrayContaining([ofA, ofB]));
    expect(await other.list(second, 100)).toEqual([ofA]);
    const touched = await measured(() => other.touch(b, minute));
    await other.end(a, 'logout', minute);
    const left = await measured(() => one.list(name, 100));
    expect(left.value).toEqual([{ ...ofB, activeMsAgo: expect.any(Number) }]);
    expect(ageError(left.value[0]?.activeMsAgo, touched, left)).toBe(0);
    expect(await one.list(second, 100)).toEqual([]);
  });

  test('lists the newest of many, and older ones in the place of those that have ended', async () => {
    const { one, other } = await start();
    const name = newKey();
    const sessions = Array.from({ length: 12 }, newKey);
    for (const session of sessions) {
      await one.begin(session, { names: [name], details: 'sealed' }, minute);
      await waitMs(2);
    }
    const listed = async (limit: number) => (await other.list(name, limit)).map(({ session }) => session).toSorted();
    expect(await listed(5)).toEqual(sessions.slice(-5).toSorted());
    for (const session of sessions.slice(4)) await one.end(session, 'logout', minute);
    expect(await listed(3)).toEqual(sessions.slice(1, 4).toSorted());
    expect(await listed(4)).toEqual(sessions.slice(0, 4).toSorted());
    expect(await listed(100)).toEqual(sessions.slice(0, 4).toSorted());
  });

  test('lists a session until its record is over', async () => {
    const { one } = await start();
    const [name, brief, kept] = [newKey(), newKey(), newKey()];
    for (const session of [brief, kept]) await one.begin(session, { names: [name], details: 'sealed' }, 0.1);
    await one.touch(kept, minute);
    await vi.waitFor(
      async () => expect((await one.list(name, 100)).map(({ session }) => session)).toEqual([kept]),
      waiting,
    );
  });

  test('revokes a name up to the latest of several times', async () => {
    const { one, other } = await start();
    const [name, second, session] = [newKey(), newKey(), newKey()];
    await one.revoke(name, { before: 1_790_000_000.5, reason: 'backchannel' }, minute);
    await other.revoke(name, { before: 1_790_000_000, reason: 'operator' }, minute);
    await other.revoke(name, { before: 1_790_000_000.5, reason: 'operator' }, minute);
    const first = { before: 1_790_000_000.5, reason: 'backchannel' };
    expect((await other.look(session, [name, newKey()])).revocations).toEqual([first]);
    await other.revoke(name, { before: 1_790_000_001, reason: 'frontchannel' }, minute);
    await other.revoke(second, { before: 9, reason: 'operator' }, minute);
    const latest = { before: 1_790_000_001, reason: 'frontchannel' };
    const { record, revocations } = await one.look(session, [second, name]);
    expect(record).toEqual(untouched);
    expect(revocations).toHaveLength(2);
    expect(revocations).toEqual(expect.arrayContaining([latest, { before: 9, reason: 'operator' }]));
    expect((await one.look(session, [second])).revocations).toEqual([{ before: 9, reason: 'operator' }]);
    expect((await one.look(session, [])).revocations).toEqual([]);
  });

  test('keeps a revocation until the latest of the times that were asked for', async () => {
    const { one } = await start();
    const [brief, prolonged, notShortened] = [newKey(), newKey(), newKey()];
    await one.revoke(brief, { before: 2, reason: 'operator' }, 0.1);
    await one.revoke(prolonged, { before: 2, reason: 'operator' }, 0.1);
    await one.revoke(prolonged, { before: 1, reason: 'operator' }, minute);
    await one.revoke(notShortened, { before: 1, reason: 'operator' }, minute);
    await one.revoke(notShortened, { before: 2, reason: 'operator' }, 0.1);
    const found = async (name: string) => (await one.look(newKey(), [name])).revocations;
    await vi.waitFor(async () => expect(await found(brief)).toEqual([]), waiting);
    expect(await found(prolonged)).toEqual([{ before: 2, reason: 'operator' }]);
    expect(await found(notShortened)).toEqual([{ before: 2, reason: 'operator' }]);
  });

  test('forgets the time of a revocation that is over', async () => {
    const { one } = await start();
    const name = newKey();
    await one.revoke(name, { before: 2, reason: 'operator' }, 0.02);
    await vi.waitFor(async () => expect((await one.look(newKey(), [name])).revocations).toEqual([]), waiting);
    await one.revoke(name, { before: 1, reason: 'backchannel' }, minute);
    expect((await one.look(newKey(), [name])).revocations).toEqual([{ before: 1, reason: 'backchannel' }]);
  });

  test('uses a name once, whoever asks', async () => {
    const { all } = await start();
    const [name, another] = [newKey(), newKey()];
    const tries = Array.from({ length: 50 }, (_, index) => (all[index % all.length] ?? all[0]).useOnce(name, minute));
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
    expect(await all[0].useOnce(name, minute)).toBe(false);
    expect(await all[0].useOnce(another, minute)).toBe(true);
  });

  test('lets a name be used again when its time is over, which a second use does not prolong', async () => {
    const { one } = await start();
    const name = newKey();
    expect(await one.useOnce(name, 0.1)).toBe(true);
    expect(await one.useOnce(name, minute)).toBe(false);
    await vi.waitFor(async () => expect(await one.useOnce(name, minute)).toBe(true), waiting);
  });

  test('keeps sessions, names and what was used apart, even where they are spelled alike', async () => {
    const { one } = await start();
    const key = newKey();
    await one.begin(key, { names: [key], details: 'sealed', content: 'generation 0' }, minute);
    await one.revoke(key, { before: 1, reason: 'operator' }, minute);
    expect(await one.useOnce(key, minute)).toBe(true);
    expect(await one.look(key, [key])).toEqual({
      record: { ...untouched, content: 'generation 0' },
      revocations: [{ before: 1, reason: 'operator' }],
    });
    expect(await one.list(key, 100)).toHaveLength(1);
  });
}

function describeMessages(start: Start): void {
  test('tells every process of what all are to know, once, and of nothing else', async () => {
    const { one, other, all } = await start();
    const [session, name] = [newKey(), newKey()];
    const heard = all.map(listenTo);
    await one.begin(session, { names: [name], details: 'sealed' }, minute);
    await one.touch(session, minute);
    await one.claim(session, { generation: 0, owner: 'a' }, minuteMs, minute);
    await other.claim(session, { generation: 0, owner: 'b' }, minuteMs, minute);
    await other.release(session, { generation: 0, owner: 'b' }, false);
    await one.release(session, { generation: 0, owner: 'a' }, true);
    await one.release(session, { generation: 0, owner: 'a' }, true);
    await other.claim(session, { generation: 0, owner: 'b' }, minuteMs, minute);
    await other.advance(session, { generation: 1, content: 'sealed' }, minute);
    await other.advance(session, { generation: 1, content: 'sealed' }, minute);
    await one.advance(session, { generation: 1, content: 'other' }, minute);
    await other.release(session, { generation: 0, owner: 'b' }, false);
    await one.confirm(session, 1, minuteMs);
    await one.look(session, [name]);
    await one.list(name, 100);
    await one.useOnce(name, minute);
    await one.revoke(name, { before: 5, reason: 'backchannel' }, minute);
    await one.end(session, 'logout', minute);
    await other.end(session, 'operator', minute);
    await other.advance(session, { generation: 2, content: 'late' }, minute);
    await allIsHeard(all, heard);
    const expected: readonly StoreMessage[] = [
      { type: 'released', session },
      { type: 'advanced', session, generation: 1 },
      { type: 'revoked', name, before: 5, reason: 'backchannel' },
      { type: 'ended', session, reason: 'logout' },
    ];
    await vi.waitFor(() => {
      for (const messages of heard) {
        expect(byKey(messages.filter((message) => concerns(message, [session, name])))).toEqual(byKey(expected));
      }
    }, waiting);
  });

  test('tells each subscriber, until it unsubscribes', async () => {
    const { one, other } = await start();
    const [first, second] = [newKey(), newKey()];
    const heard: string[] = [];
    const listener = (message: StoreMessage) => void (message.type === 'ended' && heard.push(message.session));
    const stop = one.subscribe(listener);
    onTestFinished(one.subscribe(listener));
    await other.end(first, 'logout', minute);
    await vi.waitFor(() => expect(heard).toEqual([first, first]), waiting);
    stop();
    stop();
    await other.end(second, 'logout', minute);
    await vi.waitFor(() => expect(heard).toContain(second), waiting);
    expect(heard).toEqual([first, first, second]);
  });

  test('keeps an error of one subscriber from the operation and the other subscribers', async () => {
    const { one } = await start();
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const session = newKey();
    const stop = one.subscribe(() => {
      throw new Error('a subscriber failed');
    });
    onTestFinished(stop);
    const heard = listenTo(one);
    expect(await one.end(session, 'logout', minute)).toBe(true);
    await vi.waitFor(() => expect(heard).toEqual([{ type: 'ended', session, reason: 'logout' }]), waiting);
    expect(warnings).toHaveBeenCalledWith(expect.objectContaining({ message: 'a subscriber failed' }));
  });

  test('says since when it has heard all, by the clock of this process', async () => {
    const { one, other } = await start();
    const since = one.heardSince();
    expect(since).toBeGreaterThan(0);
    expect(since).toBeLessThanOrEqual(monotonicMs());
    await other.end(newKey(), 'logout', minute);
    expect(one.heardSince()).toBe(since);
    expect(one.reachable()).toBe(true);
  });
}

function describeEndOfStore(start: Start): void {
  test('does nothing any more once it is closed, and says so', async () => {
    const { one } = await start();
    const heard = listenTo(one);
    const session = newKey();
    await one.touch(session, minute);
    await one.close();
    const claim = { generation: 0, owner: 'a' };
    const operations = [
      one.begin(session, { names: [], details: 'sealed' }, minute),
      one.look(session, []),
      one.claim(session, claim, minuteMs, minute),
      one.release(session, claim, false),
      one.advance(session, { generation: 1, content: 'sealed' }, minute),
      one.confirm(session, 0, minuteMs),
      one.touch(session, minute),
      one.end(session, 'logout', minute),
      one.revoke(session, { before: 1, reason: 'operator' }, minute),
      one.list(session, 100),
      one.useOnce(session, minute),
    ];
    const outcomes = await Promise.allSettled(operations);
    expect(outcomes.map(({ status }) => status)).toEqual(operations.map(() => 'rejected'));
    expect(one.reachable()).toBe(false);
    expect(one.heardSince()).toBeUndefined();
    expect(heard).toEqual([]);
  });

  test('closes again, and leaves the other processes alone', async () => {
    const { one, all } = await start();
    const session = newKey();
    await one.end(session, 'logout', minute);
    await one.close();
    await expect(one.close()).resolves.toBeUndefined();
    for (const store of all.slice(1)) expect((await store.look(session, [])).record.ended).toBe('logout');
  });
}

const owners = ['a', 'b', 'c'] as const;

function describeRaces(start: Start): void {
  test('does what the model does, in whatever order three owners come', async () => {
    const { all } = await start();
    const heard = all.map(listenTo);
    const turns = fc.array(
      fc
        .nat(owners.length - 1)
        .chain((owner) =>
          fc.record({ handle: fc.constant(owner), operation: operationsOf(owners[owner] ?? 'a', { lapses: true }) }),
        ),
      { maxLength: 40, size: 'max' },
    );
    await fc.assert(
      fc.asyncProperty(turns, async (turns) => {
        const own = ownKeys();
        let model = emptyModel;
        const messages: StoreMessage[] = [];
        for (const { handle, operation } of turns) {
          const answer = await run(all[handle % all.length] ?? all[0], own(operation));
          const next = step(model, own(operation));
          expect({ operation, answer }).toEqual({ operation, answer: next.answer });
          model = next.model;
          messages.push(...(next.messages ?? []));
        }
        await allIsHeard(all, heard);
        const keys = own.keys();
        await vi.waitFor(() => {
          for (const of of heard) {
            expect(byKey(of.filter((message) => concerns(message, keys)))).toEqual(byKey(messages));
          }
        }, waiting);
      }),
      { numRuns: 40 },
    );
  });

  test('answers three owners at the same time as if one had come after the other', async () => {
    const { all } = await start();
    await fc.assert(
      fc.asyncProperty(fc.tuple(scriptOf('a'), scriptOf('b'), scriptOf('c')), async (scripts) => {
        const own = ownKeys();
        const runs = scripts.map(async (operations, index) => {
          const store = all[index % all.length] ?? all[0];
          const answers: Traced[] = [];
          for (const operation of operations.map(own)) answers.push(await traced(store, operation));
          return answers;
        });
        const parallel = await Promise.all(runs);
        const looks = ['session:a', 'session:b'].map((session) => ({
          type: 'look' as const,
          session,
          names: ['name:x', 'name:y'],
        }));
        const last = await Promise.all(looks.map(own).map(async (operation) => traced(all[0], operation)));
        expect({ isOrdered: hasOrder(emptyModel, parallel, last), parallel, last }).toMatchObject({ isOrdered: true });
      }),
      { numRuns: 80 },
    );
  });

  test('lets exactly one of many redeem each generation', async () => {
    const { all } = await start();
    const session = newKey();
    const redeemed: number[] = [];
    const reached = 5;
    async function work(owner: string, store: Store): Promise<void> {
      for (let generation = 0; generation < reached;) {
        const claimed = await store.claim(session, { generation, owner }, minuteMs, minute);
        if (claimed.state === 'settled') generation = claimed.record.generation;
        if (claimed.state === 'held') await waitMs(1);
        if (claimed.state !== 'granted') continue;
        redeemed.push(generation);
        await waitMs(1);
        const next = { generation: generation + 1, content: `${owner} ${generation}` };
        expect(await store.advance(session, next, minute)).toEqual({ advanced: true });
      }
    }
    const workers = Array.from({ length: 12 }, (_, index) => work(`owner ${index}`, all[index % all.length] ?? all[0]));
    await Promise.all(workers);
    expect(redeemed).toEqual([0, 1, 2, 3, 4]);
  });
}

function scriptOf(owner: string): fc.Arbitrary<Operation[]> {
  return fc.array(operationsOf(owner, { lapses: false }), { minLength: 1, maxLength: 5, size: 'max' });
}

interface Traced {
  readonly operation: Operation;
  readonly answer: unknown;
}

async function traced(store: Store, operation: Operation): Promise<Traced> {
  return { operation, answer: await run(store, operation) };
}

/**
 * Whether there is an order of the operations in which the model gives the same answers: each script's own order kept, and
 * `last` after all of them.
 */
function hasOrder(model: Model, scripts: ReadonlyArray<readonly Traced[]>, last: readonly Traced[]): boolean {
  if (scripts.every((script) => script.length === 0)) {
    return last.length === 0 || hasOrder(model, [last], []);
  }
  return scripts.some(([first, ...rest], index) => {
    if (first === undefined) return false;
    const next = step(model, first.operation);
    if (!isDeepStrictEqual(next.answer, first.answer)) return false;
    return hasOrder(next.model, scripts.with(index, rest), last);
  });
}

/** Gives operations sessions and names of their own, so that one store serves many runs. */
function ownKeys(): ((operation: Operation) => Operation) & { keys: () => string[] } {
  const keys = new Map<string, string>();
  const own = (key: string) => {
    const known = keys.get(key) ?? newKey();
    keys.set(key, known);
    return known;
  };
  const rewrite = (operation: Operation): Operation => ({
    ...operation,
    ...('session' in operation ? { session: own(operation.session) } : {}),
    ...('name' in operation ? { name: own(operation.name) } : {}),
    ...('names' in operation ? { names: operation.names.map(own) } : {}),
  });
  return Object.assign(rewrite, { keys: () => [...keys.values()] });
}

function listenTo(store: Store): StoreMessage[] {
  const heard: StoreMessage[] = [];
  onTestFinished(store.subscribe((message) => heard.push(message)));
  return heard;
}

function concerns(message: StoreMessage, keys: readonly string[]): boolean {
  return keys.includes(keyOf(message));
}

/** Until every handle has heard what each of them said before. */
async function allIsHeard(all: StoreHandles, heard: ReadonlyArray<readonly StoreMessage[]>): Promise<void> {
  const marks = all.map(newKey);
  await Promise.all(all.map((store, index) => store.end(marks[index] ?? '', 'operator', minute)));
  await vi.waitFor(() => {
    for (const messages of heard) {
      const ended = messages.flatMap((message) => (message.type === 'ended' ? [message.session] : []));
      expect(ended).toEqual(expect.arrayContaining(marks));
    }
  }, waiting);
}

function keyOf(message: StoreMessage): string {
  if (message.type === 'lost') return message.type;
  return message.type === 'revoked' ? message.name : message.session;
}

/** By key: messages of several keys may overtake each other on their ways. */
function byKey(messages: readonly StoreMessage[]): readonly StoreMessage[] {
  return messages.toSorted((one, other) => keyOf(one).localeCompare(keyOf(other)));
}

const waiting = { timeout: 5000, interval: 5 };

async function waitMs(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

interface Measured<Value> {
  readonly value: Value;
  readonly from: number;
  readonly until: number;
}

async function measured<Value>(action: () => Promise<Value>): Promise<Measured<Value>> {
  const from = performance.now();
  const value = await action();
  return { value, from, until: performance.now() };
}

/** By how much an age, told by `look`, is wrong, in milliseconds: 0 where `written` can have been so long ago. */
function ageError(age: number | undefined, written: Measured<unknown>, look: Measured<unknown>): number | undefined {
  if (age === undefined) return undefined;
  const [least, most] = [look.from - written.until - roundingMs, look.until - written.from + roundingMs];
  return Math.min(age - least, 0) + Math.max(age - most, 0);
}
