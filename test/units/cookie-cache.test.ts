/** The bound of the cache of opened cookies: it counts what a session really takes, and drops what was used longest ago. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createCookieCache, ownCopy } from '../../src/session/cookie-cache.ts';
import { createEntry } from '../../src/session/session-entry.ts';
import { createSessionSealer } from '../../src/session/session-sealer.ts';
import type { Session } from '../../src/session/session.ts';

const mebibyte = 1024 * 1024;
const sealer = createSessionSealer(['a sealing secret for tests of the cache']);

interface Sizes {
  readonly text: number;
  /** Whether the browser has shown its cookie. */
  readonly isShown?: boolean;
  readonly accessToken: number;
  readonly userInfo?: number;
}

/** Adds sessions of these sizes to a cache of 16 MB. @returns how many of them it keeps */
function keptOf(count: number, { text, isShown = false, accessToken, userInfo }: Sizes): number {
  const cache = createCookieCache(16);
  const texts: string[] = [];
  for (let index = 0; index < count; index++) {
    const session: Session = {
      id: `session-${index}`,
      generation: 0,
      createdAt: 0,
      sealedActivityAt: 0,
      tokensIssuedAt: 0,
      tokens: {
        accessToken: 'a'.repeat(accessToken),
        accessTokenExpiresAt: 300,
        refreshToken: 'r'.repeat(600),
        idToken: 'i'.repeat(1100),
      },
      userInfo: userInfo === undefined ? undefined : { claim: 'c'.repeat(userInfo) },
    };
    const cookie = randomBytes(text / 2).toString('hex');
    texts.push(cookie);
    const cookieText = isShown ? undefined : cookie;
    cache.add(cookie, createEntry(session, { cookieText, isStored: false, sealer, names: [] }), session);
  }
  const isKept = texts.map((each) => cache.find(each) !== undefined);
  // The oldest are dropped first.
  expect(isKept).toEqual(isKept.toSorted((one, other) => Number(one) - Number(other)));
  return isKept.filter(Boolean).length;
}

describe('a cache of 16 MB', () => {
  test('keeps 2,600 sessions of a usual size, and not 3,000', () => {
    const usual = { text: 1900, isShown: true, accessToken: 1500 };
    expect(keptOf(2600, usual)).toBe(2600);
    expect(keptOf(4000, usual)).toBeLessThan(3000);
  });

  test('keeps fewer whose cookies are yet to reach their browsers', () => {
    const usual = { text: 1900, accessToken: 1500 };
    expect(keptOf(1900, usual)).toBe(1900);
    expect(keptOf(3000, usual)).toBeLessThan(2200);
  });

  test.each([
    ['whose cookies are large', { text: 12_000, accessToken: 1500 }],
    ['whose tokens are large, although they compress to a small cookie', { text: 1900, accessToken: 12_000 }],
    ['with much UserInfo', { text: 1900, accessToken: 1500, userInfo: 12_000 }],
  ])('keeps fewer sessions %s', (_, sizes) => {
    expect(keptOf(2000, sizes)).toBeGreaterThan(500);
    expect(keptOf(2000, sizes) * 12_000).toBeLessThan(16 * mebibyte);
  });

  test('keeps a session of the largest size that can be sealed', () => {
    expect(keptOf(3, { text: 16_000, accessToken: 5 * mebibyte })).toBeGreaterThan(0);
  });
});

test('a cookie that was dropped is not found by the connection that showed it last, either', () => {
  const cache = createCookieCache(16);
  const large = {
    accessToken: 'a'.repeat(6 * mebibyte),
    accessTokenExpiresAt: 300,
    refreshToken: undefined,
    idToken: '',
  };
  const times = { createdAt: 0, sealedActivityAt: 0, tokensIssuedAt: 0 };
  const connections = ['first', 'second', 'third'].map((text) => {
    const session: Session = { id: text, generation: 0, ...times, tokens: large, userInfo: undefined };
    const entry = createEntry(session, { cookieText: text, isStored: false, sealer, names: [] });
    const connection = {};
    expect(cache.find(text, connection)).toBeUndefined();
    const cookie = cache.add(text, entry, session);
    expect(cache.find(text, connection)).toBe(cookie);
    return { text, connection };
  });
  const found = connections.map(({ text, connection }) => cache.find(text, connection)?.entry.cookieText);
  expect(found).toEqual([undefined, 'second', 'third']);
});

test('a text of its own is the same text', () => {
  const header = `a=b; session=${'x'.repeat(2000)}; c=d`;
  expect(ownCopy(header.slice(13, 2013))).toBe('x'.repeat(2000));
});
