/**
 * The unlucky user's story: "The app calls two APIs, and each trusts whoever brings a token for it. Another person and I
 * work at the same moment, in several tabs with older and newer cookies. Tokens expire and are refused all the time, and
 * the provider rotates the refresh token with each. Just once the stock API gets a token for my orders, and can use it
 * there, or the orders API gets the other's."
 *
 * Must hold: every call reaches its API with a token for that API alone, of the person who makes the call, and no refresh
 * token is shown twice. Each call says in its path who makes it and where it is to go.
 */
import { randomInt } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import type { BrowserClient } from '../support/browser-client.ts';
import { fakeDate } from '../support/clock.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const users = ['alice', 'bob'] as const;
const routes = ['orders', 'stock'] as const;
const totalCalls = 1000;
const rounds = 10;

function twoApis({ api = [], ...base }: ConfigInput): ConfigInput {
  const target = api[0]?.target ?? '';
  return {
    ...base,
    api: routes.map((name) => ({
      path: `/${name}`,
      target: `${target}/${name}`,
      token: { resource: `https://${name}.test`, scope: name },
    })),
  };
}

/** What the APIs saw that they must not see. */
function faultsSeenBy({ api, provider }: World): string[] {
  return api.requests.flatMap(({ url, claims, token }) => {
    const [, route, user] = url.split('/');
    const isOwn = claims?.sub === user && claims?.aud === `https://${route}.test` && claims?.['scope'] === route;
    const isGenuine = provider.secrets.get(token ?? '') === 'accessToken';
    return isOwn && isGenuine ? [] : [`${url} with a token of ${String(claims?.sub)} for ${String(claims?.aud)}`];
  });
}

async function callOnce(browser: BrowserClient, user: string, call: number): Promise<string | undefined> {
  const route = routes[randomInt(routes.length)] ?? 'orders';
  const path = `/${route}/${user}/${call}`;
  const answer = await browser.fetch(path);
  const isServed = answer.status === 200 && answer.at('path') === path;
  return isServed ? undefined : `${path}: ${answer.status} ${answer.text}`;
}

test('two people, two APIs, 1,000 interleaved calls: no token at another API or of another person', async () => {
  fakeDate();
  const world = await startWorld({ config: twoApis });
  const tabs: { user: string; browser: BrowserClient }[] = [];
  for (const user of users) {
    const browser = world.client();
    await signIn(browser, user);
    for (let tab = 0; tab < 4; tab += 1) tabs.push({ user, browser });
  }
  const refused = new Set<string | undefined>();
  const faults: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // By turns the tokens are due, have expired, or are refused by the APIs.
    if (round % 3 === 0) vi.advanceTimersByTime(280_000);
    else if (round % 3 === 1) vi.advanceTimersByTime(301_000);
    else for (const { token } of world.api.requests) refused.add(token);
    world.api.rejectTokens((token) => refused.has(token));
    // Half the tabs go on with the cookies of the round before.
    const seen = tabs.map(({ user, browser }) => ({ user, browser: randomInt(2) === 0 ? browser.clone() : browser }));
    const answers = await Promise.all(
      Array.from({ length: totalCalls / rounds }, (_, call) => {
        const { user, browser } = seen[call % seen.length] ?? { user: '', browser: world.client() };
        return callOnce(browser, user, round * 1000 + call);
      }),
    );
    for (const fault of answers) if (fault !== undefined) faults.push(fault);
  }
  expect(faults).toEqual([]);
  expect(faultsSeenBy(world)).toEqual([]);
  expect(world.api.requests.length).toBeGreaterThanOrEqual(totalCalls);
  expect(world.provider.calls.refresh).toBeGreaterThanOrEqual((rounds - 1) * users.length);
  world.assertNoSecrets();
});
