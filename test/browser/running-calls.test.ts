/** What a page in Chromium sees of its calls that are under way when another tab ends the session. */
import type { ServerResponse } from 'node:http';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { startWorld, type World } from '../support/world.ts';

const patient = { timeout: 10_000 };

let browser: Browser;
let world: World;
let context: BrowserContext;
let page: Page;
let otherTab: Page;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

beforeEach(async () => {
  world = await startWorld();
  world.api.handleRaw((request, response) => {
    answers[request.url ?? '']?.(response);
  });
  context = await browser.newContext();
  context.setDefaultTimeout(patient.timeout);
  page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice`);
  await page.waitForURL(`${world.origin}/`);
  otherTab = await context.newPage();
  await otherTab.goto(world.origin);
});

afterEach(() => context.close());

/** What the API begins, and goes on with for ever. */
const answers: Readonly<Record<string, (response: ServerResponse) => unknown>> = {
  '/events': (response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('retry: 100\nid: 7\ndata: hello\n\n'),
  '/download': (response) => response.writeHead(200, { 'content-length': '1000' }).write('a part of it'),
  '/unanswered': () => undefined,
};

/** Opens an `EventSource` as `window.source`; `window.heard` is what it has told. Resolves with the first event. */
async function openEventSource(): Promise<void> {
  await page.evaluate(`new Promise((resolve) => {
    window.source = new EventSource('/api/events');
    window.heard = [];
    source.onmessage = ({ data }) => { heard.push(data); resolve(); };
    source.onerror = () => heard.push('error, ' + ['connecting', 'open', 'closed'][source.readyState]);
  })`);
}

function heard(): Promise<unknown> {
  return page.evaluate('heard');
}

/** Fetches as `window[name]`: how many bytes came, and how it came to its end. Resolves when something has come. */
async function beginFetch(name: string, path: string): Promise<void> {
  await page.evaluate(`new Promise((begun) => {
    window[${JSON.stringify(name)}] = (async () => {
      const reader = (await fetch(${JSON.stringify(path)})).body.getReader();
      try {
        for (;;) {
          const { done } = await reader.read();
          begun();
          if (done) return 'done';
        }
      } catch (error) {
        return error.name;
      }
    })();
  })`);
}

test('a sign-out in another tab ends streams in order, downloads with an error, others with 401', async () => {
  await openEventSource();
  await beginFetch('stream', '/api/events');
  await beginFetch('download', '/api/download');
  await page.evaluate(`window.unanswered = fetch('/api/unanswered')
    .then(async (answer) => [answer.status, (await answer.json()).code]);
    undefined`);
  await expect.poll(() => world.api.requests.length, patient).toBe(4);

  await otherTab.evaluate(`fetch('/bff/logout', { method: 'POST' })`);
  await expect.poll(heard, patient).toEqual(['hello', 'error, connecting', 'error, closed']);
  expect(await page.evaluate('Promise.all([stream, download, unanswered])')).toEqual([
    'done',
    'TypeError',
    [401, 'session_expired'],
  ]);
  // The event source asked once more, and that did not reach the API.
  expect(world.api.requests).toHaveLength(4);
  await expect.poll(() => world.api.inFlight, patient).toBe(0);
});

test('a new sign-in in the other tab ends an event stream, which goes on in the new name', async () => {
  await openEventSource();
  await otherTab.goto(`${world.origin}/bff/login?login_hint=bob&prompt=login`);
  await otherTab.waitForURL(`${world.origin}/`);
  await expect.poll(heard, patient).toEqual(['hello', 'error, connecting', 'hello']);
  expect(world.api.requests.map(({ headers, claims }) => [claims?.sub, headers['last-event-id']])).toEqual([
    ['alice', undefined],
    ['bob', '7'],
  ]);
});
