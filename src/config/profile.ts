/**
 * The FAPI 2.0 profiles (Security Profile final, 5.3.3 and 5.4; Message Signing), as far as they are about a client's
 * configuration: what they turn on where nothing is set, and what they refuse. What they ask of the provider is in
 * `oidc/profile.ts`.
 */
import { algorithmsIn } from './client-rules.ts';
import type { ConfigFault } from './faults.ts';
import type { ConfigInput, ParsedConfig } from './schema.ts';

export type Profile = NonNullable<ParsedConfig['profile']>;

/** The algorithms of every signature (5.4.1); EdDSA by both of its names (RFC 9864 2.2). */
const profileAlgorithms: ReadonlySet<string> = new Set(['PS256', 'ES256', 'EdDSA', 'Ed25519']);

/** Of these algorithms, those that may be used and believed. */
export function allowedAlgorithms(algorithms: readonly string[], profile: Profile | undefined): string[] {
  return algorithms.filter((algorithm) => profile === undefined || profileAlgorithms.has(algorithm));
}

/** The input, with the profile's own defaults. */
export function withProfileDefaults(input: ConfigInput): ConfigInput {
  const { profile, client, login } = input;
  if (profile !== 'fapi2' && profile !== 'fapi2-message-signing') return input;
  const byCertificate = client?.keyFile === undefined && client?.certFile !== undefined;
  const signsMessages = profile === 'fapi2-message-signing';
  const clientDefaults = {
    authMethod: byCertificate ? ('tls_client_auth' as const) : ('private_key_jwt' as const),
    dpop: client?.certFile === undefined ? ('ES256' as const) : ('off' as const),
    ...(signsMessages ? { responseMode: 'jwt' as const } : {}),
  };
  const loginDefaults = { pushed: 'required' as const, ...(signsMessages ? { requestObject: true } : {}) };
  return {
    ...input,
    ...(isGroup(client) ? { client: { ...clientDefaults, ...client } } : {}),
    ...(login === undefined || isGroup(login) ? { login: { ...loginDefaults, ...login } } : {}),
  };
}

/** The input is not validated yet. */
function isGroup(value: unknown): value is object {
  return value instanceof Object && !Array.isArray(value);
}

const authMethods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];

/** What contradicts the profile, each under its key. */
export function profileFaults({
  profile,
  client,
  login,
  api = [],
  issuer = '',
  discoveryUrl = '',
}: Partial<ParsedConfig>): ConfigFault[] {
  if (profile === undefined) return [];
  const signsMessages = profile === 'fapi2-message-signing';
  const faults: Array<readonly [isFault: boolean | undefined, path: string, reason: string]> = [
    [
      client !== undefined && !authMethods.includes(client.authMethod),
      'client.authMethod',
      `must be ${authMethods.map((method) => `"${method}"`).join(', ')}`,
    ],
    [
      client !== undefined && client.dpop === 'off' && client.certFile === undefined,
      'client.dpop',
      'must be "ES256" or "EdDSA", unless tokens are bound to a certificate (client.certFile)',
    ],
    [login !== undefined && login.pushed !== 'required', 'login.pushed', 'must be "required"'],
    [signsMessages && login?.requestObject === false, 'login.requestObject', 'must be true'],
    [
      signsMessages && client !== undefined && !client.responseMode.endsWith('jwt'),
      'client.responseMode',
      'must be "jwt" or "form_post.jwt"',
    ],
    [isForeignHttp(issuer), 'issuer', 'must be https'],
    [isForeignHttp(discoveryUrl), 'discoveryUrl', 'must be https'],
  ];
  const told = faults.flatMap(([isFault, path, reason]) => (isFault === true ? [{ path, reason }] : []));
  const unsigned = signsMessages ? unsignedIntrospections(api) : [];
  return [...told, ...(client === undefined ? [] : algorithmFaults(client)), ...unsigned].map(({ path, reason }) => ({
    path,
    reason: `${reason} with the profile "${profile}"; correct it, or remove it where the profile has a default`,
  }));
}

/** Message Signing 5.5: a resource server asks for signed answers (RFC 9701), as `phantom` does. */
function unsignedIntrospections(routes: ParsedConfig['api']): ConfigFault[] {
  return routes.flatMap(({ token }, index) =>
    token instanceof Object && 'introspect' in token
      ? [{ path: `api.${index}.token`, reason: 'must be { phantom: true }, whose introspection is signed,' }]
      : [],
  );
}

/** Loopback is for development, where the profile is tried. */
function isForeignHttp(address: string): boolean {
  return address.startsWith('http:') && !/^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/]|$)/.test(address);
}

function algorithmFaults({ authMethod, signingAlgorithm, keyFile }: ParsedConfig['client']): ConfigFault[] {
  if (authMethod === 'client_secret_jwt') return [];
  if (signingAlgorithm !== undefined && !profileAlgorithms.has(signingAlgorithm)) {
    return [{ path: 'client.signingAlgorithm', reason: 'must be PS256, ES256 or EdDSA' }];
  }
  const possible = keyFile === undefined ? undefined : algorithmsIn(keyFile);
  if (possible === undefined || possible.some((algorithm) => profileAlgorithms.has(algorithm))) return [];
  const reason = `holds a first key that can do ${possible.join(', ')}, and must be one for PS256, ES256 or EdDSA`;
  return [{ path: 'client.keyFile', reason }];
}
