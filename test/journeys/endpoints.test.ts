/** What all endpoints have in common. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BrowserClient } from '../support/browser-client.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

let world: World;
let browser: BrowserClient;

beforeAll(async () => {
  world = await startWorld({}, { scope: 'manual' });
  browser = world.client();
  await signIn(browser);
});

afterAll(() => world.stop());

describe('HEAD, which must not do what GET does,', () => {
  test.each([
    ['/bff/login', 'GET'],
    ['/bff/session', 'GET'],
    ['/bff/refresh', 'POST'],
    ['/bff/logout', 'GET, POST'],
    ['/bff/backchannel-logout', 'POST'],
    ['/bff/errors', 'GET'],
  ])('of %s is 405 and names the methods there are: %s', async (path, methods) => {
    world.provider.resetCalls();
    const answer = await browser.fetch(path, { method: 'HEAD' });
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toBe(methods);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.setCookies).toEqual([]);
    expect((await browser.fetch(path, { method: 'DELETE' })).headers['allow']).toBe(methods);
    expect(world.provider.requests).toEqual([]);
    expect((await browser.fetch('/bff/session')).at('authenticated')).toBe(true);
  });

  test.each([
    ['query', 'GET'],
    ['form_post', 'POST'],
  ] as const)('of the callback is 405 where the response mode is %s', async (responseMode, method) => {
    const own = await startWorld({ config: (base) => ({ ...base, client: { ...base.client, responseMode } }) });
    const answer = await own.client().fetch('/bff/callback?state=x&code=y', { method: 'HEAD' });
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toContain(method);
  });

  test.each(['/bff/nothing', '/bff/login/nothing', '/bff/'])('of %s is 404, as GET is', async (path) => {
    for (const method of ['HEAD', 'GET']) expect((await browser.fetch(path, { method })).status).toBe(404);
  });
});
