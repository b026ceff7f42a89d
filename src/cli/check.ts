/**
 * `sallyport check`: validates the configuration, tries the store, asks the provider, says what cannot work, and
 * prints what to register with the provider. Ends with 1 after a fault, and with `--strict` with 3 after a warning.
 */
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/sources.ts';
import { createEvents } from '../events.ts';
import { BffError } from '../http/errors.ts';
import { createProvider } from '../oidc/provider.ts';
import { estimateCookieBytes } from '../session/cookie-sizes.ts';
import { createProviderFetch } from '../upstream/provider-fetch.ts';
import { createProviderIdentity } from '../upstream/tls-identity.ts';
import { tryStore } from './store-trial.ts';

export async function check(file: string | undefined, { strict }: { readonly strict: boolean }): Promise<void> {
  const { config, warnings } = await loadConfig(file, process.env);
  say('warning', warnings);
  say('ok', ['the configuration is valid']);
  if (config.secrets.length > 1) sayRotation(config.secrets.length);
  const store = await tryStore(config);
  say('ok', store.fine);
  for (const note of store.notes) console.log(`    ${note}`);
  const found = await askProvider(config);
  say('warning', found.warnings);
  const faults = [...store.faults, ...found.faults];
  say('fault', faults);
  if (faults.length > 0) process.exitCode = 1;
  else if (strict && warnings.length + found.warnings.length > 0) process.exitCode = 3;
}

function say(kind: 'ok' | 'warning' | 'fault', sentences: readonly string[]): void {
  const print = kind === 'fault' ? console.error : console.log;
  for (const sentence of sentences) print(`${kind}: ${sentence}`);
}

/** What no look at one instance can tell. */
function sayRotation(count: number): void {
  console.log(
    `    of ${count} sealing secrets the first seals: every instance must accept it before it may stand there`,
  );
  console.log('    (a new one goes last at first: docs/deployment.md, "Rotating the sealing secret")');
}

/** The tokens are not known before somebody signs in. */
async function sayCookieSizes(config: Config): Promise<void> {
  const estimates = await Promise.all([0, 50, 150].map((groups) => estimateCookieBytes(groups, config)));
  const [none, some, many] = estimates.map((bytes) => `${(bytes / 1000).toFixed(1)} kB`);
  console.log(`    a session takes about ${none} of cookies; with 50 groups in the tokens ${some}, with 150 ${many}`);
  console.log('    (from 3.4 kB on, servers in front need larger buffers: docs/deployment.md, "Large sessions")');
}

interface Findings {
  readonly warnings: readonly string[];
  readonly faults: readonly string[];
}

async function askProvider(config: Config): Promise<Findings> {
  const events = createEvents();
  const identity = createProviderIdentity(config, events);
  const providerFetch = createProviderFetch({ ...config.provider, identity });
  const provider = createProvider(config, { fetch: providerFetch.fetch, events });
  try {
    const { faults, warnings, scope, keyCount, logout } = await provider.examine();
    say('ok', [`the provider ${config.issuer} answers, with ${keyCount} ${keyCount === 1 ? 'key' : 'keys'}`]);
    const choice =
      config.scope === undefined ? 'chosen by what it supports; SALLYPORT_SCOPE asks for others' : 'configured';
    console.log(`    logins ask for the scope "${scope}" (${choice})`);
    console.log(`    to be registered with it: redirect URI ${provider.redirectUri}`);
    console.log(`    and post-logout redirect URI ${config.origin}${config.logout.returnTo}`);
    if (provider.publicKeys !== undefined) {
      console.log(`    and JWKS URL ${config.origin}${config.basePath}/jwks.json, which it must be able to reach`);
    }
    for (const line of logout) console.log(`    ${line}`);
    await sayCookieSizes(config);
    return { faults, warnings };
  } catch (error) {
    if (!(error instanceof BffError)) throw error;
    // What the error says is for a person in a browser; its cause names address, status and remedy.
    return { faults: [error.cause instanceof Error ? error.cause.message : error.message], warnings: [] };
  } finally {
    provider.close();
    await providerFetch.close();
  }
}
