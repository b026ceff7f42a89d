/**
 * The unlucky user's story: "Another person and I work at the same moment. Tokens expire, are refreshed, refused and
 * refreshed again, in the middle of our calls, our tabs hold older and newer cookies, and everything goes through the
 * same caches and connections. Just once my call goes out with the other's token, and I see their orders."
 *
 * Must hold: every call reaches the API with the token of the person who makes it. Each says in its path who that is.
 */
import { randomInt } from 'node:crypto';
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

const users = ['alice', 'bob'] as const;
const totalCalls = 1000;
const tabsEach = 5;
const roundsOf = 10;

interface Tab {
  readonly user: (typeof users)[number];
  readonly browser: BrowserClient;
}

/** Several tabs of each user: some share a cookie jar, some keep an older copy for a round. */
async function openTabs(world: World): Promise<Tab[]> {
  const tabs: Tab[] = [];
  for (const user of users) {
    const browser = world.client();
    await signIn(browser, user);
    for (let tab = 0; tab < tabsEach; tab += 1) tabs.push({ user, browser });
  }
  return tabs;
}

/** One call; answers what went wrong, or undefined. */
async function callOnce({ user, browser }: Tab, call: number): Promise<string | undefined> {
  const method = call % 3 === 0 ? 'POST' : 'GET';
  const path = `/api/of/${user}/${call}`;
  const answer = await browser.fetch(path, { method, ...(method === 'POST' ? { body: { user } } : {}) });
  if (answer.status !== 200) return `${path}: ${answer.status} ${answer.text}`;
  const { sub, path: served } = answer.json();
  return sub === user && served === `/of/${user}/${call}` ? undefined : `${path} was answered for ${String(sub)}`;
}

/** Interleaved calls, in rounds; `between` happens before each round. */
async function callInRounds(tabs: readonly Tab[], between: (round: number) => void): Promise<string[]> {
  const faults: string[] = [];
  for (let round = 0; round < roundsOf; round += 1) {
    between(round);
    // Half the tabs go on with the cookies of the round before.
    const seen = tabs.map((tab) => (randomInt(2) === 0 ? { ...tab, browser: tab.browser.clone() } : tab));
    const calls = Array.from({ length: totalCalls / roundsOf }, (_, call) =>
      callOnce(seen[call % seen.length] ?? seen[0] ?? missing(), round * 1000 + call),
    );
    for (const fault of await Promise.all(calls)) if (fault !== undefined) faults.push(fault);
  }
  return faults;
}

function missing(): never {
  throw new Error('no tabs');
}

/** What the API itself saw: every token belongs to the user in the path, the body too, and is a genuine one. */
function swapsSeenBy(world: World): string[] {
  return world.api.requests
    .filter(({ url, claims, token, body }) => {
      const user = url.split('/')[2];
      const isOwn = claims?.sub === user && world.provider.secrets.get(token ?? '') === 'accessToken';
      return !isOwn || (body.length > 0 && JSON.parse(body.toString()).user !== user);
    })
    .map(({ url, claims }) => `${url} with a token of ${String(claims?.sub)}`);
}

async function worldWithTabs(options: WorldOptions): Promise<{ world: World; tabs: Tab[] }> {
  fakeDate();
  const world = await startWorld(options);
  return { world, tabs: await openTabs(world) };
}

describe.each(['cookie that fits one', 'cookie in chunks'])('two users, 1,000 interleaved calls, a %s', (kind) => {
  const lifetimes = { accessToken: 60, idToken: 300, refreshToken: 86_400, code: 60, session: 86_400 };
  const provider = { settings: { lifetimes, accessTokenPadding: kind.endsWith('chunks') ? 4000 : 0 } };

  test('with a refresh in every round: never a swapped token', async () => {
    const { world, tabs } = await worldWithTabs({ provider });
    const faults = await callInRounds(tabs, () => {
      vi.advanceTimersByTime(61_000);
    });
    expect(faults).toEqual([]);
    expect(swapsSeenBy(world)).toEqual([]);
    expect(world.api.requests).toHaveLength(totalCalls);
    expect(world.provider.calls.refresh).toBe(roundsOf * users.length);
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('with an API that refuses tokens in every round: never a swapped token', async () => {
    const { world, tabs } = await worldWithTabs({ provider });
    const seen = new Set<string>();
    const faults = await callInRounds(tabs, () => {
      // Beyond the grace period and what a route's refusals are remembered for.
      vi.advanceTimersByTime(25_000);
      for (const { token } of world.api.requests) seen.add(token ?? '');
      world.api.rejectTokens((token) => seen.has(token ?? ''));
    });
    expect(faults).toEqual([]);
    expect(swapsSeenBy(world)).toEqual([]);
    expect(world.provider.calls.refresh).toBeGreaterThanOrEqual((roundsOf - 1) * users.length);
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });
});

test('people who sign in and out one after the other in the same browser meet no one else’s data', async () => {
  const { client, api } = await startWorld();
  const browser = client();
  for (let turn = 0; turn < 6; turn += 1) {
    const user = users[turn % 2] ?? 'alice';
    await signIn(browser, user);
    const calls = await Promise.all([1, 2, 3].map(() => browser.fetch(`/api/of/${user}`)));
    expect(calls.map((answer) => answer.at('sub'))).toEqual([user, user, user]);
    const session = await browser.fetch('/bff/session');
    await browser.navigate(String(session.at('logoutUrl')));
    expect((await browser.fetch('/api/of/nobody')).status).toBe(401);
  }
  expect(api.requests.filter(({ url, claims }) => url !== `/of/${claims?.sub}`)).toEqual([]);
});
