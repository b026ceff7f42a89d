/** Signing in, by a navigation and in a popup. */
import { describe, expect, test } from 'vitest';
import { createSallyport, type LoginOptions } from '../../../src/browser/index.ts';
import { fakeBrowser, held, origin, signedIn, signedOut } from './fake-browser.ts';

const signedInNow = { basePath: '/bff', type: 'signed-in' };
const here = '/orders?month=5#top';

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
  const address = new URL(browser.navigated[0] ?? '');
  expect([address.origin, address.pathname]).toEqual([origin, path]);
  expect(Object.fromEntries(address.searchParams)).toEqual(query);
  expect(browser.navigated).toHaveLength(1);
});

test('a page whose address is too long for returnTo is come back to by its path', async () => {
  const browser = fakeBrowser();
  Object.assign(location, { href: `${origin}/orders?filter=${'x'.repeat(2048)}` });
  void createSallyport().login();
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
    expect(browser.popups[0]).toBe(`${origin}/bff/login?returnTo=${encodeURIComponent(here)}&display=popup`);
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

  test('an address that is a popup’s already says so once, and not where the browser opens none', () => {
    const browser = fakeBrowser();
    const { login } = createSallyport();
    const url = '/bff/login?display=popup&returnTo=%2Fx';
    void login({ url, popup: true });
    browser.page.popupsBlocked = true;
    void login({ url, popup: true });
    const addresses = [...browser.popups, ...browser.navigated].map((address) => new URL(address ?? '').search);
    expect(addresses).toEqual(['?display=popup&returnTo=%2Fx', '?returnTo=%2Fx']);
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
    browser.post({ basePath: '/bff', type: 'sign-in-failed', code: 'authorization_failed' });
    await expect(refused).rejects.toMatchObject({ code: 'authorization_failed' });
    const next = login({ popup: true });
    browser.post(signedInNow);
    expect(await next).toEqual(signedIn());
    expect(browser.popups).toHaveLength(2);
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
    browser.post({ basePath: '/bff', type: 'sign-in-failed', code: 'authorization_failed' });
    await browser.settle();
  });

  test.each([
    ['blocks popups', 'blocked'],
    ['has no channel for the result', 'BroadcastChannel'],
  ] as const)('a browser that %s navigates instead', async (_story, lacks) => {
    const browser = fakeBrowser({ without: lacks === 'blocked' ? [] : [lacks] });
    browser.page.popupsBlocked = lacks === 'blocked';
    void createSallyport().login({ popup: true });
    expect(browser.popups).toEqual([]);
    expect(browser.navigated).toEqual([`${origin}/bff/login?returnTo=${encodeURIComponent(here)}`]);
  });
});
