/** What the provider says when it refuses: in the log, for the operator who has to mend it, and on no page. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import type { Endpoint, Failure } from '../support/provider-faults.ts';
import { signIn, startSignedIn, startWorld, type World } from '../support/world.ts';

const description =
  "AADSTS50011: The redirect URI 'https://app.example.com/bff/callback' does not match those of the application. " +
  'Trace ID: 0f0e7f3a-7c1e-4b7f-9d1b-2f6f5a0c0e00 Timestamp: 2026-11-26 10:00:00Z';

beforeEach(() => fakeDate());

/** The provider's words in the log lines of one event: the first cause that has any. */
function wordsIn(world: World, event: string): Record<string, unknown> | undefined {
  for (const line of world.logs) {
    const { msg, cause } = JSON.parse(line) as { msg?: string; cause?: Cause };
    for (let at = cause; at !== undefined; at = at.cause) {
      if (msg === event && at.description !== undefined)
        return { error: at.error, description: at.description, uri: at.uri };
    }
  }
  return undefined;
}

interface Cause {
  readonly error?: string;
  readonly description?: string;
  readonly uri?: string;
  readonly cause?: Cause;
}

describe('an authorization response', () => {
  test.each([
    ['access_denied', 403],
    ['invalid_scope', 403],
    ['server_error', 503],
    ['AADSTS-something the specification does not know', 403],
  ])('with %s is told with its description, which no page shows', async (error, status) => {
    const world = await startWorld();
    world.provider.mutateCallback((parameters) => {
      parameters.delete('code');
      parameters.set('error', error);
      parameters.set('error_description', description);
      parameters.set('error_uri', 'https://login.example.com/errors/50011');
      return parameters;
    });
    const page = await world.client().navigate('/bff/login');
    expect(page.status).toBe(status);
    expect(page.text).not.toMatch(/AADSTS50011|errors\/50011/);
    const told = { error, description, uri: 'https://login.example.com/errors/50011' };
    expect(wordsIn(world, 'login.failed')).toEqual(told);
    // The page names the request; the line of that request has the words, too.
    expect(wordsIn(world, status === 503 ? 'request failed' : 'request refused')).toEqual(told);
  });

  test('is told on one line of bounded length, whatever a stranger puts into it', async () => {
    const world = await startWorld();
    const hostile = `first\r\nsecond\u001b[31m\u2028\u202e${'x'.repeat(5000)}`;
    world.provider.refuseNext('access_denied', hostile);
    await world.client().navigate('/bff/login');
    const told = String(wordsIn(world, 'login.failed')?.['description']);
    expect(told).toMatch(/^first second \[31m x+…$/);
    expect(told.length).toBeLessThanOrEqual(1001);
  });
});

const refusals: ReadonlyArray<readonly [story: string, failure: Failure]> = [
  ['in the body', { status: 400, body: { error: 'invalid_grant', error_description: description } }],
  [
    'in the body, beside a challenge',
    {
      status: 400,
      body: { error: 'invalid_grant', error_description: description },
      headers: { 'www-authenticate': 'Bearer realm="Doorkeeper", error="invalid_grant", error_description="other"' },
    },
  ],
  [
    'in a challenge',
    {
      status: 401,
      body: '',
      headers: { 'www-authenticate': `Bearer error="invalid_token", error_description="${description}"` },
    },
  ],
  ['in the body of a 503', { status: 503, body: { error: 'server_error', error_description: description } }],
];

describe.each(refusals)('a refusal %s', (_story, failure) => {
  const options = { config: { login: { userInfo: true } } };
  const rightWords = expect.objectContaining({ error: expect.any(String), description });

  test.each<[Endpoint, string]>([
    ['code', 'login.failed'],
    ['userinfo', 'userinfo.failed'],
  ])('at a login (%s) is told', async (endpoint, event) => {
    const world = await startWorld(options);
    world.provider.fail(endpoint, failure);
    const page = await world.client().navigate('/bff/login');
    expect(page.text).not.toContain('AADSTS50011');
    expect(wordsIn(world, event)).toEqual(rightWords);
  });

  test('at a refresh is told', async () => {
    const world = await startSignedIn(options);
    expireAccessToken();
    world.provider.fail('refresh', failure);
    const answer = await world.browser.fetch('/api/me');
    expect(answer.text).not.toContain('AADSTS50011');
    expect(wordsIn(world, 'token.refresh_failed')).toEqual(rightWords);
  });

  test('at a revocation is told', async () => {
    const world = await startSignedIn(options);
    world.provider.fail('revocation', failure);
    await world.browser.fetch('/bff/logout', { method: 'POST' });
    await vi.waitFor(() => expect(wordsIn(world, 'logout.revocation_failed')).toEqual(rightWords));
  });
});

test('the pause that a refusal asks for is kept, with its words', async () => {
  const world = await startSignedIn();
  expireAccessToken();
  const body = { error: 'slow_down', error_description: description };
  world.provider.fail('refresh', { status: 429, body, headers: { 'retry-after': '7' } });
  expect((await world.browser.fetch('/api/me')).headers['retry-after']).toBe('7');
  expect(wordsIn(world, 'token.refresh_failed')).toEqual({ error: 'slow_down', description, uri: undefined });
});

test('a description that quotes an opaque access token is told without it', async () => {
  const world = await startWorld({
    config: { login: { userInfo: true } },
    provider: { settings: { accessTokens: 'opaque' } },
  });
  world.provider.fail('userinfo', {
    status: 401,
    body: '',
    challenge: ({ headers }) =>
      `Bearer error="invalid_token", error_description="Invalid token: ${headers.authorization}"`,
  });
  await signIn(world.client());
  expect(wordsIn(world, 'userinfo.failed')?.['description']).toBe('Invalid token: Bearer [cut]');
  world.assertNoSecrets();
});
