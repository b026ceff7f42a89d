/**
 * The policy that the app's documents are served with, as Chromium reads it: what the developers have written into the
 * document works, what the operator adds works, and what somebody injects doesn't.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { launchChromium } from '../support/chromium.ts';
import { startListener } from '../support/listener.ts';
import { startWorld, type World } from '../support/world.ts';

type Spa = NonNullable<ConfigInput['spa']>;

let browser: Browser;
let page: Page;
let violations: string[];

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

beforeEach(async () => {
  const context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  page = await context.newPage();
  violations = [];
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) violations.push(message.text());
  });
});

afterEach(() => page.context().close());

/** A document as Angular builds it, with inline code of every kind. */
const inlineDocument =
  `<!doctype html><title>App</title><base href="/"><style>body { margin-left: 7px }</style>` +
  `<link rel="stylesheet" href="late.css" media="print" onload="this.media='all'">` +
  `<script>document.documentElement.dataset.theme = 'dark'</script>` +
  `<body style="margin-top: 9px"><div id="app"></div><script src="app.js"></script>`;

const files = { 'index.html': inlineDocument, 'late.css': 'body { padding: 11px }', 'app.js': '' };

async function open(spa: Partial<Spa>, more: Record<string, string> = {}): Promise<World> {
  const world = await startWorld({
    spa: { ...files, ...more },
    config: (base) => ({ ...base, spa: { ...base.spa, ...spa } }),
  });
  await page.goto(world.origin, { waitUntil: 'load' });
  return world;
}

function styleOf(property: string, selector = 'body'): Promise<string> {
  return page.evaluate(`getComputedStyle(document.querySelector('${selector}'))['${property}']`);
}

describe('by default', () => {
  test('all that is written into the document works: styles, scripts, event handlers, style attributes', async () => {
    await open({});
    await expect.poll(() => styleOf('padding')).toBe('11px');
    expect(await styleOf('marginLeft')).toBe('7px');
    expect(await styleOf('marginTop')).toBe('9px');
    expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
    expect(violations).toEqual([]);
  });

  test('pictures that the app has made work', async () => {
    await open({});
    const width = await page.evaluate(`(async () => {
      const picture = new Image();
      picture.src = URL.createObjectURL(new Blob(
        ['<svg xmlns="http://www.w3.org/2000/svg" width="31" height="1"/>'], { type: 'image/svg+xml' }));
      await picture.decode();
      return picture.naturalWidth;
    })()`);
    expect([width, violations]).toEqual([31, []]);
  });

  test('what is injected doesn’t: no script, no handler, no style, also beside the hashes of the document’s own', async () => {
    await open({});
    await page.evaluate(`(() => {
      const injected = document.createElement('script');
      injected.textContent = 'window.injected = 1';
      document.body.append(injected);
      document.body.insertAdjacentHTML('beforeend',
        '<img src="data:," onerror="window.injected = 2"><a id="link" href="javascript:window.injected=3">x</a>' +
        // The hash of a script is none of a handler.
        '<b id="theme" onclick="document.documentElement.dataset.theme = \\'dark\\'">x</b><style>#app { color: red }</style>');
      delete document.documentElement.dataset.theme;
      document.querySelector('#link').click();
      document.querySelector('#theme').click();
    })()`);
    await expect.poll(() => violations.length).toBeGreaterThanOrEqual(5);
    expect(await page.evaluate('[window.injected, document.documentElement.dataset.theme]')).toEqual([
      undefined,
      undefined,
    ]);
    expect(await styleOf('color', '#app')).toBe('rgb(0, 0, 0)');
  });
});

test('a source that is added can be fetched from, and the document’s own code still works', async () => {
  const maps = await startListener((_request, response) => {
    response.writeHead(200, { 'access-control-allow-origin': '*' }).end('map');
  });
  onTestFinished(() => maps.close());
  const address = `http://127.0.0.1:${maps.port}`;
  const fetchMap = `fetch('${address}/tile').then((answer) => answer.text(), () => 'blocked')`;
  await open({});
  expect(await page.evaluate(fetchMap)).toBe('blocked');
  violations = [];
  await open({ csp: { 'connect-src': [address] } });
  expect(await page.evaluate(fetchMap)).toBe('map');
  expect(await page.evaluate('document.documentElement.dataset.theme')).toBe('dark');
  await expect.poll(() => styleOf('padding')).toBe('11px');
  expect(violations).toEqual([]);
});

const insertsStyle = `
  const style = document.createElement('style');
  style.nonce = document.querySelector('[data-nonce]')?.dataset.nonce ?? '';
  style.textContent = '#app { color: rgb(1, 2, 3) }';
  document.head.append(style);`;

describe('a style that is inserted at run time', () => {
  test('is blocked by default', async () => {
    await open({}, { 'app.js': insertsStyle });
    expect(await styleOf('color', '#app')).toBe('rgb(0, 0, 0)');
    expect(violations).toHaveLength(1);
  });

  test('applies with ’unsafe-inline’ in style-src, beside the hashes of the document’s own styles', async () => {
    await open({ csp: { 'style-src': ["'unsafe-inline'"] } }, { 'app.js': insertsStyle });
    expect(await styleOf('color', '#app')).toBe('rgb(1, 2, 3)');
    await expect.poll(() => styleOf('padding')).toBe('11px');
    expect(await styleOf('marginTop')).toBe('9px');
    expect(violations).toEqual([]);
  });

  test('applies with the nonce, and each load has another one', async () => {
    const withNonce = inlineDocument.replace('<div id="app"', '<i data-nonce="__CSP_NONCE__"></i><div id="app"');
    await open({ nonce: '__CSP_NONCE__' }, { 'app.js': insertsStyle, 'index.html': withNonce });
    const first = await page.evaluate(`document.querySelector('[data-nonce]').dataset.nonce`);
    expect(await styleOf('color', '#app')).toBe('rgb(1, 2, 3)');
    await page.reload();
    expect(await styleOf('color', '#app')).toBe('rgb(1, 2, 3)');
    expect(await page.evaluate(`document.querySelector('[data-nonce]').dataset.nonce`)).not.toBe(first);
    expect(violations).toEqual([]);
  });
});
