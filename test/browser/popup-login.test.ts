/**
 * A login in a popup in Chromium, at a provider of another site, where SameSite, COOP and who may close a window are real:
 * the app's page stays as it is, the popup goes by itself, and a page of another site learns nothing from opening one.
 */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startHttpsSites, type HttpsSites } from '../support/https-sites.ts';
import { startWorld, type World, type WorldOptions } from '../support/world.ts';

const app = 'https://app.example.test';
const sibling = 'https://other.example.test';
const evil = 'https://evil.test';
const patient = { timeout: 10_000 };

let sites: HttpsSites;
let browser: Browser;
let context: BrowserContext;
let world: World;
let violations: string[];

beforeAll(async () => {
  sites = await startHttpsSites();
  const page = { '/': '<!doctype html><title>Elsewhere</title><button>Go</button>' };
  await sites.pages('evil.test', page);
  await sites.pages('other.example.test', page);
  browser = await launchChromium(sites.chromiumArguments);
});

afterAll(async () => {
  await browser?.close();
  await sites?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(patient.timeout);
  violations = [];
  context.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) violations.push(message.text());
  });
});

afterEach(() => context.close());

const spa = {
  'index.html':
    '<!doctype html><title>App</title><textarea></textarea><button>Sign in</button><script src="/app.js"></script>',
  'app.js': `
    window.heard = [];
    new BroadcastChannel('sallyport').onmessage = ({ data }) => window.heard.push(data);
    document.querySelector('button').onclick = () => {
      window.popup = window.open('/bff/login?display=popup&login_hint=alice', '_blank', 'popup,width=480,height=640');
    };`,
};

async function start(options: WorldOptions = {}): Promise<Page> {
  world = await startWorld({ origin: app, spa, ...options });
  sites.route('app.example.test', world.server.port);
  const page = await context.newPage();
  await page.goto(`${app}/`);
  return page;
}

function heardBy(page: Page): Promise<unknown> {
  return page.evaluate('window.heard');
}

async function openPopup(page: Page): Promise<Page> {
  const [popup] = await Promise.all([context.waitForEvent('page'), page.getByText('Sign in').click()]);
  return popup;
}

const whoIsIn = "fetch('/bff/session').then((answer) => answer.json()).then(({ user }) => user?.name ?? 'nobody')";

describe('the popup', () => {
  test.each([
    ['as the SPA is served by default', {}],
    ['where the app keeps no opener policy', { 'cross-origin-opener-policy': false as const }],
  ])('signs in, tells every tab, closes itself, and leaves what was typed (%s)', async (_story, headers) => {
    const page = await start({ config: (base) => ({ ...base, spa: { ...base.spa, headers } }) });
    world.provider.settings.login = 'form';
    const otherTab = await context.newPage();
    await otherTab.goto(`${app}/`);
    await page.locator('textarea').fill('half a letter');
    const popup = await openPopup(page);
    const isClosed = popup.waitForEvent('close', patient);
    await popup.getByRole('button', { name: 'Sign in' }).click();
    await isClosed;
    for (const tab of [page, otherTab]) {
      await expect.poll(() => heardBy(tab), patient).toEqual([{ basePath: '/bff', type: 'signed-in' }]);
      expect(await tab.evaluate(whoIsIn)).toBe('Alice Adams');
    }
    expect(await page.locator('textarea').inputValue()).toBe('half a letter');
    expect(violations).toEqual([]);
  });

  test('works through a provider that answers by a form', async () => {
    const page = await start({
      config: (base) => ({ ...base, client: { ...base.client, responseMode: 'form_post' } }),
    });
    const popup = await openPopup(page);
    if (!popup.isClosed()) await popup.waitForEvent('close', patient);
    await expect.poll(() => heardBy(page), patient).toEqual([{ basePath: '/bff', type: 'signed-in' }]);
    expect(await page.evaluate(whoIsIn)).toBe('Alice Adams');
    expect(violations).toEqual([]);
  });

  test('stays and says so in a tab that no script may close, with a way to the app', async () => {
    const page = await start();
    const tab = await context.newPage();
    await tab.goto(`${app}/`);
    await tab.goto(`${app}/bff/login?display=popup&login_hint=alice&returnTo=/orders`);
    await tab.getByRole('heading', { name: 'You are signed in' }).waitFor();
    await expect.poll(() => heardBy(page), patient).toEqual([{ basePath: '/bff', type: 'signed-in' }]);
    await tab.getByRole('link').click();
    await tab.waitForURL(`${app}/orders`);
  });

  test('shows a failure and tells it, and has a button that closes it', async () => {
    const page = await start();
    world.provider.refuseNext('access_denied');
    const popup = await openPopup(page);
    const button = popup.getByRole('button', { name: 'Close this window' });
    await button.waitFor();
    await expect
      .poll(() => heardBy(page), patient)
      .toEqual([{ basePath: '/bff', type: 'sign-in-failed', code: 'authorization_failed' }]);
    expect(await page.evaluate(whoIsIn)).toBe('nobody');
    // A click of the page's own: the driver's fails where the window closes before it has returned.
    const closed = popup.waitForEvent('close', patient);
    await button.evaluate((element: { click(): void }) => void setTimeout(() => element.click()));
    await closed;
    expect(violations).toEqual([]);
  });
});

describe('a page of another site', () => {
  /** What the page sees of the window that it opens, from when the provider is asked to the end of the login. */
  async function observe(story: 'succeeds' | 'fails'): Promise<string[]> {
    const page = await start();
    if (story === 'fails') world.provider.refuseNext('access_denied');
    const asked = world.provider.hold('authorization');
    const stranger = await context.newPage();
    await stranger.goto(`${evil}/`);
    await stranger.evaluate(`document.querySelector('button').onclick = () => {
      const popup = window.open('${app}/bff/login?display=popup&login_hint=alice');
      window.seen = new Set();
      window.look = () => [popup.closed, popup.length, String(popup.opener)].join(' ');
      setInterval(() => window.seen.add(window.look()), 1);
    }`);
    await stranger.getByText('Go').click();
    await asked.arrived;
    await expect.poll(() => stranger.evaluate('window.look()'), patient).toBe(cutOff);
    await stranger.evaluate('window.seen.clear()');
    asked.release();
    await expect.poll(() => heardBy(page), patient).toHaveLength(1);
    await stranger.evaluate('new Promise((done) => setTimeout(done, 100))');
    const seen: string[] = await stranger.evaluate('[...window.seen]');
    await world.stop();
    return seen;
  }

  const cutOff = 'true 0 null';

  test('that opens the popup is cut off before the provider is asked, and sees nothing of how the login ends', async () => {
    expect(await observe('succeeds')).toEqual([cutOff]);
    expect(await observe('fails')).toEqual([cutOff]);
  });

  test('of a sibling or of another site feeds the channel of the app nothing, and hears nothing of it', async () => {
    const page = await start();
    const strangers = [await context.newPage(), await context.newPage()];
    for (const [index, origin] of [sibling, evil].entries()) {
      await strangers[index]?.goto(`${origin}/`);
      await strangers[index]?.evaluate(`(() => {
        window.heard = [];
        window.channel = new BroadcastChannel('sallyport');
        window.channel.onmessage = ({ data }) => window.heard.push(data);
        window.channel.postMessage({ basePath: '/bff', type: 'signed-in', planted: true });
      })()`);
    }
    await openPopup(page);
    await expect.poll(() => heardBy(page), patient).toEqual([{ basePath: '/bff', type: 'signed-in' }]);
    for (const stranger of strangers) expect(await heardBy(stranger)).toEqual([]);
  });
});
