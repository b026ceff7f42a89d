/** Signing in, by a navigation and in a popup. */
import { describe, expect, test } from 'vitest';
import { createSallyport, type LoginOptions, type Sallyport, type SessionView } from '../../../src/browser/index.ts';
import { fakeBrowser, held, origin, signedIn, signedOut, type FakeBrowser } from './fake-browser.ts';

const signedInNow = { basePath: '/bff', type: 'signed-in' };
const here = '/orders?month=5#top';

/** The name that the page behind a popup has given itself. */
const nameIn = (address = '') => new URL(address).searchParams.get('popup');
const failedIn = (address?: string) => ({
  basePath: '/bff',
  type: 'sign-in-failed',
  code: 'authorization_failed',
  popup: nameIn(address),
});

const given: ReadonlyArray<readonly [options: LoginOptions | undefined, path: string, query: object]> = [
  [undefined, '/bff/login', { returnTo: here }],
  [{ returnTo: '/?a=1&b=2' }, '/bff/login', { returnTo: '/?a=1&b=2' }],
  [
    { prompt: 'login', acrValues: 'urn:a urn:b', maxAge: 0, loginHint: 'alice' },
    '/bff/login',
    { prompt: 'login', acr_values: 'urn:a urn:b', max_age: '0', login_hint: 'alice', returnTo: here },
  ],
  [
    { authorizationDetails: '[{"type":"payment"}]' },
    '/bff/login',
    { authorization_details: '[{"type":"payment"}]', returnTo: here },
  ],
  [{ url: '/bff/login?acr_values=gold' }, '/bff/login', { acr_values: 'gold', returnTo: here }],
  [{ url: `${origin}/bff/login?returnTo=%2Fx` }, '/bff/login', { returnTo: '/x' }],
  [{ url: '/bff/login?returnTo=%2Fx', returnTo: '/y' }, '/bff/login', { returnTo: '/y' }],
];

test.each(given)('login(%j) navigates to %s', async (options, path, query) => {
  const browser = fakeBrowser();
  void createSallyport().login(options);
  await browser.settle();
  const address = new URL(browser.navigated[0] ?? '');
  expect([address.origin, address.pathname]).toEqual([origin, path]);
  expect(Object.fromEntries(address.searchParams)).toEqual(query);
  expect(browser.navigated).toHaveLength(1);
});

test('a page whose address is too long for returnTo is come back to by its path', async () => {
  const browser = fakeBrowser();
  Object.assign(location, { href: `${origin}/orders?filter=${'x'.repeat(2048)}` });
  void createSallyport().login();
  await browser.settle();
  expect(new URL(browser.navigated[0] ?? '').searchParams.get('returnTo')).toBe('/orders');
});

test.each(['https://evil.example/bff/login', '//evil.example', 'javascript:alert(1)', 'data:text/html,x'])(
  'a login address of another origin goes nowhere: %s',
  async (url) => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    await expect(login({ url })).rejects.toMatchObject({ code: 'unexpected' });
    await expect(login({ url, popup: true })).rejects.toMatchObject({ code: 'unexpected' });
    expect([...browser.navigated, ...browser.popups]).toEqual([]);
  },
);

describe('in a popup', () => {
  test('it resolves with the session when the popup says so; calls of one moment wait for the same', async () => {
    const browser = fakeBrowser();
    browser.session = signedOut;
    const { login, current } = createSallyport();
    const waiting = [login({ popup: true }), login({ popup: true, loginHint: 'alice' })];
    expect(browser.popups[0]).toBe(
      `${origin}/bff/login?returnTo=${encodeURIComponent(here)}&display=popup&popup=${nameIn(browser.popups[0])}`,
    );
    expect(nameIn(browser.popups[1])).toBe(nameIn(browser.popups[0]));
    browser.session = signedIn();
    browser.post({ basePath: '/other', type: 'signed-in' });
    browser.post({ basePath: '/bff', type: 'session', session: signedIn() });
    await browser.settle();
    expect(browser.calls).toEqual([]);
    browser.post(signedInNow);
    expect(await Promise.all(waiting)).toEqual([signedIn(), signedIn()]);
    expect(current()).toEqual(signedIn());
    // The second asks after the first has begun to.
    expect(browser.calls).toEqual(['GET /bff/session', 'GET /bff/session']);
    expect(browser.navigated).toEqual([]);
  });

  test('an address that is a popup’s already says so once, and not where the browser opens none', async () => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    const url = '/bff/login?display=popup&returnTo=%2Fx';
    void login({ url, popup: true });
    browser.page.popupsBlocked = true;
    void login({ url, popup: true });
    await browser.settle();
    const addresses = [...browser.popups, ...browser.navigated].map((address) => new URL(address ?? '').search);
    expect(addresses).toEqual([`?display=popup&returnTo=%2Fx&popup=${nameIn(browser.popups[0])}`, '?returnTo=%2Fx']);
  });

  test('a look that began before the sign-in is not its result', async () => {
    const browser = fakeBrowser();
    const late = held();
    const { answer } = browser;
    browser.answer = () => late.answer;
    const { login, session } = createSallyport();
    const asked = session();
    await browser.settle();
    const waiting = login({ popup: true });
    browser.answer = answer;
    browser.post(signedInNow);
    await browser.settle();
    late.release(Response.json(signedOut));
    expect(await waiting).toEqual(signedIn());
    expect(await asked).toEqual(signedIn());
  });

  test('it rejects with the code when the sign-in failed, and the next one may succeed', async () => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    const refused = login({ popup: true });
    browser.post(failedIn(browser.popups[0]));
    await expect(refused).rejects.toMatchObject({ code: 'authorization_failed' });
    const next = login({ popup: true });
    browser.post(signedInNow);
    expect(await next).toEqual(signedIn());
    expect(browser.popups).toHaveLength(2);
  });

  test('the failure of a popup of another page, or of one that names none, is not its own', async () => {
    const browser = fakeBrowser();
    const other = createSallyport().login({ popup: true });
    const waiting = createSallyport().login({ popup: true });
    browser.post(failedIn(browser.popups[0]));
    browser.post({ basePath: '/bff', type: 'sign-in-failed', code: 'authorization_failed' });
    await expect(other).rejects.toMatchObject({ code: 'authorization_failed' });
    browser.post(signedInNow);
    expect(await waiting).toEqual(signedIn());
  });

  test('who has closed the popup gets another by the next call', async () => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    const first = login({ popup: true });
    await browser.pass(60);
    const second = login({ popup: true });
    expect(browser.popups).toHaveLength(2);
    browser.post(signedInNow);
    expect(await Promise.all([first, second])).toEqual([signedIn(), signedIn()]);
  });

  test('a signal ends the waiting, of its own call only', async () => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    const abort = new AbortController();
    const impatient = login({ popup: true, signal: abort.signal });
    const patient = login({ popup: true });
    abort.abort(new Error('never mind'));
    await expect(impatient).rejects.toThrow('never mind');
    browser.post(signedInNow);
    expect(await patient).toEqual(signedIn());
    expect(browser.channelsOpen()).toBe(0);
    const opened = browser.popups.length;
    await expect(login({ popup: true, signal: abort.signal })).rejects.toThrow('never mind');
    expect(browser.popups).toHaveLength(opened);
  });

  test('a failure that nobody waits for any more is no uncaught error', async () => {
    const browser = fakeBrowser();
    const abort = new AbortController();
    const impatient = createSallyport().login({ popup: true, signal: abort.signal });
    abort.abort();
    await expect(impatient).rejects.toMatchObject({ name: 'AbortError' });
    expect(browser.channelsOpen()).toBe(0);
    browser.post(failedIn(browser.popups[0]));
    await browser.settle();
  });

  test('a browser that blocks popups navigates instead', async () => {
    const browser = fakeBrowser();
    browser.page.popupsBlocked = true;
    void createSallyport().login({ popup: true });
    await browser.settle();
    expect(browser.popups).toEqual([]);
    expect(browser.navigated).toEqual([`${origin}/bff/login?returnTo=${encodeURIComponent(here)}`]);
  });
});

/** A page that signs in again as soon as nobody is signed in. */
async function signsInAgain(browser: FakeBrowser): Promise<Sallyport> {
  const sallyport = createSallyport();
  sallyport.subscribe(({ authenticated }) => {
    if (!authenticated) void sallyport.login();
  });
  await browser.settle();
  return sallyport;
}

describe('after a sign-out, a sign-in by a navigation waits, so that it does not overtake that of the provider', () => {
  const login = `${origin}/bff/login?returnTo=${encodeURIComponent(here)}`;
  const byPerson: SessionView = { authenticated: false, loginUrl: '/bff/login', reason: 'logout' };

  test('in the tab that signs out, until it comes back from the back-forward cache', async () => {
    const browser = fakeBrowser();
    const { logout } = await signsInAgain(browser);
    browser.answer = ({ method }) => Response.json(method === 'POST' ? { location: '/bff/logout/go' } : byPerson);
    await logout();
    await browser.pass(9);
    expect(browser.navigated).toEqual(['/bff/logout/go']);
    browser.fire('pageshow');
    await browser.settle();
    expect(browser.navigated).toEqual(['/bff/logout/go', login]);
  });

  test('in a tab that does not know who was signed in', async () => {
    const browser = fakeBrowser();
    browser.answer = () => Response.json({ location: '/bff/logout/go' });
    const { logout, login: signIn } = createSallyport();
    await logout();
    void signIn();
    await browser.settle();
    expect(browser.navigated).toEqual(['/bff/logout/go']);
  });

  test('in another tab, until it is seen, however long that takes', async () => {
    const browser = fakeBrowser();
    await signsInAgain(browser);
    browser.page.hidden = true;
    browser.sources()[0]?.say('signed-out', { reason: 'logout' });
    await browser.pass(3600);
    browser.fire('visibilitychange');
    await browser.settle();
    expect(browser.navigated).toEqual([]);
    browser.page.hidden = false;
    browser.fire('visibilitychange');
    await browser.settle();
    expect(browser.navigated).toEqual([login]);
  });

  test('in a window beside it for ten seconds, whatever the page asks for meanwhile', async () => {
    const browser = fakeBrowser();
    const { session } = await signsInAgain(browser);
    browser.session = byPerson;
    await session(0);
    await browser.pass(9);
    expect(browser.navigated).toEqual([]);
    await browser.pass(2);
    expect(browser.navigated).toEqual([login]);
  });

  test('but not in a popup, which a person has opened', async () => {
    const browser = fakeBrowser();
    const { subscribe, login: signIn } = createSallyport();
    subscribe(() => undefined);
    await browser.settle();
    browser.sources()[0]?.say('signed-out', { reason: 'logout' });
    void signIn({ popup: true });
    expect(browser.popups).toHaveLength(1);
  });

  test.each([
    ['of a session that ended otherwise', 'idle'],
    ['of a page that loads when it is over', 'logout'],
  ] as const)('nor %s', async (_story, reason) => {
    const browser = fakeBrowser();
    browser.session = reason === 'idle' ? signedIn() : byPerson;
    await signsInAgain(browser);
    browser.sources()[0]?.say('signed-out', { reason });
    await browser.settle();
    expect(browser.navigated).toEqual([login]);
  });
});
