/** WebSockets in Chromium: what a script in the page sees of them, from opening to the end of its session. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startListener } from '../support/listener.ts';
import { acceptWebSockets, type SocketApi } from '../support/web-socket.ts';
import { startWorld, within, type World } from '../support/world.ts';

let browser: Browser;
let world: World;
let sockets: SocketApi;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(async () => {
  await browser.close();
});

beforeEach(async () => {
  world = await startWorld();
  sockets = acceptWebSockets(world.api, {
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
  });
  context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
});

afterEach(async () => {
  await context.close();
});

interface PageSocket {
  readonly protocol: string;
  readonly extensions: string;
}

/** Opens a socket in the page, as `window.ws`; `window.wsClosed` becomes how it is closed. */
async function openInPage(url: string, protocols: string[] = []): Promise<PageSocket> {
  return page.evaluate<PageSocket>(`new Promise((resolve, reject) => {
    window.ws = new WebSocket(...${JSON.stringify([url, protocols])});
    window.wsClosed = new Promise((done) => {
      ws.onclose = ({ code, reason, wasClean }) => done({ code, reason, wasClean });
    });
    ws.onopen = () => resolve({ protocol: ws.protocol, extensions: ws.extensions });
    ws.onerror = () => reject(new Error('the socket failed'));
  })`);
}

function closedInPage(): Promise<unknown> {
  return within(5, page.evaluate('window.wsClosed'), 'the socket stayed open');
}

test('a page opens a socket with its session, its protocol and compression, and talks', async () => {
  const opened = await openInPage('/api/socket?room=1', ['chat', 'other']);
  expect(opened.protocol).toBe('chat');
  expect(opened.extensions).toContain('permessage-deflate');
  const { request } = await sockets.accepted();
  expect(request.headers.authorization).toMatch(/^Bearer eyJ/);
  expect(request.headers.cookie).toBeUndefined();
  const echoed = await page.evaluate(`new Promise((resolve) => {
    ws.onmessage = ({ data }) => resolve(data);
    ws.send('grüße '.repeat(10000));
  })`);
  expect(echoed).toBe('grüße '.repeat(10_000));
});

test('a page sees the code and reason with which the API closes', async () => {
  await openInPage('/api/socket');
  (await sockets.accepted()).socket.close(4000, 'enough');
  expect(await closedInPage()).toEqual({ code: 4000, reason: 'enough', wasClean: true });
});

test('a sign-out in one tab closes the socket of the other with 4401', async () => {
  await openInPage('/api/socket');
  const atApi = (await sockets.accepted()).socket;
  const otherTab = await context.newPage();
  await otherTab.goto(world.origin);
  await otherTab.evaluate(`fetch('/bff/logout', { method: 'POST' })`);
  expect(await closedInPage()).toEqual({ code: 4401, reason: 'session ended', wasClean: true });
  await expect.poll(() => atApi.readyState).toBe(atApi.CLOSED);
});

test('a server that stops closes the socket with 1012', async () => {
  await openInPage('/api/socket');
  await Promise.all([
    world.server.close(),
    expect(closedInPage()).resolves.toEqual({ code: 1012, reason: 'service restart', wasClean: true }),
  ]);
});

test('a page of another origin on the same site opens none, though the browser sends the cookies', async () => {
  const evil = await startListener((_, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>evil</title>');
  });
  try {
    // Ports don't make sites: this page and the app are same-site to the browser.
    await page.goto(`http://localhost:${evil.port}/`);
    const refused = openInPage(`${world.origin.replace('http', 'ws')}/api/socket`);
    await expect(refused).rejects.toThrow('the socket failed');
    expect(sockets.requests).toEqual([]);
    expect((await context.cookies(world.origin)).map(({ name }) => name)).toEqual([
      `session-${new URL(world.origin).port}`,
    ]);
  } finally {
    await evil.close();
  }
});
