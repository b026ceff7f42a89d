/**
 * The attacker's story: "Their logins are pushed to the provider, so that a person's browser carries nothing that I could
 * read or change. So I see to it that the push fails, or that it seems not to be there, and wait for the login to fall
 * back to plain parameters in the address, which my extension then edits."
 *
 * Must hold: where a pushed request is demanded, by the operator or by the provider, no failure leads to plain
 * parameters; where it is only offered, a refusal of the client alone does, and the operator is told.
 */
import { describe, expect, test } from 'vitest';
import type { Failure } from '../support/provider-faults.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

const refusals: ReadonlyArray<readonly [story: string, failure: Failure]> = [
  ['no such page', { status: 404, body: '<html>' }],
  ['no such page, in JSON', { status: 404, body: { error: 'Not Found' } }],
  ['no such method', { status: 405, body: '' }],
  ['not implemented', { status: 501, body: '' }],
  ['not for this client', { status: 400, body: { error: 'unauthorized_client' } }],
  ['not for this client, with a 401', { status: 401, body: { error: 'unauthorized_client' } }],
];

const further: typeof refusals = [
  ['an outage', { status: 503, body: '' }],
  ['an odd request', { status: 400, body: { error: 'invalid_request' } }],
  ['another place', { status: 307, headers: { location: 'https://evil.test/par' }, body: '' }],
];

async function loginAt(world: World): Promise<unknown[]> {
  const page = await world.client().navigate('/bff/login', { follow: false });
  return [page.status >= 400, page.headers.location];
}

function told(world: World): number {
  return world.logs.filter((line) => line.includes('"msg":"provider.push_refused"')).length;
}

describe.each([
  ['the operator demands it', 'offered', { login: { pushed: 'required' as const } }],
  ['the provider demands it', 'required', {}],
] as const)('no plain parameters where %s:', (_who, pushedRequests, config) => {
  test('whatever the push is answered with', async () => {
    const world = await startWorld({ provider: { pushedRequests }, config });
    for (const [story, failure] of [...refusals, ...further]) {
      const undo = world.provider.fail('pushedAuthorization', failure);
      expect([story, ...(await loginAt(world))]).toEqual([story, true, undefined]);
      undo();
    }
    expect([told(world), world.provider.calls.authorization]).toEqual([0, 0]);
    await signIn(world.client());
  });

  test('though the metadata names no address for it', async () => {
    const world = await startWorld({ provider: { pushedRequests }, config, providerUp: false });
    world.provider.mutateDiscovery((json) => ({ ...json, pushed_authorization_request_endpoint: undefined }));
    await world.provider.up();
    const page = await world.client().navigate('/bff/login', { follow: false });
    expect([page.status, page.headers.location]).toEqual([503, undefined]);
    expect(page.text).toContain('do not fit together');
    expect(world.provider.calls.pushedAuthorization).toBe(0);
  });
});

describe('where it is only offered', () => {
  test.each(refusals)(
    '%s: the login goes on as without the offer, and the operator is told once',
    async (_s, failure) => {
      const world = await startWorld({ provider: { pushedRequests: 'offered' } });
      world.provider.fail('pushedAuthorization', failure);
      await signIn(world.client());
      await signIn(world.client());
      expect([told(world), world.provider.calls.pushedAuthorization]).toEqual([1, 1]);
    },
  );

  test.each(further)('%s: no plain parameters', async (_story, failure) => {
    const world = await startWorld({ provider: { pushedRequests: 'offered' } });
    world.provider.fail('pushedAuthorization', failure);
    expect(await loginAt(world)).toEqual([true, undefined]);
    expect(told(world)).toBe(0);
  });
});
