/** What a provider says of itself, against what is needed and configured (OpenID Connect Discovery 3, RFC 8414 2). */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/sources.ts';
import { suitabilityOf } from '../../src/oidc/suitability.ts';
import { makePrivateKey, pemOf } from '../support/client-keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'sallyport-keys-'));
const keyFile = join(folder, 'client-key.pem');
writeFileSync(keyFile, pemOf(makePrivateKey('P-256')));

afterAll(() => rmSync(folder, { recursive: true }));

/** Metadata that fits, as most providers write it. */
const fitting = {
  issuer: 'https://login.example.com',
  authorization_endpoint: 'https://login.example.com/auth',
  token_endpoint: 'https://login.example.com/token',
  jwks_uri: 'https://login.example.com/jwks',
  userinfo_endpoint: 'https://login.example.com/me',
  response_types_supported: ['code', 'id_token'],
  response_modes_supported: ['query', 'form_post'],
  grant_types_supported: ['authorization_code', 'refresh_token'],
  scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
  id_token_signing_alg_values_supported: ['RS256', 'HS256'],
  code_challenge_methods_supported: ['S256', 'plain'],
  token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
};

/** What a provider adds that takes pushed requests. */
const pushing = { pushed_authorization_request_endpoint: 'https://login.example.com/par' };

/** A client that signs its requests. */
const signing = { SALLYPORT_LOGIN_REQUEST_OBJECT: 'true', SALLYPORT_CLIENT_KEY_FILE: keyFile };

/** Members of the metadata to replace; `undefined` leaves one out. */
type Members = Readonly<Record<string, unknown>>;

async function configOf(env: Readonly<Record<string, string>>): Promise<Config> {
  const { config } = await loadConfig(undefined, {
    SALLYPORT_ORIGIN: 'https://app.example.com',
    SALLYPORT_ISSUER: fitting.issuer,
    SALLYPORT_CLIENT_ID: 'app',
    SALLYPORT_CLIENT_SECRET: 'the-client-secret-of-32-characters',
    SALLYPORT_SECRET: 'q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u',
    ...env,
  });
  return config;
}

async function findingsWith(members: Members, env: Readonly<Record<string, string>> = {}) {
  return suitabilityOf({ ...fitting, ...members }, await configOf(env));
}

const faults: ReadonlyArray<readonly [story: string, members: Members, env: Record<string, string>, fault: RegExp]> = [
  [
    'the secret in the body only',
    { token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'] },
    {},
    /does not take client_secret_basic, only client_secret_post, private_key_jwt: set SALLYPORT_CLIENT_AUTH_METHOD=client_secret_post/,
  ],
  [
    'the secret in the header only',
    { token_endpoint_auth_methods_supported: ['client_secret_basic'] },
    { SALLYPORT_CLIENT_AUTH_METHOD: 'client_secret_post' },
    /does not take client_secret_post, .*set SALLYPORT_CLIENT_AUTH_METHOD=client_secret_basic/,
  ],
  [
    'a key in place of a secret',
    { token_endpoint_auth_methods_supported: ['private_key_jwt'] },
    {},
    /only private_key_jwt: set SALLYPORT_CLIENT_AUTH_METHOD=private_key_jwt, and what it needs/,
  ],
  [
    'no client but a public one',
    { token_endpoint_auth_methods_supported: ['none'] },
    {},
    /only none: Sallyport has client_secret_basic, .*Allow one of them for this client/,
  ],
  [
    'assertions signed with a public key only',
    {
      token_endpoint_auth_methods_supported: ['client_secret_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['RS256', 'PS256'],
    },
    { SALLYPORT_CLIENT_AUTH_METHOD: 'client_secret_jwt' },
    /not take assertions signed with HS256, HS384, HS512, only RS256, PS256 .*give this client a key for one of them/,
  ],
  [
    'assertions of another algorithm than the configured one',
    {
      token_endpoint_auth_methods_supported: ['client_secret_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['HS256'],
    },
    { SALLYPORT_CLIENT_AUTH_METHOD: 'client_secret_jwt', SALLYPORT_CLIENT_SIGNING_ALGORITHM: 'HS512' },
    /not take assertions signed with HS512, only HS256 .*correct or remove SALLYPORT_CLIENT_SIGNING_ALGORITHM/,
  ],
  [
    'pushed requests without an address for them',
    { require_pushed_authorization_requests: true },
    {},
    /demands pushed authorization requests.*names no pushed_authorization_request_endpoint/,
  ],
  [
    'pushed requests, which are switched off',
    { require_pushed_authorization_requests: true, ...pushing },
    { SALLYPORT_LOGIN_PUSHED: 'off' },
    /demands pushed authorization requests.*remove SALLYPORT_LOGIN_PUSHED=off/,
  ],
  [
    'no pushed requests, which are demanded here',
    {},
    { SALLYPORT_LOGIN_PUSHED: 'required' },
    /SALLYPORT_LOGIN_PUSHED=required, but the provider names no pushed_authorization_request_endpoint/,
  ],
  [
    'details of other types than those that are asked for',
    { authorization_details_types_supported: ['account_information'] },
    {
      SALLYPORT_LOGIN_AUTHORIZATION_DETAILS: '[{"type":"account_information"},{"type":"tax_data"}]',
      SALLYPORT_LOGIN_ALLOW_AUTHORIZATION_DETAILS: 'payment_initiation,tax_data',
    },
    /does not know the authorization_details of the type tax_data, payment_initiation/,
  ],
  [
    'answers that are not signed',
    {},
    { SALLYPORT_CLIENT_RESPONSE_MODE: 'jwt' },
    /does not offer the response mode jwt: correct SALLYPORT_CLIENT_RESPONSE_MODE/,
  ],
  [
    'answers that whoever knows the client secret can sign',
    { response_modes_supported: ['query.jwt'], authorization_signing_alg_values_supported: ['HS256', 'none'] },
    { SALLYPORT_CLIENT_RESPONSE_MODE: 'jwt' },
    /signs authorization responses with HS256, none only/,
  ],
  [
    'signed requests',
    { require_signed_request_object: true },
    {},
    /demands signed requests \(RFC 9101\): set SALLYPORT_LOGIN_REQUEST_OBJECT=true/,
  ],
  [
    'no signed requests',
    { request_parameter_supported: false },
    signing,
    /takes no signed requests .*remove SALLYPORT_LOGIN_REQUEST_OBJECT/,
  ],
  [
    'requests signed by another kind of key',
    { request_object_signing_alg_values_supported: ['PS256', 'none'] },
    signing,
    /not take requests signed with ES256, only PS256, none/,
  ],
  [
    'PKCE in plain text',
    { code_challenge_methods_supported: ['plain'] },
    {},
    /not take the PKCE method S256.*only plain/,
  ],
  [
    'ID tokens signed with the client secret',
    { id_token_signing_alg_values_supported: ['HS256', 'none'] },
    {},
    /signs ID tokens with HS256, none only/,
  ],
  ['no code flow', { response_types_supported: ['id_token', 'code id_token'] }, {}, /does not offer the code flow/],
  ['no code grant', { grant_types_supported: ['implicit'] }, {}, /does not offer the authorization_code grant/],
  [
    'proofs of another algorithm',
    { dpop_signing_alg_values_supported: ['PS256', 'ES256'] },
    { SALLYPORT_CLIENT_DPOP: 'EdDSA' },
    /no DPoP proofs that are signed with EdDSA, only PS256, ES256: set SALLYPORT_CLIENT_DPOP=ES256/,
  ],
  [
    'proofs that Sallyport cannot sign',
    { dpop_signing_alg_values_supported: ['PS256'] },
    { SALLYPORT_CLIENT_DPOP: 'ES256' },
    /only PS256: set SALLYPORT_CLIENT_DPOP=off/,
  ],
  [
    'answers by redirects only',
    { response_modes_supported: ['query', 'fragment'] },
    { SALLYPORT_CLIENT_RESPONSE_MODE: 'form_post' },
    /not offer the response mode form_post: correct SALLYPORT_CLIENT_RESPONSE_MODE/,
  ],
];

const warnings: ReadonlyArray<readonly [story: string, members: Members, env: Record<string, string>, said: RegExp]> = [
  [
    'no refresh_token grant',
    { grant_types_supported: ['authorization_code'] },
    {},
    /lists no refresh_token grant.*a session ends with its access token/,
  ],
  ['no offline_access', { scopes_supported: ['openid', 'email'] }, {}, /lists no offline_access.*a session ends with/],
  ['no word on PKCE', { code_challenge_methods_supported: undefined }, {}, /does not say whether it checks PKCE/],
  [
    'no word on authentication where the body is configured',
    { token_endpoint_auth_methods_supported: undefined },
    { SALLYPORT_CLIENT_AUTH_METHOD: 'client_secret_post' },
    /stands for client_secret_basic; client_secret_post is configured/,
  ],
  [
    'no scope that is configured',
    { scopes_supported: ['openid', 'email'] },
    { SALLYPORT_SCOPE: 'openid profile offline_access notes' },
    /does not list profile, offline_access \(scopes_supported\)/,
  ],
  [
    'offline_access, which is not asked for',
    {},
    { SALLYPORT_SCOPE: 'openid profile' },
    /scope has no offline_access.*a session ends with its access token/,
  ],
  ['no word on DPoP where it is configured', {}, { SALLYPORT_CLIENT_DPOP: 'ES256' }, /does not say that it knows DPoP/],
  ['no UserInfo', { userinfo_endpoint: undefined }, { SALLYPORT_LOGIN_USERINFO: 'true' }, /names no userinfo_endpoint/],
];

test.each(faults)('it is a fault that a provider wants or has %s', async (_story, members, env, fault) => {
  const findings = await findingsWith(members, env);
  expect(findings.faults).toEqual([expect.stringMatching(fault)]);
});

test.each(warnings)('it is a warning that a provider has %s', async (_story, members, env, said) => {
  expect(await findingsWith(members, env)).toEqual({ faults: [], warnings: [expect.stringMatching(said)] });
});

test.each<[story: string, members: Members, env?: Record<string, string>]>([
  ['a provider that fits', {}],
  ['no word on how clients authenticate', { token_endpoint_auth_methods_supported: undefined }],
  ['empty lists', { grant_types_supported: [], scopes_supported: [], response_modes_supported: [] }],
  ['lists that are none', { grant_types_supported: 'code', scopes_supported: 5, response_types_supported: {} }],
  [
    'no lists at all',
    {
      response_types_supported: undefined,
      response_modes_supported: undefined,
      grant_types_supported: undefined,
      scopes_supported: undefined,
      id_token_signing_alg_values_supported: undefined,
    },
  ],
  [
    'demands that are switched off',
    { require_pushed_authorization_requests: false, require_signed_request_object: false },
  ],
  [
    'signed requests on both sides',
    { require_signed_request_object: true, request_object_signing_alg_values_supported: ['RS256', 'ES256'] },
    signing,
  ],
  ['signed requests, of whose algorithms the provider says nothing', {}, signing],
  ['signed answers (JARM)', { response_modes_supported: ['jwt'] }, { SALLYPORT_CLIENT_RESPONSE_MODE: 'jwt' }],
  [
    'signed answers by another name',
    { response_modes_supported: ['query.jwt'], authorization_signing_alg_values_supported: ['ES256', 'HS256'] },
    { SALLYPORT_CLIENT_RESPONSE_MODE: 'jwt' },
  ],
  ['a demand of pushed requests', { require_pushed_authorization_requests: true, ...pushing }],
  ['pushed requests on both sides', pushing, { SALLYPORT_LOGIN_PUSHED: 'required' }],
  ['pushed requests that are offered and switched off', pushing, { SALLYPORT_LOGIN_PUSHED: 'off' }],
  [
    'refresh tokens by a parameter (Google)',
    { scopes_supported: ['openid', 'email', 'profile'] },
    { SALLYPORT_LOGIN_PARAMS: 'access_type=offline&prompt=consent' },
  ],
  [
    'refresh tokens without a scope for them (Keycloak)',
    { token_endpoint: 'https://login.example.com/realms/main/protocol/openid-connect/token' },
  ],
  [
    'proofs of the algorithm that is configured',
    { dpop_signing_alg_values_supported: ['ES256', 'EdDSA'] },
    { SALLYPORT_CLIENT_DPOP: 'EdDSA' },
  ],
  ['no proofs where none are configured', { dpop_signing_alg_values_supported: ['PS256'] }],
  ['scopes of an API, which need not be listed', {}, { SALLYPORT_SCOPE: 'openid offline_access api://id/notes' }],
])('nothing is wrong with %s', async (_story, members, env) => {
  expect(await findingsWith(members, env)).toEqual({ faults: [], warnings: [] });
});

/** What is found with routes that have these policies. */
async function findingsWithPolicies(members: Members, ...tokens: readonly Config['api'][number]['token'][]) {
  const config = await configOf({ SALLYPORT_API: tokens.map((_, at) => `/r${at}=http://127.0.0.1:1`).join(' ') });
  const api = config.api.toReversed().map((route, at) => Object.assign(route, { token: tokens[at] ?? 'none' }));
  return suitabilityOf({ ...fitting, ...members }, { ...config, api });
}

const introspection = { introspection_endpoint: 'https://login.example.com/introspect' };

test('policies that ask the introspection endpoint need one', async () => {
  const policies = [{ phantom: { cacheSeconds: 60 } }, { introspect: { cacheSeconds: 60 } }] as const;
  const { faults: found } = await findingsWithPolicies({}, ...policies);
  expect(found).toEqual([
    expect.stringMatching(/\/r\d needs introspection \(token\.phantom\).* names no introspection_endpoint/),
    expect.stringMatching(/\/r\d needs introspection \(token\.introspect\).* names no introspection_endpoint/),
  ]);
  expect((await findingsWithPolicies(introspection, ...policies)).faults).toEqual([]);
  expect((await findingsWithPolicies({}, 'session', 'none')).faults).toEqual([]);
});

test('policies that need a grant which is not listed are warned of', async () => {
  const exchange = { exchange: { audience: 'a', actor: false, header: 'Authorization' } } as const;
  const acting = { exchange: { ...exchange.exchange, actor: true } } as const;
  const client = { client: { session: true } } as const;
  const tokenExchange = expect.stringMatching(/needs the grant urn:ietf:params:oauth:grant-type:token-exchange/);
  const clientCredentials = expect.stringMatching(/needs the grant client_credentials/);
  expect((await findingsWithPolicies({}, exchange)).warnings).toEqual([tokenExchange]);
  expect((await findingsWithPolicies({}, acting)).warnings).toEqual([tokenExchange, clientCredentials]);
  expect((await findingsWithPolicies({}, client)).warnings).toEqual([clientCredentials]);
  expect((await findingsWithPolicies({ grant_types_supported: undefined }, acting)).warnings).toEqual([]);
});

test.each([
  [
    'none that the provider lists',
    ['urn:x:gold', 'urn:x:pin'],
    { acr_values_supported: ['1', '2'] },
    ['urn:x:gold or urn:x:pin'],
  ],
  ['one that it lists', ['urn:x:gold', '2'], { acr_values_supported: ['1', '2'] }, []],
  ['some, of which the provider says nothing', ['urn:x:gold'], {}, []],
])('a route that requires an acr, %s', async (_story, acr, members, named) => {
  const config = await configOf({ SALLYPORT_API: '/api=http://127.0.0.1:9100 /pay=http://127.0.0.1:9100' });
  const api = config.api.map((route) => (route.path === '/pay' ? { ...route, require: { acr } } : route));
  const { faults: found, warnings } = suitabilityOf({ ...fitting, ...members }, { ...config, api });
  expect(found).toEqual([]);
  const about = warnings.filter((warning) => warning.includes('acr_values_supported'));
  expect(about.map((warning) => /\/pay requires .* acr (.*), and .* lists 1, 2 only/.exec(warning)?.[1])).toEqual(
    named,
  );
});
