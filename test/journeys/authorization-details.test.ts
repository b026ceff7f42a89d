/** Logins that ask for something in detail (RFC 9396): by the configuration, and by the SPA where it may. */
import { expect, test } from 'vitest';
import { startSignedIn, startWorld, type World } from '../support/world.ts';

const detailTypes = ['account_information', 'payment_initiation'];
const accounts = { type: 'account_information', actions: ['list_accounts'] };
const payment = { type: 'payment_initiation', instructedAmount: { currency: 'EUR', amount: '123.50' } };

function start(pushedRequests?: 'offered') {
  return startWorld({
    provider: { detailTypes, ...(pushedRequests === undefined ? {} : { pushedRequests }) },
    config: { login: { authorizationDetails: [accounts], allowAuthorizationDetails: ['payment_initiation'] } },
  });
}

function loginFor(details: unknown): string {
  return `/bff/login?${new URLSearchParams({ authorization_details: JSON.stringify(details) }).toString()}`;
}

async function grantedDetails(world: World, loginPath: string): Promise<unknown> {
  const browser = world.client();
  await browser.navigate(loginPath);
  expect((await browser.fetch('/api/orders')).status).toBe(200);
  return world.api.last().claims?.['authorization_details'];
}

test.each(['offered', undefined] as const)(
  'those of the configuration, and then those of the SPA (PAR: %s)',
  async (pushed) => {
    const world = await start(pushed);
    expect(await grantedDetails(world, '/bff/login')).toEqual([accounts]);
    expect(await grantedDetails(world, loginFor([payment]))).toEqual([accounts, payment]);
  },
);

test('are asked for again where the login begins anew', async () => {
  const world = await start('offered');
  world.provider.refuseNext('invalid_request_uri');
  expect(await grantedDetails(world, loginFor([payment]))).toEqual([accounts, payment]);
});

test('are in the way back to the login, after an error', async () => {
  const world = await start();
  world.provider.refuseNext('access_denied');
  const page = await world.client().navigate(loginFor([payment]));
  expect([page.status, page.text.includes('authorization_details=')]).toEqual([403, true]);
});

test('no login asks for any by default', async () => {
  const { provider } = await startSignedIn();
  const sent = provider.requests.find(({ endpoints }) => endpoints.includes('authorization'));
  expect(sent?.query).not.toHaveProperty('authorization_details');
});
