/** The provider, asked and compared with what is needed and configured: for `sallyport check`. */
import type { Config } from '../config/config.ts';
import type { Discovery } from './discovery.ts';
import { logoutChannels } from './logout-channels.ts';
import { loginScope } from './scope.ts';
import type { Keys } from './signing-keys.ts';
import { suitabilityOf, type Suitability } from './suitability.ts';

export interface Examination extends Suitability {
  /** What logins ask for. */
  readonly scope: string;
  readonly keyCount: number;
  /** How it tells of sign-outs, a line each. */
  readonly logout: readonly string[];
}

interface ExaminationDeps {
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly usableKeys: () => Promise<Keys>;
}

/** @throws {BffError} `provider_unavailable` */
export async function examineProvider(
  config: Config,
  { discovery, usableKeys }: ExaminationDeps,
): Promise<Examination> {
  const metadata = await discovery.fetchMetadata();
  const { faults, warnings } = suitabilityOf(metadata, config);
  const { keys } = await usableKeys();
  return {
    faults: [...faults, ...keyFaults(keys)],
    warnings,
    scope: loginScope(config, metadata),
    keyCount: keys.length,
    logout: logoutChannels(metadata, config),
  };
}

/** @param keys that the provider publishes (RFC 7517 4) */
function keyFaults(keys: Keys['keys']): string[] {
  return keys.some(isForSignatures)
    ? []
    : ['The provider publishes no key for signatures (jwks_uri): no ID token can be verified. Give this client RS256.'];
}

function isForSignatures({ kty = '', use = 'sig' }: Keys['keys'][number]): boolean {
  return use === 'sig' && ['RSA', 'EC', 'OKP', 'AKP'].includes(kty);
}
