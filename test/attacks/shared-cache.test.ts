/**
 * The unlucky user's story: "Our company has a caching proxy, and the app stands behind a CDN. This morning I opened my
 * orders and saw a colleague's. Nobody attacked anything: the API says `max-age=60`, which is safe for what is asked with
 * an `Authorization` (RFC 9111 3.5), and the cache in front of Sallyport sees none. It sees two GETs of one address."
 *
 * Must hold: whatever HTTP derives from `Authorization` is said anew on the side that has only a cookie.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { readBody, startListener } from '../support/listener.ts';
import { fieldNames, startSharedCache, type SharedCache, type SharedCacheOptions } from '../support/shared-cache.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

type Headers = Record<string, string | string[]>;

let world: World;
let alice: BrowserClient;
let bob: BrowserClient;
let stranger: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  [alice, bob, stranger] = [world.client(), world.client(), world.client()];
  await signIn(alice, 'alice');
  await signIn(bob, 'bob');
});

beforeEach(() => {
  world.api.requests.length = 0;
  world.api.answer();
});

afterAll(() => world.stop());

/** Puts a cache between everybody and Sallyport, for one test. */
async function behindCache(options?: SharedCacheOptions): Promise<SharedCache> {
  const cache = await startSharedCache(world.server.port, options);
  const route = (port: number) => [alice, bob, stranger].forEach((client) => client.routeTo(port, world.origin));
  route(cache.port);
  onTestFinished(async () => {
    route(world.server.port);
    await cache.close();
  });
  return cache;
}

/** The API answers each person with their own name, and with these headers. */
function answerPersonally(headers: Headers, status = 200): void {
  world.api.answer((request) =>
    request.headers['if-none-match'] !== undefined && request.headers['if-none-match'] === headers['etag']
      ? { status: 304, headers }
      : { status, headers, body: { sub: request.claims?.sub ?? null } },
  );
}

/** Whose answer each of them gets, one after the other. */
async function whoSeesWhom(path: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  for (const [name, client] of Object.entries({ alice, bob, stranger, 'alice again': alice })) {
    const answer = await client.fetch(path);
    seen[name] = answer.status === 401 ? 401 : answer.at('sub');
  }
  return seen;
}

const everybodyTheirOwn = { alice: 'alice', bob: 'bob', stranger: 401, 'alice again': 'alice' };

const tomorrow = new Date(Date.now() + 86_400_000).toUTCString();
const lastYear = new Date(Date.now() - 31_536_000_000).toUTCString();

/** Safe as an answer to a request with `Authorization`, each of them. */
const personal: ReadonlyArray<readonly [story: string, headers: Headers]> = [
  ['a lifetime', { 'cache-control': 'max-age=60' }],
  ['a lifetime in capitals', { 'Cache-Control': 'MAX-AGE=60' }],
  ['a lifetime in two lines', { 'cache-control': ['max-age=60', 'stale-if-error=5'] }],
  ['a lifetime for a proxy to hold to', { 'cache-control': 'max-age=60, proxy-revalidate' }],
  ['nothing but an expiry', { expires: tomorrow }],
  ['an expiry and an empty Cache-Control', { expires: tomorrow, 'cache-control': '' }],
  ['an expiry and a Cache-Control of commas', { expires: tomorrow, 'cache-control': ' , ,' }],
  ['nothing but a date of change', { 'last-modified': lastYear }],
  ['a date of change and a word about transforming', { 'last-modified': lastYear, 'cache-control': 'no-transform' }],
  ['one entity tag for everybody’s first version', { etag: '"v1"', 'cache-control': 'no-cache' }],
  ['the same, already stale', { etag: '"v1"', 'cache-control': 'max-age=0' }],
  ['one field that is private', { 'cache-control': 'max-age=60, private="x-trace"' }],
  ['one field that is private, without quotes', { 'cache-control': 'private=x-trace, max-age=60' }],
  ['the word public in quotes', { 'cache-control': 'max-age=60, ext="public, s-maxage=60, must-revalidate"' }],
  ['an escaped quote before the word', { 'cache-control': 'max-age=60, ext="\\", public"' }],
  ['the word private in quotes', { 'cache-control': 'max-age=60, ext="private, no-store"' }],
  ['words that hold the word public', { 'cache-control': 'max-age=60, x-public, publicity, not-must-revalidate=1' }],
  ['words that hold the word private', { 'cache-control': 'max-age=60, privately, x-private, x-no-store' }],
  ['public behind a wrong separator', { 'cache-control': 'max-age=60; public' }],
  ['the token as what selects it', { 'cache-control': 'max-age=60', vary: 'Authorization' }],
];

/** What the API gives to shared caches, told apart by the token. */
const selectedByToken: ReadonlyArray<readonly [story: string, headers: Headers]> = [
  ['public', { 'cache-control': 'public, max-age=60', vary: 'Authorization' }],
  ['for shared caches', { 'cache-control': 's-maxage=60', vary: 'Accept-Language, AUTHORIZATION' }],
  ['to be revalidated', { 'cache-control': 'must-revalidate, max-age=60', vary: ['Accept', 'authorization'] }],
  ['public, by the cookie besides', { 'cache-control': 'public, max-age=60', vary: 'Cookie, Authorization' }],
];

/** What only a CDN hears. */
const targeted: ReadonlyArray<readonly [story: string, headers: Headers]> = [
  ['all CDNs', { 'CDN-Cache-Control': 'max-age=60' }],
  ['all CDNs, in spite of what browsers hear', { 'CDN-Cache-Control': 'max-age=60', 'cache-control': 'no-store' }],
  ['one CDN', { 'Cloudflare-CDN-Cache-Control': 'max-age=60', 'cache-control': 'private' }],
  ['another CDN', { 'Netlify-CDN-Cache-Control': 'max-age=60', 'CDN-Cache-Control': 'no-store' }],
  ['a CDN of one’s own', { 'X-Own-Cache-Control': 'max-age=60', 'CDN-Cache-Control': 'private' }],
  ['all CDNs, in two lines', { 'CDN-Cache-Control': ['max-age=60', 'stale-if-error=5'] }],
  ['all CDNs, that it is not public', { 'CDN-Cache-Control': 'max-age=60, public=?0' }],
];
const targets = [
  'x-own-cache-control',
  'netlify-cdn-cache-control',
  'cloudflare-cdn-cache-control',
  'cdn-cache-control',
];

describe('everybody gets their own answer where the API says', () => {
  test.each(personal)('%s', async (_story, headers) => {
    const cache = await behindCache();
    answerPersonally(headers);
    expect(await whoSeesWhom('/api/me')).toEqual(everybodyTheirOwn);
    expect(cache.reused).toEqual([]);
  });

  test.each([203, 300, 404, 410, 501])('a lifetime with status %i', async (status) => {
    await behindCache();
    answerPersonally({ 'cache-control': 'max-age=60' }, status);
    expect(await whoSeesWhom('/api/me')).toEqual(everybodyTheirOwn);
  });

  test.each(selectedByToken)('%s, told apart by the token', async (_story, headers) => {
    const cache = await behindCache();
    answerPersonally(headers);
    expect(await whoSeesWhom('/api/me')).toEqual(everybodyTheirOwn);
    // It is for shared caches, after all: who asks again is answered from there.
    expect(cache.reused).toEqual(['/api/me']);
  });

  test.each(targeted)('a lifetime to %s', async (_story, headers) => {
    await behindCache({ targeted: targets });
    answerPersonally(headers);
    expect(await whoSeesWhom('/api/me')).toEqual(everybodyTheirOwn);
  });

  test.each([
    ['Surrogate-Control', { 'Surrogate-Control': 'max-age=60' }],
    ['X-Accel-Expires', { 'X-Accel-Expires': '60' }],
  ])('a lifetime in %s, which knows no “private”', async (_story, headers: Headers) => {
    await behindCache({ surrogate: true });
    answerPersonally(headers);
    expect(await whoSeesWhom('/api/me')).toMatchObject({ bob: 'bob', stranger: 401 });
  });

  test('nothing to the first, and more to the next', async () => {
    await behindCache();
    answerPersonally({});
    expect(await whoSeesWhom('/api/me')).toEqual(everybodyTheirOwn);
  });
});

describe('through the cache', () => {
  test('people sign in, each as themselves, and what is ours is never kept', async () => {
    const cache = await behindCache();
    const [first, second, third] = [world.client(), world.client(), world.client()];
    for (const client of [first, second, third]) client.routeTo(cache.port, world.origin);
    expect((await third.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await third.fetch('/api/me')).status).toBe(401);
    await signIn(first, 'alice');
    await signIn(second, 'bob');
    expect((await first.fetch('/bff/session')).at('user.sub')).toBe('alice');
    expect((await second.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect((await third.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await third.fetch('/api/me')).status).toBe(401);
    expect(cache.kept().filter((path) => /^\/(?:bff|api)\b/.test(path))).toEqual([]);
  });

  test.each(['public, max-age=60', 's-maxage=60', 'must-revalidate, max-age=60', 'PUBLIC, Max-Age=60'])(
    'what the API gives to everybody (%s) is everybody’s',
    async (cacheControl) => {
      const cache = await behindCache();
      answerPersonally({ 'cache-control': cacheControl });
      await alice.fetch('/api/catalogue');
      expect((await bob.fetch('/api/catalogue')).at('sub')).toBe('alice');
      expect(world.api.requests).toHaveLength(1);
      expect(cache.reused).toEqual(['/api/catalogue']);
    },
  );
});

/** How many of two people, with these headers of theirs, are answered from the cache alone. */
async function reusedOf(cacheControl: string, [first, second]: readonly [Headers, Headers]): Promise<number> {
  const origin = await startListener((request, response) => {
    void readBody(request).then(() => response.writeHead(200, { 'cache-control': cacheControl }).end('x'));
  });
  const cache = await startSharedCache(origin.port);
  for (const headers of [first, second]) {
    await fetch(`http://127.0.0.1:${cache.port}/me`, { headers: new Headers(Object.entries(headers).flatMap(pairs)) });
  }
  await cache.close();
  await origin.close();
  return cache.reused.length;
}

describe('the cache of these tests', () => {
  test('keeps what it may, and knows `Authorization` but no cookies (RFC 9111 3.5)', async () => {
    const cookies = [{ cookie: 'session=a' }, { cookie: 'session=b' }] as const;
    const tokens = [{ authorization: 'Bearer a' }, { authorization: 'Bearer b' }] as const;
    expect(await reusedOf('max-age=60', cookies)).toBe(1);
    expect(await reusedOf('max-age=60', tokens)).toBe(0);
    expect(await reusedOf('max-age=60, private="x-trace"', cookies)).toBe(1);
    for (const shared of ['public, max-age=60', 's-maxage=60', 'must-revalidate, max-age=60']) {
      expect(await reusedOf(shared, tokens)).toBe(1);
    }
    for (const unshared of ['private, max-age=60', 'no-store', 'public, max-age=60, private', 'max-age=0']) {
      expect(await reusedOf(unshared, cookies)).toBe(0);
    }
  });
});

function pairs([name, value]: [string, string | string[]]): Array<[string, string]> {
  return [value].flat().map((one) => [name, one]);
}

/** The directives as they stand, in lower case and in order of the alphabet. */
function partsOf(field: string | undefined): string[] {
  const parts = (field ?? '').toLowerCase().match(/(?:[^,"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  return parts.flatMap((part) => part.trim() || []).toSorted();
}

async function answerTo(headers: Headers, status = 200): Promise<Exchange> {
  world.api.answer({ status, headers });
  const answer = await alice.fetch('/api/me');
  expect(answer.status).toBe(status);
  return answer;
}

describe('said anew:', () => {
  test.each([
    'max-age=60',
    'MAX-AGE=60',
    'no-cache',
    'max-age=60, proxy-revalidate',
    'max-age=60, private="x-trace"',
    'private="x-trace, x-other"',
    'max-age=60, ext="public, s-maxage=1"',
    'max-age=60, x-public',
    'max-age=60; public',
    'privately',
    'immutable, max-age=31536000',
  ])('%s is for the browser alone, and the rest of it stays', async (given) => {
    for (const name of ['Cache-Control', 'CDN-Cache-Control', 'Cloudflare-CDN-Cache-Control', 'X-Any-Cache-Control']) {
      const { headers } = await answerTo({ [name]: given });
      const told = partsOf(String(headers[name.toLowerCase()]));
      // That some fields are private is said by the whole being so.
      const rest = partsOf(given).filter((part) => !part.startsWith('private='));
      expect(told).toEqual(expect.arrayContaining(rest));
      expect(told.filter((part) => part === 'private')).toEqual(['private']);
    }
  });

  test.each([
    'public, max-age=60',
    'PUBLIC',
    's-maxage=60',
    'S-MaxAge=60, max-age=1',
    'must-revalidate, max-age=60',
    'Must-Revalidate',
    'private, max-age=60',
    'max-age=60,PRIVATE',
    'no-store',
    'no-cache, No-Store',
    'private="x-trace", private, max-age=60',
    'max-age=60, ext="\\"" , public',
  ])('%s says itself who may keep it, and passes as it is', async (given) => {
    for (const name of ['Cache-Control', 'CDN-Cache-Control', 'Netlify-CDN-Cache-Control']) {
      const { headers } = await answerTo({ [name]: given });
      expect(headers[name.toLowerCase()]).toBe(given);
    }
  });

  test('each field of its own, whatever the others say', async () => {
    const { headers } = await answerTo({
      'Cache-Control': 'public, max-age=1',
      'CDN-Cache-Control': 'max-age=2',
      'Cloudflare-CDN-Cache-Control': 's-maxage=3',
    });
    expect(headers['cache-control']).toBe('public, max-age=1');
    expect(partsOf(String(headers['cdn-cache-control']))).toEqual(['max-age=2', 'private']);
    expect(headers['cloudflare-cdn-cache-control']).toBe('s-maxage=3');
  });

  test('in several lines as in one', async () => {
    const plain = await answerTo({ 'cache-control': ['max-age=60', 'stale-if-error=5'] });
    expect(partsOf(plain.headers['cache-control'])).toEqual(['max-age=60', 'private', 'stale-if-error=5']);
    const shared = await answerTo({ 'cache-control': ['max-age=60', 'public'] });
    expect(partsOf(shared.headers['cache-control'])).toEqual(['max-age=60', 'public']);
  });

  test('no-store where nothing is said, also where a CDN is told something', async () => {
    for (const headers of [{}, { expires: tomorrow }, { 'cdn-cache-control': 'public' }, { pragma: 'cache' }]) {
      expect((await answerTo(headers)).headers['cache-control']).toBe('no-store');
    }
    expect((await answerTo({})).headers['cdn-cache-control']).toBeUndefined();
  });

  test.each(['Surrogate-Control', 'X-Accel-Expires', 'Edge-Control'])(
    '%s only where the API says that anybody may have the answer',
    async (name) => {
      for (const value of ['max-age=60', '60', 'no-store', 'max-age=60, content="ESI/1.0"']) {
        for (const cacheControl of ['max-age=60', 'must-revalidate, max-age=0', 'private', 'public=?0', 'no-cache']) {
          const { headers } = await answerTo({ [name]: value, 'cache-control': cacheControl });
          expect([cacheControl, headers[name.toLowerCase()]]).toEqual([cacheControl, undefined]);
        }
        const { headers } = await answerTo({ [name]: value, 'cache-control': 'public' });
        expect(headers[name.toLowerCase()]).toBe(value);
      }
    },
  );

  test('to HEAD and with a 304 as with a 200, for they change what is kept', async () => {
    const headers = { 'cache-control': 'max-age=60', etag: '"1"', vary: 'Accept' };
    world.api.answer({ headers });
    const head = await alice.fetch('/api/me', { method: 'HEAD' });
    const unchanged = await answerTo(headers, 304);
    for (const answer of [head, unchanged]) {
      expect(partsOf(answer.headers['cache-control'])).toEqual(['max-age=60', 'private']);
      expect(answer.headers.vary).toBe('Accept');
    }
  });
});

describe('Vary', () => {
  test.each<[given: string | string[] | undefined, told: string[]]>([
    [undefined, []],
    ['Accept', ['accept']],
    ['Authorization', ['cookie']],
    ['authorization, Cookie', ['cookie']],
    ['Accept, AUTHORIZATION, Accept-Language', ['accept', 'accept-language', 'cookie']],
    [
      ['Accept', 'Authorization'],
      ['accept', 'cookie'],
    ],
    ['X-Authorization', ['x-authorization']],
    ['COOKIE', ['cookie']],
    ['*', ['*']],
  ])('%s becomes %s', async (given, told) => {
    for (const cacheControl of ['max-age=60', 'private, max-age=60', 'no-cache', 'public, max-age=60', 's-maxage=60']) {
      const headers: Headers = given === undefined ? {} : { vary: given };
      const answer = await answerTo({ 'cache-control': cacheControl, ...headers });
      const names = fieldNames(answer.headers.vary);
      expect(new Set(names).size).toBe(names.length);
      expect(names.toSorted()).toEqual(told);
    }
  });

  test('says nothing new where nobody may', async () => {
    for (const headers of [{}, { 'cache-control': 'no-store' }]) {
      expect((await answerTo(headers)).headers.vary).toBeUndefined();
      expect((await answerTo({ ...headers, vary: 'Accept' })).headers.vary).toBe('Accept');
    }
  });
});
