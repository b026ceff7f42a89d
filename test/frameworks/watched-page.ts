/** A page in Chromium whose breaches of the policy are written down. */
import type { Browser, Page } from 'playwright-core';
import { onTestFinished } from 'vitest';

export interface WatchedPage {
  readonly page: Page;
  /** What the browser has blocked, in its words, and errors that no code has caught. */
  readonly complaints: string[];
  /** A computed style of the first element that a selector names. */
  readonly styleOf: (selector: string, property: string) => Promise<string>;
}

export async function openWatchedPage(browser: Browser): Promise<WatchedPage> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (/Content.Security.Policy/i.test(message.text())) complaints.push(message.text());
  });
  return {
    page,
    complaints,
    styleOf: (selector, property) =>
      page.evaluate(`getComputedStyle(document.querySelector('${selector}'))['${property}']`),
  };
}
