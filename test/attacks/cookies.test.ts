/**
 * The attacker's story: "The session is in a cookie, and cookies are mine to write: on my own machine, and through a
 * sibling subdomain also on yours. I cut it, mix it, swap its chunks with another user's, plant one beside it, send one
 * kind in place of another, seal my own under a guessed key, hide a bomb in it. I want one of three things: somebody
 * else's session, an error 500 that tells me something, or a session gone or hidden that isn't mine to end."
 *
 * Must hold: a cookie that Sallyport did not write for this browser and purpose opens no session, causes no error 500, and
 * neither ends nor hides a session of anybody else.
 */
import { randomBytes } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  integer,
  nat,
  oneof,
  option,
  property,
  record,
  string,
} from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { resolveConfig } from '../../src/config/config.ts';
import {
  cookieNames,
  type CookieNames,
  readSessionCookie,
  sessionCandidates,
  cookiesUnknown,
  writeSessionCookie,
} from '../../src/session/cookies.ts';
import { pack, unpack } from '../../src/session/packing.ts';
import { createSealer } from '../../src/session/seal.ts';
import { readSession, writeSession } from '../../src/session/session.ts';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { CookieJar } from '../support/cookie-jar.ts';
import { cookieName } from '../support/cookie-names.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;
let bob: BrowserClient;
let aliceSession: string;
let bobSession: string;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  [alice, bob] = [world.client(), world.client()];
  await signIn(alice, 'alice');
  await signIn(bob, 'bob');
  aliceSession = valueOf(alice, alice.own('session'));
  bobSession = valueOf(bob, bob.own('session'));
});

afterAll(() => world.stop());

function valueOf(client: BrowserClient, name: string): string {
  const value = client.cookies.get(name)?.value;
  if (value === undefined) throw new Error(`no cookie ${name}`);
  return value;
}

/** With the names that the world's cookies have in place of the plain ones, wherever they stand. */
function inOwnNames(cookie: string, { origin }: World = world): string {
  return cookie.replace(/session|login|logout/g, (plain) => cookieName(plain, origin));
}

function ask(path: string, cookie: string, method = 'GET'): Promise<Exchange> {
  const client = world.client();
  return client.fetch(path, { method, headers: { cookie: inOwnNames(cookie) } });
}

/** What the endpoints answer to a browser without a session. */
const noSession = {
  session: [200, '{"authenticated":false,"loginUrl":"/bff/login"}'],
  call: [401, 'login_required', []],
  refresh: [200, '{"authenticated":false,"loginUrl":"/bff/login"}'],
  logout: 200,
  apiRequests: 0,
};

/** What every kind of endpoint makes of a Cookie header. */
async function outcomeOf(cookie: string): Promise<typeof noSession | Record<string, unknown>> {
  world.api.requests.length = 0;
  const session = await ask('/bff/session', cookie);
  const call = await ask('/api/me', cookie);
  const refresh = await ask('/bff/refresh', cookie, 'POST');
  const logout = await ask('/bff/logout', cookie, 'POST');
  return {
    session: [session.status, session.text],
    call: [call.status, call.text === '' ? '' : call.json()['code'], call.setCookies],
    refresh: [refresh.status, refresh.text],
    logout: logout.status,
    apiRequests: world.api.requests.length,
  };
}

/** One character in the middle of each part of the seal. */
function tampered(sealed: string): string[] {
  const parts = sealed.split('.');
  return parts.map((part, index) => {
    const at = Math.floor(part.length / 2);
    const changed = part.slice(0, at) + (part[at] === '2' ? '3' : '2') + part.slice(at + 1);
    return parts.with(index, changed).join('.');
  });
}

describe('no session, and never an error, comes of', () => {
  test('a seal with any part changed, cut, doubled, reordered or of another version', async () => {
    const [version = '', key = '', iv = '', data = '', mac = ''] = aliceSession.split('.');
    const variants = [
      ...tampered(aliceSession),
      aliceSession.slice(0, -1),
      aliceSession.slice(0, aliceSession.length / 2),
      aliceSession.slice(1),
      `${aliceSession}A`,
      `${aliceSession}.`,
      aliceSession + aliceSession,
      aliceSession.toUpperCase(),
      [version, key, iv, mac, data].join('.'),
      [version, key, mac, data, iv].join('.'),
      ['2', key, iv, data, mac].join('.'),
      ['0', key, iv, data, mac].join('.'),
      ['', key, iv, data, mac].join('.'),
      [version, '', iv, data, mac].join('.'),
      [version, key, iv, '', mac].join('.'),
      [version, key, iv, data, ''].join('.'),
      [version, '__proto__', iv, data, mac].join('.'),
      [version, 'toString', iv, data, mac].join('.'),
      `Fe26.2*${key}**${iv}*${data}***${mac}`,
      encodeURIComponent(`"${aliceSession}"`),
      `"${aliceSession}"`,
    ];
    for (const variant of variants) expect(await outcomeOf(`session=${variant}`)).toEqual(noSession);
  });

  test('parts of two users’ seals put together', async () => {
    const [a, b] = [aliceSession.split('.'), bobSession.split('.')];
    for (const index of [2, 3, 4])
      expect(await outcomeOf(`session=${a.with(index, b[index] ?? '').join('.')}`)).toEqual(noSession);
  });

  test.each([
    ';;=',
    '=',
    ';',
    ' ; ; ',
    'session',
    'session=',
    'session= ',
    'session==',
    'session=;session.1=',
    'session.1=',
    'session.2=x',
    'session.1=x; session.2=y; session.3=z; session.4=a; session.5=b',
    'session=1.....',
    'session=[object Object]',
    'session=%00%ff',
    'session=\u00ff\u00fe\u0080',
    'session=💥',
    'session={"authenticated":true}',
    'SESSION=x',
    'session =x',
    '__proto__=x; constructor=y; session=z',
    'session=; login-x-y=z',
    'expires=; path; secure',
  ])('Cookie: %s', async (cookie) => {
    expect(await outcomeOf(Buffer.from(cookie).toString('latin1'))).toEqual(noSession);
  });

  test('a huge header of cookies: 431 at most', async () => {
    for (const size of [8_000, 30_000]) {
      expect(await outcomeOf(`session=${'A'.repeat(size)}`)).toEqual(noSession);
      expect(await outcomeOf(`session=1.00000000.${'A'.repeat(22)}.${'A'.repeat(size)}.${'A'.repeat(43)}`)).toEqual(
        noSession,
      );
      expect(await outcomeOf(Array.from({ length: size / 15 }, (_, index) => `c${index}=${index}`).join('; '))).toEqual(
        noSession,
      );
    }
    expect((await ask('/bff/session', `session=${'A'.repeat(40_000)}`)).status).toBe(431);
  });

  test('a name that stands twice with nothing good under it', async () => {
    expect(await outcomeOf('session=x; session=y')).toEqual(noSession);
    expect(await outcomeOf(`session=${cut()}; session=${tampered(aliceSession)[3]}; session.1=2!${cut()}`)).toEqual(
      noSession,
    );
    expect(await outcomeOf(Array.from({ length: 500 }, (_, index) => `session=${index}`).join('; '))).toEqual(
      noSession,
    );
  });

  test('a seal of another key', async () => {
    const foreign = createSealer([randomBytes(32).toString('base64url')], 'session');
    expect(await outcomeOf(`session=${await foreign.seal(writeSession(forgedSession()))}`)).toEqual(noSession);
    // Under the right key id, which stands in every cookie.
    const parts = (await foreign.seal(writeSession(forgedSession()))).split('.');
    expect(await outcomeOf(`session=${parts.with(1, aliceSession.split('.')[1] ?? '').join('.')}`)).toEqual(noSession);
  });

  test('a login transaction in its place', async () => {
    const client = world.client();
    await client.navigate('/bff/login', { follow: false });
    const [transaction] = client.cookies.for(world.origin);
    expect(transaction?.name).toMatch(/^login-/);
    expect(await outcomeOf(`session=${transaction?.value}`)).toEqual(noSession);
  });

  test('a sign-out ticket in its place', async () => {
    const client = world.client();
    await signIn(client);
    await client.fetch('/bff/logout', { method: 'POST' });
    expect(await outcomeOf(`session=${valueOf(client, client.own('logout'))}`)).toEqual(noSession);
  });

  test('a session under a secret that was rotated away', async () => {
    const own = await startWorld();
    const client = own.client();
    await signIn(client);
    await own.restart({ secrets: [randomBytes(32).toString('base64url')] });
    expect((await client.fetch('/api/me')).status).toBe(401);
    expect((await client.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect(client.cookies.for(own.origin)).toEqual([]);
  });

  test('a cookie of ours inside another one’s value, planted from a sibling subdomain', async () => {
    // Browsers keep spaces and "=" inside values, and no __Host- rule looks there.
    expect(await outcomeOf(`planted=x session=${aliceSession}`)).toEqual(noSession);
    expect(await outcomeOf(`planted=session=${aliceSession}`)).toEqual(noSession);
    expect(await outcomeOf(`planted=" session=${aliceSession}"`)).toEqual(noSession);
    expect(await outcomeOf(`planted=a,session=${aliceSession}`)).toEqual(noSession);
    expect(await outcomeOf(`planted=\tsession=${aliceSession}`)).toEqual(noSession);
    const both = await ask('/bff/session', `session=${aliceSession}; planted=x session=${bobSession}`);
    expect(both.at('user.name')).toBe('Alice Adams');
    const before = await ask('/bff/session', `planted=x session=${bobSession}; session=${aliceSession}`);
    expect(before.at('user.name')).toBe('Alice Adams');
  });

  test('a name that merely begins or ends like ours', async () => {
    for (const name of ['xsession', 'sessions', 'session.', 'session.0', 'session.10', 'session-', 'my.session']) {
      expect(await outcomeOf(`${name}=${aliceSession}`)).toEqual(noSession);
      expect((await ask('/bff/session', `${name}=x; session=${aliceSession}`)).at('user.name')).toBe('Alice Adams');
      expect((await ask('/bff/session', `session=${aliceSession}; ${name}=x`)).at('user.name')).toBe('Alice Adams');
    }
  });
});

/** As the server reads a Cookie header: by the quick way where that is one. */
function sessionsIn(header: string | undefined, names: CookieNames): string[] {
  const only = readSessionCookie(header, names);
  return only === undefined ? sessionCandidates(header, names) : [only];
}

function namesAt(origin: string): CookieNames {
  return cookieNames(resolveConfig({ ...world.config, origin }));
}

function header(chunks: Array<string | undefined>): string {
  return chunks.flatMap((chunk, index) => (chunk === undefined ? [] : [`session.${index + 1}=${chunk}`])).join('; ');
}

describe('a chunked session', () => {
  let big: World;
  const chunksOf: Record<string, string[]> = {};

  beforeAll(async () => {
    big = await startWorld({ provider: { settings: { accessTokenPadding: 6000 } } }, { scope: 'manual' });
    for (const user of ['alice', 'bob'] as const) {
      const client = big.client();
      await signIn(client, user);
      const cookies = client.cookies.for(big.origin).toSorted((a, b) => a.name.localeCompare(b.name));
      chunksOf[user] = cookies.map((cookie) => cookie.value);
    }
  });

  afterAll(() => big.stop());

  async function authenticated(cookie: string): Promise<unknown> {
    const answer = await big.client().fetch('/bff/session', { headers: { cookie: inOwnNames(cookie, big) } });
    expect(answer.status).toBe(200);
    return answer.at('authenticated');
  }

  test('opens in any order, and only when it is whole and one user’s', async () => {
    const [a, b] = [chunksOf['alice'] ?? [], chunksOf['bob'] ?? []];
    expect(a.length).toBeGreaterThanOrEqual(2);
    expect(await authenticated(header(a))).toBe(true);
    expect(await authenticated(header(a).split('; ').toReversed().join('; '))).toBe(true);
    for (const index of a.keys()) {
      expect(await authenticated(header(a.with(index, b[index] ?? '')))).toBe(false);
      expect(await authenticated(header(a.map((chunk, at) => (at === index ? undefined : chunk))))).toBe(false);
      expect(await authenticated(header(a.with(index, (a[index] ?? '').slice(0, -1))))).toBe(false);
      // Whatever is planted beside a chunk, of whatever length, hides none.
      for (const planted of ['x', '', b[index] ?? '', (a[index] ?? '').slice(1), `${(a[index] ?? '').slice(1)}x`]) {
        expect(await authenticated(`${header(a)}; session.${index + 1}=${planted}`)).toBe(true);
        expect(await authenticated(`session.${index + 1}=${planted}; ${header(a)}`)).toBe(true);
      }
    }
    expect(await authenticated(header(a.toReversed()))).toBe(false);
    // One that an earlier, longer session left behind.
    expect(await authenticated(header([...a, 'x']))).toBe(true);
    expect(await authenticated(header(a).replaceAll('session.', 'session.0'))).toBe(false);
  });
});

/** A session that broke off. */
function cut(): string {
  return aliceSession.slice(0, 200);
}

describe('a cookie that opens nothing is cleared', () => {
  test('by /bff/session, with all its chunks and every attribute', async () => {
    const answer = await ask('/bff/session', `session=${cut()}; session.1=2!${cut()}; session.3=z; other=kept`);
    const names = answer.setCookies.map((line) => line.split('=')[0]);
    expect(new Set(names)).toEqual(new Set(['session', 'session.1', 'session.3'].map((name) => inOwnNames(name))));
    for (const line of answer.setCookies)
      expect(line).toMatch(/^[\w.-]+=; Max-Age=0; Path=\/; HttpOnly; SameSite=Strict$/);
  });

  test('but not where another program has set it, which shares the name', async () => {
    for (const value of ['x', '', '1', '1.2.3', '1.abcdefgh.x', '{}', 's%3Ax.y', `${cut()}=`, `"${cut()}"`, '2!x']) {
      for (const cookie of [`session=${value}`, `session.1=${value}`, `session.1=${cut()}`]) {
        const answers = [await ask('/bff/session', cookie), await ask('/bff/logout', cookie, 'POST')];
        expect([cookie, answers.flatMap(({ setCookies }) => setCookies)]).toEqual([cookie, []]);
      }
    }
  });

  test('but not where it is of another app on this machine, at another port', async () => {
    const port = new URL(world.origin).port;
    for (const name of ['session', `session-${port}0`, 'session-1', 'session-1.1', '__Host-Http-session', 'logout']) {
      const client = world.client();
      const headers = { cookie: `${name}=${aliceSession}` };
      const answers = [
        await client.fetch('/bff/session', { headers }),
        await client.fetch('/bff/logout', { method: 'POST', headers }),
        await client.navigate('/bff/logout', { headers, follow: false }),
      ];
      expect(answers[0]?.at('authenticated')).toBe(false);
      expect(answers.flatMap(({ setCookies }) => setCookies)).toEqual([]);
    }
  });

  test('never by a proxied call: its late answer would end a newer session', async () => {
    for (const cookie of ['session=x', `session=${aliceSession.slice(0, -1)}`, 'session.1=y', 'session=x; session=y']) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const answer = await ask('/api/me', cookie, method);
        expect([answer.status, answer.setCookies]).toEqual([401, []]);
      }
    }
  });
});

/** Whose session a Cookie header brings, for Sallyport and for the API. */
async function userOf(cookie: string): Promise<unknown> {
  const [session, call] = [await ask('/bff/session', cookie), await ask('/api/me', cookie)];
  expect(call.at('sub')).toBe(session.at('user.sub'));
  return session.at('user.sub');
}

/**
 * In a browser that doesn't enforce `__Host-`, and on loopback, a sibling subdomain or another port can set a second
 * cookie of the same name, and no answer of the app can delete it.
 */
describe('a cookie planted beside the session’s own', () => {
  const junk: ReadonlyArray<readonly [what: string, value: () => string]> = [
    ['nothing', () => ''],
    ['a word', () => 'x'],
    ['a copy of the session', () => aliceSession],
    ['a cut copy', () => aliceSession.slice(0, -1)],
    ['a forged copy', () => tampered(aliceSession)[3] ?? ''],
    ['a seal of another key', () => aliceSession.replace(/^1\.[0-9a-f]{8}/, '1.00000000')],
    ['half a long session', () => `2!${aliceSession}`],
  ];

  test.each(junk)('hides it not: %s', async (_what, value) => {
    for (const name of ['session', 'session.1', 'session.2']) {
      expect(await userOf(`${name}=${value()}; session=${aliceSession}`)).toBe('alice');
      expect(await userOf(`session=${aliceSession}; ${name}=${value()}`)).toBe('alice');
      expect(await userOf(`session=${aliceSession}; x=y; ${name}=${value()}`)).toBe('alice');
    }
  });

  test('hides it not, however many there are', async () => {
    for (const one of ['x', '1.00000000.x', aliceSession.replace(/^1\.[0-9a-f]{8}/, '1.00000000').slice(0, 200)]) {
      const planted = Array.from({ length: 30 }, (_, index) => `session=${one}${index}`).join('; ');
      expect(await userOf(`${planted}; session=${aliceSession}`)).toBe('alice');
      expect(await userOf(`session=${aliceSession}; ${planted}`)).toBe('alice');
    }
  });

  test('is answered at once, however many ways there are to put it together', async () => {
    const [version, key] = aliceSession.split('.');
    const seals = Array.from({ length: 150 }, (_, index) => {
      return `session=${version}.${key}.${'A'.repeat(22)}.${'A'.repeat(80)}${index}.${'A'.repeat(43)}`;
    });
    const chunks = Array.from({ length: 1000 }, (_, index) => `session.${2 + (index % 8)}=${index}`);
    const short = Array.from(
      { length: 1000 },
      (_, index) => `session.${2 + (index % 7)}=${100 + Math.floor(index / 7)}`,
    );
    for (const cookie of [
      seals.join('; '),
      `session.1=9!${cut()}; ${chunks.join('; ')}`,
      // All of one length, and the last is missing.
      `session.1=9!1; ${short.join('; ')}`,
    ]) {
      expect((await ask('/api/me', cookie)).at('code')).toBe('login_required');
    }
  });

  test('that is a session of somebody’s gives way to the person’s next sign-in, wherever it stands', async () => {
    const own = await startWorld();
    const attacker = own.client();
    await signIn(attacker, 'bob');
    const planted = attacker.cookies.get(attacker.own('session'))?.value ?? '';
    const victim = own.client();
    for (const path of ['/', '/api', '/bff']) {
      victim.cookies.put({ name: victim.own('session'), value: planted, domain: 'localhost', hostOnly: false, path });
    }
    expect((await victim.fetch('/bff/session')).at('user.sub')).toBe('bob');
    await signIn(victim, 'alice');
    expect((await victim.fetch('/bff/session')).at('user.sub')).toBe('alice');
    expect((await victim.fetch('/api/me')).at('sub')).toBe('alice');
    // The planted one was shown, and has ended: that browser works with no session of anybody's.
    expect((await attacker.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('that is a later session of somebody’s wins until the person signs in again', async () => {
    fakeDate();
    const own = await startWorld();
    const [victim, attacker] = [own.client(), own.client()];
    await signIn(victim, 'alice');
    await signIn(attacker, 'bob');
    const value = attacker.cookies.get(attacker.own('session'))?.value ?? '';
    victim.cookies.put({ name: victim.own('session'), value, domain: 'localhost', hostOnly: false, path: '/api' });
    victim.cookies.put({ name: victim.own('session'), value, domain: 'localhost', hostOnly: false, path: '/bff' });
    expect((await victim.fetch('/bff/session')).at('user.sub')).toBe('bob');
    vi.advanceTimersByTime(1000);
    await signIn(victim, 'alice');
    expect((await victim.fetch('/bff/session')).at('user.sub')).toBe('alice');
    // A restart forgets that the planted one has ended.
    await own.restart();
    expect((await victim.fetch('/api/me')).at('sub')).toBe('alice');
  });

  test('that is an older form of the same session brings the newest one to the browser once', async () => {
    fakeDate();
    const own = await startWorld();
    const browser = own.client();
    await signIn(browser);
    const old = browser.cookies.get(browser.own('session'));
    expireAccessToken();
    await browser.fetch('/api/me');
    browser.cookies.put({
      name: old?.name ?? '',
      value: old?.value ?? '',
      domain: 'localhost',
      hostOnly: false,
      path: '/api',
    });
    const answer = await browser.fetch('/api/me');
    expect([answer.status, answer.setCookies]).toEqual([200, []]);
    expect(own.provider.calls.refresh).toBe(1);
  });
});

describe('a login transaction', () => {
  test('is not replaced by a session, a foreign seal or another transaction of the same browser', async () => {
    const client = world.client();
    const stopped = await client.navigate('/bff/login', { stopBefore: (url) => url.pathname === '/bff/callback' });
    const callback = new URL(stopped.headers.location ?? '', stopped.url);
    const own = client.cookies.for(world.origin).find((cookie) => cookie.name.startsWith('login-'));
    const other = world.client();
    await other.navigate('/bff/login', { follow: false });
    const foreign = other.cookies.for(world.origin)[0]?.value ?? '';
    const before = world.provider.calls.code;
    for (const value of [aliceSession, foreign, `${own?.value.slice(0, -1)}`, '', ...tampered(own?.value ?? '')]) {
      const attempt = client.clone();
      attempt.cookies.replace(own?.name ?? '', () => value);
      const page = await attempt.navigate(callback.href, { follow: false, initiator: world.provider.issuer });
      expect([page.status, page.text.includes('login_transaction_invalid')]).toEqual([400, true]);
      expect(page.setCookies.filter((line) => line.startsWith('session'))).toEqual([]);
    }
    expect(world.provider.calls.code).toBe(before);
    const landed = await client.navigate(callback.href, { follow: false, initiator: world.provider.issuer });
    expect(landed.status).toBe(302);
  });
});

/** 32 MB of zeros in 32 kB, framed as a session. */
function bomb(): string {
  const inflated = deflateRawSync(Buffer.alloc(32 * 1024 * 1024), { level: 9 });
  return Buffer.concat([Buffer.from([0, 0, 0]), inflated])
    .toString('latin1')
    .replace(/[\u0080-\u00ff]/g, '\u007f');
}

function sealBomb(key: string, purpose: 'session' | 'logout ticket'): Promise<string> {
  return createSealer([key], purpose).seal(bomb().slice(0, 20_000));
}

describe('a decompression bomb', () => {
  test('is no session, and never an error, with and without the key', async () => {
    const secret = String(world.config.secrets[0]);
    expect(
      await outcomeOf(`session=${(await sealBomb(randomBytes(32).toString('base64url'), 'session')).slice(0, 28_000)}`),
    ).toEqual(noSession);
    expect(await outcomeOf(`session=${await sealBomb(secret, 'logout ticket')}`)).toEqual(noSession);
    // Sealed as a session it does reach the inflation, and fails there.
    expect(await outcomeOf(`session=${await sealBomb(secret, 'session')}`)).toEqual(noSession);
  });

  test('is bounded even behind the key', () => {
    const fields = 'x'.repeat(8 * 1024 * 1024);
    const started = process.memoryUsage().arrayBuffers;
    expect(() => unpack(pack({ fields, tokens: [] }))).toThrow(/larger than/);
    expect(process.memoryUsage().arrayBuffers - started).toBeLessThan(64 * 1024 * 1024);
  });
});

/** Tokens as providers make them, and as nobody should. */
const segment = string({ unit: constantFrom('a', 'b', 'X', 'Y', '0', '1', '9', '-', '_'), maxLength: 60 });
const token = oneof(
  array(segment, { minLength: 3, maxLength: 3 }).map((parts) => parts.join('.')),
  array(oneof(segment, string({ unit: 'binary' })), { maxLength: 5 }).map((parts) => parts.join('.')),
  string({ unit: 'grapheme' }),
  constantFrom('', '.', '..', '...', 'AB.CD.EF', 'AA==.AA==.AA==', 'a+b/c.d.e', 'eyJ9.e30.', '\ud83d\ude00', '\u0000'),
);
/** JSON and UTF-8 have no lone surrogates: they aren't text. */
const wellFormed = token.filter((text) => text.isWellFormed());

describe('packing and sealing', () => {
  test('give back any token to the letter', () => {
    assert(
      property(
        array(option(wellFormed, { nil: undefined }), { maxLength: 5 }),
        string({ unit: 'grapheme' }),
        (tokens, fields) => {
          const packed = pack({ fields, tokens });
          // Seven-bit text is what is asked for, its control characters included.
          // oxlint-disable-next-line no-control-regex
          expect(packed).toMatch(/^[\u0000-\u007f]*$/);
          expect(unpack(packed)).toEqual({ fields, tokens });
        },
      ),
      { numRuns: 500 },
    );
  });

  test('give back any session, under the first secret and when it is the last', async () => {
    const secrets = [1, 2, 3].map(() => randomBytes(32).toString('base64url'));
    const old = createSealer(secrets.slice(2), 'session');
    const rotated = createSealer(secrets, 'session');
    const session = record({
      id: string({ unit: 'grapheme' }),
      generation: nat(),
      createdAt: nat(),
      sealedActivityAt: nat(),
      tokensIssuedAt: nat(),
      userInfo: option(record({ name: string({ unit: 'grapheme' }) }), { nil: undefined }),
      tokens: record({
        accessToken: wellFormed,
        idToken: wellFormed,
        refreshToken: option(wellFormed, { nil: undefined }),
        accessTokenExpiresAt: option(integer(), { nil: undefined }),
        scope: option(string({ unit: 'grapheme' }), { nil: undefined }),
      }),
      providerSid: option(string({ unit: 'grapheme' }), { nil: undefined }),
      loginIssuedAt: option(nat(), { nil: undefined }),
    });
    await assert(
      asyncProperty(session, async (given) => {
        const sealed = await old.seal(writeSession(given));
        expect(sealed).toMatch(/^[\w.-]+$/);
        expect(readSession(rotated.unseal(sealed) ?? '')).toEqual(given);
        expect(createSealer(secrets, 'login transaction').unseal(sealed)).toBeUndefined();
        expect(createSealer(secrets.slice(0, 2), 'session').unseal(sealed)).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  test('a seal with any one character changed opens nothing', async () => {
    const sealer = createSealer([randomBytes(32).toString('base64url')], 'session');
    const sealed = await sealer.seal(writeSession(forgedSession()));
    await assert(
      asyncProperty(
        nat({ max: sealed.length - 1 }),
        constantFrom('A', '9', '-', '_', '.', '*', '=', ' ', 'é'),
        async (at, character) => {
          // The last character of a base64url part carries bits that don't count.
          if (sealed[at] === character || /^[^.]?(?:\.|$)/.test(sealed.slice(at + 1))) return;
          const changed = sealed.slice(0, at) + character + sealed.slice(at + 1);
          expect(sealer.unseal(changed)).toBeUndefined();
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('writing the session’s cookies', () => {
  const sealedText = nat({ max: 15_500 }).map((length) => 'Ab3-_.'.repeat(2700).slice(0, length + 1));
  const written = record({
    sealed: sealedText,
    leftover: array(constantFrom('', '.1', '.2', '.3', '.4'), { maxLength: 5 }),
    secure: constantFrom(true, false),
    // The callback doesn't see the cookies that the browser has.
    blind: constantFrom(true, false),
  });

  test('then reading them gives the same; no line is over 4096 bytes; leftovers are deleted', () => {
    assert(
      property(written, ({ sealed, leftover, secure, blind }) => {
        const origin = secure ? 'https://app.example.test' : 'http://localhost';
        const names = namesAt(origin);
        const { hostname } = new URL(origin);
        const jar = new CookieJar('chromium');
        for (const suffix of leftover) jar.put({ name: names.session + suffix, value: 'old', domain: hostname });
        const lines = writeSessionCookie(sealed, 28_800, blind ? cookiesUnknown : jar.header(origin), names) ?? [];
        expect(lines.filter((line) => Buffer.byteLength(line) > 4096 || !jar.store(line, origin))).toEqual([]);
        expect(new Set(lines.map((line) => line.split('=')[0])).size).toBe(lines.length);
        expect(sessionsIn(jar.header(origin), names)).toEqual([sealed]);
        expect(jar.all().filter((cookie) => cookie.value === 'old')).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('is refused as a whole where four cookies can’t hold it', () => {
    expect(
      writeSessionCookie('A'.repeat(4 * 4096), 28_800, cookiesUnknown, namesAt('https://app.example.test')),
    ).toBeUndefined();
  });

  test('reading never fails, and finds nothing in other people’s cookies', () => {
    const names = namesAt('http://localhost:3000');
    const pair = oneof(
      string({ maxLength: 12 }),
      constantFrom('a=b', '=', ...['', 'x', 'a=', 'a=b '].map((before) => `${before}${names.session}=evil`)),
    );
    assert(
      property(array(pair, { maxLength: 6 }), (pairs) => {
        const others = pairs
          .map((text) => text.replaceAll(';', ''))
          .filter((text) => !text.trimStart().startsWith(names.session));
        expect(sessionsIn(others.join('; '), names)).toEqual([]);
        expect(sessionsIn([`${names.session}=mine`, ...others].join('; '), names)).toEqual(['mine']);
        expect(sessionsIn([...others, `${names.session}=mine`].join('; '), names)).toEqual(['mine']);
      }),
      { numRuns: 1000 },
    );
  });
});

test('no two users meet in the cache of opened cookies', async () => {
  for (let round = 0; round < 20; round += 1) {
    const answers = await Promise.all(
      [aliceSession, bobSession, 'x', aliceSession.slice(1)].map((value) => ask('/bff/session', `session=${value}`)),
    );
    expect(answers.map((answer) => answer.at('user.name'))).toEqual(['Alice Adams', 'Bob Brown', undefined, undefined]);
  }
});

function forgedSession() {
  const now = Math.floor(Date.now() / 1000);
  return {
    id: 'forged',
    generation: 0,
    createdAt: now,
    sealedActivityAt: now,
    tokensIssuedAt: now,
    userInfo: undefined,
    tokens: {
      accessToken: 'forged',
      idToken: `e30.${Buffer.from('{"sub":"alice"}').toString('base64url')}.x`,
      refreshToken: undefined,
      accessTokenExpiresAt: now + 300,
    },
  };
}
