/**
 * A small OpenID provider with the token sizes of a Keycloak realm: RS256 access token of 1.4 kB, RS256 ID token of
 * 1.2 kB, HS512 refresh token of 0.7 kB. It signs everybody in without asking, demands PKCE and the client's secret,
 * rotates refresh tokens and refuses one that comes twice.
 *
 * The tokens of the next refresh are signed at sign-in already: a refresh then costs this process next to nothing,
 * and what the benchmark sees is the contender's own work plus `DELAY_MS`.
 */
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

interface Tokens {
  readonly access_token: string;
  readonly id_token: string;
  readonly refresh_token: string;
}

interface Grant {
  readonly challenge: string;
  readonly nonce: string | undefined;
}

const firstLifetimeSeconds = Number(process.env['FIRST_LIFETIME_SECONDS'] ?? 3600);
const laterLifetimeSeconds = 3600;
const delayMs = Number(process.env['DELAY_MS'] ?? 0);
const clientId = 'sallyport-bench';
const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keyId = 'bench-rs256';
const refreshSecret = randomBytes(64);
const grants = new Map<string, Grant>();
const nextTokens = new Map<string, Tokens>();
const counts = { signIns: 0, refreshes: 0, refused: 0, exchanges: 0, introspections: 0 };
let issuer = '';

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (address === null || typeof address !== 'object') throw new Error('the provider has no port');
  issuer = `http://127.0.0.1:${address.port}`;
  console.log(`READY ${address.port}`);
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', issuer);
  if (url.pathname === '/.well-known/openid-configuration') return json(response, 200, metadata());
  if (url.pathname === '/jwks') {
    return json(response, 200, {
      keys: [{ ...publicKey.export({ format: 'jwk' }), kid: keyId, alg: 'RS256', use: 'sig' }],
    });
  }
  if (url.pathname === '/authorize') return authorize(url.searchParams, response);
  if (url.pathname === '/token') {
    const isProven = request.headers.dpop !== undefined;
    return token(new URLSearchParams(await text(request)), response, isProven ? 'DPoP' : 'Bearer');
  }
  if (url.pathname === '/introspect') return introspect(new URLSearchParams(await text(request)), response);
  if (url.pathname === '/counts') return json(response, 200, counts);
  return json(response, 404, {});
}

function metadata(): Record<string, unknown> {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    introspection_endpoint: `${issuer}/introspect`,
    end_session_endpoint: `${issuer}/logout`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    subject_types_supported: ['public'],
    grant_types_supported: ['authorization_code', 'refresh_token', exchangeGrant],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
    authorization_response_iss_parameter_supported: true,
    dpop_signing_alg_values_supported: ['ES256', 'EdDSA'],
  };
}

function authorize(query: URLSearchParams, response: ServerResponse): void {
  const challenge = query.get('code_challenge');
  const redirectUri = query.get('redirect_uri');
  if (query.get('client_id') !== clientId || challenge === null || redirectUri === null) return json(response, 400, {});
  const code = randomBytes(32).toString('base64url');
  grants.set(code, { challenge, nonce: query.get('nonce') ?? undefined });
  const target = new URL(redirectUri);
  target.searchParams.set('code', code);
  target.searchParams.set('state', query.get('state') ?? '');
  target.searchParams.set('iss', issuer);
  response.writeHead(302, { location: target.href }).end();
}

type TokenType = 'Bearer' | 'DPoP';

async function token(form: URLSearchParams, response: ServerResponse, type: TokenType): Promise<void> {
  if (form.get('grant_type') === 'refresh_token') return refresh(form, response, type);
  if (form.get('grant_type') === exchangeGrant) return exchange(form, response);
  const grant = grants.get(form.get('code') ?? '');
  grants.delete(form.get('code') ?? '');
  const challenge = createHash('sha256')
    .update(form.get('code_verifier') ?? '')
    .digest('base64url');
  if (grant?.challenge !== challenge) return json(response, 400, { error: 'invalid_grant' });
  counts.signIns += 1;
  const subject = `f4a1c2d3-0000-4000-8000-${String(counts.signIns).padStart(12, '0')}`;
  const first = mint(subject, grant.nonce, firstLifetimeSeconds);
  const second = mint(subject, undefined, laterLifetimeSeconds);
  nextTokens.set(first.refresh_token, second);
  return grantTokens(response, first, { lifetimeSeconds: firstLifetimeSeconds, type });
}

/** Another token in exchange for the access token (RFC 8693). */
function exchange(form: URLSearchParams, response: ServerResponse): void {
  counts.exchanges += 1;
  json(response, 200, {
    access_token: jwtFor(form.get('audience') ?? ''),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: laterLifetimeSeconds,
  });
}

/** The JWT that stands for the access token, as the whole response. */
function introspect(form: URLSearchParams, response: ServerResponse): void {
  counts.introspections += 1;
  if (form.get('token') === null) return json(response, 400, { error: 'invalid_request' });
  response.writeHead(200, { 'content-type': 'application/jwt' }).end(jwtFor(clientId));
}

function jwtFor(audience: string): string {
  const now = Math.floor(Date.now() / 1000);
  return rs256(
    padded({ iss: issuer, sub: 'ada', aud: audience, iat: now, exp: now + laterLifetimeSeconds }, 1400 - 402),
  );
}

async function refresh(form: URLSearchParams, response: ServerResponse, type: TokenType): Promise<void> {
  const presented = form.get('refresh_token') ?? '';
  const tokens = nextTokens.get(presented);
  nextTokens.delete(presented);
  await delay(delayMs);
  if (!tokens) {
    counts.refused += 1;
    return json(response, 400, { error: 'invalid_grant' });
  }
  counts.refreshes += 1;
  return grantTokens(response, tokens, { lifetimeSeconds: laterLifetimeSeconds, type });
}

function grantTokens(
  response: ServerResponse,
  tokens: Tokens,
  { lifetimeSeconds, type }: { readonly lifetimeSeconds: number; readonly type: TokenType },
): void {
  json(response, 200, {
    ...tokens,
    token_type: type,
    expires_in: lifetimeSeconds,
    refresh_expires_in: 28_800,
    scope: 'openid profile email offline_access',
    session_state: randomBytes(18).toString('base64url'),
  });
}

function mint(subject: string, nonce: string | undefined, lifetimeSeconds: number): Tokens {
  const now = Math.floor(Date.now() / 1000);
  const user = {
    sub: subject,
    email_verified: true,
    name: 'Ada Lovelace',
    preferred_username: 'ada.lovelace',
    given_name: 'Ada',
    family_name: 'Lovelace',
    email: 'ada.lovelace@example.com',
  };
  const session = {
    iss: issuer,
    iat: now,
    jti: randomBytes(18).toString('base64url'),
    sid: randomBytes(18).toString('base64url'),
  };
  const access = {
    ...session,
    ...user,
    exp: now + lifetimeSeconds,
    aud: ['orders-api', 'account'],
    typ: 'Bearer',
    azp: clientId,
  };
  const identity = {
    ...session,
    ...user,
    exp: now + lifetimeSeconds,
    aud: clientId,
    typ: 'ID',
    azp: clientId,
    auth_time: now,
  };
  const renewal = { ...session, sub: subject, exp: now + 28_800, aud: issuer, typ: 'Refresh', azp: clientId };
  return {
    access_token: rs256(padded({ ...access, scope: 'openid profile email offline_access' }, 1400 - 402)),
    id_token: rs256(padded({ ...identity, ...(nonce === undefined ? {} : { nonce }), acr: '1' }, 1200 - 402)),
    refresh_token: hs512(padded(renewal, 700 - 147)),
  };
}

/** Roles as Keycloak lists them, until the payload fills `length` characters of base64url. */
function padded(claims: Record<string, unknown>, length: number): Record<string, unknown> {
  const roles: string[] = [];
  const withRoles = (): Record<string, unknown> => ({ ...claims, realm_access: { roles } });
  while (JSON.stringify(withRoles()).length * (4 / 3) < length) {
    roles.push(`role-${randomBytes(6).toString('hex')}`);
  }
  return withRoles();
}

function rs256(claims: Record<string, unknown>): string {
  const input = `${segment({ alg: 'RS256', typ: 'JWT', kid: keyId })}.${segment(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
}

function hs512(claims: Record<string, unknown>): string {
  const input = `${segment({ alg: 'HS512', typ: 'JWT', kid: 'bench-hs512' })}.${segment(claims)}`;
  return `${input}.${createHmac('sha512', refreshSecret).update(input).digest('base64url')}`;
}

function segment(value: Record<string, unknown>): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(JSON.stringify(body));
}
