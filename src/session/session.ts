/**
 * What a session is, and the rules that need nothing but it and a clock. All times are seconds since 1970.
 *
 * All the ways in which a session ends. The state is that of `OpenedSession`, the event is `session.ended` with
 * the reason given. 'Signed out' below: an API call gets a 401 `session_expired` (`ended`) or `login_required`
 * (`absent`), `/bff/session` says `authenticated: false` and deletes the cookies, and open WebSockets and streams of
 * session events are closed.
 *
 * | cause                                  | state  | what the browser gets                | event                    |
 * | -------------------------------------- | ------ | ------------------------------------ | ------------------------ |
 * | sign-out                               | ended  | cookies deleted, way to the provider | logout                   |
 * | another login in the same browser      | ended  | the new session's cookie             | new_login                |
 * | the provider rejects the refresh token | ended  | signed out                           | refresh_rejected         |
 * | a refresh brings an invalid ID token   | ended  | signed out                           | refresh_id_token_invalid |
 * | rejected after an owner that was lost  | ended  | signed out                           | refresh_interrupted      |
 * | the provider reports a sign-out        | ended  | signed out                           | back- or frontchannel    |
 * | an operator ends it                    | ended  | signed out                           | operator                 |
 * | ended from another of one's sessions   | ended  | signed out                           | other_session            |
 * | the store has lost it (mode `store`)   | ended  | signed out                           | store_lost               |
 * | lifetime (`session.lifetimeSeconds`)   | ended  | signed out; `Max-Age` is over, too   | none                     |
 * | idle time (`session.idleSeconds`)      | ended  | signed out                           | none                     |
 * | access token expired, no refresh token | ended  | signed out; `Max-Age` is over, too   | none                     |
 * | refresh token expired unused           | ended  | signed out                           | none                     |
 * | the provider's own end of the session  | ended  | signed out; `Max-Age` is over, too   | none                     |
 * | cookie older than the grace period     | ended  | signed out by this cookie only       | none                     |
 * | sealing secret removed, cookie cut     | absent | signed out                           | none                     |
 * | tokens too large at the login          | –      | an error page; no session begins     | session.oversized        |
 *
 * Where only a cookie is too old, the session goes on under its newest one. If a login's tokens are too large, the
 * previous session goes on. A session that outgrows the cookies in a refresh goes on in this process's memory
 * (`session.oversized`); after that its older cookie is one that is older than the grace period.
 */
import { nowSeconds } from '../clock.ts';
import { BffError } from '../http/errors.ts';
import { idTokenClaims, renewalDueAt, type Claims, type DpopKey, type TokenSet } from '../token-set.ts';
import { pack, unpack } from './packing.ts';
import { readResourceTokens, writeResourceTokens, type ResourceTokens } from './resource-tokens.ts';

export interface Session {
  /** 128 random bits. Inside the seal, and in the sign-out link; no authority without the cookie. */
  readonly id: string;
  /** 0 at login, one more with each refresh: orders the forms of a session even if the refresh token stays the same. */
  readonly generation: number;
  readonly createdAt: number;
  /** The last call that counts against the idle timeout, when this form was sealed. */
  readonly sealedActivityAt: number;
  /** When {@link tokens} were obtained. */
  readonly tokensIssuedAt: number;
  readonly tokens: TokenSet;
  /** Claims from the UserInfo endpoint, where configured. */
  readonly userInfo: Claims | undefined;
  /**
   * The provider's own session, which its logout tokens name: `sid` of the login's ID token (OpenID Connect Front-Channel
   * Logout 3). Undefined where it names none, and for a session that an earlier version began.
   */
  readonly providerSid?: string | undefined;
  /** `iat` of the login's ID token; undefined for a session that an earlier version began. */
  readonly loginIssuedAt?: number | undefined;
  /** How strongly the person signed in: `acr` of the login's ID token, which a refreshed one may lack. */
  readonly acr?: string | undefined;
  /** When the person signed in, by the provider's clock: `auth_time` of the login's ID token (OpenID Connect Core 12.2). */
  readonly authTime?: number | undefined;
  /** Access tokens for single resources; undefined where there are none. */
  readonly resourceTokens?: ResourceTokens | undefined;
}

export interface SessionLimits {
  readonly lifetimeSeconds: number;
  readonly idleSeconds: number;
}

/**
 * When the session ends whatever is refreshed: at its lifetime, when the provider ends what it has granted, or, without a
 * refresh token, when the access token expires, because no call can succeed after that.
 */
export function endsAtLatest({ createdAt, tokens }: Session, limits: SessionLimits): number {
  const { refreshToken, accessTokenExpiresAt = Infinity, authorizationEndsAt = Infinity } = tokens;
  const lifetimeEnd = createdAt + limits.lifetimeSeconds;
  return Math.min(lifetimeEnd, authorizationEndsAt, refreshToken === undefined ? accessTokenExpiresAt : Infinity);
}

/** When the session ends if its tokens are not refreshed any more. The earliest end wins. */
export function endsAt(session: Session, limits: SessionLimits): number {
  const { accessTokenExpiresAt = Infinity, refreshTokenExpiresAt = Infinity } = session.tokens;
  return Math.min(endsAtLatest(session, limits), Math.max(refreshTokenExpiresAt, accessTokenExpiresAt));
}

/** When the provider issued the login's ID token, by its clock: orders the session and a sign-out that it reports. */
export function loginIssuedAt({ loginIssuedAt: known, tokens }: Session): number {
  return known ?? Number(idTokenClaims(tokens.idToken)?.['iat'] ?? 0);
}

/** How long a cookie of the session is kept, because a refresh may come until then: a second at least. */
export function remainingSeconds(session: Session, limits: SessionLimits): number {
  return Math.max(1, endsAtLatest(session, limits) - nowSeconds());
}

/** When the access token is due for a refresh; never without a refresh token. */
export function refreshDueAt(session: Session, beforeSeconds: number): number {
  const { accessTokenExpiresAt, refreshToken } = session.tokens;
  if (accessTokenExpiresAt === undefined || refreshToken === undefined) return Infinity;
  return renewalDueAt(session.tokensIssuedAt, accessTokenExpiresAt, beforeSeconds);
}

/** What a session keeps of the login's ID token, because a refreshed one may lack it, or say it anew. */
export function loginClaims(idToken: string): Pick<Session, 'providerSid' | 'loginIssuedAt' | 'acr' | 'authTime'> {
  const { sid, iat, acr, auth_time: authTime } = idTokenClaims(idToken) ?? {};
  return {
    providerSid: typeof sid === 'string' ? sid : undefined,
    loginIssuedAt: typeof iat === 'number' ? Math.floor(iat) : undefined,
    acr: typeof acr === 'string' ? acr : undefined,
    authTime: typeof authTime === 'number' ? integerOf(Math.floor(authTime)) : undefined,
  };
}

/**
 * A session as 7-bit text, to be sealed. The lists of fields and of tokens only grow at their ends: what an older version
 * wrote is read, and what a newer one added passed over.
 */
export function writeSession(session: Session): string {
  const { id, generation, createdAt, sealedActivityAt, tokensIssuedAt, tokens, userInfo } = session;
  const expiresAt = tokens.accessTokenExpiresAt ?? null;
  const ofLogin = [session.providerSid, session.loginIssuedAt];
  const ends = [tokens.refreshTokenExpiresAt, tokens.authorizationEndsAt];
  const ofSignIn = [session.acr, session.authTime];
  const ofResources = writeResourceTokens(session.resourceTokens, nowSeconds());
  const later = [...ofSignIn, writeDpopKey(tokens.dpopKey), ofResources.field];
  const optional = [userInfo, tokens.scope, ...ofLogin, ...ends, ...later];
  const present = optional.slice(0, optional.findLastIndex(isPresent) + 1).map((value) => value ?? null);
  return pack({
    fields: [id, generation, createdAt, sealedActivityAt, tokensIssuedAt, expiresAt, ...present],
    tokens: [tokens.accessToken, tokens.idToken, tokens.refreshToken, ...ofResources.tokens],
  });
}

function isPresent(value: unknown): boolean {
  return value !== undefined;
}

/** The inverse of {@link writeSession}; undefined for what it didn't write, such as a session of another version. */
export function readSession(text: string): Session | undefined {
  const { fields, tokens } = unpack(text) ?? {};
  if (!Array.isArray(fields) || tokens === undefined) return undefined;
  const [id, generation, createdAt, sealedActivityAt, tokensIssuedAt, expiresAt, ...optional] =
    fields as readonly unknown[];
  const [userInfo, scope, providerSid, loginIssuedAt, refreshTokenExpiresAt, authorizationEndsAt, ...later] = optional;
  const [acr, authTime, dpopKey, resourceTokens] = later;
  const [accessToken, idToken, refreshToken, ...ofResources] = tokens;
  const areNumbers = [generation, createdAt, sealedActivityAt, tokensIssuedAt, expiresAt ?? 0].every(
    Number.isSafeInteger,
  );
  if (typeof id !== 'string' || !areNumbers || accessToken === undefined || idToken === undefined) return undefined;
  return {
    id,
    generation: Number(generation),
    createdAt: Number(createdAt),
    sealedActivityAt: Number(sealedActivityAt),
    tokensIssuedAt: Number(tokensIssuedAt),
    userInfo: (userInfo ?? undefined) as Claims | undefined,
    tokens: {
      accessToken,
      idToken,
      refreshToken,
      accessTokenExpiresAt: expiresAt === null ? undefined : Number(expiresAt),
      scope: typeof scope === 'string' ? scope : undefined,
      refreshTokenExpiresAt: integerOf(refreshTokenExpiresAt),
      authorizationEndsAt: integerOf(authorizationEndsAt),
      dpopKey: readDpopKey(dpopKey),
    },
    providerSid: typeof providerSid === 'string' ? providerSid : undefined,
    loginIssuedAt: integerOf(loginIssuedAt),
    acr: typeof acr === 'string' ? acr : undefined,
    authTime: integerOf(authTime),
    resourceTokens: readResourceTokens(resourceTokens, ofResources),
  };
}

/** The first letter of the curve, and the seed. */
function writeDpopKey(key: DpopKey | undefined): string | undefined {
  return key === undefined ? undefined : `${key.algorithm === 'ES256' ? 'P' : 'E'}${key.seed}`;
}

function readDpopKey(written: unknown): DpopKey | undefined {
  if (typeof written !== 'string') return undefined;
  return { algorithm: written.startsWith('P') ? 'ES256' : 'EdDSA', seed: written.slice(1) };
}

function integerOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) ? Number(value) : undefined;
}

/** The year 5138. A later number is no time, and not each can be written as a date. */
const latestTime = 1e11;

/** Whether a session that was read can be served: its times are times, and its ID token is readable. */
export function isServable({ createdAt, sealedActivityAt, tokens }: Session): boolean {
  const { accessTokenExpiresAt = 0, refreshTokenExpiresAt = 0, authorizationEndsAt = 0 } = tokens;
  const times = [createdAt, sealedActivityAt, accessTokenExpiresAt, refreshTokenExpiresAt, authorizationEndsAt];
  return times.every((time) => time >= 0 && time <= latestTime) && idTokenClaims(tokens.idToken) !== undefined;
}

/** Whether one form of a session is newer than another: refreshed since, or sealed again for a later call. */
export function isNewer(one: SessionForm, other: SessionForm): boolean {
  return (
    one.generation > other.generation ||
    (one.generation === other.generation && one.sealedActivityAt > other.sealedActivityAt)
  );
}

/** What distinguishes one form of a session from another. */
export type SessionForm = Pick<Session, 'generation' | 'sealedActivityAt'>;

/** About what a session takes in memory, in bytes; tokens that compress well take far more than their cookie. */
export function memoryBytes({ tokens, userInfo, resourceTokens }: Session): number {
  const { accessToken, idToken, refreshToken = '', dpopKey } = tokens;
  const claims = userInfo === undefined ? 0 : JSON.stringify(userInfo).length;
  let bytes = accessToken.length + idToken.length + refreshToken.length + claims;
  for (const token of resourceTokens?.values() ?? []) bytes += token.accessToken.length;
  return dpopKey === undefined ? bytes : bytes + importedKeyBytes;
}

/** What an imported private key takes, outside of the heap. */
const importedKeyBytes = 3072;

export function sessionExpired(): BffError {
  return new BffError('session_expired', 'The session has ended. Sign in again.');
}
