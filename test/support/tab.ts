/** A tab of a {@link RealBrowser}, and the person it belongs to: their cookies and storage are their own. */
import type { BrowserContext, Cookie, Page } from 'puppeteer-core';
import { expect } from 'vitest';
import type { RealBrowser } from './real-browsers.ts';

export const patient = { timeout: 15_000, interval: 25 };

export interface Person {
  readonly context: BrowserContext;
  readonly newTab: () => Promise<Tab>;
  /** Those that pages opened as well, and popups. */
  readonly tabs: () => Promise<Tab[]>;
  /** What the jar holds for an origin, by name. */
  readonly cookies: (origin: string) => Promise<Record<string, Cookie>>;
  readonly leave: () => Promise<void>;
}

/** A person with a browser profile of their own. */
export async function newPerson({ browser }: RealBrowser): Promise<Person> {
  const context = await browser.createBrowserContext();
  return {
    context,
    newTab: async () => tabOf(await context.newPage()),
    tabs: async () => (await context.pages()).map((page) => tabOf(page)),
    async cookies(origin) {
      const { hostname } = new URL(origin);
      const cookies = await context.cookies();
      return Object.fromEntries(
        cookies.filter(({ domain }) => isFor(hostname, domain)).map((cookie) => [cookie.name, cookie]),
      );
    },
    leave: () => context.close(),
  };
}

function isFor(host: string, domain: string): boolean {
  return host === domain || (domain.startsWith('.') && `.${host}`.endsWith(domain));
}

export interface Tab {
  readonly page: Page;
  /** Types an address, and waits until it has loaded, wherever it led. */
  readonly open: (address: string) => Promise<void>;
  /** The buttons of the browser. They begin something, and wait for nothing. */
  readonly back: () => Promise<void>;
  readonly forward: () => Promise<void>;
  readonly reload: () => Promise<void>;
  /** Runs a script in the page, and answers its value; a promise is waited for. */
  readonly run: <Value = unknown>(script: string) => Promise<Value>;
  /** Begins what leads away from the page. */
  readonly begin: (script: string) => Promise<void>;
  /** A click that the browser takes for the person's own. */
  readonly click: (selector: string) => Promise<void>;
  readonly type: (selector: string, text: string) => Promise<void>;
  readonly address: () => Promise<string>;
  /** The page's text, as a person sees it. */
  readonly text: (selector?: string) => Promise<string>;
  /** Waits until a page has loaded at this address. */
  readonly arrives: (address: string | RegExp) => Promise<void>;
  readonly close: () => Promise<void>;
}

export function tabOf(page: Page): Tab {
  const command = commandsOf(page);

  async function run<Value>(script: string): Promise<Value> {
    return (await page.evaluate(script)) as Value;
  }

  /** A person uses the tab that is in front: the others are hidden, and pages heed that. */
  async function inFront(act: () => Promise<void>): Promise<void> {
    await command('browsingContext.activate', {});
    await act();
  }

  const tab: Tab = {
    page,
    open: (url) => inFront(() => command('browsingContext.navigate', { url, wait: 'complete' })),
    back: () => inFront(() => command('browsingContext.traverseHistory', { delta: -1 })),
    forward: () => inFront(() => command('browsingContext.traverseHistory', { delta: 1 })),
    reload: () => inFront(() => command('browsingContext.reload', { wait: 'complete' })),
    run,
    begin: (script) => run(`void setTimeout(() => { ${script} })`),
    click: (selector) => inFront(() => page.click(selector)),
    type: (selector, text) => inFront(() => page.type(selector, text)),
    address: () => run('location.href'),
    text: (selector = 'body') => run(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`),
    async arrives(address) {
      const matching: unknown = typeof address === 'string' ? address : expect.stringMatching(address);
      await expect.poll(() => run('[document.readyState, location.href]'), patient).toEqual(['complete', matching]);
    },
    close: () => page.close(),
  };
  return tab;
}

/**
 * Commands of BiDi itself. Puppeteer's own navigations never end where a page came back from the back-forward cache: it
 * waits for a `load` that doesn't come.
 */
function commandsOf(page: Page): (method: string, parameters: object) => Promise<void> {
  const { connection } = page.browser() as unknown as {
    readonly connection: { send(method: string, parameters: object): Promise<unknown> };
  };
  const { _id: context } = page.mainFrame() as unknown as { readonly _id: string };
  return async (method, parameters) => void (await connection.send(method, { context, ...parameters }));
}
