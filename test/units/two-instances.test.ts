/** Two instances whose links to their store are slow, deaf or cut: moments that no journey can time. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { monotonicMs, nowSeconds } from '../../src/clock.ts';
import { fakeDateAndIntervals } from '../support/clock.ts';
import { cookieIn, cookieOf, fail, loginAt, signIn, startInstance, startTwo } from '../support/two-instances.ts';

beforeEach(() => fakeDateAndIntervals());

describe('a cookie', () => {
  test('is not written by a slow answer over the newer one that another instance has given', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    const slow = await here.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(slow.entry);
    const newer = await there.openActive(cookieOf(slow.entry));
    vi.advanceTimersByTime(301_000);
    await there.refresher.refreshIfDue(newer.entry);
    expect(cookieIn(there.sessions.newCookies(newer, undefined))).toBe(cookieOf(newer.entry));
    expect(here.sessions.newCookies(slow, undefined)).toEqual([]);
  });

  test('is not written by a slow answer over that of a new sign-in at another instance', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    const slow = await here.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(slow.entry);
    expect(here.sessions.newCookies(slow, undefined)).toHaveLength(1);
    const { id } = slow.entry.session;
    await there.sessions.replace({ id, expiresAt: nowSeconds() + 1000 });
    expect(here.sessions.newCookies(slow, undefined)).toEqual([]);
    expect(here.seen).toContainEqual(
      expect.objectContaining({ type: 'session.ended', reason: 'new_login', remote: true }),
    );
  });

  test('is not written while messages cannot come and what is known is old', async () => {
    const { here } = startTwo();
    const cookie = await signIn(here);
    const slow = await here.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(slow.entry);
    here.link.heardSince = () => undefined;
    expect(here.sessions.newCookies(slow, undefined)).toHaveLength(1);
    vi.advanceTimersByTime(5001);
    expect(here.sessions.newCookies(slow, undefined)).toEqual([]);
    // The older cookie leads to the newest form, and an answer that knows enough brings it.
    const again = await here.openActive(cookie);
    expect(cookieIn(here.sessions.newCookies(again, undefined))).toBe(cookieOf(slow.entry));
  });

  test('that was shown and lost again, with what a browser had not written to its disk, is given once more', async () => {
    const { here, there } = startTwo();
    const old = await signIn(here);
    const { entry } = await here.openActive(old);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(entry);
    const renewed = cookieOf(entry);
    for (const instance of [here, there]) {
      await instance.openActive(renewed);
      const restored = await instance.openActive(old);
      const given = cookieIn(instance.sessions.newCookies(restored, undefined)) ?? '';
      expect((await instance.openActive(given)).shown.generation).toBe(1);
    }
  });

  test('of before a refresh is served by both for the grace period, counted from when either saw the new one', async () => {
    const { here, there, provider } = startTwo();
    const old = await signIn(here);
    const { entry } = await here.openActive(old);
    await there.openActive(old);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(entry);
    vi.advanceTimersByTime(200_000);
    for (const instance of [here, there]) {
      expect((await instance.openActive(old)).entry.session.tokens.accessToken).toBe('access-1');
    }
    const renewed = cookieOf(entry);
    await there.openActive(renewed);
    vi.advanceTimersByTime(55_000);
    for (const instance of [here, there]) expect((await instance.open(old)).state).toBe('active');
    vi.advanceTimersByTime(11_000);
    for (const instance of [here, there]) expect((await instance.open(old)).state).toBe('ended');
    for (const instance of [here, there]) expect((await instance.open(renewed)).state).toBe('active');
    expect(provider.redeemed).toEqual(['refresh-0']);
  });
});

describe('a refresh', () => {
  test('at one is used by the other, which asks neither the provider nor the store before the next call', async () => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    const elsewhere = await there.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    await here.refresher.refreshIfDue(entry);
    const asked: string[] = [];
    there.link.before = async (operation) => void asked.push(operation);
    expect(elsewhere.entry.session.generation).toBe(0);
    expect((await there.openActive(cookie)).entry.session.tokens.accessToken).toBe('access-1');
    expect(asked).toEqual(['look']);
    await there.openActive(cookieOf(entry));
    for (let call = 0; call < 10; call += 1) await there.openActive(cookieOf(entry));
    expect(asked).toEqual(['look', 'confirm']);
    expect(provider.redeemed).toEqual(['refresh-0']);
  });

  test('that ends while the other looks is looked for again', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    const gate = Promise.withResolvers<void>();
    there.link.after = (operation) => (operation === 'look' ? gate.promise : Promise.resolve());
    const opening = there.openActive(cookie);
    await vi.waitFor(() => expect(there.link.after).toBeDefined());
    await here.refresher.refreshIfDue(entry);
    gate.resolve();
    expect((await opening).entry.session.tokens.accessToken).toBe('access-1');
  });

  test('whose owner is gone is taken over when the lease is over, and goes on if the token is unused', async () => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await there.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    const release = provider.hold();
    here.link.after = fail;
    await expect(here.refresher.refreshIfDue((await here.openActive(cookie)).entry)).rejects.toMatchObject({
      code: 'store_unavailable',
    });
    release();
    const waiting = there.refresher.refreshIfDue(entry);
    await expect(Promise.race([waiting, Promise.resolve('waits')])).resolves.toBe('waits');
    vi.advanceTimersByTime(4000);
    await waiting;
    expect(entry.session.tokens.accessToken).toBe('access-1');
    expect(there.seen.map(({ type }) => type)).toEqual(['token.refreshed']);
  }, 20_000);

  test('whose owner used the token up before it was gone ends the session as what it is', async () => {
    const { store, there, here, provider } = startTwo();
    const { entry } = await there.openActive(await signIn(here));
    await store.claim(entry.key, { generation: 0, owner: 'killed in the middle' }, 4000, 1000);
    provider.useUp();
    vi.advanceTimersByTime(301_000);
    await expect(there.refresher.refreshIfDue(entry)).rejects.toMatchObject({ code: 'session_expired' });
    expect(there.seen).toContainEqual(
      expect.objectContaining({ type: 'session.ended', reason: 'refresh_interrupted' }),
    );
    expect(entry.ended).toBe('refresh_interrupted');
  });

  test('that the provider refuses to an owner whom nobody preceded is rejected, and nothing else', async () => {
    const { there, here, provider } = startTwo();
    const { entry } = await there.openActive(await signIn(here));
    provider.useUp();
    vi.advanceTimersByTime(301_000);
    await expect(there.refresher.refreshIfDue(entry)).rejects.toMatchObject({ code: 'session_expired' });
    expect(entry.ended).toBe('refresh_rejected');
  });

  test('whose claim was granted with an answer that was lost blocks nobody here', async () => {
    const { here, provider } = startTwo();
    const { entry } = await here.openActive(await signIn(here));
    vi.advanceTimersByTime(301_000);
    here.link.after = fail;
    await expect(here.refresher.refreshIfDue(entry)).rejects.toMatchObject({ code: 'store_unavailable' });
    delete here.link.after;
    await here.refresher.refreshIfDue(entry);
    expect(entry.session.tokens.accessToken).toBe('access-1');
    expect(provider.redeemed).toEqual(['refresh-0']);
  });

  test('is not tried without the store, unless the operator says so', async () => {
    const { here, provider } = startTwo();
    const { entry } = await here.openActive(await signIn(here));
    here.link.before = fail;
    vi.advanceTimersByTime(295_000);
    // Ahead of expiry, the access token is still good.
    await here.refresher.refreshIfDue(entry);
    vi.advanceTimersByTime(10_000);
    await expect(here.refresher.refreshIfDue(entry)).rejects.toMatchObject({ code: 'store_unavailable', status: 503 });
    expect(provider.redeemed).toEqual([]);
    const alone = startTwo({ store: { whenDown: 'refresh' } });
    const opened = await alone.here.openActive(await signIn(alone.here));
    alone.here.link.before = fail;
    vi.advanceTimersByTime(301_000);
    await alone.here.refresher.refreshIfDue(opened.entry);
    expect(opened.entry.session.tokens.accessToken).toBe('access-1');
    expect(alone.here.sessions.newCookies(opened, undefined)).toHaveLength(1);
  });

  test('whose result the store was not told is told as soon as the store answers', async () => {
    const { here, there, provider } = startTwo();
    const cookie = await signIn(here);
    const opened = await here.openActive(cookie);
    vi.advanceTimersByTime(301_000);
    here.link.before = (operation) => (operation === 'claim' ? Promise.resolve() : fail());
    await here.refresher.refreshIfDue(opened.entry);
    expect(here.sessions.newCookies(opened, undefined)).toHaveLength(1);
    expect(here.seen.filter(({ type }) => type === 'store.failed')).toHaveLength(1);
    delete here.link.before;
    await vi.waitFor(async () => {
      expect((await there.openActive(cookie)).entry.session.tokens.accessToken).toBe('access-1');
    });
    expect(provider.redeemed).toEqual(['refresh-0']);
  });
});

describe('an end', () => {
  test('at one is heard by the other, of which nobody has asked', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await there.openActive(cookie);
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    expect(entry.ended).toBe('logout');
    const ends = [...here.seen, ...there.seen].filter(({ type }) => type === 'session.ended');
    expect(ends).toEqual([
      { type: 'session.ended', session: entry.sessionHash, reason: 'logout', remote: false },
      { type: 'session.ended', session: entry.sessionHash, reason: 'logout', remote: true },
    ]);
  });

  test('that was told while nobody could hear it is found within store.recheckSeconds', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    await there.openActive(cookie);
    there.link.deliver = () => undefined;
    there.link.heardSince = () => undefined;
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    expect((await there.open(cookie)).state).toBe('active');
    vi.advanceTimersByTime(5001);
    expect((await there.open(cookie)).state).toBe('ended');
  });

  test('that was missed is found before anything is believed, as soon as messages come again', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    await there.openActive(cookie);
    there.link.deliver = () => undefined;
    await here.sessions.end((await here.openActive(cookie)).entry, 'logout');
    vi.advanceTimersByTime(10);
    const now = monotonicMs();
    there.link.heardSince = () => now;
    expect((await there.open(cookie)).state).toBe('ended');
  });

  test('made while the store is away takes effect here at once, and everywhere as soon as it answers', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    await there.openActive(cookie);
    const { entry } = await here.openActive(cookie);
    here.link.before = fail;
    await here.sessions.end(entry, 'logout');
    expect((await here.open(cookie)).state).toBe('ended');
    expect((await there.open(cookie)).state).toBe('active');
    delete here.link.before;
    // No call comes here any more.
    await vi.waitFor(async () => expect((await there.open(cookie)).state).toBe('ended'));
  });

  test('made while the store is away is told when the instance stops, and missed aloud if it cannot be', async () => {
    const { here, there } = startTwo();
    const [told, untold] = [await signIn(here), await signIn(there)];
    for (const [instance, cookie] of [[here, told] as const, [there, untold] as const]) {
      const { entry } = await instance.openActive(cookie);
      instance.link.before = fail;
      await instance.sessions.end(entry, 'logout');
    }
    delete here.link.before;
    await Promise.all([here.sessions.close(), there.sessions.close()]);
    expect(here.seen.map(({ type }) => type)).not.toContain('store.writes_lost');
    expect(there.seen.at(-1)).toEqual({ type: 'store.writes_lost', count: 1 });
  });

  test('stays one where the store has lost it', async () => {
    const { store, here, there } = startTwo();
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    await there.openActive(cookie);
    await here.sessions.end(entry, 'logout');
    vi.spyOn(store, 'look').mockResolvedValue({ record: emptyRecord, revocations: [] });
    for (const instance of [here, there]) expect((await instance.open(cookie)).state).toBe('ended');
  });

  test('by the provider ends what it had begun by then, and no later session', async () => {
    const { store, provider, here, there } = startTwo();
    const cookies = [await signIn(here), await signIn(there)];
    await here.openActive(cookies[0] ?? '');
    const sub = 'alice';
    await there.sessions.revoke({ sub, issuedBefore: loginAt - 1, reason: 'backchannel' });
    for (const cookie of cookies) expect((await here.open(cookie)).state).toBe('active');
    await there.sessions.revoke({ sub: 'bob', issuedBefore: loginAt, reason: 'backchannel' });
    await there.sessions.revoke({ sid: 'another', sub, issuedBefore: loginAt, reason: 'backchannel' });
    for (const cookie of cookies) expect((await here.open(cookie)).state).toBe('active');
    await there.sessions.revoke({ sub, issuedBefore: loginAt, reason: 'backchannel' });
    for (const instance of [here, there]) {
      for (const cookie of cookies) {
        expect(await instance.open(cookie)).toMatchObject({ state: 'ended', reason: 'backchannel' });
      }
    }
    // An older time never takes the place of a later one.
    await here.sessions.revoke({ sub, issuedBefore: loginAt - 100, reason: 'backchannel' });
    const third = startInstance(store, provider.provider);
    expect(await third.open(cookies[1] ?? '')).toMatchObject({ state: 'ended' });
  });

  test('by the provider is reported by the instance that was told, and by the others as remote', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    await there.openActive(cookie);
    await there.sessions.revoke({ sub: 'alice', issuedBefore: loginAt, reason: 'backchannel' });
    const remotes = [here, there].map(({ seen }) =>
      seen.flatMap((event) => (event.type === 'session.ended' ? [event.remote] : [])),
    );
    expect(remotes).toEqual([[true], [false]]);
  });

  test('by the provider that could not be written is refused, and made as soon as the store answers', async () => {
    const { here, there } = startTwo();
    const cookie = await signIn(here);
    await there.openActive(cookie);
    here.link.before = fail;
    await expect(
      here.sessions.revoke({ sub: 'alice', issuedBefore: loginAt, reason: 'backchannel' }),
    ).rejects.toMatchObject({ code: 'store_unavailable' });
    expect((await there.open(cookie)).state).toBe('active');
    delete here.link.before;
    await vi.waitFor(async () => expect((await there.open(cookie)).state).toBe('ended'));
  });
});

describe('the idle timeout', () => {
  test('counts the calls at the other instance, before it ends anything', async () => {
    const { here, there } = startTwo({ session: { idleSeconds: 100 } });
    const cookie = await signIn(here);
    const { entry } = await here.openActive(cookie);
    for (let call = 0; call < 4; call += 1) {
      vi.advanceTimersByTime(60_000);
      await there.sessions.touch((await there.openActive(cookie)).entry);
    }
    expect(here.sessions.isOver(entry, true)).toBe(true);
    expect(here.sessions.mayHaveChanged(entry)).toBe(true);
    await here.sessions.bringUpToDate(entry);
    expect(here.sessions.isOver(entry, true)).toBe(false);
    expect((await here.open(cookie)).state).toBe('active');
    vi.advanceTimersByTime(106_000);
    for (const instance of [here, there]) expect((await instance.open(cookie)).state).toBe('ended');
  });
});

const emptyRecord = {
  ended: undefined,
  generation: 0,
  content: undefined,
  confirmedMsAgo: undefined,
  oldestServed: 0,
  activeMsAgo: undefined,
};
