/** Tokens of single resources: how they are kept with the session, and what no journey can time. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { nowSeconds } from '../../src/clock.ts';
import { resourceRequestOf } from '../../src/oidc/resources.ts';
import { pack, unpack } from '../../src/session/packing.ts';
import { createSessionSealer } from '../../src/session/session-sealer.ts';
import { readSession, writeSession, type Session } from '../../src/session/session.ts';
import type { SessionEntry } from '../../src/session/sessions.ts';
import type { ResourceToken } from '../../src/token-set.ts';
import { tokenIn } from '../../src/tokens/bearer.ts';
import { createResourceTokens } from '../../src/tokens/resource-tokens.ts';
import type { TokenCall } from '../../src/tokens/token-policy.ts';
import { fakeDate } from '../support/clock.ts';
import { cookieOf, signIn, startTwo, tokensOf, type startInstance } from '../support/two-instances.ts';

beforeEach(() => fakeDate());

type Instance = ReturnType<typeof startInstance>;

const api = ['orders', 'stock'].map((resource) => ({
  path: `/${resource}`,
  target: 'http://localhost:5000',
  token: { resource: `https://${resource}.test` },
}));

function callOf(entry: SessionEntry): TokenCall {
  return {
    request: {} as IncomingMessage,
    entry,
    path: '/',
    sentToken: undefined,
    obtained: undefined,
    wasAskedForNonce: false,
  };
}

/** A call on a route: what becomes of a 401 is for the test to say. */
function routeOf({ config, refresher }: Instance, path: string) {
  const route = config.api.find((each) => each.path === path);
  const request = route === undefined ? undefined : resourceRequestOf(route);
  if (route === undefined || request === undefined) throw new Error(`no route ${path}`);
  const policy = createResourceTokens(request, route, { config, refresher });
  return {
    policy,
    tokenFor: async (entry: SessionEntry) => tokenIn(await policy.headers(callOf(entry))),
  };
}

/** A session of which both instances know, and how often its refresh token was shown. */
async function startBoth() {
  const two = startTwo({ api });
  const cookie = await signIn(two.here);
  const [here, there] = [await two.here.openActive(cookie), await two.there.openActive(cookie)];
  return { ...two, cookie, entries: { here: here.entry, there: there.entry } };
}

describe('two instances', () => {
  test.each(['refresh first', 'resource first'])(
    'queue on the claim, and show no refresh token twice: %s',
    async (order) => {
      const { here, there, provider, entries } = await startBoth();
      const orders = routeOf(here, '/orders');
      vi.advanceTimersByTime(280_000);
      const release = provider.hold();
      const jobs = [
        async () => void (await orders.tokenFor(entries.here)),
        async () => there.refresher.refreshIfDue(entries.there),
      ];
      const running = (order === 'resource first' ? jobs : jobs.toReversed()).map((start) => start());
      await vi.waitFor(() => expect(provider.redeemed).toHaveLength(1));
      release();
      await Promise.all(running);
      expect(provider.redeemed).toEqual(['refresh-0', 'refresh-1']);
      await here.sessions.bringUpToDate(entries.here);
      await there.sessions.bringUpToDate(entries.there);
      for (const { session } of [entries.here, entries.there]) {
        const texts = Array.from(session.resourceTokens?.values() ?? [], ({ accessToken }) => accessToken);
        const isResourceFirst = order === 'resource first';
        expect([session.generation, session.tokens.accessToken, texts]).toEqual([
          2,
          isResourceFirst ? 'access-2' : 'access-1',
          [`https://orders.test-${isResourceFirst ? 1 : 2}`],
        ]);
      }
    },
  );

  test('two resources each get their own, and the same one is obtained once', async () => {
    const { here, there, provider, entries } = await startBoth();
    const tokens = await Promise.all([
      routeOf(here, '/orders').tokenFor(entries.here),
      routeOf(there, '/stock').tokenFor(entries.there),
      routeOf(there, '/orders').tokenFor(entries.there),
      routeOf(here, '/stock').tokenFor(entries.here),
    ]);
    expect(new Set(tokens).size).toBe(2);
    expect(tokens.map((token) => token?.split('-')[0])).toEqual(
      ['orders', 'stock', 'orders', 'stock'].map((name) => `https://${name}.test`),
    );
    expect(provider.redeemed).toEqual(['refresh-0', 'refresh-1']);
  });

  test('a session that ends meanwhile gets no token, and is not revived', async () => {
    const { here, there, provider, entries, cookie } = await startBoth();
    const release = provider.hold();
    const late = routeOf(here, '/orders').tokenFor(entries.here);
    await vi.waitFor(() => expect(provider.redeemed).toHaveLength(1));
    await there.sessions.end(entries.there, 'logout');
    release();
    await expect(late).rejects.toMatchObject({ code: 'session_expired' });
    expect((await here.open(cookie)).state).toBe('ended');
  });

  test('a token that had no place in the cookies stays where it was obtained, whoever makes the next generation', async () => {
    const { here, there, provider, entries } = await startBoth();
    const orders = routeOf(here, '/orders');
    const large = incompressible(9000);
    await orders.tokenFor(entries.here);
    const [[key, token] = []] = entries.here.session.resourceTokens ?? [];
    if (key === undefined || token === undefined) throw new Error('there is no token');
    const resourceTokens = new Map([[key, { ...token, accessToken: large, issuedAt: token.issuedAt + 1 }]]);
    await here.sessions.commitRefresh(entries.here, { ...entries.here.session, generation: 2, resourceTokens });
    expect(cookieOf(entries.here).length).toBeLessThan(3000);

    await there.sessions.bringUpToDate(entries.there);
    expect(entries.there.session.resourceTokens?.get(key)?.accessToken).not.toBe(large);
    provider.useUp();
    await there.sessions.commitRefresh(entries.there, { ...entries.there.session, generation: 3, tokens: tokensOf(2) });
    await here.sessions.bringUpToDate(entries.here);
    expect([entries.here.session.generation, await orders.tokenFor(entries.here)]).toEqual([3, large]);
  });
});

test('a token that was rejected is renewed once, whoever else has had it rejected', async () => {
  const { here, provider, entries } = await startBoth();
  const { policy, tokenFor } = routeOf(here, '/orders');
  await tokenFor(entries.here);
  const calls = [callOf(entries.here), callOf(entries.here), callOf(entries.here)];
  for (const call of calls) await policy.headers(call);
  await Promise.all(calls.slice(0, 2).map((call) => policy.renew(call)));
  // This one was answered later: there is a newer token already.
  await policy.renew(calls[2] ?? callOf(entries.here));
  expect(provider.redeemed).toEqual(['refresh-0', 'refresh-1']);
  expect(await tokenFor(entries.here)).toBe('https://orders.test-2');
});

test('the session’s own token is still renewed after a 401, when another token has made a newer generation', async () => {
  const { here, provider, entries } = await startBoth();
  await routeOf(here, '/orders').tokenFor(entries.here);
  await here.refresher.refreshAfterRejection(entries.here, 'access-0');
  expect([provider.redeemed, entries.here.session.tokens.accessToken]).toEqual([
    ['refresh-0', 'refresh-1'],
    'access-2',
  ]);
});

const token: ResourceToken = {
  accessToken: 'of-a-resource',
  issuedAt: 1000,
  expiresAt: nowSeconds() + 10_000,
  scope: 'orders',
};

function incompressible(length: number): string {
  return randomBytes(length).toString('base64url').slice(0, length);
}

function sessionWith(resourceTokens: ReadonlyMap<string, ResourceToken> | undefined): Session {
  const times = { createdAt: 1000, sealedActivityAt: 1000, tokensIssuedAt: 1000 };
  return { id: 'i', generation: 1, ...times, tokens: tokensOf(1), userInfo: undefined, resourceTokens };
}

describe('a session as text', () => {
  test('keeps its tokens, and none that has expired', () => {
    const endless = { ...token, accessToken: 'endless', expiresAt: undefined, scope: undefined };
    const expired = { ...token, accessToken: 'expired', expiresAt: nowSeconds() };
    const written = sessionWith(
      new Map([
        ['a', expired],
        ['b', token],
        ['c', endless],
      ]),
    );
    const read = readSession(writeSession(written));
    expect([...(read?.resourceTokens ?? [])]).toEqual([
      ['b', token],
      ['c', endless],
    ]);
    expect(readSession(writeSession(sessionWith(new Map([['a', expired]]))))?.resourceTokens).toBeUndefined();
  });

  test('is the same to a version that knows of none, but for what stands at its end', () => {
    const [plain, more] = [sessionWith(undefined), sessionWith(new Map([['a', token]]))].map((session) =>
      unpack(writeSession(session)),
    );
    const [plainFields, moreFields] = [plain?.fields, more?.fields] as unknown[][];
    expect(moreFields?.slice(0, plainFields?.length)).toEqual(plainFields);
    expect(more?.tokens.slice(0, 3)).toEqual(plain?.tokens);
    expect(
      readSession(
        pack({ fields: [...(moreFields ?? []), 'of a later version'], tokens: [...(more?.tokens ?? []), 'x'] }),
      ),
    ).toEqual(readSession(writeSession(sessionWith(new Map([['a', token]])))));
  });

  test.each<[story: string, field: unknown]>([
    ['no list', 'a'],
    ['no entries', [1, null, 'a']],
    ['no times', [['a', 'soon', null, null]]],
    ['negative times', [['a', -1, null, null]]],
    ['no key', [[1, 1000, null, null]]],
    [
      'more entries than tokens',
      [
        ['b', 1000, null, null],
        ['c', 1000, null, null],
      ],
    ],
  ])('is read where its tokens cannot be: %s', (_story, field) => {
    const { fields, tokens } = unpack(writeSession(sessionWith(new Map([['a', token]])))) ?? { fields: [], tokens: [] };
    const read = readSession(pack({ fields: [...(fields as unknown[]).slice(0, -1), field], tokens }));
    expect(read?.tokens.accessToken).toBe('access-1');
    expect([...(read?.resourceTokens?.keys() ?? [])]).not.toContain('c');
    expect(read?.resourceTokens?.size ?? 0).toBeLessThan(2);
  });

  test('in the cookies leaves out those that expire first, until it fits', async () => {
    const entries = [1, 2, 3, 4, 5].map((number): [string, ResourceToken] => [
      String(number),
      { ...token, accessToken: incompressible(2500), expiresAt: nowSeconds() + 1000 * number },
    ]);
    const sealer = createSessionSealer(['a sealing secret of more than 32 characters']);
    const sealed = await sealer.seal(sessionWith(new Map(entries.toReversed())));
    expect(sealed.length).toBeLessThanOrEqual(8000);
    const kept = [...(sealer.unseal(sealed)?.resourceTokens?.keys() ?? [])];
    expect(kept).not.toEqual([]);
    expect(kept).toEqual(['5', '4', '3', '2', '1'].slice(0, kept.length));
    expect(kept.length).toBeLessThan(5);
  });
});

test.each([
  [
    'the order of resources and scopes',
    { resource: ['https://a.test', 'https://b.test'], scope: 'x y' },
    { resource: ['https://b.test', 'https://a.test'], scope: 'y x' },
    true,
  ],
  ['one resource as a list', { resource: 'https://a.test' }, { resource: ['https://a.test'] }, true],
  ['another scope', { resource: 'https://a.test', scope: 'x' }, { resource: 'https://a.test', scope: 'x y' }, false],
  ['a scope for a resource', { resource: 'https://a.test' }, { scope: 'https://a.test' }, false],
])('requests and their keys: %s', (_story, one, other, isSame) => {
  const [first, second] = [one, other].map((policy) => resourceRequestOf({ token: policy })?.key);
  expect(first === second).toBe(isSame);
});
