/**
 * The demo in a real Chromium: what a newcomer does after `npm start`, from the sign-in at another site's provider to
 * the sign-out, with a look at everything that a script in the page could steal.
 */
import { createRemoteJWKSet, jwtVerify } from 'jose';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startDemo } from '../../spa-example/demo.ts';
import type { Demo } from '../../spa-example/demo.ts';
import { launchChromium } from '../support/chromium.ts';
import { freePort, startListener } from '../support/listener.ts';

const patient = { timeout: 10_000 };
/** Runs in the page: all the places where a script would look for a token. */
const everythingInReach = `(async () => ({
  cookie: document.cookie,
  local: Object.entries(localStorage),
  session: Object.entries(sessionStorage),
  databases: await indexedDB.databases(),
  caches: await caches.keys(),
  html: document.documentElement.outerHTML,
  view: await (await fetch('/bff/session')).text(),
}))()`;
/** A JWT in its compact form: base64url of `{"` is `eyJ`. */
const jwt = /eyJ[\w-]+\.[\w-]+\.[\w-]+/;

let demo: Demo;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let violations: string[];

beforeAll(async () => {
  demo = await startDemo({ port: await freePort(), overrides: { logLevel: 'silent' } });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await demo?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  page = await context.newPage();
  violations = [];
  page.on('pageerror', (error) => violations.push(error.message));
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) violations.push(message.text());
  });
});

afterEach(async () => {
  await context.close();
  if (violations.length > 0) throw new Error(`The page broke its own rules:\n${violations.join('\n')}`);
});

describe('signing in', () => {
  it('comes back from the provider to the page it left', async () => {
    await page.goto(`${demo.origin}/reports?month=5`);
    await signIn('alice');

    expect(page.url()).toBe(`${demo.origin}/reports?month=5`);
    await expect.poll(pageText, patient).toContain('Alice Archer');
    await expect.poll(pageText, patient).toContain('alice@example.com');
  });

  it('tells a person who got the password wrong, and lets them try again', async () => {
    await page.goto(demo.origin);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await submitCredentials('alice', 'wrong');
    await expect.poll(pageText, patient).toContain('That name and password do not match.');

    await submitCredentials('alice', 'alice');
    await expect.poll(pageText, patient).toContain('Alice Archer');
  });

  it('says what happened when the person cancels at the provider', async () => {
    await page.goto(demo.origin);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();

    await expect.poll(pageText, patient).toContain('authorization_failed');
    expect(new URL(page.url()).origin).toBe(demo.origin);
  });

  it('comes back with a notice when it asks without a question and nobody is signed in', async () => {
    await page.goto(`${demo.origin}/?month=5`);
    await page.getByRole('button', { name: 'Sign in without a question' }).click();

    await expect.poll(pageText, patient).toContain('The provider does not know you yet');
    expect(page.url()).toBe(`${demo.origin}/?month=5`);
  });
});

it('links to a tutorial that the browser shows rather than downloads', async () => {
  await page.goto(demo.origin);
  await page.getByRole('link', { name: 'Put your own app behind Sallyport' }).click();

  await expect.poll(pageText, patient).toContain('# Put your own SPA behind Sallyport');
});

describe('a person who is signed in', () => {
  beforeEach(async () => {
    await page.goto(demo.origin);
    await signIn('alice');
  });

  it('adds a note and removes it', async () => {
    const text = `Oil the hinges ${crypto.randomUUID()}`;
    await addNote(text);
    await page.reload();
    await expect.poll(pageText, patient).toContain(text);

    await page.getByRole('button', { name: `Remove "${text}"` }).click();
    await expect.poll(pageText, patient).not.toContain(text);
  });

  it('keeps working when the API refuses the access token: it is renewed on the way', async () => {
    await addNote(`Before ${crypto.randomUUID()}`);
    const before = await lastTokenName();
    await page.getByRole('button', { name: 'Expire my token now' }).click();
    await expect.poll(pageText, patient).toContain('The API now refuses this token');

    await addNote(`After ${crypto.randomUUID()}`);
    expect(await lastTokenName()).not.toBe(before);
    await expect.poll(pageText, patient).toContain('renewed');
  });

  it('gets twenty answers and one new token from twenty calls that need one at once', async () => {
    await page.getByRole('button', { name: 'Expire my token now' }).click();
    await expect.poll(pageText, patient).toContain('The API now refuses this token');
    await page.getByRole('button', { name: 'Fire 20 calls at once' }).click();

    await expect.poll(pageText, patient).toContain('20 of 20 calls succeeded. The API saw 1 token.');
    const tiles = page.getByRole('list', { name: 'Results of 20 calls' }).getByRole('listitem');
    expect(await tiles.count()).toBe(20);
    expect((await tiles.allTextContents()).every((text) => text.startsWith('200'))).toBe(true);
  });

  it('has nothing that a script could steal', async () => {
    const seen = await page.evaluate<Record<string, unknown>>(everythingInReach);

    expect(seen).toMatchObject({ cookie: '', local: [], session: [], databases: [], caches: [] });
    expect(seen['html']).toContain('Alice Archer');
    expect(seen['html']).not.toMatch(jwt);
    expect(seen['view']).toContain('"authenticated":true');
    expect(seen['view']).not.toMatch(jwt);
    const cookies = await context.cookies(demo.origin);
    expect(cookies).not.toEqual([]);
    expect(cookies.filter((cookie) => !cookie.httpOnly)).toEqual([]);
  });

  it('never sees a token in an answer or an address of the app', async () => {
    const seen: Promise<string>[] = [];
    page.on('response', (response) => {
      // Chromium keeps no body at all of an answer without content, and a stream doesn't end.
      if (!response.url().startsWith(demo.origin) || response.status() === 204) return;
      if (response.headers()['content-type']?.startsWith('text/event-stream')) return;
      seen.push(response.text().then((body) => `${response.url()}\n${body}`));
    });
    await addNote(`Seen ${crypto.randomUUID()}`);
    await page.getByRole('button', { name: 'Expire my token now' }).click();
    await expect.poll(pageText, patient).toContain('The API now refuses this token');
    await page.getByRole('button', { name: 'Fire 20 calls at once' }).click();
    await expect.poll(pageText, patient).toContain('20 of 20 calls succeeded');

    const exchanges = await Promise.all(seen);
    expect(exchanges.length).toBeGreaterThan(20);
    expect(exchanges.filter((exchange) => jwt.test(exchange))).toEqual([]);
  });

  it('is told when the session is over, and stays on the page', async () => {
    // Without this the page's own look at the session could be the first to notice; here the API call is to be it.
    let isCalled = false;
    page.on('request', (request) => (isCalled ||= request.method() === 'POST' && request.url().endsWith('/api/notes')));
    await page.route(/\/bff\/sessions?$/, (route) => (isCalled ? route.continue() : route.abort()));
    await context.clearCookies();
    await page.getByLabel('New note').fill('Too late');
    await page.getByRole('button', { name: 'Add', exact: true }).click();

    await expect.poll(pageText, patient).toContain('Your session is over');
    await page.getByRole('button', { name: 'Leave this page' }).click();
    await expect.poll(pageText, patient).toContain('Your session is over. Sign in to go on.');
    expect(page.url()).toBe(`${demo.origin}/`);
  });

  it('signs out of the app and of the provider', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in', exact: true }).waitFor();
    expect(page.url()).toBe(`${demo.origin}/`);

    await page.getByRole('button', { name: 'Sign in without a question' }).click();
    await expect.poll(pageText, patient).toContain('The provider does not know you yet');
  });
});

it('attaches tokens to calls of another API, which pass the checks that the demo names', async () => {
  const seen: string[] = [];
  const api = await startListener((request, response) => {
    seen.push(`${request.url} ${request.headers.authorization}`);
    response.end('{"notes":[]}');
  });
  const other = await startDemo({ port: await freePort(), api: `/api=http://127.0.0.1:${api.port}/v9` });
  try {
    await page.goto(`${other.origin}/bff/login`);
    await submitCredentials('bob', 'bob');
    await page.waitForURL(`${other.origin}/`);
    await page.evaluate("fetch('/api/orders?x=1').then((answer) => answer.json())");
    const [path, scheme, token = ''] = seen.find((call) => call.includes('/orders'))?.split(' ') ?? [];
    expect([path, scheme]).toEqual(['/v9/orders?x=1', 'Bearer']);
    const { issuer, audience, jwksUrl } = other.tokens;
    const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwksUrl)), { issuer, audience });
    expect(payload).toMatchObject({ sub: 'bob', scope: expect.stringContaining('notes') });
  } finally {
    await other.close();
    await api.close();
  }
});

async function signIn(username: string): Promise<void> {
  // Before it, a look at the session could be the first to notice that it is over.
  const connected = page.waitForResponse(`${demo.origin}/bff/events`);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await submitCredentials(username, username);
  await page.getByRole('heading', { name: 'Your notes' }).waitFor();
  await connected;
}

async function submitCredentials(username: string, password: string): Promise<void> {
  await page.getByLabel('User name').fill(username);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

async function addNote(text: string): Promise<void> {
  await page.getByLabel('New note').fill(text);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: `Remove "${text}"` }).waitFor();
}

function pageText(): Promise<string> {
  return page.innerText('body');
}

/** The token's name as the newest row of the call log shows it. */
async function lastTokenName(): Promise<string> {
  return page.locator('tbody tr').first().locator('td').last().locator('code').innerText();
}
