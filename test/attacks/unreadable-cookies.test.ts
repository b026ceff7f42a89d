/**
 * The unlucky user's story: "Yesterday the operator rolled the server back, and since then my browser shows it a cookie
 * that it sealed itself and can't make sense of. The app's page is an error, each call is an error, and when I try to
 * sign in again, or at least out, that is an error, too. It will be one until I find out how to delete cookies." And the
 * attacker's: "I got hold of a sealing secret of a test system, and production has the same. What can I put in a seal
 * that opens, so that reading it throws, or fills the memory?"
 *
 * Must hold: a cookie of ours that can't be read, for whatever reason, is no cookie: each endpoint answers what it
 * answers to a browser without it, sign-in and sign-out work, and what one process has sealed each other one can open.
 */
import { deflateRawSync } from 'node:zlib';
import { array, assert, asyncProperty, constantFrom, integer, nat, oneof, record } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { pack } from '../../src/session/packing.ts';
import { createEnvelopes } from '../../src/session/envelope.ts';
import { createSealer, type SealPurpose } from '../../src/session/seal.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { cookieName, withCookieNames } from '../support/cookie-names.ts';
import { startListener, type Listener } from '../support/listener.ts';
import { startRedis } from '../support/redis.ts';
import { beginSocket, refusalOf } from '../support/web-socket.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

let api: Listener;
let apiCalls = 0;
let world: World;

beforeAll(async () => {
  api = await startListener((_, response) => {
    apiCalls += 1;
    response.end('fine');
  });
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        api: [{ path: '/api', target: `http://127.0.0.1:${api.port}`, websocket: true }],
        spa: { ...base.spa, requireLogin: true },
      }),
    },
    { scope: 'manual' },
  );
});

afterAll(async () => {
  await world.stop();
  await api.close();
});

beforeEach(() => {
  apiCalls = 0;
  world.logs.length = 0;
});

function sealerOf(purpose: SealPurpose) {
  return createSealer(world.config.secrets, purpose);
}

function faults(logs: readonly string[] = world.logs): string[] {
  return logs.filter((line) => line.includes('internal_error') || line.includes('"level":60'));
}

/** What every way into the server makes of a session cookie, as short texts. */
async function outcomeOf(cookie: string): Promise<Record<string, unknown>> {
  const browser = world.client();
  const headers = { cookie: withCookieNames(cookie, world.origin) };
  const session = await browser.fetch('/bff/session', { headers });
  const call = await browser.fetch('/api/me', { headers });
  const upload = await browser.fetch('/api/me', { headers, method: 'POST', body: { some: 'thing' } });
  const socket = await refusalOf(beginSocket(world, browser, { headers }));
  const refresh = await browser.fetch('/bff/refresh', { headers, method: 'POST' });
  const signOut = await browser.fetch('/bff/logout', { headers, method: 'POST' });
  const link = await browser.navigate('/bff/logout?sid=x', { headers, follow: false });
  const login = await browser.navigate('/bff/login', { headers, follow: false });
  const page = await browser.navigate('/?sallyport_reloaded', { headers, initiator: world.origin, follow: false });
  return {
    session: `${session.status} ${session.text}`,
    call: `${call.status} ${call.at('code')}`,
    upload: `${upload.status} ${upload.at('code')}`,
    socket: `${socket.status} ${/"code":"(\w+)"/.exec(socket.body)?.[1]}`,
    refresh: `${refresh.status} ${refresh.text}`,
    signOut: `${signOut.status} ${signOut.text}`,
    link: `${link.status} ${link.headers.location}`,
    login: `${login.status} ${login.headers.location?.split('?')[0]}`,
    page: `${page.status} ${page.headers.location?.split('?')[0]}`,
    apiCalls,
    faults: faults(),
  };
}

/** What a browser without a session gets. */
function noSession(): Record<string, unknown> {
  const stranger = '200 {"authenticated":false,"loginUrl":"/bff/login"}';
  return {
    session: stranger,
    call: '401 login_required',
    upload: '401 login_required',
    socket: '401 login_required',
    refresh: stranger,
    signOut: '200 {"location":"/"}',
    link: '302 /',
    login: `302 ${world.provider.issuer}/auth`,
    page: '302 /bff/login',
    apiCalls: 0,
    faults: [],
  };
}

/** Bytes as the packing writes them: seven bits to a character. */
function sevenBits(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const characters = bits.match(/.{1,7}/g) ?? [];
  return characters.map((seven) => String.fromCharCode(Number.parseInt(seven.padEnd(7, '0'), 2))).join('');
}

function threeBytes(value: number): Buffer {
  return Buffer.from([value >> 16, value >> 8, value]);
}

/** A packing that inflates to `inflated`. */
function packedBytes(inflated: Buffer, announced?: number): string {
  const deflated = deflateRawSync(inflated, { level: 9 });
  return sevenBits(Buffer.concat([threeBytes(announced ?? deflated.length), deflated]));
}

/** A packing whose list of contents is `manifest`, with texts after it. */
function packedManifest(manifest: string, { announced = manifest.length, texts = '' } = {}): string {
  return packedBytes(Buffer.concat([threeBytes(announced), Buffer.from(manifest + texts)]));
}

const mebibyte = 1024 * 1024;
const now = Math.floor(Date.now() / 1000);
const idToken = `e30.${Buffer.from('{"sub":"alice"}').toString('base64url')}.c2ln`;
const tokens = ['access', idToken, 'refresh'];
let sessions = 0;

/** The fields of a good session, each time of another, with one replaced. */
function fieldsWith(index = 0, value: unknown = `session-${(sessions += 1)}`): unknown[] {
  const fields: unknown[] = [`session-${(sessions += 1)}`, 0, now, now, now, now + 300];
  fields[index] = value;
  return fields;
}

/** What no packing is, whatever was to be packed, of the time before packings had a version. */
const noUnversionedPacking: [string, string][] = [
  ['nothing', ''],
  ['one character', 'x'],
  ['a word', 'hello'],
  ['JSON', '{"id":"x","tokens":{}}'],
  ['zeros', '\0'.repeat(100)],
  ['ones', '\u007f'.repeat(100)],
  ['a length beyond its end', packedBytes(Buffer.from('x'), 0xff_ff_ff)],
  ['bytes that nobody deflated', sevenBits(Buffer.concat([threeBytes(40), Buffer.alloc(40, 0xff)]))],
  ['two bytes in all', packedBytes(Buffer.from('xx'))],
  ['a list of contents that is longer than all', packedManifest('{"f":[],"t":[]}', { announced: 0xff_ff_ff })],
  ['a list of contents that is no JSON', packedManifest('neither {')],
  ['a list of contents that is empty', packedManifest('')],
  ...['null', '5', '"text"', '[]', '{}', '{"f":[]}', '{"f":[],"t":null}', '{"f":[],"t":5}', '{"f":[],"t":{}}'].map(
    (manifest): [string, string] => [`the list of contents ${manifest}`, packedManifest(manifest)],
  ),
  ['20 MB of zeros', packedBytes(Buffer.alloc(20 * mebibyte))],
  ['20 MB of blanks amid JSON', packedManifest(`{"f":[],${' '.repeat(15 * mebibyte)}"t":[]}`)],
  ['JSON that is nested 100,000 deep', packedManifest('['.repeat(100_000))],
];

const noPacking: [string, string][] = [
  ...noUnversionedPacking,
  ...noUnversionedPacking.map(([title, text]): [string, string] => [`a version, then ${title}`, `2${text}`]),
  ...['!', '1', '3', 'é', '\u0132'].map((version): [string, string] => [
    `a session of the version "${version}"`,
    version + pack({ fields: fieldsWith(), tokens }).slice(1),
  ]),
];

/** Packings of something else than a session. */
const otherShapes: [string, string][] = [
  ...[undefined, null, 5, 'text', {}, [], ['id']].map((fields): [string, string] => [
    `the fields ${JSON.stringify(fields)}`,
    pack({ fields, tokens }),
  ]),
  ...[7, null, ['id'], { toString: 'x' }].map((id): [string, string] => [
    `the id ${JSON.stringify(id)}`,
    pack({ fields: fieldsWith(0, id), tokens }),
  ]),
  ...[1, 2, 3, 4, 5].flatMap((index) =>
    ['17', {}, [], true, ''].map((value): [string, string] => [
      `${JSON.stringify(value)} in place of number ${index}`,
      pack({ fields: fieldsWith(index, value), tokens }),
    ]),
  ),
  ['no tokens', pack({ fields: fieldsWith(), tokens: [] })],
  ['no access token', pack({ fields: fieldsWith(), tokens: [undefined, idToken, 'refresh'] })],
  ['no ID token', pack({ fields: fieldsWith(), tokens: ['access', undefined, 'refresh'] })],
  ['an ID token that is a word', pack({ fields: fieldsWith(), tokens: ['access', 'opaque', 'refresh'] })],
  ...['null', '5', '[]', '"x"', 'no JSON', ''].map((payload): [string, string] => [
    `an ID token that holds ${JSON.stringify(payload)}`,
    pack({
      fields: fieldsWith(),
      tokens: ['access', `e30.${Buffer.from(payload).toString('base64url')}.c2ln`, 'refresh'],
    }),
  ]),
  ['a sign-out ticket', pack({ fields: now, tokens: [idToken] })],
  ...['[-5,2,2]', '[1e9,0,0]', '["a","b","c"]', '[[1,2],3,4]', '[{},{},{}]', '[true,true,true]', '[0.5,1,2]'].map(
    (lengths): [string, string] => [
      `the lengths ${lengths}`,
      `2${packedManifest(`{"f":${JSON.stringify(fieldsWith())},"t":${lengths}}`, { texts: 'abcdefgh' })}`,
    ],
  ),
];

describe('a session cookie that we sealed and that holds', () => {
  test.each([...noPacking, ...otherShapes])('%s is no session, anywhere', async (_, content) => {
    const sealed = await sealerOf('session').seal(content);
    expect(await outcomeOf(`session=${sealed}`)).toEqual(noSession());
  });

  test.each(noPacking)('%s is replaced by the next sign-in', async (_, content) => {
    const browser = world.client();
    const value = await sealerOf('session').seal(content);
    browser.cookies.put({ name: browser.own('session'), value, domain: 'localhost', sameSite: 'strict' });
    await signIn(browser);
    expect((await browser.fetch('/api/me')).status).toBe(200);
    expect(browser.cookies.for(world.origin).map(({ name }) => name)).toEqual([browser.own('session')]);
    expect(faults()).toEqual([]);
  });

  test('anything else is deleted by a sign-out, as a call and as a link', async () => {
    const value = await sealerOf('session').seal('hello');
    for (const leave of [
      (browser: BrowserClient) => browser.fetch('/bff/logout', { method: 'POST' }),
      (browser: BrowserClient) => browser.navigate('/bff/logout', { initiator: world.origin, follow: false }),
    ]) {
      const browser = world.client();
      browser.cookies.put({ name: browser.own('session'), value, domain: 'localhost', sameSite: 'strict' });
      await leave(browser);
      expect(browser.cookies.for(world.origin)).toEqual([]);
    }
    expect(faults()).toEqual([]);
  });

  const odd: [string, unknown[]][] = [
    ...[1, 2, 3, 4, 5].flatMap((index) =>
      [-1, 0.5, 1e15, 1e300, -1e300, Number.MAX_SAFE_INTEGER].map((value): [string, unknown[]] => [
        `${value} in place of number ${index}`,
        fieldsWith(index, value),
      ]),
    ),
    ...['alice', 5, [], null].map((value): [string, unknown[]] => [
      `${JSON.stringify(value)} as the UserInfo`,
      fieldsWith(6, value),
    ]),
    ...[7, 8, 9].flatMap((index) =>
      [5, -1, 1e300, 0.5, 'alice', {}, []].map((value): [string, unknown[]] => [
        `${JSON.stringify(value)} as field ${index}`,
        fieldsWith(index, value),
      ]),
    ),
    ['fields that a later version adds', [...fieldsWith(9, now), 'more', { of: 'them' }]],
    ['an empty id', fieldsWith(0, '')],
  ];

  test.each(odd)('%s leads to no error', async (_, fields) => {
    const headers = {
      cookie: `${cookieName('session', world.origin)}=${await sealerOf('session').seal(pack({ fields, tokens }))}`,
    };
    // An expired token whose refresh token the provider doesn't know ends the session; a good one reaches the API.
    expect((await world.client().fetch('/bff/session', { headers })).status).toBe(200);
    expect([200, 401]).toContain((await world.client().fetch('/api/me', { headers })).status);
    expect((await world.client().fetch('/bff/session', { headers })).status).toBe(200);
    expect((await world.client().fetch('/bff/logout', { headers, method: 'POST' })).status).toBe(200);
    expect(faults()).toEqual([]);
  });
});

/** Changes that disks, proxies and attackers make. */
interface Change {
  readonly kind: 'flip' | 'cut' | 'drop' | 'insert' | 'swap';
  readonly at: number;
  readonly code: number;
}

const changes = array(
  record<Change>({
    kind: constantFrom('flip', 'cut', 'drop', 'insert', 'swap'),
    at: nat({ max: 100_000 }),
    code: oneof(integer({ min: 0, max: 127 }), constantFrom(0, 10, 13, 34, 92, 127)),
  }),
  { minLength: 1, maxLength: 3 },
);

function changed(text: string, list: readonly Change[]): string {
  return list.reduce((before, { kind, at, code }) => {
    const index = at % Math.max(1, before.length);
    const [head, tail] = [before.slice(0, index), before.slice(index)];
    if (kind === 'cut') return head;
    if (kind === 'drop') return head + tail.slice(1);
    if (kind === 'insert') return head + String.fromCharCode(code) + tail;
    return kind === 'swap' ? tail + head : head + String.fromCharCode(code) + tail.slice(1);
  }, text);
}

/** Cookies of every kind, as a browser got them. */
async function cookiesOfEveryKind() {
  const browser = world.client();
  const callback = await leadToCallback(browser);
  const transaction = browser.cookies.for(world.origin).find(({ name }) => name.startsWith('login-'));
  const other = world.client();
  await signIn(other);
  const session = other.cookies.get(other.own('session'));
  await other.fetch('/bff/logout', { method: 'POST' });
  const ticket = other.cookies.get(other.own('logout'));
  if (transaction === undefined || session === undefined || ticket === undefined)
    throw new Error('a cookie is missing');
  return { browser, callback, transaction, session, ticket };
}

describe('content of ours that something has changed before it was sealed', () => {
  test('never makes an error of a session', async () => {
    const browser = world.client();
    await signIn(browser);
    const sealer = sealerOf('session');
    const text = sealer.unseal(browser.cookies.get(browser.own('session'))?.value ?? '') ?? '';
    expect(text.length).toBeGreaterThan(500);
    await assert(
      asyncProperty(changes, async (list) => {
        const headers = { cookie: `${cookieName('session', world.origin)}=${await sealer.seal(changed(text, list))}` };
        expect((await world.client().fetch('/bff/session', { headers })).status).toBe(200);
        expect([200, 401]).toContain((await world.client().fetch('/api/me', { headers })).status);
        expect(faults()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('never makes an error of a login transaction', async () => {
    const { browser, callback, transaction } = await cookiesOfEveryKind();
    const sealer = sealerOf('login transaction');
    const text = sealer.unseal(transaction.value) ?? '';
    expect(text.length).toBeGreaterThan(40);
    await assert(
      asyncProperty(changes, async (list) => {
        const attempt = browser.clone();
        const value = await sealer.seal(changed(text, list));
        attempt.cookies.replace(transaction.name, () => value);
        const page = await attempt.navigate(callback.href, { initiator: world.provider.issuer, follow: false });
        // A change that leaves it readable may complete the sign-in, or be what the provider refuses.
        expect([200, 302, 400, 403]).toContain(page.status);
        expect(faults()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('never makes an error of a sign-out ticket', async () => {
    const { ticket } = await cookiesOfEveryKind();
    const sealer = sealerOf('logout ticket');
    const text = sealer.unseal(ticket.value) ?? '';
    expect(text.length).toBeGreaterThan(40);
    await assert(
      asyncProperty(changes, async (list) => {
        const headers = { cookie: `${cookieName('logout', world.origin)}=${await sealer.seal(changed(text, list))}` };
        const page = await world.client().navigate('/bff/logout', { headers, follow: false });
        expect(page.status).toBe(302);
        expect(page.setCookies.join()).toMatch(/^logout-\d+=; Max-Age=0/);
        expect(faults()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

/** JSON and others that are no transaction. */
const noTransaction: [string, string][] = [
  ...noPacking,
  ...['null', '5', '"text"', '[]', '[null]', '{}', '{"state":null}', '{"state":{},"startedAt":"x"}'].map(
    (json): [string, string] => [`the JSON ${json}`, json],
  ),
];

describe('a login transaction that we sealed and that holds', () => {
  test.each(noTransaction)('%s is none: the page says so, and the next sign-in completes', async (_, content) => {
    const { browser, callback, transaction } = await cookiesOfEveryKind();
    const value = await sealerOf('login transaction').seal(content);
    browser.cookies.replace(transaction.name, () => value);
    world.provider.resetCalls();
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer, follow: false });
    expect(page.status).toBe(400);
    expect(page.text).toContain('login_transaction_invalid');
    expect(world.provider.calls.code).toBe(0);
    await signIn(browser);
    expect(faults()).toEqual([]);
  });
});

describe('a sign-out ticket that we sealed and that holds', () => {
  const noTicket: [string, string][] = [
    ...noPacking,
    ['a time that is a word', pack({ fields: 'soon', tokens: [idToken] })],
    ['a time that is an object', pack({ fields: {}, tokens: [idToken] })],
    ['no time', pack({ fields: null, tokens: [idToken] })],
    ['a time of long ago', pack({ fields: 17, tokens: [idToken] })],
    ['a session', pack({ fields: fieldsWith(), tokens })],
  ];
  test.each(noTicket)('%s is none: the way out ends in the app', async (_, content) => {
    const cookie = `${cookieName('logout', world.origin)}=${await sealerOf('logout ticket').seal(content)}`;
    const page = await world.client().navigate('/bff/logout', { headers: { cookie }, follow: false });
    expect([page.status, page.headers.location]).toEqual([302, '/']);
    expect(page.setCookies.join()).toMatch(/^logout-\d+=; Max-Age=0/);
    expect(faults()).toEqual([]);
  });
});

/** Cut, flipped, doubled, of another version, and in other spellings. */
function spoilt(sealed: string): string[] {
  const parts = sealed.split('.');
  const flipped = parts.map((part, index) => {
    const at = Math.floor(part.length / 2);
    return parts.with(index, part.slice(0, at) + (part[at] === '2' ? '3' : '2') + part.slice(at + 1)).join('.');
  });
  return [
    ...flipped,
    ...['', '0', '2', '9', 'v1', '１'].map((version) => parts.with(0, version).join('.')),
    ...parts.map((_, index) => parts.with(index, '').join('.')),
    ...parts.map((_, index) => parts.toSpliced(index, 1).join('.')),
    ...[1, 2, 20, sealed.length / 2].map((count) => sealed.slice(0, -count)),
    sealed.slice(1),
    sealed + sealed,
    `${sealed}.`,
    `"${sealed}"`,
    encodeURIComponent(`${sealed}=`),
  ].map((text) => Buffer.from(text).toString('latin1'));
}

describe('a seal of ours in the wrong shape', () => {
  test('is no session', async () => {
    const { session } = await cookiesOfEveryKind();
    for (const value of spoilt(session.value)) expect(await outcomeOf(`session=${value}`)).toEqual(noSession());
  });

  test('is no login transaction', async () => {
    const { browser, callback, transaction } = await cookiesOfEveryKind();
    for (const value of spoilt(transaction.value)) {
      const attempt = browser.clone();
      attempt.cookies.replace(transaction.name, () => value);
      const page = await attempt.navigate(callback.href, { initiator: world.provider.issuer, follow: false });
      expect([value, page.status]).toEqual([value, 400]);
    }
    const landed = await browser.navigate(callback.href, { initiator: world.provider.issuer, follow: false });
    expect([landed.status, faults()]).toEqual([landed.headers.location === undefined ? 200 : 302, []]);
  });

  test('is no sign-out ticket', async () => {
    const { ticket } = await cookiesOfEveryKind();
    for (const value of spoilt(ticket.value)) {
      const headers = { cookie: `${cookieName('logout', world.origin)}=${value}` };
      const page = await world.client().navigate('/bff/logout', { headers, follow: false });
      expect([page.status, page.headers.location]).toEqual([302, '/']);
    }
    expect(faults()).toEqual([]);
  });
});

/** One who has refreshed, an older cookie of theirs, and a process that has seen neither. */
async function startRefreshed() {
  fakeDate();
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const cluster = await startWorld({ config: { redisUrl: redis.url } });
  const newest = cluster.client();
  await signIn(newest);
  const older = newest.clone();
  expect((await newest.fetch('/bff/refresh', { method: 'POST' })).status).toBe(200);
  const key = [...(await redis.dump()).keys()].find((name) => name.startsWith('sallyport:content:'));
  if (key === undefined) throw new Error('the store holds no successor');
  const other = await cluster.addInstance();
  for (const browser of [newest, older]) browser.routeTo(other.port, cluster.origin);
  const sealer = createSealer(cluster.config.secrets, 'session');
  const record = /\{(.*)\}/.exec(key)?.[1] ?? '';
  const wrap = (sealed: string) => createEnvelopes(cluster.config.secrets).wrap(sealed, record);
  return { cluster, redis, key, newest, older, sealer, wrap };
}

describe('what a store keeps for an older cookie', () => {
  test('serves it, to begin with', async () => {
    const { older } = await startRefreshed();
    expect((await older.fetch('/api/me')).status).toBe(200);
  });

  test('and is somebody else’s session leads nobody there', async () => {
    const { cluster, redis, key, newest, older, sealer, wrap } = await startRefreshed();
    const bobs = `e30.${Buffer.from('{"sub":"bob"}').toString('base64url')}.c2ln`;
    const fields = ['bobs-session', 7, now, now, now, now + 3000];
    await redis.ask(
      'SET',
      key,
      wrap(await sealer.seal(pack({ fields, tokens: ['bobs-token', bobs, 'bobs-refresh-token'] }))),
    );
    expect((await older.fetch('/api/me')).status).toBe(401);
    expect((await older.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await newest.fetch('/bff/session')).at('user.sub')).toBe('alice');
    expect(cluster.api.requests.filter(({ token }) => token === 'bobs-token')).toEqual([]);
  });

  test.each<[string, (seal: (text: string) => Promise<string>) => Promise<string>]>([
    ['nothing', async () => ''],
    ['noise', async () => 'noise'],
    ['a seal of another key', async () => createSealer(['another secret of 32 characters!'], 'session').seal('x')],
    ...[...noPacking, ...otherShapes.filter((_, index) => index % 7 === 0)].map(
      ([title, content]): [string, (seal: (text: string) => Promise<string>) => Promise<string>] => [
        `a seal of ${title}`,
        (seal) => seal(content),
      ],
    ),
  ])('and is %s ends the older cookie only', async (_, contentOf) => {
    const { cluster, redis, key, newest, older, sealer, wrap } = await startRefreshed();
    await redis.ask('SET', key, wrap(await contentOf((text) => sealer.seal(text))));
    expect((await older.fetch('/api/me')).status).toBe(401);
    expect((await older.fetch('/bff/session')).at('authenticated')).toBe(false);
    expect((await newest.fetch('/api/me')).status).toBe(200);
    expect((await newest.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect(faults(cluster.logs)).toEqual([]);
    expect(cluster.provider.reusedRefreshTokens).toBe(0);
  });
});

function groupsOf(characters: number): string[] {
  return Array.from({ length: Math.ceil(characters / 30) }, () => 'engineering-department-eu-1');
}

/** A person in very many groups, which the ID token tells, and UserInfo once more. */
function startPopular(characters: number, { userInfo = false } = {}) {
  const login = { userInfo };
  return startWorld({
    config: { login },
    provider: { settings: { extraClaims: { groups: groupsOf(characters) } } },
  });
}

describe('claims that compress well', () => {
  // Of a token response, 1 MiB is taken: about 750,000 characters of claims.
  test.each([
    [100_000, false],
    [260_000, false],
    [300_000, false],
    [700_000, false],
    [300_000, true],
    [700_000, true],
  ])(
    'of %i characters (UserInfo: %s) make a session that another process opens, too',
    async (characters, userInfo) => {
      const popular = await startPopular(characters, { userInfo });
      const browser = popular.client();
      await signIn(browser);
      expect((await browser.fetch('/api/me')).status).toBe(200);
      await popular.restart();
      expect((await browser.fetch('/api/me')).status).toBe(200);
      const session = await browser.fetch('/bff/session');
      expect(session.status).toBe(200);
      expect(JSON.stringify(session.json()['user']).length).toBeGreaterThan(characters * 0.9);
      expect((await browser.fetch('/bff/refresh', { method: 'POST' })).status).toBe(200);
      await popular.restart();
      expect((await browser.fetch('/api/me')).status).toBe(200);
      expect(faults(popular.logs)).toEqual([]);
    },
    30_000,
  );

  test('let the person sign out, by an address that browsers and providers take', async () => {
    const popular = await startPopular(300_000);
    const browser = popular.client();
    await signIn(browser);
    await popular.restart();
    const out = await browser.fetch('/bff/logout', { method: 'POST' });
    expect(out.status).toBe(200);
    const way = await browser.navigate(String(out.json()['location']), { initiator: popular.origin, follow: false });
    expect(way.status).toBe(302);
    expect((way.headers.location ?? '').length).toBeLessThan(8192);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(false);
  });

  test('that come with a refresh only lose nobody the session, in this process or another', async () => {
    fakeDate();
    const popular = await startPopular(1000, { userInfo: true });
    const browser = popular.client();
    await signIn(browser);
    popular.provider.settings.extraClaims['groups'] = groupsOf(700_000);
    for (const round of [1, 2]) {
      expireAccessToken();
      for (const path of ['/api/1', '/api/2']) expect((await browser.fetch(path)).status).toBe(200);
      expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
      expect(popular.provider.calls.refresh).toBe(round);
      await popular.restart();
    }
    expect((await browser.fetch('/api/3')).status).toBe(200);
    expect(popular.provider.reusedRefreshTokens).toBe(0);
    expect(faults(popular.logs)).toEqual([]);
  }, 30_000);
});
