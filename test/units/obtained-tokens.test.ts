/** What is obtained for sessions: how long it is held, and for which form of a session it counts. */
import type { IncomingMessage } from 'node:http';
import { beforeEach, expect, test } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import type { SessionEntry } from '../../src/session/sessions.ts';
import type { TokenSet } from '../../src/token-set.ts';
import { createKeptTokens, type ObtainedToken } from '../../src/tokens/kept-tokens.ts';
import { createObtainedTokens } from '../../src/tokens/obtained-tokens.ts';
import type { Refresher } from '../../src/tokens/refresh.ts';
import type { TokenCall } from '../../src/tokens/token-policy.ts';
import { fakeDate } from '../support/clock.ts';

beforeEach(() => fakeDate());

function entryOf(accessToken: string): SessionEntry {
  return { session: { tokens: { accessToken } } } as SessionEntry;
}

function callOf(entry: SessionEntry): TokenCall {
  const request = {} as IncomingMessage;
  return { request, entry, path: '/', sentToken: undefined, obtained: undefined, wasAskedForNonce: false };
}

/** A policy whose tokens name the session's own. @param room how many of them have a place in memory */
function startPolicy({ room = 10, lifetimeSeconds = 60 } = {}) {
  const asked: string[] = [];
  let answering = Promise.resolve();
  async function obtain({ accessToken: subject }: TokenSet): Promise<ObtainedToken> {
    asked.push(subject);
    await answering;
    const expiresAt = nowSeconds() + lifetimeSeconds;
    return {
      lines: ['authorization', `Bearer for ${subject}`],
      subject,
      claims: { subject },
      expiresAt,
      dueAt: expiresAt,
    };
  }
  const { find, ...policy } = createObtainedTokens(
    {
      route: '/api',
      headerName: 'authorization',
      keyOf: ({ accessToken }) => accessToken,
      obtain,
      refused: () => new Error('refused'),
      isAboutSubject: false,
    },
    { kept: createKeptTokens<ObtainedToken>(room * 1000, () => 400), refresher: {} as Refresher },
  );
  return {
    asked,
    find,
    policy,
    /** @returns what lets the provider answer */
    hold: () => {
      const held = Promise.withResolvers<void>();
      answering = held.promise;
      return () => held.resolve();
    },
  };
}

test('what has no place in memory any more is not held by its session either', async () => {
  const { asked, policy } = startPolicy({ room: 1 });
  const [alice, bob] = [entryOf('a'), entryOf('b')];
  await policy.headers(callOf(alice));
  await policy.headers(callOf(bob));
  await policy.headers(callOf(alice));
  expect(asked).toEqual(['a', 'b', 'a']);
});

test('a warm call asks nobody, and waits for nobody', async () => {
  const { asked, policy } = startPolicy();
  const alice = entryOf('a');
  await policy.headers(callOf(alice));
  expect(policy.headers(callOf(alice))).toEqual(['authorization', 'Bearer for a']);
  expect(asked).toEqual(['a']);
});

test('a session that is refreshed meanwhile does not go on with what was obtained for its earlier token', async () => {
  const { policy, hold } = startPolicy();
  const alice = entryOf('a');
  const answer = hold();
  const first = policy.headers(callOf(alice));
  alice.session = entryOf('a2').session;
  answer();
  await first;
  expect(await policy.headers(callOf(alice))).toEqual(['authorization', 'Bearer for a2']);
});

test('a call carries what it was judged by, though nothing is kept', async () => {
  const { asked, find, policy } = startPolicy({ lifetimeSeconds: 0 });
  const call = callOf(entryOf('a'));
  await find(call, entryOf('a'));
  expect(policy.headers(call)).toEqual(['authorization', 'Bearer for a']);
  expect(asked).toEqual(['a']);
  await policy.renew(call);
  await policy.headers(call);
  expect(asked).toEqual(['a', 'a']);
});
