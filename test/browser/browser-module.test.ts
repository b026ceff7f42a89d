/**
 * `sallyport/browser` as an app bundles it, in Chromium and against the real server: one connection for all tabs, a
 * sign-out that all of them see, and each answer of Sallyport's made for real.
 */
import { stripTypeScriptTypes } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { bundleForBrowsers } from '../support/browser-bundle.ts';
import { launchChromium } from '../support/chromium.ts';
import { startHttpsSites, type HttpsSites } from '../support/https-sites.ts';
import { linkStore } from '../support/linked-store.ts';
import { codeBlocks } from '../support/markdown.ts';
import { acceptWebSockets } from '../support/web-socket.ts';
import { startWorld, type World, type WorldOptions } from '../support/world.ts';

const app = 'https://app.example.test';
const patient = { timeout: 10_000 };
/** How soon every tab sees a sign-out. */
const soonMs = 300;

let sites: HttpsSites;
let browser: Browser;
let context: BrowserContext;
let world: World;
let modules: Record<string, string>;
/** The tabs that have asked for the events, in their order. */
let connected: Page[];

beforeAll(async () => {
  modules = {
    'sallyport.js': await bundleForBrowsers('src/browser/index.ts'),
    'reconnecting.js': await bundleForBrowsers('src/browser/reconnecting.ts'),
  };
  sites = await startHttpsSites();
  browser = await launchChromium(sites.chromiumArguments);
});

afterAll(async () => {
  await browser?.close();
  await sites?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(patient.timeout);
  connected = [];
  context.on('request', (request) => {
    if (request.url() === `${app}/bff/events`) connected.push(request.frame().page());
  });
});

afterEach(() => context.close());

const appScript = `
  import { createSallyport } from '/sallyport.js';
  import { reconnecting } from '/reconnecting.js';
  window.hooks = [];
  const hook = (problem) => (window.hooks.push(problem), window.onHook?.(problem));
  window.sallyport = createSallyport({ onLoginRequired: hook, onStepUpRequired: hook });
  window.reconnecting = (open) => reconnecting(open, sallyport);
  window.views = [];
  sallyport.subscribe((view) => views.push({ ...view, at: Date.now() }));
`;

async function start(options: WorldOptions = {}): Promise<Page> {
  const index = '<!doctype html><title>App</title><textarea></textarea><script type="module" src="/app.js"></script>';
  world = await startWorld({ origin: app, spa: { 'index.html': index, 'app.js': appScript, ...modules }, ...options });
  sites.route('app.example.test', world.server.port);
  const tab = await context.newPage();
  await tab.goto(`${app}/bff/login?login_hint=alice`);
  await isKnown(tab);
  return tab;
}

async function anotherTab(): Promise<Page> {
  const tab = await context.newPage();
  await tab.goto(`${app}/`);
  await isKnown(tab);
  return tab;
}

async function isKnown(tab: Page): Promise<void> {
  await expect.poll(() => tab.evaluate('window.sallyport?.current() !== undefined'), patient).toBe(true);
}

/** Who the tab believes is signed in. */
function knownIn(tab: Page): Promise<unknown> {
  return tab.evaluate('sallyport.current().user?.name ?? sallyport.current().reason ?? "nobody"');
}

/** The API is called as an app does; what it answers. */
function call(tab: Page, init = '{}'): Promise<{ status: number; body: Record<string, unknown> }> {
  return tab.evaluate(`sallyport.apiFetch('/api/orders', ${init}).then(async (answer) => {
    const text = await answer.text();
    return { status: answer.status, body: text.startsWith('{') ? JSON.parse(text) : {} };
  })`);
}

function hooksOf(tab: Page): Promise<string[]> {
  return tab.evaluate('hooks.map(({ code }) => code)');
}

/** Ends the session behind the tabs' backs. */
async function endElsewhere(): Promise<void> {
  const cookies = await context.cookies(app);
  const thief = world.client();
  for (const { name, value } of cookies) {
    thief.cookies.put({ name, value, domain: 'app.example.test', secure: true });
  }
  await thief.fetch('/bff/logout', { method: 'POST' });
}

describe('three tabs', () => {
  test('have one connection, which another tab has when the first is closed', async () => {
    const first = await start();
    const others = [await anotherTab(), await anotherTab()];
    await expect.poll(() => connected.length, patient).toBe(1);
    expect(connected).toEqual([first]);
    await first.close();
    await expect.poll(() => connected.length, patient).toBe(2);
    expect(others).toContain(connected[1]);
  });

  test('all see at once that one of them signs out', async () => {
    const first = await start();
    const others = [await anotherTab(), await anotherTab()];
    await expect.poll(() => connected.length, patient).toBe(1);
    const tab = others[0] as Page;
    const begun = await tab.evaluate('const at = Date.now(); void sallyport.logout({ returnTo: "/" }); at');
    for (const other of [first, others[1] as Page]) {
      await expect.poll(() => knownIn(other), patient).toBe('logout');
      const seen = await other.evaluate<{ reason: string; at: number }>('views.at(-1)');
      expect(seen.reason).toBe('logout');
      expect(seen.at - Number(begun)).toBeLessThan(soonMs);
    }
  });

  test('all see at once that the session was ended elsewhere, and who signs in next', async () => {
    const first = await start();
    const second = await anotherTab();
    await expect.poll(() => connected.length, patient).toBe(1);
    await endElsewhere();
    for (const tab of [first, second]) await expect.poll(() => knownIn(tab), patient).toBe('logout');
    const third = await context.newPage();
    await third.goto(`${app}/bff/login?login_hint=bob&prompt=login`);
    for (const tab of [first, second]) await expect.poll(() => knownIn(tab), patient).toBe('Bob Brown');
    await expect.poll(() => connected.length, patient).toBe(2);
  });
});

test('the documented reload takes Back from others, and the sign-out from nobody', async () => {
  const tab = await start();
  const other = await anotherTab();
  const documented = codeBlocks('docs/browser.md').find(({ code }) => code.includes('location.reload()'));
  const script = stripTypeScriptTypes(documented?.code ?? '').replace('sallyport/browser', '/sallyport.js');
  const body = `${script}\nsubscribe(() => { window.isFollowed = true; });`;
  await context.route(`${app}/documented.js`, (route) => route.fulfill({ contentType: 'text/javascript', body }));
  for (const page of [tab, other]) {
    await page.evaluate('window.isOld = true');
    await page.addScriptTag({ type: 'module', url: '/documented.js' });
    await expect.poll(() => page.evaluate('window.isFollowed'), patient).toBe(true);
  }
  await tab.bringToFront();
  await other.evaluate("Object.defineProperty(document, 'hidden', { value: true })");
  // The server ends the session, revokes the tokens at the provider, and answers then.
  const revocation = world.provider.hold('revocation');
  const atProvider = tab.waitForRequest(/\/session\/end/, patient);
  await tab.evaluate("void import('/sallyport.js').then(({ logout }) => logout())");
  await expect.poll(() => other.evaluate('window.isOld'), patient).toBeUndefined();
  revocation.release();
  await atProvider;
});

test('a tab that was offline keeps what it knew, and learns what it has missed', async () => {
  // Chromium's emulation does not cut connections that are open, so that the event would still arrive.
  await context.route(`${app}/bff/events`, (route) => route.abort());
  const tab = await start();
  await context.setOffline(true);
  await endElsewhere();
  expect(await tab.evaluate('sallyport.session(0).then(() => "answered", (error) => error.name)')).toBe('TypeError');
  expect(await knownIn(tab)).toBe('Alice Adams');
  expect(await tab.evaluate('sallyport.session().then(({ user }) => user.name)')).toBe('Alice Adams');
  await context.setOffline(false);
  await expect.poll(() => knownIn(tab), patient).toBe('logout');
});

describe('apiFetch', () => {
  test('passes what the API answers, its own 401 included', async () => {
    const tab = await start();
    expect(await call(tab)).toMatchObject({ status: 200 });
    world.api.answer({ status: 403, headers: { 'content-type': 'application/problem+json' }, body: { code: 'mine' } });
    expect(await call(tab)).toEqual({ status: 403, body: { code: 'mine' } });
    world.api.answer({ status: 401, headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' } });
    expect((await call(tab)).status).toBe(401);
    expect(await hooksOf(tab)).toEqual([]);
    expect(await knownIn(tab)).toBe('Alice Adams');
  });

  test('login_required and session_expired: signs in again in a popup, and repeats the call with its body', async () => {
    const tab = await start();
    world.provider.settings.login = 'form';
    await tab.locator('textarea').fill('half a letter');
    await tab.evaluate(`window.onHook = () => sallyport.login({ popup: true }).then((view) => view.authenticated)`);
    for (const [code, end] of [
      ['session_expired', endElsewhere],
      ['login_required', () => context.clearCookies()],
    ] as const) {
      await tab.evaluate('hooks.length = 0');
      await end();
      world.provider.revokeSession();
      const opens = context.waitForEvent('page', patient);
      const answer = call(tab, '{ method: "POST", body: "seven" }');
      const popup = await opens;
      await popup.getByRole('button', { name: 'Sign in' }).click();
      expect(await answer).toMatchObject({ status: 200 });
      expect(world.api.last().body.toString()).toBe('seven');
      expect(await hooksOf(tab)).toEqual([code]);
      await expect.poll(() => knownIn(tab), patient).toBe('Alice Adams');
      if (!popup.isClosed()) await popup.waitForEvent('close', patient);
    }
    expect(await tab.locator('textarea').inputValue()).toBe('half a letter');
  });

  test('step_up_required: the hook has the ready address', async () => {
    const tab = await start();
    const challenge = 'Bearer error="insufficient_user_authentication", max_age="60"';
    world.api.answer(() => {
      world.api.answer();
      return { status: 401, headers: { 'www-authenticate': challenge } };
    });
    await tab.evaluate(
      `window.onHook = ({ loginUrl }) => sallyport.login({ popup: true, url: loginUrl }).then(() => true)`,
    );
    const opens = context.waitForEvent('page', patient);
    const answer = call(tab);
    const popup = await opens;
    expect(await answer).toMatchObject({ status: 200 });
    expect(await hooksOf(tab)).toEqual(['step_up_required']);
    expect(await tab.evaluate('hooks[0].loginUrl')).toContain('max_age=60');
    if (!popup.isClosed()) await popup.waitForEvent('close', patient);
  });

  test('repeat_required: sends a body again that was too large for Sallyport to keep', async () => {
    const tab = await start({ config: (base) => ({ ...base, upstream: { ...base.upstream, replayBytes: 1000 } }) });
    world.api.rejectTokens(1);
    expect(await call(tab, '{ method: "POST", body: "x".repeat(5000) }')).toMatchObject({ status: 200 });
    expect(world.api.last().body).toHaveLength(5000);
    expect(await hooksOf(tab)).toEqual([]);
  });

  test('provider_unavailable: repeats the call when the provider is back', async () => {
    const tab = await start();
    world.api.rejectTokens(1);
    world.provider.fail('refresh', { status: 503, body: {}, headers: { 'retry-after': '1' }, times: 1 });
    expect(await call(tab, '{ method: "POST", body: "seven" }')).toMatchObject({ status: 200 });
    expect(world.api.last().body.toString()).toBe('seven');
  });

  test('store_unavailable: repeats the call when the store is back, and keeps the session', async () => {
    const link: { before?: () => Promise<void> } = {};
    const tab = await start({ store: linkStore(createMemoryStore(), link) });
    world.api.rejectTokens(1);
    let failed = 0;
    link.before = async () => {
      failed++;
      if (failed > 3) delete link.before;
      throw new Error('the store is away');
    };
    expect(await call(tab)).toMatchObject({ status: 200 });
    expect(failed).toBeGreaterThan(0);
    expect(await knownIn(tab)).toBe('Alice Adams');
  });
});

test('sockets that end with the session open again once, after the next sign-in', async () => {
  const tab = await start();
  acceptWebSockets(world.api);
  await tab.evaluate(`
    window.sockets = [];
    window.codes = [];
    for (const name of ['a', 'b', 'c']) reconnecting(() => {
      const socket = new WebSocket('/api/' + name);
      socket.addEventListener('close', ({ code }) => codes.push(code));
      sockets.push(socket);
      return socket;
    });
  `);
  const states = () => tab.evaluate('sockets.map(({ readyState }) => readyState)');
  await expect.poll(states, patient).toEqual([1, 1, 1]);
  await endElsewhere();
  await expect.poll(() => tab.evaluate('codes'), patient).toEqual([4401, 4401, 4401]);
  const other = await context.newPage();
  await other.goto(`${app}/bff/login?login_hint=alice`);
  await expect.poll(states, patient).toEqual([3, 3, 3, 1, 1, 1]);
});
