/** The keys that ID tokens are verified with: fetched ahead, kept fresh, and found whatever id a token names. */
import { describe, expect, test, vi } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startSignedIn, startSignedInPeople, startWorld, type World } from '../support/world.ts';

async function untilKeysAreFetched({ provider }: World): Promise<void> {
  await expect.poll(() => provider.calls.jwks).toBeGreaterThan(0);
}

describe('the keys are fetched at the start', () => {
  test('before anybody signs in, and not again for the first login', async () => {
    const world = await startWorld();
    await untilKeysAreFetched(world);
    await signIn(world.client());
    expect(world.provider.calls.jwks).toBe(1);
  });

  test('so that a login works while they cannot be had', async () => {
    const world = await startWorld();
    await untilKeysAreFetched(world);
    world.provider.fail('jwks');
    await signIn(world.client());
    expect(world.provider.calls.jwks).toBe(1);
  });

  test('again and again while they cannot be had, with a line in the log', async () => {
    const world = await startWorld({ providerUp: false });
    world.provider.fail('jwks', { times: 1 });
    await world.provider.up();
    await expect.poll(() => world.provider.calls.jwks, { timeout: 10_000 }).toBe(2);
    expect(world.logs.filter((line) => line.includes('provider.keys_failed'))).toHaveLength(1);
    await signIn(world.client());
  });

  test('and are not trusted for longer than an hour where they cannot be had again', async () => {
    fakeDate();
    const world = await startSignedIn();
    world.provider.fail('jwks');
    vi.advanceTimersByTime(3_590_000);
    expect((await world.browser.fetch('/api/orders')).status).toBe(200);
    vi.advanceTimersByTime(3_590_000);
    expect((await world.browser.fetch('/api/orders')).at('code')).toBe('provider_unavailable');
    expect((await world.browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    world.provider.heal();
    vi.advanceTimersByTime(60_000);
    expect((await world.browser.fetch('/api/orders')).status).toBe(200);
  });
});

describe('a rotated key ends no session', () => {
  test.each([
    ['while the old one stays published', true],
    ['when the old one is gone', false],
  ])('%s and refreshed tokens go on naming it', async (_story, keepOld) => {
    fakeDate();
    const { browser, client, provider } = await startSignedIn();
    let oldId: unknown;
    provider.mutateIdToken((_claims, header) => {
      oldId ??= header['kid'];
      return { header: { ...header, kid: oldId } };
    }, 'refresh');
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    const before = provider.calls.jwks;
    await provider.rotateKeys({ keepOld });
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(provider.calls.jwks).toBe(before + 1);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
    await signIn(client());
  });

  test('of twelve people, nor are the keys fetched for each of their tokens that name an old one', async () => {
    fakeDate();
    const { browsers, provider } = await startSignedInPeople(12);
    let oldId: unknown;
    provider.mutateIdToken((_claims, header) => {
      oldId ??= header['kid'];
      return { header: { ...header, kid: oldId } };
    }, 'refresh');
    expireAccessToken();
    await browsers[0]?.fetch('/api/orders');
    await provider.rotateKeys({ keepOld: true });
    const before = provider.calls.jwks;
    expireAccessToken();
    // One after the other, so that no two share a fetch.
    for (const browser of browsers) expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(provider.calls.jwks).toBeLessThanOrEqual(before + 2);
  });

  test.each<[key: string, jwk: unknown]>([
    ['is no object', null],
    ['is of no use to anybody', { kty: 'RSA', n: '!', e: 'AQAB' }],
    ['is of a kind that nobody knows', { kty: 'quantum' }],
    ['is for encryption', { kty: 'RSA', use: 'enc', n: 'AQAB', e: 'AQAB' }],
  ])('where a key of the set %s', async (_story, jwk) => {
    const { client, provider } = await startWorld({ providerUp: false });
    provider.mutate('jwks', (json) => ({ keys: [jwk, ...(json['keys'] as unknown[]), jwk] }));
    await provider.up();
    await signIn(client());
    provider.mutateIdToken((_claims, header) => ({ header: { ...header, kid: 'elsewhere' } }));
    await signIn(client());
    expect(provider.calls.code).toBe(2);
  });

  test('nor refuses a login whose ID token names no key, or an unknown one', async () => {
    const { client, provider } = await startWorld();
    await provider.rotateKeys({ keepOld: true });
    provider.mutateIdToken((_claims, header) => ({ header: { ...header, kid: 'elsewhere' } }));
    await signIn(client());
    provider.heal();
    provider.mutateIdToken((_claims, { kid: _kid, ...header }) => ({ header }));
    await signIn(client());
    expect(provider.calls.code).toBe(2);
  });

  test('but a key of nobody’s does, once the keys were looked at', async () => {
    fakeDate();
    const { browser, provider } = await startSignedIn();
    provider.mutateIdToken(() => ({ sign: 'foreign' }));
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).at('code')).toBe('session_expired');
  });
});
