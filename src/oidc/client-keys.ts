/**
 * The client's own keys: which of them signs, with which algorithm, and what the provider sees of them in our JWK Set
 * (RFC 7517 5). Hides the files, and that they change.
 */
import type { ServerMetadata } from 'openid-client';
import { jwksOfCertificates } from '../config/certificate-file.ts';
import type { Config } from '../config/config.ts';
import { parseKeyFile, thumbprintOf, UnusableFile, type ClientKey, type PublicJwk } from '../config/key-file.ts';
import { allowedAlgorithms, type Profile } from '../config/profile.ts';
import { createRenewedFiles } from '../config/renewed-files.ts';
import type { Events } from '../events.ts';
import type { JwtKey } from './client-jwt.ts';
import { listOf } from './metadata.ts';

export interface ClientKeys {
  /**
   * The key that signs, and how.
   * @param accepted the algorithms that the provider lists for this kind of JWT; undefined if it lists none
   * @throws {UnusableFile}
   */
  signing(accepted: readonly string[] | undefined): Promise<JwtKey>;
  /** Every key by its public part. @throws {UnusableFile} */
  published(): Promise<readonly PublicJwk[]>;
}

/** @returns undefined where the client has no key that is its own */
export function createClientKeys({ client, profile }: Config, events: Events): ClientKeys | undefined {
  const { keyFile } = client;
  const algorithm = client.authMethod === 'client_secret_jwt' ? undefined : client.signingAlgorithm;
  const parse = (content = '') => requireAlgorithm(parseKeyFile(content), { algorithm, profile });
  const own =
    keyFile === undefined
      ? undefined
      : createRenewedFiles({ setting: 'client.keyFile', paths: [keyFile], parse, keepsOld: true }, events);
  // The provider compares the certificate of a connection with those in our JWK Set (RFC 8705 2.2).
  const certificates =
    client.authMethod !== 'self_signed_tls_client_auth' || client.certFile === undefined
      ? undefined
      : createRenewedFiles(
          { setting: 'client.certFile', paths: [client.certFile], parse: jwksOfCertificates, keepsOld: true },
          events,
        );
  if (own === undefined && certificates === undefined) return undefined;

  return {
    async signing(accepted) {
      if (own === undefined) throw new Error('The configuration names no client.keyFile to sign with.');
      const [{ privateKey, kid, algorithms }] = await own.current();
      return { key: privateKey, kid, algorithm: algorithm ?? chooseAlgorithm(algorithms, accepted) };
    },
    async published() {
      const keys = (await own?.current()) ?? [];
      const certified = (await certificates?.current()) ?? [];
      return [...keys.map(({ publicJwk }) => withCertificate(publicJwk, certified)), ...without(certified, keys)];
    },
  };
}

/** @throws {UnusableFile} where the key that signs cannot do what is configured, or what the profile allows */
function requireAlgorithm<Keys extends readonly [ClientKey, ...ClientKey[]]>(
  keys: Keys,
  { algorithm, profile }: { readonly algorithm: string | undefined; readonly profile: Profile | undefined },
): Keys {
  const { algorithms } = keys[0];
  const isPossible =
    algorithm === undefined ? allowedAlgorithms(algorithms, profile).length > 0 : algorithms.includes(algorithm);
  if (isPossible) return keys;
  const wanted = algorithm ?? `what the profile "${profile}" allows`;
  throw new UnusableFile(`holds a first key that cannot do ${wanted}, only ${algorithms.join(', ')}`);
}

/** The preferred one of those that the provider takes. One that takes none is told of at the start (`suitability.ts`). */
export function chooseAlgorithm(
  possible: readonly [string, ...string[]],
  accepted: readonly string[] | undefined,
): string {
  return possible.find((algorithm) => accepted?.includes(algorithm)) ?? possible[0];
}

/** The algorithms with which the provider takes assertions (OpenID Connect Discovery 3); undefined if it doesn't say. */
export function assertionAlgorithms(metadata: ServerMetadata): readonly string[] | undefined {
  return listOf(metadata, 'token_endpoint_auth_signing_alg_values_supported');
}

function withCertificate(key: PublicJwk, certified: readonly PublicJwk[]): PublicJwk {
  const twin = certified.find((other) => thumbprintOf(other) === thumbprintOf(key));
  return twin === undefined ? key : { ...twin, ...key };
}

function without(certified: readonly PublicJwk[], keys: readonly ClientKey[]): PublicJwk[] {
  const known = new Set(keys.map(({ publicJwk }) => thumbprintOf(publicJwk)));
  return certified.filter((key) => !known.has(thumbprintOf(key)));
}
