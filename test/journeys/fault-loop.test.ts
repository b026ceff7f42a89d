/**
 * One call fails, at every position of a journey over two instances, and in every way: each operation of the store, each
 * request to the provider and each call to the API, before it takes effect, after it took effect, and by not answering.
 * Whatever fails: whoever tries again can work on, nobody is signed out who did not sign out, nobody stays signed in who
 * did, and no refresh token is shown twice but where the provider's answer to it was lost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { fakeMovingDate } from '../support/clock.ts';
import { linkStore, type Link } from '../support/linked-store.ts';
import { startWorld, within, type World } from '../support/world.ts';

type Mode = 'cookie' | 'store';

/** Something of which the journey makes several calls, one of which is to fail. */
interface FaultyPart {
  readonly part: string;
  /** How the call fails. */
  readonly way: string;
  /** Makes the call at the position fail, counted from now. @returns whether it was made */
  readonly fail: (world: FaultyWorld, position: number) => () => boolean;
}

interface FaultyWorld extends World {
  readonly link: Link;
  readonly otherPort: number;
}

/** A store that answers nothing is given up after about a second. */
const storeTimeoutMs = 1000;

function storeFails(way: string, when: 'before' | 'after', ms: number): FaultyPart {
  return {
    part: 'operation of the store',
    way,
    fail({ link }, position) {
      let count = 0;
      link[when] = async (operation) => {
        count += 1;
        if (count !== position + 1) return;
        await sleep(ms);
        throw new Error(`the fault of the test, at ${operation}`);
      };
      return () => count > position;
    },
  };
}

function providerFails(way: string, fail: (provider: World['provider'], position: number) => unknown): FaultyPart {
  return {
    part: 'request to the provider',
    way,
    fail({ provider }, position) {
      const before = provider.calls.backChannel;
      fail(provider, position);
      return () => provider.calls.backChannel - before > position;
    },
  };
}

/** @param fail answers the request in a way of its own; `count` is the API's */
function apiFails(way: string, handle: NonNullable<Parameters<World['api']['handleRaw']>[0]>): FaultyPart {
  return {
    part: 'call to the API',
    way,
    fail({ api }, position) {
      let count = 0;
      api.handleRaw((request, response) => {
        count += 1;
        if (count === position + 1) handle(request, response);
        else response.end('{}');
      });
      return () => count > position;
    },
  };
}

const parts: readonly FaultyPart[] = [
  storeFails('fails before it takes effect', 'before', 0),
  storeFails('fails after it took effect', 'after', 0),
  storeFails('hangs, without effect', 'before', storeTimeoutMs),
  storeFails('hangs after it took effect', 'after', storeTimeoutMs),
  providerFails('is cut off before it takes effect', (provider, position) =>
    provider.reset('backChannel', 1, position),
  ),
  providerFails('is cut off after it took effect', (provider, position) =>
    provider.dropAfterCommit('backChannel', 1, position),
  ),
  providerFails('hangs', (provider, position) => provider.hang('backChannel', 1, position)),
  providerFails('is answered with 500', (provider, position) =>
    provider.fail('backChannel', { times: 1, skip: position }),
  ),
  providerFails('is answered with a page of HTML', (provider, position) =>
    provider.fail('backChannel', { status: 200, body: '<html>', times: 1, skip: position }),
  ),
  apiFails('is cut off', (request) => request.socket.destroy()),
  apiFails('is cut off in its answer', (_, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{', () => response.destroy());
  }),
  apiFails('hangs', () => undefined),
];

async function startFaultyWorld(mode: Mode): Promise<FaultyWorld> {
  const store = createMemoryStore();
  onTestFinished(() => store.close());
  const link: Link = {};
  const world = await startWorld({
    store: linkStore(store, link),
    config: (base) => ({
      ...base,
      session: { mode, idleSeconds: 3600 },
      provider: { timeoutSeconds: 2 },
      api: [{ path: '/api', target: String(base.api?.[0]?.target), timeoutSeconds: 1 }],
    }),
    // Counted here.
    repeatsRefreshTokens: true,
  });
  const { port } = await world.addInstance();
  return Object.assign(world, { link, otherPort: port });
}

/** What the journey of one person came to. */
interface Course {
  /** Answers to calls of somebody signed in, in their order. */
  readonly answers: readonly Exchange[];
  /** Cookies that the browser has had, the last ones last. */
  readonly copies: readonly BrowserClient[];
  readonly logins: number;
}

/** In milliseconds, of real time: longer than a claim that nobody gives up lasts. */
const patienceMs = 9000;

async function travel(world: FaultyWorld): Promise<Course> {
  const { client, otherPort, origin, server } = world;
  const browser = client();
  const answers: Exchange[] = [];
  const copies: BrowserClient[] = [];
  let logins = 0;

  /** Tries again, as a person does, until it succeeds. */
  async function retry(attempt: () => Promise<Exchange>, isDone: (answer: Exchange) => boolean): Promise<void> {
    for (const endsAt = performance.now() + patienceMs; ; await sleep(100)) {
      const answer = await within(8, attempt(), 'the call hung');
      answers.push(answer);
      if (isDone(answer)) return;
      if (performance.now() > endsAt) throw new Error(`no way on: ${answer.url} ${answer.status} ${answer.text}`);
    }
  }

  const signIn = () =>
    retry(
      async () => {
        logins += 1;
        await browser.navigate('/bff/login', { initiator: origin });
        return browser.fetch('/bff/session');
      },
      (answer) => answer.status === 200 && answer.at('authenticated') === true,
    );

  async function call(path: string, port: number): Promise<void> {
    const caller = browser.clone();
    copies.push(caller);
    await retry(
      async () => {
        browser.routeTo(port, origin);
        const answer = await browser.fetch(path).catch(brokenOff);
        if (answer.status === 401) await signIn();
        return answer;
      },
      ({ status }) => status === 200,
    );
  }

  const here = server.port;
  await signIn();
  await call('/api/here', here);
  await call('/api/there', otherPort);
  for (const [first, second] of [
    [here, otherPort],
    [otherPort, here],
  ] as const) {
    vi.advanceTimersByTime(301_000);
    await Promise.all([call('/api/first', first), call('/api/also-first', first)]);
    await call('/api/second', second);
  }
  browser.routeTo(here, origin);
  copies.push(browser.clone());
  await retry(
    () => browser.fetch('/bff/logout', { method: 'POST' }),
    ({ status }) => status === 200,
  );
  return { answers, copies, logins };
}

/** An answer whose end does not come is no answer, and a call may be tried again. */
function brokenOff(error: unknown): Exchange {
  if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  return { status: 0, url: 'broken off', text: '', at: () => undefined } as unknown as Exchange;
}

/** What somebody who is signed in may be answered with while one call fails, to be tried again. */
const passing = new Set([200, 502, 503, 504, 0]);

describe.each<Mode>(['cookie', 'store'])('with sessions in mode %s, a fault of one', (mode) => {
  test.each(parts)('$part that $way, at every position, tears nothing', { timeout: 240_000 }, async (fault) => {
    fakeMovingDate();
    const world = await startFaultyWorld(mode);
    const torn: string[] = [];
    let position = 0;
    for (let isMade = true; isMade; position += 1) {
      const reusedBefore = world.provider.reusedRefreshTokens;
      const made = fault.fail(world, position);
      const course = await travel(world);
      isMade = made();
      heal(world);
      const reused = world.provider.reusedRefreshTokens - reusedBefore;
      const found = [...tearsOf(course, reused, fault), ...(await revivedOf(course, world))];
      torn.push(...found.map((tear) => `at position ${position}: ${tear}`));
      vi.advanceTimersByTime(60_000);
    }
    expect(torn).toEqual([]);
    expect(position).toBeGreaterThan(5);
    expect(world.logs.filter((line) => /internal_error|refresh_rejected/.test(line))).toEqual([]);
    world.assertNoSecrets();
  });
});

function heal({ provider, api, link }: FaultyWorld): void {
  provider.heal();
  api.handleRaw();
  delete link.before;
  delete link.after;
}

/** @param reused how many refresh tokens were shown again */
function tearsOf({ answers, logins }: Course, reused: number, fault: FaultyPart): string[] {
  const mayLose = losesAnswers(fault) && reused === 1;
  const wrong = answers.filter(({ status }) => !passing.has(status) && !(mayLose && status === 401));
  // Who is signed out makes two calls at a time, and signs in again for each.
  const allowed = mayLose ? 3 : 2;
  return [
    ...wrong.map(({ url, status, text }) => `${url} was answered with ${status} ${text}`),
    ...(reused > 0 && !mayLose ? [`${reused} refresh tokens were shown again`] : []),
    ...(logins > allowed ? [`it took ${logins} logins`] : []),
  ];
}

/** Which cookies are served after the sign-out, and go on to be. */
async function revivedOf({ copies }: Course, { server, otherPort, origin }: FaultyWorld): Promise<string[]> {
  const served: string[] = [];
  for (const [index, copy] of copies.entries()) {
    for (const port of [server.port, otherPort]) {
      copy.routeTo(port, origin);
      const isRefused = async () => {
        const { status } = await copy.fetch('/api/after');
        if (status !== 401) throw new Error(`cookie ${index} is served with ${status}`);
      };
      // An instance whose store failed tells it in a moment.
      await vi
        .waitFor(isRefused, { timeout: 3000, interval: 50 })
        .catch((error: unknown) => served.push(String(error)));
    }
    copy.close();
  }
  return served;
}

/** Whether the provider may have rotated a refresh token that it is shown again. */
function losesAnswers({ part, way }: FaultyPart): boolean {
  return part === 'request to the provider' && way !== 'is cut off before it takes effect';
}
