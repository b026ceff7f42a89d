/** Signed-in browsers by the thousand: by real sign-ins, or by cookies that are sealed here. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { createSessionSealer } from '../../src/session/session-sealer.ts';
import { signIn } from './client.ts';
import { sealingSecret } from './contenders.ts';
import { workFolder } from './processes.ts';

/** Sign-ins at the same time. */
const atOnce = 10;

/** The `Cookie` headers of `count` sign-ins. */
export async function signInMany(origin: string, count: number): Promise<string[]> {
  const cookies: string[] = [];
  while (cookies.length < count) {
    const batch = Math.min(atOnce, count - cookies.length);
    cookies.push(...(await Promise.all(Array.from({ length: batch }, () => signIn(origin, '/bff/login')))));
  }
  return cookies;
}

/**
 * The `Cookie` headers of `count` sessions of their own, made out of one that a sign-in brought: its form is today's, and
 * no sign-in costs time.
 */
export async function sealMany(cookie: string, count: number): Promise<string[]> {
  const sealer = createSessionSealer([sealingSecret]);
  const name = cookie.slice(0, cookie.indexOf('='));
  const session = sealer.unseal(cookie.slice(name.length + 1));
  if (session === undefined) throw new Error('the cookie of the sign-in is not one cookie with a sealed session');
  const { tokens } = session;
  const cookies: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const sealed = await sealer.seal({
      ...session,
      id: randomBytes(16).toString('base64url'),
      tokens: {
        ...tokens,
        accessToken: withOwnEnd(tokens.accessToken),
        idToken: withOwnEnd(tokens.idToken),
        refreshToken: tokens.refreshToken === undefined ? undefined : withOwnEnd(tokens.refreshToken),
      },
    });
    cookies.push(`${name}=${sealed}`);
  }
  return cookies;
}

/** Another signature, which nobody checks here. */
function withOwnEnd(token: string): string {
  const end = randomBytes(48).toString('base64url');
  return token.slice(0, -end.length) + end;
}

/** Puts cookies where wrk takes them from. @returns the file */
export function writeCookies(name: string, cookies: readonly string[]): string {
  const file = join(workFolder, `${name}.cookies`);
  writeFileSync(file, cookies.map((cookie) => `${cookie}\n`).join(''));
  return file;
}
