/**
 * What a provider says of its tokens' lifetime may be anything: a number beyond all dates, a text, nothing. A sign-in
 * with it is completed or refused; it never leaves a session behind of which every endpoint is an error.
 */
import { assert, asyncProperty, bigInt, constantFrom, double, integer, oneof } from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let bare: World;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  bare = await startWorld({ provider: { settings: { refreshTokens: 'never' } } }, { scope: 'manual' });
});

afterAll(async () => {
  await world.stop();
  await bare.stop();
});

beforeEach(() => {
  for (const { logs, provider } of [world, bare]) {
    logs.length = 0;
    provider.heal();
  }
});

/** JSON to be written as it stands: `1e400` is a number to whoever reads it. */
function written(json: string): unknown {
  if (/^[[{]/.test(json)) return JSON.parse(json) as unknown;
  const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };
  return rawJSON(json);
}

const oddities = [
  '9223372036854775808 9223372036854775807 18446744073709551616 1e21 1e300 1e400 -1e400',
  '8640000000001 8640000000000 253402300800 2147483648 4294967296 9007199254740993',
  '0 -0 -1 -9223372036854775808 0.5 0.0000001 1 1.999 29 31.5 1e-400',
  'null true false "" "3600" "0" "-5" "soon" "1e3" "0x10" "60\\n" "NaN" "9223372036854775808"',
  `"${'9'.repeat(400)}" [] [3600] {} {"value":3600}`,
].flatMap((line) => line.split(' '));

function failures(logs: readonly string[]): string[] {
  return logs.filter((line) => line.includes('internal_error'));
}

/** The times in an answer that are none: what a script can't make a date or a timer of. */
function oddTimes(answer: Exchange): string[] {
  if (answer.at('authenticated') !== true) return [];
  return ['session', 'accessToken'].flatMap((name) => {
    const [at, left] = [answer.at(`${name}.expiresAt`), answer.at(`${name}.expiresInSeconds`)];
    const none = at === null && left === null;
    const some = Number.isFinite(Date.parse(String(at))) && Number.isSafeInteger(left) && Number(left) >= 0;
    return none || some ? [] : [`${name}: ${String(at)}, ${String(left)}`];
  });
}

/** Whoever is signed in may do everything, or hears that the session has ended; nobody hears of an error of ours. */
async function expectNoError({ logs }: World, browser: BrowserClient): Promise<void> {
  const session = await browser.fetch('/bff/session');
  const call = await browser.fetch('/api/me');
  const refresh = await browser.fetch('/bff/refresh', { method: 'POST' });
  const again = await browser.fetch('/bff/session');
  expect([session.status, refresh.status, again.status]).toEqual([200, 200, 200]);
  expect([200, 401]).toContain(call.status);
  expect([session, refresh, again].flatMap(oddTimes)).toEqual([]);
  expect(failures(logs)).toEqual([]);
}

/** Signs in; a provider that can't be understood is told as what it is. */
async function tryToSignIn(own: World): Promise<BrowserClient | undefined> {
  const browser = own.client();
  const page = await browser.navigate('/bff/login?returnTo=/&login_hint=alice');
  expect([200, 403, 503]).toContain(page.status);
  return page.status === 200 ? browser : undefined;
}

describe.each([
  ['with a refresh token', () => world],
  ['without a refresh token', () => bare],
])('a sign-in %s', (_, worldOf) => {
  test.each(oddities)('with an expires_in of %s', async (lifetime) => {
    const own = worldOf();
    const undo = own.provider.mutate('code', (json) => ({ ...json, expires_in: written(lifetime) }));
    const browser = await tryToSignIn(own);
    undo();
    if (browser !== undefined) await expectNoError(own, browser);
    expect(failures(own.logs)).toEqual([]);
  });
});

describe('a refresh', () => {
  test.each(oddities)('with an expires_in of %s', async (lifetime) => {
    const browser = world.client();
    await signIn(browser);
    const undo = world.provider.mutate('refresh', (json) => ({ ...json, expires_in: written(lifetime) }));
    const refresh = await browser.fetch('/bff/refresh', { method: 'POST' });
    undo();
    expect([200, 503]).toContain(refresh.status);
    if (refresh.status === 200) await expectNoError(world, browser);
    expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
    expect(failures(world.logs)).toEqual([]);
  });
});

test('with any number at all', async () => {
  const number = oneof(
    double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
    bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
    integer({ min: -100, max: 100 }).map(String),
    integer({ min: 0, max: 330 }).map((exponent) => `1e${exponent}`),
    constantFrom('8640000000', '8.64e15', '8.64e12', '1.7976931348623157e308', '5e-324'),
  );
  await assert(
    asyncProperty(number, async (lifetime) => {
      world.logs.length = 0;
      const undo = world.provider.mutate('token', (json) => ({ ...json, expires_in: written(lifetime) }));
      try {
        const browser = await tryToSignIn(world);
        if (browser !== undefined) await expectNoError(world, browser);
      } finally {
        undo();
      }
      expect(failures(world.logs)).toEqual([]);
    }),
    { numRuns: 60 },
  );
});
