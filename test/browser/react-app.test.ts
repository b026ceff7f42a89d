/**
 * The form of docs/frameworks.md that loses nothing, literally as it is there, in Chromium: Sallyport, its browser module
 * and the hooks together, with React 18 and 19.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { documentedFiles, writeDocumentedFiles } from '../support/documented-app.ts';
import { root } from '../support/markdown.ts';
import { bundle, type ReactMajor } from '../support/react-bundle.ts';
import { startWorld, type World } from '../support/world.ts';

const majors: readonly ReactMajor[] = ['18', '19'];
const scripts = new Map<ReactMajor, string>();
let browser: Browser;

const main = `
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { SessionProvider, useSession } from 'sallyport/react';
import { NoteForm } from './note-form.tsx';
import { client, SignInAgain } from './sign-in-again.tsx';
import { Staying } from './staying.tsx';

function Status() {
  const { status, user, reason, logout } = useSession();
  return <button onClick={() => logout()}>{[status, user?.name, reason].filter(Boolean).join(' ')}</button>;
}

createRoot(document.querySelector('#app')!).render(
  <StrictMode>
    <SessionProvider client={client}>
      <Status />
      <Staying>{({ sub }) => <NoteForm sub={sub} />}</Staying>
      <SignInAgain />
    </SessionProvider>
  </StrictMode>,
);`;

beforeAll(async () => {
  const folder = await mkdtemp(join(root, 'test/.docs-code-'));
  try {
    writeDocumentedFiles(folder, documentedFiles());
    const entry = join(folder, 'nothing-typed-is-lost/src/main.tsx');
    await writeFile(entry, main);
    for (const major of majors) scripts.set(major, await bundle(major, entry));
  } finally {
    await rm(folder, { recursive: true });
  }
  browser = await launchChromium();
});

afterAll(() => browser?.close());

interface Opened {
  readonly world: World;
  readonly context: BrowserContext;
  readonly page: Page;
}

/** The app, with alice signed in and half a letter in the form. */
async function open(major: ReactMajor): Promise<Opened> {
  const html = '<!doctype html><title>Notes</title><div id="app"></div><script type="module" src="/app.js"></script>';
  const world = await startWorld({ spa: { 'index.html': html, 'app.js': scripts.get(major) ?? '' } });
  const context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  const errors: string[] = [];
  context.on('weberror', (error) => errors.push(String(error.error())));
  onTestFinished(async () => {
    await context.close();
    expect(errors).toEqual([]);
  });
  const page = await context.newPage();
  await page.goto(`${world.origin}/bff/login?login_hint=alice&returnTo=/notes`);
  await page.waitForURL(`${world.origin}/notes`);
  await page.getByLabel('Note').fill('half a letter');
  return { world, context, page };
}

/** The session ends, and the form is sent. */
async function sendInVain({ context, page }: Opened): Promise<void> {
  await context.clearCookies({ name: /session/ });
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('alertdialog').waitFor();
}

const notes = ({ api }: World) =>
  api.requests.map(({ claims, body }) => [claims?.sub, JSON.parse(body.toString()) as unknown]);

describe.each(majors)('React %s', (major) => {
  test('a form sent after the end of the session is sent after a sign-in in a popup, and never leaves', async () => {
    const opened = await open(major);
    const { world, context, page } = opened;
    await page.evaluate('window.stayed = true');
    await sendInVain(opened);
    expect(await page.getByLabel('Note').inputValue()).toBe('half a letter');
    const [popup] = await Promise.all([
      context.waitForEvent('page'),
      page.getByRole('button', { name: 'Sign in again' }).click(),
    ]);
    if (!popup.isClosed()) await popup.waitForEvent('close');
    await page.getByText('Sent', { exact: true }).waitFor();
    expect(notes(world)).toEqual([['alice', { text: 'half a letter' }]]);
    expect(await page.getByRole('alertdialog').count()).toBe(0);
    expect(await page.getByLabel('Note').inputValue()).toBe('');
    expect(await page.evaluate('window.stayed')).toBe(true);
    await page.getByText('signed-in Alice').waitFor();
  });

  test('all components share one look at the session, in strict mode too', async () => {
    const { world, context } = await open(major);
    const page = await context.newPage();
    const looks: string[] = [];
    page.on('request', (request) => looks.push(new URL(request.url()).pathname));
    await page.goto(`${world.origin}/notes`);
    await page.getByText('signed-in Alice').waitFor();
    await page.waitForLoadState('load');
    expect(looks.filter((path) => path === '/bff/session')).toHaveLength(1);
    expect(looks.filter((path) => path === '/bff/events').length).toBeLessThan(2);
  });

  test('who says no keeps the form, and the call its 401', async () => {
    const opened = await open(major);
    await sendInVain(opened);
    await opened.page.getByText('signed-out').waitFor();
    await opened.page.getByRole('button', { name: 'Not now' }).click();
    await opened.page.getByText('Not sent (401)').waitFor();
    expect(await opened.page.getByLabel('Note').inputValue()).toBe('half a letter');
    expect(notes(opened.world)).toEqual([]);
  });

  test('where no popup opens, the draft is there after the navigation', async () => {
    const opened = await open(major);
    const { world, page } = opened;
    await sendInVain(opened);
    await page.evaluate('window.stayed = true; window.open = () => null');
    await page.getByRole('button', { name: 'Sign in again' }).click();
    await page.waitForFunction('window.stayed === undefined');
    await page.waitForURL(`${world.origin}/notes`);
    await page.getByText('signed-in Alice').waitFor();
    expect(await page.getByLabel('Note').inputValue()).toBe('half a letter');
  });

  test('a sign-out in one tab is seen by the others', async () => {
    const { world, context, page } = await open(major);
    const other = await context.newPage();
    await other.goto(`${world.origin}/notes`);
    await other.getByText('signed-in Alice').waitFor();
    await page.getByText('signed-in Alice').click();
    await expect.poll(() => other.getByRole('button').first().textContent()).toBe('signed-out logout');
  });
});
