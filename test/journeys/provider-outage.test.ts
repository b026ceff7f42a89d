/**
 * The identity provider is down, or overloaded, for a minute or an hour. Nobody is signed out by it, people with a good
 * token notice nothing, the others hear at once when to come again; the provider isn't kept down by those who ask for
 * it; and when it is back, everybody is back with it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { almostExpireAccessToken, changeTimers, expireAccessToken, fakeDate } from '../support/clock.ts';
import { linkStore, type Link } from '../support/linked-store.ts';
import type { Failure } from '../support/provider-faults.ts';
import { acceptWebSockets, beginSocket, refusalOf } from '../support/web-socket.ts';
import {
  leadToCallback,
  signIn,
  startSignedInPeople,
  startWorld,
  within,
  type World,
  type WorldOptions,
} from '../support/world.ts';

beforeEach(() => fakeDate());

type People = World & { people: BrowserClient[]; one: BrowserClient };

/** So many people, signed in; none of their refresh tokens may ever be shown twice. */
async function startPeople(count: number, options: WorldOptions = {}): Promise<People> {
  const world = await startSignedInPeople(count, options);
  const [one] = world.browsers;
  if (one === undefined) throw new Error('nobody signed in');
  return Object.assign(world, { people: world.browsers, one });
}

/** The same with access tokens that have expired. */
async function startExpired(count = 1, options: WorldOptions = {}): Promise<People> {
  const world = await startPeople(count, options);
  expireAccessToken();
  world.provider.resetCalls();
  return world;
}

function inParallel<Item>(items: readonly Item[], call: (item: Item) => Promise<Exchange>): Promise<Exchange[]> {
  return Promise.all(items.map(call));
}

function statusesOf(answers: readonly Exchange[]): number[] {
  return [...new Set(answers.map(({ status }) => status))];
}

/** A 503 that says when to come again. @returns the seconds */
function secondsToWait(answer: Exchange): number {
  expect(answer.status).toBe(503);
  expect(answer.json()).toMatchObject({ code: 'provider_unavailable' });
  expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/);
  expect(answer.setCookies).toEqual([]);
  return Number(answer.headers['retry-after']);
}

function isSignedIn(browser: BrowserClient): Promise<boolean> {
  return browser.fetch('/bff/session').then((answer) => answer.at('authenticated') === true);
}

const failures: [string, (world: World) => unknown][] = [
  ['answers 500', ({ provider }) => provider.fail('refresh')],
  ['answers 503', ({ provider }) => provider.fail('refresh', { status: 503 })],
  ['answers with a page', ({ provider }) => provider.fail('refresh', { status: 200, body: '<h1>Maintenance</h1>' })],
  [
    'refuses our credentials',
    ({ provider }) => provider.fail('refresh', { status: 401, body: { error: 'invalid_client' } }),
  ],
  ['breaks connections', ({ provider }) => provider.reset('refresh')],
  ['is gone', ({ provider }) => provider.down()],
];

describe('while the provider is down, the calls of a session that needs it', () => {
  test.each(failures)('are 503 at once, and ask it a handful of times: it %s', async (_, fail) => {
    const world = await startExpired();
    await fail(world);
    const attempts = countedAttempts(world);
    for (let call = 0; call < 400; call += 1) {
      secondsToWait(await world.one.fetch(`/api/${call}`));
      vi.advanceTimersByTime(25);
    }
    // Ten seconds: at 0, 1, 3 and 7, and no more than once beside that.
    expect(attempts()).toBeGreaterThanOrEqual(2);
    expect(attempts()).toBeLessThanOrEqual(5);
    expect(world.api.requests).toEqual([]);
    expect(await isSignedIn(world.one)).toBe(true);
  });

  // One more than needed: after a first failure there is no pause, for most are over in a moment.
  test('are two requests at most where they come at the same moment, and the next moment, too', async () => {
    const { one, provider } = await startExpired();
    provider.fail('refresh');
    for (let wave = 0; wave < 8; wave += 1) {
      const answers = await inParallel(Array.from({ length: 50 }), () => one.fetch('/api/me'));
      for (const answer of answers) secondsToWait(answer);
    }
    expect(provider.calls.refresh).toBeLessThanOrEqual(2);
  });

  test('wait twice as long for each next try, up to half a minute', async () => {
    const { one, provider } = await startExpired();
    provider.fail('refresh');
    const tries: number[] = [];
    for (let quarter = 0; quarter < 4 * 150; quarter += 1) {
      const before = provider.calls.refresh;
      const wait = secondsToWait(await one.fetch('/api/me'));
      expect(wait).toBeLessThanOrEqual(31);
      if (provider.calls.refresh > before) tries.push(quarter / 4);
      vi.advanceTimersByTime(250);
    }
    const gaps = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    expect(tries[0]).toBe(0);
    expect(gaps[0]).toBeLessThanOrEqual(1);
    expect(gaps[1]).toBeLessThanOrEqual(2);
    for (const [index, gap] of gaps.entries()) expect(gap).toBeGreaterThanOrEqual(gaps[index - 1] ?? 0);
    expect(Math.max(...gaps)).toBeGreaterThanOrEqual(20);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(31);
  });

  test('say when it will be asked again, and whoever comes then is served if it is back', async () => {
    const { one, provider } = await startExpired();
    const undo = provider.fail('refresh');
    const first = secondsToWait(await one.fetch('/api/me'));
    vi.advanceTimersByTime(first * 1000);
    const second = secondsToWait(await one.fetch('/api/me'));
    expect(provider.calls.refresh).toBe(2);
    undo();
    vi.advanceTimersByTime(second * 1000);
    expect((await one.fetch('/api/me')).status).toBe(200);
    expect(provider.calls.refresh).toBe(3);
  });

  test('begin anew with short waits at its next outage', async () => {
    const { one, provider } = await startExpired();
    const undo = provider.fail('refresh');
    for (let second = 0; second < 60; second += 1) {
      await one.fetch('/api/me');
      vi.advanceTimersByTime(1000);
    }
    undo();
    vi.advanceTimersByTime(31_000);
    expect((await one.fetch('/api/me')).status).toBe(200);
    expireAccessToken();
    provider.fail('refresh', { times: 1 });
    expect(secondsToWait(await one.fetch('/api/me'))).toBeLessThanOrEqual(2);
    vi.advanceTimersByTime(1000);
    expect((await one.fetch('/api/me')).status).toBe(200);
  });

  test('of every kind ask no more: uploads, WebSockets, /bff/refresh and reads of the session', async () => {
    const world = await startExpired(1, {
      config: (base) => ({ ...base, api: [{ ...base.api?.[0], websocket: true } as never] }),
    });
    const { one, provider, api } = world;
    const sockets = acceptWebSockets(api);
    provider.fail('refresh');
    secondsToWait(await one.fetch('/api/me'));
    const body = 'x'.repeat(100_000);
    secondsToWait(await one.fetch('/api/me', { method: 'PUT', body }));
    secondsToWait(await one.fetch('/bff/refresh', { method: 'POST' }));
    const refusal = await refusalOf(beginSocket(world, one));
    expect([refusal.status, refusal.headers['retry-after']]).toEqual([503, expect.stringMatching(/^[1-9]\d*$/)]);
    expect(await isSignedIn(one)).toBe(true);
    expect(provider.calls.refresh).toBeLessThanOrEqual(2);
    expect([api.requests, sockets.requests]).toEqual([[], []]);
  });

  test('and has not answered for long wait no more than a moment, and its late answer still counts', async () => {
    changeTimers(10_000, 2000);
    const { one, provider } = await startExpired();
    const gate = provider.hold('refresh');
    const started = performance.now();
    secondsToWait(await one.fetch('/api/me'));
    expect(performance.now() - started).toBeGreaterThan(1800);
    // The ten seconds that the first call has waited, which took two.
    vi.advanceTimersByTime(10_000);
    // Whoever comes now would wait as long for the same answer, and so would each of their calls.
    const later = performance.now();
    const answers = await inParallel(Array.from({ length: 20 }), () => one.fetch('/api/me'));
    for (const answer of answers) secondsToWait(answer);
    expect(performance.now() - later).toBeLessThan(1700);
    gate.release();
    await vi.waitFor(async () => {
      vi.advanceTimersByTime(1000);
      expect((await one.fetch('/api/me')).status).toBe(200);
    });
    expect(provider.calls.refresh).toBe(1);
  });

  test('end as they should when it says that the session is over', async () => {
    const { one, provider } = await startExpired();
    provider.fail('refresh', { times: 1 });
    secondsToWait(await one.fetch('/api/me'));
    provider.revokeGrants();
    vi.advanceTimersByTime(2000);
    expect((await one.fetch('/api/me')).at('code')).toBe('session_expired');
  });
});

/** Tries at the token endpoint, also those that reach nobody. */
function countedAttempts({ provider, logs }: World): () => number {
  return () => Math.max(provider.calls.refresh, logs.filter((line) => line.includes('token.refresh_failed')).length);
}

describe('where only something else of the provider is down,', () => {
  test('its keys, they are asked for a handful of times', async () => {
    const { one, provider } = await startExpired();
    provider.fail('jwks');
    // Keys of less than an hour stay in use.
    vi.advanceTimersByTime(3_600_000);
    provider.resetCalls();
    for (let call = 0; call < 400; call += 1) {
      secondsToWait(await one.fetch('/api/me'));
      vi.advanceTimersByTime(25);
    }
    expect(provider.calls.jwks).toBeGreaterThanOrEqual(1);
    expect(provider.calls.jwks).toBeLessThanOrEqual(6);
    expect(provider.calls.refresh).toBeLessThanOrEqual(1);
  });

  test('its metadata, after a restart, they are asked for a handful of times', async () => {
    const world = await startExpired();
    const { one, provider } = world;
    provider.fail('discovery');
    await world.restart();
    provider.resetCalls();
    for (let call = 0; call < 400; call += 1) {
      secondsToWait(await one.fetch('/api/me'));
      vi.advanceTimersByTime(25);
    }
    expect(provider.calls.discovery).toBeLessThanOrEqual(12);
    expect(provider.calls.refresh).toBe(0);
    provider.heal();
    await vi.waitFor(
      async () => {
        vi.advanceTimersByTime(1000);
        expect((await one.fetch('/api/me')).status).toBe(200);
      },
      { timeout: 10_000, interval: 100 },
    );
  });
});

describe('an API that refuses the token while the provider is down', () => {
  test('costs a handful of token requests, not one for each call', async () => {
    const { one, provider, api } = await startPeople(1);
    provider.resetCalls();
    provider.fail('refresh');
    api.rejectTokens(() => true);
    for (let call = 0; call < 400; call += 1) {
      secondsToWait(await one.fetch('/api/me'));
      vi.advanceTimersByTime(25);
    }
    expect(provider.calls.refresh).toBeGreaterThanOrEqual(2);
    expect(provider.calls.refresh).toBeLessThanOrEqual(5);
    provider.heal();
    api.rejectTokens(0);
    vi.advanceTimersByTime(31_000);
    expect((await one.fetch('/api/me')).status).toBe(200);
  });
});

function now(): number {
  return Math.floor(Date.now() / 1000) * 1000;
}

function overloaded(retryAfter: string): Failure {
  return { status: 503, headers: { 'retry-after': retryAfter } };
}

describe('a provider that says when to come again', () => {
  test.each<[string, (seconds: number) => string]>([
    ['in seconds', String],
    ['as a date', (seconds) => new Date(now() + seconds * 1000).toUTCString()],
    ['as a date of the old kind', (seconds) => rfc850(new Date(now() + seconds * 1000))],
  ])('%s is not asked before, and the answers count down', async (_, spelled) => {
    const { one, provider } = await startExpired();
    vi.setSystemTime(now());
    const undo = provider.fail('refresh', overloaded(spelled(60)));
    expect(secondsToWait(await one.fetch('/api/me'))).toBe(60);
    undo();
    for (const [after, left] of [
      [20, 40],
      [39, 1],
    ] as const) {
      vi.advanceTimersByTime(after * 1000);
      expect(secondsToWait(await one.fetch('/api/me'))).toBe(left);
    }
    expect(provider.calls.refresh).toBe(1);
    vi.advanceTimersByTime(1000);
    expect((await one.fetch('/api/me')).status).toBe(200);
    expect(provider.calls.refresh).toBe(2);
  });

  test.each<[string, () => string]>([
    ['a day from now', () => '86400'],
    ['a date next year', () => new Date(now() + 365 * 86_400_000).toUTCString()],
    ['a number beyond all bounds', () => '9'.repeat(400)],
  ])('%s is asked again after five minutes', async (_, spelled) => {
    const { one, provider } = await startExpired();
    const undo = provider.fail('refresh', overloaded(spelled()));
    expect(secondsToWait(await one.fetch('/api/me'))).toBeLessThanOrEqual(300);
    undo();
    vi.advanceTimersByTime(250_000);
    secondsToWait(await one.fetch('/api/me'));
    expect(provider.calls.refresh).toBe(1);
    vi.advanceTimersByTime(51_000);
    expect((await one.fetch('/api/me')).status).toBe(200);
  });

  test.each([
    ['at once', '0'],
    ['in the past', 'Wed, 21 Oct 2015 07:28:00 GMT'],
    ['in negative seconds', '-5'],
    ['in fractions', '1.5'],
    ['in words', 'soon'],
    ['in hexadecimal', '0x3c'],
    ['with an exponent', '1e3'],
    ['not at all', ''],
    ['at the 45th of Nevember', 'Foo, 45 Nev 2099 99:99:99 GMT'],
    ['twice', '60, 120'],
  ])('%s is asked as one that says nothing', async (_, value) => {
    const { one, provider } = await startExpired();
    const undo = provider.fail('refresh', overloaded(value));
    for (let call = 0; call < 5; call += 1) {
      expect(secondsToWait(await one.fetch('/api/me'))).toBeLessThanOrEqual(2);
    }
    expect(provider.calls.refresh).toBeLessThanOrEqual(2);
    undo();
    vi.advanceTimersByTime(2000);
    expect((await one.fetch('/api/me')).status).toBe(200);
  });

  test('is left alone by people whose tokens are good, too', async () => {
    const { one, provider } = await startPeople(1);
    almostExpireAccessToken();
    provider.resetCalls();
    provider.fail('refresh', overloaded('60'));
    for (let call = 0; call < 4; call += 1) {
      expect((await one.fetch('/api/me')).status).toBe(200);
      vi.advanceTimersByTime(1000);
    }
    expect(provider.calls.refresh).toBe(1);
    vi.advanceTimersByTime(3000);
    secondsToWait(await one.fetch('/api/me'));
    expect(provider.calls.refresh).toBe(1);
  });
});

/** `Sunday, 06-Nov-94 08:49:37 GMT`, which recipients must still read (RFC 9110 5.6.7). */
function rfc850(date: Date): string {
  const [, day, month, year, time] = /^\w+, (\d+) (\w+) \d\d(\d\d) (.*) GMT$/.exec(date.toUTCString()) ?? [];
  const weekday = date.toLocaleDateString('en-GB', { weekday: 'long', timeZone: 'UTC' });
  return `${weekday}, ${day}-${month}-${year} ${time} GMT`;
}

describe('fifty people whose tokens expire while the provider is down', () => {
  test('make no more requests of it than a few people would', async () => {
    const { people, provider } = await startExpired(50);
    provider.fail('refresh');
    for (let second = 0; second < 30; second += 1) {
      for (const browser of people) secondsToWait(await browser.fetch('/api/me'));
      vi.advanceTimersByTime(1000);
    }
    // Five until the breaker opens; then at most at 1, 3, 7, 15 and so on.
    expect(provider.calls.refresh).toBeGreaterThanOrEqual(6);
    expect(provider.calls.refresh).toBeLessThanOrEqual(15);
    expect(await Promise.all(people.map(isSignedIn))).toEqual(people.map(() => true));
  });

  test('are tried for by one of them at a time; the others hear of its outcome, or to come again', async () => {
    const { people, provider } = await startExpired(50);
    const undo = provider.fail('refresh');
    for (const browser of people) secondsToWait(await browser.fetch('/api/me'));
    undo();
    vi.advanceTimersByTime(31_000);
    provider.resetCalls();
    const gate = provider.hold('refresh');
    const [first, ...others] = people;
    const trial = first?.fetch('/api/me');
    await gate.arrived;
    const calls = inParallel(others, (browser) => browser.fetch('/api/me'));
    for (const browser of others) expect(await isSignedIn(browser)).toBe(true);
    expect(provider.calls.refresh).toBe(1);
    gate.release();
    expect((await trial)?.status).toBe(200);
    for (const { status } of await within(5, calls, 'the others wait')) expect([200, 503]).toContain(status);
    expect(statusesOf(await inParallel(others, (browser) => browser.fetch('/api/me')))).toEqual([200]);
    expect(provider.calls.refresh).toBe(50);
  });

  test('wait longer for the next one where the one that was tried failed', async () => {
    const { people, provider } = await startExpired(50);
    provider.fail('refresh');
    const round = async () => {
      const before = provider.calls.refresh;
      for (const answer of await inParallel(people, (browser) => browser.fetch('/api/me'))) secondsToWait(answer);
      return provider.calls.refresh - before;
    };
    expect(await round()).toBeGreaterThanOrEqual(5);
    const tries: number[] = [];
    for (let second = 1; second <= 120; second += 1) {
      vi.advanceTimersByTime(1000);
      const made = await round();
      expect(made).toBeLessThanOrEqual(1);
      if (made === 1) tries.push(second);
    }
    const gaps = tries.slice(1).map((at, index) => at - (tries[index] ?? 0));
    // Each is up to a quarter shorter than it could be, by chance.
    for (const [index, gap] of gaps.entries()) expect(gap).toBeGreaterThanOrEqual(0.7 * (gaps[index - 1] ?? 1));
    expect(tries.length).toBeGreaterThanOrEqual(4);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(31);
  });

  test('are all back when it is: the first of them opens the way for the others', async () => {
    const { people, provider } = await startExpired(50);
    await provider.down();
    for (let second = 0; second < 20; second += 1) {
      for (const answer of await inParallel(people, (browser) => browser.fetch('/api/me'))) secondsToWait(answer);
      vi.advanceTimersByTime(1000);
    }
    await provider.up();
    vi.advanceTimersByTime(31_000);
    expect((await people[0]?.fetch('/api/me'))?.status).toBe(200);
    expect(statusesOf(await inParallel(people, (browser) => browser.fetch('/api/me')))).toEqual([200]);
  });

  test('come all at once when it is back, and nobody waits for more than a second more', async () => {
    const { people, provider } = await startExpired(50);
    const undo = provider.fail('refresh');
    await inParallel(people, (browser) => browser.fetch('/api/me'));
    undo();
    vi.advanceTimersByTime(2000);
    await inParallel(people, (browser) => browser.fetch('/api/me'));
    vi.advanceTimersByTime(1000);
    expect(statusesOf(await inParallel(people, (browser) => browser.fetch('/api/me')))).toEqual([200]);
  });

  test('keep nobody from signing in or out', async () => {
    const { people, provider, client, api } = await startExpired(10);
    const undo = provider.fail('refresh');
    for (const browser of people) secondsToWait(await browser.fetch('/api/me'));
    const newcomer = client();
    await signIn(newcomer, 'bob');
    expect((await newcomer.fetch('/api/me')).status).toBe(200);
    expect(api.last().claims?.sub).toBe('bob');
    const [leaver] = people;
    expect((await leaver?.fetch('/bff/logout', { method: 'POST' }))?.status).toBe(200);
    expect((await leaver?.fetch('/api/me'))?.status).toBe(401);
    undo();
  });
});

describe('ten minutes without the provider', () => {
  test('cost people with good tokens nothing, the others no session, and it few requests', async () => {
    const world = await startWorld();
    const { provider, client } = world;
    const signInSome = async (count: number, tokenSeconds: number) => {
      provider.settings.lifetimes.accessToken = tokenSeconds;
      const browsers = Array.from({ length: count }, () => client());
      for (const browser of browsers) await signIn(browser);
      return browsers;
    };
    const provided = await signInSome(5, 1200);
    const waiting = await signInSome(20, 300);
    expireAccessToken();
    await provider.down();
    const attempts = countedAttempts(world);
    for (let second = 0; second < 600; second += 5) {
      expect(statusesOf(await inParallel(provided, (browser) => browser.fetch('/api/me')))).toEqual([200]);
      for (const answer of await inParallel(waiting, (browser) => browser.fetch('/api/me'))) {
        expect(secondsToWait(answer)).toBeLessThanOrEqual(38);
      }
      vi.advanceTimersByTime(5000);
    }
    // All at first, which is before the breaker has opened; then at 1, 3, 7, 15, and about every half minute.
    expect(attempts()).toBeGreaterThanOrEqual(15);
    expect(attempts()).toBeLessThanOrEqual(waiting.length + 35);
    await provider.up();
    vi.advanceTimersByTime(38_000);
    expect(statusesOf(await inParallel([...provided, ...waiting], (browser) => browser.fetch('/api/me')))).toEqual([
      200,
    ]);
    expect(provider.calls.refresh).toBe(waiting.length);
  });

  test('end without a storm: three hundred people are back as fast as it answers them', async () => {
    const link: Link = {};
    const store = createMemoryStore();
    onTestFinished(() => store.close());
    const { people, provider } = await startExpired(300, { store: linkStore(store, link) });
    const undo = provider.fail('refresh');
    for (let second = 0; second < 600; second += 30) {
      for (const browser of people.slice(0, 10)) secondsToWait(await browser.fetch('/api/me'));
      vi.advanceTimersByTime(30_000);
    }
    undo();
    provider.resetCalls();
    vi.advanceTimersByTime(38_000);
    expect((await people[0]?.fetch('/api/me'))?.status).toBe(200);
    const excess = watchExcess(provider);
    const gate = provider.hold('refresh');
    let claims = 0;
    link.before = async (operation) => void (claims += operation === 'claim' ? 1 : 0);
    const calls = inParallel(people, (browser) => browser.fetch('/api/me'));
    await gate.arrived;
    await sleep(500);
    expect(provider.calls.refresh).toBe(1 + 4);
    // Those in the line have claimed nothing. The four may have renewed their claims.
    expect(claims).toBeLessThanOrEqual(4 * 3);
    gate.release();
    // On a busy machine some may wait for longer than calls do; their refreshes go on.
    for (const answer of await calls) if (answer.status !== 200) secondsToWait(answer);
    expect(excess()).toBeLessThanOrEqual(4);
    await vi.waitFor(() => expect(provider.calls.refresh).toBe(people.length), { timeout: 20_000, interval: 100 });
    expect(statusesOf(await inParallel(people, (browser) => browser.fetch('/api/me')))).toEqual([200]);
    expect(provider.calls.refresh).toBe(people.length);
  }, 60_000);
});

/** By how many more than twice those that it has answered the requests that the provider has got were at most. */
function watchExcess({ server }: World['provider']): () => number {
  let [got, answered, excess] = [0, 0, 0];
  server.on('request', (_, response) => {
    got += 1;
    excess = Math.max(excess, got - 2 * answered);
    response.once('finish', () => (answered += 1));
  });
  return () => excess;
}

describe('a moment’s failure', () => {
  test.each<[string, (provider: World['provider']) => unknown]>([
    ['of one answer', (provider) => provider.fail('refresh', { times: 1 })],
    ['of one connection', (provider) => provider.reset('refresh', 1)],
    [
      'that asks for a second',
      (provider) => provider.fail('refresh', { status: 503, headers: { 'retry-after': '1' }, times: 1 }),
    ],
  ])('%s keeps one person out for a second at most, and the others not at all', async (_, fail) => {
    const { people, one, provider } = await startExpired(20);
    fail(provider);
    secondsToWait(await one.fetch('/api/me'));
    expect(statusesOf(await inParallel(people.slice(1), (browser) => browser.fetch('/api/me')))).toEqual([200]);
    vi.advanceTimersByTime(1000);
    expect((await one.fetch('/api/me')).status).toBe(200);
  });

  test('that hits fifty people at once keeps them out for a second at most', async () => {
    const { people, provider } = await startExpired(50);
    provider.fail('refresh', { times: 50 });
    const answers = await inParallel(people, (browser) => browser.fetch('/api/me'));
    expect(statusesOf(answers)).toEqual([503]);
    provider.heal();
    vi.advanceTimersByTime(1000);
    for (const browser of people) expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('of each fourth answer opens no breaker: nobody else is refused', async () => {
    const { people, provider } = await startExpired(40);
    for (const [index, browser] of people.entries()) {
      const fails = index % 4 === 3;
      if (fails) provider.fail('refresh', { times: 1 });
      expect((await browser.fetch('/api/me')).status).toBe(fails ? 503 : 200);
    }
  });
});

describe('what is no outage', () => {
  test.each<[string, Failure]>([
    ['an error of its own', { status: 400, body: { error: 'access_denied' } }],
    ['another error of its own', { status: 400, body: { error: 'invalid_request' } }],
    ['an error of the provider’s', { status: 500 }],
  ])('one session that can’t be refreshed, with %s: nobody else is kept out', async (_, failure) => {
    const { people, one, provider } = await startExpired(5);
    const outcomes: (number | undefined)[] = [];
    for (let second = 0; second < 500; second += 1) {
      const undo = provider.fail('refresh', failure);
      await one.fetch('/api/polls');
      undo();
      vi.advanceTimersByTime(1000);
      // Now and then, in the quiet of the night, somebody else comes.
      if (second % 125 === 124) outcomes.push((await people[(second + 1) / 125]?.fetch('/api/me'))?.status);
    }
    expect(outcomes).toEqual([200, 200, 200, 200]);
  });

  test('ten sessions that the provider has revoked: the eleventh person is served', async () => {
    const { people, provider } = await startPeople(11);
    expireAccessToken();
    provider.fail('refresh', { status: 400, body: { error: 'invalid_grant' }, times: 10 });
    for (const browser of people.slice(0, 10)) {
      expect((await browser.fetch('/api/me')).at('code')).toBe('session_expired');
    }
    expect((await people[10]?.fetch('/api/me'))?.status).toBe(200);
  });

  test('ten failed sign-ins: a refresh is made all the same', async () => {
    const { one, provider, client } = await startExpired();
    provider.fail('code', { times: 10 });
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const browser = client();
      const callback = await leadToCallback(browser);
      const page = await browser.navigate(callback.href, { initiator: provider.issuer, follow: false });
      expect(page.status).toBe(503);
    }
    expect((await one.fetch('/api/me')).status).toBe(200);
  });

  test('tokens that are good, which are used meanwhile, by everybody and without waiting', async () => {
    const { people, provider } = await startPeople(20);
    almostExpireAccessToken();
    provider.resetCalls();
    provider.fail('refresh');
    for (let second = 0; second < 4; second += 1) {
      expect(statusesOf(await inParallel(people, (browser) => browser.fetch('/api/me')))).toEqual([200]);
      vi.advanceTimersByTime(1000);
    }
    expect(provider.calls.refresh).toBeLessThanOrEqual(25);
  });
});
