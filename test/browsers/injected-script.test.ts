/**
 * A script of somebody else runs in the app: a package that was taken over, a comment that was not escaped. It is there
 * before the app's own code, wraps what that calls, and tries every way to a token that a page of the origin has. What it
 * gets together is searched for every token, code verifier, client secret and cookie that the provider or the browser
 * ever had: calling the API as the person is all that is left to it.
 */
import { describe, expect, test, vi } from 'vitest';
import { app, signInWith, useBothBrowsers } from '../support/both-browsers.ts';
import { browserNames } from '../support/real-browsers.ts';
import { secretsIn } from '../support/secrets.ts';
import { smallApp } from '../support/small-app.ts';
import { patient, type Person, type Tab } from '../support/tab.ts';
import type { World } from '../support/world.ts';

const browsers = useBothBrowsers();

/** Runs before the page's own scripts. `loot` is what it has seen, as text. */
const implant = `
window.loot = [];
const take = (what, value) => { try { loot.push(what + ' ' + (typeof value === 'string' ? value : JSON.stringify(value))); } catch {} };
window.take = take;
const describe = async (answer) => {
  const copy = answer.clone();
  take('answer', [copy.type, copy.status, copy.url, ...copy.headers]);
  take('body', await copy.text().catch(String));
};
const { fetch: ownFetch, open: ownOpen } = window;
window.fetch = async (input, init) => {
  take('fetch', [input instanceof Request ? [input.url, ...input.headers] : String(input), init ?? {}]);
  const answer = await ownFetch(input, init);
  await describe(answer);
  return answer;
};
window.open = (...parameters) => { take('open', parameters); return (window.opened = ownOpen(...parameters)); };
const wrap = (owner, name) => {
  const own = owner[name];
  owner[name] = function (...parameters) { take(name, parameters); return own.apply(this, parameters); };
};
wrap(BroadcastChannel.prototype, 'postMessage');
wrap(Storage.prototype, 'setItem');
wrap(JSON, 'parse');
wrap(WebSocket.prototype, 'send');
wrap(XMLHttpRequest.prototype, 'setRequestHeader');
wrap(Headers.prototype, 'set');
new BroadcastChannel('sallyport').onmessage = ({ data }) => take('channel', data);
addEventListener('message', ({ data }) => take('message', data));
addEventListener('storage', ({ key, newValue }) => take('storage', [key, newValue]));
document.addEventListener('securitypolicyviolation', ({ blockedURI, sourceFile, sample }) => take('violation', [blockedURI, sourceFile, sample]));
const Source = EventSource;
window.EventSource = class extends Source {
  constructor(...parameters) {
    super(...parameters);
    for (const type of ['message', 'session', 'signed-out']) this.addEventListener(type, ({ data }) => take('event', data));
  }
};
`;

/** What is already there, on this page and in the browser's stores of the origin. */
const takeWhatLiesAbout = `(async () => {
  take('cookies', document.cookie);
  if (window.cookieStore) take('cookie store', await cookieStore.getAll());
  take('stores', [{ ...localStorage }, { ...sessionStorage }, window.name, document.referrer, history.state]);
  for (const key of await caches.keys()) {
    const cache = await caches.open(key);
    for (const request of await cache.keys()) take('cached', [request.url, await (await cache.match(request)).text()]);
  }
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      Object.assign(indexedDB.open(name), { onsuccess: ({ target }) => resolve(target.result), onerror: reject });
    });
    for (const store of database.objectStoreNames) {
      take('database', await new Promise((resolve, reject) => {
        Object.assign(database.transaction(store).objectStore(store).getAll(), { onsuccess: ({ target }) => resolve(target.result), onerror: reject });
      }));
    }
  }
  take('entries', performance.getEntries().map((entry) => entry.toJSON()));
  take('history', window.navigation?.entries().map(({ url }) => url) ?? []);
  take('document', document.documentElement.outerHTML);
  take('workers', (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => scope));
})()`;

/** Every endpoint by every method, as the app calls it and as it never would, and the API. */
const askEverything = `(async () => {
  const paths = ['/bff/session', '/bff/refresh', '/bff/sessions', '/bff/events', '/bff/login', '/bff/login?display=popup',
    '/bff/callback', '/bff/callback?code=1&state=1', '/bff/errors', '/bff/frontchannel-logout', '/bff/backchannel-logout',
    '/bff/nothing', '/bff', '/', '/api/orders', '/api/../bff/session', '/assets/none.js'];
  const ask = async (path, method, redirect) => {
    const over = new AbortController();
    const answer = fetch(path, { method, redirect, signal: over.signal, headers: { accept: '*/*', 'x-csrf': '1' } });
    await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 1000))]).catch((error) => take('failed', String(error)));
    over.abort();
  };
  for (const path of paths) {
    await Promise.all([
      ask(path, 'GET', 'follow'),
      ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'].map((method) => ask(path, method, 'manual')),
    ]);
  }
  for (const method of ['TRACE', 'CONNECT', 'TRACK']) {
    await fetch('/bff/session', { method }).catch((error) => take('failed', String(error)));
  }
})()`;

/** What a hidden frame shows: its address, its text, and what its own performance entries say. */
const logInInFrames = `(async () => {
  const paths = ['/bff/login', '/bff/login?prompt=none', '/bff/login?display=popup', '/bff/logout', '/'];
  await Promise.all(paths.map(async (path) => {
    const frame = document.createElement('iframe');
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    frame.src = path;
    document.body.append(frame);
    await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, 2000))]);
    try {
      const { location, document: inside, performance } = frame.contentWindow;
      take('frame', [location.href, inside.documentElement.outerHTML, performance.getEntries().map((entry) => entry.toJSON())]);
    } catch (error) {
      take('frame', String(error));
    }
  }));
})()`;

/** Looks at the window that it opened as often as it can. */
const watchOpened = `window.watching = setInterval(() => {
  try {
    take('opened', [opened.closed, opened.location.href, opened.document.documentElement.outerHTML]);
  } catch (error) {
    take('opened', String(error));
  }
}, 1)`;

/** The worker that the script has put under an address of the origin: it sees each request of each page. */
const worker = `
const channel = new BroadcastChannel('loot');
const take = (what, value) => channel.postMessage(what + ' ' + JSON.stringify(value));
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(clients.claim()));
self.addEventListener('fetch', (event) => event.respondWith((async () => {
  const { request } = event;
  take('request', [request.method, request.url, request.mode, request.referrer, ...request.headers]);
  const answer = await fetch(request);
  take('answer', [answer.type, answer.status, answer.url, ...answer.headers]);
  if (!(answer.headers.get('content-type') ?? '').includes('event-stream')) take('body', await answer.clone().text().catch(String));
  return answer;
})()));`;

async function lootOf(tab: Tab): Promise<string> {
  return tab.run<string>(`loot.join('\\n')`);
}

/** Which secrets are in there: the provider's, and the values of the app's cookies. */
async function found(loot: string, world: World, cookies: ReadonlySet<string>): Promise<string[]> {
  const inside = secretsIn(loot, world.provider);
  return [...inside, ...[...cookies].filter((value) => loot.includes(value)).map(() => 'cookie')];
}

async function noteCookies(person: Person, seen: Set<string>): Promise<void> {
  for (const { value } of Object.values(await person.cookies(app))) seen.add(value);
}

describe.each(browserNames)('in %s', (name) => {
  test.each([false, true])('a script in the page gets no token (app behind a login: %s)', async (requireLogin) => {
    const { world, person } = await browsers.open(name, {
      spa: smallApp(),
      config: (base) => ({ ...base, spa: { ...base.spa, requireLogin }, session: { registry: true } }),
    });
    const cookies = new Set<string>();
    const tab = await person.newTab();
    await tab.page.evaluateOnNewDocument(implant);
    await signInWith(tab);
    await expect.poll(() => tab.text('#private'), patient).toBe('orders of alice');
    await noteCookies(person, cookies);

    await tab.run(takeWhatLiesAbout);
    await tab.run(askEverything);
    await tab.run(logInInFrames);
    await tab.run(takeWhatLiesAbout);
    await noteCookies(person, cookies);
    expect(await tab.run('fetch("/bff/session").then((answer) => answer.json())')).toMatchObject({
      authenticated: true,
    });
    const loot = await lootOf(tab);

    // It did see what the app may: else nothing would follow from what it did not see.
    for (const seen of ['Alice Adams', 'orders', 'logoutUrl', 'navigation_required']) expect(loot).toContain(seen);
    expect(world.provider.secrets.size).toBeGreaterThan(5);
    expect(cookies.size).toBeGreaterThan(0);
    expect(await found(loot, world, cookies)).toEqual([]);
  });

  test('a script that signs in by a popup of its own, and signs out, gets no token', async () => {
    const { world, person } = await browsers.open(name, { spa: smallApp() });
    const cookies = new Set<string>();
    const tab = await person.newTab();
    await tab.page.evaluateOnNewDocument(implant);
    await tab.open(app);
    // The app would else take the button back.
    await expect.poll(() => tab.text('#who'), patient).toBe('signed out');
    await tab.run(watchOpened);
    for (const path of ['/bff/login?display=popup', '/bff/login?returnTo=/orders']) {
      world.provider.resetCalls();
      await tab.run(
        `document.querySelector('#save').onclick = () => { open('${path}', '_blank', 'width=400,height=400'); }`,
      );
      await tab.click('#save');
      await expect.poll(() => world.provider.calls.code, patient).toBe(1);
      await expect.poll(async () => Object.keys(await person.cookies(app)), patient).toEqual(['__Host-Http-session']);
      await noteCookies(person, cookies);
    }
    await vi.waitFor(async () => {
      const others = (await person.tabs()).filter(({ page }) => page !== tab.page);
      for (const { page } of others) expect(page.url()).toBe(`${app}/orders`);
    }, patient);
    await tab.run(takeWhatLiesAbout);
    await tab.run(`fetch('/bff/logout', { method: 'POST' })
      .then((answer) => answer.json())
      .then(({ location: wayOut }) => { open(wayOut, '_blank'); return fetch(wayOut, { redirect: 'manual' }); })
      .then(() => undefined)`);
    await tab.run(takeWhatLiesAbout);
    const loot = await lootOf(tab);
    expect(loot).toContain('opened');
    expect(await found(loot, world, cookies)).toEqual([]);
  });

  test('a service worker that a script has registered gets no token', async () => {
    const { world, person } = await browsers.open(name, { spa: { ...smallApp(), 'evil.js': worker } });
    const cookies = new Set<string>();
    const tab = await person.newTab();
    await tab.page.evaluateOnNewDocument(
      `${implant} new BroadcastChannel('loot').onmessage = ({ data }) => loot.push(data);`,
    );
    await tab.open(app);
    await tab.run(
      `navigator.serviceWorker.register('/evil.js', { scope: '/' }).then(() => navigator.serviceWorker.ready).then(() => undefined)`,
    );
    await expect.poll(() => tab.run('navigator.serviceWorker.controller !== null'), patient).toBe(true);

    const other = await person.newTab();
    await signInWith(other);
    await expect.poll(() => other.text('#private'), patient).toBe('orders of alice');
    await noteCookies(person, cookies);
    await other.run('sallyport.refresh().then(() => undefined)');
    await noteCookies(person, cookies);
    await other.begin(`sallyport.logout({ returnTo: '/bye' })`);
    await expect.poll(() => world.provider.calls.endSession, patient).toBeGreaterThan(0);
    await other.arrives(`${app}/bye`);
    await other.begin(`location.assign('/bff/login')`);
    await expect.poll(() => other.text('#private'), patient).toBe('orders of alice');
    await noteCookies(person, cookies);
    const loot = await lootOf(tab);
    expect(loot).toContain(`${app}/bff/session`);
    expect(loot).toMatch(/request .*\/bff\/login/);
    // The code's address passes through it. Without the verifier, the cookie of the login and the client's secret, a code is of no use.
    expect((await found(loot, world, cookies)).filter((kind) => kind !== 'code')).toEqual([]);
  });
});
