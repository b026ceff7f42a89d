/**
 * A Redis that is away while an instance holds the new tokens of a refresh that it could not write, for longer than its
 * claim lasts: whoever takes over when Redis is back must not show the provider the used refresh token.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { expireAccessToken, fakeMovingDate } from '../support/clock.ts';
import { startRedis } from '../support/redis.ts';
import { signIn, startWorld } from '../support/world.ts';

/** A Redis that forgets nothing when it is killed. */
async function startLastingRedis() {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-redis-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const redis = await startRedis({ settings: ['--appendonly', 'yes', '--appendfsync', 'always', '--dir', folder] });
  onTestFinished(() => redis.close());
  return redis;
}

test.each([3000, 4500])(
  'a refresh whose result Redis was not there to take is found by the other instance, %i ms later',
  async (ms) => {
    const redis = await startLastingRedis();
    const world = await startWorld({ config: { redisUrl: redis.url } });
    const { provider } = world;
    const other = await world.addInstance();
    fakeMovingDate();
    const here = world.client();
    await signIn(here);
    const there = here.clone();
    there.routeTo(other.port, world.origin);
    expect((await there.fetch('/api/known')).status).toBe(200);
    expireAccessToken();
    const gate = provider.hold('refresh', { after: 'commit', times: 1 });
    const refreshing = here.fetch('/api/refreshes');
    await gate.arrived;
    await redis.down();
    await sleep(2500);
    gate.release();
    // The browser gets the new tokens, whatever the store is told.
    expect((await refreshing).status).toBe(200);
    await sleep(ms);
    await redis.up();
    await vi.waitFor(async () => expect((await there.fetch('/api/there')).status).toBe(200), {
      timeout: 15_000,
      interval: 20,
    });
    expect([provider.reusedRefreshTokens, provider.calls.refresh]).toEqual([0, 1]);
  },
  40_000,
);
