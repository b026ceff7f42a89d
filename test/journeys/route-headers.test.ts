/**
 * What an operator says about the request headers of a route: which more of them never pass (`dropHeaders`), and which
 * names of gateways are the app's own (`keepHeaders`).
 */
import { expect, test } from 'vitest';
import type { ConfigInput } from '../../src/config/config.ts';
import { sendRaw } from '../support/raw-call.ts';
import { startSignedIn, type SignedInWorld } from '../support/world.ts';

type Route = NonNullable<ConfigInput['api']>[number];

async function startWithRoutes(
  routes: readonly (Partial<Route> & { path: string })[],
  upstream: ConfigInput['upstream'] = {},
): Promise<SignedInWorld> {
  return startSignedIn({
    config: (base) => {
      const target = String(base.api?.[0]?.target);
      return { ...base, upstream, api: routes.map((route) => ({ target, ...route })) };
    },
  });
}

/** The names of the headers that arrive of those that are sent. */
async function arriving(world: SignedInWorld, target: string, names: readonly string[]): Promise<string[]> {
  const answer = await sendRaw(world, world.browser, { target, lines: names.map((name) => `${name}: canary`) });
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  const { rawHeaders } = world.api.last();
  return rawHeaders.filter((_, index) => index % 2 === 0 && rawHeaders[index + 1] === 'canary');
}

test('drops what a route names, in every spelling, and what begins so', async () => {
  const world = await startWithRoutes([
    { path: '/api', dropHeaders: ['X-Acme-User', 'X-Portal-*'] },
    { path: '/other' },
  ]);
  const sent = [
    'X-Acme-User',
    'x_acme_user',
    'X.ACME.USER',
    'X-Portal-Id',
    'x_portal_groups',
    'X-Acme-Users',
    'X-Portal',
  ];
  expect(await arriving(world, '/api/me', sent)).toEqual(['X-Acme-Users', 'X-Portal']);
  expect(await arriving(world, '/other/me', sent)).toEqual(sent);
});

test('drops what is named for all routes, besides what a route names', async () => {
  const world = await startWithRoutes([{ path: '/api', dropHeaders: ['X-Of-Route'] }, { path: '/other' }], {
    dropHeaders: ['X-Of-All'],
  });
  const sent = ['X-Of-All', 'X-Of-Route', 'X-Other'];
  expect(await arriving(world, '/api/me', sent)).toEqual(['X-Other']);
  expect(await arriving(world, '/other/me', sent)).toEqual(['X-Of-Route', 'X-Other']);
});

test('keeps the app’s own names on the route that says so, and no other', async () => {
  const keepHeaders = ['X-HTTP-Method-Override', 'x-user-id', 'X_Email'];
  const world = await startWithRoutes([{ path: '/api', keepHeaders }, { path: '/other' }]);
  const sent = ['X-HTTP-Method-Override', 'X-User-Id', 'X-Email', 'X-Groups', 'X-Forwarded-User', 'Remote-User'];
  expect(await arriving(world, '/api/me', sent)).toEqual(sent.slice(0, 3));
  expect(await arriving(world, '/other/me', sent)).toEqual([]);
});

test('drops a name that is to be kept and dropped', async () => {
  const world = await startWithRoutes([{ path: '/api', keepHeaders: ['X-User-Id', 'X-Email'] }], {
    dropHeaders: ['X-User-*'],
  });
  expect(await arriving(world, '/api/me', ['X-User-Id', 'X-Email'])).toEqual(['X-Email']);
});
