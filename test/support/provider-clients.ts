/** How the provider of the tests knows its client: what it registers for each way of authentication, and what it refuses. */
import { X509Certificate } from 'node:crypto';
import { errors, type Configuration, type KoaContextWithOIDC } from 'oidc-provider';

export const clientAuthMethods = [
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
] as const;

export type ClientAuthMethod = (typeof clientAuthMethods)[number];

interface RegisteredClient {
  readonly authMethod?: ClientAuthMethod;
  readonly redirectUris: readonly string[];
}

/** The name for which the certificate of a client must be. */
export const certifiedName = 'client.example.test';

export function credentialsOf({ authMethod = 'client_secret_basic', redirectUris }: RegisteredClient, secret: string) {
  const method = { token_endpoint_auth_method: authMethod };
  if (authMethod.startsWith('client_secret_')) return { ...method, client_secret: secret };
  if (authMethod === 'tls_client_auth') return { ...method, tls_client_auth_san_dns: certifiedName };
  return { ...method, jwks_uri: new URL('jwks.json', redirectUris[0]).href };
}

/** What the end of TLS before this provider says of the client's certificate (`https-provider.ts`). */
export const certificateHeaders = { pem: 'x-client-certificate', verified: 'x-client-verified' } as const;

export const certificateFeatures = {
  enabled: true,
  tlsClientAuth: true,
  selfSignedTlsClientAuth: true,
  certificateBoundAccessTokens: true,
  getCertificate: (ctx) => certificateIn(ctx)?.toString(),
  certificateAuthorized: (ctx) => ctx.get(certificateHeaders.verified) === 'true',
  certificateSubjectMatches: (ctx, property, expected) =>
    property === 'tls_client_auth_san_dns' &&
    certificateIn(ctx)?.checkHost(expected, { subject: 'never' }) === expected,
} satisfies NonNullable<Configuration['features']>['mTLS'];

function certificateIn(ctx: KoaContextWithOIDC): X509Certificate | undefined {
  const pem = decodeURIComponent(ctx.get(certificateHeaders.pem));
  return pem === '' ? undefined : new X509Certificate(pem);
}

/** What FAPI 2.0 asks of an assertion, and oidc-provider by itself does not: one audience, and less than a minute. */
export async function requireStrictAssertion(
  ctx: KoaContextWithOIDC,
  claims: Record<string, unknown>,
  header: Record<string, unknown>,
): Promise<void> {
  const { aud, iat, exp, sub } = claims;
  const isBrief = typeof iat === 'number' && typeof exp === 'number' && exp - iat < 60;
  if (aud !== ctx.oidc.issuer) throw new errors.InvalidClientAuth('the audience must be the issuer, as one text');
  if (!isBrief) throw new errors.InvalidClientAuth('an assertion lives for less than a minute');
  if (sub !== ctx.oidc.client?.clientId) throw new errors.InvalidClientAuth('the subject must be the client');
  if (header['typ'] !== undefined) throw new errors.InvalidClientAuth('an assertion has no type of its own');
}
