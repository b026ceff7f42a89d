/**
 * The careful operator's story: "Each of my APIs has a token of its own, so that the one with the old software can do
 * nothing at the others. Two people work at the same time, on all of them, while tokens expire, are refused and obtained
 * anew. Just once a token goes to another API than it is for, or with another person's call, and all of that was for
 * nothing."
 *
 * Must hold: every call reaches its API with the token of its route, and of the person who makes it. Each says in its path
 * what that is.
 */
import { randomInt } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { ApiRequest } from '../support/api.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

type Token = NonNullable<NonNullable<ConfigInput['api']>[number]['token']>;

const users = ['alice', 'bob'] as const;
const policies: Readonly<Record<string, Token>> = {
  orders: { exchange: { audience: 'orders' } },
  stock: { exchange: { audience: 'stock' } },
  notes: { phantom: { audience: 'notes', cacheSeconds: 20 } },
};
const routes = Object.keys(policies);
const totalCalls = 1000;
const roundsOf = 10;

let world: World;

beforeAll(async () => {
  vi.useFakeTimers({ toFake: ['Date', 'hrtime'], shouldAdvanceTime: true });
  world = await startWorld(
    {
      provider: {
        settings: {
          accessTokens: 'opaque',
          introspectionForm: 'keycloak',
          phantomAudience: 'notes',
          furtherTokenLifetime: 40,
        },
      },
      config: ({ api = [], ...base }) => ({
        ...base,
        api: Object.entries(policies).map(([name, token]) => ({
          path: `/${name}`,
          target: api[0]?.target ?? '',
          token,
        })),
      }),
    },
    { scope: 'manual' },
  );
});
afterAll(async () => {
  await world.stop();
  vi.useRealTimers();
});

/** What is wrong with a request that reached the API; undefined if nothing is. */
function faultOf({ url, claims }: ApiRequest): string | undefined {
  const [, user, route] = url.split('/');
  const audience = [claims?.aud].flat().join();
  return claims?.sub === user && audience === route
    ? undefined
    : `${url} with a token of ${claims?.sub} at ${audience}`;
}

test('1,000 interleaved calls of two people on three routes carry their own tokens', async () => {
  const browsers = await Promise.all(
    users.map(async (user): Promise<[string, BrowserClient]> => {
      const browser = world.client();
      await signIn(browser, user);
      return [user, browser];
    }),
  );
  world.provider.resetCalls();
  for (let round = 0; round < roundsOf; round += 1) {
    // Some tokens expire, or are refused once; sometimes the session's own is refreshed.
    vi.advanceTimersByTime(round === 6 ? 301_000 : 15_000);
    const refused = new Set<string>();
    world.api.rejectTokens((token = '') => {
      if (refused.has(token) || randomInt(20) > 0) return false;
      refused.add(token);
      return true;
    });
    const answers = await Promise.all(
      Array.from({ length: totalCalls / roundsOf }, (_, call) => {
        const [user, browser] = browsers[randomInt(browsers.length)] ?? ['', world.client()];
        const route = routes[randomInt(routes.length)] ?? '';
        return browser.fetch(`/${route}/${user}/${route}/${call}`);
      }),
    );
    expect(answers.filter(({ status }) => status !== 200 && status !== 401).map(({ text }) => text)).toEqual([]);
  }
  expect(world.api.requests.length).toBeGreaterThanOrEqual(totalCalls);
  expect(world.api.requests.map(faultOf).filter((fault) => fault !== undefined)).toEqual([]);
  // They were obtained anew in between, and not for each call.
  expect(world.provider.calls.exchange).toBeGreaterThan(roundsOf);
  expect(world.provider.calls.exchange).toBeLessThan(totalCalls / 4);
});
