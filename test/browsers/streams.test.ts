/**
 * A page's own streams and sockets in Chromium and Firefox: a refresh cuts none, and sockets that are closed with 4401 in
 * several tabs come back once each, at the price of one refresh and of a look or so a tab.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { decodeJwt } from 'jose';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { app, signInWith, useBothBrowsers, type BrowserVisit } from '../support/both-browsers.ts';
import { bundleForBrowsers } from '../support/browser-bundle.ts';
import { expireAccessToken, fakeMovingDate } from '../support/clock.ts';
import { browserNames, type BrowserName } from '../support/real-browsers.ts';
import { patient, type Tab } from '../support/tab.ts';
import { acceptWebSockets, tokenOf, type SocketApi } from '../support/web-socket.ts';
import type { WorldOptions } from '../support/world.ts';

const browsers = useBothBrowsers();
let modules: Record<string, string>;

beforeAll(async () => {
  modules = {
    'sallyport.js': await bundleForBrowsers('src/browser/index.ts'),
    'reconnecting.js': await bundleForBrowsers('src/browser/reconnecting.ts'),
  };
});

const appScript = `
  import { createSallyport } from '/sallyport.js';
  import { reconnecting } from '/reconnecting.js';
  window.sallyport = createSallyport();
  window.reconnecting = (open) => reconnecting(open, sallyport);
  sallyport.subscribe(() => undefined);
`;

interface Visit extends BrowserVisit {
  readonly tab: Tab;
  readonly anotherTab: () => Promise<Tab>;
}

/** Alice's page of an app with the module. */
async function visit(name: BrowserName, options: WorldOptions = {}): Promise<Visit> {
  const index = '<!doctype html><title>App</title><script type="module" src="/app.js"></script>';
  const opened = await browsers.open(name, {
    spa: { 'index.html': index, 'app.js': appScript, ...modules },
    ...options,
  });
  const tab = await opened.person.newTab();
  await signInWith(tab);
  await isKnown(tab);
  async function anotherTab(): Promise<Tab> {
    const other = await opened.person.newTab();
    await other.open(`${app}/`);
    await isKnown(other);
    return other;
  }
  return { ...opened, tab, anotherTab };
}

async function isKnown(tab: Tab, who = 'Alice Adams'): Promise<void> {
  await expect.poll(() => tab.run('window.sallyport?.current()?.user?.name'), patient).toBe(who);
}

describe.each(browserNames)('%s', { timeout: 60_000 }, (name) => {
  test('a chat goes on while its token is refreshed, is cut by a sign-out, and is there again after a sign-in', async () => {
    const lifetimes = { accessToken: 2, idToken: 300, refreshToken: 600, code: 60, session: 600 };
    const { world, person, tab, anotherTab } = await visit(name, { provider: { settings: { lifetimes } } });
    const chats = new Map<string, ServerResponse[]>([
      ['/events', []],
      ['/answer', []],
    ]);
    const requests: IncomingMessage[] = [];
    world.api.handleRaw((request, response) => {
      chats.get(request.url ?? '')?.push(response);
      if (!chats.has(request.url ?? '')) return response.end('{}');
      requests.push(request);
      const type = request.url === '/events' ? 'text/event-stream' : 'text/plain; charset=utf-8';
      return response.writeHead(200, { 'content-type': type }).write('data: first\n\n');
    });
    await tab.run(`{
      window.heard = [];
      window.errors = 0;
      window.answer = '';
      reconnecting(() => {
        const source = new EventSource('/api/events');
        source.addEventListener('message', ({ data }) => heard.push(data));
        source.addEventListener('error', () => errors++);
        return source;
      });
      void (async () => {
        const { body } = await sallyport.apiFetch('/api/answer');
        for await (const piece of body.pipeThrough(new TextDecoderStream())) answer += piece;
        answer += 'end';
      })().catch(() => (answer += 'break'));
    }`);
    const other = await anotherTab();
    const said = ['first'];
    async function say(text: string): Promise<void> {
      said.push(text);
      for (const responses of chats.values()) responses.at(-1)?.write(`data: ${text}\n\n`);
      const whole = said.map((one) => `data: ${one}\n\n`).join('');
      await expect.poll(() => tab.run('[heard, answer, errors]'), patient).toEqual([said, whole, 0]);
    }

    await say('second');
    for (const renew of [`sallyport.refresh()`, `sallyport.apiFetch('/api/other')`]) {
      const before = world.provider.calls.refresh;
      await vi.waitFor(async () => {
        await other.run(`${renew}.then(() => undefined)`);
        expect(world.provider.calls.refresh).toBeGreaterThan(before);
      }, patient);
      await say(renew);
    }
    for (const { headers } of requests) {
      const { exp = Infinity } = decodeJwt(headers.authorization?.replace('Bearer ', '') ?? '');
      await expect.poll(() => Date.now() / 1000, patient).toBeGreaterThan(exp);
    }
    await say('the token is over');
    expect([...chats.values()].map((responses) => responses.length)).toEqual([1, 1]);

    await other.begin(`sallyport.logout({ returnTo: '/' })`);
    await expect
      .poll(() => tab.run('[sallyport.current().reason, answer.endsWith("break")]'), patient)
      .toEqual(['logout', true]);
    await signInWith(await person.newTab());
    await expect.poll(() => tab.run('heard.at(-1)'), patient).toBe('first');
  });

  test('sockets that an API closes with 4401, because their token is over, are back after one refresh', async () => {
    fakeMovingDate();
    const { world, tabs, sockets, count } = await openSockets(name);
    const accepted = await Promise.all(Array.from({ length: all }, () => sockets.accepted()));
    expireAccessToken();
    const before = count();
    for (const { socket } of accepted) socket.close(4401);
    await areBack(tabs);
    const { looks, ...spent } = count(before);
    expect(spent).toEqual({ upgrades: all, refreshes: 1 });
    expect(looks).toBeLessThanOrEqual(tabCount);
    expect(tokensOf(sockets)).toHaveLength(1);
    expect(world.provider.reusedRefreshTokens).toBe(0);
  });

  test('sockets that Sallyport closes with 4401, because another sign-in replaced their session, are that one’s', async () => {
    const { tabs, anotherTab, sockets, count } = await openSockets(name);
    const before = count();
    await (await anotherTab()).begin(`sallyport.login({ prompt: 'login', loginHint: 'bob' })`);
    await areBack(tabs);
    for (const tab of tabs) await isKnown(tab, 'Bob Brown');
    const { looks, ...spent } = count(before);
    expect(spent).toEqual({ upgrades: all, refreshes: 0 });
    expect(looks).toBeLessThanOrEqual(looksOfTab * (tabCount + 1));
    expect(tokensOf(sockets).map((token) => decodeJwt(token).sub)).toEqual(['bob']);
  });

  test('sockets that Sallyport closes with 4401, because the session is over, are back after the next sign-in', async () => {
    fakeMovingDate();
    const { world, person, tabs, count } = await openSockets(name);
    const before = count();
    const elsewhere = world.client();
    for (const cookie of Object.values(await person.cookies(app))) {
      elsewhere.cookies.put({ name: cookie.name, value: cookie.value, domain: cookie.domain, secure: true });
    }
    await elsewhere.fetch('/bff/logout', { method: 'POST' });
    for (const tab of tabs) {
      await expect.poll(() => tab.run('[sallyport.current().reason, ...codes]'), patient).toEqual(['logout', ...codes]);
    }
    expect(count(before).upgrades).toBe(0);
    await signInWith(await person.newTab());
    await areBack(tabs);
    const { looks, ...spent } = count(before);
    expect(spent).toEqual({ upgrades: all, refreshes: 0 });
    expect(looks).toBeLessThanOrEqual(looksOfTab * (tabCount + 1));
  });
});

const tabCount = 3;
const socketsOfTab = 4;
/** Where the session is another one afterwards: at its end, at the news of the next, and when other tabs' news overtake. */
const looksOfTab = 4;
const all = tabCount * socketsOfTab;

const codes = Array.from({ length: socketsOfTab }, () => 4401);

/** The tokens that the newest sockets were opened with, each once. */
function tokensOf({ requests }: SocketApi): string[] {
  return [...new Set(requests.slice(-all).map((request) => tokenOf(request)))];
}

/** All sockets have been closed with 4401 once, and there are as many new ones. */
async function areBack(tabs: readonly Tab[]): Promise<void> {
  const states = Array.from({ length: 2 * socketsOfTab }, (_, index) => (index < socketsOfTab ? 3 : 1));
  for (const tab of tabs) {
    const seen = () => tab.run('[...codes, ...sockets.map(({ readyState }) => readyState)]');
    await expect.poll(seen, patient).toEqual([...codes, ...states]);
  }
}

async function openSockets(name: BrowserName) {
  const { world, person, tab, anotherTab } = await visit(name);
  const sockets = acceptWebSockets(world.api);
  const tabs = [tab, await anotherTab(), await anotherTab()];
  for (const one of tabs) {
    await one.run(`{
      window.sockets = [];
      window.codes = [];
      for (let left = ${socketsOfTab}; left > 0; left--) {
        reconnecting(() => {
          const socket = new WebSocket('/api/prices');
          socket.addEventListener('close', ({ code }) => codes.push(code));
          sockets.push(socket);
          return socket;
        });
      }
    }`);
  }
  for (const one of tabs) {
    await expect.poll(() => one.run('sockets.every(({ readyState }) => readyState === 1)'), patient).toBe(true);
  }
  const { host } = new URL(app);
  const count = (since = { upgrades: 0, refreshes: 0, looks: 0 }) => ({
    upgrades: sockets.requests.length - since.upgrades,
    refreshes: world.provider.calls.refresh - since.refreshes,
    looks: browsers.sites.targets(host).filter((target) => target === '/bff/session').length - since.looks,
  });
  return { world, person, tabs, anotherTab, sockets, count };
}
