/**
 * Which scopes a login asks for (OpenID Connect Core 5.4, 11) where the operator names none: providers refuse scopes that
 * they don't know (RFC 6749 4.1.2.1).
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { resourcesOfRoutes } from './resources.ts';

const wanted = ['openid', 'profile', 'email', 'offline_access'];

/** The scopes of a login: the session's own, and those of routes with a token of their own. */
export function loginScope(config: Pick<Config, 'scope' | 'api'>, metadata: ServerMetadata): string {
  const scopes = [...scopeFor(config.scope, metadata).split(' '), ...resourcesOfRoutes(config).scopes];
  return [...new Set(scopes)].join(' ');
}

/** @param configured the operator's choice; undefined to choose by the metadata */
export function scopeFor(configured: string | undefined, metadata: ServerMetadata): string {
  if (configured !== undefined) return configured;
  const { scopes_supported: supported } = metadata;
  // An empty list says nothing.
  const scopes =
    Array.isArray(supported) && supported.length > 0
      ? wanted.filter((name) => name === 'openid' || supported.includes(name))
      : wanted;
  return scopes.filter((name) => name !== 'offline_access' || !grantsRefreshTokensByItself(metadata)).join(' ');
}

/**
 * Keycloak gives refresh tokens without `offline_access`. With it they would outlive the person's session there, and an
 * administrator's sign-out.
 */
export function grantsRefreshTokensByItself({ token_endpoint: endpoint = '' }: ServerMetadata): boolean {
  return endpoint.endsWith('/protocol/openid-connect/token');
}
