/**
 * The unlucky operator's story: "Between us and Redis stands a firewall that resets connections when it feels like it:
 * while a command is on its way, amid a reply, before the greeting is over, fifty times a minute."
 *
 * Must hold: nobody is signed out, no call gets another answer than its own or a 503, nothing is redeemed twice, and the
 * process lives on; as soon as connections last again, everything works.
 */
import { connect, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { below, createRandom } from '../support/assault.ts';
import { closeNow, listen, trackSockets } from '../support/listener.ts';
import { startRedis } from '../support/redis.ts';
import { startMeasured } from '../support/separate-server.ts';
import { chaosSeconds, chaosSeed } from '../support/siege.ts';
import { outcomeOf, signIn, startWorld } from '../support/world.ts';

interface Firewall {
  readonly port: number;
  /** From now on connections last. */
  readonly calm: () => void;
  readonly resets: () => number;
}

/** Passes everything on, and resets each connection after some bytes. */
async function startFirewall(target: number): Promise<Firewall> {
  const random = createRandom(chaosSeed);
  let calm = false;
  let resets = 0;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    let left = below(random, 5) === 0 ? 0 : below(random, 4000);
    const pass = (to: Socket) => (bytes: Buffer) => {
      if (!calm) left -= bytes.length;
      if (left >= 0) {
        to.write(bytes);
        return;
      }
      // Some of it may have arrived.
      if (!to.destroyed) to.write(bytes.subarray(0, Math.max(0, bytes.length + left)));
      resets += 1;
      near.resetAndDestroy();
      far.resetAndDestroy();
    };
    near
      .on('data', pass(far))
      .on('error', () => far.destroy())
      .on('close', () => far.destroy());
    far
      .on('data', pass(near))
      .on('error', () => near.destroy())
      .on('close', () => near.destroy());
  });
  const sockets = trackSockets(server);
  const port = await listen(server, 0);
  onTestFinished(() => closeNow(server, sockets));
  return { port, calm: () => void (calm = true), resets: () => resets };
}

test(
  `a store whose connections are reset at any moment signs nobody out (seed ${chaosSeed})`,
  async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.close());
    const firewall = await startFirewall(redis.port);
    const world = await startWorld();
    await world.server.close();
    world.provider.mutate('token', (json) => ({ ...json, expires_in: 2 }));
    const server = await startMeasured({ ...world.config, redisUrl: `redis://127.0.0.1:${firewall.port}` });
    const browsers = [world.client(), world.client(), world.client()];
    await vi.waitFor(() => Promise.all(browsers.map((browser) => signIn(browser))), { timeout: 30_000 });

    const outcomes = new Map<number | string, number>();
    const endsAt = performance.now() + chaosSeconds * 1000;
    await Promise.all(
      browsers.map(async (browser) => {
        while (performance.now() < endsAt && server.death === undefined) {
          const path = (outcomes.get(200) ?? 0) % 3 === 0 ? '/bff/session' : '/api/x';
          const outcome = await outcomeOf(browser.fetch(path));
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
      }),
    );
    expect(server.death).toBeUndefined();
    expect(firewall.resets()).toBeGreaterThan(5);
    expect([...outcomes.keys()].filter((outcome) => outcome !== 200 && outcome !== 503)).toEqual([]);

    firewall.calm();
    for (const browser of browsers) {
      await vi.waitFor(async () => expect(await outcomeOf(browser.fetch('/api/after'))).toBe(200), { timeout: 10_000 });
    }
    const { warnings, faults } = await server.gauges();
    expect({ warnings, faults }).toEqual({ warnings: [], faults: [] });
    expect(world.provider.reusedRefreshTokens).toBe(0);
  },
  (chaosSeconds + 60) * 1000,
);
