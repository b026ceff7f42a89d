/** What a review of the sessions' core found: sessions that were lost, revived or looked for too often. */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { monotonicMs } from '../../src/clock.ts';
import { createOutbox } from '../../src/session/outbox.ts';
import { createTickets } from '../../src/session/tickets.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { fakeDateAndIntervals } from '../support/clock.ts';
import type { Link } from '../support/linked-store.ts';
import { cookieOf, fail, loginAt, signIn, startInstance, startTwo, tokensOf } from '../support/two-instances.ts';

beforeEach(() => fakeDateAndIntervals());

const inStore = { session: { mode: 'store' } } as const;

describe('a refresh', () => {
  test('that the provider refuses ends nothing before a look that began after the refusal', async () => {
    const { store, here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const elsewhere = (await there.openActive(cookie)).entry;
    // The owner redeems, and hangs before it writes.
    vi.advanceTimersByTime(301_000);
    const written = Promise.withResolvers<void>();
    here.link.before = (operation) => (operation === 'advance' ? written.promise : Promise.resolve());
    const refreshing = here.refresher.refreshIfDue(entry);
    await vi.waitFor(() => expect(provider.redeemed).toHaveLength(1));
    here.link.before = (operation) => (operation === 'advance' ? written.promise : fail());
    vi.advanceTimersByTime(5001);
    // The next owner hears no message, and one of its looks has a slow answer.
    there.link.deliver = () => undefined;
    const answered = Promise.withResolvers<void>();
    const looks: string[] = [];
    there.link.after = (operation) => {
      if (operation !== 'look') return Promise.resolve();
      looks.push(operation);
      return looks.length === 1 ? answered.promise : Promise.resolve();
    };
    const now = monotonicMs();
    there.link.heardSince = () => now;
    const looking = there.openActive(cookie);
    await vi.waitFor(() => expect(looks).toHaveLength(1));
    const release = provider.hold();
    const second = there.refresher.refreshIfDue(elsewhere);
    await vi.waitFor(() => expect(provider.redeemed).toHaveLength(2), { timeout: 5000 });
    // The first owner writes, the provider refuses the second.
    written.resolve();
    await refreshing;
    release();
    await sleep(20);
    answered.resolve();
    await Promise.all([second, looking]);
    expect((await store.look(entry.key, [])).record.ended).toBeUndefined();
    expect(elsewhere.session.tokens.accessToken).toBe('access-1');
  });

  test('begins at once after an operation of the store has failed, which loses no claim', async () => {
    const { here, provider } = startTwo();
    const { entry } = await here.openActive(await signIn(here));
    vi.advanceTimersByTime(301_000);
    here.link.before = fail;
    await expect(here.refresher.refreshIfDue(entry)).rejects.toMatchObject({ code: 'store_unavailable' });
    delete here.link.before;
    const startedAt = performance.now();
    await here.refresher.refreshIfDue(entry);
    expect(provider.redeemed).toEqual(['refresh-0']);
    expect(performance.now() - startedAt).toBeLessThan(2000);
  });

  test.each([
    ['says that it has lost its last moments', (link: Link) => link.tell?.({ type: 'lost', lastMs: 5000 })],
    ['hears messages anew', (link: Link) => void (link.heardSince = monotonicMs)],
    ['hears none', (link: Link) => void (link.heardSince = () => undefined)],
  ])('waits for an owner whose claim may be lost, where the store %s', async (_, lose) => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const elsewhere = (await there.openActive(cookie)).entry;
    vi.advanceTimersByTime(301_000);
    const release = provider.hold();
    const owner = here.refresher.refreshIfDue(entry);
    await vi.waitFor(() => expect(provider.redeemed).toHaveLength(1));
    lose(there.link);
    // As a store answers that does not know of the claim.
    there.link.replaceClaim = { state: 'granted', interrupted: false };
    const next = there.refresher.refreshIfDue(elsewhere);
    await sleep(100);
    release();
    await Promise.all([owner, next]);
    expect(provider.redeemed).toEqual(['refresh-0']);
    expect(elsewhere.session.tokens.accessToken).toBe('access-1');
  });

  test('is not taken over right after an outage, while its owner may have a result that it could not write', async () => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const opened = await here.openActive(cookie);
    const elsewhere = await there.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    here.link.before = (operation) => (operation === 'claim' ? Promise.resolve() : fail());
    await here.refresher.refreshIfDue(opened.entry);
    // Long enough for its pauses between attempts to be long.
    await sleep(900);
    vi.advanceTimersByTime(10_000);
    there.link.before = fail;
    await expect(there.refresher.refreshIfDue(elsewhere.entry)).rejects.toMatchObject({ code: 'store_unavailable' });
    delete here.link.before;
    delete there.link.before;
    await there.refresher.refreshIfDue(elsewhere.entry);
    expect(provider.redeemed).toEqual(['refresh-0']);
    expect(elsewhere.entry.session.tokens.accessToken).toBe('access-1');
  });

  test.each([['cookie', {}] as const, ['store', inStore] as const])(
    'does not hide the generation before it that the store was not told yet (%s)',
    async (_, changes) => {
      const { here, there, provider } = startTwo(changes);
      const cookie = await signIn(here);
      const { entry } = await here.openActive(cookie);
      const elsewhere = await there.openActive(cookie);
      vi.advanceTimersByTime(301_000);
      here.link.before = (operation) => (operation === 'advance' ? fail() : Promise.resolve());
      await here.refresher.refreshIfDue(entry);
      delete here.link.before;
      vi.advanceTimersByTime(301_000);
      const release = provider.hold();
      const second = here.refresher.refreshIfDue(entry);
      await vi.waitFor(() => expect(provider.redeemed).toHaveLength(2));
      // Nobody has shown the new cookie: the old one leads to it, at each instance.
      there.link.heardSince = () => undefined;
      expect((await there.open(cookie)).state).toBe('active');
      expect(elsewhere.entry.ended).toBeUndefined();
      release();
      await second;
      expect(entry.session.tokens.accessToken).toBe('access-2');
    },
  );

  test('is made with the claim of its own generation only', async () => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const elsewhere = await there.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    here.link.before = (operation) => (operation === 'claim' ? Promise.resolve() : fail());
    await here.refresher.refreshIfDue(entry);
    vi.advanceTimersByTime(4001);
    const gate = Promise.withResolvers<void>();
    const asked: string[] = [];
    there.link.after = (operation) => {
      asked.push(operation);
      return operation === 'claim' ? gate.promise : Promise.resolve();
    };
    const refreshing = there.refresher.refreshIfDue(elsewhere.entry);
    await vi.waitFor(() => expect(asked).toContain('claim'));
    // The browser brings the generation of which the store does not know.
    await there.openActive(cookieOf(entry));
    gate.resolve();
    await refreshing;
    expect(provider.redeemed).toEqual(['refresh-0']);
    expect(elsewhere.entry.session.tokens.accessToken).toBe('access-1');
  });
});

describe('a session in the store', () => {
  test('of which a store that failed over has an older generation is written again', async () => {
    const { store, here, there } = startTwo(inStore);
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const before = await store.look(entry.key, []);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(entry);
    // The replica that takes over had not got the last write.
    const advance = vi.spyOn(store, 'advance');
    const look = vi.spyOn(store, 'look').mockResolvedValue(before);
    vi.advanceTimersByTime(10);
    const now = monotonicMs();
    here.link.heardSince = () => now;
    await here.openActive(cookie);
    look.mockRestore();
    expect(advance).toHaveBeenCalledWith(entry.key, expect.objectContaining({ generation: 1 }), expect.anything());
    const third = await there.openActive(cookie);
    expect(third.entry.session.tokens.accessToken).toBe('access-1');
  });

  test('is not found in memory by a ticket that a stolen secret has forged, with another key', async () => {
    const { here } = startTwo(inStore);
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const stolen = createTickets(['a sealing secret of more than 32 characters']);
    // Its id is in the sign-out link.
    const forged = stolen.write({ id: entry.session.id, key: stolen.createKey(), names: [] });
    expect((await here.open(`session-3000=${forged}`)).state).toBe('absent');
    expect((await here.open(cookie)).state).toBe('active');
  });

  test('has one entry, however its ticket is spelt', async () => {
    const { here, there } = startTwo(inStore);
    const cookie = await signIn(here);
    const [first, second] = await Promise.all([there.open(cookie), there.open(`${cookie}; a=b`)]);
    expect(first.state === 'active' && second.state === 'active' && first.entry === second.entry).toBe(true);
    // The last character of a MAC has bits that no byte needs.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const other = alphabet[alphabet.indexOf(cookie.at(-1) ?? '') ^ 1] ?? '';
    expect((await there.open(`${cookie.slice(0, -1)}${other}`)).state).toBe('absent');
  });
});

describe('a session that has ended', () => {
  test('by the provider costs the store nothing more', async () => {
    const { store, provider, here } = startTwo();
    const cookie = await signIn(here);
    await here.sessions.revoke({ sub: 'alice', issuedBefore: loginAt, reason: 'backchannel' });
    const third = startInstance(store, provider.provider);
    const asked: string[] = [];
    third.link.before = async (operation) => void asked.push(operation);
    for (let call = 0; call < 5; call += 1) expect((await third.open(cookie)).state).toBe('ended');
    expect(asked).toEqual(['look']);
  });

  test('stays so for an instance whose clock is behind, until the session is over there as well', async () => {
    const { store, here } = startTwo({ session: { lifetimeSeconds: 1000 } });
    const cookie = await signIn(here);
    const [end, revoke] = [vi.spyOn(store, 'end'), vi.spyOn(store, 'revoke')];
    await here.sessions.revoke({ sub: 'bob', issuedBefore: loginAt, reason: 'backchannel' });
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    for (const { lastCall } of [end.mock, revoke.mock]) expect(lastCall?.[2]).toBeGreaterThan(1000 + 90);
  });

  test('is told although another write fails for ever', async () => {
    const { store, here, there } = startTwo();
    const cookies = [await signIn(here), await signIn(here), await signIn(here)];
    const entries = await Promise.all(cookies.map(async (cookie) => (await here.openActive(cookie)).entry));
    here.link.before = fail;
    for (const entry of entries) await here.sessions.end(entry, 'logout');
    delete here.link.before;
    const end = store.end.bind(store);
    vi.spyOn(store, 'end').mockImplementation((session, ...rest) =>
      session === entries[0]?.key ? Promise.reject(new Error('WRONGTYPE')) : end(session, ...rest),
    );
    await vi.waitFor(async () => {
      for (const cookie of cookies.slice(1)) expect((await there.open(cookie)).state).toBe('ended');
    }, 3000);
  });
});

test('a clock that is set back does not prolong the pause after failed refreshes', async () => {
  const { here, provider } = startTwo();
  const { entry } = await here.openActive(await signIn(here));
  vi.advanceTimersByTime(301_000);
  const refresh = vi.spyOn(provider.provider, 'refresh').mockRejectedValue(new Error('it is away'));
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await expect(here.refresher.refreshIfDue(entry)).rejects.toThrow(/away|refresh/);
  }
  refresh.mockRestore();
  vi.setSystemTime(Date.now() - 20_000);
  vi.advanceTimersByTime(6000);
  await here.refresher.refreshIfDue(entry);
  expect(entry.session.tokens.accessToken).toBe('access-1');
});

describe('the outbox', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'delivers what is added as it ends, %i microtasks after a write',
    async (turns) => {
      const outbox = createOutbox(() => 0);
      const written: string[] = [];
      outbox.add('one', {
        expiresAt: 1,
        async write() {
          addLater(turns);
        },
      });
      function addLater(left: number): void {
        if (left > 0) return queueMicrotask(() => addLater(left - 1));
        outbox.add('two', { expiresAt: 1, write: async () => void written.push('two') });
      }
      await vi.waitFor(() => expect(written).toEqual(['two']));
    },
  );
});

/** `gc` is there only with a flag, which may be set while the process runs. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

test('the memory store keeps no content whose time is over, of a session that nobody asks for any more', async () => {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  const megabyte = 1024 * 1024;
  for (let session = 0; session < 50; session += 1) {
    const content = Buffer.alloc(megabyte, String(session)).toString('latin1');
    await store.advance(`session-${session}`, { generation: 1, content }, 36_000);
    await store.confirm(`session-${session}`, 1, 60_000);
  }
  collectGarbage();
  const before = process.memoryUsage().heapUsed + process.memoryUsage().external;
  vi.advanceTimersByTime(121_000);
  collectGarbage();
  const after = process.memoryUsage().heapUsed + process.memoryUsage().external;
  expect(before - after).toBeGreaterThan(40 * megabyte);
});

describe('a sign-out at the provider', () => {
  test('looks at the sessions of its name only, of all that are here', async () => {
    const { here } = startTwo();
    const cookies: string[] = [];
    for (let person = 0; person < 200; person += 1) {
      const entry = await here.sessions.begin(
        tokensOf(0, { sub: `person ${person}`, sid: `session ${person}` }),
        undefined,
      );
      cookies.push(cookieOf(entry));
    }
    const deref = vi.spyOn(WeakRef.prototype, 'deref');
    await here.sessions.revoke({ sid: 'session 7', issuedBefore: loginAt, reason: 'backchannel' });
    expect(deref.mock.calls.length).toBeLessThan(5);
    deref.mockRestore();
    const states = await Promise.all(cookies.map(async (cookie) => (await here.open(cookie)).state));
    expect(states.map((state, person) => (state === 'ended' ? person : -1)).filter((person) => person >= 0)).toEqual([
      7,
    ]);
  });

  test('finds a session that left memory, and came back before its first entry was forgotten', async () => {
    const { here } = startTwo({ session: { cacheMegabytes: 16 } });
    const cookie = await signIn(here);
    const first = new WeakRef((await here.openActive(cookie)).entry);
    const others = Array.from({ length: 300 }, async (_, person) =>
      here.sessions.begin({ ...tokensOf(0, { sub: `person ${person}` }), accessToken: 'a'.repeat(100_000) }, undefined),
    );
    await Promise.all(others);
    await sleep(10);
    collectGarbage();
    const { entry } = await here.openActive(cookie);
    expect(first.deref()).not.toBe(entry);
    await sleep(50);
    await here.sessions.revoke({ sub: 'alice', issuedBefore: loginAt, reason: 'backchannel' });
    expect(entry.ended).toBe('backchannel');
  });
});

test('a planted ticket that cannot be looked up hides no session that is known', async () => {
  const stored = startTwo({ session: { mode: 'store' } });
  const { here } = startTwo();
  const ticket = await signIn(stored.here);
  const cookie = await signIn(here);
  await here.openActive(cookie);
  here.link.before = fail;
  expect((await here.open(`${ticket}; ${cookie}`)).state).toBe('active');
});

describe.each(['cookie', 'store'] as const)('a refreshed ID token with another sid, in %s mode', (mode) => {
  async function renamed() {
    const two = startTwo({ session: { mode } });
    const login = await signIn(two.here);
    const { entry } = await two.here.openActive(login);
    await two.there.openActive(login);
    vi.advanceTimersByTime(301_000);
    vi.spyOn(two.provider.provider, 'refresh').mockResolvedValue({
      granted: true,
      grant: { tokens: tokensOf(1, { sid: 'renamed' }), userInfo: undefined, subject: 'alice' },
    } as never);
    await two.here.refresher.refreshIfDue(entry);
    return { ...two, cookie: cookieOf(entry) };
  }

  test.each(['at the provider', 'renamed'])('leaves the session to be ended by the sid %j', async (sid) => {
    const { here, there, cookie } = await renamed();
    await there.openActive(cookie);
    await there.sessions.revoke({ sid, issuedBefore: 1_800_000_000, reason: 'backchannel' });
    for (const instance of [here, there]) expect((await instance.open(cookie)).state).toBe('ended');
  });

  test('ends it also where the sign-out comes before the answer that brings the new one', async () => {
    const { here, there, provider } = startTwo({ session: { mode } });
    const { entry } = await here.openActive(await signIn(here));
    vi.advanceTimersByTime(301_000);
    vi.spyOn(provider.provider, 'refresh').mockImplementation(async () => {
      await there.sessions.revoke({ sid: 'renamed', issuedBefore: 1_800_000_000, reason: 'backchannel' });
      const tokens = tokensOf(1, { sid: 'renamed' });
      return { granted: true, grant: { tokens, userInfo: undefined, subject: 'alice' } } as never;
    });
    const revoke = vi.spyOn(provider.provider, 'revoke');
    await here.refresher.refreshIfDue(entry)?.catch(() => undefined);
    expect(entry.ended).toBe('backchannel');
    // A token that came too late must not stay valid.
    expect(revoke).toHaveBeenCalledWith('refresh-1', 'refresh_token');
    expect(here.seen.filter(({ type }) => type === 'token.refreshed')).toEqual([]);
  });

  test('ends it also where only a call that comes after the sign-out brings the new one', async () => {
    const { store, provider, here, there, cookie } = await renamed();
    await here.sessions.revoke({ sid: 'renamed', issuedBefore: 1_800_000_000, reason: 'backchannel' });
    const later = startInstance(store, provider.provider, { session: { mode } });
    for (const instance of [there, later]) expect((await instance.open(cookie)).state).toBe('ended');
  });
});
