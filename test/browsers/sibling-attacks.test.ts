/**
 * A sibling subdomain is in the wrong hands: a forgotten blog beside the app, or one taken over. To browsers it is the
 * same site, so they send the app's Strict cookies with whatever its pages ask for, and it may set cookies for the domain
 * that both share. It tries to make Alice's browser act on the app, and to put her into a session of its own.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { app, sibling, signInWith, useBothBrowsers, whoIsIn, type BrowserVisit } from '../support/both-browsers.ts';
import { startListener } from '../support/listener.ts';
import { browserNames, type BrowserName } from '../support/real-browsers.ts';
import { patient, type Tab } from '../support/tab.ts';
import { acceptWebSockets } from '../support/web-socket.ts';
import { leadToCallback, signIn } from '../support/world.ts';

const browsers = useBothBrowsers();

interface Attack extends BrowserVisit {
  /** Alice's tab with the app. */
  readonly mine: Tab;
  /** Alice's tab with the sibling's page. */
  readonly evil: Tab;
  /** What came of it. */
  readonly outcome: () => Promise<typeof nothing>;
}

/** No call arrived, nothing was asked of the provider, and the session is the one that it was. */
const nothing = {
  calls: 0,
  provider: { refresh: 0, revocation: 0, code: 0, endSession: 0 },
  sameSession: true,
  user: 'Alice Adams',
};

/** Alice has signed in, and opens the sibling's page in another tab. */
async function begin(name: BrowserName): Promise<Attack> {
  const visit = await browsers.open(name);
  const { world, person } = visit;
  const page = await startListener((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>Evil</title><body></body>');
  });
  onTestFinished(() => page.close());
  browsers.sites.route('evil.example.test', page.port);
  const sockets = acceptWebSockets(world.api);
  const mine = await person.newTab();
  await signInWith(mine);
  const session = (await person.cookies(app))['__Host-Http-session']?.value;
  const evil = await person.newTab();
  await evil.open(sibling);
  world.provider.resetCalls();
  async function outcome(): Promise<typeof nothing> {
    const { refresh, revocation, code, endSession } = world.provider.calls;
    return {
      calls: world.api.requests.length + sockets.requests.length,
      provider: { refresh, revocation, code, endSession },
      sameSession: (await person.cookies(app))['__Host-Http-session']?.value === session,
      user: await whoIsIn(mine),
    };
  }
  return { ...visit, mine, evil, outcome };
}

/** Waits until the app has been asked for a target, with the session's cookie: else the attack would prove nothing. */
function sentWithCookie(target: string): Promise<void> {
  return vi.waitFor(() => {
    const heads = browsers.sites.heads('app.example.test', target);
    expect(heads.at(-1)).toMatch(/^cookie: .*__Host-Http-session=/im);
    expect(heads.at(-1)).toMatch(/^sec-fetch-site: same-site$/im);
  }, patient);
}

describe.each(browserNames)('in %s, a sibling subdomain', (name) => {
  test('reaches nothing by fetch, and reads nothing', async () => {
    const { evil, outcome } = await begin(name);
    const calls = [
      ['/api/transfer?by=fetch', { mode: 'no-cors' }],
      ['/api/transfer?by=fetch-post', { mode: 'no-cors', method: 'POST', body: 'amount=1000' }],
      ['/api/transfer?by=cors', {}],
      ['/bff/session?by=cors', {}],
      ['/bff/session?by=fetch', { mode: 'no-cors' }],
      ['/bff/refresh', { mode: 'no-cors', method: 'POST' }],
      ['/bff/logout', { mode: 'no-cors', method: 'POST' }],
      ['/bff/logout?by=fetch', { mode: 'no-cors' }],
      ['/bff/login?by=fetch', { mode: 'no-cors' }],
      ['/bff/events?by=fetch', { mode: 'no-cors' }],
    ] as const;
    for (const [target, init] of calls) {
      const seen = await evil.run(`fetch('${app}${target}', ${JSON.stringify({ credentials: 'include', ...init })})
        .then((answer) => answer.type, (error) => error.name)`);
      // Firefox takes an opaque answer that `Cross-Origin-Resource-Policy` forbids for an error.
      expect('mode' in init ? ['opaque', 'TypeError'] : ['TypeError']).toContain(seen);
      await sentWithCookie(target);
    }
    // What a script may add to a call asks for permission first, and gets none.
    const marked = `fetch('${app}/api/transfer?by=header', { credentials: 'include', headers: { 'X-CSRF': '1' } })`;
    expect(await evil.run(`${marked}.then((answer) => answer.type, (error) => error.name)`)).toBe('TypeError');
    expect(await outcome()).toEqual(nothing);
  });

  test('reaches nothing by images, scripts, styles, frames and objects', async () => {
    const { evil, outcome } = await begin(name);
    const ways = {
      image: (url: string) => `<img src="${url}">`,
      script: (url: string) => `<script src="${url}"></script>`,
      style: (url: string) => `<link rel="stylesheet" href="${url}">`,
      frame: (url: string) => `<iframe src="${url}"></iframe>`,
      object: (url: string) => `<object data="${url}"></object>`,
    };
    for (const [way, html] of Object.entries(ways)) {
      for (const path of ['/api/transfer', '/bff/logout', '/bff/login', '/bff/session']) {
        const target = `${path}?by=${way}`;
        await evil.run(`document.body.append(document.createRange().createContextualFragment(
          ${JSON.stringify(html(app + target)).replaceAll('</', '<\\/')}))`);
        await sentWithCookie(target);
      }
    }
    expect(await outcome()).toEqual(nothing);
  });

  test('reaches nothing by forms and links', async () => {
    const { evil, outcome } = await begin(name);
    for (const [method, path, code] of [
      ['post', '/api/transfer', 'request_forbidden'],
      ['get', '/api/transfer', 'request_forbidden'],
      ['post', '/bff/logout', 'request_forbidden'],
      ['get', '/bff/logout', 'logout_sid_invalid'],
      ['post', '/bff/refresh', 'request_forbidden'],
    ] as const) {
      await evil.open(sibling);
      await evil.begin(`{
        const form = Object.assign(document.createElement('form'), { method: '${method}', action: '${app}${path}' });
        form.append(Object.assign(document.createElement('input'), { name: 'by', value: 'form-${method}' }));
        document.body.append(form);
        form.submit();
      }`);
      await sentWithCookie(method === 'get' ? `${path}?by=form-get` : path);
      await evil.arrives(new RegExp(`^${app}${path}`));
      expect(await evil.text()).toContain(code);
    }
    expect(await outcome()).toEqual(nothing);
  });

  test('opens no WebSocket and no event stream', async () => {
    const { evil, outcome } = await begin(name);
    expect(
      await evil.run(`new Promise((resolve) => {
        const socket = new WebSocket('${app.replace('https', 'wss')}/api/socket');
        socket.onopen = () => resolve('open');
        socket.onclose = ({ code }) => resolve(code);
      })`),
    ).toBe(1006);
    for (const path of ['/api/events', '/bff/events']) {
      expect(
        await evil.run(`new Promise((resolve) => {
          const source = new EventSource('${app}${path}', { withCredentials: true });
          source.onopen = () => resolve('open');
          source.onerror = () => { source.close(); resolve('refused'); };
        })`),
      ).toBe('refused');
      await sentWithCookie(path);
    }
    expect(await outcome()).toEqual(nothing);
  });

  test('frames no page of the app, and keeps no hold of one that it opens', async () => {
    const { person, evil, outcome } = await begin(name);
    await evil.run(`new Promise((resolve) => {
      const frame = Object.assign(document.createElement('iframe'), { src: '${app}/', onload: resolve });
      document.body.append(frame);
    }).then(() => undefined)`);
    expect(
      await evil.run(`(() => { try { return frames[0].document.title; } catch (error) { return error.name; } })()`),
    ).toBe('SecurityError');
    const framed = evil.page.frames().find((frame) => frame !== evil.page.mainFrame());
    expect(await framed?.evaluate(`document.querySelector('#app') === null`)).toBe(true);

    await evil.run(`document.body.insertAdjacentHTML('beforeend', '<button id="open">Open</button>');
      document.querySelector('#open').onclick = () => { window.handle = window.open('${app}/'); };`);
    await evil.click('#open');
    const opened = await vi.waitFor(async () => {
      for (const tab of await person.tabs())
        if ((await tab.address()) === `${app}/` && (await tab.run('history.length')) === 1) return tab;
      throw new Error('no tab was opened');
    }, patient);
    await expect.poll(() => opened.text('#app'), patient).toBe('ready');
    expect(await opened.run('window.opener')).toBeNull();
    await expect.poll(() => evil.run('handle.closed'), patient).toBe(true);
    expect(await evil.run('handle.length')).toBe(0);
    expect(await outcome()).toEqual(nothing);
  });

  test('puts nobody into a session or a login of its own by cookies for the shared domain', async () => {
    const { world, person, mine, evil, outcome } = await begin(name);
    const attacker = world.client();
    await signIn(attacker, 'bob');
    const bobs = attacker.cookies.get('__Host-Http-session')?.value ?? '';
    expect(bobs).not.toBe('');
    const callback = await leadToCallback(attacker, '/bff/login?prompt=login&login_hint=bob');
    const transaction = attacker.cookies.all().find(({ name }) => name.startsWith('__Host-Http-login-'));
    world.provider.resetCalls();

    const names = [
      '__Host-Http-session',
      '__host-http-session',
      '__Secure-session',
      'session',
      transaction?.name ?? '',
    ];
    const tossed = names.flatMap((cookie) => {
      const value = cookie === transaction?.name ? transaction.value : bobs;
      return ['', '/bff', '/api'].map((path) => `${cookie}=${value}; Domain=example.test; Path=${path || '/'}; Secure`);
    });
    tossed.push(`=__Host-Http-session=${bobs}; Domain=example.test; Path=/; Secure`);
    const page = await startListener((request, response) => {
      if (request.url === '/toss')
        response.setHeader('set-cookie', [...tossed, ...tossed.map((cookie) => `${cookie}; HttpOnly`)]);
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>Evil</title><body></body>');
    });
    onTestFinished(() => page.close());
    browsers.sites.route('evil.example.test', page.port);
    await evil.open(`${sibling}/toss`);
    await evil.run(`for (const cookie of ${JSON.stringify(tossed)}) document.cookie = cookie;`);
    // Some did arrive, by names that mean nothing.
    expect(await evil.run('document.cookie')).toContain('session=');

    expect(await whoIsIn(mine)).toBe('Alice Adams');
    expect(Object.keys(await person.cookies(app)).filter((cookie) => cookie.startsWith('__Host-'))).toEqual([
      '__Host-Http-session',
    ]);
    expect(await outcome()).toEqual(nothing);
    expect(await mine.run(`fetch('/api/me').then((answer) => answer.json())`)).toMatchObject({ sub: 'alice' });
    world.api.requests.length = 0;

    await evil.begin(`location.assign(${JSON.stringify(callback.href)})`);
    await evil.arrives(/^https:\/\/app\.example\.test\/bff\/callback/);
    expect(await evil.text()).toContain('login_transaction_invalid');
    expect(await outcome()).toEqual(nothing);
  });
});
