/**
 * The hooks of `sallyport/react` in Chromium, with React 18 and 19, in strict mode and in React's development build, which
 * reports what production hides. The browser module is a fake that does what a test says at the moment that it says, so
 * that every order of answers, events and unmounting can be had. With the real one: react-app.test.ts.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { bundleReactApp, loadServerApp, type ReactMajor } from '../support/react-bundle.ts';

const majors: readonly ReactMajor[] = ['18', '19'];
const scripts = new Map<ReactMajor, string>();
const pages = new Map<string, Page>();
const complaintsOf = new WeakMap<Page, string[]>();
let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
  for (const major of majors) scripts.set(major, await bundleReactApp(major, 'main'));
});

afterAll(() => browser?.close());

/** A page with the kit of react-app/main.tsx for all tests of a major version, with its clock stopped for some. */
async function loadPage(major: ReactMajor, hasStoppedClock: boolean): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(5_000);
  const complaints: string[] = [];
  complaintsOf.set(page, complaints);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  if (hasStoppedClock) await page.clock.install();
  await page.setContent('<!doctype html><title>React</title><div id="app"></div>');
  await page.addScriptTag({ content: scripts.get(major) ?? '' });
  expect(await page.evaluate('kit.version')).toMatch(new RegExp(`^${major}\\.`));
  // Later than the page takes to get here.
  if (hasStoppedClock) await page.clock.pauseAt(Date.now() + 3_600_000);
  return page;
}

/** An empty page, and two fake instances in it, `alice` and `bob`. Complaints of React and of the page fail the test. */
async function openPage(major: ReactMajor, hasStoppedClock = false): Promise<Page> {
  const key = `${major} ${hasStoppedClock}`;
  const page = pages.get(key) ?? (await loadPage(major, hasStoppedClock));
  pages.set(key, page);
  await page.evaluate(
    'kit.unmount(); kit.renders.length = 0; window.alice = kit.createFakeClient(); window.bob = kit.createFakeClient();',
  );
  onTestFinished(() => expect(complaintsOf.get(page)?.splice(0)).toEqual([]));
  return page;
}

const statusOf = (page: Page) => page.textContent('#status');
const countdownOf = (page: Page) => page.textContent('#countdown');
const resultOf = (page: Page) => page.textContent('#result');
const authOf = async (page: Page) => JSON.parse((await page.textContent('#auth')) ?? '') as unknown;
const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();

/** Waits until React has nothing left to do: its effects, and what they set, are through after two frames. */
function settled(page: Page): Promise<unknown> {
  return page.evaluate(
    'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))',
  );
}

/** As after a sleep: the clock has gone on, and the timers have not. */
async function sleep(page: Page, seconds: number): Promise<void> {
  const now = (await page.evaluate('Date.now()')) as number;
  await page.clock.setSystemTime(now + seconds * 1000);
}

describe.each(majors)('React %s', (major) => {
  test('shows what is known, as it changes', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('status', alice)");
    await expect.poll(() => statusOf(page)).toBe('loading');
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(() => statusOf(page)).toBe('signed-in Alice');
    await page.evaluate("alice.signOut('idle')");
    await expect.poll(() => statusOf(page)).toBe('signed-out idle');
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(() => statusOf(page)).toBe('signed-in Alice');
  });

  test('one subscription a component and one of the provider, in strict mode too, and none after them', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('two', alice)");
    await settled(page);
    expect(await page.evaluate('alice.listeners()')).toBe(3);
    await page.evaluate("kit.show('status', alice)");
    await settled(page);
    expect(await page.evaluate('alice.listeners()')).toBe(2);
    await page.evaluate('kit.unmount()');
    expect(await page.evaluate('alice.listeners()')).toBe(0);
  });

  test('an answer after the unmounting goes nowhere, and neither does a failure', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('status', alice)");
    await settled(page);
    await page.evaluate("kit.unmount(); alice.fail('the network is away')");
    await page.evaluate("kit.show('status', bob)");
    await settled(page);
    await page.evaluate("kit.unmount(); bob.signIn('Bob')");
    await settled(page);
    expect(await page.evaluate('[...new Set(kit.renders)]')).toEqual(['loading']);
  });

  test('says why nothing is known, until something is', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('status', alice); alice.fail('the network is away')");
    await expect.poll(() => statusOf(page)).toBe('loading the network is away');
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(() => statusOf(page)).toBe('signed-in Alice');
  });

  test('another instance is shown at once, without a render that mixes them', async () => {
    const page = await openPage(major);
    await page.evaluate("alice.signIn('Alice'); bob.signIn('Bob'); kit.show('status', alice)");
    await expect.poll(() => statusOf(page)).toBe('signed-in Alice');
    await page.evaluate("kit.renders.length = 0; kit.show('status', bob)");
    await expect.poll(() => statusOf(page)).toBe('signed-in Bob');
    expect(await page.evaluate('[...new Set(kit.renders)]')).toEqual(['signed-in Bob']);
    expect(await page.evaluate('[alice.listeners(), bob.listeners()]')).toEqual([0, 2]);
    await page.evaluate("alice.signIn('Carol')");
    await settled(page);
    expect(await statusOf(page)).toBe('signed-in Bob');
  });

  test('a failure of the former instance is not one of the present', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('status', alice); alice.fail('the network is away')");
    await expect.poll(() => statusOf(page)).toBe('loading the network is away');
    await page.evaluate("kit.renders.length = 0; kit.show('status', bob)");
    await expect.poll(() => statusOf(page)).toBe('loading');
    expect(await page.evaluate('[...new Set(kit.renders)]')).toEqual(['loading']);
    await page.evaluate("bob.fail('Sallyport is away')");
    await expect.poll(() => statusOf(page)).toBe('loading Sallyport is away');
  });

  test('a late failure of the former instance does not hide one of the present', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('status', alice)");
    await settled(page);
    await page.evaluate("kit.show('status', bob); bob.fail('Sallyport is away')");
    await expect.poll(() => statusOf(page)).toBe('loading Sallyport is away');
    await page.evaluate("alice.fail('the network is away')");
    await settled(page);
    expect(await statusOf(page)).toBe('loading Sallyport is away');
  });

  test('the gates show nothing before it is known who is there', async () => {
    const page = await openPage(major);
    const shown = () => page.locator('li').allTextContents();
    await page.evaluate("kit.show('gates', alice)");
    await settled(page);
    expect(await shown()).toEqual([]);
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(shown).toEqual(['in', 'in as Alice']);
    await page.evaluate("alice.signOut('operator')");
    await expect.poll(shown).toEqual(['out', 'out for operator']);
  });

  test('a render for another reason gives the same objects', async () => {
    const page = await openPage(major);
    await page.evaluate("alice.signIn('Alice'); kit.show('identity', alice)");
    for (const _ of [1, 2, 3]) await page.click('button');
    await expect.poll(() => page.textContent('button')).toBe('3 clicks, 0 changes');
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(() => page.textContent('button')).toBe('3 clicks, 1 changes');
  });
});

describe.each(majors)('React %s, the countdown', (major) => {
  /** A session that ends in so many seconds, and a component that counts down to it. */
  async function open(seconds: number, scene = 'countdown'): Promise<Page> {
    const page = await openPage(major, true);
    await page.evaluate(
      `alice.endsAt = Date.now() + ${seconds * 1000}; alice.signIn('Alice'); kit.show('${scene}', alice)`,
    );
    // React's effects are scheduled by messages, which the stopped clock leaves alone.
    await expect.poll(() => page.evaluate('alice.listeners()')).toBe(2);
    await page.clock.runFor(100);
    await page.evaluate('kit.renders.length = 0');
    return page;
  }

  test('renders nothing before the warning, and then once a second to the end', async () => {
    const page = await open(3600);
    await page.clock.runFor(3_500_000);
    expect(await page.evaluate('kit.renders')).toEqual([]);
    expect(await countdownOf(page)).toBe('quiet');
    await page.clock.runFor(40_000);
    expect(await countdownOf(page)).toBe('60 s');
    await page.clock.runFor(3_000);
    expect(await countdownOf(page)).toBe('57 s');
    expect(await page.evaluate('[...new Set(kit.renders)]')).toEqual(['60', '59', '58', '57']);
    await page.clock.runFor(120_000);
    expect(await countdownOf(page)).toBe('0 s');
    await page.evaluate("alice.endsAt = undefined; alice.signOut('idle')");
    await page.clock.runFor(100);
    expect(await countdownOf(page)).toBe('quiet');
  });

  test('warns as early as the app says', async () => {
    const page = await open(60, 'countdown10');
    await page.clock.runFor(45_000);
    expect(await countdownOf(page)).toBe('quiet');
    await page.clock.runFor(6_000);
    expect(await countdownOf(page)).toBe('9 s');
  });

  test('is right at once when the tab is shown again, and soon after a sleep that no event tells of', async () => {
    const page = await open(3600);
    await sleep(page, 3570);
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await page.clock.runFor(20);
    expect(await countdownOf(page)).toBe('30 s');

    const asleep = await open(3600);
    await sleep(asleep, 3560);
    expect(await countdownOf(asleep)).toBe('quiet');
    await asleep.clock.runFor(30_100);
    expect(await countdownOf(asleep)).toBe('10 s');
  });

  test('a session of 400 days waits quietly', async () => {
    const page = await open(34_560_000);
    const looks =
      'window.looks = 0; const before = alice.secondsLeft; alice.secondsLeft = () => { looks += 1; return before(); }';
    await page.evaluate(looks);
    await page.clock.runFor(300_000);
    expect(await page.evaluate('looks')).toBeLessThan(20);
    expect(await countdownOf(page)).toBe('quiet');
  });

  test('staying moves the end, or says that it doesn’t', async () => {
    const page = await open(30);
    expect(await countdownOf(page)).toMatch(/^[23]\d s$/);
    await page.evaluate("alice.answer = async () => { alice.signIn('Alice'); return kit.signedIn('Alice'); }");
    await press(page, 'Stay');
    await expect.poll(() => page.textContent('#result')).toBe('not moved');
    expect(await countdownOf(page)).toMatch(/^[23]\d s$/);
    await page.evaluate(
      "alice.answer = async () => { alice.endsAt = Date.now() + 900_000; alice.signIn('Alice'); return kit.signedIn('Alice'); }",
    );
    await press(page, 'Stay');
    await expect.poll(() => page.textContent('#result')).toBe('moved');
    expect(await countdownOf(page)).toBe('quiet');
  });

  test('leaves no timer and no subscription behind', async () => {
    const page = await open(30);
    await page.evaluate(`window.removed = []; const { removeEventListener } = document;
      document.removeEventListener = (type, listener) => {
        removed.push(type);
        removeEventListener.call(document, type, listener);
      };`);
    // What has changed just before is told just after.
    await page.evaluate(
      "alice.signIn('Alice'); alice.signOut(); kit.unmount(); alice.secondsLeft = () => { throw new Error('looked') }",
    );
    await page.evaluate('kit.renders.length = 0');
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await page.clock.runFor(60_000);
    expect(await page.evaluate('[alice.listeners(), kit.renders.length]')).toEqual([0, 0]);
    expect(await page.evaluate('removed')).toContain('visibilitychange');
    await page.evaluate('delete document.removeEventListener');
  });
});

describe.each(majors)('React %s, useAuth', (major) => {
  async function open(): Promise<Page> {
    const page = await openPage(major);
    await page.evaluate("kit.show('auth', alice)");
    await settled(page);
    return page;
  }

  test('has the shape of react-oidc-context', async () => {
    const page = await open();
    expect(await authOf(page)).toEqual({ user: 'unknown', is: 'loading' });
    await page.evaluate("alice.signIn('Alice')");
    await expect.poll(() => authOf(page)).toEqual({ user: 'Alice', is: 'authenticated' });
    await page.evaluate("alice.signOut('idle')");
    await expect.poll(() => authOf(page)).toEqual({ user: null, is: '' });
  });

  test('a session that can’t be read is an error, not an endless wait', async () => {
    const page = await open();
    await page.evaluate("alice.fail('the network is away')");
    const error = { error: 'unknown: the network is away', inner: 'Error: the network is away' };
    await expect.poll(() => authOf(page)).toEqual({ user: 'unknown', is: '', ...error });
  });

  test('its functions call the browser module’s, and every component sees which one is under way', async () => {
    const page = await open();
    await page.evaluate("alice.signIn('Alice')");
    const login = { returnTo: '/a', prompt: 'login', loginHint: 'alice', maxAge: 0, acrValues: 'x' };
    const expected = [
      ['redirect', 'signinRedirect', ['login', login]],
      ['popup', 'signinPopup', ['login', { popup: true }]],
      ['silent', 'signinSilent', ['refresh']],
      ['sign out', 'signoutRedirect', ['logout', { returnTo: '/bye' }]],
      ['remove', 'signoutRedirect', ['logout', {}]],
    ] as const;
    for (const [button, activeNavigator, call] of expected) {
      await press(page, button);
      await expect.poll(() => authOf(page)).toEqual({ user: 'Alice', is: 'authenticated,loading', activeNavigator });
      expect(await page.evaluate('alice.calls.at(-1)')).toEqual(call);
      // An option that is there and undefined would get lost on the way to this test.
      expect(await page.evaluate('Object.values(alice.calls.at(-1)[1] ?? {}).includes(undefined)')).toBe(false);
    }
  });

  test('a refused popup resolves to null and is an error until the next try', async () => {
    const page = await open();
    await page.evaluate("alice.signOut(); alice.answer = async () => { throw new Error('authorization_failed') }");
    await press(page, 'popup');
    await expect.poll(() => resultOf(page)).toBe('null');
    const error = { error: 'signinPopup: authorization_failed', inner: 'Error: authorization_failed' };
    expect(await authOf(page)).toEqual({ user: null, is: '', ...error });
    await page.evaluate("alice.answer = async () => { alice.signIn('Alice'); return kit.signedIn('Alice'); }");
    await press(page, 'popup');
    await expect.poll(() => authOf(page)).toEqual({ user: 'Alice', is: 'authenticated' });
    expect(await resultOf(page)).toBe('{"profile":{"sub":"Alice","name":"Alice"}}');
  });

  test('renewing resolves to the person, or to null when nobody is signed in', async () => {
    const page = await open();
    await page.evaluate("alice.answer = async () => kit.signedIn('Alice')");
    await press(page, 'silent');
    await expect.poll(() => resultOf(page)).toBe('{"profile":{"sub":"Alice","name":"Alice"}}');
    await page.evaluate("alice.answer = async () => ({ authenticated: false, loginUrl: '/bff/login' })");
    await press(page, 'silent');
    await expect.poll(() => resultOf(page)).toBe('null');
  });

  test('reading a token says what to delete, and copying a user reads none', async () => {
    const page = await open();
    await page.evaluate("alice.signIn('Alice')");
    await press(page, 'read token');
    await expect
      .poll(() => resultOf(page))
      .toMatch(/^Error: There is no access token in the browser: .+ Delete the code/);
    await press(page, 'copy user');
    await expect.poll(() => resultOf(page)).toBe('{"profile":{"sub":"Alice","name":"Alice"}}');
  });

  test('a page that comes back from the back-forward cache isn’t signing in any more', async () => {
    const page = await open();
    await page.evaluate('alice.signOut()');
    await press(page, 'redirect');
    await expect.poll(() => authOf(page)).toEqual({ user: null, is: 'loading', activeNavigator: 'signinRedirect' });
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: false }))");
    await settled(page);
    expect(await authOf(page)).toEqual({ user: null, is: 'loading', activeNavigator: 'signinRedirect' });
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))");
    await expect.poll(() => authOf(page)).toEqual({ user: null, is: '' });
  });

  test('withAuthenticationRequired signs in once, and shows its component afterwards', async () => {
    const page = await openPage(major);
    await page.evaluate("kit.show('guarded', alice)");
    await page.getByText('on the way').waitFor();
    await settled(page);
    expect(await page.evaluate('alice.calls')).toEqual([]);
    await page.evaluate('alice.signOut()');
    await expect.poll(() => page.evaluate('alice.calls')).toEqual([['login', { returnTo: '/deep' }]]);
    await settled(page);
    expect(await page.evaluate('alice.calls.length')).toBe(1);
    await page.evaluate("alice.signIn('Alice')");
    await page.getByText('secret of alice').waitFor();
  });

  test('withAuthenticationRequired signs in again when the session has run out', async () => {
    const page = await openPage(major);
    await page.evaluate("alice.signIn('Alice'); kit.show('guarded', alice)");
    await page.getByText('secret of alice').waitFor();
    await page.evaluate("alice.signOut('idle')");
    await expect.poll(() => page.evaluate('alice.calls')).toEqual([['login', { returnTo: '/deep' }]]);
  });

  test.each(['visibilitychange', 'focus', 'pageshow'])(
    'withAuthenticationRequired keeps a sign-out from nothing: it signs in when the person is back by %s',
    async (event) => {
      const page = await openPage(major);
      await page.evaluate("alice.signIn('Alice'); kit.show('guarded', alice)");
      await page.getByText('secret of alice').waitFor();
      await page.evaluate("alice.signOut('logout')");
      await page.getByText('on the way').waitFor();
      await settled(page);
      expect(await page.evaluate('alice.calls')).toEqual([]);
      await page.evaluate(`dispatchEvent(new Event('${event}'))`);
      await expect.poll(() => page.evaluate('alice.calls')).toEqual([['login', { returnTo: '/deep' }]]);
      await page.evaluate(`dispatchEvent(new Event('${event}'))`);
      await settled(page);
      expect(await page.evaluate('alice.calls.length')).toBe(1);
    },
  );

  test('withAuthenticationRequired signs in at once who comes to it after a sign-out', async () => {
    const page = await openPage(major);
    await page.evaluate("alice.signOut('logout'); kit.show('guarded', alice)");
    await expect.poll(() => page.evaluate('alice.calls.length')).toBe(1);
  });

  test('withAuthenticationRequired does not try again by itself after a failure', async () => {
    const page = await openPage(major);
    await page.evaluate(
      "alice.answer = async () => { throw new Error('no') }; alice.signOut(); kit.show('guarded', alice)",
    );
    await expect.poll(() => page.evaluate('alice.calls.length')).toBe(1);
    await settled(page);
    await settled(page);
    expect(await page.evaluate('alice.calls.length')).toBe(1);
  });
});

describe.each(majors)('React %s on a server', (major) => {
  test('renders the loading state, asks nothing, and is taken over without a difference', async () => {
    const { render, asked } = await loadServerApp(major);
    const markup = render();
    expect(markup).toBe(
      '<p id="status">loading</p><ul></ul><div><p id="countdown">quiet</p><button>Stay</button><p id="result"></p></div>',
    );
    expect(asked).toEqual([]);
    const page = await openPage(major);
    // What the browser knows already is not what the server rendered.
    await page.evaluate(`alice.signIn('Alice'); kit.hydrate(${JSON.stringify(markup)}, alice)`);
    await expect.poll(() => statusOf(page)).toBe('signed-in Alice');
    expect(await page.evaluate('kit.renders[0]')).toBe('loading');
  });

  test('a difference would be seen', async () => {
    const page = await openPage(major);
    const reported = page.waitForEvent('pageerror');
    await page.evaluate('kit.hydrate(\'<p id="status">signed-in</p>\', alice)');
    await reported;
    await settled(page);
    expect(complaintsOf.get(page)?.splice(0).join('\n')).toMatch(/hydrat/i);
  });
});
