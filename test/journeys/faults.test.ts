/**
 * Every call to the provider fails once, at every position and in every way, on a whole journey from sign-in to
 * sign-out. Whatever the fault: answers are of the contract, nothing is torn, and once it is over the person can work.
 */
import { describe, expect, test, vi } from 'vitest';
import type { BrowserClient, Exchange } from '../support/browser-client.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { TestProvider } from '../support/provider.ts';
import { signIn, startWorld } from '../support/world.ts';

type Fault = (provider: TestProvider, position: number) => void;

const faults: Array<[string, Fault]> = [
  ['is answered with 500', (provider, position) => provider.fail('backChannel', { times: 1, skip: position })],
  [
    'is answered with a page of HTML',
    (provider, position) => provider.fail('backChannel', { status: 200, body: '<html>', times: 1, skip: position }),
  ],
  ['is cut off before the provider worked', (provider, position) => provider.reset('backChannel', 1, position)],
  [
    'is cut off after the provider worked',
    (provider, position) => provider.dropAfterCommit('backChannel', 1, position),
  ],
];

/** More than the calls that the journey makes: discovery, code, keys, two refreshes, revocation. */
const positions = [0, 1, 2, 3, 4, 5, 6];

/** What a journey's step may be answered with while one fault is about. */
const expectedStatuses = new Set([200, 302, 303, 401, 403, 503]);

async function journey(browser: BrowserClient): Promise<Exchange[]> {
  const steps: Exchange[] = [];
  steps.push(await browser.navigate('/bff/login', { initiator: browser.origin }));
  steps.push(await browser.fetch('/api/1'));
  for (const round of [2, 3]) {
    expireAccessToken();
    const calls = await Promise.all([browser.fetch(`/api/${round}a`), browser.fetch(`/api/${round}b`)]);
    steps.push(...calls, await browser.fetch('/bff/session'));
  }
  steps.push(await browser.fetch('/bff/logout', { method: 'POST' }));
  return steps;
}

describe.each(faults)('one call to the provider that %s', (_title, fault) => {
  test.each(positions)('at position %i', async (position) => {
    fakeDate();
    const { client, provider, api, assertNoSecrets, logs } = await startWorld();
    // No rotation: with it, a lost answer of a refresh ends the session by the provider's own rule.
    provider.settings.rotateRefreshTokens = false;
    fault(provider, position);
    const browser = client();
    const steps = await journey(browser);

    for (const step of steps) expect(expectedStatuses).toContain(step.status);
    expect(logs.join('')).not.toContain('internal_error');
    expect(browser.cookies.for(browser.origin).filter((cookie) => cookie.name.startsWith('session'))).toEqual([]);
    expect((await browser.fetch('/api/after')).status).toBe(401);

    expect(provider.calls.backChannel).toBeGreaterThan(position);
    provider.heal();
    vi.advanceTimersByTime(30_000);
    await signIn(browser, 'alice');
    expect((await browser.fetch('/api/again')).at('sub')).toBe('alice');
    expect(api.requests.every((request) => request.token !== undefined)).toBe(true);
    assertNoSecrets();
  });
});
