/**
 * The one rule for every address in the provider's metadata: https (RFC 8414 6.1). Over
 * plain http an attacker on the path could supply keys of their own, and with them sign people in as anyone.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { UnusableMetadata } from './metadata-faults.ts';

/** Every member of the metadata that Sallyport fetches, or sends browsers to. */
const members = [
  'authorization_endpoint',
  'pushed_authorization_request_endpoint',
  'token_endpoint',
  'jwks_uri',
  'userinfo_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'end_session_endpoint',
] as const;

export interface ProviderAddresses {
  /** Whether plain http is allowed anywhere, because openid-client has one switch for all addresses. */
  readonly plainHttp: boolean;
  /** @throws {UnusableMetadata} that names the members whose addresses are not allowed */
  requireSecure(metadata: ServerMetadata): void;
  /** A fetch that goes to allowed addresses only, and follows no redirect. */
  guard(fetch: typeof globalThis.fetch): typeof globalThis.fetch;
}

/**
 * Plain http is allowed for a provider whose issuer is http, as on loopback, and for the host of an http `discoveryUrl`,
 * because the operator chose those.
 */
export function createProviderAddresses({ issuer, discoveryUrl }: Config): ProviderAddresses {
  const issuerIsHttp = issuer.startsWith('http:');
  const plainHttpHost = discoveryUrl?.protocol === 'http:' ? discoveryUrl.host : undefined;

  function isAllowed(address: string): boolean {
    if (!URL.canParse(address)) return false;
    const { protocol, host } = new URL(address);
    return protocol === 'https:' || (protocol === 'http:' && (issuerIsHttp || host === plainHttpHost));
  }

  return {
    plainHttp: issuerIsHttp || plainHttpHost !== undefined,
    requireSecure(metadata) {
      const insecure = members.filter((name) => metadata[name] !== undefined && !isAllowed(metadata[name]));
      if (insecure.length === 0) return;
      throw new UnusableMetadata(
        `The provider's metadata names addresses that are not https: ${insecure.map((name) => `${name} ${JSON.stringify(metadata[name])}`).join(', ')}.`,
      );
    },
    guard: (fetch) => async (input, init) => {
      const address = String(input instanceof Request ? input.url : input);
      if (!isAllowed(address))
        throw new TypeError(`The address ${JSON.stringify(address)} of the provider is not https.`);
      return fetch(input, { ...init, redirect: 'manual' });
    },
  };
}
