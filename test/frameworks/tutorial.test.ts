/** The tutorial as a reader follows it, with the npm registry: what create-vite makes today, and npm's own installing. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { walkThrough } from '../support/tutorial-checks.ts';
import { followTutorial, tutorialSteps } from '../support/tutorial.ts';

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

test('every step of the tutorial does what it says', { timeout: 300_000 }, async () => {
  const follower = await followTutorial();
  await walkThrough(tutorialSteps(), follower, browser);
  expect(follower.typed).toContain('npm install');
});
