/**
 * The attacker's story: "My script runs in the app's page, and the session endpoint tells it who is signed in. Providers
 * put more into claims than names: aggregated and distributed claims come with a JWT or with an access token for another
 * server (OpenID Connect Core 5.6.2), evidence with a token for its attachment (OpenID Connect for Identity Assurance),
 * credentials and visas as JWTs in lists, and one provider the salt of the password. I read whatever is there."
 *
 * Must hold: no token reaches a script, in whatever claim and however deep, from the ID token or from UserInfo, and not
 * either where the operator or the program lists that claim; of the other claims only those that are listed.
 */
import { describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import type { TestProvider } from '../support/provider.ts';
import { signIn, startWorld, type World, type WorldOptions } from '../support/world.ts';

function base64url(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

let planted = 0;

/** A signed token that no other place has. Its header is JSON with the white space that some libraries write. */
function jws(): string {
  planted += 1;
  const header = planted % 2 === 0 ? '{ "alg" : "RS256" }' : { alg: 'HS256', typ: 'JWT' };
  return `${base64url(header)}.${base64url({ planted })}.${base64url(`signature ${planted}`)}`;
}

/** An encrypted one (RFC 7516), with a direct key. */
function jwe(): string {
  planted += 1;
  return `${base64url({ alg: 'dir', enc: 'A128GCM' })}..${base64url(`iv ${planted}`)}.${base64url(`text ${planted}`)}.dGFn`;
}

/** A token that looks like nothing: only where it stands says what it is. */
function opaque(): string {
  planted += 1;
  return `ksj3n283dke${planted}`;
}

/** Claims that specifications name, with tokens in each place for one, and what may be left of them. */
function plant(): { readonly claims: Record<string, unknown>; readonly rest: Record<string, unknown> } {
  const claims: Record<string, unknown> = {};
  const rest: Record<string, unknown> = {};
  const add = (name: string, value: unknown, left?: unknown) => {
    claims[name] = value;
    if (left !== undefined) rest[name] = left;
  };
  // OpenID Connect Core 5.1.
  for (const name of 'given_name family_name middle_name nickname profile gender birthdate'.split(' '))
    add(name, jws());
  for (const name of 'zoneinfo locale phone_number website'.split(' ')) add(name, jwe());
  add('picture', `https://pictures.test/alice?sig=${jws()}`);
  add('updated_at', 1_790_000_000, 1_790_000_000);
  add('address', { formatted: jws(), street_address: `c/o ${jws()}`, locality: 'Berlin' }, { locality: 'Berlin' });
  // Memberships.
  add('groups', ['staff', jws(), { name: 'admins', token: opaque() }], ['staff', { name: 'admins' }]);
  add('roles', { app: { roles: ['editor'], refresh_token: opaque() } }, { app: { roles: ['editor'] } });
  // OpenID Connect Core 5.6.2: aggregated and distributed claims.
  add('_claim_names', { credit_score: 'bank', shoe_size: 'shop' });
  add('_claim_sources', {
    bank: { JWT: jws() },
    shop: { endpoint: 'https://shop.test/claims', access_token: opaque() },
  });
  // OpenID Connect for Identity Assurance 1.0: evidence with external attachments, and aggregated verified claims.
  add(
    'verified_claims',
    {
      verification: {
        trust_framework: 'eidas',
        evidence: [
          { type: 'document', attachments: [{ url: 'https://a.test/1', access_token: opaque(), expires_in: 30 }] },
        ],
      },
      claims: { given_name: 'Alice', _claim_sources: { x: { JWT: jws() } } },
    },
    {
      verification: {
        trust_framework: 'eidas',
        evidence: [{ type: 'document', attachments: [{ url: 'https://a.test/1', expires_in: 30 }] }],
      },
      claims: { given_name: 'Alice' },
    },
  );
  // RFC 8693 4.1, 4.4; RFC 7800 3.3; RFC 9396 2; RFC 8417 2.2; RFC 9493 3.
  add('act', { sub: 'agent', act: { sub: 'other', idToken: opaque() } }, { sub: 'agent', act: { sub: 'other' } });
  add('may_act', { sub: 'agent', proof: jws() }, { sub: 'agent' });
  add('cnf', { kid: 'k1', jwe: jwe() }, { kid: 'k1' });
  add('authorization_details', [{ type: 'pay', 'access-token': opaque() }], [{ type: 'pay' }]);
  add('events', { 'https://e.test/x': { logout_token: opaque(), n: 1 } }, { 'https://e.test/x': { n: 1 } });
  add('sub_id', { format: 'opaque', id: jws() }, { format: 'opaque' });
  // Verifiable credentials (VC data model 1.1, 6.3.1; SD-JWT), GA4GH passports, device secrets (Native SSO).
  add(
    'vp',
    { type: 'Presentation', verifiableCredential: [jws(), `${jws()}~WyJ4Il0~`] },
    {
      type: 'Presentation',
      verifiableCredential: [],
    },
  );
  add('ga4gh_passport_v1', [jws(), jws()], []);
  add('https://app.test/session', `{"access_token":"${opaque()}"}`);
  add('https://app.test/link', `https://shop.test/#id_token=${opaque()}&x=1`);
  add('labels', { [jws()]: true, plain: true }, { plain: true });
  add('hosted', [`www.example.${jws()}`, `api.eu.example.com.${jws()}`, `v1.2.${jwe()}`], []);
  add('prefixed', [`token_${jws()}`, `my-new-token_${jws()}`, `(${jws()})`], []);
  add('has_api_token', true, true);
  add('host', 'www.login.example.com', 'www.login.example.com');
  return { claims, rest };
}

/** Where claims come from. */
const sources: ReadonlyArray<readonly [name: string, give: (provider: TestProvider, claims: object) => void]> = [
  [
    'the ID token',
    (provider, added) => void provider.mutateIdToken(({ ...claims }) => ({ claims: { ...claims, ...added } })),
  ],
  ['UserInfo', (provider, added) => void provider.fail('userinfo', { status: 200, body: { sub: 'alice', ...added } })],
];

/** Every token that stands in the claims, and a part of each that would do. */
function tokensIn(claims: object): string[] {
  const found = JSON.stringify(claims).match(/[\w-]+(?:\.[\w-]*){2,4}|ksj3n283dke\d+/g) ?? [];
  return found.map((text) => text.replace(/^.*token_/, '')).filter((text) => /^(?:e[wy]|ksj)/.test(text));
}

async function signedIn(world: World, give: () => void): Promise<BrowserClient> {
  give();
  const browser = world.client();
  await signIn(browser);
  return browser;
}

/** Those that the configuration lets an operator list. */
function shownByOperator(claims: object): string[] {
  return Object.keys(claims).filter((name) => !/^_claim|token$/.test(name));
}

function withClaims(...names: string[]): WorldOptions {
  return { config: (base) => ({ ...base, login: { userInfo: true }, session: { claims: names } }) };
}

describe.each(sources)('tokens in claims of %s', (_source, give) => {
  test('are not shown where the operator lists those claims; what stands beside them is', async () => {
    const { claims, rest } = plant();
    expect(tokensIn(claims).length).toBeGreaterThan(30);
    const world = await startWorld(withClaims(...shownByOperator(claims)));
    const browser = await signedIn(world, () => give(world.provider, claims));
    const session = await browser.fetch('/bff/session');
    expect(tokensIn(claims).filter((token) => session.text.includes(token))).toEqual([]);
    const { has_api_token: _, ...expected } = rest;
    expect(session.json()['user']).toMatchObject(expected);
    const refreshed = await browser.fetch('/bff/refresh', { method: 'POST' });
    expect(tokensIn(claims).filter((token) => refreshed.text.includes(token))).toEqual([]);
  });

  test('are not shown where the program shows every claim', async () => {
    const { claims, rest } = plant();
    const world = await startWorld({ ...withClaims(), sessionView: (all) => ({ ...all, signedInAt: new Date(0) }) });
    const browser = await signedIn(world, () => give(world.provider, claims));
    const session = await browser.fetch('/bff/session');
    expect(tokensIn(claims).filter((token) => session.text.includes(token))).toEqual([]);
    expect(session.text).not.toMatch(/_claim_(?:names|sources)/);
    expect(session.json()['user']).toMatchObject({ ...rest, signedInAt: '1970-01-01T00:00:00.000Z' });
  });

  test('and whatever else nobody listed is not shown by default', async () => {
    const casdoor = {
      passwordSalt: 'salt',
      hash: 'a5f0',
      recoveryCodes: ['1-2-3'],
      password: 'x',
      realm_access: { roles: ['r'] },
    };
    const { claims } = plant();
    const world = await startWorld(withClaims());
    const browser = await signedIn(world, () =>
      give(world.provider, { ...claims, ...casdoor, email: 'alice@example.test' }),
    );
    const user = (await browser.fetch('/bff/session')).json()['user'] as object;
    expect(Object.keys(user).toSorted()).toEqual(
      'address email email_verified groups name preferred_username roles sub updated_at'.split(' '),
    );
  });
});

describe('the session’s own tokens', () => {
  test.each(['opaque', 'jwt'] as const)(
    '(%s) are not shown in whatever claim a provider quotes them',
    async (accessTokens) => {
      const world = await startWorld({ ...withClaims('note'), provider: { settings: { accessTokens } } });
      const quoteThem = () => {
        const tokens = [...world.provider.secrets].filter(([, kind]) => kind.endsWith('Token')).map(([value]) => value);
        expect(tokens.length).toBeGreaterThanOrEqual(3);
        const [first, second] = tokens;
        return {
          sub: 'alice',
          nickname: first,
          website: `https://x.test/${second}`,
          groups: [...tokens, 'staff'],
          note: { tokens: 1, deep: [[tokens]] },
        };
      };
      world.provider.fail('userinfo', { status: 200, body: quoteThem });
      const browser = world.client();
      await signIn(browser);
      const session = await browser.fetch('/bff/session');
      expect(session.json()['user']).toMatchObject({ groups: ['staff'], note: { tokens: 1, deep: [[[]]] } });
      world.assertNoSecrets();
    },
  );
});

test('the claims of the specification are shown as they are', async () => {
  const person = {
    given_name: 'Alice',
    family_name: 'Adams',
    middle_name: 'B.',
    nickname: 'al',
    profile: 'https://p.test/alice',
    picture: 'https://p.test/alice.v1.2.png?size=90',
    website: 'https://www.alice.example.com/a.b.c',
    gender: 'female',
    birthdate: '1990-04-01',
    zoneinfo: 'Europe/Berlin',
    locale: 'de',
    phone_number: '+49 30 1',
    phone_number_verified: false,
    address: { formatted: 'Weg 1\nBerlin', country: 'DE' },
    updated_at: 1,
    groups: ['a.b.c', '/x/y'],
    roles: ['eyes.are.here'],
  };
  const world = await startWorld();
  const browser = await signedIn(world, () =>
    world.provider.mutateIdToken((claims) => ({ claims: { ...claims, ...person } })),
  );
  expect((await browser.fetch('/bff/session')).json()['user']).toEqual({
    ...person,
    sub: 'alice',
    name: 'Alice Adams',
    preferred_username: 'alice',
    email: 'alice@example.test',
    email_verified: true,
  });
});

test('claims that are nested without end, or very long, cost nobody the session', async () => {
  const world = await startWorld({ config: (base) => ({ ...base, session: { claims: ['deep', 'long'] } }) });
  const deep = JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) as unknown;
  const browser = await signedIn(world, () =>
    world.provider.mutateIdToken((claims) => ({ claims: { ...claims, deep, long: 'a'.repeat(200_000) } })),
  );
  const startedAt = performance.now();
  const session = await browser.fetch('/bff/session');
  expect(session.at('user.sub')).toBe('alice');
  expect(session.at('user.long')).toHaveLength(200_000);
  const shownDepth = /"deep":(\[+)/.exec(session.text)?.[1]?.length;
  expect(shownDepth).toBeGreaterThan(10);
  expect(shownDepth).toBeLessThan(20);
  expect(performance.now() - startedAt).toBeLessThan(2000);
});

test('a claim of one word of many megabytes is shown', async () => {
  const word = 'a'.repeat(9 * 2 ** 20);
  const world = await startWorld({ ...withClaims(), sessionView: () => ({ word, dots: 'ab.'.repeat(10_000) }) });
  const browser = world.client();
  await signIn(browser);
  const { text } = await browser.fetch('/bff/session');
  expect(text.length).toBeGreaterThan(word.length + 30_000);
});
