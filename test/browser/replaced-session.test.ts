/**
 * A sign-in that another site began, while somebody else is signed in, in Chromium: it withholds the session's cookie on
 * the way, and only there is it seen what becomes of the pages between.
 */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startHttpsSites, type HttpsSites } from '../support/https-sites.ts';
import { acceptWebSockets } from '../support/web-socket.ts';
import { startWorld, within, type World } from '../support/world.ts';

const app = 'https://app.example.test';
const elsewhere = 'https://elsewhere.test';
const asBob = `${app}/bff/login?login_hint=bob&prompt=login`;
const patient = { timeout: 10_000 };

let sites: HttpsSites;
let browser: Browser;
let world: World;
let context: BrowserContext;
/** Where Alice has signed in, with a WebSocket open. */
let first: Page;
/** The cookie of Alice's session. */
let alices: string;

beforeAll(async () => {
  sites = await startHttpsSites();
  await sites.pages('elsewhere.test', {
    '/': `<!doctype html><title>Elsewhere</title><a href="${asBob}">Sign in as Bob</a>`,
    '/redirect': asBob,
  });
  browser = await launchChromium(sites.chromiumArguments);
});

afterAll(async () => {
  await browser?.close();
  await sites?.close();
});

beforeEach(async () => {
  world = await startWorld({ origin: app });
  sites.route('app.example.test', world.server.port);
  acceptWebSockets(world.api);
  context = await browser.newContext();
  context.setDefaultTimeout(patient.timeout);
  first = await context.newPage();
  await first.goto(`${app}/bff/login?login_hint=alice`);
  await first.waitForURL(`${app}/`);
  alices = await sessionCookie();
  await first.evaluate(`new Promise((resolve, reject) => {
    const socket = new WebSocket('/api/socket');
    window.goodbye = new Promise((done) => { socket.onclose = ({ code, reason }) => done({ code, reason }); });
    socket.onopen = resolve;
    socket.onerror = reject;
  }).then(() => undefined)`);
});

afterEach(() => context.close());

async function sessionCookie(): Promise<string> {
  const cookies = await context.cookies(app);
  return cookies.find(({ name }) => name === '__Host-Http-session')?.value ?? 'none';
}

/** What an API call with a copy of the session's cookie is answered. */
async function answerTo(cookie: string): Promise<unknown> {
  const thief = world.client();
  thief.cookies.put({ name: '__Host-Http-session', value: cookie, domain: 'app.example.test', secure: true });
  const answer = await thief.fetch('/api/me');
  return { status: answer.status, code: answer.json()['code'] };
}

const over = { status: 401, code: 'session_expired' };

function whoIsIn(page: Page): Promise<string> {
  return page.evaluate(
    `fetch('/bff/session').then((answer) => answer.json()).then(({ user }) => user?.name ?? 'nobody')`,
  );
}

const beginnings: ReadonlyArray<readonly [how: string, begin: (page: Page) => Promise<unknown>]> = [
  ['by a link on another site', (page) => page.goto(elsewhere).then(() => page.getByText('Sign in as Bob').click())],
  ['by its typed address', (page) => page.goto(asBob)],
  ['by a typed address elsewhere that redirects to it', (page) => page.goto(`${elsewhere}/redirect`)],
];

test.each(
  (['auto', 'form'] as const).flatMap((login) => beginnings.map(([how, begin]) => [how, login, begin] as const)),
)(
  'a sign-in begun %s (%s) ends the earlier session and its socket, and so does a sign-out',
  async (_how, login, begin) => {
    world.provider.settings.login = login;
    // A provider that knows Alice would ask whether to forget her.
    world.provider.revokeSession();
    const page = await context.newPage();
    await begin(page);
    if (login === 'form') await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${app}/`);

    expect(await within(5, first.evaluate('goodbye'), 'the socket stayed open')).toEqual({
      code: 4401,
      reason: 'session ended',
    });
    expect(await answerTo(alices)).toEqual(over);
    expect(await whoIsIn(page)).toBe('Bob Brown');
    expect(await whoIsIn(first)).toBe('Bob Brown');
    expect(world.logs.filter((line) => line.includes('"reason":"new_login"'))).toHaveLength(1);

    const bobs = await sessionCookie();
    world.provider.settings.login = 'auto';
    await page.evaluate(`fetch('/bff/logout', { method: 'POST' })
    .then((answer) => answer.json())
    .then(({ location: wayOut }) => location.assign(wayOut))`);
    await expect.poll(() => whoIsIn(first), patient).toBe('nobody');
    await expect.poll(() => page.url(), patient).toBe(`${app}/`);
    expect([await answerTo(bobs), await answerTo(alices)]).toEqual([over, over]);
    expect(await sessionCookie()).toBe('none');
  },
);

test('the page between leaves no step to go back to', async () => {
  world.provider.revokeSession();
  const page = await context.newPage();
  await page.goto(elsewhere);
  await page.getByText('Sign in as Bob').click();
  await page.waitForURL(`${app}/`);
  expect(await answerTo(alices)).toEqual(over);
  await page.goBack();
  expect(await page.title()).toBe('Elsewhere');
});

test('a delayed answer about a session that had ended leaves the session after it alone', async () => {
  const elsewhereOpen = world.client();
  elsewhereOpen.cookies.put({ name: '__Host-Http-session', value: alices, domain: 'app.example.test', secure: true });
  await elsewhereOpen.fetch('/bff/logout', { method: 'POST' });

  world.provider.revokeSession();
  world.provider.settings.login = 'form';
  const page = await context.newPage();
  await page.goto(asBob);
  const gate = sites.holdAnswer('app.example.test', '/bff/session');
  await first.evaluate(`window.late = fetch('/bff/session').then((answer) => answer.json()); undefined`);
  await within(5, gate.arrived, 'the tab did not ask');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${app}/`);
  gate.release();
  expect(await first.evaluate('late')).toMatchObject({ authenticated: false });
  expect(await whoIsIn(page)).toBe('Bob Brown');
  expect(await whoIsIn(first)).toBe('Bob Brown');
});
