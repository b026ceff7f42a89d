/**
 * The demo as a showcase, in Chromium: what its panels say of the session is true, nothing typed is lost, and every state of
 * every page can be read and used by everybody: axe finds nothing in light and dark, narrow screens show all of it, and the
 * keyboard is enough.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { startDemo, type Demo } from '../../spa-example/demo.ts';
import { launchChromium } from '../support/chromium.ts';
import { fakeMovingDate } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';

const patient = { timeout: 10_000 };
const ownLooks = /\/bff\/sessions?$/;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const widths = [320, 390, 768, 1280];

let demo: Demo;
let browser: Browser;

beforeAll(async () => {
  demo = await startDemo({ port: await freePort(), overrides: { logLevel: 'silent' } });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await demo?.close();
});

async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  return context.newPage();
}

async function signedInPage(options: BrowserContextOptions = {}, { origin } = demo, username = 'alice'): Promise<Page> {
  const page = await openPage(options);
  await signInHere(page, origin, username);
  return page;
}

async function signInHere(page: Page, origin = demo.origin, username = 'alice'): Promise<void> {
  // Before the page hears of events, a look of its own could be the first to notice that the session is over.
  const connected = page.waitForResponse(`${origin}/bff/events`);
  await page.goto(`${origin}/bff/login`);
  await submitCredentials(page, username);
  await page.getByRole('heading', { name: 'Your notes' }).waitFor();
  await connected;
  await page.getByText('Loading your notes').waitFor({ state: 'detached' });
}

async function submitCredentials(page: Page, username: string, pin?: string): Promise<void> {
  await page.getByLabel('User name').fill(username);
  await page.getByLabel('Password').fill(username);
  if (pin !== undefined) await page.getByLabel('PIN').fill(pin);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();

/** Presses a button that opens a popup. */
async function popupOf(page: Page, button: string): Promise<Page> {
  const [popup] = await Promise.all([page.waitForEvent('popup'), press(page, button)]);
  return popup;
}

const panel = (page: Page, name: string) => page.getByRole('region', { name, exact: true });
const timelineOf = (page: Page) => page.getByRole('log').innerText();

describe('where I am signed in', () => {
  test('shows another browser as it signs in, and ends it', async () => {
    const here = await signedInPage({}, demo, 'bob');
    const sessions = panel(here, 'Where you are signed in').getByRole('listitem');
    await expect.poll(() => sessions.count(), patient).toBe(1);
    expect(await sessions.innerText()).toMatch(/Chrome on .*this one/);

    const there = await signedInPage({}, demo, 'bob');
    await expect.poll(() => sessions.count(), patient).toBe(2);
    await here.getByRole('button', { name: /^End it/ }).click();
    await expect.poll(() => sessions.count(), patient).toBe(1);
    expect(await here.evaluate('document.activeElement.id')).toBe('sessions-title');
    await expect.poll(() => there.innerText('body'), patient).toContain('You have signed out, here or from another');
    expect(await there.getByRole('heading', { name: 'Your notes' }).count()).toBe(0);
  });

  test('ends all others at once, and never those of another person', async () => {
    const here = await signedInPage();
    const others = [await signedInPage(), await signedInPage()];
    const bob = await signedInPage({}, demo, 'bob');
    await expect.poll(() => here.getByRole('button', { name: /^End it/ }).count(), patient).toBeGreaterThan(1);
    await press(here, 'End all others');
    for (const other of others) await other.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
    await expect.poll(() => here.getByRole('button', { name: /^End it/ }).count(), patient).toBe(0);
    await press(bob, 'Stay signed in');
    await expect.poll(() => panel(bob, 'Your session').innerText(), patient).toContain('Renewed: the token is new');
  });
});

test('the timeline tells of sign-in, refusal, renewal and repetition as they happen, and of one person only', async () => {
  const page = await signedInPage();
  const bob = await signedInPage({}, demo, 'bob');
  await expect.poll(() => timelineOf(page), patient).toContain('Signed in');
  await expect.poll(() => timelineOf(bob), patient).toContain('Signed in');
  await press(page, 'Expire my token now');
  await page.getByText('The API now refuses this token').waitFor();
  await press(page, 'Fire 20 calls at once');
  await expect.poll(() => timelineOf(page), patient).toMatch(/repeated[^]*Token renewed[^]*refused by the API/);
  await press(page, 'Sign out');
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  const again = await signedInPage();
  await expect.poll(() => timelineOf(again), patient).toContain('Session ended');
  expect(await timelineOf(bob)).not.toMatch(/refused|repeated/);
});

describe('the search for tokens', () => {
  test('looks everywhere, shows what it saw, and finds none', async () => {
    const page = await signedInPage();
    await press(page, 'Look for a token');
    await page.getByText('No token found in 15 places.').waitFor();
    const evidence = await page.evaluate<Record<string, string>>(
      `Object.fromEntries([...document.querySelectorAll('.findings li')].map((row) => [
        row.querySelector('summary span').textContent,
        row.querySelector('pre').textContent,
      ]))`,
    );
    expect(evidence).toMatchObject({
      'document.cookie': 'empty',
      localStorage: 'empty',
      sessionStorage: 'empty',
      IndexedDB: 'empty',
      'Cache API': 'empty',
      'GET /bff/session': expect.stringContaining('"authenticated":true'),
      'POST /bff/refresh': expect.stringContaining('"authenticated":true'),
      'GET /bff/sessions': expect.stringContaining('"current":true'),
      'GET /bff/events': expect.stringContaining('event: session'),
      'GET /api/token, the API’s own answer': expect.stringContaining('"subject":"alice"'),
      'GET /bff/login by fetch': expect.stringContaining('navigation_required'),
      'A sign-in in a hidden frame': expect.stringContaining('navigation_required'),
      'Messages between tabs': expect.stringContaining('"type":"session"'),
      'This document': expect.stringContaining('Alice Archer'),
    });
  });

  test.each([
    ['document.cookie', `document.cookie = 'refresh_token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln'`],
    ['localStorage', `localStorage.setItem('oidc.user', '{"access_token":"opaque-but-stolen"}')`],
    ['sessionStorage', `sessionStorage.setItem('t', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln')`],
    [
      'IndexedDB',
      `new Promise((resolve) => {
        const open = indexedDB.open('tokens', 1);
        open.onupgradeneeded = () => open.result.createObjectStore('s').put('eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln', 1);
        open.onsuccess = () => { open.result.close(); resolve(); };
      })`,
    ],
    ['Cache API', `caches.open('c').then((c) => c.put('/x', new Response('{"id_token":"opaque-but-stolen"}')))`],
    ['This document', `document.body.dataset.t = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln'`],
  ])('finds a token that is planted in %s, and says where', async (place, plant) => {
    const page = await signedInPage();
    await page.evaluate(plant);
    await press(page, 'Look for a token');
    await expect
      .poll(() => panel(page, 'What the browser can see').innerText(), patient)
      .toContain(`Found what looks like a token: ${place}.`);
  });
});

describe('when the session is over', () => {
  test('a half-filled note is kept, and sent after a sign-in in a popup', async () => {
    const page = await signedInPage();
    const text = `Half filled ${crypto.randomUUID()}`;
    await page.getByLabel('New note').fill(text);
    await meetTheEnd(page, 'Add');
    const popup = await popupOf(page, 'Sign in again');
    await popup.waitForEvent('close');
    await page.getByRole('button', { name: `Remove "${text}"` }).waitFor();
    expect(await page.getByRole('dialog').count()).toBe(0);
    expect(page.url()).toBe(`${demo.origin}/`);
  });

  test('where the browser opens no popup, the page is left, and the draft is there on the way back', async () => {
    const page = await openPage();
    await page.addInitScript('window.open = () => null');
    await signInHere(page);
    await page.getByLabel('New note').fill('Not yet sent');
    await meetTheEnd(page, 'Add');
    await press(page, 'Sign in again');
    await expect.poll(() => page.getByRole('dialog').count(), patient).toBe(0);
    await expect.poll(() => page.getByLabel('New note').inputValue(), patient).toBe('Not yet sent');
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
  });

  test('what one person has typed is neither sent nor shown in the name of another', async () => {
    const page = await signedInPage();
    const text = `Of Alice ${crypto.randomUUID()}`;
    await page.getByLabel('New note').fill(text);
    await page.context().clearCookies({ domain: '127.0.0.1' });
    await meetTheEnd(page, 'Add');
    await submitCredentials(await popupOf(page, 'Sign in again'), 'bob');
    await page.getByText('Bob Bailey').waitFor();
    expect(await page.getByLabel('New note').inputValue()).toBe('');
    // By then the call that waited would have been repeated.
    await page.getByLabel('New note').fill('Of Bob');
    await press(page, 'Add');
    await page.getByRole('button', { name: 'Remove "Of Bob"' }).waitFor();
    expect(await page.innerText('body')).not.toContain(text);
  });

  test('a person who leaves sees nothing of it any more', async () => {
    const page = await signedInPage();
    await meetTheEnd(page, 'Expire my token now');
    await page.keyboard.press('Escape');
    await page.getByText('Your session is over. Sign in to go on.').waitFor();
    expect(await page.innerText('body')).not.toContain('Alice');
  });

  test('the last minute is announced, and a click begins the idle time anew', async () => {
    const short = await startDemo({
      port: await freePort(),
      overrides: { logLevel: 'silent', session: { idleSeconds: 65 } },
    });
    onTestFinished(() => short.close());
    const page = await signedInPage({}, short);
    const warning = panel(page, 'Your session ends soon');
    await warning.waitFor({ timeout: 15_000 });
    expect(await warning.getByRole('alert').innerText()).toBe('Your session ends soon.');
    await warning.getByRole('button', { name: 'Stay signed in' }).click();
    await warning.waitFor({ state: 'detached' });
  });
});

test('the strongbox opens after a sign-in with a PIN, in a popup', async () => {
  const page = await signedInPage();
  await press(page, 'Open the strongbox');
  const popup = await popupOf(page, 'Confirm in a small window');
  await submitCredentials(popup, 'alice', '9999');
  await popup.getByText('Name, password and PIN do not match.').waitFor();
  await submitCredentials(popup, 'alice', '1234');
  await page.getByText('A brass key').waitFor();
  expect(await page.getByRole('dialog').count()).toBe(0);
});

test('the strongbox stays closed for those who decline', async () => {
  const page = await signedInPage();
  await press(page, 'Open the strongbox');
  await press(page, 'Not now');
  await expect
    .poll(() => panel(page, 'Your strongbox').innerText(), patient)
    .toContain('A stronger or fresher sign-in is required');
});

describe('the note that only a fresh sign-in may remove', () => {
  const remove = 'Remove "Where the spare key is"';

  test('goes after one in a popup, and the call is repeated', async () => {
    fakeMovingDate();
    const page = await signedInPage({}, demo, 'bob');
    vi.advanceTimersByTime(31_000);
    await press(page, remove);
    expect(await page.getByRole('dialog').innerText()).toContain('one of the last 30 seconds');
    const popup = await popupOf(page, 'Confirm in a small window');
    await submitCredentials(popup, 'bob');
    await page.getByRole('button', { name: remove }).waitFor({ state: 'detached' });
    expect(await page.getByRole('dialog').count()).toBe(0);
  });

  test('goes after one on the page itself, to which the person comes back', async () => {
    fakeMovingDate();
    const page = await signedInPage();
    vi.advanceTimersByTime(31_000);
    await press(page, remove);
    await press(page, 'Confirm on this page');
    await submitCredentials(page, 'alice');
    await page.waitForURL(`${demo.origin}/`);
    await press(page, remove);
    await page.getByRole('button', { name: remove }).waitFor({ state: 'detached' });
    expect(await panel(page, 'Your notes').innerText()).not.toContain('only a fresh sign-in');
  });
});

/**
 * The session is gone, and the one at the provider goes on; the call behind the button is to notice, and no look of the
 * page's own.
 */
async function meetTheEnd(page: Page, button: string): Promise<void> {
  await page.route(ownLooks, (route) => route.abort());
  const cookies = await page.context().cookies(demo.origin);
  const { port } = new URL(demo.origin);
  const session = cookies.find(({ name }) => name.startsWith(`session-${port}`));
  if (session === undefined) throw new Error('There is no session cookie.');
  await page.context().clearCookies({ name: session.name });
  await press(page, button);
  await page.getByRole('dialog', { name: 'Your session is over' }).waitFor();
  await page.unroute(ownLooks);
}

async function violationsOn(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate<AxeResults>(
    `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })`,
  );
  expect(passes.map(({ id }) => id)).toEqual(expect.arrayContaining(['color-contrast', 'region']));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

async function expectToFit(page: Page): Promise<void> {
  for (const width of widths) {
    await page.setViewportSize({ width, height: 800 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    const cut = await page.evaluate(`[...document.querySelectorAll('.card, table, button, td, .dialog')]
      .filter((one) => one.getBoundingClientRect().right > innerWidth || one.scrollWidth > one.clientWidth + 1)
      .map((one) => one.outerHTML.slice(0, 120))`);
    expect(cut, `at ${width} px`).toEqual([]);
  }
}

/** A way to each state of each page. */
const states: ReadonlyArray<readonly [name: string, go: (page: Page) => Promise<unknown>]> = [
  ['signed out', (page) => page.getByRole('button', { name: 'Sign in', exact: true }).waitFor()],
  [
    'unknown to the provider',
    async (page) => {
      await press(page, 'Sign in without a question');
      await page.getByText('The provider does not know you yet').waitFor();
    },
  ],
  ['the provider’s sign-in', (page) => page.goto(`${demo.origin}/bff/login`)],
  [
    'a wrong password',
    async (page) => {
      await page.goto(`${demo.origin}/bff/login`);
      await submitCredentials(page, 'alicia');
      await page.getByRole('alert').waitFor();
    },
  ],
  [
    'the server away',
    async (page) => {
      await page.route('**/bff/session', (route) => route.abort());
      await page.reload();
      await page.getByRole('alert').waitFor();
    },
  ],
  ['everything open', (page) => fillPage(page)],
  [
    'the API away',
    async (page) => {
      await page.route('**/api/notes', (route) => route.fulfill({ status: 502, json: { message: 'Away.' } }));
      await signInHere(page);
      await page.getByText('Away.').waitFor();
    },
  ],
  [
    'a stronger sign-in asked for',
    async (page) => {
      await signInHere(page);
      await press(page, 'Open the strongbox');
      await page.getByRole('dialog').waitFor();
    },
  ],
  [
    'the session over',
    async (page) => {
      await signInHere(page);
      await meetTheEnd(page, 'Expire my token now');
    },
  ],
];

async function fillPage(page: Page): Promise<void> {
  await signInHere(page);
  await page.getByLabel('New note').fill(`A word that is long${'!'.repeat(60)}`);
  await press(page, 'Add');
  await press(page, 'Expire my token now');
  await page.getByText('The API now refuses this token').waitFor();
  await press(page, 'Fire 20 calls at once');
  await page.getByText('20 of 20 calls succeeded').waitFor();
  await page
    .getByRole('button', { name: /^Remove/ })
    .first()
    .click();
  await expect.poll(() => panel(page, 'Latest calls').innerText(), patient).toMatch(/DELETE[^]*renewed/);
  await press(page, 'Look for a token');
  await page.getByText('No token found').waitFor();
  for (const row of await page.locator('.findings summary').all()) await row.click();
}

describe.each(['light', 'dark'] as const)('in %s', (colorScheme) => {
  test.each(states)('%s: axe finds nothing, and nothing is cut off', async (_name, go) => {
    const page = await openPage({ colorScheme, viewport: { width: 1280, height: 800 } });
    await page.goto(demo.origin);
    await go(page);
    expect(await violationsOn(page)).toEqual([]);
    await expectToFit(page);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await violationsOn(page)).toEqual([]);
  });
});

test('the keyboard is enough: skip link, order, visible focus, dialogs that give the focus back', async () => {
  const page = await openPage();
  await page.goto(demo.origin);
  await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('Skip to the content');
  await page.keyboard.press('Enter');
  expect(await page.evaluate('document.activeElement.id')).toBe('main');
  await page.keyboard.press('Tab');
  expect(await focused(page)).toBe('Sign in');
  await page.keyboard.press('Enter');
  await page.getByLabel('User name').waitFor();
  await page.keyboard.type('alice');
  await page.keyboard.press('Tab');
  await page.keyboard.type('alice');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Your notes' }).waitFor();

  const order: string[] = [];
  do {
    await page.keyboard.press('Tab');
    order.push(await focused(page));
    const outline = await page.evaluate(`getComputedStyle(document.activeElement).outlineStyle`);
    expect(outline, `the focus on ${order.at(-1)} is seen`).toBe('solid');
  } while (order.at(-1) !== 'Look for a token' && order.length < 40);
  expect(order.filter((name) => !/^(?:Remove|End)/.test(name))).toEqual([
    'Skip to the content',
    'Sign out',
    'New note',
    'Add',
    'Expire my token now',
    'Fire 20 calls at once',
    'Open the strongbox',
    'Stay signed in',
    'Look for a token',
  ]);

  await page.getByRole('button', { name: 'Open the strongbox' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  expect(await focused(page)).toBe('Confirm in a small window');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(await focused(page)).toBe('Open the strongbox');
});

function focused(page: Page): Promise<string> {
  return page.evaluate(
    `document.activeElement.labels?.[0]?.textContent || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent`,
  );
}

test('nothing moves for those who want no motion', async () => {
  const page = await signedInPage({ reducedMotion: 'reduce' });
  const moving = await page.evaluate(`[...document.querySelectorAll('*')].filter((one) => {
    const { transitionDuration, animationName } = getComputedStyle(one);
    return animationName !== 'none' || transitionDuration.split(', ').some((span) => span !== '0s');
  }).map((one) => one.outerHTML.slice(0, 80))`);
  expect(moving).toEqual([]);
});
