/**
 * The tutorial is followed literally and ends in Chromium, signed in, calling the API, signed out. What would ask a
 * registry has a stand-in here: `npm create vite` a copy of what it makes, `npm install` links to this repository's
 * packages. `npm run test:frameworks` follows it with the registry.
 */
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { offlineRegistry } from '../support/offline-registry.ts';
import { walkThrough } from '../support/tutorial-checks.ts';
import { followTutorial, tutorialSteps } from '../support/tutorial.ts';

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
});

afterAll(() => browser?.close());

test('every step of the tutorial does what it says', { timeout: 120_000 }, async () => {
  const steps = tutorialSteps();
  expect(steps.length).toBeLessThanOrEqual(10);
  const standIns = offlineRegistry(join(import.meta.dirname, 'create-vite-app'));
  const follower = await followTutorial({ standIns });
  onTestFailed(() => void process.stderr.write(follower.output()));
  await walkThrough(steps, follower, browser);
  expect([...standIns.keys()].filter((command) => !follower.typed.includes(command))).toEqual([]);
});
