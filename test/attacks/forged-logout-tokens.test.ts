/**
 * The attacker can reach `/bff/backchannel-logout`, as everybody can. They want to sign people out: with tokens that they
 * make up, with tokens that the provider made for something or somebody else, and with old ones that they have kept. They
 * also want to learn who is signed in, and to have the provider asked for its keys until it gives up.
 */
import { randomBytes } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import {
  logoutClaims,
  logoutEvent,
  logoutToken,
  postLogout,
  sendLogoutToken,
  watchIdTokens,
  type LogoutAnswer,
} from '../support/logout-tokens.ts';
import type { JwtHeader, Signing } from '../support/provider-keys.ts';
import { signIn, startSignedIn, startWorld, type World } from '../support/world.ts';

let world: World;
let alice: BrowserClient;
let idToken: string;

beforeAll(async () => {
  world = await startWorld({ backchannelLogout: true }, { scope: 'manual' });
  world.provider.mutate('code', (json) => {
    idToken = String(json['id_token']);
    return json;
  });
  alice = world.client();
  await signIn(alice, 'alice');
});

afterAll(() => world.stop());

beforeEach(() => {
  world.logs.length = 0;
});

const now = () => Math.floor(Date.now() / 1000);
const everybody = { sub: 'alice' };

interface Forgery {
  readonly claims?: (valid: JWTPayload) => JWTPayload;
  readonly header?: JwtHeader;
  readonly sign?: Signing;
}

function forge({ claims = (valid) => valid, header = {}, sign = 'own' }: Forgery): Promise<string> {
  const valid = logoutClaims(world.provider, everybody);
  return world.provider.sign(claims(valid), { typ: 'logout+jwt', ...header }, sign);
}

function send(token: string): Promise<LogoutAnswer> {
  return sendLogoutToken(world.server.port, token);
}

/** What came of a token, for its sender, for the operator and for Alice. */
async function effectsOf({ status, headers, refusal }: LogoutAnswer): Promise<object> {
  const lines = world.logs.filter((line) => line.includes('logout.token_refused'));
  return {
    status,
    type: headers.get('content-type'),
    caching: headers.get('cache-control'),
    refusal,
    reasons: lines.map((line) => (JSON.parse(line) as { reason: string }).reason),
    statusOfAlice: (await alice.fetch('/api/me')).status,
  };
}

/** Refused as the specification says (2.8), told to the operator with the reason, and without effect. */
function refusedFor(reason: string): object {
  return {
    status: 400,
    type: 'application/json',
    caching: 'no-store',
    // The characters of RFC 6749 5.2.
    refusal: {
      error: 'invalid_request',
      error_description: expect.stringMatching(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/),
    },
    reasons: [reason],
    statusOfAlice: 200,
  };
}

function without(name: string): Forgery {
  return { claims: (valid) => Object.fromEntries(Object.entries(valid).filter(([own]) => own !== name)) };
}

function changed(claims: JWTPayload): Forgery {
  return { claims: (valid) => ({ ...valid, ...claims }) };
}

describe('a logout token', () => {
  test.each<[story: string, forgery: Forgery, reason: string]>([
    ['that nobody signed', { sign: 'none' }, 'algorithm'],
    ['whose algorithm is written None', { header: { alg: 'None' }, sign: 'none' }, 'algorithm'],
    ['signed with a key of the attacker’s', { sign: 'foreign' }, 'signature'],
    ['whose signature is spoilt', { sign: 'broken' }, 'signature'],
    ['that takes the public key for a secret', { sign: 'public-key-as-secret' }, 'algorithm'],
    ['typed as an access token', { header: { typ: 'at+jwt' } }, 'type'],
    ['typed as a security event', { header: { typ: 'secevent+jwt' } }, 'type'],
    ['whose type is no text', { header: { typ: ['logout+jwt'] } }, 'type'],
    ['of another provider', changed({ iss: 'https://evil.test' }), 'issuer'],
    ['of the issuer with a slash more', { claims: (valid) => ({ ...valid, iss: `${valid.iss}/` }) }, 'issuer'],
    ['without an issuer', without('iss'), 'issuer'],
    ['for another client', changed({ aud: 'another-app' }), 'audience'],
    ['for other clients', changed({ aud: ['another-app', 'sallyport-2'] }), 'audience'],
    ['whose audience only begins with the client', changed({ aud: 'sallyport2' }), 'audience'],
    ['without an audience', without('aud'), 'audience'],
    ['without a time', without('iat'), 'issued_at'],
    ['whose time is a text', changed({ iat: String(now()) as unknown as number }), 'issued_at'],
    ['from the future', changed({ iat: now() + 240 }), 'issued_at'],
    ['from the endless future', changed({ iat: 1e300 }), 'issued_at'],
    ['that is not valid yet', changed({ nbf: now() + 240 }), 'issued_at'],
    ['of yesterday, good for a year', changed({ iat: now() - 86_400, exp: now() + 31_536_000 }), 'issued_at'],
    ['without an expiry', without('exp'), 'expiry'],
    ['that has expired', changed({ iat: now() - 360, exp: now() - 240 }), 'expiry'],
    ['whose expiry is a text', changed({ exp: String(now() + 60) as unknown as number }), 'expiry'],
    ['about nobody', without('sub'), 'subject'],
    ['about the empty person', changed({ sub: '' }), 'subject'],
    ['about a person that is a list', changed({ sub: ['alice'] as unknown as string }), 'subject'],
    ['whose session is null, and so everybody’s', changed({ sid: null }), 'subject'],
    ['whose session is a number', changed({ sid: 7 }), 'subject'],
    ['whose session is empty', changed({ sid: '' }), 'subject'],
    ['without events', without('events'), 'events'],
    ['with other events', changed({ events: { 'https://schemas.openid.net/secevent/risc/x': {} } }), 'events'],
    ['whose events are a list', changed({ events: [logoutEvent] }), 'events'],
    ['whose event is true', changed({ events: { [logoutEvent]: true } }), 'events'],
    ['whose event is null', changed({ events: { [logoutEvent]: null } }), 'events'],
    ['whose event is a list', changed({ events: { [logoutEvent]: [] } }), 'events'],
    ['with a nonce', changed({ nonce: 'n' }), 'nonce'],
    ['with an empty nonce', changed({ nonce: null }), 'nonce'],
    ['without an id', without('jti'), 'token_id'],
    ['whose id is a number', changed({ jti: 5 as unknown as string }), 'token_id'],
  ])('%s ends nothing', async (_story, forgery, reason) => {
    expect(await effectsOf(await send(await forge(forgery)))).toEqual(refusedFor(reason));
  });

  test('that names a key inside itself is not verified with it', async () => {
    const own = world.provider.requests.length;
    const header = { jwk: { kty: 'oct', k: 'AAAA' }, jku: `${world.provider.issuer}/evil`, kid: 'evil' };
    expect(await effectsOf(await send(await forge({ header, sign: 'foreign' })))).toEqual(refusedFor('signature'));
    expect(world.provider.requests.slice(own).map(({ path }) => path)).not.toContain('/evil');
  });

  test('that demands what nobody understands ends nothing', async () => {
    const valid = logoutClaims(world.provider, everybody);
    const header = { typ: 'logout+jwt', crit: ['https://example.test/x'], 'https://example.test/x': true };
    expect(await effectsOf(await send(await world.provider.sign(valid, header)))).toEqual(refusedFor('critical'));
  });

  test('whose claims were changed after the signature ends nothing', async () => {
    const [header = '', , signature = ''] = (await forge({})).split('.');
    const claims = Buffer.from(JSON.stringify(logoutClaims(world.provider, everybody))).toString('base64url');
    expect(await effectsOf(await send([header, claims, signature].join('.')))).toEqual(refusedFor('signature'));
  });

  test('that is the ID token of the person ends nothing', async () => {
    expect(await effectsOf(await send(idToken))).toEqual(refusedFor('events'));
  });

  test.each<[story: string, token: string, reason: string]>([
    ['empty', '', 'form'],
    ['no JWT', 'hello', 'form'],
    ['of two parts', 'e30.e30', 'form'],
    ['of four parts', 'e30.e30.e30.e30', 'form'],
    ['of dots', '..', 'form'],
    ['with claims that are no JSON', `e30.${Buffer.from('{').toString('base64url')}.AAAA`, 'form'],
    ['with claims that are a list', `e30.${Buffer.from('[]').toString('base64url')}.AAAA`, 'form'],
    ['with claims that are null', `e30.${Buffer.from('null').toString('base64url')}.AAAA`, 'form'],
    [
      'with claims that are no UTF-8',
      `e30.${Buffer.from('7b2261223a22ff227d', 'hex').toString('base64url')}.AAAA`,
      'form',
    ],
    ['in ordinary base64', 'e30=.e30=.AAAA', 'form'],
    ['encrypted', 'e30.AAAA.AAAA.AAAA.AAAA', 'encrypted'],
    ['as long as a book', randomBytes(20_000).toString('base64url'), 'size'],
  ])('%s is refused', async (_story, token, reason) => {
    expect(await effectsOf(await send(token))).toEqual(refusedFor(reason));
  });

  test('is not looked for in the query, and must stand in the form once', async () => {
    const token = await forge({});
    const path = `/bff/backchannel-logout?logout_token=${token}`;
    const queried = await fetch(`http://127.0.0.1:${world.server.port}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'x=1',
    });
    expect(queried.status).toBe(400);
    world.logs.length = 0;
    expect(await effectsOf(await postLogout(world.server.port, `logout_token=${token}&logout_token=${token}`))).toEqual(
      refusedFor('request'),
    );
    world.logs.length = 0;
    expect(await effectsOf(await postLogout(world.server.port, `logout_token=&logout_token=${token}`))).toEqual(
      refusedFor('request'),
    );
    world.logs.length = 0;
    expect(await effectsOf(await postLogout(world.server.port, ''))).toEqual(refusedFor('request'));
  });

  test.each([
    'application/json',
    'multipart/form-data; boundary=x',
    'text/plain',
    'application/x-www-form-urlencoded-not',
  ])('in a body of the type %s is refused', async (type) => {
    const body = `logout_token=${await forge({})}`;
    expect(await effectsOf(await postLogout(world.server.port, body, { 'content-type': type }))).toEqual(
      refusedFor('request'),
    );
  });

  test('in a body of a megabyte is refused unread', async () => {
    const body = `logout_token=${await forge({})}&x=${'x'.repeat(1_000_000)}`;
    expect(await effectsOf(await postLogout(world.server.port, body))).toEqual(refusedFor('request'));
  });

  test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])('by %s is refused', async (method) => {
    const url = `http://127.0.0.1:${world.server.port}/bff/backchannel-logout?logout_token=${await forge({})}`;
    const answer = await fetch(url, { method });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('POST');
    expect((await alice.fetch('/api/me')).status).toBe(200);
  });

  test('gets the same answer for a session that there is and one that there is not', async () => {
    const own = await startWorld({ backchannelLogout: true });
    const seen = watchIdTokens(own.provider);
    await signIn(own.client());
    const answers = [];
    for (const sid of [String(seen[0]?.['sid']), 'nobody-has-this']) {
      answers.push(await sendLogoutToken(own.server.port, await logoutToken(own.provider, { sid })));
    }
    const [known, unknown] = answers.map(({ status, text, headers }) => {
      return { status, text, headers: [...headers].filter(([name]) => name !== 'date') };
    });
    expect(known).toEqual(unknown);
    expect(known?.status).toBe(200);
  });
});

describe('a logout token that was used', () => {
  test('is refused a second time, and ends no session that began since', async () => {
    fakeDate();
    const { provider, server, browser, logs } = await startSignedIn({ backchannelLogout: true });
    const token = await logoutToken(provider, { sub: 'alice' });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    expect((await browser.fetch('/api/me')).status).toBe(401);
    vi.advanceTimersByTime(1000);
    await signIn(browser);
    expect((await sendLogoutToken(server.port, token)).status).toBe(400);
    expect(logs.filter((line) => line.includes('"reason":"repeated"'))).toHaveLength(1);
    expect((await browser.fetch('/api/me')).status).toBe(200);
  });

  test('lends its id to no other token', async () => {
    const { provider, server, client } = await startWorld({ backchannelLogout: true });
    const [one, other] = [client(), client()];
    await signIn(one, 'alice');
    await signIn(other, 'bob');
    const jti = 'the-same';
    const first = await logoutToken(provider, { sub: 'alice', jti });
    expect((await sendLogoutToken(server.port, first)).status).toBe(200);
    const second = await logoutToken(provider, { sub: 'bob', jti });
    expect((await sendLogoutToken(server.port, second)).status).toBe(400);
    expect((await other.fetch('/api/me')).status).toBe(200);
  });

  test('is taken once of many that come at the same moment', async () => {
    const { provider, server } = await startSignedIn({ backchannelLogout: true });
    const token = await logoutToken(provider, { sub: 'alice' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => sendLogoutToken(server.port, token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(19);
  });

  test('is remembered for as long as it is valid', async () => {
    fakeDate();
    const { provider, server } = await startSignedIn({ backchannelLogout: true });
    const token = await logoutToken(provider, { sub: 'alice', exp: now() + 31_536_000 });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    vi.advanceTimersByTime(3_600_000);
    expect((await sendLogoutToken(server.port, token)).refusal.error_description).toContain('received before');
    vi.advanceTimersByTime(121_000);
    expect((await sendLogoutToken(server.port, token)).refusal.error_description).toContain('older than');
  });
});

describe('tokens with invented keys', () => {
  test('have the keys fetched once in twenty seconds at most, and keep nobody from signing in', async () => {
    fakeDate();
    const { provider, server, client } = await startSignedIn({ backchannelLogout: true });
    vi.advanceTimersByTime(21_000);
    const before = provider.calls.jwks;
    for (let count = 0; count < 12; count += 1) {
      const claims = logoutClaims(provider, { sub: 'alice' });
      const token = await provider.sign(claims, { kid: `invented-${count}` }, 'foreign');
      expect((await sendLogoutToken(server.port, token)).status).toBe(400);
    }
    expect(provider.calls.jwks - before).toBe(1);

    await provider.rotateKeys();
    await signIn(client());
    expect(provider.calls.jwks - before).toBe(2);
  });

  test('do not hide a new key of the provider’s for longer', async () => {
    fakeDate();
    const { provider, server, browser } = await startSignedIn({ backchannelLogout: true });
    vi.advanceTimersByTime(21_000);
    await provider.rotateKeys();
    const token = await logoutToken(provider, { sub: 'alice' });
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
    expect((await browser.fetch('/api/me')).status).toBe(401);
  });

  test('do not have the keys fetched more often while these cannot be had, nor are any refused then', async () => {
    fakeDate();
    const { provider, server } = await startSignedIn({ backchannelLogout: true });
    const fails = provider.fail('jwks');
    vi.advanceTimersByTime(3_700_000);
    const before = provider.calls.jwks;
    const token = await logoutToken(provider, { sub: 'alice' });
    for (let count = 0; count < 12; count += 1) {
      const answer = await sendLogoutToken(server.port, token);
      expect(answer.status).toBe(503);
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(answer.refusal.code).toBe('provider_unavailable');
    }
    expect(provider.calls.jwks - before).toBe(1);
    fails();
    vi.advanceTimersByTime(21_000);
    expect((await sendLogoutToken(server.port, token)).status).toBe(200);
  });

  test('are not verified at all where anything else is wrong', async () => {
    fakeDate();
    const { provider, server } = await startSignedIn({ backchannelLogout: true });
    vi.advanceTimersByTime(21_000);
    const before = provider.calls.jwks;
    for (const aud of ['another-app', 'and-another']) {
      const token = await provider.sign(logoutClaims(provider, { sub: 'alice', aud }), { kid: 'invented' }, 'foreign');
      expect((await sendLogoutToken(server.port, token)).status).toBe(400);
    }
    expect(provider.calls.jwks).toBe(before);
  });
});
