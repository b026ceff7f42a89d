/**
 * Logout tokens: what the provider says when a session has ended there (OpenID Connect Back-Channel Logout 1.0
 * incorporating errata set 1, 2.4 to 2.6). Anyone can send one, so what costs nothing is checked first, and the signature
 * with the provider's keys last. Whether a token was used before is for the caller to check, by its `name`: that takes
 * the store.
 */
import { createHash } from 'node:crypto';
import { nowSeconds } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { Claims } from '../token-set.ts';
import type { Discovery } from './discovery.ts';
import { createSignatureCheck, isEncrypted, isJsonObject, readJwt, sparingly, type JwtHeader } from './provider-jwt.ts';
import type { SigningKeys } from './signing-keys.ts';
import { signatureAlgorithms } from './suitability.ts';

/** A valid logout token, as far as it can be told without the store. */
export interface LogoutToken {
  /** The provider's session that has ended. */
  readonly sid: string | undefined;
  /** The person. Without a `sid`, all of their sessions have ended (2.4). */
  readonly sub: string | undefined;
  /** Seconds since 1970, by the provider's clock. */
  readonly issuedAt: number;
  /** A hash of issuer and `jti`: no two tokens have the same. */
  readonly name: string;
  /** For so long the token is valid, by this machine's clock. */
  readonly validForSeconds: number;
}

/** Why a logout token, or the request with it, is refused. */
export type LogoutTokenFault =
  | 'request'
  | 'size'
  | 'form'
  | 'encrypted'
  | 'algorithm'
  | 'type'
  | 'critical'
  | 'signature'
  | 'issuer'
  | 'audience'
  | 'issued_at'
  | 'expiry'
  | 'subject'
  | 'events'
  | 'nonce'
  | 'token_id'
  | 'repeated';

/** `message` is told to whoever sent the token, in the characters that RFC 6749 5.2 allows. */
export class InvalidLogoutToken extends Error {
  readonly reason: LogoutTokenFault;

  constructor(reason: LogoutTokenFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'InvalidLogoutToken';
    this.reason = reason;
  }
}

/** Real ones take one or two. */
const maximumCharacters = 16 * 1024;

/**
 * A provider that could not deliver a token may send it again (2.5), but one that tries for longer makes a new one: these
 * live for two minutes (4). A bound is needed for the `jti` of tokens that are valid for years.
 */
const maximumAgeSeconds = 3600;

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';

interface LogoutTokenDeps {
  readonly discovery: Pick<Discovery, 'fetchMetadata'>;
  readonly signingKeys: Pick<SigningKeys, 'requireUsableSparingly' | 'refreshSparingly'>;
}

export function createLogoutTokenVerifier(config: Config, { discovery, signingKeys }: LogoutTokenDeps) {
  const { clockToleranceSeconds } = config.provider;
  const isSignedByProvider = createSignatureCheck(sparingly(signingKeys));

  /**
   * @throws {InvalidLogoutToken}
   * @throws {BffError} `provider_unavailable` while it can't be told
   */
  return async function verifyLogoutToken(token: string): Promise<LogoutToken> {
    const { header, claims } = partsOf(token);
    const valid = checkClaims(claims, config);
    const algorithms = signatureAlgorithms(await discovery.fetchMetadata(), config);
    checkHeader(header, algorithms);
    if (!(await isSignedByProvider(token, header, algorithms))) {
      throw new InvalidLogoutToken('signature', 'No key of the provider verifies the signature.');
    }
    const lastValidAt = Math.min(valid.expiresAt, valid.issuedAt + maximumAgeSeconds) + clockToleranceSeconds;
    return {
      sid: valid.sid,
      sub: valid.sub,
      issuedAt: valid.issuedAt,
      name: createHash('sha256')
        .update(JSON.stringify([config.issuer, valid.tokenId]))
        .digest('base64url'),
      validForSeconds: Math.max(1, lastValidAt - nowSeconds()),
    };
  };
}

/** A JWS in its compact form (RFC 7515 7.1), not verified. */
function partsOf(token: string): { readonly header: JwtHeader; readonly claims: Claims } {
  if (token.length > maximumCharacters) {
    throw new InvalidLogoutToken('size', `The logout token has more than ${maximumCharacters} characters.`);
  }
  if (isEncrypted(token)) {
    throw new InvalidLogoutToken(
      'encrypted',
      'The logout token is encrypted: register this client without ID token encryption.',
    );
  }
  const parts = readJwt(token);
  if (parts === undefined) throw new InvalidLogoutToken('form', 'The logout token is not a signed JWT.');
  return parts;
}

function checkHeader({ alg, typ, crit }: JwtHeader, algorithms: readonly string[]): void {
  if (typeof alg !== 'string' || !algorithms.includes(alg)) {
    throw new InvalidLogoutToken(
      'algorithm',
      `The logout token must be signed as ID tokens are, with ${algorithms.join(', ') || 'a public key'}.`,
    );
  }
  if (typ !== undefined && !isLogoutType(typ)) {
    throw new InvalidLogoutToken('type', 'The typ of a logout token is logout+jwt, or none.');
  }
  // None is understood here, and those that are not must not be accepted (RFC 7515 4.1.11).
  if (crit !== undefined) {
    throw new InvalidLogoutToken('critical', 'The logout token demands an extension (crit) that is not understood.');
  }
}

/** Media types know no case, and theirs may be written in full (RFC 7515 4.1.9). */
function isLogoutType(typ: unknown): boolean {
  return typeof typ === 'string' && /^(?:application\/)?logout\+jwt$/i.test(typ);
}

interface ValidClaims {
  readonly sid: string | undefined;
  readonly sub: string | undefined;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly tokenId: string;
}

function checkClaims(claims: Claims, { issuer, client, provider }: Config): ValidClaims {
  const { iss, aud, events, jti } = claims;
  if (iss !== issuer)
    throw new InvalidLogoutToken('issuer', 'The iss of the logout token is not the issuer of this app.');
  if (aud !== client.id && !(Array.isArray(aud) && aud.includes(client.id))) {
    throw new InvalidLogoutToken('audience', 'The aud of the logout token does not name this client.');
  }
  const times = checkTimes(claims, provider.clockToleranceSeconds);
  const subject = subjectOf(claims);
  if (!isJsonObject(events) || !Object.hasOwn(events, logoutEvent) || !isJsonObject(events[logoutEvent])) {
    throw new InvalidLogoutToken('events', `The events of a logout token have the member ${logoutEvent}, an object.`);
  }
  // An ID token must never pass for one.
  if (Object.hasOwn(claims, 'nonce')) throw new InvalidLogoutToken('nonce', 'A logout token must not have a nonce.');
  if (!isText(jti)) throw new InvalidLogoutToken('token_id', 'A logout token must have a jti.');
  return { ...times, ...subject, tokenId: jti };
}

function checkTimes(
  { iat, exp, nbf }: Claims,
  toleranceSeconds: number,
): { readonly issuedAt: number; readonly expiresAt: number } {
  const now = nowSeconds();
  if (!isTime(iat)) throw new InvalidLogoutToken('issued_at', 'A logout token must have an iat.');
  if (iat > now + toleranceSeconds || (isTime(nbf) && nbf > now + toleranceSeconds)) {
    throw new InvalidLogoutToken('issued_at', 'The logout token is from the future; check the clocks.');
  }
  if (iat < now - maximumAgeSeconds - toleranceSeconds) {
    throw new InvalidLogoutToken('issued_at', `The logout token is older than ${maximumAgeSeconds} seconds.`);
  }
  if (!isTime(exp)) throw new InvalidLogoutToken('expiry', 'A logout token must have an exp.');
  if (exp <= now - toleranceSeconds) throw new InvalidLogoutToken('expiry', 'The logout token has expired.');
  return { issuedAt: iat, expiresAt: exp };
}

function isTime(value: unknown): value is number {
  return typeof value === 'number';
}

/** A `sid` of another type is not ignored: without it, every session of the person would end. */
function subjectOf({ sid, sub }: Claims): { readonly sid: string | undefined; readonly sub: string | undefined } {
  if (sid === undefined && sub === undefined) {
    throw new InvalidLogoutToken('subject', 'A logout token must have a sub or a sid.');
  }
  if ((sid !== undefined && !isText(sid)) || (sub !== undefined && !isText(sub))) {
    throw new InvalidLogoutToken('subject', 'The sub and the sid of a logout token are texts.');
  }
  return { sid, sub };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
