/**
 * How Sallyport authenticates itself to the provider: by a secret (RFC 6749 2.3.1), by a signed assertion (RFC 7523 2.2,
 * OpenID Connect Core 9), by a workload's token, or by the certificate of the connection (RFC 8705 2).
 */
import { ClientSecretPost, TlsClientAuth, type ClientAuth, type ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { UnusableFile, type PublicJwk } from '../config/key-file.ts';
import { hmacAlgorithms } from '../config/schema/client-authentication.ts';
import { createRenewedFiles } from '../config/renewed-files.ts';
import { parseTokenFile } from '../config/token-file.ts';
import type { Events } from '../events.ts';
import { retryAfter } from '../http/errors.ts';
import type { Claims } from '../token-set.ts';
import { UnaskedError } from './circuit-breaker.ts';
import { signJwtOfClient } from './client-jwt.ts';
import { assertionAlgorithms, chooseAlgorithm, createClientKeys } from './client-keys.ts';

/** May return a promise, for which openid-client waits: its own type, `ClientAuth`, doesn't say so. */
type Authenticate = (...request: Parameters<ClientAuth>) => unknown;

export interface ClientAuthentication {
  /** Adds what authenticates one request; each time anew, so that no assertion is used twice. */
  readonly authenticate: Authenticate;
  /**
   * Signs a JWT with the client's key: `iss` is the client, `aud` the provider's issuer, with `jti`, `iat`, `nbf`, `exp`.
   * @param typ the kind of JWT, e.g. `oauth-authz-req+jwt`
   * @param accepted the algorithms that the provider lists for this kind; undefined if it lists none
   * @throws {UnaskedError} `provider_unavailable` where no key can be read
   */
  readonly signClientJwt: (claims: Claims, typ: string, accepted: readonly string[] | undefined) => Promise<string>;
  /** Our JWK Set; undefined where there is none to publish. @throws {UnaskedError} `provider_unavailable` */
  readonly publicKeys: (() => Promise<readonly PublicJwk[]>) | undefined;
}

export function createClientAuthentication(config: Config, events: Events): ClientAuthentication {
  const { client, issuer } = config;
  const keys = createClientKeys(config, events);

  async function signWithKey(claims: Claims, typ: string | undefined, accepted: readonly string[] | undefined) {
    if (keys === undefined) throw new Error('The configuration names no client.keyFile to sign with.');
    const key = await keys.signing(accepted).catch(rethrowUnusable);
    return signJwtOfClient(claims, { clientId: client.id, issuer }, key, typ);
  }

  const signWithSecret = (secret: string, accepted: readonly string[] | undefined) => {
    const algorithm = client.signingAlgorithm ?? chooseAlgorithm(hmacAlgorithms, accepted);
    return signJwtOfClient({ sub: client.id }, { clientId: client.id, issuer }, { key: secret, algorithm });
  };

  // What the configuration lacks was refused by it (`config/client-rules.ts`).
  const { secret = '' } = client;
  const ways: Readonly<Record<typeof client.authMethod, () => Authenticate>> = {
    client_secret_basic: () => basicCredentials(client.id, secret),
    client_secret_post: () => ClientSecretPost(secret),
    client_secret_jwt: () =>
      byAssertion(client.id, (metadata) => signWithSecret(secret, assertionAlgorithms(metadata))),
    private_key_jwt: () =>
      byAssertion(client.id, (metadata) => signWithKey({ sub: client.id }, undefined, assertionAlgorithms(metadata))),
    federated_token: () => byAssertion(client.id, workloadToken(client.tokenFile, events)),
    tls_client_auth: TlsClientAuth,
    self_signed_tls_client_auth: TlsClientAuth,
  };

  return {
    authenticate: ways[client.authMethod](),
    signClientJwt: signWithKey,
    publicKeys: keys === undefined ? undefined : () => keys.published().catch(rethrowUnusable),
  };
}

function basicCredentials(id: string, secret: string): Authenticate {
  const credentials = Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64');
  return (_server, _client, _body, headers) => headers.set('authorization', `Basic ${credentials}`);
}

/**
 * Id and secret are form-encoded before they become Basic credentials (RFC 6749 2.3.1), and some providers don't decode
 * them. So this escapes only what a decoder would read as something else; openid-client also escapes `-`, `.` and `_`.
 */
function formEncoded(text: string): string {
  return text.replace(/[^A-Za-z0-9\-._~!*'()/=@$,]/gu, (character) =>
    character === ' ' ? '+' : encodeURIComponent(character),
  );
}

/** The assertion is a JWT in the form (RFC 7523 2.2). */
function byAssertion(clientId: string, assertion: (metadata: ServerMetadata) => Promise<string>): Authenticate {
  return async (metadata, _client, body) => {
    body.set('client_id', clientId);
    body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
    body.set('client_assertion', await assertion(metadata));
  };
}

/** The token that the platform gives to this workload. An old one isn't kept: whoever takes the file away means it. */
function workloadToken(tokenFile = '', events: Events): () => Promise<string> {
  const file = createRenewedFiles(
    { setting: 'client.tokenFile', paths: [tokenFile], parse: parseTokenFile, keepsOld: false },
    events,
  );
  return () => file.current().catch(rethrowUnusable);
}

/** Without credentials nothing is sent to the provider, so that no token is used up and no session ends. */
function rethrowUnusable(error: unknown): never {
  if (!(error instanceof UnusableFile)) throw error;
  throw new UnaskedError(
    'provider_unavailable',
    "Sallyport's own credentials for the identity provider cannot be read at the moment. The log has the cause.",
    { cause: error, headers: retryAfter() },
  );
}
