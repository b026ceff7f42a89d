/**
 * A sign-in while another session lives: however it was begun (typed, by a link on another site, by way of pages that
 * redirect) and whatever the browser withheld on the way, the earlier session is over when it is done.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import type { BrowserClient, NavigateOptions, Navigation } from '../support/browser-client.ts';
import type { BrowserProfile } from '../support/cookie-jar.ts';
import { startListener } from '../support/listener.ts';
import { acceptWebSockets, closeOf, openSocket } from '../support/web-socket.ts';
import {
  leadToCallback,
  startSignedIn,
  startWorld,
  within,
  type SignedInWorld,
  type World,
  type WorldOptions,
} from '../support/world.ts';

const origin = 'https://app.example.test';
const elsewhere = 'https://elsewhere.test';
const asBob = '/bff/login?prompt=login&login_hint=bob';

const profiles: readonly BrowserProfile[] = ['chromium', 'firefox', 'safari'];

/** Where the sign-in is begun: by a link on the page of the initiator, or typed; and with which address. */
const beginnings: ReadonlyArray<readonly [how: string, options: NavigateOptions, address: string]> = [
  ['by a link on another site', { initiator: elsewhere }, asBob],
  ['by a link on a sibling subdomain', { initiator: 'https://sibling.example.test' }, asBob],
  ['by the app', { initiator: origin }, asBob],
  ['by its typed address', {}, asBob],
  ['by a link in the app to a page elsewhere that redirects to it', { initiator: origin }, `${elsewhere}/`],
];

/**
 * Firefox and Safari hold Strict cookies back after such a redirect and yet call the request typed (`none`), which can't
 * be told from a person's first sign-in: there the earlier session lives on, unseen, until its own end.
 */
const typedElsewhere = ['by a typed address elsewhere that redirects to it', {}, `${elsewhere}/`] as const;

/** Alice, signed in; `https://elsewhere.test/` redirects to a sign-in as Bob. */
async function startBesideRedirect(profile: BrowserProfile, options: WorldOptions = {}): Promise<SignedInWorld> {
  const world = await startSignedIn({ origin, profile, ...options });
  const redirecting = await startListener((_, response) => {
    response.writeHead(302, { location: `${origin}${asBob}` }).end();
  });
  onTestFinished(() => redirecting.close());
  world.browser.routeTo(redirecting.port, elsewhere);
  return world;
}

/** The ways of a provider: it redirects on and on, or asks on a page, which makes the way back a link of its own. */
const ways: Record<string, (journey: SignedInWorld, begin: () => Promise<Navigation>) => Promise<Navigation>> = {
  redirects({ provider }, begin) {
    // A provider that knows Alice would ask whether to forget her.
    provider.revokeSession();
    return begin();
  },
  async asks({ provider, browser }, begin) {
    provider.settings.login = 'form';
    const form = await begin();
    expect(form.text).toContain('<h1>Sign in</h1>');
    return browser.navigate(form.url, { initiator: provider.issuer, form: { user: 'bob' } });
  },
};

/** What the cookies of an earlier moment are good for. */
async function goodFor(old: BrowserClient): Promise<[status: number, codeOrSubject: unknown]> {
  const answer = await old.fetch('/api/me');
  return [answer.status, answer.json()['code'] ?? answer.at('sub')];
}

const over: Awaited<ReturnType<typeof goodFor>> = [401, 'session_expired'];

function newLogins({ logs }: World): number {
  return logs.filter((line) => line.includes('"reason":"new_login"')).length;
}

describe.each(profiles)('in %s a session ends with a sign-in that was begun', (profile) => {
  describe.each(Object.entries(ways))('(the provider %s)', (_, lead) => {
    test.each([...beginnings, ...(profile === 'chromium' ? [typedElsewhere] : [])])(
      '%s',
      async (_how, options, address) => {
        const journey = await startBesideRedirect(profile);
        const { browser, provider } = journey;
        const sockets = acceptWebSockets(journey.api);
        const { socket } = await openSocket(journey, browser);
        await sockets.accepted();
        const closed = closeOf(socket);
        const old = browser.clone();
        provider.resetCalls();

        const landed = await lead(journey, () => browser.navigate(address, options));
        expect([landed.url, landed.status]).toEqual([`${origin}/`, 200]);
        expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
        expect(provider.calls.code).toBe(1);
        expect(await goodFor(old)).toEqual(over);
        expect(await closed).toEqual({ code: 4401, reason: 'session ended' });
        expect(newLogins(journey)).toBe(1);

        const bobs = browser.clone();
        await browser.fetch('/bff/logout', { method: 'POST' });
        expect([await goodFor(bobs), await goodFor(old)]).toEqual([over, over]);
        expect(browser.cookies.for(origin).map(({ name }) => name)).toEqual(['__Host-Http-logout']);
      },
    );
  });
});

/**
 * A sign-in that a link on another site began, up to its way back. The link says that the page which makes the browser
 * show its session was there already.
 */
async function leadBack({ browser, provider }: SignedInWorld): Promise<URL> {
  provider.revokeSession();
  const stopped = await browser.navigate(`${asBob}&sallyport_continued=1`, {
    initiator: elsewhere,
    stopBefore: (url) => url.pathname === '/bff/callback',
  });
  return new URL(stopped.headers.location ?? '', stopped.url);
}

describe('the way back of a sign-in that another site began', () => {
  test('leads to the page that requires a login, too', async () => {
    const journey = await startBesideRedirect('firefox', {
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin: true } }),
    });
    const { browser } = journey;
    const old = browser.clone();
    const landed = await browser.navigate(`${asBob}&returnTo=${encodeURIComponent('/orders?page=2#tab')}`, {
      initiator: elsewhere,
    });
    expect([landed.url, landed.status]).toEqual([`${origin}/orders?page=2#tab`, 200]);
    expect(await goodFor(old)).toEqual(over);
  });

  test('costs nobody a page more who was not signed in here, nor one whom the app sent', async () => {
    const world = await startWorld({ origin });
    const stranger = world.client();
    const first = await stranger.navigate('/bff/login', { initiator: origin });
    const again = await stranger.navigate('/bff/login?prompt=login', { initiator: origin });
    for (const { chain } of [first, again]) {
      expect(chain.filter(({ url }) => url.startsWith(`${origin}/bff/callback`)).map(({ status }) => status)).toEqual([
        302,
      ]);
    }
  });

  test('is used up by what completes it, and by nothing before', async () => {
    const journey = await startBesideRedirect('chromium');
    const { browser, provider } = journey;
    const back = await leadBack(journey);
    provider.resetCalls();
    const page = await browser.navigate(back.href, { initiator: elsewhere, follow: false });
    expect([page.status, provider.calls.token]).toEqual([200, 0]);
    expect(page.setCookies.filter((line) => line.startsWith('__Host-Http-session'))).toEqual([]);
    expect(await goodFor(browser)).toEqual([200, 'alice']);
    await browser.navigate(back.href, { initiator: elsewhere });
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect((await browser.navigate(back.href, { initiator: elsewhere })).status).toBe(400);
    expect(provider.calls.token).toBe(1);
  });

  test('comes to its end where the browser calls every step of it cross-site', async () => {
    const journey = await startBesideRedirect('safari');
    const { browser, provider } = journey;
    const back = await leadBack(journey);
    provider.resetCalls();
    const headers = { 'sec-fetch-site': 'cross-site' };
    const landed = await within(5, browser.navigate(back.href, { initiator: elsewhere, headers }), 'no end came');
    expect([landed.url, landed.status]).toEqual([`${origin}/`, 200]);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect(provider.calls.code).toBe(1);
  });

  test('shows a page that lets nobody see or frame the code, and runs nothing of what came with it', async () => {
    const journey = await startBesideRedirect('chromium');
    const { browser } = journey;
    const back = await leadBack(journey);
    back.searchParams.set(
      'session_state',
      '"><script>alert(1)</script><meta http-equiv="refresh" content="0;url=//x">',
    );
    const page = await browser.navigate(back.href, { initiator: elsewhere, follow: false });
    expect(page.status).toBe(200);
    expect(page.text).not.toMatch(/<script>alert|url=\/\/x/);
    expect(page.headers).toMatchObject({
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
    });
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    expect((await browser.navigate(back.href, { initiator: elsewhere })).url).toBe(`${origin}/`);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
  });

  test.each([
    ['ahead', { prefetch: true }],
    ['in a frame', { destination: 'iframe' }],
  ] as const)('goes nowhere when it is loaded %s', async (_where, options) => {
    const journey = await startBesideRedirect('chromium');
    const { browser, provider } = journey;
    const back = await leadBack(journey);
    const page = await browser.navigate(back.href, { initiator: elsewhere, follow: false, ...options });
    expect([page.status, page.setCookies]).toEqual([400, []]);
    expect(provider.calls.code).toBe(1);
    expect(await goodFor(browser)).toEqual([200, 'alice']);
  });

  test('is refused at once where it belongs to no sign-in of this browser', async () => {
    const journey = await startBesideRedirect('chromium');
    const { browser } = journey;
    const theirs = await leadToCallback(journey.client(), asBob);
    const page = await browser.navigate(theirs.href, { initiator: elsewhere });
    expect([page.status, page.chain.length, page.setCookies]).toEqual([400, 1, []]);
    expect(await goodFor(browser)).toEqual([200, 'alice']);
  });

  test('keeps the earlier session when the provider says no', async () => {
    const journey = await startBesideRedirect('chromium');
    const { browser, provider } = journey;
    provider.revokeSession();
    provider.refuseNext('access_denied');
    const page = await browser.navigate(asBob, { initiator: elsewhere });
    expect(page.status).toBe(403);
    expect(await goodFor(browser)).toEqual([200, 'alice']);
    expect(newLogins(journey)).toBe(0);
  });
});

describe('where the provider answers by a form (response_mode=form_post)', () => {
  test.each(profiles)('in %s a session ends with a sign-in that another site began', async (profile) => {
    const journey = await startBesideRedirect(profile, {
      config: (base) => ({ ...base, client: { ...base.client, responseMode: 'form_post' } }),
    });
    const { browser } = journey;
    const old = browser.clone();
    const landed = await ways.redirects?.(journey, () => browser.navigate(asBob, { initiator: elsewhere }));
    expect(landed?.url).toBe(`${origin}/`);
    expect((await browser.fetch('/bff/session')).at('user.sub')).toBe('bob');
    expect(await goodFor(old)).toEqual(over);
  });
});
