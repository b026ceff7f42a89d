/**
 * A provider as it is where clients show certificates (RFC 8705): its own addresses ask for none, those of
 * `mtls_endpoint_aliases` do.
 */
import type { ConfigInput } from '../../src/config/config.ts';
import { startHttpsFront } from './https-provider.ts';
import { certificateHeaders, certifiedName } from './provider-clients.ts';
import type { TestProvider } from './provider.ts';
import { createCertificate, type TestCertificate } from './tls.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

export interface MutualTlsWorld extends World {
  readonly issuer: string;
  /** Where the endpoints ask for a certificate. */
  readonly aliasOrigin: string;
}

/** A certificate for the client; of its own authority. */
export function clientCertificate(name = certifiedName): Promise<TestCertificate> {
  return createCertificate([name]);
}

const aliased = [
  'token_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'userinfo_endpoint',
  'pushed_authorization_request_endpoint',
];

interface MutualTlsOptions {
  /** PEM of the authorities by which the provider judges client certificates. */
  readonly authorities?: readonly string[];
  readonly provider?: WorldOptions['provider'];
  /** What replaces the client's secret. */
  readonly client: Partial<ConfigInput['client']>;
}

/** Starts a world, for one test. */
export async function startMutualTlsWorld(options: MutualTlsOptions): Promise<MutualTlsWorld> {
  const { authorities = [], client, provider = {} } = options;
  const front = await startHttpsFront();
  const asking = await startHttpsFront({ clientAuthorities: authorities });
  const world = await startWorld({
    provider,
    providerUp: false,
    config: (base) => ({
      ...base,
      issuer: front.issuer,
      client: { id: base.client.id, ...client },
      login: { userInfo: true },
    }),
  });
  front.serve(world.provider);
  asking.forward(world.provider);
  world.provider.mutateDiscovery((metadata) => ({
    ...metadata,
    mtls_endpoint_aliases: Object.fromEntries(
      aliased.flatMap((name) =>
        typeof metadata[name] === 'string' ? [[name, metadata[name].replace(front.issuer, asking.issuer)]] : [],
      ),
    ),
  }));
  await world.provider.up();
  const begin = world.client;
  return Object.assign(world, {
    issuer: front.issuer,
    aliasOrigin: asking.issuer,
    client: (overrides?: Parameters<World['client']>[0]) => {
      const browser = begin(overrides);
      browser.routeTo(world.provider.port, front.issuer);
      return browser;
    },
  });
}

/** The paths that were called with a certificate, and those that were called without, of the back channel. */
export function callsByCertificate(provider: TestProvider): { readonly with: string[]; readonly without: string[] } {
  const calls = provider.requests.filter(({ endpoints }) => endpoints.includes('backChannel'));
  const isWith = ({ headers }: (typeof calls)[number]) => (headers[certificateHeaders.pem] ?? '') !== '';
  const paths = (list: typeof calls) => [...new Set(list.map(({ path }) => path))].toSorted();
  return { with: paths(calls.filter(isWith)), without: paths(calls.filter((call) => !isWith(call))) };
}
