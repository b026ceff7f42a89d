/**
 * The attacker's story: "Their provider signs its answers (JARM), so that I can't change one on its way through the
 * browser. So I bring answers of my own: unsigned, signed with my key, with `none`, with their public key as a secret; an
 * old one, one for another client or of another provider; another JWT that the provider did sign; or plain parameters
 * beside a good answer, and I see which are believed."
 *
 * Must hold: nothing of an answer is used before it is verified: no token call, no cookie changes, and the login that the
 * browser has under way still completes. After that the rules of plain answers hold, too.
 */
import { decodeJwt, type JWTPayload } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import type { JwtHeader, Signing } from '../support/provider-keys.ts';
import { leadToCallback, startWorld, type World } from '../support/world.ts';

let world: World;
let browser: BrowserClient;
/** A genuine answer to the login that `browser` has under way, not shown yet. */
let genuine: URL;

beforeAll(async () => {
  world = await startWorld(
    { config: (base) => ({ ...base, client: { ...base.client, responseMode: 'jwt' } }) },
    { scope: 'manual' },
  );
});

afterAll(() => world?.stop());

beforeEach(async () => {
  world.provider.resetCalls();
  world.logs.length = 0;
  browser = world.client();
  genuine = await leadToCallback(browser);
});

function tokenOf(callback: URL): string {
  return callback.searchParams.get('response') ?? '';
}

function show(query: string) {
  return browser.navigate(`/bff/callback?${query}`, { initiator: world.provider.issuer });
}

function showToken(token: string) {
  return show(new URLSearchParams({ response: token }).toString());
}

function failures(): string[] {
  return world.logs
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ msg }) => msg === 'login.failed')
    .map(({ reason }) => String(reason));
}

/** Refused, nothing asked, nothing changed, and the genuine answer is as good as before. */
function refusedFor(reason: string) {
  return {
    status: 400,
    namesCode: true,
    failures: [reason],
    cookies: [],
    tokenCalls: 0,
    completedAfterwards: [200, 1],
  };
}

async function afterwards(page: Awaited<ReturnType<typeof show>>): Promise<ReturnType<typeof refusedFor>> {
  const outcome = {
    status: page.status,
    namesCode: page.text.includes('login_transaction_invalid'),
    failures: failures(),
    cookies: page.setCookies as never[],
    tokenCalls: world.provider.calls.token,
  };
  const completed = await browser.navigate(genuine.href, { initiator: world.provider.issuer });
  return { ...outcome, completedAfterwards: [completed.status, world.provider.calls.code] };
}

type Forgery = (claims: JWTPayload) => { claims?: JWTPayload; header?: JwtHeader; signing?: Signing };

const now = () => Math.floor(Date.now() / 1000);

const forgeries: ReadonlyArray<readonly [story: string, forge: Forgery]> = [
  ['signed with a key of mine', () => ({ signing: 'foreign' })],
  ['not signed (alg none)', () => ({ signing: 'none' })],
  ['signed with the public key as a secret', () => ({ signing: 'public-key-as-secret' })],
  ['with a spoilt signature', () => ({ signing: 'broken' })],
  ['that demands an extension', () => ({ header: { crit: ['b64'], b64: true } })],
  ['of another provider', (claims) => ({ claims: { ...claims, iss: 'https://evil.test' } })],
  ['of no provider', ({ iss: _iss, ...claims }) => ({ claims })],
  ['of the provider, with a slash more', (claims) => ({ claims: { ...claims, iss: `${String(claims.iss)}/` } })],
  ['for another client', (claims) => ({ claims: { ...claims, aud: 'another' } })],
  ['for other clients', (claims) => ({ claims: { ...claims, aud: ['another', 'third'] } })],
  ['for nobody', ({ aud: _aud, ...claims }) => ({ claims })],
  ['that has expired', (claims) => ({ claims: { ...claims, exp: now() - 120 } })],
  ['that never expires', ({ exp: _exp, ...claims }) => ({ claims })],
  [
    'that expires as a text says',
    (claims) => ({ claims: { ...claims, exp: String(now() + 60) as unknown as number } }),
  ],
  ['of the future', (claims) => ({ claims: { ...claims, nbf: now() + 600 } })],
];

describe('an answer', () => {
  test.each(forgeries)('%s is refused before anything of it is used', async (_story, forge) => {
    const before = decodeJwt(tokenOf(genuine));
    const { claims = before, header = {}, signing = 'own' } = forge(before);
    expect(await afterwards(await showToken(await world.provider.sign(claims, header, signing)))).toEqual(
      refusedFor('response_invalid'),
    );
  });

  test.each([
    ['that is empty', ''],
    ['that is no JWT', 'x'],
    ['of two parts', 'e30.e30'],
    ['that is encrypted', 'eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d'],
    ['whose header is a list', 'W10.e30.c2ln'],
    ['whose content is null', 'eyJhbGciOiJSUzI1NiJ9.bnVsbA.c2ln'],
    ['of ten thousand dots', '.'.repeat(10_000)],
  ])('%s is refused', async (_story, token) => {
    expect(await afterwards(await showToken(token))).toEqual(refusedFor('response_invalid'));
  });

  test('with another code in its middle is refused', async () => {
    const [header, , signature] = tokenOf(genuine).split('.');
    const claims = { ...decodeJwt(tokenOf(genuine)), code: 'mine' };
    const changed = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
    expect(await afterwards(await showToken(changed))).toEqual(refusedFor('response_invalid'));
  });

  test('twice is refused', async () => {
    expect(await afterwards(await show(`response=${tokenOf(genuine)}&response=${tokenOf(genuine)}`))).toEqual(
      refusedFor('response_invalid'),
    );
  });
});

describe('plain parameters', () => {
  test('in place of a signed answer are refused, the provider’s own included', async () => {
    const { state, code, iss } = decodeJwt(tokenOf(genuine));
    const plain = new URLSearchParams({ state: String(state), code: String(code), iss: String(iss) });
    expect(await afterwards(await show(plain.toString()))).toEqual(refusedFor('response_unsigned'));
  });

  test('that are an error decide nothing: a silent login does not end by them', async () => {
    const { state } = decodeJwt(tokenOf(genuine));
    const plain = new URLSearchParams({ state: String(state), error: 'access_denied', error_description: 'planted' });
    const page = await show(plain.toString());
    expect(page.text).not.toContain('planted');
    expect(await afterwards(page)).toEqual(refusedFor('response_unsigned'));
  });

  test('beside a signed answer are ignored', async () => {
    const other = await leadToCallback(world.client());
    const { state, code } = decodeJwt(tokenOf(other));
    const beside = new URLSearchParams({ state: String(state), code: String(code), error: 'access_denied' });
    const page = await show(`${beside.toString()}&response=${tokenOf(genuine)}&code=mine`);
    expect([page.status, world.provider.calls.code]).toEqual([200, 1]);
    const redeemed = world.provider.requests.find(({ endpoints }) => endpoints.includes('code'));
    expect(redeemed?.form['code']).toBe(decodeJwt(tokenOf(genuine))['code']);
  });
});

describe('a JWT that the provider signed is held to the rules of plain answers:', () => {
  test.each<[story: string, change: (claims: JWTPayload) => JWTPayload]>([
    ['no state', ({ state: _state, ...claims }) => claims],
    ['a state that is none of ours', (claims) => ({ ...claims, state: 'x' })],
    ['a state that is a list', (claims) => ({ ...claims, state: [claims['state']] })],
  ])('%s', async (_story, change) => {
    const page = await showToken(await world.provider.sign(change(decodeJwt(tokenOf(genuine)))));
    expect([page.status, world.provider.calls.token]).toEqual([400, 0]);
  });

  test('an answer to the login of another browser', async () => {
    const page = await showToken(tokenOf(await leadToCallback(world.client())));
    expect([page.status, world.provider.calls.token]).toEqual([400, 0]);
  });

  test('the same answer twice', async () => {
    expect((await showToken(tokenOf(genuine))).status).toBe(200);
    expect((await showToken(tokenOf(genuine))).status).toBe(400);
    expect(world.provider.calls.code).toBe(1);
  });

  test('no code', async () => {
    const { code: _code, ...claims } = decodeJwt(tokenOf(genuine));
    expect((await showToken(await world.provider.sign(claims))).status).toBe(400);
    expect(failures()).toEqual(['code_missing']);
  });
});

test('an ID token is no answer', async () => {
  let idToken = '';
  const undo = world.provider.mutate('code', (json) => {
    idToken = String(json['id_token']);
    return json;
  });
  await browser.navigate(genuine.href, { initiator: world.provider.issuer });
  undo();
  expect(decodeJwt(idToken)).toMatchObject({ iss: world.provider.issuer });
  expect((await showToken(idToken)).status).toBe(400);
});

test('answers with unknown keys are no flood of fetches', async () => {
  const claims = decodeJwt(tokenOf(genuine));
  const forged = await Promise.all(
    Array.from({ length: 20 }, (_, index) => world.provider.sign(claims, { kid: `k${index}` }, 'foreign')),
  );
  world.provider.resetCalls();
  for (const token of forged) await showToken(token);
  expect(world.provider.calls.jwks).toBeLessThanOrEqual(1);
});
