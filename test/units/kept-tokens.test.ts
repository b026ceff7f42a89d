/** What was obtained for calls, as it is kept: within its memory, one request at a time, and with pauses after failures. */
import { beforeEach, expect, test, vi } from 'vitest';
import { BffError } from '../../src/http/errors.ts';
import { UnaskedError } from '../../src/oidc/circuit-breaker.ts';
import { createKeptTokens, dueAhead, keyOf, type Kept } from '../../src/tokens/kept-tokens.ts';
import { fakeDate } from '../support/clock.ts';

interface Token extends Kept {
  readonly text: string;
}

const now = () => Math.floor(Date.now() / 1000);
const lasting = (text: string): Token => ({ text, dueAt: now() + 100, expiresAt: now() + 120 });
const fails = async (): Promise<Token> => {
  throw unavailable();
};
const unasked = async (): Promise<Token> => {
  throw new UnaskedError('provider_unavailable', 'paused for all');
};
const unavailable = () => new BffError('provider_unavailable', 'not now', { headers: { 'retry-after': '2' } });

beforeEach(() => fakeDate());

test('keeps no more than its memory holds, and drops what was used longest ago', async () => {
  const kept = createKeptTokens<Token>(10_000, ({ text }) => text.length);
  for (let at = 0; at < 50; at += 1) {
    await kept.find(`key ${at}`, async () => lasting('x'.repeat(1000)));
    await kept.find('key 0', async () => lasting('anew'));
  }
  const left = Array.from({ length: 50 }, (_, at) => kept.peek(`key ${at}`)).filter((token) => token !== undefined);
  expect(left.length).toBeGreaterThan(2);
  expect(left.length).toBeLessThan(10);
  expect(kept.peek('key 0')?.text).toBe('x'.repeat(1000));
});

test('asks once for all who wait, and gives each the error', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const make = vi.fn<() => Promise<Token>>(fails);
  const outcomes = await Promise.allSettled([kept.find('a', make), kept.find('a', make), kept.find('b', make)]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(make).toHaveBeenCalledTimes(2);
});

test('pauses longer after each failure from the second on, and no longer than half a minute', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const make = vi.fn<() => Promise<Token>>(fails);
  const attempt = async () => Promise.resolve(kept.find('a', make)).catch((error: unknown) => error);
  await attempt();
  await attempt();
  expect(make).toHaveBeenCalledTimes(2);
  for (const [at, waitMs] of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].entries()) {
    vi.advanceTimersByTime(waitMs - 1);
    const error = await attempt();
    expect(error).toMatchObject({ code: 'provider_unavailable', headers: { 'retry-after': '1' } });
    expect(make).toHaveBeenCalledTimes(at + 2);
    vi.advanceTimersByTime(1);
    await attempt();
    expect(make).toHaveBeenCalledTimes(at + 3);
  }
  vi.advanceTimersByTime(30_000);
  expect(await kept.find('a', async () => lasting('at last'))).toMatchObject({ text: 'at last' });
});

test('does not pause for a question that the provider was not asked', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  for (let count = 0; count < 9; count += 1) {
    await expect(kept.find('a', unasked)).rejects.toBeInstanceOf(UnaskedError);
  }
  expect(await kept.find('a', async () => lasting('at once'))).toMatchObject({ text: 'at once' });
});

test('waits for as long as the provider asks for', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const make = vi.fn<() => Promise<Token>>(async () => {
    const response = new Response(null, { status: 429, headers: { 'retry-after': '60' } });
    throw new BffError('provider_unavailable', 'not now', { cause: new Error('busy', { cause: response }) });
  });
  await expect(kept.find('a', make)).rejects.toMatchObject({ code: 'provider_unavailable' });
  vi.advanceTimersByTime(59_000);
  await expect(kept.find('a', make)).rejects.toMatchObject({ headers: { 'retry-after': '1' } });
  expect(make).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1000);
  await expect(kept.find('a', make)).rejects.toBeInstanceOf(BffError);
  expect(make).toHaveBeenCalledTimes(2);
});

test('gives what is due while nothing newer can be had, until it expires', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const first = await kept.find('a', async () => lasting('first'));
  vi.advanceTimersByTime(105_000);
  expect(await kept.find('a', fails)).toBe(first);
  vi.advanceTimersByTime(15_000);
  await expect(Promise.resolve(kept.find('a', fails))).rejects.toMatchObject({ code: 'provider_unavailable' });
});

test('does not keep what has expired already', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const make = vi.fn<() => Promise<Token>>(async () => ({ text: 'old', dueAt: now(), expiresAt: now() }));
  await kept.find('a', make);
  await kept.find('a', make);
  expect(make).toHaveBeenCalledTimes(2);
});

test('what is dropped is used up, wherever it is remembered; what came after it stays', async () => {
  const kept = createKeptTokens<Token>(10_000, () => 1);
  const first = await kept.find('a', async () => lasting('first'));
  kept.drop('a', first);
  expect(first).toMatchObject({ dueAt: 0, expiresAt: 0 });
  const second = await kept.find('a', async () => lasting('second'));
  kept.drop('a', first);
  expect(kept.peek('a')).toBe(second);
});

test('keys differ wherever their parts do', () => {
  const keys = [keyOf('a', 'bc'), keyOf('ab', 'c'), keyOf('a', ['bc']), keyOf('a', 'bc', undefined), keyOf('a"', 'bc')];
  expect(new Set(keys).size).toBe(keys.length);
});

test('a token is due ahead of its expiry, but never in the first half of its lifetime', () => {
  expect(dueAhead(now() + 300, 30)).toBe(now() + 270);
  expect(dueAhead(now() + 40, 30)).toBe(now() + 20);
});
