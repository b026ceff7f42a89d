/** Streams and sockets of the app that open again: once, after a look, or after the next sign-in. */
import { expect, test, vi } from 'vitest';
import { createSallyport } from '../../../src/browser/index.ts';
import { reconnecting } from '../../../src/browser/reconnecting.ts';
import { fakeBrowser, held, signedIn, signedOut, type FakeBrowser } from './fake-browser.ts';

class FakeSocket extends EventTarget {
  readonly bufferedAmount = 0;
  readonly close = vi.fn<() => void>();

  end(code: number): void {
    this.dispatchEvent(Object.assign(new Event('close'), { code }));
  }
}

function openSockets(count: number) {
  const sallyport = createSallyport();
  const opened: FakeSocket[] = [];
  const stops = Array.from({ length: count }, () =>
    reconnecting(() => {
      const socket = new FakeSocket();
      opened.push(socket);
      return socket as unknown as WebSocket;
    }, sallyport),
  );
  return { opened, stops, sallyport };
}

const looks = (browser: FakeBrowser) => browser.calls.filter((call) => call === 'GET /bff/session').length;

test('sockets whose session is renewed open again, once each, after one look', async () => {
  const browser = fakeBrowser();
  const { opened } = openSockets(5);
  await browser.pass(60);
  const before = looks(browser);
  browser.session = signedIn('b');
  for (const socket of opened) socket.end(4401);
  await browser.pass(2);
  expect(opened).toHaveLength(10);
  expect(looks(browser) - before).toBe(1);
  await browser.pass(600);
  expect(opened).toHaveLength(10);
});

test('sockets whose session is over wait for the next sign-in', async () => {
  const browser = fakeBrowser();
  const { opened } = openSockets(2);
  await browser.pass(60);
  browser.session = signedOut;
  for (const socket of opened) socket.end(4401);
  await browser.pass(3600);
  expect(opened).toHaveLength(2);
  browser.session = signedIn('b');
  browser.post({ basePath: '/bff', type: 'signed-in' });
  await browser.settle();
  expect(opened).toHaveLength(4);
});

test('sockets of a server that restarts do not come back all at once', async () => {
  const browser = fakeBrowser();
  const { opened } = openSockets(200);
  await browser.pass(60);
  for (const socket of opened) socket.end(1012);
  await browser.pass(1);
  expect(opened.length).toBeLessThan(300);
  await browser.pass(3.5);
  expect(opened).toHaveLength(400);
});

test('a socket that fails each time opens more and more rarely', async () => {
  const browser = fakeBrowser();
  const { opened } = openSockets(1);
  let ended: FakeSocket | undefined;
  for (let second = 0; second < 3600; second++) {
    const last = opened.at(-1);
    if (last !== ended) last?.end(1006);
    ended = last;
    await browser.pass(1);
  }
  expect(opened.length).toBeGreaterThan(30);
  expect(opened.length).toBeLessThan(260);
});

test('without connection the socket waits for one', async () => {
  const browser = fakeBrowser();
  const { opened } = openSockets(1);
  await browser.pass(60);
  const { answer } = browser;
  browser.answer = () => Promise.reject(new TypeError('offline'));
  opened[0]?.end(1006);
  await browser.pass(300);
  expect(opened).toHaveLength(1);
  browser.answer = answer;
  await browser.pass(120);
  expect(opened).toHaveLength(2);
});

test.each([
  ['the other side is done', (socket: FakeSocket) => socket.end(1000)],
  ['it was stopped', (socket: FakeSocket, stop: () => void) => (stop(), socket.end(4401))],
  ['it is stopped while it waits', (socket: FakeSocket, stop: () => void) => (socket.end(4401), stop())],
])('it opens no more when %s', async (_story, end) => {
  const browser = fakeBrowser();
  const { opened, stops } = openSockets(1);
  await browser.pass(60);
  const before = looks(browser);
  end(opened[0] as FakeSocket, stops[0] as () => void);
  await browser.pass(600);
  expect(opened).toHaveLength(1);
  expect(looks(browser)).toBe(before);
});

test('it opens no more when it is stopped while it asks', async () => {
  const browser = fakeBrowser();
  const { opened, stops } = openSockets(1);
  await browser.pass(60);
  const late = held();
  browser.answer = () => late.answer;
  opened[0]?.end(4401);
  await browser.pass(5);
  stops[0]?.();
  late.release(Response.json(signedIn()));
  await browser.pass(60);
  expect(opened).toHaveLength(1);
});

test('an EventSource that was refused opens again; one that reconnects by itself is left alone', async () => {
  const browser = fakeBrowser();
  const sallyport = createSallyport();
  const opened: EventSource[] = [];
  reconnecting(() => {
    const source = new EventSource('/api/stream');
    opened.push(source);
    return source;
  }, sallyport);
  await browser.pass(60);
  opened[0]?.dispatchEvent(new Event('error'));
  await browser.pass(600);
  expect(opened).toHaveLength(1);
  opened[0]?.close();
  opened[0]?.dispatchEvent(new Event('error'));
  await browser.pass(2);
  expect(opened).toHaveLength(2);
});
