/**
 * Chromium and Firefox for scenarios that are the same in both: WebDriver BiDi drives them, and what a person's browser
 * does by default is left as it is (back-forward cache, popup blocker, cookie rules). They know the names in `.test` that
 * {@link HttpsSites} serves, and nothing else.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, launch, type Browser } from 'puppeteer-core';
import { findChromium, findFirefox } from './browser-programs.ts';
import type { HttpsSites } from './https-sites.ts';

export const browserNames = ['Chromium', 'Firefox'] as const;
export type BrowserName = (typeof browserNames)[number];

/** A browser that runs. */
export interface RealBrowser {
  readonly name: BrowserName;
  readonly browser: Browser;
  readonly close: () => Promise<void>;
}

/** Starts a browser that reaches these sites. */
export function startBrowser(name: BrowserName, sites: HttpsSites): Promise<RealBrowser> {
  return name === 'Chromium' ? startChromium(sites) : startFirefox(sites);
}

async function startChromium(sites: HttpsSites): Promise<RealBrowser> {
  const browser = await launch({
    browser: 'chrome',
    protocol: 'webDriverBiDi',
    executablePath: findChromium(),
    ignoreDefaultArgs: ['--disable-popup-blocking'],
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-component-update', ...sites.chromiumArguments],
  });
  return { name: 'Chromium', browser, close: () => browser.close() };
}

/** Not by puppeteer's `launch`, whose preferences change how Firefox isolates sites and blocks popups. */
async function startFirefox(sites: HttpsSites): Promise<RealBrowser> {
  const profile = await mkdtemp(join(tmpdir(), 'sallyport-firefox-'));
  await writeFile(join(profile, 'user.js'), preferences(sites));
  const program = spawn(
    findFirefox(),
    ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port=0', 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, MOZ_CRASHREPORTER_DISABLE: '1' } },
  );
  // Chromium ends with the pipe to this process, Firefox doesn't.
  const kill = () => program.kill();
  process.once('exit', kill);
  const browser = await connect({
    browserWSEndpoint: `${await debuggingAddress(program)}/session`,
    protocol: 'webDriverBiDi',
    acceptInsecureCerts: true,
  });
  return {
    name: 'Firefox',
    browser,
    async close() {
      const ended = once(program, 'exit');
      await browser.close();
      await ended;
      process.off('exit', kill);
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function preferences({ proxyPort }: HttpsSites): string {
  const values: Readonly<Record<string, string | number | boolean>> = {
    'network.proxy.type': 1,
    'network.proxy.http': '127.0.0.1',
    'network.proxy.http_port': proxyPort,
    'network.proxy.ssl': '127.0.0.1',
    'network.proxy.ssl_port': proxyPort,
    // What a new profile would ask and tell.
    'app.update.enabled': false,
    'browser.shell.checkDefaultBrowser': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'toolkit.telemetry.enabled': false,
  };
  return Object.entries(values)
    .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`)
    .join('');
}

function debuggingAddress(program: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    program.stderr?.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      const address = /WebDriver BiDi listening on (ws:\S+)/.exec(text)?.[1];
      if (address !== undefined) resolve(address);
    });
    program.once('error', reject);
    program.once('exit', (code) => reject(new Error(`Firefox ended with ${code} before it listened:\n${text}`)));
  });
}
