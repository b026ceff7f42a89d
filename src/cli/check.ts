/** `sallyport check`: validates the configuration, reaches the provider, and prints what to register with it. */
import { loadConfig } from '../config/sources.ts';
import { createEvents } from '../events.ts';
import { createProvider } from '../oidc/provider.ts';
import { createProviderFetch } from '../upstream/provider-fetch.ts';

export async function check(file: string | undefined): Promise<void> {
  const { config, warnings } = await loadConfig(file, process.env);
  for (const warning of warnings) console.log(`warning: ${warning}`);
  console.log('ok: the configuration is valid');
  const providerFetch = createProviderFetch(config.provider);
  const provider = createProvider(config, { fetch: providerFetch.fetch, events: createEvents() });
  try {
    await provider.discover();
    console.log(`ok: the provider ${config.issuer} answers`);
    console.log(`    to be registered with it: redirect URI ${provider.redirectUri}`);
    console.log(`    and post-logout redirect URI ${config.origin}${config.logout.returnTo}`);
  } finally {
    provider.close();
    await providerFetch.close();
  }
}
