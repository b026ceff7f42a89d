/**
 * A new sealing secret takes the place of the old one while people work, on instances that are replaced one by one, so that
 * each of them meets what the others have sealed: cookies of sessions, logins and sign-outs, and what is in the store.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { startRedis } from '../support/redis.ts';
import { beginWork } from '../support/work.ts';
import { outcomeOf, startWorld, type RunningServer, type World } from '../support/world.ts';

beforeEach(() => fakeDate());

const [old, fresh] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];

const lifetimeSeconds = 3600;

interface Fleet {
  readonly world: World;
  /** Replaces one of the two instances by another with these secrets. */
  readonly deploy: (index: number, secrets: readonly string[]) => Promise<void>;
  /** Sends the browser's next request to an instance. */
  readonly route: (browser: BrowserClient, index: number) => void;
}

async function startFleet(secrets: readonly string[]): Promise<Fleet> {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const world = await startWorld({
    config: {
      secrets: [...secrets],
      redisUrl: redis.url,
      session: { lifetimeSeconds },
      drain: { waitSeconds: 0.3 },
    },
  });
  const instances: RunningServer[] = [world.server, await world.addInstance()];
  const deploy: Fleet['deploy'] = async (index, next) => {
    const replaced = instances[index];
    instances[index] = await world.addInstance({ secrets: [...next] });
    await replaced?.close();
  };
  const route: Fleet['route'] = (browser, index) => browser.routeTo(instances[index % 2]?.port ?? 0, world.origin);
  return { world, deploy, route };
}

/** A navigation of which each request reaches another instance than the one before. */
function navigateAcross({ world, route }: Fleet, browser: BrowserClient, target: string, first: number) {
  let turn = first;
  route(browser, turn);
  return browser.navigate(target, {
    initiator: browser.origin,
    stopBefore: (url) => {
      if (url.origin === world.origin) route(browser, ++turn);
      return false;
    },
  });
}

/** Signs in, from one instance to the other. */
async function signInAcross(fleet: Fleet, first: number): Promise<BrowserClient> {
  const browser = fleet.world.client();
  const page = await navigateAcross(fleet, browser, '/bff/login?returnTo=/work&login_hint=alice', first);
  expect(new URL(page.url).pathname).toBe('/work');
  return browser;
}

/** A sign-out by the link and one by a script, whose pieces each reach another instance than the one before. */
async function signOutAcross(fleet: Fleet, first: number): Promise<void> {
  const { route, world } = fleet;
  const byLink = await signInAcross(fleet, first);
  const logoutUrl = String((await byLink.fetch('/bff/session')).at('logoutUrl'));
  const byScript = await signInAcross(fleet, first);
  route(byScript, first + 1);
  const answer = await byScript.fetch('/bff/logout?returnTo=/bye', { method: 'POST' });
  const ways = [
    { browser: byLink, target: `${logoutUrl}&returnTo=/bye` },
    { browser: byScript, target: String(answer.at('location')) },
  ];
  for (const { browser, target } of ways) {
    const page = await navigateAcross(fleet, browser, target, first);
    // By way of the provider, and from there to where the app said.
    expect(page.chain.map(({ url }) => new URL(url).origin)).toContain(new URL(world.provider.issuer).origin);
    expect(new URL(page.url).pathname).toBe('/bye');
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  }
}

/** What both instances say to a person. */
async function answersTo({ route }: Fleet, browser: BrowserClient): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const index of [0, 1]) {
    route(browser, index);
    answers.push((await browser.fetch('/bff/session')).at('authenticated'), (await browser.fetch('/api/work')).status);
  }
  return answers;
}

const signedIn = [true, 200, true, 200];

/** A refresh at one instance, of which the other hears from the store before the new cookie has reached it. */
async function refreshAcross({ route }: Fleet, browser: BrowserClient, first: number): Promise<void> {
  const olderTab = browser.clone();
  expireAccessToken();
  route(browser, first);
  expect((await browser.fetch('/api/refreshes')).status).toBe(200);
  route(olderTab, first + 1);
  expect((await olderTab.fetch('/api/with-the-older-cookie')).status).toBe(200);
}

/** Calls at both instances in turn. The cookies are copies: nobody's refresh reseals them. */
function calls({ route }: Fleet, person: BrowserClient): (turn: number) => Promise<number | string> {
  const browser = person.clone();
  return async (turn) => {
    await nextTurn();
    route(browser, turn);
    return outcomeOf(browser.fetch(`/api/${turn}`));
  };
}

describe('a secret that is accepted everywhere before it seals anywhere signs nobody out', () => {
  test.each([
    ['the first instance first', [0, 1]],
    ['the second instance first', [1, 0]],
  ])('%s', { timeout: 60_000 }, async (_order, order) => {
    const fleet = await startFleet([old]);
    const people: BrowserClient[] = [];
    for (const secrets of [[old, fresh], [fresh, old], [fresh]]) {
      if (secrets.length === 1) {
        // The old one may go when the longest session that it sealed is over.
        vi.advanceTimersByTime(lifetimeSeconds * 1000);
        people.length = 0;
      }
      for (const index of order) {
        for (const first of order) people.push(await signInAcross(fleet, first));
        const work = beginWork(people.slice(-3).map((person) => calls(fleet, person)));
        await fleet.deploy(index, secrets);
        expect([...(await work.stop()).keys()]).toEqual([200]);

        for (const person of people) expect(await answersTo(fleet, person)).toEqual(signedIn);
        for (const [turn, person] of people.slice(-2).entries()) await refreshAcross(fleet, person, turn);
        for (const first of [0, 1]) await signOutAcross(fleet, first);
      }
    }
    for (const person of people) expect(await answersTo(fleet, person)).toEqual(signedIn);
    expect(fleet.world.provider.reusedRefreshTokens).toBe(0);
    fleet.world.assertNoSecrets({ 'the old secret': old, 'the new secret': fresh });
  });

  test('also on an instance that goes back a step', async () => {
    const fleet = await startFleet([old, fresh]);
    const before = await signInAcross(fleet, 0);
    await fleet.deploy(0, [fresh, old]);
    const after = await signInAcross(fleet, 1);
    await fleet.deploy(0, [old, fresh]);
    for (const person of [before, after]) expect(await answersTo(fleet, person)).toEqual(signedIn);
  });
});

test('a secret that seals before all instances accept it is unknown to the others, hence the first step', async () => {
  const fleet = await startFleet([old]);
  await fleet.deploy(0, [fresh, old]);
  const browser = fleet.world.client();
  fleet.route(browser, 0);
  await browser.navigate('/bff/login?login_hint=alice');
  expect((await browser.fetch('/api/here')).status).toBe(200);
  fleet.route(browser, 1);
  expect((await browser.fetch('/api/there')).at('code')).toBe('login_required');
});
