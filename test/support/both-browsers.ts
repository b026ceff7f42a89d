/** For the top of a test file: Chromium and Firefox, and worlds at https sites that both can open. */
import { afterAll, beforeAll, onTestFinished, vi } from 'vitest';
import { startHttpsSites, type HttpsSites } from './https-sites.ts';
import { browserNames, startBrowser, type BrowserName, type RealBrowser } from './real-browsers.ts';
import { newPerson, type Person, type Tab } from './tab.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

/** The app, a page of its own site that is not the app's, the provider, and somebody else's site. */
export const app = 'https://app.example.test';
export const sibling = 'https://evil.example.test';
export const provider = 'https://login.provider.test';
export const elsewhere = 'https://elsewhere.test';

export interface BrowserVisit {
  readonly world: World;
  readonly person: Person;
}

export interface BothBrowsers {
  readonly sites: HttpsSites;
  /** A world at {@link app}, whose provider is at {@link provider}, and a person with a new profile. Ends with the test. */
  readonly open: (name: BrowserName, options?: WorldOptions) => Promise<BrowserVisit>;
}

export function useBothBrowsers(): BothBrowsers {
  const browsers = new Map<BrowserName, RealBrowser>();
  let sites: HttpsSites | undefined;
  // Two browsers on a machine that is busy with other tests: a step that fails tells so by its own limit.
  vi.setConfig({ testTimeout: 60_000 });

  beforeAll(async () => {
    const started = await startHttpsSites();
    sites = started;
    for (const browser of await Promise.all(browserNames.map((name) => startBrowser(name, started)))) {
      browsers.set(browser.name, browser);
    }
  });

  afterAll(async () => {
    await Promise.all([...browsers.values()].map((browser) => browser.close()));
    await sites?.close();
  });

  return {
    get sites() {
      if (sites === undefined) throw new Error('the sites are not up yet');
      return sites;
    },
    async open(name, options = {}) {
      const browser = browsers.get(name);
      if (browser === undefined || sites === undefined) throw new Error(`${name} is not up yet`);
      const world = await startWorld({
        ...options,
        origin: app,
        provider: { publicOrigin: provider, ...options.provider },
      });
      sites.route(new URL(app).host, world.server.port);
      sites.route(new URL(provider).host, world.provider.port);
      // One browser's requests prove nothing of the other one.
      sites.forget();
      const person = await newPerson(browser);
      onTestFinished(() => person.leave());
      return { world, person };
    },
  };
}

/** Signs in by the typed login address, through the provider's form where it shows one. */
export async function signInWith(tab: Tab, user = 'alice', returnTo = '/'): Promise<void> {
  const query = new URLSearchParams({ returnTo, login_hint: user });
  await tab.open(`${app}/bff/login?${query.toString()}`);
  await tab.arrives(`${app}${returnTo}`);
}

/** Who the app says is signed in, in this tab. */
export function whoIsIn(tab: Tab): Promise<string> {
  return tab.run(`fetch('/bff/session').then((answer) => answer.json()).then(({ user }) => user?.name ?? 'nobody')`);
}
