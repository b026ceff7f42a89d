/** What a route requires, decided by Open Policy Agent itself: the shapes of its questions and answers are what they are here. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { startProcess, untilReady, type ServerProcess } from '../keycloak/processes.ts';
import { freePort } from '../support/listener.ts';
import { signIn, startWorld, type World } from '../support/world.ts';
import { buildGoProgram } from './go-programs.ts';
import { isAnswering } from './real-provider.ts';

let agent: ServerProcess;
let world: World;
beforeAll(async () => {
  const program = await buildGoProgram({ name: 'opa', package: 'github.com/open-policy-agent/opa' });
  const address = `127.0.0.1:${await freePort()}`;
  const options = ['--addr', address, '--disable-telemetry', '--log-level', 'error'];
  agent = startProcess(program, ['run', '--server', ...options, join(import.meta.dirname, 'opa/shop.rego')], {
    cwd: import.meta.dirname,
  });
  await untilReady(agent, () => isAnswering(`http://${address}/health`), 60);
  const asks = (path: string) => ({ opa: { url: `http://${address}`, path, timeoutSeconds: 10 } });
  world = await startWorld(
    {
      config: (base) => ({
        ...base,
        api: (base.api ?? []).flatMap(({ target }) => [
          { path: '/api', target: `${target}/v1`, require: asks('shop/allow') },
          { path: '/verdict', target: `${target}/v1`, require: asks('shop/verdict') },
          { path: '/mistake', target, require: asks('shop/mistake') },
          { path: '/misspelt', target, require: asks('shop/alow') },
        ]),
      }),
    },
    { scope: 'manual' },
  );
});
afterAll(async () => {
  await world?.stop();
  await agent?.stop();
});
beforeEach(() => {
  world.api.requests.length = 0;
});

test('people see what is theirs, however the path is spelled, and nothing of others reaches the API', async () => {
  const alice = world.client();
  await signIn(alice);
  expect((await alice.fetch('/api/orders/alice')).status).toBe(200);
  expect((await alice.fetch('/api/orders/%61lice?page=2')).status).toBe(200);
  expect((await alice.fetch('/api/orders/bob')).at('code')).toBe('access_denied');
  expect((await alice.fetch('/api/orders/alice', { method: 'DELETE' })).at('code')).toBe('access_denied');
  expect(world.api.requests.map(({ url }) => url)).toEqual(['/v1/orders/alice', '/v1/orders/%61lice?page=2']);
});

test('an admin may do all of it, and others hear from the policy why they may not', async () => {
  const { settings } = world.provider;
  settings.accessTokenClaims = { realm_access: { roles: ['admin'] } };
  onTestFinished(() => void (settings.accessTokenClaims = {}));
  const admin = world.client();
  await signIn(admin);
  expect((await admin.fetch('/verdict/orders/bob', { method: 'DELETE' })).status).toBe(200);
  settings.accessTokenClaims = {};
  const bob = world.client();
  await signIn(bob, 'bob');
  const refused = await bob.fetch('/verdict/orders/bob', { method: 'DELETE' });
  expect([refused.status, refused.json()]).toEqual([
    403,
    expect.objectContaining({ reason: 'only admins may do this', missing: { policy: ['admin'] } }),
  ]);
});

test('a rule that does not exist allows nothing, and one that is no decision is a fault', async () => {
  const alice = world.client();
  await signIn(alice);
  expect((await alice.fetch('/misspelt/x')).at('code')).toBe('access_denied');
  expect((await alice.fetch('/mistake/x')).at('code')).toBe('upstream_unavailable');
  expect(world.api.requests).toEqual([]);
});
