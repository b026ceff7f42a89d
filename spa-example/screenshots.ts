/**
 * Takes the pictures of the demo for the README, in light and dark: `node spa-example/screenshots.ts`. The window is always
 * the same, and what differs from run to run (milliseconds, names of tokens, seconds) is set to one value before.
 */
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { findChromium } from '../test/support/browser-programs.ts';
import { startDemo } from './demo.ts';

const port = 3311;
const size = { width: 1240, height: 850 };

/** Runs in the page: nothing has the focus, and what no two runs have in common says the same. */
const settle = `
  document.activeElement.blur();
  document.querySelectorAll('.tile .small').forEach((one, index) => { one.textContent = 30 + index + ' ms'; });
  document.querySelector('[role="timer"]').textContent = '58 s';
  document.querySelectorAll('time, .rows .small').forEach((one) => { one.textContent = one.textContent.replace(/[0-9]+ min ago/, 'just now'); });
`;

const demo = await startDemo({ port, overrides: { logLevel: 'silent' } });
const browser = await chromium.launch({
  executablePath: findChromium(),
  args: ['--no-sandbox', '--disable-gpu', '--font-render-hinting=none', '--hide-scrollbars'],
});
try {
  await takePicture(browser, 'light', 'screenshot.png');
  await takePicture(browser, 'dark', 'screenshot-dark.png');
} finally {
  await browser.close();
  await demo.close();
}

async function takePicture(browser: Browser, colorScheme: 'light' | 'dark', file: string): Promise<void> {
  // Another person in the dark, so that both pages tell the same story.
  const username = colorScheme === 'light' ? 'alice' : 'bob';
  const context = await browser.newContext({ colorScheme, viewport: size, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await signIn(page, username);
  for (const text of ['Count the torches', 'Oil the hinges']) {
    await page.getByLabel('New note').fill(text);
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('button', { name: `Remove "${text}"` }).waitFor();
  }
  await page.getByRole('button', { name: 'Expire my token now' }).click();
  await page.getByText('The API now refuses this token').waitFor();
  await page.getByRole('button', { name: 'Fire 20 calls at once' }).click();
  await page.getByText('20 of 20 calls succeeded').waitFor();
  await page.getByText('A call repeated').waitFor();
  await page.mouse.move(0, 0);
  await page.evaluate(settle);
  await page.screenshot({ path: join(import.meta.dirname, file) });
  await context.close();
}

async function signIn(page: Page, username: string): Promise<void> {
  await page.goto(`${demo.origin}/bff/login`);
  await page.getByLabel('User name').fill(username);
  await page.getByLabel('Password').fill(username);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Your notes' }).waitFor();
}
