/**
 * How large a session's cookies are for what stands in front: with their defaults, nginx and others refuse a response whose
 * headers take more than a page of memory, and a request whose headers take two.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { nowSeconds } from '../clock.ts';
import type { SessionEntry } from './session-entry.ts';
import { createSessionSealer } from './session-sealer.ts';

/**
 * Sizes from which on servers refuse, by default, and what the operator can do; the largest first. nginx 1.22 was seen to
 * refuse a response with 3,484 bytes of session cookies, whose other headers count as well, and a Cookie header of 8,193.
 */
const thresholds = [
  {
    bytes: 8000,
    advice:
      'Servers in front may refuse every request with such cookies: raise the size of their request headers (nginx: ' +
      'large_client_header_buffers 4 32k), or shorten the tokens. See docs/deployment.md, "Large sessions".',
  },
  {
    bytes: 3400,
    advice:
      'Servers in front may refuse the end of a sign-in with such cookies: raise the size of their response headers ' +
      '(nginx: proxy_buffer_size 32k), or shorten the tokens. See docs/deployment.md, "Large sessions".',
  },
] as const;

/** @returns a function that tells what is new: the threshold that a session has passed since it was last asked about it */
export function createSizeWatch() {
  const passed = new WeakMap<SessionEntry, number>();

  return (entry: SessionEntry, bytes: number): { readonly bytes: number; readonly advice: string } | undefined => {
    const threshold = thresholds.find((each) => bytes >= each.bytes);
    if (threshold === undefined || threshold.bytes <= (passed.get(entry) ?? 0)) return undefined;
    passed.set(entry, threshold.bytes);
    return { bytes, advice: threshold.advice };
  };
}

/**
 * The bytes of cookies that a session would take whose access token and ID token list so many groups, by ids of 36
 * characters.
 */
export async function estimateCookieBytes(groupCount: number, { secrets, issuer, client }: Config): Promise<number> {
  const now = nowSeconds();
  const groups = Array.from({ length: groupCount }, () => randomUUID());
  const claims = {
    iss: issuer,
    sub: randomUUID(),
    aud: client.id,
    exp: now + 300,
    iat: now,
    jti: randomUUID(),
    groups,
  };
  const person = {
    name: 'Alice Liddell',
    email: 'alice.liddell@example.com',
    email_verified: true,
    nonce: randomUUID(),
  };
  const session = {
    id: randomBytes(16).toString('base64url'),
    generation: 0,
    createdAt: now,
    sealedActivityAt: now,
    tokensIssuedAt: now,
    userInfo: undefined,
    tokens: {
      accessToken: sampleJwt({ ...claims, scope: 'openid profile email' }),
      idToken: sampleJwt({ ...claims, ...person }),
      refreshToken: sampleJwt({ iss: issuer, sub: claims.sub, jti: randomUUID(), exp: now + 1800 }),
      accessTokenExpiresAt: now + 300,
    },
  };
  return (await createSessionSealer(secrets).seal(session)).length;
}

/** In the form of a signed token, with the length of an RSA signature of 2048 bits. */
function sampleJwt(claims: object): string {
  const header = { alg: 'RS256', typ: 'JWT', kid: randomUUID() };
  return `${encoded(header)}.${encoded(claims)}.${randomBytes(256).toString('base64url')}`;
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
