/**
 * What the FAPI 2.0 profiles ask of the provider, as far as its metadata tells (Security Profile 5.3.2, 5.4; Message
 * Signing 5.3.1, 5.4.1). What they ask of the configuration is in `config/profile.ts`.
 */
import type { ServerMetadata } from 'openid-client';
import type { Config } from '../config/config.ts';
import { UnusableMetadata } from './metadata-faults.ts';
import { expectsSignedResponse } from './response-mode.ts';
import { suitabilityOf } from './suitability.ts';

/**
 * Refuses a provider that cannot do what the profile demands: a login there would only seem to be as safe as configured.
 * @throws {UnusableMetadata} that names each reason
 */
export function requireProfile(metadata: ServerMetadata, config: Config): void {
  const { profile } = config;
  if (profile === undefined) return;
  const reasons = [...profileReasons(metadata, config), ...suitabilityOf(metadata, config).faults];
  if (reasons.length === 0) return;
  throw new UnusableMetadata(`The provider does not fit the profile "${profile}". ${reasons.join(' ')}`);
}

function profileReasons(metadata: ServerMetadata, { profile, client }: Config): string[] {
  const isSigned = expectsSignedResponse({ client });
  const findings: ReadonlyArray<readonly [isLacking: boolean, reason: string]> = [
    [
      !isSigned && metadata.authorization_response_iss_parameter_supported !== true,
      'It does not name itself in its answers (authorization_response_iss_parameter_supported, RFC 9207).',
    ],
    [
      metadata['dpop_signing_alg_values_supported'] === undefined && client.dpop !== 'off',
      'It does not know DPoP (dpop_signing_alg_values_supported, RFC 9449).',
    ],
    [
      client.dpop === 'off' && metadata.tls_client_certificate_bound_access_tokens !== true,
      'It does not bind access tokens to the certificate of the client (tls_client_certificate_bound_access_tokens, RFC 8705).',
    ],
    [
      profile === 'fapi2-message-signing' && metadata['request_object_signing_alg_values_supported'] === undefined,
      'It does not say that it takes signed requests (request_object_signing_alg_values_supported, RFC 9101).',
    ],
    [
      isSigned && !Array.isArray(metadata.response_modes_supported),
      'It does not say that it signs its answers (response_modes_supported, JARM).',
    ],
  ];
  return findings.flatMap(([isLacking, reason]) => (isLacking ? [reason] : []));
}
