/** The browser of the tests: the system's own Chromium or Chrome, quiet and offline. */
import { chromium, type Browser } from 'playwright-core';
import { findChromium } from './browser-programs.ts';

/** Starts the browser; close it when the tests are over. */
export function launchChromium(moreArguments: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...moreArguments,
    ],
  });
}
