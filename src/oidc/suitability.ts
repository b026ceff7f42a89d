/**
 * What a provider says of itself (OpenID Connect Discovery 3, RFC 8414 2), against what Sallyport needs and what is
 * configured. A fault is what cannot work; a warning is what probably isn't meant.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { algorithmsIn } from '../config/client-rules.ts';
import { allowedAlgorithms } from '../config/profile.ts';
import { hmacAlgorithms } from '../config/schema/client-authentication.ts';
import { assertionAlgorithms } from './client-keys.ts';
import { legible } from './legible.ts';
import { listOf } from './metadata.ts';
import { frontchannelWarning } from './logout-channels.ts';
import { requestAlgorithms } from './request-object.ts';
import { expectsSignedResponse } from './response-mode.ts';
import { policyFaults, policyWarnings } from './policy-suitability.ts';
import { grantsRefreshTokensByItself, scopeFor } from './scope.ts';

/** What does not fit, each in a sentence with its remedy. */
export interface Suitability {
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
}

type Finding = string | false | undefined;

export function suitabilityOf(metadata: ServerMetadata, config: Config): Suitability {
  return {
    faults: [
      authenticationFault(metadata, config),
      assertionFault(metadata, config),
      ...pushFaults(metadata, config),
      requestObjectFault(metadata, config),
      pkceFault(metadata),
      signatureFault(metadata, config),
      lacking(metadata, 'response_types_supported', 'code') && 'The provider does not offer the code flow.',
      lacking(metadata, 'grant_types_supported', 'authorization_code') &&
        'The provider does not offer the authorization_code grant.',
      responseModeFault(metadata, config),
      responseSignatureFault(metadata, config),
      detailsFault(metadata, config),
      dpopFault(metadata, config),
      ...policyFaults(metadata, config),
    ].filter(isSaid),
    warnings: [
      authenticationWarning(metadata, config),
      listOf(metadata, 'code_challenge_methods_supported') === undefined &&
        'The provider does not say whether it checks PKCE (code_challenge_methods_supported). It is used in any case.',
      refreshTokenWarning(metadata, config),
      scopeWarning(metadata, config),
      frontchannelWarning(metadata, config),
      ...policyWarnings(metadata, config),
      ...acrWarnings(metadata, config),
      config.client.dpop !== 'off' &&
        listOf(metadata, 'dpop_signing_alg_values_supported') === undefined &&
        'client.dpop is on, but the provider does not say that it knows DPoP (dpop_signing_alg_values_supported). No login succeeds where it answers with bearer tokens.',
      config.login.userInfo &&
        metadata.userinfo_endpoint === undefined &&
        'login.userInfo is on, but the provider names no userinfo_endpoint: people have the claims of the ID token alone.',
    ].filter(isSaid),
  };
}

function isSaid(finding: Finding): finding is string {
  return typeof finding === 'string';
}

type ListMember =
  | 'acr_values_supported'
  | 'authorization_signing_alg_values_supported'
  | 'authorization_details_types_supported'
  | 'code_challenge_methods_supported'
  | 'dpop_signing_alg_values_supported'
  | 'grant_types_supported'
  | 'id_token_signing_alg_values_supported'
  | 'response_modes_supported'
  | 'response_types_supported'
  | 'scopes_supported'
  | 'token_endpoint_auth_methods_supported';

function lacking(metadata: ServerMetadata, name: ListMember, value: string): boolean {
  return listOf(metadata, name)?.includes(value) === false;
}

const maximumNamed = 10;

/** A provider's own values, for a message. */
function named(values: readonly string[]): string {
  const first = values.slice(0, maximumNamed).map((value) => legible(value) ?? '""');
  return values.length > maximumNamed ? `${first.join(', ')} …` : first.join(', ');
}

/** What Sallyport can do, by how the provider's list names it. A workload's token is not in that list. */
const authMethods = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'tls_client_auth',
  'self_signed_tls_client_auth',
  'client_secret_jwt',
];

function authenticationFault(metadata: ServerMetadata, { client }: Config): Finding {
  const methods = listOf(metadata, 'token_endpoint_auth_methods_supported');
  if (methods === undefined || client.authMethod === 'federated_token' || methods.includes(client.authMethod)) {
    return undefined;
  }
  const other = authMethods.find((method) => methods.includes(method));
  const said = `The provider does not take ${client.authMethod}, only ${named(methods)}`;
  if (other === undefined)
    return `${said}: Sallyport has ${authMethods.join(', ')}. Allow one of them for this client.`;
  const isSecret = other === 'client_secret_basic' || other === 'client_secret_post';
  const more = isSecret ? '' : ', and what it needs (docs/client-security.md)';
  return `${said}: set SALLYPORT_CLIENT_AUTH_METHOD=${other}${more}.`;
}

/** The algorithm of assertions: a provider refuses those that it doesn't list. */
function assertionFault(metadata: ServerMetadata, config: Config): Finding {
  const { client } = config;
  const accepted = assertionAlgorithms(metadata);
  const possible = possibleAlgorithms(config);
  if (accepted === undefined || possible === undefined) return undefined;
  if (possible.some((algorithm) => accepted.includes(algorithm))) return undefined;
  const remedy =
    client.signingAlgorithm === undefined
      ? 'give this client a key for one of them'
      : 'correct or remove SALLYPORT_CLIENT_SIGNING_ALGORITHM';
  return `The provider does not take assertions signed with ${possible.join(', ')}, only ${named(accepted)} (token_endpoint_auth_signing_alg_values_supported): ${remedy}.`;
}

function possibleAlgorithms(config: Config): readonly string[] | undefined {
  const { authMethod, signingAlgorithm } = config.client;
  if (authMethod === 'private_key_jwt') return keyAlgorithms(config);
  if (authMethod !== 'client_secret_jwt') return undefined;
  return signingAlgorithm === undefined ? hmacAlgorithms : [signingAlgorithm];
}

/** With what the client's key may sign; undefined where there is none, or none that can be read. */
function keyAlgorithms({ client, profile }: Config): readonly string[] | undefined {
  const { authMethod, signingAlgorithm, keyFile } = client;
  if (signingAlgorithm !== undefined && authMethod !== 'client_secret_jwt') return [signingAlgorithm];
  const possible = keyFile === undefined ? undefined : algorithmsIn(keyFile);
  return possible === undefined ? undefined : allowedAlgorithms(possible, profile);
}

/** Without a list, `client_secret_basic` is what the provider takes (RFC 8414 2). */
function authenticationWarning(metadata: ServerMetadata, { client }: Config): Finding {
  const isUnsaid = listOf(metadata, 'token_endpoint_auth_methods_supported') === undefined;
  return (
    isUnsaid &&
    client.authMethod !== 'client_secret_basic' &&
    client.authMethod !== 'federated_token' &&
    `The provider names no token_endpoint_auth_methods_supported, which stands for client_secret_basic; ${client.authMethod} is configured.`
  );
}

/** Pushed authorization requests (RFC 9126 5). */
function pushFaults(metadata: ServerMetadata, { login: { pushed } }: Config): Finding[] {
  const isDemanded = metadata.require_pushed_authorization_requests === true;
  if (pushed === 'off') {
    return [
      isDemanded &&
        'The provider demands pushed authorization requests (RFC 9126), which are switched off: remove SALLYPORT_LOGIN_PUSHED=off.',
    ];
  }
  if (metadata.pushed_authorization_request_endpoint !== undefined) return [];
  return [
    isDemanded &&
      'The provider demands pushed authorization requests (RFC 9126), and names no pushed_authorization_request_endpoint.',
    pushed === 'required' &&
      'SALLYPORT_LOGIN_PUSHED=required, but the provider names no pushed_authorization_request_endpoint (RFC 9126): switch pushed requests on there, or remove the variable.',
  ];
}

/** Signed requests (RFC 9101 10.5). */
function requestObjectFault(metadata: ServerMetadata, config: Config): Finding {
  if (!config.login.requestObject) {
    return (
      metadata['require_signed_request_object'] === true &&
      'The provider demands signed requests (RFC 9101): set SALLYPORT_LOGIN_REQUEST_OBJECT=true and SALLYPORT_CLIENT_KEY_FILE.'
    );
  }
  if (metadata['request_parameter_supported'] === false) {
    return 'The provider takes no signed requests (request_parameter_supported): remove SALLYPORT_LOGIN_REQUEST_OBJECT.';
  }
  const accepted = requestAlgorithms(metadata);
  const possible = keyAlgorithms(config);
  if (accepted === undefined || possible === undefined) return undefined;
  if (possible.some((algorithm) => accepted.includes(algorithm))) return undefined;
  return `The provider does not take requests signed with ${possible.join(', ')}, only ${named(accepted)} (request_object_signing_alg_values_supported): give this client a key for one of them.`;
}

function pkceFault(metadata: ServerMetadata): Finding {
  return (
    lacking(metadata, 'code_challenge_methods_supported', 'S256') &&
    `The provider does not take the PKCE method S256 (RFC 7636), only ${named(metadata.code_challenge_methods_supported ?? [])}.`
  );
}

/** The algorithms with a public key: with HMAC whoever knows the client secret could forge. */
const verifiable = /^(?:(?:RS|PS|ES)(?:256|384|512)|EdDSA|Ed25519|ML-DSA-(?:44|65|87))$/;

/** Whether an algorithm signs with a private key of the provider's, so that whoever can verify cannot forge. */
export function isPublicKeyAlgorithm(algorithm: string): boolean {
  return verifiable.test(algorithm);
}

/** With which algorithms the provider may sign ID tokens; RS256 where it doesn't say (OpenID Connect Core 3.1.3.7). */
export function signatureAlgorithms(metadata: ServerMetadata, config: Config): string[] {
  return believed(listOf(metadata, 'id_token_signing_alg_values_supported') ?? ['RS256'], config);
}

function believed(algorithms: readonly string[], { profile }: Config): string[] {
  const withPublicKey = algorithms.filter((algorithm) => verifiable.test(algorithm));
  return allowedAlgorithms(withPublicKey, profile);
}

function signatureFault(metadata: ServerMetadata, config: Config): Finding {
  if (signatureAlgorithms(metadata, config).length > 0) return undefined;
  const algorithms = named(listOf(metadata, 'id_token_signing_alg_values_supported') ?? ['RS256']);
  return config.profile === undefined
    ? `The provider signs ID tokens with ${algorithms} only, which whoever knows the client secret can forge: give this client RS256, ES256 or another algorithm with a public key.`
    : `The provider signs ID tokens with ${algorithms} only: give this client PS256, ES256 or EdDSA.`;
}

/** With a code, `jwt` stands for `query.jwt` (JARM 2.3.4). */
function responseModeFault(metadata: ServerMetadata, { client: { responseMode } }: Config): Finding {
  const isOffered =
    !lacking(metadata, 'response_modes_supported', responseMode) ||
    (responseMode === 'jwt' && !lacking(metadata, 'response_modes_supported', 'query.jwt'));
  return (
    !isOffered &&
    `The provider does not offer the response mode ${responseMode}: correct SALLYPORT_CLIENT_RESPONSE_MODE.`
  );
}

/** With which algorithms the provider may sign authorization responses (JARM 4); as ID tokens where it doesn't say. */
export function responseAlgorithms(metadata: ServerMetadata, config: Config): string[] {
  const listed = listOf(metadata, 'authorization_signing_alg_values_supported');
  return listed === undefined ? signatureAlgorithms(metadata, config) : believed(listed, config);
}

function responseSignatureFault(metadata: ServerMetadata, config: Config): Finding {
  const listed = listOf(metadata, 'authorization_signing_alg_values_supported');
  // Where they are signed as ID tokens, the fault is theirs.
  if (!expectsSignedResponse(config) || listed === undefined || believed(listed, config).length > 0) return undefined;
  return `The provider signs authorization responses with ${named(listed)} only (JARM): give this client PS256, ES256 or EdDSA.`;
}

/** Providers may list none (RFC 9396 10). */
function detailsFault(metadata: ServerMetadata, { login }: Config): Finding {
  const types = [...login.authorizationDetails.map(({ type }) => type), ...login.allowAuthorizationDetails];
  const unknown = types.filter((type) => lacking(metadata, 'authorization_details_types_supported', type));
  return (
    unknown.length > 0 &&
    `The provider does not know the authorization_details of the type ${named([...new Set(unknown)])} (RFC 9396): correct login.authorizationDetails and login.allowAuthorizationDetails.`
  );
}

/** RFC 9449 5.1. */
function dpopFault(metadata: ServerMetadata, { client: { dpop } }: Config): Finding {
  if (dpop === 'off' || !lacking(metadata, 'dpop_signing_alg_values_supported', dpop)) return undefined;
  const taken = listOf(metadata, 'dpop_signing_alg_values_supported') ?? [];
  const other = ['ES256', 'EdDSA'].find((algorithm) => taken.includes(algorithm)) ?? 'off';
  return `The provider takes no DPoP proofs that are signed with ${dpop}, only ${named(taken)}: set SALLYPORT_CLIENT_DPOP=${other}.`;
}

function refreshTokenWarning(metadata: ServerMetadata, { scope, login }: Config): Finding {
  const consequence = 'Without a refresh token a session ends with its access token, and a login logs that.';
  if (lacking(metadata, 'grant_types_supported', 'refresh_token')) {
    return `The provider lists no refresh_token grant (grant_types_supported). ${consequence}`;
  }
  const asksByParameter = login.params['access_type'] === 'offline';
  const isAsked = scopeFor(scope, metadata).split(' ').includes('offline_access');
  if (isAsked || asksByParameter || grantsRefreshTokensByItself(metadata)) return undefined;
  return lacking(metadata, 'scopes_supported', 'offline_access')
    ? `The provider lists no offline_access (scopes_supported), and grants refresh tokens by other rules or not at all. ${consequence}`
    : `The scope has no offline_access, and many providers grant no refresh token then. ${consequence}`;
}

/** The scopes that OpenID Connect names; a provider need not list those of an API. */
const standardScopes = new Set(['openid', 'profile', 'email', 'address', 'phone', 'offline_access']);

function scopeWarning(metadata: ServerMetadata, { scope = '' }: Config): Finding {
  const unlisted = scope
    .split(' ')
    .filter((name) => standardScopes.has(name) && lacking(metadata, 'scopes_supported', name));
  return (
    unlisted.length > 0 &&
    `The provider does not list ${unlisted.join(', ')} (scopes_supported), which the configured scope names; some refuse a login for that.`
  );
}

/** Of routes that ask for sign-ins of kinds that the provider does not list (OpenID Connect Discovery 3). */
function acrWarnings(metadata: ServerMetadata, { api }: Config): Finding[] {
  const listed = listOf(metadata, 'acr_values_supported');
  if (listed === undefined) return [];
  return api.map(({ path, require }) => {
    const asked = require?.acr;
    if (asked === undefined || asked.some((acr) => listed.includes(acr))) return undefined;
    return (
      `The route ${path} requires a sign-in with acr ${asked.join(' or ')}, and the provider lists ${named(listed)} only ` +
      '(acr_values_supported): nobody may ever reach it. Correct require.acr, or set the provider up for it.'
    );
  });
}
