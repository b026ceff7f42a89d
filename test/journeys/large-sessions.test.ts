/** Sessions whose cookies are large: what the operator is told, and what a real nginx in front makes of them. */
import { describe, expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveConfig } from '../../src/config/config.ts';
import { estimateCookieBytes } from '../../src/session/cookie-sizes.ts';
import { expireAccessToken, fakeDate } from '../support/clock.ts';
import { freePort } from '../support/listener.ts';
import { root } from '../support/markdown.ts';
import { startNginx } from '../support/nginx.ts';
import { signIn, startWorld, type World } from '../support/world.ts';

function toldSizes({ logs }: World): number[] {
  return logs
    .map((line) => JSON.parse(line) as { msg: string; bytes: number })
    .filter(({ msg }) => msg === 'session.large')
    .map(({ bytes }) => bytes);
}

describe('the log', () => {
  test.each([
    ['says nothing of a usual session', 0, []],
    ['warns of one that passes 4 kB', 4000, [4096]],
    ['warns of one that passes 8 kB, once', 8500, [8192]],
  ])('%s', async (_story, padding, atLeast) => {
    const world = await startWorld();
    world.provider.settings.accessTokenPadding = padding;
    const browser = world.client();
    await signIn(browser);
    for (let call = 0; call < 3; call += 1) await browser.fetch('/api/orders');
    const told = toldSizes(world);
    expect(told).toHaveLength(atLeast.length);
    for (const [index, bytes] of atLeast.entries()) expect(told[index]).toBeGreaterThanOrEqual(bytes);
  });

  test('warns again of one that grows from 4 to 8 kB in a refresh', async () => {
    fakeDate();
    const world = await startWorld();
    world.provider.settings.accessTokenPadding = 4000;
    const browser = world.client();
    await signIn(browser);
    world.provider.settings.accessTokenPadding = 8500;
    expireAccessToken();
    expect((await browser.fetch('/api/orders')).status).toBe(200);
    expect(toldSizes(world)).toHaveLength(2);
  });
});

describe('a real nginx', () => {
  const page = readFileSync(join(root, 'docs/deployment.md'), 'utf8');
  const [, remedy = ''] = /```nginx\n(proxy_buffer_size[^]*?)```/.exec(page) ?? [];

  test.each([
    ['with its defaults refuses the end of such a sign-in', '', 502, 401],
    ['with the documented settings passes it on', remedy, 200, 200],
  ])('%s', async (_story, settings, status, call) => {
    const port = await freePort();
    const world = await startWorld({ origin: `http://localhost:${port}` });
    await startNginx(
      port,
      `${settings} location / { proxy_pass http://127.0.0.1:${world.server.port}; proxy_set_header Host $http_host; }`,
    );
    world.provider.settings.accessTokenPadding = 8500;
    const browser = world.client();
    browser.routeTo(port, world.origin);
    expect((await browser.navigate('/bff/login?login_hint=alice')).status).toBe(status);
    expect((await browser.fetch('/api/orders')).status).toBe(call);
  });
});

test('the estimate grows with the groups in the tokens', async () => {
  const config = resolveConfig({
    origin: 'https://app.example.com',
    issuer: 'https://login.example.com',
    client: { id: 'my-app', secret: 'client-secret' },
    secrets: ['q8Zr2mVxT0cLw7yNf4Hs1JkPb6DgEa9u'],
  });
  const sizes = await Promise.all([0, 50, 150].map((groups) => estimateCookieBytes(groups, config)));
  expect(sizes[0]).toBeLessThan(3000);
  expect(sizes[1]).toBeGreaterThan((sizes[0] ?? 0) + 50 * 16);
  expect(sizes[2]).toBeGreaterThan(4096);
});
