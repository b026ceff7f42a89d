/** Pushed authorization requests (RFC 9126): Sallyport tells the provider what a login asks for, and the browser a reference. */
import { describe, expect, test } from 'vitest';
import type { Exchange } from '../support/browser-client.ts';
import { leadToCallback, signIn, startWorld, type ConfigOverrides, type World } from '../support/world.ts';

/** A world whose provider takes pushed requests. */
function startPushing(config: ConfigOverrides = {}, pushedRequests: 'offered' | 'required' = 'offered') {
  return startWorld({ provider: { pushedRequests }, config });
}

function requestsTo(world: World, endpoint: 'authorization' | 'pushedAuthorization') {
  return world.provider.requests.filter(({ endpoints }) => endpoints.includes(endpoint));
}

/** What the browser carried to the provider. */
function carried(page: { headers: Exchange['headers'] }): string[] {
  return [...new URL(page.headers.location ?? '').searchParams.keys()];
}

function logged(world: World, message: string): Array<Record<string, unknown>> {
  return world.logs.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ msg }) => msg === message);
}

test('is made by itself where the provider offers it: the browser carries a reference and nothing else', async () => {
  const world = await startPushing({
    login: { params: { audience: 'https://orders.example' }, allowParams: ['kc_idp_hint'] },
  });
  const browser = world.client();
  const asked = { login_hint: 'bob', max_age: '600', acr_values: 'urn:test:gold', kc_idp_hint: 'corp' };
  const start = await browser.navigate(`/bff/login?${new URLSearchParams(asked).toString()}`, { follow: false });
  expect(start.status).toBe(302);
  expect(carried(start).toSorted()).toEqual(['client_id', 'request_uri']);

  const [push] = requestsTo(world, 'pushedAuthorization');
  expect(push?.form).toMatchObject({
    ...asked,
    audience: 'https://orders.example',
    client_id: world.provider.clientId,
    response_type: 'code',
    redirect_uri: `${world.origin}/bff/callback`,
    scope: 'openid profile email offline_access',
    code_challenge_method: 'S256',
  });
  expect(Object.keys(push?.form ?? {})).toEqual(expect.arrayContaining(['state', 'nonce', 'code_challenge']));
  expect(push?.headers.authorization).toMatch(/^Basic /);

  await signIn(world.client(), 'bob');
  expect(world.provider.calls.code).toBe(1);
  world.assertNoSecrets();
});

test('signs in at a provider that demands it', async () => {
  const world = await startPushing({}, 'required');
  await signIn(world.client(), 'alice');
  expect(requestsTo(world, 'pushedAuthorization')).toHaveLength(1);
  expect(logged(world, 'provider.unsuitable')).toEqual([]);
});

test('is left out where it is switched off', async () => {
  const world = await startPushing({ login: { pushed: 'off' } });
  await signIn(world.client());
  expect(world.provider.calls.pushedAuthorization).toBe(0);
});

test('is left out where it is switched off, though the provider demands it: the log says why that fails', async () => {
  const world = await startPushing({ login: { pushed: 'off' } }, 'required');
  await world.client().navigate('/bff/login');
  expect(world.provider.calls).toMatchObject({ pushedAuthorization: 0, authorization: 1, code: 0 });
  expect(logged(world, 'provider.unsuitable')).toMatchObject([
    { problem: expect.stringContaining('remove SALLYPORT_LOGIN_PUSHED=off') as string },
  ]);
});

test('logins in several tabs have a reference each, and all complete', async () => {
  const world = await startPushing();
  const browser = world.client();
  const callbacks = [await leadToCallback(browser), await leadToCallback(browser, '/bff/login?returnTo=%2Forders')];
  const uris = requestsTo(world, 'authorization').flatMap(({ query }) => query['request_uri'] ?? []);
  expect(new Set(uris).size).toBe(2);
  for (const callback of callbacks) {
    const page = await browser.navigate(callback.href, { initiator: world.provider.issuer });
    expect(page.status).toBe(200);
  }
  expect(world.provider.calls.code).toBe(2);
});

test('pushes nothing for a browser that loads ahead, a frame or a script', async () => {
  const world = await startPushing();
  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' };
  for (const headers of [
    { ...navigation, 'sec-purpose': 'prefetch' },
    { ...navigation, 'sec-purpose': 'prefetch;prerender' },
    { ...navigation, 'sec-fetch-dest': 'iframe' },
    { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' },
  ]) {
    expect((await world.client().fetch('/bff/login', { headers })).status).toBe(401);
  }
  expect(world.provider.calls.pushedAuthorization).toBe(0);
});

describe('a pushed request that the provider refuses', () => {
  test('is a page with its own code; the log has the words of the provider, the page has not', async () => {
    const world = await startPushing();
    world.provider.fail('pushedAuthorization', {
      status: 400,
      body: { error: 'invalid_request', error_description: 'the audience is not known' },
    });
    const browser = world.client();
    const page = await browser.navigate('/bff/login?returnTo=%2Forders');
    expect([page.status, page.text.includes('authorization_failed')]).toEqual([403, true]);
    expect(page.text).not.toContain('the audience is not known');
    expect(logged(world, 'login.failed')).toMatchObject([
      {
        reason: 'authorization_failed',
        cause: { error: 'invalid_request', description: 'the audience is not known' },
      },
    ]);
    expect(logged(world, 'login.started')).toEqual([]);
    expect(world.provider.calls.authorization).toBe(0);
    expect(browser.cookies.for(browser.origin)).toEqual([]);
  });

  test('for its client is a fault of the set-up', async () => {
    const world = await startPushing();
    world.provider.fail('pushedAuthorization', { status: 401, body: { error: 'invalid_client' } });
    const page = await world.client().navigate('/bff/login');
    expect([page.status, page.text.includes('own credentials')]).toEqual([503, true]);
    expect(page.headers['retry-after']).toBeDefined();
  });
});

test.each<[story: string, disturb: (world: World) => void]>([
  ['fails', ({ provider }) => void provider.fail('pushedAuthorization', { status: 500 })],
  ['cannot be reached', ({ provider }) => void provider.reset('pushedAuthorization')],
  ['does not answer', ({ provider }) => void provider.hang('pushedAuthorization')],
  [
    'is too busy',
    ({ provider }) => void provider.fail('pushedAuthorization', { status: 429, body: { error: 'slow_down' } }),
  ],
  ['answers with a page', ({ provider }) => void provider.fail('pushedAuthorization', { status: 201, body: '<html>' })],
  [
    'names no reference',
    ({ provider }) => void provider.fail('pushedAuthorization', { status: 201, body: { expires_in: 60 } }),
  ],
  [
    'has a gateway that says no',
    ({ provider }) => void provider.fail('pushedAuthorization', { status: 403, body: '<html>' }),
  ],
])(
  'a provider that %s at a pushed request is unavailable, and the browser is sent nowhere',
  async (_story, disturb) => {
    const world = await startPushing({ provider: { timeoutSeconds: 1 } });
    disturb(world);
    const page = await world.client().navigate('/bff/login');
    expect([page.status, page.text.includes('provider_unavailable')]).toEqual([503, true]);
    expect(world.provider.calls.authorization).toBe(0);
    expect(logged(world, 'login.failed')).toMatchObject([{ reason: 'provider_unavailable' }]);
    world.provider.heal();
    await signIn(world.client());
  },
);

describe('a reference that has expired at the provider', () => {
  test('begins the login anew, once, to where the person was going', async () => {
    const world = await startPushing();
    const browser = world.client();
    world.provider.refuseNext('invalid_request_uri', 'the request_uri has expired');
    const page = await browser.navigate('/bff/login?returnTo=%2Forders');
    expect([page.status, page.url]).toEqual([200, `${world.origin}/orders`]);
    expect(world.provider.calls.pushedAuthorization).toBe(2);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test('a second time is an error, so that no browser goes in circles', async () => {
    const world = await startPushing();
    world.provider.mutateCallback(
      (parameters) =>
        new URLSearchParams({
          state: parameters.get('state') ?? '',
          iss: world.provider.issuer,
          error: 'invalid_request_uri',
        }),
    );
    const page = await world.client().navigate('/bff/login');
    expect([page.status, page.text.includes('authorization_failed')]).toEqual([403, true]);
    expect(world.provider.calls.pushedAuthorization).toBe(2);
  });
});
