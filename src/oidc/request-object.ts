/**
 * Signed authorization requests (RFC 9101): the parameters of a login as the claims of a JWT, so that the provider knows
 * that they are this client's and that nobody has changed them.
 */
import type { ServerMetadata } from 'openid-client';
import type { Claims } from '../token-set.ts';
import type { ClientAuthentication } from './client-authentication.ts';
import { listOf } from './metadata.ts';

/** Its type keeps it from being taken for another JWT of the client's (RFC 9101 10.8). */
const type = 'oauth-authz-req+jwt';

/**
 * @returns the parameters that take the place of the others
 * @throws {BffError} `provider_unavailable` where no key can be read
 */
export async function requestObject(
  parameters: URLSearchParams,
  { clientId, metadata }: { readonly clientId: string; readonly metadata: ServerMetadata },
  sign: ClientAuthentication['signClientJwt'],
): Promise<URLSearchParams> {
  const claims = { ...claimsOf(parameters), client_id: clientId };
  return new URLSearchParams({ request: await sign(claims, type, requestAlgorithms(metadata)) });
}

/** Some parameters are no texts as claims (OpenID Connect Core 6.1; RFC 9396 3), and `resource` may stand several times. */
function claimsOf(parameters: URLSearchParams): Claims {
  const { max_age: maxAge, claims, authorization_details: details, ...texts } = Object.fromEntries(parameters);
  const resources = parameters.getAll('resource');
  return {
    ...texts,
    ...(resources.length > 1 ? { resource: resources } : {}),
    ...(maxAge === undefined ? {} : { max_age: Number(maxAge) }),
    ...(claims === undefined ? {} : { claims: parsed(claims) }),
    ...(details === undefined ? {} : { authorization_details: parsed(details) }),
  };
}

/** What an app passed as `claims` may be no JSON: the provider refuses it, signed or not. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The algorithms of request objects that the provider lists (OpenID Connect Discovery 3); undefined if it lists none. */
export function requestAlgorithms(metadata: ServerMetadata): readonly string[] | undefined {
  return listOf(metadata, 'request_object_signing_alg_values_supported');
}
