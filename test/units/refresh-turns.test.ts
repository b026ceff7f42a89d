/** Refreshes in the line after an outage of the provider: they hold no claim there, and always give their turn back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test, vi } from 'vitest';
import { createCircuitBreaker } from '../../src/oidc/circuit-breaker.ts';
import { fakeDateAndIntervals } from '../support/clock.ts';
import { cookieOf, fail, signIn, startInstance, startTwo } from '../support/two-instances.ts';

beforeEach(() => fakeDateAndIntervals());

/** Two instances of which one has lost the provider, and a session whose token has expired. */
async function startPaused() {
  const { store, provider, there } = startTwo();
  const breaker = createCircuitBreaker(() => 0);
  const guarded: typeof provider.provider = {
    ...provider.provider,
    inRefreshTurn: (key, _request, task) => breaker.inTurn(key, task),
  };
  const here = startInstance(store, guarded, { provider: { timeoutSeconds: 1 } });
  const cookie = await signIn(here);
  const { entry } = await here.openActive(cookie);
  const elsewhere = (await there.openActive(cookie)).entry;
  vi.advanceTimersByTime(301_000);
  for (let each = 0; each < 5; each += 1) await breaker.run(`other ${each}`, fail).catch(() => undefined);
  let claims = 0;
  here.link.before = async (operation) => void (claims += operation === 'claim' ? 1 : 0);
  const refresh = () => here.refresher.refreshAfterRejection(entry, 'access-0');
  const refreshElsewhere = () => there.refresher.refreshAfterRejection(elsewhere, 'access-0');
  return { here, there, provider, breaker, entry, elsewhere, refresh, refreshElsewhere, claims: () => claims };
}

type Paused = Awaited<ReturnType<typeof startPaused>>;

/** As {@link startPaused}, but a refresh waits until the trial is over, which is another session's. */
async function startInLine() {
  const paused = await startPaused();
  vi.advanceTimersByTime(1001);
  const trial = Promise.withResolvers<void>();
  const other = paused.breaker.inTurn('other', () => trial.promise);
  const refreshed = paused.refresh();
  // So that a failure has a handler before it is looked at.
  refreshed.catch(() => undefined);
  await sleep(20);
  expect([paused.claims(), paused.provider.redeemed]).toEqual([0, []]);
  const endTrial = async () => {
    trial.resolve();
    await other;
  };
  return { ...paused, refreshed, endTrial };
}

/** Fails by a time-out where a turn was kept. */
async function expectTurn({ breaker }: Paused): Promise<void> {
  expect(await breaker.run('next in the line', async () => 'asked')).toBe('asked');
}

test('a refresh claims when its turn has come', async () => {
  const world = await startInLine();
  await world.endTrial();
  await world.refreshed;
  expect([world.claims(), world.provider.redeemed]).toEqual([1, ['refresh-0']]);
  expect(world.entry.session.tokens.accessToken).toBe('access-1');
  await expectTurn(world);
});

test.each([
  ['a browser brings', 0, ({ here, elsewhere }: Paused) => here.openActive(cookieOf(elsewhere))],
  ['the store has', 1, () => undefined],
])('a refresh that another instance has made meanwhile is not made again: %s the result', async (_, claims, bring) => {
  const world = await startInLine();
  await world.refreshElsewhere();
  await bring(world);
  await world.endTrial();
  await world.refreshed;
  expect([world.claims(), world.provider.redeemed]).toEqual([claims, ['refresh-0']]);
  expect(world.entry.session.tokens.accessToken).toBe('access-1');
  await expectTurn(world);
});

test.each([
  ['hears of it', 0, undefined],
  ['does not hear of it', 1, () => undefined],
])('a refresh of a session that ends meanwhile is not made: this instance %s', async (_, claims, deliver) => {
  const world = await startInLine();
  Object.assign(world.here.link, { deliver });
  await world.there.sessions.end(world.elsewhere, 'logout');
  await world.endTrial();
  await expect(world.refreshed).rejects.toMatchObject({ code: 'session_expired' });
  expect([world.claims(), world.provider.redeemed]).toEqual([claims, []]);
  await expectTurn(world);
});

test('a refresh that cannot be claimed gives its turn back', async () => {
  const world = await startInLine();
  world.here.link.before = fail;
  await world.endTrial();
  await expect(world.refreshed).rejects.toMatchObject({ code: 'store_unavailable' });
  await expectTurn(world);
});

test('a refresh whose callers have given up is made in its turn', async () => {
  const world = await startInLine();
  await expect(world.refreshed).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(world.claims()).toBe(0);
  await world.endTrial();
  await vi.waitFor(() => expect(world.entry.session.tokens.accessToken).toBe('access-1'));
  await expectTurn(world);
});

test('a refresh that waits for another instance lets others go first', async () => {
  const world = await startInLine();
  const release = world.provider.hold();
  const elsewhere = world.refreshElsewhere();
  await vi.waitFor(() => expect(world.provider.redeemed).toHaveLength(1));
  await world.endTrial();
  await vi.waitFor(() => expect(world.claims()).toBe(1));
  await expectTurn(world);
  release();
  await Promise.all([elsewhere, world.refreshed]);
  expect(world.provider.redeemed).toEqual(['refresh-0']);
  expect(world.entry.session.tokens.accessToken).toBe('access-1');
});

test('a refresh that waits for the late write of an earlier owner lets others go first', async () => {
  const world = await startInLine();
  const { here } = world;
  here.link.replaceClaim = { state: 'granted', interrupted: true };
  here.link.heardSince = () => undefined;
  await world.endTrial();
  await vi.waitFor(() => expect(world.claims()).toBe(1));
  await expectTurn(world);
  expect(world.provider.redeemed).toEqual([]);
  await world.refreshElsewhere();
  await world.refreshed;
  expect(world.provider.redeemed).toEqual(['refresh-0']);
});

test('a refresh during the pause looks for the result of another instance, and asks nobody', async () => {
  const world = await startPaused();
  await expect(world.refresh()).rejects.toMatchObject({ code: 'provider_unavailable' });
  expect(world.provider.redeemed).toEqual([]);
  world.here.link.deliver = () => undefined;
  await world.refreshElsewhere();
  await world.refresh();
  expect(world.provider.redeemed).toEqual(['refresh-0']);
  expect(world.entry.session.tokens.accessToken).toBe('access-1');
});
