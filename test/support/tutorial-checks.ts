/** What the tutorial promises the reader to see, step by step, in Chromium. */
import { createServer } from 'node:http';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { BrowserClient } from './browser-client.ts';
import { freePort, listen } from './listener.ts';
import { startProvider } from './provider.ts';
import type { Follower, TutorialStep } from './tutorial.ts';

const patient = { timeout: 30_000 };

interface Walk {
  readonly follower: Follower;
  readonly context: BrowserContext;
  page: Page;
  /** Where Vite says that it listens. */
  origin: string;
  /** What the reader has of their own. */
  readonly own: Map<string, string>;
}

/** Takes all steps, and sees after each what it promises. */
export async function walkThrough(steps: readonly TutorialStep[], follower: Follower, browser: Browser): Promise<void> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(patient.timeout);
  const said: string[] = [];
  context.on('console', (message) => said.push(message.text()));
  context.on('weberror', (error) => said.push(error.error().message));
  const walk: Walk = { follower, context, page: await context.newPage(), origin: '', own: new Map() };
  for (const [index, step] of steps.entries()) {
    const see = promises[index];
    if (see === undefined) throw new Error(`Nothing is looked at after the step "${step.title}".`);
    try {
      await prepare[index]?.(walk);
      await follower.take(step, walk.own);
      await see(walk);
    } catch (cause) {
      const shown = await walk.page.innerText('body');
      const page = `The page ${walk.page.url()} shows: ${shown}\nIts console: ${said.join('\n')}`;
      throw new Error(`In "${step.title}"\n${follower.output()}\n${page}`, { cause });
    }
  }
  expect(promises).toHaveLength(steps.length);
}

/** What the reader brings along. By the step, counted from 0. */
const prepare: Readonly<Record<number, (walk: Walk) => Promise<void>>> = {
  6: async ({ own }) => {
    const server = createServer((request, response) => {
      const token = request.headers.authorization?.startsWith('Bearer ');
      const notes = [{ id: '1', text: `of my own API, ${token ? 'with a token' : 'without a token'}` }];
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ notes }));
    });
    const port = await listen(server, 0);
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    own.set('http://127.0.0.1:8080', `http://127.0.0.1:${port}`);
  },
  7: async ({ own, origin }) => {
    const production = `http://localhost:${await freePort()}`;
    const origins = [origin, production];
    const provider = await startProvider({
      redirectUris: origins.map((each) => `${each}/bff/callback`),
      postLogoutRedirectUris: origins.map((each) => `${each}/`),
    });
    onTestFinished(() => provider.close());
    own.set('https://login.example.com', provider.issuer);
    own.set("id: 'my-app'", `id: '${provider.clientId}'`);
    own.set('the-secret-that-the-provider-gave-you', provider.clientSecret);
    own.set(
      'SALLYPORT_ORIGIN=https://app.example.com',
      `SALLYPORT_ORIGIN=${production} SALLYPORT_PORT=${new URL(production).port}`,
    );
    own.set('production', production);
  },
};

const promises: readonly ((walk: Walk) => Promise<void>)[] = [
  async ({ follower }) => {
    expect(await follower.type('node -p "require(\'./package.json\').name"')).toBe('my-app\n');
  },
  async ({ follower }) => {
    expect(await follower.type('npx sallyport --version')).toBe('0.1.0\n');
  },
  async (walk) => {
    const { page, follower } = walk;
    const said = () =>
      /Sallyport: (http:\/\/localhost:\d+), sign in as alice \/ alice/.exec(follower.running().output());
    await expect.poll(said, patient).not.toBeNull();
    walk.origin = said()?.[1] ?? '';
    // An edit before this reaches no page.
    const connected = page.waitForEvent('console', (message) => message.text().includes('[vite] connected'));
    await page.goto(walk.origin);
    await connected;
    await page.getByText('Get started').first().waitFor();
    const { authenticated, loginUrl } = await sessionOf(page);
    expect({ authenticated, loginUrl }).toEqual({ authenticated: false, loginUrl: '/bff/login' });
  },
  async ({ page, origin }) => {
    await signInAtDemo(page);
    await page.waitForURL(`${origin}/`);
    await page.getByText('Hello Alice Archer').waitFor();
    await page.reload();
    await page.getByText('Hello Alice Archer').waitFor();
    await signOut(page, origin);
    expect(await sessionOf(page)).toMatchObject({ authenticated: false });
  },
  async ({ page }) => {
    await signInAtDemo(page);
    await page.getByLabel('A note').fill('Oil the hinges');
    const [call] = await Promise.all([
      page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/api/notes')),
      page.getByRole('button', { name: 'Add' }).click(),
    ]);
    await page.getByText('Oil the hinges').waitFor();
    expect(await call.allHeaders()).not.toHaveProperty('authorization');
    await page.reload();
    await page.getByText('Oil the hinges').waitFor();
  },
  async ({ page, context, origin }) => {
    const inReach = '[document.cookie, ...Object.values(localStorage), ...Object.values(sessionStorage)].join("")';
    expect(await page.evaluate(inReach)).toBe('');
    const second = await context.newPage();
    await second.goto(origin);
    await second.getByText('Hello Alice Archer').waitFor();
    await signOut(page, origin);
    await second.getByRole('button', { name: 'Sign in' }).waitFor();
    await second.close();
  },
  async ({ page, follower }) => {
    await expect.poll(() => follower.running().output(), patient).toContain('server restarted');
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await signInAtDemo(page);
    await page.getByText('of my own API, with a token').waitFor();
  },
  async (walk) => {
    const { origin, own } = walk;
    await expect.poll(() => providerOf(origin), patient).toBe(own.get('https://login.example.com'));
    // Vite's restarts reload the page that is open, at any moment.
    await walk.page.close();
    const page = await walk.context.newPage();
    walk.page = page;
    await page.goto(`${origin}/bff/login?login_hint=alice`);
    await page.waitForURL(`${origin}/`);
    await page.getByText('of my own API, with a token').waitFor();
  },
  async ({ page, own, follower }) => {
    const production = own.get('production') ?? '';
    await expect.poll(() => follower.running().output(), patient).toContain('listening');
    await page.goto(`${production}/bff/login?login_hint=alice`);
    await page.waitForURL(`${production}/`);
    await page.getByText('of my own API, with a token').waitFor();
    await signOut(page, production);
    expect(await page.content()).not.toContain('/@vite/client');
  },
];

function sessionOf(page: Page): Promise<Record<string, unknown>> {
  return page.evaluate(`fetch('/bff/session').then((answer) => answer.json())`);
}

/** Where a sign-in would lead. */
async function providerOf(origin: string): Promise<string | undefined> {
  const browser = new BrowserClient({ origin });
  browser.routeTo(Number(new URL(origin).port), origin);
  try {
    const { headers } = await browser.navigate('/bff/login', { follow: false });
    return headers.location === undefined ? undefined : new URL(headers.location).origin;
  } finally {
    browser.close();
  }
}

async function signInAtDemo(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Sign in' }).click();
  // Where the provider knows the person already, it asks nothing.
  await page.getByText('Demo ID').or(page.getByText('Hello Alice Archer')).first().waitFor();
  if (await page.getByText('Hello Alice Archer').isVisible()) return;
  await page.getByLabel('User name').fill('alice');
  await page.getByLabel('Password').fill('alice');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Hello Alice Archer').waitFor();
}

/** By way of the provider, until the page is back. */
async function signOut(page: Page, origin: string): Promise<void> {
  const back = page.waitForEvent('framenavigated', (frame) => frame.url() === `${origin}/`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await back;
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
}
