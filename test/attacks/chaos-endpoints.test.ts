/**
 * The vandal's story: "No account needed here. The sign-in, its callback, the session and the sign-out answer anybody; I
 * ask for them in every form, post forms that I never finish, and leave when they are busiest." And the unlucky user's,
 * whose train goes into the tunnel just when the provider has sent her back.
 *
 * Must hold: the process lives on, nobody's session is harmed, and nothing stays open.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assaultWith, oneOf, type Random } from '../support/assault.ts';
import { chaosSeconds, chaosSeed, startSiege, type Siege } from '../support/siege.ts';
import { leadToCallback } from '../support/world.ts';

const patienceMs = (chaosSeconds + 60) * 1000;
const navigation = 'Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n';

let siege: Siege;

/** A stranger's: without the cookies. */
function stranger(method: string, target: string, lines = ''): string {
  return `${method} ${target} HTTP/1.1\r\nHost: ${new URL(siege.world.origin).host}\r\n${lines}`;
}

function endpoint(random: Random): Buffer {
  const target = oneOf(random, ['login', 'login?returnTo=/x', 'callback?code=x&state=y', 'session', 'nothing', '../x']);
  const method = oneOf(random, ['GET', 'GET', 'HEAD', 'POST', 'OPTIONS']);
  const body = method === 'POST' ? 'Content-Length: 10\r\n' : '';
  const request =
    random() < 0.5
      ? siege.head(random, method, `/bff/${target}`, body)
      : stranger(method, `/bff/${target}`, `${navigation}${body}`);
  return Buffer.from(`${request}\r\n${body === '' ? '' : '0123456789'}`);
}

/** A refresh on request, which waits for the provider; with and without a body that nobody asked for. */
function refresh(random: Random): Buffer {
  const size = oneOf(random, [0, 0, 1, 100_000]);
  const head = siege.head(random, 'POST', '/bff/refresh', `Content-Length: ${size}\r\n`);
  return Buffer.from(`${head}\r\n${'x'.repeat(size)}`);
}

/** A stranger's sign-out; nobody's session is meant. */
function signOut(random: Random): Buffer {
  const lines = `${navigation}Content-Length: 0\r\n`;
  return Buffer.from(`${stranger(oneOf(random, ['GET', 'POST']), '/bff/logout', lines)}\r\n`);
}

/** Forms of every size and shape, of which few were ever meant for a callback. */
function form(random: Random): Buffer {
  const content = oneOf(random, [
    'code=x&state=y',
    'error=access_denied&state=y',
    `code=${'x'.repeat(100_000)}`,
    '--b\r\nContent-Disposition: form-data; name="code"\r\n\r\nx\r\n--b--',
    '%%%=%zz&&&=',
    '',
  ]);
  const chunk = content === '' ? '' : `${content.length.toString(16)}\r\n${content}\r\n`;
  const body = oneOf(random, [
    `Content-Length: ${content.length}\r\n\r\n${content}`,
    `Transfer-Encoding: chunked\r\n\r\n${chunk}0\r\n\r\n`,
  ]);
  const type = oneOf(random, ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=b', 'text/plain']);
  const expectation = random() < 0.2 ? 'Expect: 100-continue\r\n' : '';
  const lines = `${navigation}Origin: null\r\n${expectation}Content-Type: ${type}\r\n`;
  return Buffer.from(`${stranger('POST', '/bff/callback', lines)}${body}`);
}

describe('with answers of the provider in the query', () => {
  beforeAll(async () => {
    siege = await startSiege();
  });

  afterAll(() => siege.stop());

  test(
    `the endpoints serve on whoever leaves them at whatever moment (seed ${chaosSeed})`,
    async () => {
      await siege.storm((random) => assaultWith(random, oneOf(random, [endpoint, endpoint, refresh, signOut])(random)));
      expect(await siege.harm()).toEqual([]);
      expect(siege.world.provider.reusedRefreshTokens).toBe(0);
    },
    patienceMs,
  );

  test(
    'who leaves while her code is being redeemed leaves nothing behind',
    async () => {
      for (const leaving of ['reset', 'close', 'half-close'] as const) {
        const browser = siege.world.client();
        const { pathname, search } = await leadToCallback(browser);
        const redemption = siege.world.provider.hold('code', { times: 1 });
        const cookie = `Cookie: ${browser.cookieHeader()}\r\n`;
        const callback = `${stranger('GET', `${pathname}${search}`, navigation + cookie)}\r\n`;
        await siege.leave(callback, redemption.arrived, leaving);
        redemption.release();
        browser.close();
      }
      expect(await siege.harm()).toEqual([]);
    },
    patienceMs,
  );
});

describe('with answers of the provider as forms', () => {
  beforeAll(async () => {
    siege = await startSiege((base) => ({ client: { ...base.client, responseMode: 'form_post' } }));
  });

  afterAll(() => siege.stop());

  test(
    `callbacks that break off anywhere harm nobody else (seed ${chaosSeed})`,
    async () => {
      await siege.storm((random) => assaultWith(random, form(random)));
      expect(await siege.harm()).toEqual([]);
    },
    patienceMs,
  );
});
