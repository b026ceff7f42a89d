/** The events that an embedding program may listen to. */
import { expect, test, vi } from 'vitest';
import type { BffEvent } from '../../src/events.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { signIn, startWorld } from '../support/world.ts';

test('a listener that throws harms no flow and no other listener, and is warned of', async () => {
  fakeDate();
  const warned = vi.spyOn(process, 'emitWarning').mockReturnValue(undefined);
  const { client, server, provider } = await startWorld();
  const fault = new Error('a listener of the program');
  const heard: BffEvent['type'][] = [];
  server.bff.events.subscribe(() => {
    throw fault;
  });
  server.bff.events.subscribe(({ type }) => heard.push(type));

  const browser = client();
  await signIn(browser);
  const otherTab = browser.clone();
  expireAccessToken();
  expect((await browser.fetch('/api/me')).status).toBe(200);
  expect(provider.calls.refresh).toBe(1);
  expect((await browser.fetch('/bff/logout', { method: 'POST' })).status).toBe(200);
  expect(provider.calls.revocation).toBe(1);
  for (const tab of [browser, otherTab]) expect((await tab.fetch('/api/me')).status).toBe(401);

  expect(heard).toEqual(
    expect.arrayContaining(['login.started', 'login.succeeded', 'token.refreshed', 'session.ended']),
  );
  expect(warned).toHaveBeenCalledTimes(heard.length);
  expect(warned).toHaveBeenLastCalledWith(fault);
});
