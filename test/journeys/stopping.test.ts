/** Stopping: what runs is finished, however often the server is told to stop. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startSignedIn, within } from '../support/world.ts';

test('a server stopped twice has stopped, for both callers, when the running call is answered', async () => {
  const { browser, server, api } = await startSignedIn({ config: { drainSeconds: 10 } });
  const arrived = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  api.answer(async () => {
    arrived.resolve();
    await go.promise;
    return { body: 'finished' };
  });
  const call = browser.fetch('/api/slow');
  await arrived.promise;

  const stopped = [server.close(), server.close()].map((closing) => closing.then(() => 'stopped'));
  const states = () => Promise.all(stopped.map((closing) => Promise.race([closing, nextTurn('running')])));
  expect(await states()).toEqual(['running', 'running']);
  go.resolve();
  expect((await call).text).toBe('finished');
  await within(5, Promise.all(stopped), 'the server did not stop');
  await within(1, server.close(), 'a stopped server did not say so');
});
