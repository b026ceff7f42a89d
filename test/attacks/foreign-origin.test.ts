/**
 * The attacker's story: "My page is open in another tab, or on a sibling subdomain whose requests carry even Strict
 * cookies. I fetch, I post forms, I open links and frames; I say I am the app's own origin wherever I may say anything.
 * I want the API to do something in the victim's name, a token to be spent, a session to end, or the victim to work in
 * my session without noticing."
 *
 * Must hold: a request of another origin reaches no API, spends no token, and begins or ends no session.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { BlockedByBrowser, type BrowserClient, type Exchange } from '../support/browser-client.ts';
import { expireAccessToken } from '../support/clock.ts';
import { sendRaw } from '../support/raw-call.ts';
import { leadToCallback, signIn, startWorld, type World } from '../support/world.ts';

const evil = 'https://evil.test';

const routes: ReadonlyArray<readonly [method: string, path: string]> = [
  ...['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'QUERY'].map((method) => [method, '/api/me'] as const),
  ['GET', '/bff/session'],
  ['POST', '/bff/refresh'],
  ['POST', '/bff/logout'],
  // Behind the sign-out, because with a session it would not end.
  ['GET', '/bff/events'],
];

type Headers = Record<string, string | null>;

const withoutMetadata: Headers = { 'sec-fetch-site': null, 'sec-fetch-mode': null, 'sec-fetch-dest': null };

/** What browsers say of a navigation that a service worker of the app has passed on. */
const passedOn = {
  chromium: { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'empty' },
  firefox: {
    'sec-fetch-site': 'same-origin',
    'sec-fetch-mode': 'same-origin',
    'sec-fetch-dest': 'empty',
    accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  },
};

const foreignReferers: ReadonlyArray<readonly [story: string, referer: string | null]> = [
  ['nothing', null],
  ['an empty text', ''],
  ['another site', `${evil}/`],
  ['another port', 'http://localhost:1/'],
  ['a name that begins alike', 'http://localhost.evil.test/'],
  ['the own origin in a query', `${evil}/?http://localhost/`],
  ['no address', 'localhost'],
];

/** What a call of the own origin sends, but for these headers; `null` takes one away. */
const forgeries: ReadonlyArray<readonly [story: string, headers: Headers]> = [
  ['no proof at all', { 'sec-fetch-site': null, origin: null }],
  ['no proof but the own Origin', { 'sec-fetch-site': null }],
  ['a foreign Origin', { origin: evil }],
  ['a foreign Origin and X-CSRF', { origin: evil, 'x-csrf': '1' }],
  ['a foreign Origin and X-CSRF, without metadata', { origin: evil, 'x-csrf': '1', 'sec-fetch-site': null }],
  ['Origin: null, from a sandboxed frame', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
  ['Origin: null, from a sibling', { origin: 'null', 'sec-fetch-site': 'same-site' }],
  ['Origin: null of what nobody caused', { origin: 'null', 'sec-fetch-site': 'none' }],
  ['Origin: null in capitals', { origin: 'NULL' }],
  ['Origin: null and X-CSRF, without metadata', { origin: 'null', 'x-csrf': '1', 'sec-fetch-site': null }],
  ['an empty Origin', { origin: '' }],
  ['the own host on another port', { origin: 'http://localhost:1' }],
  ['the own host with another scheme', { origin: 'https://localhost' }],
  ['Sec-Fetch-Site: cross-site', { 'sec-fetch-site': 'cross-site' }],
  ['Sec-Fetch-Site: cross-site and X-CSRF', { 'sec-fetch-site': 'cross-site', 'x-csrf': '1' }],
  ['Sec-Fetch-Site: cross-site, without Origin', { 'sec-fetch-site': 'cross-site', origin: null }],
  ['Sec-Fetch-Site: same-site', { 'sec-fetch-site': 'same-site' }],
  ['Sec-Fetch-Site: same-site and X-CSRF', { 'sec-fetch-site': 'same-site', 'x-csrf': '1' }],
  ['an unknown Sec-Fetch-Site', { 'sec-fetch-site': 'foo' }],
  ['an empty Sec-Fetch-Site', { 'sec-fetch-site': '' }],
  ['Sec-Fetch-Site in capitals', { 'sec-fetch-site': 'SAME-ORIGIN' }],
  ['two values of Sec-Fetch-Site', { 'sec-fetch-site': 'same-origin, cross-site' }],
  ['an unknown Sec-Fetch-Site and X-CSRF', { 'sec-fetch-site': 'foo', 'x-csrf': '1' }],
  ['an empty Sec-Fetch-Site and X-CSRF', { 'sec-fetch-site': '', 'x-csrf': '1' }],
  ['Sec-Fetch-Site in capitals and X-CSRF', { 'sec-fetch-site': 'SAME-ORIGIN', 'x-csrf': '1' }],
  ['two values of Sec-Fetch-Site and X-CSRF', { 'sec-fetch-site': 'same-origin, same-origin', 'x-csrf': '1' }],
  ['another value of X-CSRF', { 'sec-fetch-site': null, 'x-csrf': '0' }],
  ['an empty X-CSRF', { 'sec-fetch-site': null, 'x-csrf': '' }],
  ['two values of X-CSRF', { 'sec-fetch-site': null, 'x-csrf': '1, 1' }],
  ['X_CSRF', { 'sec-fetch-site': null, x_csrf: '1' }],
  ['the own Referer beside a part of the metadata', { 'sec-fetch-site': null, 'sec-fetch-dest': null, origin: null }],
  ['the own Referer and Origin: null, without metadata', { ...withoutMetadata, origin: 'null' }],
  ...foreignReferers.map(([story, referer]) => {
    return [`${story} as Referer, without metadata`, { ...withoutMetadata, origin: null, referer }] as const;
  }),
  // What a service worker of the app passes on is said to come from the app: by Chromium what a sibling has loaded ahead …
  ['a sibling’s Referer, passed on by a worker', { ...passedOn.chromium, referer: 'https://evil.example.test/' }],
  // … and by Firefox every navigation.
  ['a foreign Referer, passed on by a worker', { ...passedOn.firefox, referer: `${evil}/` }],
  ['no Referer, passed on by a worker', { ...passedOn.firefox, referer: null }],
];

let world: World;
let victim: BrowserClient;

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  world = await startWorld({}, { scope: 'manual' });
  victim = world.client();
  await signIn(victim);
  // Expired: whatever gets past the guard would have to refresh.
  expireAccessToken();
});

beforeEach(() => {
  world.provider.resetCalls();
  world.api.requests.length = 0;
});

/** Whatever was tried: nothing was spent, sent or ended. */
afterEach(async () => {
  const harm = [
    ...world.provider.requests.map(({ path }) => path).filter((path) => path.startsWith('/token')),
    ...world.api.requests.map(({ method, url }) => `${method} ${url}`),
    ...((await victim.fetch('/bff/session')).at('authenticated') === true ? [] : ['the session is over']),
  ];
  if (harm.length > 0) throw new Error(`harm was done: ${harm.join(', ')}`);
});

afterAll(async () => {
  vi.useRealTimers();
  await world.stop();
});

/** Nothing is done, told, set or granted. */
function refusalOf(answer: Exchange): Record<string, unknown> {
  const granted = Object.keys(answer.headers).filter((name) => name.startsWith('access-control-'));
  const isProblem = answer.method === 'HEAD' || answer.text.includes('request_forbidden');
  return { status: answer.status, isProblem, granted, setCookies: answer.setCookies };
}

const refused = { status: 403, isProblem: true, granted: [], setCookies: [] };

describe.each(routes)('%s %s is refused', (method, path) => {
  test.each(forgeries)('with %s', async (_story, headers) => {
    const answer = await victim.fetch(path, { method, headers: { origin: world.origin, ...headers } });
    expect(answer.requestHeaders['cookie']).toMatch(/session-\d+=/);
    expect(refusalOf(answer)).toEqual(refused);
  });

  test('to a page of another origin, with and without preflight', async () => {
    for (const from of [evil, 'http://localhost:1', 'http://sub.localhost:1', 'http://127.0.0.1:3000']) {
      const options = { method, credentials: 'include' } as const;
      const simple = await victim.fetch(path, { ...options, headers: {} }, { from }).catch(blockedAnswer);
      expect(refusalOf(simple)).toEqual({ ...refused, isProblem: expect.any(Boolean) });
      const preflighted = victim.fetch(path, { ...options, headers: { 'x-csrf': '1' } }, { from });
      await expect(preflighted).rejects.toThrow(BlockedByBrowser);
      expect(victim.seen.at(-1)?.head).not.toMatch(/access-control/i);
    }
  });

  test('as a form, a link or a frame on another site', async () => {
    for (const destination of ['document', 'iframe'] as const) {
      const isForm = method !== 'GET';
      const page = await victim.navigate(path, {
        initiator: evil,
        destination,
        follow: false,
        ...(isForm ? { form: { amount: '1000' } } : {}),
      });
      // A form can post only; where an endpoint takes no POST it says so.
      const expected = path === '/bff/session' && isForm ? 405 : 403;
      expect(page.status).toBe(expected);
      expect(page.setCookies).toEqual([]);
    }
  });
});

/** A simple request that the browser wouldn't send is preflighted, and that is what the server saw. */
function blockedAnswer(error: unknown): Exchange {
  if (!(error instanceof BlockedByBrowser)) throw error;
  const head = victim.seen.at(-1)?.head ?? '';
  return {
    method: 'OPTIONS',
    status: 403,
    text: '',
    setCookies: [],
    headers: Object.fromEntries(
      head
        .toLowerCase()
        .split('\n')
        .map((name) => [name, '']),
    ),
  } as unknown as Exchange;
}

describe('a preflight', () => {
  test.each(['/api/me', '/bff/session', '/bff/refresh', '/bff/logout', '/'])('of %s is not approved', async (path) => {
    for (const site of ['cross-site', 'same-site', null]) {
      const answer = await victim.fetch(path, {
        method: 'OPTIONS',
        headers: {
          origin: evil,
          'sec-fetch-site': site,
          'access-control-request-method': 'PUT',
          'access-control-request-headers': 'x-csrf',
        },
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
  });
});

describe('headers said twice', () => {
  test.each([
    ['Origin', ['Origin: http://ORIGIN', `Origin: ${evil}`]],
    ['Origin, the foreign one first', [`Origin: ${evil}`, 'Origin: http://ORIGIN']],
    ['Sec-Fetch-Site', ['Sec-Fetch-Site: cross-site']],
    ['Sec-Fetch-Site, in other letters', ['SEC-FETCH-SITE: same-site']],
  ])('%s: refused', async (_story, lines) => {
    const own = lines.map((line) => line.replace('http://ORIGIN', world.origin));
    for (const [method, path] of routes) {
      const answer = await sendRaw(world, victim, { method, target: path, lines: [...own, 'Content-Length: 0'] });
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    }
  });
});

describe('what comes from the own origin', () => {
  let own: World;
  let alice: BrowserClient;

  beforeAll(async () => {
    own = await startWorld({}, { scope: 'manual' });
    alice = own.client();
    await signIn(alice);
  });

  afterAll(() => own.stop());

  test.each([
    ['a browser’s metadata', {}],
    ['X-CSRF, where there is no metadata', { 'sec-fetch-site': null, 'x-csrf': '1' }],
    ['metadata without Origin', { origin: null }],
    ['metadata beside Origin: null, from a page under Referrer-Policy: no-referrer', { origin: 'null', referer: null }],
    ['its Referer, where a worker passed a navigation on', passedOn.chromium],
    ['its Referer, where a worker passed a navigation on in Firefox', passedOn.firefox],
    ['X-CSRF beside whatever mode', { ...passedOn.firefox, 'x-csrf': '1', referer: null }],
  ])('is believed by %s', async (_story, headers: Headers) => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
      expect((await alice.fetch('/api/me', { method, headers })).status).toBe(200);
    }
    expect((await alice.fetch('/bff/session', { headers })).at('authenticated')).toBe(true);
    expect((await alice.fetch('/bff/refresh', { method: 'POST', headers })).status).toBe(200);
  });

  test('is believed by its Referer alone where there is no metadata, and only where the call reads', async () => {
    const headers = { ...withoutMetadata, origin: null };
    for (const referer of [`${own.origin}/`, `${own.origin}/orders?page=2`]) {
      for (const method of ['GET', 'HEAD']) {
        expect((await alice.fetch('/api/report.pdf', { method, headers: { ...headers, referer } })).status).toBe(200);
      }
      expect((await alice.fetch('/bff/session', { headers: { ...headers, referer } })).at('authenticated')).toBe(true);
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY']) {
        expect((await alice.fetch('/api/me', { method, headers: { ...headers, referer } })).status).toBe(403);
      }
    }
    for (const referer of [own.origin, `${own.origin}1/`, `${own.origin}.evil.test/`, `${own.origin}@evil.test/`]) {
      expect((await alice.fetch('/api/me', { headers: { ...headers, referer } })).status).toBe(403);
    }
  });

  test('is not proved by a typed address that a worker passed on, except to /bff/session', async () => {
    const typed = { ...passedOn.chromium, origin: null, referer: null };
    for (const method of ['GET', 'HEAD'])
      expect((await alice.fetch('/api/me', { method, headers: typed })).status).toBe(403);
    expect((await alice.fetch('/bff/session', { headers: typed })).status).toBe(200);
    const ahead = { ...typed, 'sec-purpose': 'prefetch' };
    expect((await alice.fetch('/bff/session', { headers: ahead })).status).toBe(403);
  });

  test('is believed of a form that a worker passed on, whose page tells no Referer', async () => {
    const headers = { ...passedOn.chromium, origin: 'null', referer: null };
    expect((await alice.fetch('/api/orders', { method: 'POST', headers })).status).toBe(200);
  });

  test('is told to whoever comes from elsewhere', async () => {
    const answer = await alice.fetch('/api/me', { headers: { 'sec-fetch-site': 'cross-site' } });
    expect(answer.at('detail')).toContain(own.origin);
  });

  test('is not proved by a typed address, except to /bff/session: another site can redirect to one', async () => {
    const typed = { 'sec-fetch-site': 'none', origin: null };
    expect((await alice.fetch('/api/me', { headers: typed })).status).toBe(403);
    expect((await alice.fetch('/bff/session', { headers: typed })).status).toBe(200);
    const ahead = { ...typed, 'sec-purpose': 'prefetch' };
    expect((await alice.fetch('/bff/session', { headers: ahead })).status).toBe(403);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'QUERY']) {
      expect((await alice.fetch('/api/me', { method, headers: typed })).status).toBe(403);
    }
    expect((await alice.fetch('/bff/logout', { method: 'POST', headers: typed })).status).toBe(403);
  });

  test('needs X-CSRF as well where csrf.requireHeader says so', async () => {
    const strict = await startWorld({ config: { csrf: { requireHeader: true } } });
    const browser = strict.client();
    await browser.navigate('/bff/login');
    for (const [method, path] of routes) {
      expect(refusalOf(await browser.fetch(path, { method }))).toEqual(refused);
      expect(refusalOf(await browser.fetch(path, { method, headers: withoutMetadata }))).toEqual(refused);
      expect(refusalOf(await browser.fetch(path, { method, headers: passedOn.chromium }))).toEqual(refused);
      const crossSite = { 'sec-fetch-site': 'cross-site', 'x-csrf': '1' };
      expect(refusalOf(await browser.fetch(path, { method, headers: crossSite }))).toEqual(refused);
    }
    expect(strict.api.requests).toEqual([]);
    for (const [method, path] of routes) {
      expect((await browser.fetch(path, { method, headers: { 'x-csrf': '1' } })).status).toBe(200);
    }
  });
});

describe('a sibling subdomain, whose requests carry the Strict cookies', () => {
  const sibling = 'https://evil.example.test';
  let site: World;
  let alice: BrowserClient;

  beforeAll(async () => {
    site = await startWorld(
      {
        origin: 'https://app.example.test',
        config: (base) => ({ ...base, listen: { ...base.listen, host: '127.0.0.1' } }),
      },
      { scope: 'manual' },
    );
    alice = site.client();
    await signIn(alice);
  });

  afterAll(() => site.stop());

  test('calls no route of Sallyport or of an API', async () => {
    for (const [method, path] of routes.filter(([method]) => ['GET', 'HEAD', 'POST'].includes(method))) {
      const answer = await alice.fetch(path, { method, mode: 'no-cors', credentials: 'include' }, { from: sibling });
      expect(answer.requestHeaders).toMatchObject({ 'sec-fetch-site': 'same-site' });
      expect(answer.requestHeaders['cookie']).toContain('__Host-Http-session=');
      expect(refusalOf(answer)).toEqual(refused);
    }
    const form = await alice.submitForm('/api/transfer', { amount: '1000' }, { initiator: sibling });
    expect([form.requestHeaders['cookie']?.includes('__Host-Http-session='), form.status]).toEqual([true, 403]);
    expect(site.api.requests).toEqual([]);
  });

  test('signs nobody out: it doesn’t know the sid', async () => {
    for (const query of ['', '?sid=', '?sid=guess', `?sid=${'A'.repeat(22)}`, '?sid=a&sid=b', '?pause']) {
      await alice.navigate(`/bff/logout${query}`, {
        initiator: sibling,
        stopBefore: (url) => url.origin !== site.origin,
      });
      expect((await alice.fetch('/bff/session')).at('authenticated')).toBe(true);
    }
    const form = await alice.submitForm('/bff/logout', {}, { initiator: sibling });
    expect(form.status).toBe(403);
    expect((await alice.fetch('/bff/session')).at('authenticated')).toBe(true);
    expect(site.provider.calls.revocation).toBe(0);
  });

  test('can’t plant a session or a login transaction', async () => {
    const attacker = site.client();
    const callback = await leadToCallback(attacker);
    const transaction = attacker.cookies.for(site.origin).find(({ name }) => name.includes('login-'));
    const clean = site.client();
    for (const name of ['__Host-Http-session', transaction?.name ?? '', '__host-http-SESSION']) {
      for (const attributes of [
        'Domain=example.test; Path=/; Secure; HttpOnly',
        'Domain=example.test',
        'Path=/; Secure',
      ]) {
        const line = `${name}=${transaction?.value}; ${attributes}`;
        expect(
          clean.cookies.store(line, attributes.includes('Domain') ? sibling : site.origin, 'same-site', true),
        ).toBe(false);
      }
    }
    const page = await clean.navigate(callback.href, { initiator: sibling, follow: false });
    expect(page.status).toBe(400);
    expect(site.provider.calls.code).toBe(1);
  });
});

describe('login CSRF: the victim is to work in the attacker’s session', () => {
  test('the attacker’s code and state do nothing in a clean browser', async () => {
    const own = await startWorld();
    const attacker = own.client();
    const callback = await leadToCallback(attacker);
    const clean = own.client();
    const page = await clean.navigate(callback.href, { initiator: evil, follow: false });
    expect([page.status, page.setCookies, own.provider.calls.code]).toEqual([400, [], 0]);
    // And the attacker's own browser could have used them: the refusal was for the missing transaction.
    expect((await attacker.navigate(callback.href, { initiator: own.provider.issuer })).status).toBe(200);
  });

  test('nor do they in the middle of the victim’s own sign-in, which goes on', async () => {
    const own = await startWorld();
    const attacker = own.client();
    const theirs = await leadToCallback(attacker, '/bff/login?login_hint=bob');
    const clean = own.client();
    const mine = await leadToCallback(clean, '/bff/login?login_hint=alice');
    expect((await clean.navigate(theirs.href, { initiator: evil, follow: false })).status).toBe(400);
    await clean.navigate(mine.href, { initiator: own.provider.issuer });
    expect((await clean.fetch('/bff/session')).at('user.name')).toBe('Alice Adams');
  });

  test('nor does the attacker’s code with the victim’s own state, which ends that sign-in', async () => {
    const own = await startWorld();
    const theirs = await leadToCallback(own.client(), '/bff/login?login_hint=bob');
    const clean = own.client();
    const mine = await leadToCallback(clean, '/bff/login?login_hint=alice');
    const mixed = new URL(mine);
    mixed.searchParams.set('code', theirs.searchParams.get('code') ?? '');
    const injected = await clean.clone().navigate(mixed.href, { initiator: evil, follow: false });
    // PKCE: another transaction's code doesn't fit this one's verifier.
    expect([injected.status, injected.setCookies.filter((line) => line.startsWith('session'))]).toEqual([403, []]);
    expect((await clean.navigate(mine.href, { initiator: own.provider.issuer })).status).toBe(400);
    await signIn(clean);
    expect((await clean.fetch('/bff/session')).at('user.name')).toBe('Alice Adams');
  });
});

describe('session fixation: the attacker’s session is planted before the victim signs in', () => {
  test('signing in starts another session and ends the planted one', async () => {
    const own = await startWorld();
    const attacker = own.client();
    await signIn(attacker, 'bob');
    const planted = attacker.cookies.get(attacker.own('session'))?.value ?? '';
    const browser = own.client();
    browser.cookies.store(`${browser.own('session')}=${planted}; Path=/; HttpOnly; SameSite=Strict`, own.origin);
    await signIn(browser, 'alice');
    expect(browser.cookies.get(browser.own('session'))?.value).not.toBe(planted);
    expect((await browser.fetch('/bff/session')).at('user.name')).toBe('Alice Adams');
    expect((await attacker.fetch('/bff/session')).at('authenticated')).toBe(false);
  });
});

describe('a link on another site', () => {
  test.each(['', '?sid=guess', '?pause', '?sid=a&sid=b'])('to /bff/logout%s signs nobody out', async (query) => {
    for (const destination of ['document', 'iframe'] as const) {
      const stopBefore = (url: URL) => url.origin !== world.origin;
      const page = await victim.navigate(`/bff/logout${query}`, { initiator: evil, destination, stopBefore });
      expect(page.chain.flatMap((hop) => hop.setCookies)).toEqual([]);
    }
    await victim.fetch(
      '/bff/logout',
      { mode: 'no-cors', credentials: 'include', destination: 'image' },
      { from: evil },
    );
    expect((await victim.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('to /bff/refresh or an API refreshes nothing', async () => {
    for (const path of ['/bff/refresh', '/api/me', '/bff/session']) {
      const page = await victim.navigate(path, { initiator: evil, follow: false });
      expect([403, 405]).toContain(page.status);
    }
  });
});
