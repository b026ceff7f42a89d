/** Refreshing where the cache of opened cookies forgets, or another process is faster: what no journey can time. */
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { resolveConfig, type ConfigInput } from '../../src/config/config.ts';
import { createEvents } from '../../src/events.ts';
import type { Provider } from '../../src/oidc/provider.ts';
import { createSessions, type SessionEntry, type Sessions } from '../../src/session/sessions.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { TokenSet } from '../../src/token-set.ts';
import { nowSeconds } from '../../src/clock.ts';
import { createRefresher } from '../../src/tokens/refresh.ts';
import { fakeDate, fakeDateAndIntervals } from '../support/clock.ts';
import { cookieOf, inFreeTurn } from '../support/two-instances.ts';

beforeEach(() => fakeDate());

const input: ConfigInput = {
  origin: 'http://localhost:3000',
  issuer: 'http://localhost:4000',
  client: { id: 'app', secret: 'not much of one' },
  secrets: ['a sealing secret of more than 32 characters'],
};

function memoryStore(): Store {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  return store;
}

/** One process; those that are given the same store are instances of one cluster. */
function startProcess(
  provider: Pick<Provider, 'refresh' | 'inRefreshTurn' | 'revoke'>,
  store = memoryStore(),
  config = resolveConfig(input),
) {
  const events = createEvents();
  const sessions = createSessions(config, { store, events });
  // The refresher asks the provider for nothing else.
  const refresher = createRefresher(config, { provider: provider as Provider, sessions, events });
  return { sessions, refresher };
}

/** The tokens of the nth grant; a refresh token that isn't rotated stays what it is. */
function tokensOf(grant: number, refreshToken = `refresh-${grant}`): TokenSet {
  const idToken = `e30.${Buffer.from('{"sub":"alice"}').toString('base64url')}.c2lnbmF0dXJl`;
  return { accessToken: `access-${grant}`, accessTokenExpiresAt: nowSeconds() + 300, refreshToken, idToken };
}

/** A provider that grants when the gate is open, and remembers what it was shown. */
function gatedProvider({ rotates }: { rotates: boolean }) {
  const gate = Promise.withResolvers<void>();
  const redeemed: string[] = [];
  const revoked: string[] = [];
  const provider: Pick<Provider, 'refresh' | 'inRefreshTurn' | 'revoke'> = {
    async refresh({ refreshToken = '' }) {
      redeemed.push(refreshToken);
      await gate.promise;
      const tokens = tokensOf(redeemed.length, rotates ? undefined : refreshToken);
      return { granted: true, grant: { tokens, userInfo: undefined, subject: 'alice' } };
    },
    inRefreshTurn: inFreeTurn,
    async revoke(token) {
      revoked.push(token);
    },
  };
  return { provider, redeemed, revoked, open: gate.resolve };
}

async function openActive(sessions: Sessions, cookie: string): Promise<SessionEntry> {
  const opened = await sessions.open(cookie);
  if (opened.state !== 'active') throw new Error(`the session is ${opened.state}`);
  return opened.entry;
}

/** Other people's sessions, so many that the cache forgets whatever it holds. */
async function crowdOut(sessions: Sessions): Promise<void> {
  const accessToken = 'x'.repeat(1_500_000);
  for (let count = 0; count < 50; count += 1) await sessions.begin({ ...tokensOf(0), accessToken }, undefined);
}

test('a session evicted while it is refreshed redeems its token once and ends with its cookies', async () => {
  const { provider, redeemed, open } = gatedProvider({ rotates: true });
  const { sessions, refresher } = startProcess(provider);
  const first = await sessions.begin(tokensOf(0), undefined);
  const cookies = [cookieOf(first)];
  const running = [refresher.refreshAfterRejection(first, 'access-0')];
  await crowdOut(sessions);
  const second = await openActive(sessions, cookieOf(first));
  running.push(refresher.refreshAfterRejection(second, 'access-0'));
  open();
  await Promise.all(running);
  expect(redeemed).toEqual(['refresh-0']);
  expect([first.session.tokens.accessToken, second.session.tokens.accessToken]).toEqual(['access-1', 'access-1']);
  cookies.push(cookieOf(first), cookieOf(second));

  // A tab with the first cookie, when the next refresh is due.
  vi.advanceTimersByTime(299_000);
  const third = await openActive(sessions, cookies[0] ?? '');
  await refresher.refreshIfDue(third);
  expect(redeemed).toEqual(['refresh-0', 'refresh-1']);
  cookies.push(cookieOf(third));

  await sessions.end(await openActive(sessions, cookieOf(third)), 'logout');
  const states = () => Promise.all(cookies.map(async (cookie) => (await sessions.open(cookie)).state));
  expect(await states()).toEqual(cookies.map(() => 'ended'));
  await crowdOut(sessions);
  expect(await states()).toEqual(cookies.map(() => 'ended'));
});

test('a refresh that another process has overtaken does not revoke the token both were given', async () => {
  const { provider, revoked, open } = gatedProvider({ rotates: false });
  const store: Store = { ...memoryStore(), shared: true };
  const [here, there] = [startProcess(provider, store), startProcess(provider, store)];
  const slow = await here.sessions.begin(tokensOf(0), undefined);
  const fast = await openActive(there.sessions, cookieOf(slow));
  const refreshing = here.refresher.refreshAfterRejection(slow, 'access-0');
  const next = { ...fast.session, generation: 1, tokens: tokensOf(1, 'refresh-0') };
  expect(await there.sessions.commitRefresh(fast, next)).toBe(true);
  open();
  await refreshing;
  expect(revoked).toEqual([]);
  for (const { sessions } of [here, there]) {
    expect((await openActive(sessions, cookieOf(fast))).session.generation).toBe(1);
  }
});

test('a refresh that a slow provider draws out is awaited by other processes, without a look in between', async () => {
  fakeDateAndIntervals();
  const { provider, redeemed, open } = gatedProvider({ rotates: true });
  const store: Store = { ...memoryStore(), shared: true };
  const [here, there] = [startProcess(provider, store), startProcess(provider, store)];
  const slow = await here.sessions.begin(tokensOf(0), undefined);
  const late = await openActive(there.sessions, cookieOf(slow));
  const refreshing = here.refresher.refreshAfterRejection(slow, 'access-0');
  await vi.waitFor(() => expect(redeemed).toEqual(['refresh-0']));
  // The owner renews its claim at intervals.
  for (let second = 0; second < 60; second += 1) await vi.advanceTimersByTimeAsync(1000);
  const claims = vi.spyOn(store, 'claim');
  const waiting = there.refresher.refreshAfterRejection(late, 'access-0');
  await vi.waitFor(() => expect(claims).toHaveBeenCalledOnce());
  open();
  await Promise.all([refreshing, waiting]);
  expect(claims).toHaveBeenCalledTimes(2);
  expect(redeemed).toEqual(['refresh-0']);
  expect(late.session.tokens.accessToken).toBe('access-1');
});

test("a refresh that a sign-out has overtaken revokes its token and reports the session's end", async () => {
  const { provider, redeemed, revoked, open } = gatedProvider({ rotates: true });
  const { sessions, refresher } = startProcess(provider);
  const entry = await sessions.begin(tokensOf(0), undefined);
  const refreshing = refresher.refreshAfterRejection(entry, 'access-0');
  await vi.waitFor(() => expect(redeemed).toEqual(['refresh-0']));
  await sessions.end(entry, 'logout');
  open();
  await expect(refreshing).rejects.toMatchObject({ code: 'session_expired' });
  expect(revoked).toEqual(['refresh-1']);
});
