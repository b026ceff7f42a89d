/** What the module knows of the session: asked once, kept true by events and looks, and never overtaken by late answers. */
import { describe, expect, test, vi } from 'vitest';
import { createSallyport, type SessionView } from '../../../src/browser/index.ts';
import { fakeBrowser, held, signedIn, signedOut } from './fake-browser.ts';

const nothing = () => undefined;
const look = 'GET /bff/session';
const signedOutByPerson: SessionView = { ...signedOut, reason: 'logout' } as SessionView;
/** What another tab says of a session that is over. */
const over = (id?: string) => ({
  basePath: '/bff',
  type: 'session',
  session: signedOutByPerson,
  ...(id === undefined ? {} : { logoutUrl: `/bff/logout?sid=${id}` }),
});

test('one request serves all who ask at the same time, and holds for a minute', async () => {
  const browser = fakeBrowser();
  const { session, current } = createSallyport();
  expect(current()).toBeUndefined();
  const views = await Promise.all([session(), session(), session()]);
  expect(new Set(views).size).toBe(1);
  expect(current()).toBe(views[0]);
  await browser.pass(59);
  await session();
  expect(browser.calls).toEqual([look]);
  await browser.pass(2);
  await session();
  expect(browser.calls).toEqual([look, look]);
});

test('who has just asked and then subscribes asks once, and leaves no channel open before', async () => {
  const browser = fakeBrowser();
  const { session, subscribe } = createSallyport();
  await session();
  expect(browser.channelsOpen()).toBe(0);
  subscribe(nothing);
  await browser.settle();
  expect(browser.calls).toEqual([look]);
});

test('a request that fails is not remembered', async () => {
  const browser = fakeBrowser();
  const { session, current } = createSallyport();
  const { answer } = browser;
  browser.answer = () => Promise.reject(new TypeError('offline'));
  await expect(session()).rejects.toThrow('offline');
  browser.answer = () => new Response('<!doctype html>', { status: 502 });
  await expect(session()).rejects.toMatchObject({ code: 'http_502' });
  browser.answer = () => Response.json({ hello: 'world' });
  await expect(session()).rejects.toMatchObject({ code: 'unexpected' });
  expect(current()).toBeUndefined();
  browser.answer = answer;
  expect(await session()).toEqual(signedIn());
});

test('what says the same stays the same object, and its seconds are counted from the newest answer', async () => {
  const browser = fakeBrowser();
  const { session, current, secondsLeft, subscribe } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  subscribe(listener);
  await browser.settle();
  const before = current();
  expect(secondsLeft()).toBe(28_800);
  await browser.pass(100);
  expect(secondsLeft()).toBe(28_700);
  browser.session = signedIn('a', { expiresInSeconds: 28_690 });
  expect(await session(0)).toBe(before);
  expect(secondsLeft()).toBe(28_690);
  expect(listener).toHaveBeenCalledTimes(1);
  browser.session = signedIn('a', { idleExpiresAt: '2026-11-21T09:10:00.000Z', idleExpiresInSeconds: 600 });
  await session(0);
  expect(secondsLeft()).toBe(600);
  expect(listener).toHaveBeenCalledTimes(2);
});

test('an answer that was asked for before the sign-out says nothing', async () => {
  const browser = fakeBrowser();
  const { session, logout, current } = createSallyport();
  const late = held();
  const { answer } = browser;
  browser.answer = (request) => (request.method === 'GET' ? late.answer : Response.json({ location: '/bye' }));
  const asked = session();
  await logout();
  expect(current()).toMatchObject({ authenticated: false, reason: 'logout' });
  browser.answer = answer;
  browser.session = signedOut;
  late.release(Response.json(signedIn()));
  expect(await asked).toMatchObject({ authenticated: false, reason: 'logout' });
  expect(browser.calls).toEqual([look, 'POST /bff/logout', look]);
  expect(browser.navigated).toEqual(['/bye']);
});

test('a sign-out that fails ends nothing', async () => {
  const browser = fakeBrowser();
  const { session, logout, current } = createSallyport();
  await session();
  browser.answer = () => new Response('{"code":"store_unavailable"}', { status: 503 });
  await expect(logout({ returnTo: '/bye' })).rejects.toMatchObject({ code: 'store_unavailable' });
  expect(current()).toEqual(signedIn());
  expect(browser.navigated).toEqual([]);
});

test('two tabs have one connection, and both hear the end with its reason', async () => {
  const browser = fakeBrowser();
  const tabs = [createSallyport(), createSallyport()] as const;
  const heard: SessionView[][] = [[], []];
  tabs.forEach(({ subscribe }, index) => subscribe((view) => heard[index]?.push(view)));
  await browser.settle();
  expect(browser.sources().map(({ url }) => url)).toEqual(['/bff/events']);
  const asked = browser.calls.length;
  browser.sources()[0]?.say('signed-out', { reason: 'backchannel' });
  await browser.settle();
  for (const views of heard) {
    expect(views).toEqual([signedIn(), { authenticated: false, loginUrl: '/bff/login', reason: 'backchannel' }]);
  }
  expect(browser.calls).toHaveLength(asked);
  expect(browser.sources()).toEqual([]);
  await browser.pass(3600);
  expect(browser.sourcesOpened()).toBe(1);
});

test('when the tab with the connection goes, another has it', async () => {
  const browser = fakeBrowser();
  const stop = createSallyport().subscribe(nothing);
  const second = createSallyport();
  second.subscribe(nothing);
  await browser.settle();
  stop();
  await browser.settle();
  expect(browser.sourcesOpened()).toBe(2);
  expect(browser.sources()).toHaveLength(1);
  browser.sources()[0]?.say('signed-out', { reason: 'idle' });
  expect(second.current()).toMatchObject({ reason: 'idle' });
});

test('a late event begins no session: the server is asked', async () => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  browser.session = signedOut;
  browser.post(over('a'));
  browser.post({ basePath: '/bff', type: 'session', session: signedIn(), logoutUrl: '/bff/logout?sid=a' });
  const before = browser.calls.length;
  await browser.settle();
  expect(current()).toMatchObject({ authenticated: false, reason: 'logout' });
  expect(browser.calls.slice(before)).toEqual([look]);
});

test.each([
  ['of an earlier session', over('earlier')],
  ['that names no session', over()],
  ['that is of no kind', { basePath: '/bff', type: 'signed-out', reason: 'logout' }],
  ['that is malformed', { basePath: '/bff', type: 'session', logoutUrl: '/bff/logout?sid=a' }],
])('a sign-out %s shows nobody as signed out who is in: the server is asked', async (_story, message) => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  subscribe(listener);
  await browser.settle();
  const before = browser.calls.length;
  browser.post(message);
  await browser.settle();
  expect(current()).toEqual(signedIn());
  expect(listener.mock.calls).toEqual([[signedIn()]]);
  expect(browser.calls.slice(before)).toEqual([look]);
});

test('a session that begins while the sign-out is under way is not shown as signed out', async () => {
  const browser = fakeBrowser();
  const { session, logout, current } = createSallyport();
  const other = createSallyport();
  const heard = vi.fn<(view: SessionView) => void>();
  other.subscribe(heard);
  await session();
  await browser.settle();
  const { answer } = browser;
  const late = held();
  browser.answer = (request) => (request.method === 'POST' ? late.answer : answer(request));
  const leaving = logout();
  browser.session = signedIn('b');
  await session(0);
  late.release(Response.json({ location: '/bye' }));
  await leaving;
  await browser.settle();
  expect([current(), other.current()]).toEqual([signedIn('b'), signedIn('b')]);
  expect(heard.mock.calls).toEqual([[signedIn('a')], [signedIn('b')]]);
});

test('two subscriptions of one function end apart', async () => {
  const browser = fakeBrowser();
  const { subscribe } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  const stop = subscribe(listener);
  subscribe(listener);
  await browser.settle();
  expect(listener).toHaveBeenCalledTimes(2);
  stop();
  stop();
  browser.sources()[0]?.say('signed-out', { reason: 'operator' });
  await browser.settle();
  expect(listener).toHaveBeenCalledTimes(3);
});

test('a session that another has replaced is not signed out', async () => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  subscribe(listener);
  await browser.settle();
  browser.session = signedIn('b');
  const first = browser.sources()[0];
  first?.say('signed-out', { reason: 'replaced' });
  await browser.settle();
  expect(current()).toEqual(signedIn('b'));
  expect(listener.mock.calls).toEqual([[signedIn('a')], [signedIn('b')]]);
  // The connection was the earlier session's.
  expect(browser.sources()).toHaveLength(1);
  expect(browser.sources()[0]).not.toBe(first);
});

describe('a session that another has replaced, before its cookie has come', () => {
  const replaced: SessionView = { ...signedOut, reason: 'replaced' } as SessionView;

  test('is not shown as signed out, in the tab with the connection or in another', async () => {
    const browser = fakeBrowser();
    const listeners = [vi.fn<(view: SessionView) => void>(), vi.fn<(view: SessionView) => void>()] as const;
    for (const listener of listeners) createSallyport().subscribe(listener);
    await browser.settle();
    browser.session = replaced;
    browser.sources()[0]?.say('signed-out', { reason: 'replaced' });
    browser.sources()[0]?.fail();
    await browser.settle();
    browser.session = signedIn('b');
    browser.post({ basePath: '/bff', type: 'signed-in' });
    await browser.settle();
    for (const listener of listeners) expect(listener.mock.calls).toEqual([[signedIn('a')], [signedIn('b')]]);
  });

  test('is, if the cookie never comes', async () => {
    const browser = fakeBrowser();
    const { subscribe, session, current } = createSallyport();
    subscribe(nothing);
    await browser.settle();
    browser.session = replaced;
    browser.sources()[0]?.say('signed-out', { reason: 'replaced' });
    await browser.settle();
    expect(await session(0)).toEqual(signedIn());
    await browser.pass(15);
    expect(current()).toEqual(replaced);
    const asked = browser.calls.length;
    await browser.pass(3600);
    expect(browser.calls).toHaveLength(asked);
  });

  test('is shown so in several tabs by a few questions', async () => {
    const browser = fakeBrowser();
    const tabs = [createSallyport(), createSallyport(), createSallyport()] as const;
    for (const { subscribe } of tabs) subscribe(nothing);
    await browser.settle();
    browser.session = replaced;
    browser.sources()[0]?.say('signed-out', { reason: 'replaced' });
    await browser.pass(60);
    expect(tabs.map(({ current }) => current())).toEqual([replaced, replaced, replaced]);
    expect(browser.calls.length).toBeLessThan(25);
    const asked = browser.calls.length;
    await browser.pass(3600);
    expect(browser.calls).toHaveLength(asked);
  });

  test('is at once where nobody listens, so that nothing would look again', async () => {
    const browser = fakeBrowser();
    const { session } = createSallyport();
    await session();
    browser.session = replaced;
    expect(await session(0)).toEqual(replaced);
  });
});

test('a sign-in elsewhere is seen by a tab that was signed out, which then follows it', async () => {
  const browser = fakeBrowser();
  browser.session = signedOut;
  const { subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  expect(browser.sources()).toEqual([]);
  browser.session = signedIn();
  browser.post({ basePath: '/bff', type: 'signed-in' });
  await browser.settle();
  expect(current()).toEqual(signedIn());
  expect(browser.sources()).toHaveLength(1);
  // A new page of another tab has asked by itself.
  browser.session = signedIn('b');
  await createSallyport().session();
  await browser.settle();
  expect(current()).toEqual(signedIn('b'));
});

test('an answer that was asked for before a sign-in elsewhere says nothing', async () => {
  const browser = fakeBrowser();
  browser.session = signedOut;
  const { session, subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  const { answer } = browser;
  const late = held();
  browser.answer = () => late.answer;
  const asked = session(0);
  browser.answer = answer;
  browser.session = signedIn();
  browser.post({ basePath: '/bff', type: 'signed-in' });
  await browser.settle();
  late.release(Response.json(signedOut));
  expect(await asked).toEqual(signedIn());
  expect(current()).toEqual(signedIn());
});

test.each([
  ['of another app', { basePath: '/other/bff', type: 'signed-out', reason: 'logout' }],
  ['that is empty', null],
  ['that is text', 'signed-out'],
])('a message %s is left alone', async (_story, message) => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  const before = browser.calls.length;
  browser.post(message);
  await browser.settle();
  expect(current()).toEqual(signedIn());
  expect(browser.calls).toHaveLength(before);
});

test('a malformed message changes nothing', async () => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  browser.post({ basePath: '/bff', type: 'session' });
  browser.post({ basePath: '/bff', type: 'session', session: { authenticated: true } });
  await browser.settle();
  expect(current()).toEqual(signedIn());
});

test('a listener that throws keeps the news from no other', async () => {
  const browser = fakeBrowser();
  const uncaught: unknown[] = [];
  const { queueMicrotask: real } = globalThis;
  vi.stubGlobal('queueMicrotask', (job: () => void) =>
    real(() => {
      try {
        job();
      } catch (error) {
        uncaught.push(error);
      }
    }),
  );
  const { subscribe } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  subscribe(() => {
    throw new Error('mine');
  });
  subscribe(listener);
  await browser.settle();
  expect(listener).toHaveBeenCalledTimes(1);
  expect(uncaught).toEqual([new Error('mine')]);
});

test('a machine that slept for a day wakes up right', async () => {
  const browser = fakeBrowser();
  const { subscribe, current, secondsLeft } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  browser.session = signedOut;
  // Asleep, timers and the monotonic clock stand still.
  vi.setSystemTime(Date.now() + 86_400_000);
  expect(secondsLeft()).toBe(0);
  browser.fire('visibilitychange');
  await browser.settle();
  expect(current()).toEqual(signedOut);
});

test.each([-86_400, 86_400])('a clock that is set by %i seconds ends no session', async (seconds) => {
  const browser = fakeBrowser();
  const { session, subscribe, current, secondsLeft } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  vi.setSystemTime(Date.now() + seconds * 1000);
  expect(current()).toEqual(signedIn());
  await session(60);
  expect(browser.calls).toEqual([look, look]);
  expect(secondsLeft()).toBe(28_800);
});

test('there is a look when the session should have ended, and none before', async () => {
  const browser = fakeBrowser({ without: ['locks'] });
  browser.session = signedIn('a', { expiresInSeconds: 60 * 86_400, idleExpiresInSeconds: 600 });
  const { subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.pass(599);
  expect(browser.calls).toEqual([look]);
  browser.session = { ...signedOut, reason: 'idle' } as SessionView;
  await browser.pass(3);
  expect(browser.calls).toEqual([look, look]);
  expect(current()).toMatchObject({ reason: 'idle' });
  await browser.pass(86_400);
  expect(browser.calls).toHaveLength(2);
});

test('a session that lasts longer than timers can wait is not asked for without end', async () => {
  const browser = fakeBrowser({ without: ['locks'] });
  browser.session = signedIn('a', { expiresInSeconds: 60 * 86_400 });
  createSallyport().subscribe(nothing);
  await browser.pass(3 * 86_400 + 60);
  expect(browser.calls).toHaveLength(4);
});

test.each(['focus', 'online', 'pageshow', 'visibilitychange'])('at %s there is a look, once', async (type) => {
  const browser = fakeBrowser({ without: ['locks'] });
  const { subscribe, current } = createSallyport();
  const stop = subscribe(nothing);
  await browser.pass(10);
  browser.session = signedOut;
  browser.page.hidden = true;
  browser.fire('visibilitychange');
  await browser.settle();
  expect(browser.calls).toEqual([look]);
  browser.page.hidden = false;
  browser.fire(type);
  browser.fire('focus');
  await browser.settle();
  expect(browser.calls).toEqual([look, look]);
  expect(current()).toEqual(signedOut);
  stop();
  await browser.pass(10);
  browser.fire(type);
  expect(browser.calls).toHaveLength(2);
});

test('without connection the last known state stays, and looks come more and more rarely until it is back', async () => {
  const browser = fakeBrowser();
  const { session, subscribe, current } = createSallyport();
  subscribe(nothing);
  await browser.settle();
  const { answer } = browser;
  browser.answer = () => Promise.reject(new TypeError('offline'));
  browser.sources()[0]?.fail();
  await browser.pass(3600);
  expect(current()).toEqual(signedIn());
  expect(await session()).toEqual(signedIn());
  // A minute at most, half of it on average.
  expect(browser.calls.length).toBeGreaterThan(60);
  expect(browser.calls.length).toBeLessThan(260);
  expect(browser.sourcesOpened()).toBe(1);
  browser.answer = answer;
  browser.fire('online');
  await browser.settle();
  expect(browser.sources()).toHaveLength(1);
});

test.each([
  ['with', [] as const],
  ['without', ['locks'] as const],
])('after a long outage the next one begins with short pauses, %s events', async (_with, without) => {
  const browser = fakeBrowser({ without });
  // The longest pauses that there can be.
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  createSallyport().subscribe(nothing);
  await browser.settle();
  const { answer } = browser;
  const goDown = () => {
    browser.answer = () => Promise.reject(new TypeError('offline'));
    browser.sources()[0]?.fail();
    browser.fire('focus');
  };
  await browser.pass(2);
  goDown();
  await browser.pass(3600);
  browser.answer = answer;
  browser.fire('online');
  await browser.settle();
  browser.sources()[0]?.say('session', signedIn());
  await browser.pass(2);
  goDown();
  const before = browser.calls.length;
  await browser.pass(4);
  expect(browser.calls.length).toBeGreaterThan(before);
});

test('a server that refuses the connection is not stormed', async () => {
  const browser = fakeBrowser();
  createSallyport().subscribe(nothing);
  await browser.settle();
  for (let minutes = 0; minutes < 60; minutes++) {
    for (let second = 0; second < 60; second++) {
      browser.sources()[0]?.fail();
      await browser.pass(1);
    }
  }
  expect(browser.sourcesOpened()).toBeGreaterThan(30);
  expect(browser.sourcesOpened()).toBeLessThan(260);
});

test('in the back-forward cache the page holds nothing; coming back, it looks', async () => {
  const browser = fakeBrowser();
  const { subscribe, current } = createSallyport();
  const listener = vi.fn<(view: SessionView) => void>();
  subscribe(listener);
  const other = createSallyport();
  other.subscribe(nothing);
  await browser.settle();
  browser.page.hidden = true;
  browser.fire('pagehide');
  browser.fire('visibilitychange');
  await browser.settle();
  expect(browser.sources()).toEqual([]);
  const asked = browser.calls.length;
  browser.session = signedOut;
  await browser.pass(5);
  expect(browser.calls).toHaveLength(asked);
  browser.page.hidden = false;
  browser.fire('pageshow');
  await browser.settle();
  expect(current()).toEqual(signedOut);
  expect(listener).toHaveBeenLastCalledWith(signedOut);
});

test('subscribing again at once, as React does in strict mode, keeps one connection', async () => {
  const browser = fakeBrowser();
  const { subscribe } = createSallyport();
  subscribe(nothing)();
  const stop = subscribe(nothing);
  await browser.settle();
  expect(browser.sources()).toHaveLength(1);
  expect(browser.calls).toEqual([look]);
  await browser.pass(10);
  const stopSecond = subscribe(() => undefined);
  await browser.settle();
  expect(browser.calls).toEqual([look]);
  stopSecond();
  stop();
  stop();
  await browser.settle();
  expect(browser.sources()).toEqual([]);
  expect(browser.channelsOpen()).toBe(0);
});

test('refresh renews, and all tabs know', async () => {
  const browser = fakeBrowser();
  const { subscribe, refresh } = createSallyport();
  const other = createSallyport();
  subscribe(nothing);
  other.subscribe(nothing);
  await browser.settle();
  browser.session = signedIn('a', { idleExpiresAt: '2026-11-21T10:00:00.000Z', idleExpiresInSeconds: 900 });
  expect(await refresh()).toEqual(browser.session);
  await browser.settle();
  expect(other.current()).toEqual(browser.session);
  expect(other.secondsLeft()).toBe(900);
  expect(browser.calls.at(-1)).toBe('POST /bff/refresh');
});
