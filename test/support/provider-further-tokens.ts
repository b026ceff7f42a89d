/**
 * Tokens of the test provider beside those of a login: token exchange (RFC 8693), which oidc-provider lacks, and the JWT of
 * an introspection in the forms of well-known vendors.
 */
import { randomUUID } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { errors, type Provider } from 'oidc-provider';
import { signAs, type IdTokenMutation, type JwtHeader, type SigningKey } from './provider-keys.ts';

export const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';
const tokenType = 'urn:ietf:params:oauth:token-type:';

/** How introspection gives a JWT: not at all, as the body (Curity), or as a member beside the JSON (Keycloak). */
export type IntrospectionForm = 'json' | 'curity' | 'keycloak';

interface ExchangeParts {
  readonly issuer: string;
  readonly signingKey: () => SigningKey;
  readonly lifetimeSeconds: () => number;
}

/** Exchanges an active opaque access token for a JWT that names what was asked for. */
export function registerTokenExchange(provider: Provider, parts: ExchangeParts): void {
  const names = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'];
  provider.registerGrantType(
    exchangeGrant,
    async (ctx) => {
      const params = ctx.oidc.params as Record<string, string | string[] | undefined>;
      if (params['subject_token_type'] !== `${tokenType}access_token`) {
        throw new errors.InvalidRequest('a subject token of another type');
      }
      const subject = await provider.AccessToken.find(String(params['subject_token']));
      if (!subject?.isValid) throw new errors.InvalidRequest('the subject token is not active');
      const actor = params['actor_token'];
      const requested = String(params['requested_token_type'] ?? `${tokenType}access_token`);
      const expiresIn = parts.lifetimeSeconds();
      const now = Math.floor(Date.now() / 1000);
      const claims: JWTPayload = {
        iss: parts.issuer,
        sub: subject.accountId,
        aud: [params['audience'] ?? [], params['resource'] ?? []].flat(),
        ...(params['scope'] === undefined ? {} : { scope: params['scope'] }),
        ...(actor === undefined ? {} : { act: { sub: await actorOf(provider, String(actor)) } }),
        client_id: ctx.oidc.client?.clientId,
        iat: now,
        exp: now + expiresIn,
        jti: randomUUID(),
      };
      ctx.body = {
        access_token: await signAs('own', claims, { typ: 'at+jwt', kid: parts.signingKey().kid }, parts.signingKey()),
        issued_token_type: requested,
        token_type: requested.endsWith('txn_token') ? 'N_A' : 'Bearer',
        expires_in: expiresIn,
      };
    },
    [...names, 'actor_token', 'actor_token_type'],
    ['audience', 'resource'],
  );
}

async function actorOf(provider: Provider, token: string): Promise<string> {
  const found = await provider.ClientCredentials.find(token);
  if (found?.clientId === undefined) throw new errors.InvalidRequest('the actor token is not active');
  return found.clientId;
}

/** The JWT that stands for an active token. */
export function phantomJwt(
  introspection: Readonly<Record<string, unknown>>,
  { issuer, audience, key }: { readonly issuer: string; readonly audience: string; readonly key: SigningKey },
): Promise<string> {
  const { active: _, ...claims } = introspection;
  return signAs(
    'own',
    { ...claims, iss: issuer, aud: audience, jti: randomUUID() },
    { typ: 'at+jwt', kid: key.kid },
    key,
  );
}

/** Signs a JWT again, changed. */
export async function changeJwt(jwt: string, mutate: IdTokenMutation, key: SigningKey): Promise<string> {
  const before = { claims: decodeJwt(jwt), header: decodeProtectedHeader(jwt) as JwtHeader };
  const { claims = before.claims, header = before.header, sign = 'own' } = mutate(before.claims, before.header);
  return signAs(sign, claims, header, key);
}
