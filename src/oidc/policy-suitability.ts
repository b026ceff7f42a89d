/** What the routes' token policies need of a provider, against what it says of itself. */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { listOf } from './metadata.ts';

/** RFC 8693 2.1. */
export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** The policies that routes have, each with the first of its routes. */
function policiesOf({ api }: Config): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { token, path } of api.toReversed()) {
    if (typeof token !== 'object') continue;
    for (const name of Object.keys(token)) found.set(name, path);
    if ('exchange' in token && token.exchange.actor) found.set('client', path);
  }
  return found;
}

/** Without the endpoint nothing can be asked, and every call of such a route fails. */
export function policyFaults(metadata: ServerMetadata, config: Config): string[] {
  if (metadata.introspection_endpoint !== undefined) return [];
  const policies = policiesOf(config);
  return ['phantom', 'introspect'].flatMap((name) => {
    const path = policies.get(name);
    return path === undefined
      ? []
      : [`The route ${path} needs introspection (token.${name}), and the provider names no introspection_endpoint.`];
  });
}

const grants = { exchange: exchangeGrant, client: 'client_credentials' } as const;

/** Some providers leave grants out of their list that they give to the clients which may have them. */
export function policyWarnings(metadata: ServerMetadata, config: Config): string[] {
  const supported = listOf(metadata, 'grant_types_supported');
  if (supported === undefined) return [];
  const policies = policiesOf(config);
  return Object.entries(grants).flatMap(([name, grant]) => {
    const path = policies.get(name);
    if (path === undefined || supported.includes(grant)) return [];
    return [`The route ${path} needs the grant ${grant}, which the provider does not list (grant_types_supported).`];
  });
}
